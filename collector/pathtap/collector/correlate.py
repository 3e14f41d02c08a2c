"""Joins packets seen on many interfaces into one way there and one way back, through NAT.

Pure. Packets belong together by conntrack's tuple pairs first; where conntrack is silent, by what NAT leaves alone:
IP id, length, TCP and ICMP sequence. They are put in order by their TTL, which every router lowers, and never by clocks:
at equal TTL a packet leaves one node before it comes to the next. Knows no names, no roles, no expectations.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.conntrack import ConntrackEntry
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
    """`errors` are ICMP errors that quote a packet of this flow. `by_identity`: joined without conntrack's help."""

    forward: tuple[Passage, ...]
    reply: tuple[Passage, ...]
    errors: tuple[PacketObservation, ...]
    by_identity: bool = False


class Entries:
    """Conntrack entries of all nodes, found by any of their four tuples."""

    def __init__(self, entries: Iterable[ConntrackEntry]) -> None:
        self._by_original: dict[FiveTuple, list[ConntrackEntry]] = defaultdict(list)
        self._by_tuple: dict[tuple[str, FiveTuple], ConntrackEntry] = {}
        for entry in entries:
            self._by_original[entry.original].append(entry)
            for seen in (*entry.forward_tuples, *entry.reply_tuples):
                self._by_tuple.setdefault((entry.node, seen), entry)

    def on(self, node: str, seen: FiveTuple) -> ConntrackEntry | None:
        return self._by_tuple.get((node, seen))

    def closure(self, sent: Iterable[FiveTuple]) -> set[FiveTuple]:
        """All tuples that the forward direction wears, by following original → translated on every node."""
        known, fresh = set(sent), set(sent)
        while fresh:
            after = {
                t for known_tuple in fresh for e in self._by_original.get(known_tuple, ()) for t in e.forward_tuples
            }
            fresh = after - known
            known |= fresh
        return known


def join(sent: Sequence[FiveTuple], observations: Sequence[PacketObservation], entries: Entries) -> Journey:
    """`sent` are the tuples as the source sent them, first the one to follow."""
    forward_tuples = entries.closure(sent)
    same = _same_packets(forward_tuples, observations)
    by_identity = not same <= forward_tuples
    forward_tuples |= same
    plain = [o for o in observations if not _quoted(o)]
    forward = _furthest(o for o in plain if o.headers.five_tuple in forward_tuples)
    reply = _furthest(o for o in plain if o.headers.five_tuple.reversed in forward_tuples)
    errors = [o for o in observations if (quoted := _quoted(o)) and _either_way(quoted, forward_tuples)]
    return Journey(
        forward=_passages(forward, entries),
        reply=_passages(reply, entries),
        errors=tuple(sorted(errors, key=lambda o: (-o.headers.ttl, o.direction is Direction.IN))),
        by_identity=by_identity,
    )


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


def _same_packets(known: set[FiveTuple], observations: Sequence[PacketObservation]) -> set[FiveTuple]:
    """Further tuples under which a packet of a known tuple was seen leaving a node, told by its identity.

    Only a packet with an IP id or a TCP sequence can be told from another's; an echo or a datagram with id 0 cannot.
    """
    identities = {identity(o.headers) for o in observations if o.headers.five_tuple in known}
    return {
        o.headers.five_tuple
        for o in observations
        if identity(o.headers) in identities and (o.headers.ip_id or o.headers.tcp) and not _quoted(o)
    }


def _furthest(observations: Iterable[PacketObservation]) -> list[PacketObservation]:
    """The sightings of one packet: of the packet that was seen most often, the first of those."""
    packets: dict[Identity, list[PacketObservation]] = defaultdict(list)
    for observation in observations:
        packets[identity(observation.headers)].append(observation)
    if not packets:
        return []
    chosen = max(packets.values(), key=lambda seen: (len(seen), -min(o.captured_at for o in seen)))
    return sorted(chosen, key=lambda o: (-o.headers.ttl, o.direction is Direction.IN, o.captured_at))


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


def _quoted(observation: PacketObservation) -> FiveTuple | None:
    icmp = observation.headers.icmp
    return icmp.quoted if icmp else None


def _either_way(quoted: FiveTuple, forward: set[FiveTuple]) -> bool:
    return quoted in forward or quoted.reversed in forward


def packet_label(headers: Headers) -> str:
    """What a person calls it: SYN,ACK, echo request, datagram."""
    if headers.tcp is not None:
        return headers.tcp.flags.describe() or "TCP"
    if headers.icmp is not None:
        names = {(1, 8): "echo request", (1, 0): "echo reply", (58, 128): "echo request", (58, 129): "echo reply"}
        key = (headers.five_tuple.protocol, headers.icmp.type)
        return names.get(key, f"ICMP type {headers.icmp.type} code {headers.icmp.code}")
    return "datagram" if headers.five_tuple.protocol == Protocol.UDP else "packet"
