"""What lies in a ring's blocks, as linux/if_packet.h lays it out: no socket is opened."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pathtap.agent.capture import FEWEST_BLOCKS, RINGS_BYTES, ring_size
from pathtap.agent.captured import NO_VLAN
from pathtap.agent.ring import follow, framed

FIRST = 48


class Lying(NamedTuple):
    """A frame as the kernel writes it; `reserve` moves it behind its headers."""

    data: bytes
    captured_at: int = 1_700_000_000_123_456_789
    vlan: int | None = None
    kind: int = 0
    reserve: int = 0


def written(frames: Sequence[Lying]) -> bytearray:
    """A block of these: struct tpacket3_hdr, struct sockaddr_ll, the frame, up to the next multiple of 8 bytes."""
    block = bytearray(FIRST)
    for number, frame in enumerate(frames):
        mac = 82 + frame.reserve
        size = (mac + len(frame.data) + 7) & ~7
        seconds, nanoseconds = divmod(frame.captured_at, 1_000_000_000)
        status = 1 | (0 if frame.vlan is None else 1 << 4 | 1 << 6)
        following = size if number + 1 < len(frames) else 0
        header = struct.pack(
            "=IIIIIIHHIIHH8x", following, seconds, nanoseconds, len(frame.data), 1500, status, mac, mac + 14, 0,
            # Priority bits stand above the VLAN's number.
            0 if frame.vlan is None else 0xE000 | frame.vlan, 0x8100, 0,
        )  # fmt: skip
        address = struct.pack("=HHiHBB8s", 17, 8, 3, 1, frame.kind, 6, bytes(8))
        block += (header + address).ljust(mac, b"\xee") + frame.data
        block += b"\xee" * (-len(block) % 8)
    return block + bytes(64)


def check(frames: Sequence[Lying]) -> None:
    block = written(frames)
    found = framed(np.frombuffer(block, np.uint8), follow(memoryview(block).cast("I"), FIRST, len(frames)))
    assert [found.data(number) for number in range(len(found))] == [frame.data for frame in frames]
    assert found.captured_at.tolist() == [frame.captured_at for frame in frames]
    assert found.vlan.tolist() == [NO_VLAN if frame.vlan is None else frame.vlan for frame in frames]
    assert found.kind.tolist() == [frame.kind for frame in frames]


@pytest.mark.parametrize("count", [1, 2, 3, 64, 65, 66, 129, 500])
def test_frames_of_one_size(count: int) -> None:
    check([Lying(bytes([number % 256]) * 54, number) for number in range(count)])


def test_frames_of_which_one_is_larger() -> None:
    for odd in range(70):
        check([Lying(b"x" * (66 if number == odd else 54), number) for number in range(70)])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.builds(
                Lying,
                data=st.binary(max_size=90),
                captured_at=st.integers(0, (1 << 32) * 1_000_000_000 - 1),
                vlan=st.one_of(st.none(), st.integers(0, 4095)),
                kind=st.integers(0, 7),
                reserve=st.sampled_from([0, 0, 4, 14]),
            ),
            st.sampled_from([1, 1, 2, 100]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_runs_of_frames(runs: list[tuple[Lying, int]]) -> None:
    check([frame for frame, times in runs for _ in range(times)])


@pytest.mark.parametrize("rings", [0, 1, 2, 3, 4, 7, 20, 128, 250, 1000])
def test_the_rings_of_a_capture_stay_within_their_bound(rings: int) -> None:
    size = ring_size(rings)
    assert rings * size.bytes <= RINGS_BYTES
    assert size.blocks >= FEWEST_BLOCKS
    # What the kernel asks for (packet_set_ring): whole pages; and a power of two is what it allocates at once.
    assert size.block_bytes % 4096 == 0
    assert size.block_bytes.bit_count() == 1
