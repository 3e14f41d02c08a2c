"""Capture filters against what libpcap makes of the same expression, frame by frame and instruction by instruction, and
against a plain statement of which packets a request means."""

import ctypes
import socket
import struct
from dataclasses import replace
from ipaddress import ip_address

import cbpf
import frames
import frames_odd
import pytest
from frames import BACKEND, FAR, FAR6, NEAR, NEAR6, SNAT, Sample
from hypothesis import given, settings
from hypothesis import strategies as st

from pathtap.agent.bpf import Program, encode
from pathtap.agent.dissect import dissect
from pathtap.agent.filter import compile_expression, expression, header_program
from pathtap.model.address import Address, FiveTuple
from pathtap.model.packet import Headers
from pathtap.model.request import CaptureRequest

SO_ATTACH_FILTER = 26
CORPUS = (*frames.sound(), *frames.recorded(), *frames_odd.odd())


def request(
    near: tuple[str, ...], far: tuple[str, ...], protocol: int = 0, ports: tuple[int, ...] = ()
) -> CaptureRequest:
    ends = (tuple(ip_address(text) for text in side) for side in (near, far))
    return CaptureRequest(id="t", protocol=protocol, ports=ports, near=next(ends), far=next(ends))


BOTH_NEAR, BOTH_FAR = (NEAR, SNAT, NEAR6), (FAR, BACKEND, FAR6)
REQUESTS = {
    "a pair": request((NEAR,), (FAR,)),
    "a flow": request((NEAR,), (FAR,), 6, (443,)),
    "a flow and its translations": request((NEAR, SNAT), (FAR, BACKEND), 6, (443, 8443)),
    "DNS": request((NEAR, SNAT), (FAR,), 17, (53,)),
    "echoes": request((NEAR, SNAT), (FAR,), 1),
    "an IPv6 pair": request((NEAR6,), (FAR6,)),
    "an IPv6 flow": request((NEAR6,), (FAR6,), 6, (443,)),
    "IPv6 echoes": request((NEAR6,), (FAR6,), 58),
    "both families": request(BOTH_NEAR, BOTH_FAR),
    "both families, one port": request(BOTH_NEAR, BOTH_FAR, 0, (443,)),
    "both families, UDP": request(BOTH_NEAR, BOTH_FAR, 17, (53, 40000)),
    "any far end": request((NEAR,), ()),
    "any far end of either family, TCP": request(BOTH_NEAR, (), 6, (443,)),
    "a prefix": request(tuple(f"192.0.2.{n}" for n in range(256)), (FAR,), 6, (443,)),
    "scattered addresses": request(tuple(f"192.0.2.{n}" for n in range(1, 200, 2)), (FAR, BACKEND), 0, (443,)),
}


def between(asked: CaptureRequest, flow: FiveTuple, *, ports: bool, protocols: bool = True) -> bool:
    """Whether a five-tuple is the request's, either way round; `ports` and `protocols` say whether theirs are to be asked."""
    icmp = 1 if flow.family == 4 else 58
    wanted = {0: (icmp, 6, 17), 1: (icmp,), 58: (icmp,)}.get(asked.protocol, (asked.protocol,))
    if protocols and flow.protocol not in wanted:
        return False
    asks_ports = ports and asked.ports and flow.protocol in (6, 17)
    return any(
        one.source in asked.near
        and (not asked.far or one.destination in asked.far)
        and (not asks_ports or one.destination_port in asked.ports)
        for one in (flow, flow.reversed)
    )


def meant(asked: CaptureRequest, headers: Headers, network: bytes) -> bool:
    """The rule of CaptureRequest and of docs/capture.md for the whole packet `network`, read as `headers`."""
    if has_extensions(network):
        return between(asked, headers.five_tuple, ports=False, protocols=False)
    if between(asked, headers.five_tuple, ports=not headers.fragment):
        return True
    quoted = headers.icmp.quoted if headers.icmp is not None else None
    if quoted is None:
        return False
    quotation = network[8 + (40 if quoted.family == 6 else 4 * (network[0] & 15)) :]
    if has_extensions(quotation):
        return between(asked, quoted, ports=False, protocols=False)
    later = quoted.family == 4 and (quotation[6] & 0x1F or quotation[7])
    return between(asked, quoted, ports=not later)


def link_and_network(frame: bytes) -> tuple[int, bytes]:
    """How many VLAN tags, and what is behind them."""
    tags = 0
    while frame[12 + 4 * tags : 14 + 4 * tags] in (b"\x81\x00", b"\x88\xa8"):
        tags += 1
    return tags, frame[14 + 4 * tags :]


def has_extensions(network: bytes) -> bool:
    """An IPv6 packet with extension headers: its ports are not where a filter finds them."""
    return network[0] >> 4 == 6 and network[6] in (0, 43, 44, 51, 60)


@pytest.fixture(scope="module", params=REQUESTS)
def asked(request: pytest.FixtureRequest) -> CaptureRequest:
    return REQUESTS[request.param]


def test_the_corpus_is_large_and_its_frames_are_distinct() -> None:
    assert len(frames.sound()) > 1000
    assert len(frames_odd.odd()) > 1500
    assert len(frames.recorded()) > 100
    assert len({sample.name for sample in CORPUS}) == len(CORPUS)


def test_every_frame_is_accepted_exactly_where_libpcap_accepts_it_for_no_more_instructions(
    asked: CaptureRequest,
) -> None:
    own, theirs = header_program(asked), compile_expression(expression(asked))
    rejected = 0
    for sample in CORPUS:
        ours, libpcaps = cbpf.run(own, sample.frame), cbpf.run(theirs, sample.frame)
        assert bool(ours.result) == bool(libpcaps.result), sample.name
        if not ours.result:
            rejected += 1
            assert ours.executed <= libpcaps.executed, sample.name
    assert 0 < rejected < len(CORPUS)


def test_sound_frames_are_selected_by_the_rule_and_cut_behind_their_headers(asked: CaptureRequest) -> None:
    program, selected = header_program(asked), 0
    for name, frame in (*frames.sound(), *frames.recorded()):
        kept, headers = cbpf.run(program, frame).result, dissect(frame)
        tags, network = link_and_network(frame)
        wanted = isinstance(headers, Headers) and tags < 2 and meant(asked, headers, network)
        assert bool(kept) == wanted, name
        if not kept:
            continue
        selected += 1
        if not isinstance(headers, Headers) or headers.truncated:
            continue
        # Behind four extension headers nothing is kept: docs/capture.md.
        if "six of them" not in name and not quotes_extensions(network):
            assert dissect(frame[:kept]) == headers, name
            assert frames.PAYLOAD[:8] not in frame[14:kept], name
    assert selected


def quotes_extensions(network: bytes) -> bool:
    return network[0] >> 4 == 6 and network[6] == 58 and network[40] <= 4 and network[48 + 6] in (0, 43, 44, 51, 60)


def test_what_an_odd_frame_still_tells_for_certain_is_not_missed(asked: CaptureRequest) -> None:
    """Where the parser reads addresses and ports that are meant, the filter must have let the frame through."""
    program, told = header_program(asked), 0
    for name, frame in frames_odd.odd():
        headers = dissect(frame)
        if not isinstance(headers, Headers) or headers.truncated:
            continue
        tags, network = link_and_network(frame)
        if tags < 2 and meant(asked, headers, network):
            told += 1
            assert cbpf.run(program, frame).result, name
    assert told or asked.near[0].version == 6


class Kernel:
    """Runs a program on frames: a Unix datagram socket cuts what its filter lets through."""

    def __init__(self, program: Program) -> None:
        self._in, self._out = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        instructions = ctypes.create_string_buffer(encode(program))
        described = struct.pack("@HP", len(program), ctypes.addressof(instructions))
        self._out.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)
        self._out.setblocking(False)

    def keeps(self, frame: bytes) -> int:
        self._in.send(frame)
        try:
            return len(self._out.recv(100_000))
        except BlockingIOError:
            return 0

    def close(self) -> None:
        self._in.close()
        self._out.close()


def test_this_kernel_keeps_of_each_frame_what_the_interpreter_says(asked: CaptureRequest) -> None:
    program = header_program(asked)
    kernel = Kernel(program)
    for name, frame in CORPUS:
        if frame:
            assert kernel.keeps(frame) == min(cbpf.run(program, frame).result, len(frame)), name
    kernel.close()


def addresses(*texts: str) -> st.SearchStrategy[tuple[Address, ...]]:
    return st.lists(st.sampled_from([ip_address(text) for text in texts]), min_size=1, max_size=4, unique=True).map(
        tuple
    )


ENDS4 = (NEAR, SNAT, FAR, BACKEND, frames.OTHER)
ENDS6 = (NEAR6, FAR6, frames.OTHER6)
FLIPS = st.lists(st.tuples(st.integers(12, 90), st.integers(0, 255)), max_size=4)


@st.composite
def requests(draw: st.DrawFn) -> CaptureRequest:
    ends = addresses(*draw(st.sampled_from([ENDS4, ENDS6, ENDS4 + ENDS6])))
    near, far = draw(ends), draw(st.one_of(st.just(()), ends))
    if far and not {a.version for a in near} & {a.version for a in far}:
        far = ()
    ports = tuple(draw(st.lists(st.sampled_from([0, 53, 443, 40000, 65535]), max_size=3, unique=True)))
    return CaptureRequest(id="t", protocol=draw(st.sampled_from([0, 1, 6, 17, 58])), near=near, far=far, ports=ports)


@settings(max_examples=60, deadline=None)
@given(requests(), st.lists(st.tuples(st.sampled_from(CORPUS), FLIPS, st.integers(0, 40)), min_size=20, max_size=60))
def test_any_request_over_any_mutated_frames_agrees_with_libpcap_and_the_kernel(
    drawn: CaptureRequest, samples: list[tuple[Sample, list[tuple[int, int]], int]]
) -> None:
    own, theirs = header_program(drawn), compile_expression(expression(drawn))
    kernel = Kernel(own)
    try:
        for sample, changes, cut in samples:
            frame = bytearray(sample.frame)
            for position, value in changes:
                if position < len(frame):
                    frame[position] = value
            data = bytes(frame[: len(frame) - cut])
            ours, libpcaps = cbpf.run(own, data), cbpf.run(theirs, data)
            assert bool(ours.result) == bool(libpcaps.result)
            assert ours.result or ours.executed <= libpcaps.executed
            if data:
                assert kernel.keeps(data) == min(ours.result, len(data))
    finally:
        kernel.close()


@settings(max_examples=60, deadline=None)
@given(requests())
def test_any_request_selects_of_sound_frames_what_it_means(drawn: CaptureRequest) -> None:
    program = header_program(drawn)
    for name, frame in frames.sound()[::5]:
        headers = dissect(frame)
        tags, network = link_and_network(frame)
        wanted = isinstance(headers, Headers) and tags < 2 and meant(drawn, headers, network)
        assert bool(cbpf.run(program, frame).result) == wanted, (name, replace(drawn, id=expression(drawn)))
