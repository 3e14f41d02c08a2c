"""Puts entries into a network namespace's connection tracking table by ctnetlink, as many and as odd ones as a test wants."""

import socket
import struct
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address

# linux/netlink.h and linux/netfilter/nfnetlink_conntrack.h.
NETLINK_NETFILTER, CT_NEW = 12, 0x100
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 0x1, 0x4, 0x200, 0x400
NESTED = 0x8000
# IPS_CONFIRMED, IPS_SEEN_REPLY, IPS_ASSURED.
CONFIRMED, ASSURED = 1 << 3, 1 << 1 | 1 << 2
ICMP_KINDS = {1: (4, 5, 6, 8, 0), 58: (7, 8, 9, 128, 129)}
# TCP, UDP, DCCP, SCTP, UDPLITE; GRE, whose keys stand where others have ports.
PORTS = frozenset({6, 17, 33, 132, 136, 47})

End = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Original source and destination, and where the far end answers from and to; of ICMP the port is the identifier."""

    protocol: int
    source: End
    destination: End
    reply_source: End | None = None
    reply_destination: End | None = None
    zone: int = 0
    # 1: of the original direction alone.
    zone_direction: int = 0
    mark: int = 0
    timeout: int = 600
    tcp_state: int | None = None


def insert(entries: Iterable[Entry]) -> None:
    """Into the current namespace. Raises OSError for the first that the kernel does not take."""
    with closing(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)) as opened:
        opened.bind((0, 0))
        for entry in entries:
            opened.send(message(entry))
            (error,) = struct.unpack_from("=i", opened.recv(4096), 16)
            if error:
                raise OSError(-error, f"{entry} was not taken")


def message(entry: Entry) -> bytes:
    family = socket.AF_INET if ip_address(entry.source[0]).version == 4 else socket.AF_INET6
    reply_source, reply_destination = entry.reply_source or entry.destination, entry.reply_destination or entry.source
    zone = attribute(3, struct.pack("!H", entry.zone)) if entry.zone and entry.zone_direction else b""
    original = _tuple(entry.protocol, entry.source, entry.destination, False)
    body = struct.pack("!BBH", family, 0, 0)
    body += attribute(1 | NESTED, original + zone)
    body += attribute(2 | NESTED, _tuple(entry.protocol, reply_source, reply_destination, True))
    body += attribute(3, struct.pack("!I", CONFIRMED | ASSURED))
    body += attribute(7, struct.pack("!I", entry.timeout))
    if entry.mark:
        body += attribute(8, struct.pack("!I", entry.mark))
    if entry.zone and not zone:
        body += attribute(18, struct.pack("!H", entry.zone))
    if entry.tcp_state is not None:
        state = attribute(1, bytes([entry.tcp_state]))
        body += attribute(4 | NESTED, attribute(1 | NESTED, state))
    flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_EXCL | NLM_F_CREATE
    return struct.pack("=IHHII", 16 + len(body), CT_NEW, flags, 1, 0) + body


def _tuple(protocol: int, source: End, destination: End, reply: bool) -> bytes:
    ends = [ip_address(end[0]) for end in (source, destination)]
    first = 1 if isinstance(ends[0], IPv4Address) else 3
    addresses = b"".join(attribute(first + index, end.packed) for index, end in enumerate(ends))
    return attribute(1 | NESTED, addresses) + attribute(2 | NESTED, _numbers(protocol, source, destination, reply))


def _numbers(protocol: int, source: End, destination: End, reply: bool) -> bytes:
    number = attribute(1, bytes([protocol]))
    if protocol in ICMP_KINDS:
        identifier, kind, code, asks, answers = ICMP_KINDS[protocol]
        echo = attribute(identifier, struct.pack("!H", source[1] or destination[1]))
        return number + echo + attribute(kind, bytes([answers if reply else asks])) + attribute(code, b"\0")
    if protocol in PORTS:
        return number + attribute(2, struct.pack("!H", source[1])) + attribute(3, struct.pack("!H", destination[1]))
    return number


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)
