"""What strangers may take of this process: connections to each port, by the memory and the open files that it has.

Whatever comes beyond is closed before a byte of it is read. It knows nothing of what is said on a connection.
"""

import ctypes
import logging
import resource
from dataclasses import dataclass

from pathtap.collector.config import MAX_AGENTS

log = logging.getLogger(__name__)

# Open files that are no connection of these ports: log, event loop, libraries, the API server, /metrics with its 32.
OTHER_FILES = 128
# Of mallopt(3), malloc.h of glibc.
M_ARENA_MAX = -8


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """How many may be open at once to each port. An agent has one, and a person one for each command.

    Each takes up to 90 KiB once TLS is spoken (docs/access.md): all of them leave a third of the manifest's 512 MiB to traces.
    """

    agents: int = MAX_AGENTS
    people: int = 500
    certificates: int = 500

    @property
    def files(self) -> int:
        """Open files that the process needs for them, and for the rest of it."""
        return self.agents + self.people + self.certificates + OTHER_FILES

    def within(self, files: int) -> "Connections":
        """As many as so many open files allow, each port its share: one that is full takes nothing from another."""
        if files >= self.files:
            return self
        left, wanted = max(0, files - OTHER_FILES), self.files - OTHER_FILES
        return Connections(
            agents=max(1, self.agents * left // wanted),
            people=max(1, self.people * left // wanted),
            certificates=max(1, self.certificates * left // wanted),
        )


def allotted(wanted: Connections) -> Connections:
    """Raises this process's soft limit of open files as far as they need and its hard limit lets it; gives what then goes in."""
    given = wanted.within(files_raised(wanted.files))
    if given != wanted:
        log.warning(
            "fewer than %d files may be open here (RLIMIT_NOFILE): connections of agents %d, of people %d, by certificate %d",
            wanted.files,
            given.agents,
            given.people,
            given.certificates,
        )
    return given


def files_raised(wanted: int) -> int:
    """How many files may be open (getrlimit(2)), once the soft limit is no lower than need be."""
    soft, hard = (_number(limit, wanted) for limit in resource.getrlimit(resource.RLIMIT_NOFILE))
    if soft >= wanted or soft == hard:
        return soft
    raised = min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    except (OSError, ValueError):
        # Where fs.nr_open was lowered below the hard limit the kernel refuses even what is no higher than it.
        return soft
    return raised


def _number(limit: int, unlimited: int) -> int:
    return unlimited if limit == resource.RLIM_INFINITY else limit


def one_arena() -> None:
    """Has malloc(3) of glibc use one arena, before threads are there. With one for each of gRPC's threads, what a flood of
    connections has freed is not what the next one takes, and the process grows with each.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)
