"""Picks out of many packets the few that a question is about, by the bytes of their rows: what nobody asks for becomes no object.

Pure. Knows the layout of rows by the names of their fields alone. An IPv4 address and an IPv6 one that begins with its four bytes
and goes on with zeros are alike here: what is picked may hold a packet too many, never one too few.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import TypeAlias

from pathtap.model.address import FiveTuple
from pathtap.model.rows import FIELDS, ROW, TCP_LAYER, PacketRows

NAMES = tuple(name for name, _ in FIELDS)
# Of each flow on each node, how many packets are told apart; what NAT leaves alone of them is then looked for everywhere.
MOST_PACKETS = 500

# The bytes of addresses and ports as a row has them, then the protocol.
Key: TypeAlias = tuple[bytes, int]


def layout(*spans: tuple[str, str]) -> struct.Struct:
    """Reads of each row these spans of fields, given by their first and last: one field as its value, several as bytes."""
    form, at = "<", 0
    for first, last in spans:
        begin, end = NAMES.index(first), NAMES.index(last)
        form += f"{_size(at, begin)}x" + (FIELDS[begin][1] if first == last else f"{_size(begin, end + 1)}s")
        at = end + 1
    return struct.Struct(form + f"{_size(at, len(FIELDS))}x")


def _size(first: int, end: int) -> int:
    """Bytes of the fields from the one of this number to before that one."""
    return struct.calcsize("<" + "".join(kind for _, kind in FIELDS[first:end]))


_FLOW = layout(("source", "destination_port"), ("protocol", "protocol"))
# With what NAT leaves alone of a packet (`correlate.identity`): lengths, numbers, flags, types.
_PACKET = layout(
    ("source", "destination_port"), ("length", "icmp_sequence"), ("protocol", "protocol"), ("tcp_flags", "layer")
)
# Everything by which two sightings differ, but for the time: at one place the first of them is the one that counts.
_SIGHTING = slice(_size(0, NAMES.index("source")), ROW.size)
_IP_ID = slice(
    _size(NAMES.index("length"), NAMES.index("ip_id")), _size(NAMES.index("length"), NAMES.index("tcp_sequence"))
)
NO_IP_ID = bytes(_IP_ID.stop - _IP_ID.start)


def key_of(flow: FiveTuple) -> Key:
    ends = struct.pack(
        "<16s16sHH", flow.source.packed, flow.destination.packed, flow.source_port, flow.destination_port
    )
    return ends, flow.protocol


def reversed_key(key: Key) -> Key:
    ends, protocol = key
    return ends[16:32] + ends[:16] + ends[34:36] + ends[32:34], protocol


def flows_in(chunks: Iterable[PacketRows], most: int) -> tuple[tuple[FiveTuple, ...], bool]:
    """The first `most` five-tuples of these packets, in the order in which they were first seen, and whether that is all."""
    seen: dict[Key, tuple[PacketRows, int]] = {}
    for chunk in chunks:
        for number, key in enumerate(_FLOW.iter_unpack(chunk.rows)):
            if key not in seen:
                if len(seen) == most:
                    return _named(seen.values()), False
                seen[key] = (chunk, number)
    return _named(seen.values()), True


def _named(places: Iterable[tuple[PacketRows, int]]) -> tuple[FiveTuple, ...]:
    flows = (next(one(chunk, number).observations()).headers.five_tuple for chunk, number in places)
    return tuple(dict.fromkeys(flows))


def sift(chunks: Sequence[PacketRows], flows: Set[FiveTuple], most: int = MOST_PACKETS) -> Iterator[PacketRows]:
    """The packets that tell of `flows` there and back: theirs, and those that are the same packets under another tuple.

    Of each flow on each node the first `most` packets, each at every place where it was seen, once.
    """
    forward = {key_of(flow) for flow in flows}
    forward |= _elsewhere(chunks, forward)
    tuples = forward | {reversed_key(key) for key in forward}
    packets = _packets(chunks, tuples, most)
    seen: set[tuple[str, tuple[str, ...], bytes]] = set()
    for chunk in chunks:
        kept = []
        for number, (ends, *numbers) in enumerate(_PACKET.iter_unpack(chunk.rows)):
            if (ends, numbers[1]) in tuples and tuple(numbers) in packets:
                row = chunk.rows[number * ROW.size : (number + 1) * ROW.size]
                if (sighting := (chunk.node, chunk.interfaces, row[_SIGHTING])) not in seen:
                    seen.add(sighting)
                    kept.append(row)
        if kept:
            yield _of(chunk, b"".join(kept))


def _elsewhere(chunks: Iterable[PacketRows], flows: Set[Key]) -> set[Key]:
    """Every tuple under which a packet of these was seen; one without IP id and TCP sequence cannot be told from another's."""
    packets = {
        (numbers, protocol, kinds)
        for chunk in chunks
        for ends, numbers, protocol, kinds in _PACKET.iter_unpack(chunk.rows)
        if (ends, protocol) in flows and (numbers[_IP_ID] != NO_IP_ID or kinds[-1] == TCP_LAYER)
    }
    if not packets:
        return set()
    return {
        (ends, protocol)
        for chunk in chunks
        for ends, numbers, protocol, kinds in _PACKET.iter_unpack(chunk.rows)
        if (numbers, protocol, kinds) in packets
    }


def _packets(chunks: Iterable[PacketRows], tuples: Set[Key], most: int) -> set[tuple[object, ...]]:
    """What NAT leaves alone of the first `most` packets of each of these tuples on each node."""
    counted: dict[tuple[str, Key], set[tuple[object, ...]]] = {}
    for chunk in chunks:
        for ends, numbers, protocol, kinds in _PACKET.iter_unpack(chunk.rows):
            if (ends, protocol) in tuples:
                known = counted.setdefault((chunk.node, (ends, protocol)), set())
                if len(known) < most:
                    known.add((numbers, protocol, kinds))
    return {packet for known in counted.values() for packet in known}


def one(chunk: PacketRows, number: int) -> PacketRows:
    """The row of this number, from 0, alone."""
    return _of(chunk, chunk.rows[number * ROW.size : (number + 1) * ROW.size])


def _of(chunk: PacketRows, rows: bytes) -> PacketRows:
    return PacketRows(node=chunk.node, capture=chunk.capture, interfaces=chunk.interfaces, rows=rows)
