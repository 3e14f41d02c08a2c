"""What a collector asks of a node's connection tracking as a whole: who is translated to what, and which ports are in use."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pathtap.model.address import Address, Socket
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.node import Unread

# The columns of /proc/net/stat/nf_conntrack that tell of ports and races, under the names `conntrack -S` prints.
EXPOSING = ("insert_failed", "drop", "early_drop", "clash_resolve", "search_restart")

# What an agent reports at most, and how long it follows at most, in seconds.
MOST_ENTRIES = 20_000
MOST_FOLLOW_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyRequest:
    """Asks for the node's connection tracking: whose ports are translated to what, and which are in use.

    `sources` are the original sources whose entries are wanted; none means the entries of all whose source is translated.
    `protocol` 0 means any. `destination` is the original or translated destination, whose port 0 means any; None means
    every one. `follow` is in seconds: entries that come into being until then are reported too; an agent follows no longer
    than MOST_FOLLOW_SECONDS. No more than `limit` entries are reported, nor than MOST_ENTRIES: the newest of those that came into
    being last.
    """

    sources: tuple[Address, ...] = ()
    protocol: int = 0
    destination: Socket | None = None
    follow: float = 0.0
    limit: int = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PortUsage:
    """The ports of one of the node's addresses that one original source holds towards one destination (of ICMP: identifiers).

    `destination` is where the packets really go, after DNAT. What is not translated holds its own ports.
    """

    protocol: int
    destination: Socket
    translated: Address
    source: Address
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuCounters:
    """One processor's counters of this network namespace, by the names of EXPOSING; a kernel without one lacks its name."""

    cpu: int
    counters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SurveyReport:
    """`entries` are those that were there, then those that came, in the order in which they came.

    The last `fresh` of `entries` came into being while the survey followed; 0 where it did not follow.
    `left_off` counts entries beyond the request's limit; `missed` is True where the kernel dropped events that nobody
    had read yet, so that entries may be missing. `usage` is that towards the request's destination; without one, that of the
    destinations with the most ports in use, some of them. `count` and `most` are nf_conntrack_count and _max, None where
    they could not be read.
    """

    entries: tuple[ConntrackEntry, ...] = ()
    fresh: int = 0
    left_off: int = 0
    missed: bool = False
    usage: tuple[PortUsage, ...] = ()
    cpus: tuple[CpuCounters, ...] = ()
    count: int | None = None
    most: int | None = None
    unread: tuple[Unread, ...] = ()
