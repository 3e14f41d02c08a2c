"""What a netfilter rule asks of a packet, in one small sum type for all three rule stores.

Knows no rule syntax: `iptables` and `nftables` decode into these. A field that the packet does not have (a port of an ICMP
packet, a connmark without conntrack entry) fails a match and its negation alike, as xt_connmark.c and NFT_BREAK do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, assert_never

from pathtap.forwarding.answer import Answer, every
from pathtap.forwarding.packet import Packet
from pathtap.forwarding.routing import RoutingTables
from pathtap.model.address import Protocol

Value: TypeAlias = int | str
Reading: TypeAlias = int | str | Answer

WITH_PORTS = frozenset({6, 17, 33, 132, 136})


class Field(Enum):
    """What a match reads, by nft's name for it. Addresses and marks are read as numbers."""

    IP_SOURCE = "ip saddr"
    IP_DESTINATION = "ip daddr"
    IP6_SOURCE = "ip6 saddr"
    IP6_DESTINATION = "ip6 daddr"
    FAMILY = "meta nfproto"
    PROTOCOL = "meta l4proto"
    SOURCE_PORT = "th sport"
    DESTINATION_PORT = "th dport"
    TCP_SOURCE_PORT = "tcp sport"
    TCP_DESTINATION_PORT = "tcp dport"
    UDP_SOURCE_PORT = "udp sport"
    UDP_DESTINATION_PORT = "udp dport"
    TCP_FLAGS = "tcp flags"
    ICMP_TYPE = "icmp type"
    ICMP_CODE = "icmp code"
    ICMP6_TYPE = "icmpv6 type"
    ICMP6_CODE = "icmpv6 code"
    IN_INTERFACE = "meta iifname"
    OUT_INTERFACE = "meta oifname"
    MARK = "meta mark"
    CONNMARK = "ct mark"
    DIRECTION = "ct direction"
    STATE = "ct state"


@dataclass(frozen=True, slots=True)
class Values:
    """Single values, inclusive ranges of numbers, and prefixes of names (`eni+`, `eni*`)."""

    exact: frozenset[Value] = frozenset()
    ranges: tuple[tuple[int, int], ...] = ()
    prefixes: tuple[str, ...] = ()

    def __contains__(self, value: Value) -> bool:
        if value in self.exact:
            return True
        if isinstance(value, str):
            return value.startswith(self.prefixes) if self.prefixes else False
        return any(first <= value <= last for first, last in self.ranges)


@dataclass(frozen=True, slots=True)
class Is:
    """The field, under the mask where there is one, is among the values."""

    field: Field
    values: Values
    mask: int | None = None


@dataclass(frozen=True, slots=True)
class InSet:
    """All fields together are an element of a concatenated set."""

    fields: tuple[Field, ...]
    elements: frozenset[tuple[Value, ...]]


@dataclass(frozen=True, slots=True)
class StateIn:
    """One of --ctstate's words holds; DNAT and SNAT ask for IPS_DST_NAT and IPS_SRC_NAT (xt_conntrack.c)."""

    states: frozenset[str]


@dataclass(frozen=True, slots=True)
class StatusIn:
    """`ct status`: dnat or snat of the entry, which a packet without an entry does not have."""

    states: frozenset[str]


@dataclass(frozen=True, slots=True)
class AddressTypeIn:
    """`types` are RTN_* words; `limit` is `in` or `out` where only that interface's own addresses count."""

    source: bool
    types: frozenset[str]
    limit: str = ""


@dataclass(frozen=True, slots=True)
class Either:
    """At least one holds: multiport's --ports."""

    first: "Match"
    second: "Match"


@dataclass(frozen=True, slots=True)
class Chance:
    """The kernel throws dice or counts packets: `statistic`, `numgen`. Both ways are possible, and neither is a gap."""

    text: str


@dataclass(frozen=True, slots=True)
class Unmodelled:
    """A match or statement that we cannot evaluate, in its store's words."""

    text: str


@dataclass(frozen=True, slots=True)
class Not:
    match: "Match"


Match: TypeAlias = Is | InSet | StateIn | StatusIn | AddressTypeIn | Either | Chance | Unmodelled | Not


def _address(version: int, *, source: bool) -> Callable[[Packet], Reading]:
    def read(packet: Packet) -> Reading:
        address = packet.five_tuple.source if source else packet.five_tuple.destination
        return int(address) if address.version == version else Answer.NO

    return read


def _port(protocols: frozenset[int], *, source: bool) -> Callable[[Packet], Reading]:
    def read(packet: Packet) -> Reading:
        flow = packet.five_tuple
        if flow.protocol not in protocols:
            return Answer.NO
        return flow.source_port if source else flow.destination_port

    return read


def _icmp(protocol: Protocol, *, code: bool) -> Callable[[Packet], Reading]:
    def read(packet: Packet) -> Reading:
        if packet.five_tuple.protocol != protocol:
            return Answer.NO
        if packet.icmp_type is None:
            return Answer.UNKNOWN
        return packet.icmp_code if code else packet.icmp_type

    return read


def _tcp_flags(packet: Packet) -> Reading:
    if packet.five_tuple.protocol != Protocol.TCP:
        return Answer.NO
    return Answer.UNKNOWN if packet.tcp_flags is None else int(packet.tcp_flags)


TCP_ONLY, UDP_ONLY = frozenset({int(Protocol.TCP)}), frozenset({int(Protocol.UDP)})
READERS: dict[Field, Callable[[Packet], Reading]] = {
    Field.IP_SOURCE: _address(4, source=True),
    Field.IP_DESTINATION: _address(4, source=False),
    Field.IP6_SOURCE: _address(6, source=True),
    Field.IP6_DESTINATION: _address(6, source=False),
    Field.FAMILY: lambda packet: packet.family,
    Field.PROTOCOL: lambda packet: packet.five_tuple.protocol,
    Field.SOURCE_PORT: _port(WITH_PORTS, source=True),
    Field.DESTINATION_PORT: _port(WITH_PORTS, source=False),
    Field.TCP_SOURCE_PORT: _port(TCP_ONLY, source=True),
    Field.TCP_DESTINATION_PORT: _port(TCP_ONLY, source=False),
    Field.UDP_SOURCE_PORT: _port(UDP_ONLY, source=True),
    Field.UDP_DESTINATION_PORT: _port(UDP_ONLY, source=False),
    Field.TCP_FLAGS: _tcp_flags,
    Field.ICMP_TYPE: _icmp(Protocol.ICMP, code=False),
    Field.ICMP_CODE: _icmp(Protocol.ICMP, code=True),
    Field.ICMP6_TYPE: _icmp(Protocol.ICMPV6, code=False),
    Field.ICMP6_CODE: _icmp(Protocol.ICMPV6, code=True),
    Field.IN_INTERFACE: lambda packet: packet.in_interface,
    Field.OUT_INTERFACE: lambda packet: packet.out_interface,
    Field.MARK: lambda packet: packet.mark,
    Field.CONNMARK: lambda packet: packet.connmark if packet.tracked else Answer.NO,
    Field.STATE: lambda packet: packet.state.value.lower(),
    Field.DIRECTION: lambda packet: int(packet.reply) if packet.tracked else Answer.NO,
}


def read(field: Field, packet: Packet) -> Reading:
    """The field's value, NO where the packet has no such field, UNKNOWN where nobody told it."""
    return READERS[field](packet)


def evaluate(match: Match, packet: Packet, tables: RoutingTables) -> Answer:
    """Whether the packet passes the match."""
    match match:
        case Is(field, values, mask):
            value = read(field, packet)
            if isinstance(value, Answer):
                return value
            return Answer.of((value & mask if mask is not None and isinstance(value, int) else value) in values)
        case InSet(fields, elements):
            key = [read(field, packet) for field in fields]
            if any(isinstance(value, Answer) for value in key):
                return every(value for value in key if isinstance(value, Answer))
            return Answer.of(tuple(key) in elements)
        case StateIn(states):
            return Answer.of(not states.isdisjoint(_states(packet)))
        case StatusIn(states):
            return Answer.of(packet.tracked and not states.isdisjoint(_states(packet)))
        case AddressTypeIn():
            return _address_type_in(match, packet, tables)
        case Either(first, second):
            return evaluate(first, packet, tables) | evaluate(second, packet, tables)
        case Chance() | Unmodelled():
            return Answer.UNKNOWN
        case Not(inner):
            return ~evaluate(inner, packet, tables) if _present(inner, packet) else Answer.NO
        case other:
            assert_never(other)


def _states(packet: Packet) -> set[str]:
    words = {packet.state.value}
    if packet.tracked and packet.dnated:
        words.add("DNAT")
    if packet.tracked and packet.snated:
        words.add("SNAT")
    return words


def _address_type_in(match: AddressTypeIn, packet: Packet, tables: RoutingTables) -> Answer:
    address = packet.five_tuple.source if match.source else packet.five_tuple.destination
    interface = {"in": packet.in_interface, "out": packet.out_interface, "": ""}[match.limit]
    kind = tables.address_type(address, interface)
    return Answer.of(None if kind is None else kind in match.types)


def _present(match: Match, packet: Packet) -> bool:
    """Whether the packet has every field that the match reads."""
    match match:
        case Is(field):
            return read(field, packet) is not Answer.NO
        case InSet(fields):
            return all(read(field, packet) is not Answer.NO for field in fields)
        case StatusIn():
            return packet.tracked
        case Either(first, second):
            return _present(first, packet) or _present(second, packet)
        case Not(inner):
            return _present(inner, packet)
        case _:
            return True


def is_chance(match: Match) -> bool:
    return isinstance(match.match if isinstance(match, Not) else match, Chance)
