"""Processes of a measurement: started in a namespace and on a processor, spoken to by lines, ended by their id."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

PATIENCE = 30.0
# The nice value of what is measured, ours and peers alike: it goes before whatever else the machine does.
FIRST = -20


class BenchError(Exception):
    """Why something cannot be measured, as a sentence."""


class Child:
    """A process of our own. Lines are read from its standard output, or from `speaks` = "stderr", where its peer speaks."""

    def __init__(
        self, argv: Sequence[str], *, namespace: str = "", cpu: int | None = None, speaks: str = "stdout"
    ) -> None:
        pinned = [] if cpu is None else ["taskset", "-c", str(cpu)]
        # `ip netns exec` and taskset both keep the pid.
        inside = ["ip", "netns", "exec", namespace] if namespace else []
        # What a program of our own has to complain of is for the person who measures.
        complaints = None if argv[0] == sys.executable else subprocess.DEVNULL
        streams: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": complaints, speaks: subprocess.PIPE}
        self.name = Path(argv[0]).name if argv[0] != sys.executable else " ".join(argv[1:3])
        self._process = subprocess.Popen(
            [*inside, *pinned, *argv], stdin=subprocess.PIPE, bufsize=0, start_new_session=True, **streams
        )
        set_nice(self._process.pid, FIRST)
        stream = self._process.stdout if speaks == "stdout" else self._process.stderr
        assert stream is not None  # noqa: S101 - it was asked for
        self._stream = stream
        self._rest = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def say(self, text: str = "") -> Self:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        try:
            self._process.stdin.write(f"{text}\n".encode())
        except BrokenPipeError as error:
            raise BenchError(f"{self.name} has ended before its time.") from error
        return self

    def line(self, patience: float = PATIENCE) -> str:
        """The next line. Raises BenchError where none comes in time, or the process ends instead."""
        deadline = time.monotonic() + patience
        while b"\n" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._stream], [], [], left)[0]:
                raise BenchError(f"{self.name} said nothing for {patience:g} s.")
            data = self._stream.read(65536)
            if not data:
                raise BenchError(f"{self.name} ended: {self._rest.decode(errors='replace').strip() or 'silently'}.")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode(errors="replace")

    def until(self, words: str, patience: float = PATIENCE) -> str:
        """The first line that holds `words`."""
        lines = []
        while words not in (line := self.line(patience)):
            lines.append(line)
            if len(lines) > 100:
                raise BenchError(f"{self.name} never said {words!r} but {lines[-1]!r}.")
        return line

    def answer(self, patience: float = PATIENCE) -> Any:
        """The next line, which is JSON."""
        return json.loads(self.line(patience))

    def rest(self, patience: float = PATIENCE) -> str:
        """All that it says until it ends. Raises BenchError where that takes too long."""
        deadline = time.monotonic() + patience
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._stream], [], [], left)[0]:
                raise BenchError(f"{self.name} did not end within {patience:g} s.")
            data = self._stream.read(65536)
            if not data:
                return self._rest.decode(errors="replace")
            self._rest += data

    def drain(self) -> None:
        """Throws away what it has said, so that it never waits for a reader."""
        self._rest = b""
        while select.select([self._stream], [], [], 0)[0] and self._stream.read(65536):
            pass

    def interrupt(self) -> Self:
        self._process.send_signal(signal.SIGINT)
        return self

    def close(self) -> None:
        """Ends it, by force where it does not end within five seconds."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait(5)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()


@contextmanager
def started(
    argv: Sequence[str], *, namespace: str = "", cpu: int | None = None, speaks: str = "stdout"
) -> Iterator[Child]:
    """Raises BenchError where the program is not installed."""
    try:
        child = Child(argv, namespace=namespace, cpu=cpu, speaks=speaks)
    except FileNotFoundError as error:
        raise BenchError(f"{error.filename} is not installed.") from error
    try:
        yield child
    finally:
        child.close()


def module(name: str, *arguments: str) -> list[str]:
    """The command line of one of the bench's own programs."""
    return [sys.executable, "-m", name, *arguments]


def tree(pid: int) -> tuple[int, ...]:
    """A process and all that came of it, as /proc tells at this moment."""
    found = [pid]
    for parent in found:
        for thread in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, _read(thread).split())
    return tuple(found)


def processor_time(pids: Sequence[int]) -> float:
    """Seconds that the threads of `pids` were on a processor, by schedstat (Documentation/scheduler/sched-stats.rst).

    With what interrupts took from them, where the kernel is built without CONFIG_IRQ_TIME_ACCOUNTING.
    """
    files = (file for pid in pids for file in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return sum(int((_read(file).split() or ["0"])[0]) for file in files) / 1e9


def resident(pids: Sequence[int]) -> float:
    """MB (10⁶ bytes) of the processes' memory together: VmRSS, in which shared pages count for each."""
    lines = (line for pid in pids for line in _read(Path(f"/proc/{pid}/status")).splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) * 1024 / 1e6


def set_nice(pid: int, nice: int) -> None:
    """Of a session that consists of one process. Its threads have it too, which counts where sessions have none of their own
    (sched(7), the autogroup feature)."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(thread.name), nice)
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))


def _read(path: Path) -> str:
    """Empty for a thread that ended meanwhile."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def why(error: Exception) -> str:
    """In one line, with the last that a command that failed has said."""
    said: str | bytes = ""
    if isinstance(error, subprocess.CalledProcessError | subprocess.TimeoutExpired):
        said = error.stderr or error.output or ""
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    last = text.strip().splitlines()[-1:]
    return " ".join((f"{type(error).__name__}: {error}", *last)).replace("\n", " ")
