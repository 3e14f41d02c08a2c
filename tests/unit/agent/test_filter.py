"""The kernel's own verdict on frames, asked without root: a filter on a Unix datagram socket cuts what it lets through."""

import ctypes
import socket
import struct
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, ICMPerror, IPerror, IPOption_RR, TCPerror, UDPerror
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from pathtap.agent.bpf import MOST_INSTRUCTIONS, NOTHING, Program, encode
from pathtap.agent.dissect import dissect
from pathtap.agent.filter import FilterError, expression, header_program
from pathtap.model.address import FiveTuple
from pathtap.model.packet import Headers
from pathtap.model.request import CaptureRequest

SO_ATTACH_FILTER = 26
NEAR, SNAT, FAR, BACKEND, OTHER = "192.0.2.1", "192.0.2.200", "198.51.100.2", "198.51.100.77", "203.0.113.9"
NEAR6, FAR6, OTHER6 = "2001:db8::1", "2001:db8:0:f::2", "2001:db8:ffff::9"
PAYLOAD = b"SECRETPAYLOAD" * 8


def addresses(*texts: str) -> tuple[object, ...]:
    return tuple(ip_address(text) for text in texts)


def request(**fields: object) -> CaptureRequest:
    given_fields: dict[str, object] = {
        "id": "t",
        "protocol": 0,
        "near": addresses(NEAR, SNAT, NEAR6),
        "far": addresses(FAR, BACKEND, FAR6),
    }
    return CaptureRequest(**{**given_fields, **fields})  # type: ignore[arg-type]


class Kernel:
    """Runs a program on frames: what it keeps of each."""

    def __init__(self, program: Program) -> None:
        self._in, self._out = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        instructions = ctypes.create_string_buffer(encode(program))
        described = struct.pack("@HP", len(program), ctypes.addressof(instructions))
        self._out.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)
        self._out.setblocking(False)

    def keeps(self, frame: bytes) -> bytes | None:
        self._in.send(frame)
        try:
            return self._out.recv(65536)
        except BlockingIOError:
            return None

    def close(self) -> None:
        self._in.close()
        self._out.close()


def kept(asked: CaptureRequest, frame: bytes) -> bytes | None:
    kernel = Kernel(header_program(asked))
    try:
        return kernel.keeps(frame)
    finally:
        kernel.close()


def ether(packet: Packet) -> bytes:
    return bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet)


def corpus(source: str, destination: str, near_port: int, far_port: int, forward: bool) -> list[tuple[Packet, int]]:
    """IPv4 packets of one flow's direction, each with the length of its headers from the IP header on."""
    sport, dport = (near_port, far_port) if forward else (far_port, near_port)
    ip = IP(src=source, dst=destination)
    routed = IP(src=source, dst=destination, options=[IPOption_RR(routers=[OTHER] * 3)])
    return [
        (ip / TCP(sport=sport, dport=dport), 40),
        (ip / TCP(sport=sport, dport=dport, options=[("Timestamp", (1, 2)), ("NOP", None), ("NOP", None)]), 52),
        (routed / TCP(sport=sport, dport=dport), 36 + 20),
        (ip / UDP(sport=sport, dport=dport), 28),
        (routed / UDP(sport=sport, dport=dport), 36 + 8),
        (ip / ICMP(type=8 if forward else 0, id=near_port), 28),
        (IP(src=source, dst=destination, frag=4, proto=17), 20),
        (IP(src=source, dst=destination, frag=4, proto=6), 20),
        (IP(src=source, dst=destination, flags="MF") / UDP(sport=sport, dport=dport), 28),
    ]


def errors(source: str, destination: str, sport: int, dport: int) -> list[tuple[Packet, int]]:
    """ICMP errors about packets from source to destination, sent by and to strangers as well."""
    quoted_ip = IPerror(src=source, dst=destination)
    routed = IPerror(src=source, dst=destination, options=[IPOption_RR(routers=[OTHER] * 3)])
    outer = IP(src=OTHER, dst="203.0.113.10")
    return [
        (outer / ICMP(type=3, code=1) / quoted_ip / TCPerror(sport=sport, dport=dport), 20 + 8 + 28),
        (outer / ICMP(type=11) / quoted_ip / UDPerror(sport=sport, dport=dport), 20 + 8 + 28),
        (outer / ICMP(type=3, code=4) / routed / UDPerror(sport=sport, dport=dport), 20 + 8 + 36 + 8),
        (outer / ICMP(type=12) / quoted_ip / ICMPerror(type=8, id=1), 20 + 8 + 28),
    ]


def corpus6(source: str, destination: str, near_port: int, far_port: int, forward: bool) -> list[tuple[Packet, int]]:
    sport, dport = (near_port, far_port) if forward else (far_port, near_port)
    ip = IPv6(src=source, dst=destination)
    echo = (ICMPv6EchoRequest if forward else ICMPv6EchoReply)(id=near_port)
    quoted = IPv6(src=source, dst=destination) / UDP(sport=sport, dport=dport)
    tcp = TCP(sport=sport, dport=dport)
    return [
        (ip / tcp, 60),
        (ip / UDP(sport=sport, dport=dport), 48),
        (ip / echo, 48),
        (ip / IPv6ExtHdrHopByHop() / tcp, 68),
        (ip / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting() / IPv6ExtHdrDestOpt() / tcp, 92),
        (ip / AH(icv=b"\0" * 12, nh=6, payloadlen=4) / tcp, 40 + 24 + 20),
        (ip / IPv6ExtHdrFragment(m=1, id=1) / UDP(sport=sport, dport=dport), 56),
        (ip / IPv6ExtHdrFragment(offset=9, id=1, nh=17), 48),
        (IPv6(src=OTHER6, dst=OTHER6) / ICMPv6DestUnreach() / quoted, 40 + 8 + 48),
    ]


def frames() -> list[tuple[bytes, int]]:
    """Every combination of near, far and stranger, untagged and tagged, with what its headers come to."""
    packets: list[tuple[Packet, int]] = []
    for near in (NEAR, SNAT, OTHER):
        for far in (FAR, BACKEND, OTHER):
            for port in (443, 80):
                packets += corpus(near, far, 50000, port, True) + corpus(far, near, 50000, port, False)
                packets += errors(near, far, 50000, port) + errors(far, near, port, 50000)
    for near in (NEAR6, OTHER6):
        for far in (FAR6, OTHER6):
            for port in (443, 80):
                packets += corpus6(near, far, 50000, port, True) + corpus6(far, near, 50000, port, False)
    built = [(ether(packet / Raw(PAYLOAD)), 14 + length) for packet, length in packets]
    built += [(ether(Dot1Q(vlan=5) / packet / Raw(PAYLOAD)), 18 + length) for packet, length in packets]
    return [*built, (ether(ARP(psrc=NEAR, pdst=FAR)), 0), (ether(Raw(PAYLOAD)), 0)]


FRAMES = frames()


def between(asked: CaptureRequest, flow: FiveTuple, portless: bool) -> bool:
    """The capture's rule for one five-tuple, said once more and plainly."""
    protocols = {0: {1, 6, 17, 58}, 1: {1, 58}, 58: {1, 58}}.get(asked.protocol, {asked.protocol})
    for one in (flow, flow.reversed):
        if one.source not in asked.near or (asked.far and one.destination not in asked.far):
            continue
        if portless:
            return True
        if one.protocol in protocols:
            is_icmp = one.protocol in (1, 58)
            if is_icmp or not asked.ports or one.destination_port in asked.ports:
                return True
    return False


def expected(asked: CaptureRequest, frame: bytes) -> bool:
    headers = dissect(frame)
    if not isinstance(headers, Headers):
        return False
    network = frame[18:] if frame[12:14] == b"\x81\x00" else frame[14:]
    extended = headers.five_tuple.family == 6 and network[6] in (0, 43, 44, 51, 60)
    if headers.fragment and not extended:
        protocol_only = replace(asked, ports=())
        return between(protocol_only, headers.five_tuple, False)
    if between(asked, headers.five_tuple, extended):
        return True
    quoted = headers.icmp.quoted if headers.icmp is not None else None
    return quoted is not None and between(asked, quoted, False)


REQUESTS = {
    "everything between them": request(),
    "tcp": request(protocol=6),
    "tcp 443": request(protocol=6, ports=(443,)),
    "udp 443": request(protocol=17, ports=(443,)),
    "icmp": request(protocol=1),
    "icmpv6": request(protocol=58),
    "any protocol, port 80": request(ports=(80,)),
    "any far end": request(far=()),
    "any far end, tcp 443": request(protocol=6, far=(), ports=(443,)),
    "IPv4 alone": request(near=addresses(NEAR), far=addresses(FAR)),
    "IPv6 alone": request(near=addresses(NEAR6), far=addresses(FAR6), protocol=17),
    "mixed families, one in common": request(near=addresses(NEAR), far=addresses(FAR, FAR6)),
    "neighbouring addresses": request(near=addresses("192.0.2.0", NEAR), far=addresses("2001:db8:0:f::3", FAR6, FAR)),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_kernel_selects_what_the_rule_says_and_keeps_the_headers_alone(name: str) -> None:
    asked = REQUESTS[name]
    kernel = Kernel(header_program(asked))
    selected = 0
    for frame, length in FRAMES:
        result = kernel.keeps(frame)
        assert (result is not None) == expected(asked, frame), (dissect(frame), result)
        if result is not None:
            selected += 1
            assert result == frame[:length], dissect(frame)
            assert PAYLOAD[:6] not in result
            assert dissect(result) == dissect(frame)
    kernel.close()
    assert 0 < selected < len(FRAMES)


@pytest.mark.parametrize("words", [0, 4])
def test_absurd_header_lengths_reach_the_parser(words: int) -> None:
    """Enough of the header is kept for the parser to see what is wrong with it."""
    frame = ether(IP(src=NEAR, dst=FAR) / TCP(dataofs=words) / Raw(PAYLOAD))
    assert kept(request(), frame) == frame[:54]


@pytest.mark.parametrize(
    "packet",
    [
        IP(src=NEAR, dst=FAR, proto=6) / Raw(b"\x01\x02\x03\x04"),
        IP(src=NEAR, dst=FAR, proto=1) / Raw(b"\x03\x00\x00"),
        IP(src=NEAR, dst=FAR, proto=17) / Raw(b"\x03"),
        IPv6(src=NEAR6, dst=FAR6, nh=6) / Raw(b"\x01\x02\x03\x04"),
        IPv6(src=NEAR6, dst=FAR6, nh=0) / Raw(b"\x06\xff\x03\x04\0\0\0\0"),
        IPv6(src=NEAR6, dst=FAR6, nh=60) / Raw(b"\x06\x00"),
    ],
)
def test_packets_that_end_within_a_header_are_kept_whole(packet: Packet) -> None:
    frame = ether(packet)
    assert kept(request(), frame) == frame
    headers = dissect(frame)
    assert isinstance(headers, Headers)
    assert headers.truncated


def test_behind_more_extension_headers_than_the_filter_walks_nothing_is_kept() -> None:
    packet: Packet = IPv6(src=NEAR6, dst=FAR6)
    for _ in range(5):
        packet = packet / IPv6ExtHdrDestOpt()
    result = kept(request(), ether(packet / UDP() / Raw(PAYLOAD)))
    assert result is not None
    assert len(result) == 14 + 40 + 4 * 8
    headers = dissect(result)
    assert isinstance(headers, Headers)
    assert headers.truncated


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FRAMES), st.lists(st.tuples(st.integers(14, 80), st.integers(0, 255)), max_size=6), st.data())
def test_no_frame_leaks_its_payload_or_breaks_the_program(
    sample: tuple[bytes, int], changes: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Whatever the header bytes say, what is kept is a prefix, and what the parser makes of it is what the frame says."""
    frame = bytearray(sample[0])
    for position, value in changes:
        if position < len(frame):
            frame[position] = value
    cut = bytes(frame[: data.draw(st.integers(14, len(frame)))])
    result = kept(request(), cut)
    assert result is None or cut.startswith(result)


def test_nothing_passes_a_closed_filter() -> None:
    kernel = Kernel(NOTHING)
    assert kernel.keeps(FRAMES[0][0]) is None
    kernel.close()


def many(count: int, form: Callable[[int], str]) -> tuple[object, ...]:
    return addresses(*(form(index) for index in range(count)))


def test_hundreds_of_addresses_fit() -> None:
    asked = request(
        near=many(200, lambda n: f"192.0.{n}.1"), far=many(200, lambda n: f"198.51.{n}.1"), protocol=6, ports=(443,)
    )
    assert len(header_program(asked)) < MOST_INSTRUCTIONS
    frame = ether(IP(src="192.0.199.1", dst="198.51.199.1") / TCP(dport=443) / Raw(PAYLOAD))
    assert kept(asked, frame) == frame[:54]


@pytest.mark.parametrize("count", [480, 5000])
def test_too_many_addresses_are_refused_in_a_sentence(count: int) -> None:
    asked = request(near=many(count, lambda n: f"2001:db8:{n * 3:x}::1"), far=addresses(FAR6))
    with pytest.raises(FilterError, match=rf"names {count + 1} addresses and 0 ports: .* 4096 instructions"):
        header_program(asked)


def test_requests_that_select_nothing_or_everything_are_refused() -> None:
    with pytest.raises(FilterError, match="no near address"):
        expression(request(near=()))
    with pytest.raises(FilterError, match="IP version"):
        expression(request(near=addresses(NEAR), far=addresses(FAR6)))


def test_the_expression_is_made_of_words_and_numbers_alone() -> None:
    text = expression(request(protocol=6, ports=(443,)))
    assert not set(text) - set("abcdefghijklmnopqrstuvwxyz0123456789 ()[]:&+<=>!")
