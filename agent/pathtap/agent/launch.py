"""Starts the worker as a process of its own, with a connection to it, and tells how it ended. Knows nothing of its work."""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from pathtap.agent.config import Settings

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
# -P: what runs as root takes no module from the directory where a person happens to stand.
PROGRAM = (sys.executable, "-P", "-m", "pathtap.agent.worker_process")
# In seconds. Asked for only where the end is near: no thread and no descriptor is needed for it, which might be refused.
_LOOK = 0.02


class Worker(Protocol):
    """A worker that runs; `connection` is this end of the pair, does not block, and is the caller's to close."""

    @property
    def connection(self) -> socket.socket: ...

    async def ended(self) -> str:
        """Waits until it has ended; says how, as the end of a sentence that begins with the worker."""
        ...

    def kill(self) -> None: ...


# Raises OSError.
Launch: TypeAlias = Callable[[], Worker]


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    connection: socket.socket
    process: subprocess.Popen[bytes]

    async def ended(self) -> str:
        while (code := self.process.poll()) is None:
            await asyncio.sleep(_LOOK)
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"

    def kill(self) -> None:
        self.process.kill()


def launch(command: Sequence[str]) -> WorkerProcess:
    """Runs `command --connection DESCRIPTOR --agent PID`, which inherits that descriptor and standard output and error alone.

    Call it in the main thread: the worker dies with the thread that started it (PR_SET_PDEATHSIG). Raises OSError.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setblocking(False)
        ends = ["--connection", str(theirs.fileno()), "--agent", str(os.getpid())]
        try:
            process = subprocess.Popen([*command, *ends], stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),))
        except BaseException:
            ours.close()
            raise
    return WorkerProcess(ours, process)


def worker_command(settings: Settings, boot_id: str, program: Sequence[str] = PROGRAM) -> list[str]:
    """What `launch` takes; the worker logs as this process does."""
    level = logging.getLevelName(logging.getLogger().getEffectiveLevel())
    command = [*program, "--node", settings.node, "--boot-id", boot_id]
    command += ["--spool-bytes", str(settings.spool_bytes), "--idle", str(settings.worker_idle)]
    limits = settings.limits
    command += ["--max-packets", str(limits.packets), "--max-bytes", str(limits.bytes)]
    command += ["--max-seconds", str(limits.seconds), "--max-captures", str(limits.captures)]
    command += ["--log-level", level, "--log-format", LOG_FORMAT]
    return command if settings.cni_config is None else [*command, "--cni-config", str(settings.cni_config)]
