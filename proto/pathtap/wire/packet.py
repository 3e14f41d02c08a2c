"""Observed packets and counted losses, both ways. Knows no socket; the node's name stands on the envelope alone."""

import struct

from pathtap.model.packet import Direction, Headers, IcmpHeader, Lost, PacketObservation, TcpFlag, TcpHeader
from pathtap.model.rows import FIELDS, ICMP_LAYER, ROW, Mark, PacketRows
from pathtap.v1 import agent_pb2 as pb
from pathtap.wire.addresses import five_tuple_from_wire, five_tuple_to_wire
from pathtap.wire.errors import EnumTable, WireError, bounded, require

DIRECTIONS = EnumTable(
    "packet's direction",
    {Direction.IN: pb.PacketObservation.IN, Direction.OUT: pb.PacketObservation.OUT},
)
# Where a row's single bytes are whose values are bounded.
NAMES = tuple(name for name, _ in FIELDS)
CHECKED = {
    name: struct.calcsize("<" + "".join(kind for _, kind in FIELDS[: NAMES.index(name)]))
    for name in ("marks", "layer", "interface")
}
MOST_MARKS = sum(Mark)


def observation_to_wire(observation: PacketObservation) -> pb.PacketObservation:
    return pb.PacketObservation(
        sequence=observation.sequence,
        capture=observation.capture,
        captured_at_ns=observation.captured_at,
        interface=observation.interface,
        direction=DIRECTIONS.to_wire(observation.direction),
        headers=_headers_to_wire(observation.headers),
        for_another=observation.for_another,
    )


def observation_from_wire(message: pb.PacketObservation, node: str) -> PacketObservation:
    require(message, "headers")
    return PacketObservation(
        node=node,
        sequence=message.sequence,
        capture=message.capture,
        captured_at=message.captured_at_ns,
        interface=message.interface,
        direction=DIRECTIONS.from_wire(message.direction),
        headers=_headers_from_wire(message.headers),
        for_another=message.for_another,
    )


def rows_to_wire(rows: PacketRows) -> pb.PacketRows:
    return pb.PacketRows(capture=rows.capture, interfaces=rows.interfaces, rows=rows.rows)


def rows_from_wire(message: pb.PacketRows, node: str) -> PacketRows:
    """Looks at no more than it takes to know that every row can be read."""
    rows = message.rows
    if len(rows) % ROW.size:
        raise WireError(f"{len(rows)} bytes are no whole number of packets, of {ROW.size} bytes each.")
    largest = {name: max(rows[offset :: ROW.size], default=0) for name, offset in CHECKED.items()}
    bounded(largest["interface"], max(len(message.interfaces) - 1, 0), "packet's interface")
    bounded(largest["marks"], MOST_MARKS, "packet's marks")
    bounded(largest["layer"], ICMP_LAYER, "packet's layer")
    if rows and not message.interfaces:
        raise WireError("Packets came without the names of their interfaces.")
    return PacketRows(node=node, capture=message.capture, interfaces=tuple(message.interfaces), rows=rows)


def lost_to_wire(lost: Lost) -> pb.Lost:
    return pb.Lost(where=lost.where, count=lost.count, capture=lost.capture, interface=lost.interface, why=lost.why)


def lost_from_wire(message: pb.Lost, node: str) -> Lost:
    return Lost(
        node=node,
        where=message.where,
        count=message.count,
        capture=message.capture,
        interface=message.interface,
        why=message.why,
    )


def _headers_to_wire(headers: Headers) -> pb.Headers:
    return pb.Headers(
        five_tuple=five_tuple_to_wire(headers.five_tuple),
        ttl=headers.ttl,
        length=headers.length,
        ip_id=headers.ip_id,
        vlan=headers.vlan,
        tcp=None if headers.tcp is None else _tcp_to_wire(headers.tcp),
        icmp=None if headers.icmp is None else _icmp_to_wire(headers.icmp),
        fragment=headers.fragment,
        truncated=headers.truncated,
    )


def _headers_from_wire(message: pb.Headers) -> Headers:
    require(message, "five_tuple")
    has = message.HasField
    return Headers(
        five_tuple=five_tuple_from_wire(message.five_tuple),
        ttl=message.ttl,
        length=message.length,
        ip_id=message.ip_id if has("ip_id") else None,
        vlan=message.vlan if has("vlan") else None,
        tcp=_tcp_from_wire(message.tcp) if has("tcp") else None,
        icmp=_icmp_from_wire(message.icmp) if has("icmp") else None,
        fragment=message.fragment,
        truncated=message.truncated,
    )


def _tcp_to_wire(header: TcpHeader) -> pb.TcpHeader:
    return pb.TcpHeader(flags=int(header.flags), sequence=header.sequence, acknowledgment=header.acknowledgment)


def _tcp_from_wire(message: pb.TcpHeader) -> TcpHeader:
    return TcpHeader(flags=TcpFlag(message.flags), sequence=message.sequence, acknowledgment=message.acknowledgment)


def _icmp_to_wire(header: IcmpHeader) -> pb.IcmpHeader:
    return pb.IcmpHeader(
        type=header.type,
        code=header.code,
        sequence=header.sequence,
        mtu=header.mtu,
        quoted=None if header.quoted is None else five_tuple_to_wire(header.quoted),
    )


def _icmp_from_wire(message: pb.IcmpHeader) -> IcmpHeader:
    return IcmpHeader(
        type=message.type,
        code=message.code,
        sequence=message.sequence,
        mtu=message.mtu,
        quoted=five_tuple_from_wire(message.quoted) if message.HasField("quoted") else None,
    )
