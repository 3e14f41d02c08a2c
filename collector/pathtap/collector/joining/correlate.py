"""Joins packets seen on many interfaces into one way there and one way back, through NAT.

Pure. Packets belong together by conntrack's tuple pairs first; where conntrack is silent, by what NAT leaves alone:
IP id, length, TCP and ICMP sequence. They are put in order by their TTL, which every router lowers, and never by clocks:
at equal TTL a packet leaves one node before it comes to the next. Knows no names, no roles, no expectations.
"""

from collections import defaultdict
from collections.abc import Container, Iterable, Sequence, Set
from dataclasses import dataclass

from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.icmp import icmp_name
from pathtap.model.packet import Direction, Headers, PacketObservation

Identity = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """One node's passage: where the packet came in and went out, as far as it was seen.

    `before` and `after` are its tuples on the two sides of the node; they differ where the node translated it.
    """

    node: str
    arrival: PacketObservation | None
    departure: PacketObservation | None
    entry: ConntrackEntry | None
    before: FiveTuple
    after: FiveTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """`sent` is the flow that was followed, as the source sent it; `errors` are ICMP errors that quote its way there."""

    sent: FiveTuple | None
    forward: tuple[Passage, ...]
    reply: tuple[Passage, ...]
    errors: tuple[PacketObservation, ...]


class Entries:
    """Conntrack entries of all nodes, found by any of their four tuples."""

    def __init__(self, entries: Iterable[ConntrackEntry]) -> None:
        self._after: dict[FiveTuple, list[FiveTuple]] = defaultdict(list)
        self._by_tuple: dict[tuple[str, FiveTuple], ConntrackEntry] = {}
        for entry in entries:
            for before, after in (entry.forward_tuples, entry.reply_tuples):
                self._after[before].append(after)
                for seen in (before, after):
                    self._by_tuple.setdefault((entry.node, seen), entry)

    def on(self, node: str, seen: FiveTuple) -> ConntrackEntry | None:
        return self._by_tuple.get((node, seen))

    def closure(self, sent: FiveTuple) -> set[FiveTuple]:
        """All tuples that the packets of one direction wear, by following what each node's NAT makes of them."""
        known, fresh = {sent}, {sent}
        while fresh:
            fresh = {after for before in fresh for after in self._after.get(before, ())} - known
            known |= fresh
        return known


class Sightings:
    """Observations, found by tuple and by identity."""

    def __init__(self, observations: Iterable[PacketObservation]) -> None:
        self._by_tuple: dict[FiveTuple, list[PacketObservation]] = defaultdict(list)
        self._by_identity: dict[Identity, list[PacketObservation]] = defaultdict(list)
        self._errors: list[tuple[FiveTuple, PacketObservation]] = []
        for seen in observations:
            icmp = seen.headers.icmp
            if icmp is not None and icmp.quoted is not None:
                self._errors.append((icmp.quoted, seen))
            else:
                self._by_tuple[seen.headers.five_tuple].append(seen)
                self._by_identity[identity(seen.headers)].append(seen)

    def of(self, tuples: Iterable[FiveTuple]) -> list[PacketObservation]:
        return [seen for each in tuples for seen in self._by_tuple.get(each, ())]

    def errors_about(self, tuples: Container[FiveTuple]) -> list[PacketObservation]:
        return [seen for quoted, seen in self._errors if quoted in tuples]

    def same_packets(self, tuples: Iterable[FiveTuple]) -> set[FiveTuple]:
        """Every tuple under which a packet of these was seen, told by its identity.

        Only a packet with an IP id or a TCP sequence can be told from another's; an echo or a datagram with id 0 cannot.
        """
        identities = {identity(o.headers) for o in self.of(tuples) if o.headers.ip_id or o.headers.tcp}
        return {seen.headers.five_tuple for each in identities for seen in self._by_identity[each]}


def join(
    sent: Sequence[FiveTuple],
    observations: Iterable[PacketObservation],
    entries: Entries,
    follow: Sequence[FiveTuple] = (),
) -> Journey:
    """Follows one of the flows in `follow`, or of all that were sent: the one seen at most places, the first of these."""
    sightings = Sightings(observations)
    flows = dict.fromkeys(sent)
    journeys = [_journey(flow, flows.keys() - {flow}, sightings, entries) for flow in dict.fromkeys(follow or sent)]
    nothing = Journey(sent=None, forward=(), reply=(), errors=())
    return max(journeys, key=lambda each: _places(each.forward) + _places(each.reply), default=nothing)


def _journey(sent: FiveTuple, others: Set[FiveTuple], sightings: Sightings, entries: Entries) -> Journey:
    """`others` were sent too: however alike their packets are, they are not this flow's."""
    forward = entries.closure(sent)
    forward |= sightings.same_packets(forward) - others
    errors = sightings.errors_about(forward)
    return Journey(
        sent=sent,
        forward=_passages(_furthest(sightings.of(forward)), entries),
        reply=_passages(_furthest(sightings.of(each.reversed for each in forward)), entries),
        errors=tuple(sorted(errors, key=_along_the_way)),
    )


def _places(passages: Iterable[Passage]) -> int:
    return sum((passage.arrival is not None) + (passage.departure is not None) for passage in passages)


def identity(headers: Headers) -> Identity:
    """What stays the same of one packet from hop to hop, NAT included."""
    tcp, icmp = headers.tcp, headers.icmp
    return (
        headers.five_tuple.protocol,
        headers.ip_id or 0,
        headers.length,
        (tcp.flags, tcp.sequence, tcp.acknowledgment) if tcp else None,
        (icmp.type, icmp.code, icmp.sequence) if icmp else None,
    )


def _furthest(observations: Iterable[PacketObservation]) -> list[PacketObservation]:
    """The sightings of one packet: of the packet that was seen at most places, the first of those.

    Packets that nothing tells apart (an answer that was sent again) are one, seen once at each place. Only one node's clock
    is compared with itself.
    """
    packets: dict[Identity, dict[object, PacketObservation]] = defaultdict(dict)
    for seen in sorted(observations, key=lambda o: (o.captured_at, o.sequence)):
        packets[identity(seen.headers)].setdefault(_place(seen), seen)
    ways = [sorted(places.values(), key=_along_the_way) for places in packets.values()]
    return min(ways, key=lambda way: (-len(way), way[0].node, way[0].captured_at, way[0].sequence), default=[])


def _place(seen: PacketObservation) -> object:
    """A packet that goes round comes to the same interface again, but with a lower TTL."""
    return seen.node, seen.interface, seen.direction, seen.headers.ttl, seen.headers.five_tuple


def _along_the_way(seen: PacketObservation) -> tuple[int, bool, str, int]:
    return -seen.headers.ttl, seen.direction is Direction.IN, seen.node, seen.captured_at


def _passages(sightings: Sequence[PacketObservation], entries: Entries) -> tuple[Passage, ...]:
    pairs: list[tuple[PacketObservation | None, PacketObservation | None]] = []
    for seen in sightings:
        if seen.direction is Direction.IN:
            pairs.append((seen, None))
        elif pairs and (last := pairs[-1][0]) is not None and pairs[-1][1] is None and last.node == seen.node:
            pairs[-1] = (last, seen)
        else:
            pairs.append((None, seen))
    return tuple(_passage(arrival, departure, entries) for arrival, departure in pairs)


def _passage(arrival: PacketObservation | None, departure: PacketObservation | None, entries: Entries) -> Passage:
    seen = arrival or departure
    assert seen is not None  # noqa: S101 - a pair holds at least one sighting
    here = seen.headers.five_tuple
    entry = entries.on(seen.node, here)
    if entry is None and departure is not None:
        entry = entries.on(departure.node, departure.headers.five_tuple)
    other = _other_side(here, entry)
    return Passage(
        node=seen.node,
        arrival=arrival,
        departure=departure,
        entry=entry,
        before=arrival.headers.five_tuple if arrival else other,
        after=departure.headers.five_tuple if departure else other,
    )


def _other_side(seen: FiveTuple, entry: ConntrackEntry | None) -> FiveTuple:
    """What `seen` becomes, or came from, on the other side of the node, as conntrack has it."""
    if entry is not None:
        for before, after in (entry.forward_tuples, entry.reply_tuples):
            if seen == before:
                return after
            if seen == after:
                return before
    return seen


def packet_label(headers: Headers) -> str:
    """What a person calls it: SYN,ACK, echo request, host unreachable, datagram."""
    if headers.tcp is not None:
        return headers.tcp.flags.describe() or "TCP"
    if headers.icmp is not None:
        return icmp_name(headers.five_tuple.protocol, headers.icmp.type, headers.icmp.code)
    return "datagram" if headers.five_tuple.protocol == Protocol.UDP else "packet"
