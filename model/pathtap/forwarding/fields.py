"""What a match can read of a packet, by nft's name for it. Knows no matches.

A reading is NO where the packet has no such field (a port of an ICMP packet, a connmark without conntrack entry), UNKNOWN where
nobody told it.
"""

from collections.abc import Callable
from enum import Enum
from typing import TypeAlias

from pathtap.forwarding.answer import Answer
from pathtap.forwarding.packet import Packet
from pathtap.model.address import FiveTuple, Protocol

Value: TypeAlias = int | str
Reading: TypeAlias = int | str | Answer

WITH_PORTS = frozenset({6, 17, 33, 132, 136})


class Field(Enum):
    """Addresses and marks are read as numbers, interfaces and states as words."""

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
    ZONE = "ct zone"
    CT_PROTOCOL = "ct protocol"
    ORIGINAL_SOURCE = "ct original saddr"
    ORIGINAL_DESTINATION = "ct original daddr"
    ORIGINAL_SOURCE_PORT = "ct original proto-src"
    ORIGINAL_DESTINATION_PORT = "ct original proto-dst"
    REPLY_SOURCE = "ct reply saddr"
    REPLY_DESTINATION = "ct reply daddr"
    REPLY_SOURCE_PORT = "ct reply proto-src"
    REPLY_DESTINATION_PORT = "ct reply proto-dst"
    DSCP = "ip dscp"
    DSCP6 = "ip6 dscp"
    TOS = "tos"
    PACKET_TYPE = "meta pkttype"


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


def _dscp(version: int) -> Callable[[Packet], Reading]:
    return lambda packet: packet.tos >> 2 if packet.family == version else Answer.NO


def _packet_type(packet: Packet) -> Reading:
    """`host` is what a frame for this node is, and what the node makes itself; a broadcast is not always known as one."""
    destination = packet.five_tuple.destination
    if destination.is_multicast:
        return "multicast"
    return "broadcast" if str(destination) == "255.255.255.255" else "host"


def _tuple(pick: Callable[[FiveTuple], Reading], *, reply: bool) -> Callable[[Packet], Reading]:
    """A field of one of the entry's two tuples."""

    def read(packet: Packet) -> Reading:
        entry = packet.connection
        return Answer.NO if entry is None else pick(entry[reply])

    return read


def _answered_port(packet: Packet) -> Reading:
    """Where replies go to: what NAT makes of a source port is never predicted."""
    entry = packet.connection
    if entry is None:
        return Answer.NO
    return Answer.UNKNOWN if packet.snated and packet.entry is None else entry[1].destination_port


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
    # A rule that chooses another zone is not modelled.
    Field.ZONE: lambda packet: 0 if packet.tracked else Answer.NO,
    Field.CT_PROTOCOL: _tuple(lambda flow: flow.protocol, reply=False),
    Field.ORIGINAL_SOURCE: _tuple(lambda flow: int(flow.source), reply=False),
    Field.ORIGINAL_DESTINATION: _tuple(lambda flow: int(flow.destination), reply=False),
    Field.ORIGINAL_SOURCE_PORT: _tuple(lambda flow: flow.source_port, reply=False),
    Field.ORIGINAL_DESTINATION_PORT: _tuple(lambda flow: flow.destination_port, reply=False),
    Field.REPLY_SOURCE: _tuple(lambda flow: int(flow.source), reply=True),
    Field.REPLY_DESTINATION: _tuple(lambda flow: int(flow.destination), reply=True),
    Field.REPLY_SOURCE_PORT: _tuple(lambda flow: flow.source_port, reply=True),
    Field.REPLY_DESTINATION_PORT: _answered_port,
    Field.DSCP: _dscp(4),
    Field.DSCP6: _dscp(6),
    Field.TOS: lambda packet: packet.tos,
    Field.PACKET_TYPE: _packet_type,
}


def read(field: Field, packet: Packet) -> Reading:
    """The field's value, or NO or UNKNOWN."""
    return READERS[field](packet)
