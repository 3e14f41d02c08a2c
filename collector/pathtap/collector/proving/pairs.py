"""Source ports before and after NAT, from what conntrack recorded and from packets on the ENIs. Pure; judges no port.

A pair says why it tells nothing of how ports are chosen, where it does not; docs/snat.md has the reasons.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pathtap.collector.proving.ranges import CLIENTS, ICMP
from pathtap.model.address import Address, FiveTuple, Socket
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.netfilter import Random
from pathtap.model.node import PortRange
from pathtap.model.packet import Direction, PacketObservation, TcpFlag
from pathtap.model.request import Connection
from pathtap.model.snat import PortPair
from pathtap.model.survey import PortUsage
from pathtap.model.trace import Witness

# Of a pair whose entry the probe did not make.
OLDER = "an older entry has its ports: what became of it was decided then"
# Of a pair that a rule without a flag translates as its source socket is translated towards another destination.
MAPPED = "its source socket is mapped to that port towards another destination already"

# Who holds a port: protocol, destination, translated address, port.
Held = tuple[int, Socket, Address, int]
# What a source socket is mapped to: protocol, original and translated socket.
Mapped = tuple[int, Socket, Socket]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewriting:
    """The rule that translates. `ports` is its own range, None for the class of the source port; `gives` its address."""

    random: Random
    ports: PortRange | None = None
    gives: Address | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Translated packets that left by an ENI: the ENI by five-tuple, and the five-tuple by what NAT leaves alone of a SYN."""

    by_tuple: Mapping[FiveTuple, str] = field(default_factory=dict)
    by_syn: Mapping[tuple[Socket, int], FiveTuple] = field(default_factory=dict)
    sequences: Mapping[FiveTuple, int] = field(default_factory=dict)


def seen_leaving(observations: Iterable[PacketObservation], enis: Collection[str]) -> Seen:
    """What of `observations` left by one of `enis`, by name."""
    by_tuple: dict[FiveTuple, str] = {}
    by_syn: dict[tuple[Socket, int], FiveTuple] = {}
    sequences: dict[FiveTuple, int] = {}
    for observation in observations:
        flow, tcp = observation.headers.five_tuple, observation.headers.tcp
        opens = tcp is not None and tcp.flags & (TcpFlag.SYN | TcpFlag.ACK) == TcpFlag.SYN
        if observation.interface in enis and observation.direction is Direction.OUT:
            by_tuple.setdefault(flow, observation.interface)
            if tcp is not None and opens:
                by_syn.setdefault((flow.destination_socket, tcp.sequence), flow)
        elif tcp is not None and opens:
            sequences.setdefault(flow, tcp.sequence)
    return Seen(by_tuple=by_tuple, by_syn=by_syn, sequences=sequences)


def opened_pairs(connections: Iterable[Connection], seen: Seen) -> tuple[PortPair, ...]:
    """One for each connection of which conntrack or a packet on an ENI showed the translation, in their order."""
    found = (_of_entry(each.entry, seen) if each.entry else _of_packets(each.five_tuple, seen) for each in connections)
    return tuple(pair for pair in found if pair is not None)


def recorded_pairs(entries: Iterable[ConntrackEntry]) -> tuple[PortPair, ...]:
    """One for each entry, in their order."""
    return tuple(_of_entry(entry, Seen()) for entry in entries)


def weighed(
    pairs: Iterable[PortPair],
    rewriting: Rewriting,
    usage: Sequence[PortUsage],
    *,
    sent: bool,
    before: Sequence[PortUsage] = (),
    mappings: Iterable[ConntrackEntry] = (),
) -> tuple[PortPair, ...]:
    """With the reason why a pair does not count, where it does not. `sent` says that the rules of now made them all, but for
    those that were there already: `before` is what was in use before anything was sent. `mappings` are entries of the same
    sources, towards all destinations.
    """
    held, earlier = _held(usage), _held(before) if sent else {}
    told = tuple(
        replace(
            pair,
            discounted=OLDER if _is_older(pair, earlier) else _discount(pair, rewriting, held, sent=sent),
        )
        for pair in pairs
    )
    return told if rewriting.random is not Random.NONE else tuple(_without_reused(told, recorded_pairs(mappings)))


def _without_reused(pairs: Sequence[PortPair], mappings: Iterable[PortPair]) -> Iterator[PortPair]:
    """A rule without a flag gives a source socket first what it is mapped to towards any destination (find_appropriate_src of
    net/netfilter/nf_nat_core.c): one collision, or one port that another rule has drawn, spreads to all destinations.

    Of those that share a changed port therefore the first counts, where nothing explains it. What is kept would have been so
    without, and counts.
    """
    own: dict[Mapped, set[Socket]] = defaultdict(set)
    for pair in pairs:
        own[_mapped(pair)].add(pair.destination)
    explained = {_mapped(pair) for pair in pairs if pair.discounted}
    explained.update(key for each in mappings if each.destination not in own[key := _mapped(each)])
    for pair in pairs:
        key, changed = _mapped(pair), pair.original.port != pair.translated.port
        yield replace(pair, discounted=MAPPED) if changed and not pair.discounted and key in explained else pair
        explained.add(key)


def _mapped(pair: PortPair) -> Mapped:
    return pair.protocol, pair.original, pair.translated


def _held(usage: Iterable[PortUsage]) -> Mapping[Held, Address]:
    return {
        (each.protocol, each.destination, each.translated, port): each.source for each in usage for port in each.ports
    }


def _is_older(pair: PortPair, earlier: Mapping[Held, Address]) -> bool:
    """A packet of a connection that has an entry passes no rule of nat, whatever they say by now."""
    key = pair.protocol, pair.destination, pair.translated.address, pair.translated.port
    return earlier.get(key) == pair.original.address


def _of_entry(entry: ConntrackEntry, seen: Seen) -> PortPair:
    interface = seen.by_tuple.get(entry.reply.reversed, "")
    return PortPair(
        protocol=entry.original.protocol,
        original=entry.original.source_socket,
        translated=entry.reply.destination_socket,
        destination=entry.reply.source_socket if entry.original.protocol not in ICMP else Socket(entry.reply.source, 0),
        witnesses=(Witness.RECORDED, Witness.OBSERVED) if interface else (Witness.RECORDED,),
        interface=interface,
    )


def _of_packets(sent: FiveTuple | None, seen: Seen) -> PortPair | None:
    """NAT leaves a SYN's sequence number alone: by it the packet is known again on the ENI."""
    sequence = seen.sequences.get(sent) if sent else None
    if sent is None or sequence is None:
        return None
    left = seen.by_syn.get((sent.destination_socket, sequence))
    if left is None:
        return None
    return PortPair(
        protocol=sent.protocol,
        original=sent.source_socket,
        translated=left.source_socket,
        destination=left.destination_socket,
        witnesses=(Witness.OBSERVED,),
        interface=seen.by_tuple[left],
    )


def _discount(pair: PortPair, rewriting: Rewriting, held: Mapping[Held, Address], *, sent: bool) -> str:
    port = pair.original.port
    if pair.protocol not in ICMP and port < CLIENTS.first:
        return f"its port is below {CLIENTS.first}, of which the kernel keeps the class"
    untranslated = pair.translated == pair.original and rewriting.gives not in (None, pair.original.address)
    if untranslated and not sent:
        return "it is not translated: it may have begun before the rule was there"
    if rewriting.random is not Random.NONE:
        # Whoever held the port, a flag lets the kernel draw another among all of the range.
        return ""
    if rewriting.ports is not None and port not in rewriting.ports:
        return f"its port is not of the rule's own range, {rewriting.ports.first} to {rewriting.ports.last}"
    holder = held.get((pair.protocol, pair.destination, pair.translated.address, port))
    # A port that is kept the pair itself holds; one that was changed another connection does, which DNAT led there.
    if holder is not None and (holder != pair.original.address or pair.translated.port != port):
        who = holder if holder != pair.original.address else "another connection of its own"
        return f"{who} held its port towards the destination"
    return ""
