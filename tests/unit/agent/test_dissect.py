"""The header parser against frames that scapy builds, and against bytes that nobody would build."""

import time
from ipaddress import ip_address

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, ICMPerror, IPerror, IPOption_RR, TCPerror, UDPerror
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from pathtap.agent.dissect import Unparsed, dissect
from pathtap.model.address import FiveTuple
from pathtap.model.packet import Headers, TcpFlag

A, B = "192.0.2.1", "198.51.100.2"
A6, B6 = "2001:db8::1", "2001:db8::2"
ETHERNET = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


def tuple_of(protocol: int, source: str, source_port: int, destination: str, destination_port: int) -> FiveTuple:
    return FiveTuple(
        protocol=protocol,
        source=ip_address(source),
        source_port=source_port,
        destination=ip_address(destination),
        destination_port=destination_port,
    )


def read(packet: Packet, cut: int | None = None, vlan: int | None = None) -> Headers:
    headers = dissect(bytes(ETHERNET / packet)[:cut], vlan)
    assert isinstance(headers, Headers), headers
    return headers


@pytest.mark.parametrize("following", [6, 47, 50, 59])
def test_an_extension_header_that_is_longer_than_its_packet_is_cut_whatever_comes_behind_it(following: int) -> None:
    headers = read(IPv6(src=A6, dst=B6, nh=0, plen=8) / Raw(bytes((following, 255)) + bytes(6)))
    assert headers.five_tuple == tuple_of(following, A6, 0, B6, 0)
    assert headers.truncated


def test_tcp_over_ipv4() -> None:
    segment = TCP(sport=40000, dport=443, flags="SA", seq=7, ack=0xFFFFFFFF, options=[("MSS", 1460)])
    headers = read(IP(src=A, dst=B, ttl=61, id=0xBEEF) / segment / Raw(b"payload"))
    assert headers.five_tuple == tuple_of(6, A, 40000, B, 443)
    assert (headers.ttl, headers.ip_id, headers.length, headers.vlan) == (61, 0xBEEF, 20 + 24 + 7, None)
    assert headers.tcp is not None
    assert (headers.tcp.flags, headers.tcp.sequence) == (TcpFlag.SYN | TcpFlag.ACK, 7)
    assert headers.tcp.acknowledgment == 0xFFFFFFFF
    assert not headers.truncated
    assert not headers.fragment


def test_a_frame_cut_behind_its_headers_is_whole() -> None:
    packet = IP(src=A, dst=B) / TCP(sport=1, dport=2) / Raw(b"x" * 900)
    headers = read(packet, cut=14 + 20 + 20)
    assert not headers.truncated
    assert headers.length == 940


def test_udp_behind_ipv4_options() -> None:
    packet = IP(src=A, dst=B, options=[IPOption_RR(routers=["192.0.2.9"] * 3)]) / UDP(sport=53, dport=4242) / b"?"
    assert read(packet).five_tuple == tuple_of(17, A, 53, B, 4242)
    cut = read(packet, cut=14 + 24)
    assert cut.truncated
    assert cut.five_tuple == tuple_of(17, A, 0, B, 0)


@pytest.mark.parametrize(
    ("message", "ports"),
    [
        (ICMP(type=8, id=77, seq=3), (77, 0)),
        (ICMP(type=0, id=77, seq=3), (0, 77)),
        (ICMP(type=13, id=77, seq=3), (0, 0)),
    ],
)
def test_the_icmp_identifier_stands_at_the_asking_end(message: Packet, ports: tuple[int, int]) -> None:
    headers = read(IP(src=A, dst=B) / message)
    assert headers.five_tuple == tuple_of(1, A, ports[0], B, ports[1])
    assert headers.icmp is not None
    assert headers.icmp.sequence == (0 if ports == (0, 0) else 3)


def test_icmpv6_echo() -> None:
    assert read(IPv6(src=A6, dst=B6) / ICMPv6EchoRequest(id=9, seq=1)).five_tuple == tuple_of(58, A6, 9, B6, 0)
    reply = read(IPv6(src=B6, dst=A6, hlim=3) / ICMPv6EchoReply(id=9, seq=1))
    assert reply.five_tuple == tuple_of(58, B6, 0, A6, 9)
    assert (reply.ttl, reply.ip_id, reply.length) == (3, None, 48)


@pytest.mark.parametrize(
    ("quoted", "expected"),
    [
        (TCPerror(sport=40000, dport=443, seq=5), tuple_of(6, A, 40000, B, 443)),
        (UDPerror(sport=40000, dport=53), tuple_of(17, A, 40000, B, 53)),
        (ICMPerror(type=8, id=99, seq=2), tuple_of(1, A, 99, B, 0)),
    ],
)
def test_an_icmp_error_quotes_a_five_tuple(quoted: Packet, expected: FiveTuple) -> None:
    quotation = bytes(IPerror(src=A, dst=B, ttl=1) / quoted)[:28]
    headers = read(IP(src="203.0.113.9", dst=A) / ICMP(type=3, code=4, nexthopmtu=1400) / Raw(quotation))
    assert headers.icmp is not None
    assert headers.icmp.quoted == expected
    assert headers.icmp.mtu == 1400
    assert headers.five_tuple == tuple_of(1, "203.0.113.9", 0, A, 0)
    assert not headers.truncated


def test_an_icmp_error_with_a_quotation_cut_off() -> None:
    packet = IP(src=B, dst=A) / ICMP(type=11) / IPerror(src=A, dst=B) / UDPerror(sport=5, dport=6)
    only_addresses = read(packet, cut=14 + 20 + 8 + 20)
    assert only_addresses.truncated
    assert only_addresses.icmp is not None
    assert only_addresses.icmp.quoted == tuple_of(17, A, 0, B, 0)
    nothing = read(packet, cut=14 + 20 + 8 + 12)
    assert nothing.truncated
    assert nothing.icmp is not None
    assert nothing.icmp.quoted is None


def test_icmpv6_errors() -> None:
    quotation = bytes(IPv6(src=A6, dst=B6) / UDP(sport=7, dport=8))
    unreachable = read(IPv6(src=B6, dst=A6) / ICMPv6DestUnreach(code=4) / Raw(quotation))
    assert unreachable.icmp is not None
    assert unreachable.icmp.quoted == tuple_of(17, A6, 7, B6, 8)
    too_big = read(IPv6(src=B6, dst=A6) / ICMPv6PacketTooBig(mtu=70000) / Raw(quotation))
    assert too_big.icmp is not None
    assert too_big.icmp.mtu == 70000


@pytest.mark.parametrize(
    "chain",
    [
        IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 12)]),
        IPv6ExtHdrRouting(addresses=[B6]),
        IPv6ExtHdrDestOpt(),
        IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting() / IPv6ExtHdrFragment(id=5, m=1),
        AH(icv=b"\0" * 12, nh=6, payloadlen=4),
    ],
    ids=["hop-by-hop", "routing", "destination options", "four of them", "authentication"],
)
def test_ipv6_extension_headers(chain: Packet) -> None:
    headers = read(IPv6(src=A6, dst=B6) / chain / TCP(sport=10, dport=20))
    assert headers.five_tuple == tuple_of(6, A6, 10, B6, 20)
    assert not headers.truncated


def test_more_extension_headers_than_are_walked() -> None:
    chain: Packet = IPv6(src=A6, dst=B6)
    for _ in range(9):
        chain = chain / IPv6ExtHdrDestOpt()
    headers = read(chain / UDP(sport=1, dport=2))
    assert headers.truncated
    assert headers.five_tuple == tuple_of(60, A6, 0, B6, 0)


def test_later_fragments_have_no_ports() -> None:
    first = read(IP(src=A, dst=B, flags="MF", id=3) / UDP(sport=1, dport=2) / Raw(b"x" * 16))
    assert first.five_tuple == tuple_of(17, A, 1, B, 2)
    assert not first.fragment
    later = read(IP(src=A, dst=B, frag=3, id=3, proto=17) / Raw(b"\x00\x01\x00\x02payload!"))
    assert (later.fragment, later.truncated) == (True, False)
    assert later.five_tuple == tuple_of(17, A, 0, B, 0)
    six = read(IPv6(src=A6, dst=B6) / IPv6ExtHdrFragment(offset=3, id=0xABCDEF01, nh=17) / Raw(b"payload!"))
    assert (six.fragment, six.ip_id) == (True, 0xABCDEF01)
    assert six.five_tuple == tuple_of(17, A6, 0, B6, 0)


def test_vlan_tags() -> None:
    packet = IP(src=A, dst=B) / UDP(sport=1, dport=2)
    assert read(Dot1Q(vlan=42) / packet).vlan == 42
    assert read(Dot1AD(vlan=7) / Dot1Q(vlan=42) / packet).vlan == 7
    stripped = read(Dot1Q(vlan=42) / packet, vlan=9)
    assert (stripped.vlan, stripped.five_tuple.source_port) == (9, 1)


def test_padding_is_not_read_as_a_header() -> None:
    """An IP packet of 22 bytes in a frame padded to 60: the two bytes of TCP are all there is."""
    data = bytes(ETHERNET / IP(src=A, dst=B, proto=6, len=22) / Raw(b"\x01\x02")).ljust(60, b"\xff")
    headers = dissect(data)
    assert isinstance(headers, Headers)
    assert headers.truncated
    assert headers.five_tuple == tuple_of(6, A, 0, B, 0)


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (ARP(psrc=A, pdst=B), "EtherType 0x0806 is neither IPv4 nor IPv6"),
        (IP(src=A, dst=B, ihl=4) / UDP(), "the IPv4 header gives its own length as 16 bytes"),
        (IP(src=A, dst=B, len=19) / UDP(), "the IPv4 total length is 19, less than the header's 20"),
        (IP(src=A, dst=B, version=5) / UDP(), "the IPv4 header has version 5"),
        (IPv6(src=A6, dst=B6, version=4) / UDP(), "the IPv6 header has version 4"),
    ],
)
def test_absurd_headers_are_named(packet: Packet, reason: str) -> None:
    assert dissect(bytes(ETHERNET / packet)) == Unparsed(reason)


def test_frames_cut_within_the_first_headers() -> None:
    frame = bytes(ETHERNET / Dot1Q(vlan=1) / IP(src=A, dst=B) / UDP())
    assert dissect(frame[:13]) == Unparsed("the frame ends after 13 bytes, within its Ethernet header")
    assert dissect(frame[:16]) == Unparsed("the frame ends within a VLAN tag")
    assert dissect(frame[:30]) == Unparsed("the IPv4 header ends after 12 bytes")
    assert dissect(bytes(ETHERNET / IPv6())[:50]) == Unparsed("the IPv6 header ends after 36 bytes")


@pytest.mark.parametrize("words", [0, 4])
def test_an_absurd_tcp_data_offset_leaves_the_ports_alone(words: int) -> None:
    headers = read(IP(src=A, dst=B) / TCP(sport=1, dport=2, dataofs=words))
    assert headers.truncated
    assert headers.tcp is None
    assert headers.five_tuple == tuple_of(6, A, 1, B, 2)


def test_tcp_options_and_udp_lengths_that_cannot_be() -> None:
    assert read(IP(src=A, dst=B) / TCP(dataofs=15)).truncated
    assert read(IP(src=A, dst=B) / UDP(len=7)).truncated


def test_an_error_about_an_error_does_not_go_deeper() -> None:
    level = bytes(IP(src=A, dst=B, len=65535) / ICMP(type=3))[:28]
    headers = dissect(bytes(ETHERNET)[:12] + b"\x08\x00" + level * 2000)
    assert isinstance(headers, Headers)
    assert headers.icmp is not None
    assert headers.icmp.quoted == tuple_of(1, A, 0, B, 0)


FRAMES = [
    bytes(ETHERNET / packet)
    for packet in (
        IP(src=A, dst=B) / TCP(sport=1, dport=2, options=[("Timestamp", (1, 2))]),
        IP(src=A, dst=B, options=[IPOption_RR(routers=["192.0.2.9"])]) / UDP(sport=3, dport=4),
        IP(src=A, dst=B) / ICMP(type=3, code=1) / IPerror(src=B, dst=A) / TCPerror(sport=5, dport=6),
        Dot1AD(vlan=1) / Dot1Q(vlan=2) / IPv6(src=A6, dst=B6) / IPv6ExtHdrHopByHop() / ICMPv6EchoRequest(id=1),
        IPv6(src=A6, dst=B6) / ICMPv6DestUnreach() / IPv6(src=B6, dst=A6) / IPv6ExtHdrFragment(id=1) / UDP(),
        IPv6(src=A6, dst=B6) / AH(icv=b"\0" * 12, nh=60, payloadlen=4) / IPv6ExtHdrDestOpt() / TCP(),
    )
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    frame = bytearray(draw(st.sampled_from(FRAMES)))
    for position, value in draw(st.lists(st.tuples(st.integers(0, len(frame) - 1), st.integers(0, 255)), max_size=8)):
        frame[position] = value
    return bytes(frame[: draw(st.integers(0, len(frame)))]) + draw(st.binary(max_size=16))


def well_said(result: Headers | Unparsed, frame: bytes) -> None:
    """What holds for any frame: a reason, or addresses that stand in the frame."""
    if isinstance(result, Unparsed):
        assert result.reason
        return
    assert result.five_tuple.source.packed + result.five_tuple.destination.packed in frame
    if result.icmp is not None and result.icmp.quoted is not None:
        assert result.icmp.quoted.source.packed in frame
    assert not (result.fragment and (result.tcp or result.icmp))


@settings(max_examples=1500, deadline=None)
@given(mutated())
@example(b"")
@example(FRAMES[0][:12] + b"\x81\x00\x00\x01" * 16000)
def test_mutated_frames_never_raise(frame: bytes) -> None:
    started = time.perf_counter()
    result = dissect(frame)
    assert time.perf_counter() - started < 0.5
    well_said(result, frame)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"\x08\x00", b"\x86\xdd", b"\x81\x00"]))
def test_arbitrary_bytes_never_raise(data: bytes, kind: bytes) -> None:
    well_said(dissect(data), data)
    frame = b"\x00" * 12 + kind + data
    well_said(dissect(frame), frame)


PORT, WORD = st.integers(0, 65535), st.integers(0, 0xFFFFFFFF)


@settings(max_examples=300, deadline=None)
@given(
    addresses=st.one_of(
        st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)), st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6))
    ),
    ports=st.tuples(PORT, PORT),
    protocol=st.sampled_from([6, 17]),
    tags=st.lists(st.integers(0, 4095), max_size=2),
    size=st.integers(0, 40),
)
def test_a_well_formed_frame_gives_its_tuple(
    addresses: tuple[object, object], ports: tuple[int, int], protocol: int, tags: list[int], size: int
) -> None:
    source, destination = map(str, addresses)
    network = IPv6 if ":" in source else IP
    transport = (TCP if protocol == 6 else UDP)(sport=ports[0], dport=ports[1])
    packet: Packet = network(src=source, dst=destination) / transport / Raw(b"\xa5" * size)
    for tag in reversed(tags):
        packet = Dot1Q(vlan=tag) / packet
    headers = read(packet)
    assert headers.five_tuple == tuple_of(protocol, source, ports[0], destination, ports[1])
    assert headers.vlan == (tags[0] if tags else None)
    assert not headers.truncated
