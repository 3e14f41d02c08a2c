"""Surveys a node's connection tracking: who is translated to what, which ports are in use by whom, what was counted.

The whole table is looked through once, in a few microseconds for each entry; only those that are wanted are decoded.
"""

import selectors
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from socket import AF_INET, AF_INET6

from pathtap.agent.readers import conntrack_sysctls, counters
from pathtap.agent.readers.conntrack_messages import Tuples, entry_of, identity_of, tuples_of, unpacked
from pathtap.agent.readers.conntrack_socket import NewEntries, dump
from pathtap.agent.reading import attempt, kept
from pathtap.model.address import Protocol, Socket
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.node import Unread
from pathtap.model.survey import MOST_ENTRIES, MOST_FOLLOW_SECONDS, PortUsage, SurveyReport, SurveyRequest

# Of destinations with the most ports in use, where none is asked for.
BUSIEST = 5
# How often it is looked whether anybody still wants the report; in seconds.
_LOOK = 0.5
# After how many entries of the table the events are taken that wait meanwhile.
_HEAR_EVERY = 256
_VERSIONS = {AF_INET: 4, AF_INET6: 6}


def survey(node: str, request: SurveyRequest, over: Callable[[], bool] = lambda: False) -> SurveyReport:
    """Blocks for `follow` seconds, longer where the table takes longer. Counters and sizes are read at the end.

    `over` tells that nobody wants the report: then nothing is followed any longer. The request is held to MOST_ENTRIES and
    MOST_FOLLOW_SECONDS.

    What could not be read is in `unread`, by the parts `conntrack`, `conntrack events` and `counters`.
    """
    request = replace(request, limit=min(request.limit, MOST_ENTRIES), follow=min(request.follow, MOST_FOLLOW_SECONDS))
    unread: list[Unread] = []
    events: NewEntries | None = None
    if request.follow > 0:
        # Before the table is read: what comes into being meanwhile is in one of the two.
        events = _listen(unread)
    found = _Found(node, request, events)
    deadline = time.monotonic() + request.follow
    try:
        kept(attempt("conntrack", found.look_through), unread, None)
        if events is not None:
            kept(attempt("conntrack events", lambda: _follow(events, found, deadline, over)), unread, None)
    finally:
        if events is not None:
            events.close()
    cpus = kept(attempt("counters", lambda: counters.decode_cpus(counters.fetch())), unread, ())
    if not cpus and not any(each.part == "counters" for each in unread):
        unread.append(Unread(part="counters", reason="This kernel does not show /proc/net/stat/nf_conntrack."))
    return SurveyReport(
        entries=found.entries,
        fresh=found.fresh,
        left_off=found.left_off,
        missed=events is not None and events.missed,
        usage=found.usage(),
        cpus=cpus,
        count=conntrack_sysctls.fetch("nf_conntrack_count"),
        most=conntrack_sysctls.fetch("nf_conntrack_max"),
        unread=tuple(unread),
    )


def _listen(unread: list[Unread]) -> NewEntries | None:
    if conntrack_sysctls.fetch("nf_conntrack_events") == 0:
        reason = "The kernel tells nothing of new entries: the sysctl net.netfilter.nf_conntrack_events is 0."
        unread.append(Unread(part="conntrack events", reason=reason))
        return None
    return kept(attempt("conntrack events", NewEntries), unread, None)


def _follow(events: NewEntries, found: "_Found", deadline: float, over: Callable[[], bool]) -> None:
    """Until that time of the monotonic clock, in seconds. Raises OSError."""
    with selectors.DefaultSelector() as selector:
        selector.register(events, selectors.EVENT_READ)
        while (remaining := deadline - time.monotonic()) > 0 and not over():
            if selector.select(min(remaining, _LOOK)):
                found.take_new(events.read())
    found.take_new(events.read())


class _Found:
    """What was found of a request by now."""

    def __init__(self, node: str, request: SurveyRequest, events: NewEntries | None) -> None:
        self._node = node
        self._request = request
        self._events = events
        self._wanted = _Wanted.of(request)
        # Decoded at the end, when no more than the limit are left.
        self._there: deque[bytes] = deque(maxlen=request.limit)
        self._came: deque[bytes] = deque(maxlen=request.limit)
        # Told of before the table was read to its end.
        self._early: deque[bytes] = deque(maxlen=request.limit)
        self._count = 0
        # What the table had, until an event tells that it came into being since the listening began.
        self._present: dict[tuple[Tuples | None, int], bytes] = {}
        self._ledger = _Ledger()

    @property
    def entries(self) -> tuple[ConntrackEntry, ...]:
        room = self._request.limit - len(self._came)
        bodies = (*list(self._present.values())[max(0, len(self._present) - room) :], *self._came)
        # None is an entry only of what has no tuples, and that was not kept.
        return tuple(entry for body in bodies if (entry := entry_of(body, self._node)) is not None)

    @property
    def fresh(self) -> int:
        return len(self._came)

    @property
    def left_off(self) -> int:
        return self._count - min(self._request.limit, len(self._present) + len(self._came))

    def look_through(self) -> None:
        """Raises OSError; what was found until then stays."""
        destination = self._request.destination
        try:
            for family, version in _VERSIONS.items():
                if destination is None or destination.address.version == version:
                    for number, body in enumerate(dump(family, self._wanted.protocols.get(version, 0))):
                        self._take(body)
                        if number % _HEAR_EVERY == 0:
                            self._hear()
        finally:
            # A dump may name an entry twice. What came into being during it is told of by an event as well.
            self._present = {identity_of(body): body for body in self._there}
            self._count -= len(self._there) - len(self._present)
            self._there.clear()
            self.take_new(self._early)

    def _hear(self) -> None:
        """Makes room for further events while the table is read, which takes seconds."""
        for body in () if self._events is None else self._events.read():
            found = tuples_of(body)
            if found is not None and self._wanted.has(found):
                # What is pushed out is left off.
                self._count += len(self._early) == self._early.maxlen
                self._early.append(body)

    def take_new(self, bodies: Iterable[bytes]) -> None:
        for body in bodies:
            found = tuples_of(body)
            if found is not None and self._wanted.has(found):
                self._came.append(body)
                # What the table had already is counted once.
                self._count += self._present.pop(identity_of(body), None) is None

    def usage(self) -> tuple[PortUsage, ...]:
        return self._ledger.usage(self._request.destination is not None)

    def _take(self, body: bytes) -> None:
        found = tuples_of(body)
        if found is None or not self._wanted.has_protocol(found):
            return
        towards = self._wanted.has_destination(found)
        self._ledger.add(found, towards)
        if towards and self._wanted.has_source(found):
            self._there.append(body)
            self._count += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The request, in the terms of tuples: `protocols` by IP version, empty for any; `destination` packed, None for any."""

    protocols: dict[int, int]
    sources: frozenset[bytes]
    destination: bytes | None
    port: int

    @classmethod
    def of(cls, request: SurveyRequest) -> "_Wanted":
        """ICMP means the ICMP of each IP version, and has no port at its destination."""
        icmp = request.protocol in (Protocol.ICMP, Protocol.ICMPV6)
        protocols = {4: request.protocol, 6: request.protocol} if request.protocol else {}
        return cls(
            protocols={4: Protocol.ICMP, 6: Protocol.ICMPV6} if icmp else protocols,
            sources=frozenset(source.packed for source in request.sources),
            destination=None if request.destination is None else request.destination.address.packed,
            port=0 if request.destination is None or icmp else request.destination.port,
        )

    def has(self, found: Tuples) -> bool:
        return self.has_protocol(found) and self.has_destination(found) and self.has_source(found)

    def has_protocol(self, found: Tuples) -> bool:
        return not self.protocols or found.protocol in self.protocols.values()

    def has_source(self, found: Tuples) -> bool:
        return found.source in self.sources if self.sources else found.translates_source

    def has_destination(self, found: Tuples) -> bool:
        """Before or after DNAT."""
        if self.destination is None:
            return True
        before = found.destination == self.destination and self.port in (0, found.destination_port)
        return before or (found.reply_source == self.destination and self.port in (0, found.reply_source_port))


class _Ledger:
    """Who holds which ports of which address, towards each destination after DNAT: an entry's reply tuple must be unique."""

    def __init__(self) -> None:
        # Protocol, destination and its port, translated address; and by the original source the ports.
        self._ports: dict[tuple[int, bytes, int, bytes], dict[bytes, list[int]]] = defaultdict(
            lambda: defaultdict(list)
        )
        self._translated: set[tuple[int, bytes, int, bytes]] = set()
        self._towards: set[tuple[int, bytes, int]] = set()

    def add(self, found: Tuples, towards: bool) -> None:
        if not found.reply_destination_port:
            return
        key = (found.protocol, found.reply_source, found.reply_source_port, found.reply_destination)
        self._ports[key][found.source].append(found.reply_destination_port)
        if found.translates_source:
            self._translated.add(key)
        if towards:
            self._towards.add(key[:3])

    def usage(self, of_destination: bool) -> tuple[PortUsage, ...]:
        """Towards the destination alone, or of the busiest where something is translated; most ports first."""
        keys = [key for key in self._ports if (key[:3] in self._towards if of_destination else key in self._translated)]
        held = sorted(keys, key=lambda key: (-self._held(key), key))
        return tuple(
            PortUsage(
                protocol=key[0],
                destination=Socket(unpacked(key[1]), key[2]),
                translated=unpacked(key[3]),
                source=unpacked(source),
                ports=tuple(sorted(set(ports))),
            )
            for key in (held if of_destination else held[:BUSIEST])
            for source, ports in sorted(self._ports[key].items())
        )

    def _held(self, key: tuple[int, bytes, int, bytes]) -> int:
        return sum(len(ports) for ports in self._ports[key].values())
