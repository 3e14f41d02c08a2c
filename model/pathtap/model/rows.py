"""Many packets in few bytes: one row of fixed size for each, so that neither end makes an object of what nobody looks at.

A row holds what `Headers` holds of a packet without a quoted one: ICMP errors travel as observations of their own. Integers are
little-endian. `agent` writes rows by the same names, all at once.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from pathtap.model.address import Address, FiveTuple
from pathtap.model.packet import Direction, Headers, IcmpHeader, PacketObservation, TcpFlag, TcpHeader

# Name and struct format of each field, in order; an IPv4 address has the first 4 of its 16 bytes.
FIELDS = (
    ("captured_at", "Q"),
    ("sequence", "Q"),
    ("source", "16s"),
    ("destination", "16s"),
    ("source_port", "H"),
    ("destination_port", "H"),
    ("length", "I"),
    ("ip_id", "I"),
    ("tcp_sequence", "I"),
    ("tcp_acknowledgment", "I"),
    ("icmp_sequence", "H"),
    ("vlan", "H"),
    ("marks", "B"),
    ("protocol", "B"),
    ("ttl", "B"),
    ("tcp_flags", "B"),
    ("icmp_type", "B"),
    ("icmp_code", "B"),
    ("layer", "B"),
    ("interface", "B"),
)
ROW = struct.Struct("<" + "".join(kind for _, kind in FIELDS))
# What `layer` says of the transport header that was read.
NO_LAYER, TCP_LAYER, ICMP_LAYER = 0, 1, 2


class Mark(IntFlag):
    """Bits of `marks`. Without HAS_IP_ID and HAS_VLAN these fields mean nothing."""

    IPV6 = 1
    OUT = 2
    FOR_ANOTHER = 4
    FRAGMENT = 8
    TRUNCATED = 16
    HAS_IP_ID = 32
    HAS_VLAN = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketRows:
    """Packets of one capture on one node, in the order in which they were read. `interfaces` are those that rows number."""

    node: str
    capture: str
    interfaces: tuple[str, ...]
    rows: bytes

    def __len__(self) -> int:
        return len(self.rows) // ROW.size

    def observations(self) -> Iterator[PacketObservation]:
        return (self._observation(row) for row in ROW.iter_unpack(self.rows))

    def _observation(self, row: tuple[Any, ...]) -> PacketObservation:
        """Of the values of FIELDS, in their order."""
        captured_at, sequence, source, destination, source_port, destination_port, length, ip_id, *transport = row
        tcp_sequence, tcp_acknowledgment, icmp_sequence, vlan, marks, protocol, ttl, *rest = transport
        tcp_flags, icmp_type, icmp_code, layer, interface = rest
        tcp = TcpHeader(flags=TcpFlag(tcp_flags), sequence=tcp_sequence, acknowledgment=tcp_acknowledgment)
        icmp = IcmpHeader(type=icmp_type, code=icmp_code, sequence=icmp_sequence)
        headers = Headers(
            five_tuple=FiveTuple(
                protocol=protocol,
                source=_address(source, marks),
                source_port=source_port,
                destination=_address(destination, marks),
                destination_port=destination_port,
            ),
            ttl=ttl,
            length=length,
            ip_id=ip_id if marks & Mark.HAS_IP_ID else None,
            vlan=vlan if marks & Mark.HAS_VLAN else None,
            tcp=tcp if layer == TCP_LAYER else None,
            icmp=icmp if layer == ICMP_LAYER else None,
            fragment=bool(marks & Mark.FRAGMENT),
            truncated=bool(marks & Mark.TRUNCATED),
        )
        return PacketObservation(
            node=self.node,
            sequence=sequence,
            capture=self.capture,
            captured_at=captured_at,
            interface=self.interfaces[interface],
            direction=Direction.OUT if marks & Mark.OUT else Direction.IN,
            headers=headers,
            for_another=bool(marks & Mark.FOR_ANOTHER),
        )


def row_of(observation: PacketObservation, interface: int) -> bytes:
    """The row of an observation that quotes no packet; `interface` is its number."""
    headers, tuple_ = observation.headers, observation.headers.five_tuple
    tcp, icmp = headers.tcp, headers.icmp
    return ROW.pack(
        observation.captured_at,
        observation.sequence,
        tuple_.source.packed,
        tuple_.destination.packed,
        tuple_.source_port,
        tuple_.destination_port,
        headers.length,
        headers.ip_id or 0,
        tcp.sequence if tcp else 0,
        tcp.acknowledgment if tcp else 0,
        icmp.sequence if icmp else 0,
        headers.vlan or 0,
        _marks(observation),
        tuple_.protocol,
        headers.ttl,
        tcp.flags if tcp else 0,
        icmp.type if icmp else 0,
        icmp.code if icmp else 0,
        TCP_LAYER if tcp else ICMP_LAYER if icmp else NO_LAYER,
        interface,
    )


def fits_a_row(headers: Headers) -> bool:
    """Whether nothing of it is lost in a row."""
    return headers.icmp is None or (headers.icmp.quoted is None and not headers.icmp.mtu)


def _address(packed: bytes, marks: int) -> Address:
    return IPv6Address(packed) if marks & Mark.IPV6 else IPv4Address(packed[:4])


def _marks(observation: PacketObservation) -> int:
    headers = observation.headers
    bits = (
        (Mark.IPV6, headers.five_tuple.family == 6),
        (Mark.OUT, observation.direction is Direction.OUT),
        (Mark.FOR_ANOTHER, observation.for_another),
        (Mark.FRAGMENT, headers.fragment),
        (Mark.TRUNCATED, headers.truncated),
        (Mark.HAS_IP_ID, headers.ip_id is not None),
        (Mark.HAS_VLAN, headers.vlan is not None),
    )
    return sum(bit for bit, holds in bits if holds)
