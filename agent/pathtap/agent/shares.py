"""What all commands together may take of the agent's process: sockets of connections, and looks at connection tracking at once.

Whoever asked may be gone, and the next one ask again: what one command may take is no bound for many.
"""

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pathtap.agent.captures import CommandError
from pathtap.model.request import MOST_CONNECTIONS

# Files that stay free for the rest of the agent: its captures, and the questions of others.
SPARE_FILES = 64
# Sockets of connections that are not answered yet.
MOST_SOCKETS = 2 * MOST_CONNECTIONS
# Of the commands that survey connection tracking or open connections: each may hold megabytes of events and entries.
MOST_SEATS = 8
_FILES = Path("/proc/self/fd")


class NoSocketError(OSError):
    """Why no further socket may be opened: no full stop."""


class Shares:
    """Safe to use from any thread."""

    def __init__(self, seats: int = MOST_SEATS, sockets: int = MOST_SOCKETS) -> None:
        self._seats = seats
        self._most_sockets = sockets
        self._sockets = 0
        self._lock = threading.Lock()

    @contextmanager
    def seat(self) -> Iterator[None]:
        """For one command while it lasts. Raises CommandError where all are taken."""
        with self._lock:
            if self._seats == 0:
                raise CommandError(
                    "The agent surveys connection tracking or opens connections as often at once as it may: try again later."
                )
            self._seats -= 1
        try:
            yield
        finally:
            with self._lock:
                self._seats += 1

    def take_socket(self) -> None:
        """Before a socket is opened; `give_socket` when it is closed, or could not be opened. Raises NoSocketError.

        Files are counted each time, as captures and other commands open some meanwhile; what is taken and not open yet comes
        out of the spare ones.
        """
        with self._lock:
            if self._sockets >= self._most_sockets:
                raise NoSocketError(
                    f"the agent waits for the answers to {self._sockets} connections already, and takes no more at once"
                )
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            if most != resource.RLIM_INFINITY and _open_files() + SPARE_FILES >= most:
                raise NoSocketError(f"the agent may have {most} files open (RLIMIT_NOFILE), and needs the rest of them")
            self._sockets += 1

    def give_socket(self) -> None:
        with self._lock:
            self._sockets -= 1


def _open_files() -> int:
    """From Linux 6.2 on the directory's size says so (proc_readfd_count of fs/proc/fd.c); before, it is 0."""
    return _FILES.stat().st_size or len(os.listdir(_FILES))
