"""What lies in a ring's slots, as linux/if_packet.h lays it out: no socket is opened."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pathtap.agent.capture import FEWEST_SLOTS, RINGS_BYTES, ring_size
from pathtap.agent.captured import FRAME_BYTES, NO_VLAN
from pathtap.agent.ring import BLOCK_BYTES, SLOT, framed, waiting


class Lying(NamedTuple):
    """A frame as the kernel writes it; `tagged` bytes of its link header are a tag, for which it begins earlier."""

    data: bytes
    captured_at: int = 1_700_000_000_123_456_789
    vlan: int | None = None
    kind: int = 0
    tagged: int = 0
    status: int = 1


def written(frame: Lying) -> bytes:
    """A slot: struct tpacket2_hdr, struct sockaddr_ll, the frame, and what an earlier frame left."""
    mac = 66 - frame.tagged
    seconds, nanoseconds = divmod(frame.captured_at, 1_000_000_000)
    status = frame.status | (0 if frame.vlan is None else 1 << 4 | 1 << 6)
    # Priority bits stand above the VLAN's number.
    tag = 0 if frame.vlan is None else 0xE000 | frame.vlan
    header = struct.pack(
        "=IIIHHIIHH4x", status, 1500, len(frame.data), mac, mac + 14, seconds, nanoseconds, tag, 0x8100
    )
    address = struct.pack("=HHiHBB8s", 17, 8, 3, 1, frame.kind, 6, bytes(8))
    return ((header + address).ljust(mac, b"\xee") + frame.data).ljust(SLOT, b"\xee")


def memory(frames: Sequence[Lying]) -> np.ndarray:
    return np.frombuffer(b"".join(map(written, frames)), np.uint8)


def status(words: Sequence[int]) -> np.ndarray:
    return np.array(words, np.uint32)


def frames(most: int = 12) -> st.SearchStrategy[list[Lying]]:
    return st.lists(
        st.builds(
            Lying,
            data=st.binary(max_size=FRAME_BYTES),
            captured_at=st.integers(0, (1 << 32) * 1_000_000_000 - 1),
            vlan=st.one_of(st.none(), st.integers(0, 4095)),
            kind=st.integers(0, 7),
            tagged=st.sampled_from([0, 0, 4, 8]),
            # TP_STATUS_COPY, TP_STATUS_LOSING, TP_STATUS_CSUMNOTREADY, TP_STATUS_CSUM_VALID.
            status=st.sampled_from([1, 1 | 1 << 1, 1 | 1 << 2, 1 | 1 << 3, 1 | 1 << 7]),
        ),
        min_size=1,
        max_size=most,
    )


@settings(max_examples=100, deadline=None)
@given(frames(), st.data())
def test_frames_are_what_was_written_whichever_slots_are_asked_for(written: list[Lying], data: st.DataObject) -> None:
    slots = data.draw(st.lists(st.integers(0, len(written) - 1), min_size=1, max_size=30))
    found = framed(memory(written), np.array(slots))
    chosen = [written[slot] for slot in slots]
    assert [found.data(number) for number in range(len(found))] == [frame.data for frame in chosen]
    assert found.captured_at.tolist() == [frame.captured_at for frame in chosen]
    assert found.vlan.tolist() == [NO_VLAN if frame.vlan is None else frame.vlan for frame in chosen]
    assert found.kind.tolist() == [frame.kind for frame in chosen]


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 159, 160, 161, 500, 1024])
@pytest.mark.parametrize("first", [0, 1, 600, 1023])
def test_the_slots_that_wait_go_round_the_ring(first: int, count: int) -> None:
    words = status([0] * 1024)
    slots = [(first + number) % 1024 for number in range(count)]
    words[slots] = 1 | 1 << 2
    assert waiting(words, first, 1024).tolist() == slots
    assert waiting(words, first, 100).tolist() == slots[:100]
    assert waiting(words, first, 5000).tolist() == slots


@pytest.mark.parametrize("unwritten", [0, 1, 31, 32, 40, 255])
def test_what_is_ready_waits_behind_what_is_still_written(unwritten: int) -> None:
    words = status([1] * 256)
    words[unwritten] = 0
    assert waiting(words, 0, 256).tolist() == list(range(unwritten))
    words[unwritten] = 1
    assert waiting(words, unwritten, 256).tolist() == [(unwritten + number) % 256 for number in range(256)]


def test_only_the_reader_s_bit_says_that_a_slot_is_the_reader_s() -> None:
    assert waiting(status([1, 1 | 1 << 31, 1 << 2, 1]), 0, 4).tolist() == [0, 1]


@pytest.mark.parametrize("rings", [0, 1, 2, 3, 4, 7, 20, 60, 128, 250, 1000])
def test_the_rings_of_a_capture_stay_within_their_bound(rings: int) -> None:
    size = ring_size(rings)
    assert rings * size.bytes <= RINGS_BYTES
    assert size.slots >= FEWEST_SLOTS
    assert size.slots.bit_count() == 1
    # What the kernel asks for (packet_set_ring): whole pages, and slots of a multiple of 16 bytes that fill them without a rest.
    assert size.bytes % 4096 == 0
    assert SLOT % 16 == 0
    assert BLOCK_BYTES % SLOT == 0
