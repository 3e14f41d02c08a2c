"""Reads the headers of one Ethernet frame. Pure: knows no socket, no interface and no flow, and never guesses.

What cannot be read is said: `Unparsed` where not even two IP addresses are there, `Headers.truncated` where a later header
is cut off or absurd. Bytes after an IP packet's own end (the padding of a short frame) are not part of it. A frame that the
capture's filter cut behind its headers is whole: payload is never looked at.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from pathtap.model.address import Address, FiveTuple, Protocol
from pathtap.model.packet import Headers, IcmpHeader, TcpFlag, TcpHeader

# IEEE 802 numbers, RFC 9542.
IPV4, IPV6 = 0x0800, 0x86DD
VLAN_TAGS = frozenset({0x8100, 0x88A8, 0x9100})
# Real frames carry two; a frame made of tags alone must not cost more than it is worth.
MOST_VLAN_TAGS = 8

# RFC 8200, section 4: extension headers that carry their own length, and the two that count it differently.
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS = 0, 43, 44, 51, 60
EXTENSIONS = frozenset({HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS})
MOST_EXTENSIONS = 8

# RFC 792 and RFC 4443: echo request, echo reply, and the messages that quote the packet they are about.
ECHO = {Protocol.ICMP: (8, 0), Protocol.ICMPV6: (128, 129)}
ICMP_ERRORS = {Protocol.ICMP: frozenset({3, 4, 5, 11, 12}), Protocol.ICMPV6: frozenset({1, 2, 3, 4})}
# The type and code that carry an MTU, and where: RFC 1191 section 4, RFC 4443 section 3.2 (any code).
FRAGMENTATION_NEEDED, PACKET_TOO_BIG = (3, 4), 2


@dataclass(frozen=True, slots=True)
class Unparsed:
    """A frame that names no two IP addresses; `reason` is a sentence without its full stop."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packet:
    """An IP header, and the bytes behind it and its extensions as far as they belong to it and were captured.

    `cut`: options or extension headers end before `payload` begins, so that nothing is known of it.
    """

    source: Address
    destination: Address
    protocol: int
    ttl: int
    length: int
    ip_id: int | None
    fragment: bool
    cut: bool
    payload: bytes

    @property
    def icmp(self) -> Protocol | None:
        """ICMP over IPv4, ICMPv6 over IPv6; the one over the other is not defined."""
        own = Protocol.ICMP if self.source.version == 4 else Protocol.ICMPV6
        return own if self.protocol == own else None


def dissect(frame: bytes, vlan: int | None = None) -> Headers | Unparsed:
    """The headers of an Ethernet frame. `vlan` is the tag that the kernel took off, the outermost.

    A later fragment has `fragment` and ports 0; a first one has its ports and is not marked.
    """
    if len(frame) < 14:
        return Unparsed(f"the frame ends after {len(frame)} bytes, within its Ethernet header")
    (kind,) = struct.unpack_from("!H", frame, 12)
    offset = 14
    for _ in range(MOST_VLAN_TAGS):
        if kind not in VLAN_TAGS:
            break
        if len(frame) < offset + 4:
            return Unparsed("the frame ends within a VLAN tag")
        tag, kind = struct.unpack_from("!HH", frame, offset)
        vlan = tag & 0x0FFF if vlan is None else vlan
        offset += 4
    if kind == IPV4:
        packet = _ipv4(frame[offset:])
    elif kind == IPV6:
        packet = _ipv6(frame[offset:])
    else:
        return Unparsed(f"EtherType 0x{kind:04x} is neither IPv4 nor IPv6")
    return packet if isinstance(packet, Unparsed) else _headers(packet, vlan)


def _headers(packet: _Packet, vlan: int | None) -> Headers:
    five_tuple, told = _five_tuple(packet)
    tcp, icmp = None, None
    if told and not packet.fragment:
        if packet.protocol == Protocol.TCP:
            tcp, told = _tcp(packet.payload)
        elif packet.protocol == Protocol.UDP:
            told = len(packet.payload) >= 8 and struct.unpack_from("!H", packet.payload, 4)[0] >= 8
        elif packet.icmp is not None:
            icmp, told = _icmp(packet.icmp, packet.payload)
    return Headers(
        five_tuple=five_tuple,
        ttl=packet.ttl,
        length=packet.length,
        ip_id=packet.ip_id,
        vlan=vlan,
        tcp=tcp,
        icmp=icmp,
        fragment=packet.fragment,
        truncated=not told,
    )


def _five_tuple(packet: _Packet) -> tuple[FiveTuple, bool]:
    """The five-tuple, and whether its ports are told: False where they are cut off."""
    ports = _ports(packet)
    source_port, destination_port = ports or (0, 0)
    five_tuple = FiveTuple(
        protocol=packet.protocol,
        source=packet.source,
        source_port=source_port,
        destination=packet.destination,
        destination_port=destination_port,
    )
    return five_tuple, ports is not None


def _ports(packet: _Packet) -> tuple[int, int] | None:
    """(0, 0) for what has none; None where they should be there and are cut off."""
    if packet.fragment:
        return 0, 0
    if packet.cut:
        return None
    if packet.protocol in (Protocol.TCP, Protocol.UDP):
        if len(packet.payload) < 4:
            return None
        source, destination = struct.unpack_from("!HH", packet.payload)
        return source, destination
    if packet.icmp is None:
        return 0, 0
    if len(packet.payload) < 8:
        return None
    request, reply = ECHO[packet.icmp]
    (identifier,) = struct.unpack_from("!H", packet.payload, 4)
    return {request: (identifier, 0), reply: (0, identifier)}.get(packet.payload[0], (0, 0))


def _tcp(segment: bytes) -> tuple[TcpHeader | None, bool]:
    """RFC 9293, section 3.1. A data offset below 5 words leaves no header to believe."""
    if len(segment) < 20:
        return None, False
    sequence, acknowledgment, offset, flags = struct.unpack_from("!IIBB", segment, 4)
    words = offset >> 4
    if words < 5:
        return None, False
    header = TcpHeader(flags=TcpFlag(flags), sequence=sequence, acknowledgment=acknowledgment)
    return header, len(segment) >= 4 * words


def _icmp(protocol: Protocol, message: bytes) -> tuple[IcmpHeader, bool]:
    """`message` has its 8 bytes at least. Not told: an error whose quotation cannot be read."""
    kind, code, _, high, low = struct.unpack_from("!BBHHH", message)
    if kind in ECHO[protocol]:
        return IcmpHeader(type=kind, code=code, sequence=low), True
    if kind not in ICMP_ERRORS[protocol]:
        return IcmpHeader(type=kind, code=code), True
    mtu = 0
    if protocol is Protocol.ICMP and (kind, code) == FRAGMENTATION_NEEDED:
        mtu = low
    elif protocol is Protocol.ICMPV6 and kind == PACKET_TOO_BIG:
        mtu = high << 16 | low
    quotation = _ipv4(message[8:]) if protocol is Protocol.ICMP else _ipv6(message[8:])
    if isinstance(quotation, Unparsed):
        return IcmpHeader(type=kind, code=code, mtu=mtu), False
    quoted, told = _five_tuple(quotation)
    return IcmpHeader(type=kind, code=code, mtu=mtu, quoted=quoted), told


def _ipv4(data: bytes) -> _Packet | Unparsed:
    """RFC 791, section 3.1."""
    if len(data) < 20:
        return Unparsed(f"the IPv4 header ends after {len(data)} bytes")
    first, _, length, ip_id, offset, ttl, protocol = struct.unpack_from("!BBHHHBB", data)
    header = 4 * (first & 0x0F)
    if first >> 4 != 4:
        return Unparsed(f"the IPv4 header has version {first >> 4}")
    if header < 20:
        return Unparsed(f"the IPv4 header gives its own length as {header} bytes")
    if length < header:
        return Unparsed(f"the IPv4 total length is {length}, less than the header's {header}")
    return _Packet(
        source=IPv4Address(data[12:16]),
        destination=IPv4Address(data[16:20]),
        protocol=protocol,
        ttl=ttl,
        length=length,
        ip_id=ip_id,
        fragment=offset & 0x1FFF != 0,
        cut=len(data) < header,
        payload=data[header:length],
    )


def _ipv6(data: bytes) -> _Packet | Unparsed:
    """RFC 8200, section 3. A payload length of 0 before hop-by-hop options is a jumbogram's (RFC 2675): no end is known."""
    if len(data) < 40:
        return Unparsed(f"the IPv6 header ends after {len(data)} bytes")
    first, length, following, ttl = struct.unpack_from("!IHBB", data)
    if first >> 28 != 6:
        return Unparsed(f"the IPv6 header has version {first >> 28}")
    jumbo = length == 0 and following == HOP_BY_HOP
    chain = _extensions(following, data[40:] if jumbo else data[40 : 40 + length])
    return _Packet(
        source=IPv6Address(data[8:24]),
        destination=IPv6Address(data[24:40]),
        protocol=chain.protocol,
        ttl=ttl,
        length=40 + length,
        ip_id=chain.fragment_id,
        fragment=chain.fragment,
        cut=chain.cut,
        payload=chain.payload,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chain:
    """Where a chain of extension headers leads. `protocol` is the last next-header value that could be read."""

    protocol: int
    payload: bytes
    fragment_id: int | None
    fragment: bool = False
    cut: bool = False


def _extensions(following: int, data: bytes) -> _Chain:
    """Walks at most `MOST_EXTENSIONS` headers; behind a later fragment's header there is no further one to read."""
    offset, fragment_id = 0, None
    for _ in range(MOST_EXTENSIONS):
        if following not in EXTENSIONS:
            return _Chain(protocol=following, payload=data[offset:], fragment_id=fragment_id, cut=offset > len(data))
        if len(data) < offset + 8:
            break
        after, size = data[offset], data[offset + 1]
        if following == FRAGMENT:
            position, fragment_id = struct.unpack_from("!HI", data, offset + 2)
            if position & 0xFFF8:
                return _Chain(protocol=after, payload=b"", fragment_id=fragment_id, fragment=True)
            offset += 8
        elif following == AUTHENTICATION:
            offset += 4 * (size + 2)
        else:
            offset += 8 * (size + 1)
        following = after
    cut = following in EXTENSIONS or offset > len(data)
    return _Chain(protocol=following, payload=data[offset:], fragment_id=fragment_id, cut=cut)
