"""Decodes ctnetlink's messages from their bytes, for tables of hundreds of thousands of entries. Opens no socket.

`readers.conntrack` decodes an entry with pyroute2 in a tenth of a millisecond; `tuples_of` takes a few microseconds for it,
so that a whole table can be looked through, and `entry_of` is for the few that are wanted. Numbers are of
linux/netfilter/nfnetlink_conntrack.h; a body is struct nfgenmsg and what follows it.
"""

import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from pathtap.agent.readers.conntrack import ASKING, status_names, tcp_state_name
from pathtap.model.address import Address, FiveTuple, Protocol
from pathtap.model.conntrack import ConntrackEntry

NFGENMSG_BYTES = 4
# enum ctattr_type.
TUPLE_ORIG, TUPLE_REPLY, STATUS, PROTOINFO, TIMEOUT, MARK, ID, ZONE, FILTER = 1, 2, 3, 4, 7, 8, 12, 18, 25
# enum ctattr_tuple, ctattr_ip, ctattr_l4proto, ctattr_protoinfo, ctattr_protoinfo_tcp.
TUPLE_IP, TUPLE_PROTO = 1, 2
IP_ENDS = {4: (1, 2), 6: (3, 4)}
PROTO_NUM, SOURCE_PORT, DESTINATION_PORT = 1, 2, 3
# Of CTA_PROTO_ICMP_ID and CTA_PROTO_ICMP_TYPE, and the same of ICMPv6.
ICMP_ID_AND_TYPE = {Protocol.ICMP: (4, 5), Protocol.ICMPV6: (7, 8)}
PROTOINFO_TCP, TCP_STATE = 1, 1
NESTED = 0x8000
_TYPE = 0x3FFF
_HEADER = struct.Struct("=HH")


def _head(value: int, kind: int) -> bytes:
    """Of an attribute with `value` octets of content."""
    return _HEADER.pack(_HEADER.size + value, kind)


class Tuples(NamedTuple):
    """Both tuples of an entry, addresses packed; ports as a FiveTuple has them. The reply tuple's protocol is the same."""

    protocol: int
    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    reply_source: bytes
    reply_source_port: int
    reply_destination: bytes
    reply_destination_port: int

    @property
    def translates_source(self) -> bool:
        return self.source != self.reply_destination or self.source_port != self.reply_destination_port


class _Layout:
    """What ctnetlink_dump_tuples writes for a protocol with ports: the same headers at the same places in each entry."""

    def __init__(self, width: int, ends: tuple[int, int]) -> None:
        # The heads that do not change, and how many octets stand behind each until the next.
        heads = (
            (8 + 2 * width, TUPLE_IP | NESTED, 0),
            (width, ends[0], width),
            (width, ends[1], width),
            (24, TUPLE_PROTO | NESTED, 0),
            (1, PROTO_NUM, 4),
            (2, SOURCE_PORT, 4),
            (2, DESTINATION_PORT, 4),
        )
        inner = b"".join(_head(value, kind) + bytes(behind) for value, kind, behind in heads)
        compared = b"".join(b"\xff" * _HEADER.size + bytes(behind) for _, _, behind in heads)
        length = _HEADER.size + len(inner)
        expected = b"".join(_head(len(inner), direction | NESTED) + inner for direction in (TUPLE_ORIG, TUPLE_REPLY))
        mask = (b"\xff" * _HEADER.size + compared) * 2
        self._end = NFGENMSG_BYTES + 2 * length
        self._expected = int.from_bytes(expected, "little")
        self._mask = int.from_bytes(mask, "little")
        values = f"12x{width}s4x{width}s8xB3x4xH2x4xH2x"
        self._values = struct.Struct(f">{NFGENMSG_BYTES}x{values}{values}")

    def read(self, body: bytes) -> Tuples | None:
        """None where it is laid out otherwise."""
        compared = int.from_bytes(body[NFGENMSG_BYTES : self._end], "little") & self._mask
        if compared != self._expected or len(body) < self._end:
            return None
        unpacked = self._values.unpack_from(body)
        source, destination, protocol, source_port, destination_port = unpacked[:5]
        reply_source, reply_destination, _, reply_source_port, reply_destination_port = unpacked[5:]
        return Tuples(
            protocol,
            source,
            source_port,
            destination,
            destination_port,
            reply_source,
            reply_source_port,
            reply_destination,
            reply_destination_port,
        )


# AF_INET and AF_INET6.
_LAYOUTS = {2: _Layout(4, IP_ENDS[4]), 10: _Layout(16, IP_ENDS[6])}


def tuples_of(body: bytes) -> Tuples | None:
    """None for what is no entry of IPv4 or IPv6, or cut short."""
    layout = _LAYOUTS.get(body[0]) if body else None
    if layout is None:
        return None
    return layout.read(body) or _walked(_attributes(body, NFGENMSG_BYTES, len(body)))


def entry_of(body: bytes, node: str) -> ConntrackEntry | None:
    """Like `readers.conntrack.decode` of the same message; None as for `tuples_of`."""
    if not body or body[0] not in _LAYOUTS:
        return None
    attributes = _attributes(body, NFGENMSG_BYTES, len(body))
    found = _walked(attributes)
    if found is None:
        return None
    tcp = _nested(_nested(attributes, PROTOINFO), PROTOINFO_TCP)
    return ConntrackEntry(
        node=node,
        original=original_of(found),
        reply=reply_of(found),
        zone=_number(attributes, ZONE),
        mark=_number(attributes, MARK),
        status=status_names(_number(attributes, STATUS)),
        tcp_state=tcp_state_name(_number(tcp, TCP_STATE)) if TCP_STATE in tcp else "",
        timeout=_number(attributes, TIMEOUT),
    )


def identity_of(body: bytes) -> tuple[Tuples | None, int]:
    """The same for an entry each time that it is told of, another for one of the same tuples in another zone or later."""
    return tuples_of(body), _number(_attributes(body, NFGENMSG_BYTES, len(body)), ID)


def original_of(found: Tuples) -> FiveTuple:
    return FiveTuple(
        protocol=found.protocol,
        source=unpacked(found.source),
        source_port=found.source_port,
        destination=unpacked(found.destination),
        destination_port=found.destination_port,
    )


def reply_of(found: Tuples) -> FiveTuple:
    return FiveTuple(
        protocol=found.protocol,
        source=unpacked(found.reply_source),
        source_port=found.reply_source_port,
        destination=unpacked(found.reply_destination),
        destination_port=found.reply_destination_port,
    )


@lru_cache(maxsize=4096)
def unpacked(packed: bytes) -> Address:
    return ip_address(packed)


def _walked(attributes: Mapping[int, bytes]) -> Tuples | None:
    original, reply = (_one_tuple(_nested(attributes, kind)) for kind in (TUPLE_ORIG, TUPLE_REPLY))
    if original is None or reply is None:
        return None
    return Tuples(*original, *reply[1:])


def _one_tuple(attributes: Mapping[int, bytes]) -> tuple[int, bytes, int, bytes, int] | None:
    addresses, numbers = _nested(attributes, TUPLE_IP), _nested(attributes, TUPLE_PROTO)
    source_end, destination_end = IP_ENDS[6] if IP_ENDS[6][0] in addresses else IP_ENDS[4]
    source, destination = addresses.get(source_end, b""), addresses.get(destination_end, b"")
    if not (len(source) == len(destination) and len(source) in (4, 16) and PROTO_NUM in numbers):
        return None
    protocol = _number(numbers, PROTO_NUM)
    source_port, destination_port = _ports(protocol, numbers)
    return protocol, source, source_port, destination, destination_port


def _ports(protocol: int, numbers: Mapping[int, bytes]) -> tuple[int, int]:
    """An ICMP identifier stands at the end that asks. Protocols without ports have 0 at both."""
    if protocol in (Protocol.ICMP, Protocol.ICMPV6):
        identifier, kind = ICMP_ID_AND_TYPE[Protocol(protocol)]
        number = _number(numbers, identifier)
        asks = kind in numbers and _number(numbers, kind) in ASKING[Protocol(protocol)]
        return (number, 0) if asks else (0, number)
    return _number(numbers, SOURCE_PORT), _number(numbers, DESTINATION_PORT)


def _number(attributes: Mapping[int, bytes], kind: int) -> int:
    """Big-endian, as all of ctnetlink's numbers are; 0 where it is absent."""
    return int.from_bytes(attributes.get(kind, b""), "big")


def _nested(attributes: Mapping[int, bytes], kind: int) -> dict[int, bytes]:
    inner = attributes.get(kind, b"")
    return _attributes(inner, 0, len(inner))


def _attributes(data: bytes, start: int, end: int) -> dict[int, bytes]:
    return dict(_walk(data, start, end))


def _walk(data: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """struct nlattr: length with its own four octets, and type; each begins at a multiple of four. Stops at nonsense."""
    while start + 4 <= end:
        length, kind = _HEADER.unpack_from(data, start)
        if length < 4 or start + length > end:
            return
        yield kind & _TYPE, data[start + 4 : start + length]
        start += (length + 3) & ~3
