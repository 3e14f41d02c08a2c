"""Builds and reads the IPv4 packets of the differential test."""

import struct
from ipaddress import IPv4Address

from pathtap.model.address import FiveTuple, Protocol

ICMP_ECHO = 8


def checksum(data: bytes) -> int:
    """RFC 1071."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def ipv4(flow: FiveTuple, token: bytes) -> bytes:
    """An echo request, a SYN or a datagram that carries the token behind its header."""
    ends = flow.source.packed + flow.destination.packed
    if flow.protocol == Protocol.ICMP:
        body = struct.pack("!BBHHH", ICMP_ECHO, 0, 0, flow.source_port, 1) + token
        body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    elif flow.protocol == Protocol.UDP:
        body = struct.pack("!HHHH", flow.source_port, flow.destination_port, 8 + len(token), 0) + token
    else:
        body = struct.pack("!HHIIBBHHH", flow.source_port, flow.destination_port, 1, 0, 5 << 4, 2, 65535, 0, 0) + token
        pseudo = ends + struct.pack("!BBH", 0, flow.protocol, len(body))
        body = body[:16] + struct.pack("!H", checksum(pseudo + body)) + body[18:]
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, 0, 64, flow.protocol, 0) + ends
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + body


def parse(data: bytes) -> FiveTuple | None:
    """None for what the test did not send: the node's ICMP errors quote the token too."""
    protocol, body = data[9], data[20:]
    first, second = struct.unpack_from("!HH", body)
    if protocol == Protocol.ICMP:
        if body[0] != ICMP_ECHO:
            return None
        first, second = struct.unpack_from("!H", body, 4)[0], 0
    return FiveTuple(
        protocol=protocol,
        source=IPv4Address(data[12:16]),
        source_port=first,
        destination=IPv4Address(data[16:20]),
        destination_port=second,
    )
