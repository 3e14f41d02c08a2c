"""Columns against `dissect`, frame by frame: whatever the bytes, both say the same, in the same order."""

import random
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from frames import recorded, sound
from frames_odd import odd
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, IPOption_RR, TCPerror
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from pathtap.agent.captured import OTHERHOST, OUTGOING, Frames, frames_of
from pathtap.agent.columns import Columns
from pathtap.agent.decoding import FEW, Decoded, Place, decode
from pathtap.agent.dissect import Unparsed, dissect
from pathtap.model.packet import Direction, PacketObservation
from pathtap.model.rows import ROW, fits_a_row, row_of

A, B, A6, B6 = "192.0.2.1", "198.51.100.2", "2001:db8::1", "2001:db8::2"
ETHERNET = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
PLACE = Place(node="node-1", capture="c1", interface="eth0", number=3)
BOUNDLESS = 1 << 40


class Seen(NamedTuple):
    """A frame as the kernel tells of it."""

    data: bytes
    captured_at: int = 1_700_000_000_000_000_001
    kind: int = 0
    vlan: int | None = None


def frames(seen: Sequence[Seen]) -> Frames:
    return frames_of(*zip(*seen, strict=True)) if seen else frames_of([], [], [], [])


def one_by_one(seen: Sequence[Seen], sequence: int, limit: int) -> Decoded:
    """What `decode` says, made of `dissect` alone."""
    rows: list[bytes] = []
    observations: list[PacketObservation] = []
    unparsed = Counter[str]()
    for number, (data, captured_at, kind, vlan) in enumerate(seen):
        if sequence >= limit:
            return Decoded(
                rows=b"".join(rows),
                observations=tuple(observations),
                unparsed=unparsed,
                beyond=len(seen) - number,
                sequence=sequence,
            )
        headers = dissect(data[:1024], vlan)
        if isinstance(headers, Unparsed):
            unparsed[headers.reason] += 1
            continue
        sequence += 1
        observation = PacketObservation(
            node="node-1",
            sequence=sequence,
            capture="c1",
            captured_at=captured_at,
            interface="eth0",
            direction=Direction.OUT if kind == OUTGOING else Direction.IN,
            headers=headers,
            for_another=kind == OTHERHOST,
        )
        if fits_a_row(headers):
            rows.append(row_of(observation, 3))
        else:
            observations.append(observation)
    return Decoded(
        rows=b"".join(rows), observations=tuple(observations), unparsed=unparsed, beyond=0, sequence=sequence
    )


def check(seen: Sequence[Seen], sequence: int = 0, limit: int = BOUNDLESS) -> None:
    expected, found = one_by_one(seen, sequence, limit), decode(frames(seen), PLACE, sequence, limit)
    split = [[rows[at : at + ROW.size] for at in range(0, len(rows), ROW.size)] for rows in (expected.rows, found.rows)]
    assert split[1] == split[0]
    assert found == expected


SEGMENT = TCP(sport=40000, dport=443, flags="SA", seq=0xFFFFFFFE, ack=7, options=[("Timestamp", (1, 2))])
PLAIN: tuple[Packet, ...] = (
    IP(src=A, dst=B, ttl=61, id=0xBEEF) / SEGMENT / Raw(b"payload"),
    IP(src=A, dst=B) / UDP(sport=3, dport=4) / Raw(b"payload"),
    IP(src=A, dst=B) / ICMP(type=8, id=77, seq=3),
    IP(src=A, dst=B) / ICMP(type=0, id=77, seq=3),
    IP(src=A, dst=B) / ICMP(type=13, id=77, seq=3),
    IP(src=A, dst=B, options=[IPOption_RR(routers=["192.0.2.9"])]) / SEGMENT,
    IP(src=A, dst=B, frag=3, id=3, proto=6) / Raw(b"\x00\x01\x00\x02payload!"),
    IP(src=A, dst=B, flags="MF", id=3) / UDP(sport=1, dport=2) / Raw(b"x" * 16),
    IP(src=A, dst=B, proto=132) / Raw(b"sctp"),
    IP(src=A, dst=B, proto=58) / Raw(b"\x80\x00\x00\x00\x00\x00\x00\x00"),
    IPv6(src=A6, dst=B6, hlim=3) / SEGMENT,
    IPv6(src=A6, dst=B6) / UDP(sport=5, dport=6) / Raw(b"payload"),
    IPv6(src=A6, dst=B6) / ICMPv6EchoRequest(id=9, seq=1),
    IPv6(src=A6, dst=B6) / ICMPv6EchoReply(id=9, seq=1),
    IPv6(src=A6, dst=B6) / ICMPv6ND_NS(tgt=B6),
    IPv6(src=A6, dst=B6, nh=1) / Raw(b"\x08\x00\x00\x00\x00\x05\x00\x06"),
    IPv6(src=A6, dst=B6, nh=59),
    IP(src=A, dst=B) / TCP(dataofs=15),
    IP(src=A, dst=B) / UDP(len=7),
)
ODD: tuple[Packet, ...] = (
    IP(src=A, dst=B) / ICMP(type=3, code=4, nexthopmtu=1400) / IPerror(src=B, dst=A) / TCPerror(sport=5, dport=6),
    IP(src=A, dst=B) / ICMP(type=3, code=1),
    IP(src=A, dst=B) / TCP(dataofs=4),
    IP(src=A, dst=B, ihl=4) / UDP(),
    IP(src=A, dst=B, len=11) / UDP(),
    IP(src=A, dst=B, len=30, proto=6) / Raw(b"\x01" * 40),
    IP(src=A, dst=B, version=5) / UDP(),
    IPv6(src=A6, dst=B6) / ICMPv6DestUnreach() / IPv6(src=B6, dst=A6) / IPv6ExtHdrFragment(id=1) / UDP(),
    IPv6(src=A6, dst=B6) / ICMPv6PacketTooBig(mtu=70000) / IPv6(src=B6, dst=A6) / UDP(),
    IPv6(src=A6, dst=B6) / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / SEGMENT,
    IPv6(src=A6, dst=B6) / IPv6ExtHdrFragment(id=0xABCDEF01, offset=5, nh=17) / Raw(b"payload!"),
    IPv6(src=A6, dst=B6, version=4) / UDP(),
    IPv6(src=A6, dst=B6, plen=3) / UDP(),
    ARP(psrc=A, pdst=B),
    Dot1AD(vlan=7) / Dot1Q(vlan=42) / IP(src=A, dst=B) / UDP(sport=1, dport=2),
)


@cache
def corpus() -> tuple[bytes, ...]:
    """Every kind of frame, each with and without a tag of its own."""
    packets = [*PLAIN, *ODD]
    return tuple(bytes(ETHERNET / packet) for packet in [*packets, *(Dot1Q(vlan=42) / packet for packet in packets)])


def test_every_kind_of_frame_in_one_batch_and_in_a_batch_of_its_own() -> None:
    check([Seen(frame) for frame in corpus()])
    for frame in corpus():
        check([Seen(frame)] * (FEW + 1))
        check([Seen(frame)])


def test_the_frames_that_the_parser_is_tried_with() -> None:
    seen = [Seen(sample.frame) for sample in (*sound(), *recorded(), *odd())]
    assert len(seen) > 1000
    check(seen)
    check(seen[::-1])


def test_every_kind_of_frame_cut_at_every_byte() -> None:
    for frame in corpus():
        check([Seen(frame[:length]) for length in range(len(frame) + 1)])


@pytest.mark.parametrize("packet", PLAIN, ids=lambda packet: packet.summary())
@pytest.mark.parametrize("tag", [False, True], ids=["untagged", "tagged"])
def test_plain_frames_are_read_by_columns(packet: Packet, tag: bool) -> None:
    """Else a flood of them would be dissected one by one."""
    frame = bytes(ETHERNET / Dot1Q(vlan=42) / packet) if tag else bytes(ETHERNET / packet)
    assert Columns(frames([Seen(frame)])).decoded.all()


@pytest.mark.parametrize("packet", ODD, ids=lambda packet: packet.summary())
def test_odd_frames_are_left_to_the_parser(packet: Packet) -> None:
    assert not Columns(frames([Seen(bytes(ETHERNET / packet))])).decoded.any()


def test_what_the_kernel_tells_beside_the_frame() -> None:
    frame, tagged = bytes(ETHERNET / PLAIN[0]), bytes(ETHERNET / Dot1Q(vlan=42) / PLAIN[0])
    stamps = (0, 1, (1 << 64) - 1, 1_800_000_000_999_999_999)
    kinds = (0, 1, 2, OTHERHOST, OUTGOING, 255)
    tags = (None, 0, 1, 4095)
    check([Seen(data, at, kind, vlan) for data in (frame, tagged) for at in stamps for kind in kinds for vlan in tags])


def test_nothing_at_all() -> None:
    check([])
    check([Seen(b"")] * (FEW + 1))


@pytest.mark.parametrize("limit", range(0, 45, 4))
def test_at_the_limit_what_follows_is_beyond(limit: int) -> None:
    """Also the frames that could not be parsed: the capture had stopped."""
    seen = [Seen(frame) for frame in corpus()]
    check(seen, sequence=2, limit=limit)
    check(seen[:FEW], sequence=2, limit=min(limit, 6))


def test_a_frame_of_options_alone_is_cut() -> None:
    endless = bytes(ETHERNET)[:12] + b"\x86\xdd" + bytes(IPv6(src=A6, dst=B6, nh=60, plen=4000))
    check([Seen(endless + b"\x3c\xff" + bytes(2046) + b"\x06\x00" + bytes(6) + b"\x01" * 20)] * (FEW + 1))


def test_a_long_mixed_batch() -> None:
    chance = random.Random(5)  # noqa: S311
    pool = corpus()
    check([Seen(chance.choice(pool), at, chance.choice((0, OTHERHOST, OUTGOING))) for at in range(5000)])


def test_frames_that_lie_anywhere() -> None:
    """A ring's frames are neither adjacent nor in the order of their addresses, and what lies between is not read."""
    frame = np.frombuffer(bytes(ETHERNET / PLAIN[0]), np.uint8)
    memory = np.full(4096, 0xFF, np.uint8)
    starts = [3000, 17, 900, 4096 - len(frame), *range(1000, 1000 + 100 * 10, 100)]
    for start in starts:
        memory[start : start + len(frame)] = frame
    count = len(starts)
    lying = Frames(
        memory=memory,
        start=np.array(starts, np.int64),
        room=np.full(count, len(frame), np.int64),
        captured_at=np.arange(count, dtype=np.uint64),
        kind=np.zeros(count, np.uint8),
        vlan=np.full(count, -1, np.int32),
    )
    expected = one_by_one([Seen(frame.tobytes(), at) for at in range(count)], 0, BOUNDLESS)
    assert decode(lying, PLACE, 0, BOUNDLESS) == expected


@st.composite
def mutated(draw: st.DrawFn) -> Seen:
    frame = bytearray(draw(st.sampled_from(corpus())))
    # Early bytes decide what a frame is.
    places = st.one_of(st.integers(0, len(frame) - 1), st.integers(12, 60).map(lambda place: place % len(frame)))
    for position, value in draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=4)):
        frame[position] = value
    data = bytes(frame[: draw(st.one_of(st.just(len(frame)), st.integers(0, len(frame))))])
    return Seen(
        data + draw(st.binary(max_size=8)),
        draw(st.integers(0, (1 << 64) - 1)),
        draw(st.sampled_from([0, OTHERHOST, OUTGOING])),
        draw(st.one_of(st.none(), st.integers(0, 4095))),
    )


ARBITRARY = st.tuples(st.sampled_from([b"\x08\x00\x45", b"\x86\xdd\x60", b"\x81\x00"]), st.binary(max_size=80)).map(
    lambda parts: Seen(bytes(12) + parts[0] + parts[1])
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.one_of(mutated(), ARBITRARY), max_size=40),
    st.integers(0, 100),
    st.one_of(st.just(BOUNDLESS), st.integers(0, 120)),
)
@example([Seen(bytes(12) + b"\x08\x00\x45" + bytes(19))] * (FEW + 1), 0, BOUNDLESS)
def test_whatever_the_bytes(seen: list[Seen], sequence: int, limit: int) -> None:
    check(seen, sequence, limit)
