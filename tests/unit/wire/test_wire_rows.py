"""Packets in rows: nothing of a packet is lost in one, and bytes that are no rows are refused."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathtap import wire
from pathtap.model.address import FiveTuple
from pathtap.model.packet import Direction, Headers, IcmpHeader, PacketObservation, TcpFlag, TcpHeader
from pathtap.model.rows import ROW, PacketRows, fits_a_row, row_of
from pathtap.v1 import agent_pb2 as pb

INTERFACES = ("eth0", "eni4bf0c2a91d3")
U8, U16, U32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))


@st.composite
def observations(draw: st.DrawFn) -> PacketObservation:
    addresses = st.ip_addresses(v=4) if draw(st.booleans()) else st.ip_addresses(v=6)
    source, destination = draw(addresses), draw(addresses)
    tcp = st.builds(TcpHeader, flags=U8.map(TcpFlag), sequence=U32, acknowledgment=U32)
    icmp = st.builds(IcmpHeader, type=U8, code=U8, sequence=U16)
    layer = draw(st.one_of(st.none(), tcp, icmp))
    headers = Headers(
        five_tuple=FiveTuple(
            protocol=draw(U8),
            source=source,
            source_port=draw(U16),
            destination=destination,
            destination_port=draw(U16),
        ),
        ttl=draw(U8),
        length=draw(U32),
        ip_id=draw(st.none() | U32),
        vlan=draw(st.none() | U16),
        tcp=layer if isinstance(layer, TcpHeader) else None,
        icmp=layer if isinstance(layer, IcmpHeader) else None,
        fragment=draw(st.booleans()),
        truncated=draw(st.booleans()),
    )
    return PacketObservation(
        node="n",
        sequence=draw(st.integers(1, 2**63)),
        capture="c",
        captured_at=draw(st.integers(0, 2**63)),
        interface=draw(st.sampled_from(INTERFACES)),
        direction=draw(st.sampled_from(Direction)),
        headers=headers,
        for_another=draw(st.booleans()),
    )


@given(st.lists(observations(), max_size=5))
def test_nothing_of_a_packet_is_lost_in_a_row_and_on_the_wire(packets: list[PacketObservation]) -> None:
    packed = b"".join(row_of(each, INTERFACES.index(each.interface)) for each in packets)
    rows = PacketRows(node="n", capture="c", interfaces=INTERFACES, rows=packed)
    sent = wire.batch_to_wire((), (), [rows]).SerializeToString()
    (received,) = wire.batch_from_wire(pb.Batch.FromString(sent), "n")[2]
    assert list(received.observations()) == packets
    assert len(received) == len(packets)


def test_what_quotes_another_packet_or_names_an_mtu_is_not_for_rows() -> None:
    ends = FiveTuple(
        protocol=1,
        source=ip_address("192.0.2.1"),
        source_port=0,
        destination=ip_address("192.0.2.2"),
        destination_port=0,
    )
    quoting = (IcmpHeader(type=3, code=1, quoted=ends), IcmpHeader(type=3, code=4, mtu=1300))
    assert not any(fits_a_row(Headers(five_tuple=ends, ttl=1, length=56, icmp=icmp)) for icmp in quoting)
    assert fits_a_row(Headers(five_tuple=ends, ttl=1, length=28, icmp=IcmpHeader(type=8, code=0, sequence=7)))


def row_with(offset: int, value: int) -> bytes:
    row = bytearray(ROW.size)
    row[offset] = value
    return bytes(row)


@pytest.mark.parametrize(
    "message",
    [
        pb.PacketRows(interfaces=["eth0"], rows=b"x"),
        pb.PacketRows(interfaces=["eth0"], rows=bytes(ROW.size - 1)),
        pb.PacketRows(interfaces=[], rows=bytes(ROW.size)),
        pb.PacketRows(interfaces=["eth0"], rows=row_with(79, 1)),
        pb.PacketRows(interfaces=["eth0"], rows=bytes(ROW.size) + row_with(72, 128)),
        pb.PacketRows(interfaces=["eth0"], rows=row_with(78, 3)),
    ],
    ids=["one byte", "a byte short", "no interface", "unknown interface", "unknown mark", "unknown layer"],
)
def test_bytes_that_are_no_rows_are_refused(message: pb.PacketRows) -> None:
    with pytest.raises(wire.WireError):
        wire.batch_from_wire(pb.Batch(rows=[message]), "n")
