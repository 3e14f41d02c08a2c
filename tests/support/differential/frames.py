"""Builds and reads the packets of the differential test, IPv4 and IPv6.

Each carries its number, the token, eight bytes behind its transport header's beginning: in the payload of a datagram or an echo,
in the acknowledgment number of a TCP segment. NAT changes it nowhere, and the kernel's errors quote it.
"""

import struct
from dataclasses import dataclass
from ipaddress import ip_address

from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.packet import TcpFlag

ASKS = {Protocol.ICMP: 8, Protocol.ICMPV6: 128}
ANSWERS = {Protocol.ICMP: 0, Protocol.ICMPV6: 129}
ERRORS = {Protocol.ICMP: frozenset({3, 4, 5, 11, 12}), Protocol.ICMPV6: frozenset({1, 2, 3, 4})}
IPV4_HEADER, IPV6_HEADER, ICMP_HEADER = 20, 40, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """`refused` says that this is an error about the packet with that token, by ICMP or RST, and not that packet itself."""

    token: int
    five_tuple: FiveTuple
    refused: bool = False


def checksum(data: bytes) -> int:
    """RFC 1071."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def build(flow: FiveTuple, token: int, flags: TcpFlag, sequence: int, tos: int = 0) -> bytes:
    """An IP packet. `flags` and `sequence` are for TCP; an echo asks where the identifier stands at its source."""
    body = transport(flow, token, flags, sequence)
    ends = flow.source.packed + flow.destination.packed
    if flow.family == 6:
        return struct.pack("!IHBB", 6 << 28 | tos << 20, len(body), flow.protocol, 64) + ends + body
    header = struct.pack("!BBHHHBBH", 0x45, tos, IPV4_HEADER + len(body), 7, 0, 64, flow.protocol, 0) + ends
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + body


def transport(flow: FiveTuple, token: int, flags: TcpFlag, sequence: int) -> bytes:
    """What follows the IP header, with its checksum."""
    mark = struct.pack("!I", token)
    if flow.protocol in ASKS:
        protocol = Protocol(flow.protocol)
        kind = ASKS[protocol] if flow.source_port else ANSWERS[protocol]
        body, at = struct.pack("!BBHHH", kind, 0, 0, flow.source_port or flow.destination_port, 1) + mark, 2
    elif flow.protocol == Protocol.UDP:
        body, at = struct.pack("!HHHH", flow.source_port, flow.destination_port, 12, 0) + mark, 6
    else:
        ports = struct.pack("!HHI", flow.source_port, flow.destination_port, sequence)
        body, at = ports + mark + struct.pack("!BBHHH", 5 << 4, flags, 65535, 0, 0), 16
    ends = flow.source.packed + flow.destination.packed + struct.pack("!II", len(body), flow.protocol)
    summed = checksum(body if flow.protocol == Protocol.ICMP else ends + body)
    return body[:at] + struct.pack("!H", summed or 0xFFFF) + body[at + 2 :]


def parse(data: bytes) -> Parsed | None:
    """None for what the test did not send and what is no answer to it."""
    found = _headers(data)
    if found is None:
        return None
    flow, body = found
    if flow.protocol in ASKS and body[0] in ERRORS[Protocol(flow.protocol)]:
        quoted = _headers(body[ICMP_HEADER:])
        return Parsed(token=_token(quoted[1]), five_tuple=quoted[0], refused=True) if quoted else None
    if flow.protocol in ASKS and body[0] not in (ASKS[Protocol(flow.protocol)], ANSWERS[Protocol(flow.protocol)]):
        return None
    if flow.protocol == Protocol.TCP and body[13] & TcpFlag.RST:
        sequence, acknowledged = struct.unpack_from("!II", body, 4)
        return Parsed(token=acknowledged - 1 if body[13] & TcpFlag.ACK else sequence, five_tuple=flow, refused=True)
    return Parsed(token=_token(body), five_tuple=flow)


def _token(body: bytes) -> int:
    token: int = struct.unpack_from("!I", body, 8)[0]
    return token


def _headers(data: bytes) -> tuple[FiveTuple, bytes] | None:
    """The flow and what follows the IP header; None for other protocols and what was cut off."""
    version = data[0] >> 4 if data else 0
    length = {4: IPV4_HEADER, 6: IPV6_HEADER}.get(version, 0)
    if not length or len(data) < length + 12:
        return None
    protocol = data[9] if version == 4 else data[6]
    source, destination = (data[12:16], data[16:20]) if version == 4 else (data[8:24], data[24:40])
    body = data[length:]
    if protocol in ASKS:
        identifier = struct.unpack_from("!H", body, 4)[0]
        first, second = (0, identifier) if body[0] == ANSWERS[Protocol(protocol)] else (identifier, 0)
    elif protocol in (Protocol.TCP, Protocol.UDP):
        first, second = struct.unpack_from("!HH", body)
    else:
        return None
    ends = ip_address(source), ip_address(destination)
    flow = FiveTuple(protocol=protocol, source=ends[0], source_port=first, destination=ends[1], destination_port=second)
    return flow, body
