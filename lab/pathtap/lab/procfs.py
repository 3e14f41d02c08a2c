"""Finds a lab's processes in /proc, and ends them. Starts nothing, and remembers no pid.

A process is a lab's by the variable PATHTAP_LAB in its environment, or by living in one of the lab's namespaces, so
that it is found whatever became of the command that started it.
"""

import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from pathtap.lab.kernel import MARK, NETNS

# Which of the lab's processes it is: collector, agent-NODE, listeners.
ROLE = f"{MARK}_PROCESS"
_TERM_SECONDS, _KILL_SECONDS = 2.0, 5.0
_POLL_SECONDS = 0.01


def marked(prefix: str) -> list[int]:
    """The pids of the lab's processes, the caller and its forebears excepted."""
    return [pid for pid in _others() if _environment(pid).get(MARK) == prefix]


def roles(prefix: str) -> dict[str, int]:
    """Role → pid of the lab's processes that have one; a command run by `lab exec` has none, nor has what one of them started.

    What one of them started and left is younger than it.
    """
    found = {pid: _environment(pid).get(ROLE, "") for pid in marked(prefix)}
    youngest_first = sorted(found, key=_started, reverse=True)
    return {found[pid]: pid for pid in youngest_first if found[pid] and found.get(_parent(pid)) != found[pid]}


def inhabitants(namespaces: Iterable[str]) -> list[int]:
    """The pids of those whose network namespace is one of `namespaces`, whoever started them.

    Nobody of the machine's own namespace, should a name have been put on that (`ip netns attach`).
    """
    machine = _identity(Path("/proc/1/ns/net")) or _identity(Path("/proc/self/ns/net"))
    wanted = {_identity(NETNS / name) for name in namespaces} - {None, machine}
    return [pid for pid in _others() if _identity(Path(f"/proc/{pid}/ns/net")) in wanted] if wanted else []


def alive(pid: int) -> bool:
    """False for a zombie too: its parent, which alone may reap it, can be anyone."""
    fields = _stat(pid)
    return bool(fields) and fields[0] not in "ZX"


def end_all(prefix: str, namespaces: Sequence[str]) -> bool:
    """Ends every process of the lab and every other inside `namespaces`; whether there was one."""
    return end(lambda: [*marked(prefix), *inhabitants(namespaces)])


def end(find: Callable[[], Iterable[int]]) -> bool:
    """SIGTERM to whom `find` finds, after 2 s SIGKILL to whom it finds then; whether there was one."""
    found = False
    for number, seconds in ((signal.SIGTERM, _TERM_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
        left = [pid for pid in set(find()) if alive(pid)]
        found = found or bool(left)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while any(alive(pid) for pid in left) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    return found


def _environment(pid: int) -> dict[str, str]:
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return {name: value for name, _, value in (entry.partition("=") for entry in raw.split("\0"))}


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _others() -> list[int]:
    """Every process but this one and its forebears: who runs `lab down` from a shell inside must keep that shell."""
    kin, pid = set(), os.getpid()
    while pid > 0:
        kin.add(pid)
        pid = _parent(pid)
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and int(entry.name) not in kin]


def _stat(pid: int) -> list[str]:
    """The fields of proc_pid_stat(5) after the command's name: state, parent …"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _started(pid: int) -> int:
    """In ticks since the machine's start; 0 for what is gone."""
    fields = _stat(pid)
    return int(fields[19]) if fields else 0


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0
