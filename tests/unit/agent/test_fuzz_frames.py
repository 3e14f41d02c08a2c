"""Hostile frames from the ring's memory to a rendered trace: `tools/fuzz-frames` takes millions of them."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import frames_fuzz
import pytest
from frames_decoded import decoded
from frames_fuzz import Checker, Fuzzer, Tally, seeds, well_said
from frames_pcap import write_pcap
from frames_tshark import contradictions, tshark
from hypothesis import given, settings
from hypothesis import strategies as st

from pathtap.agent import columns
from pathtap.agent.dissect import dissect
from pathtap.model.packet import Headers

SEED, INPUTS, PART = "ci", 100_000, 10_000


@pytest.mark.timeout(900)
def test_a_hundred_thousand_mutated_frames_do_no_harm() -> None:
    tally = Tally()
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        for part in pool.map(frames_fuzz.run, [SEED] * (INPUTS // PART), *zip(*parts(), strict=True)):
            tally.add(part)
    assert tally.inputs == INPUTS
    assert tally.parsed > INPUTS // 2
    assert tally.plain > INPUTS // 10
    assert tally.traces == INPUTS // 2000
    assert tally.slowest <= frames_fuzz.SLOWEST


def parts() -> list[tuple[int, int]]:
    return [(first, first + PART) for first in range(0, INPUTS, PART)]


CHANGES = st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=8)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Drawn by hypothesis, which looks for what fails and makes it small."""
    frame = bytearray(draw(st.one_of(st.sampled_from(seeds()), st.binary(min_size=14, max_size=120))))
    for position, value in draw(CHANGES):
        if position < len(frame):
            frame[position] = value
    return bytes(frame[: draw(st.integers(0, 400))]) + draw(st.binary(max_size=16))


@settings(max_examples=300, deadline=None)
@given(st.lists(mutated(), min_size=1, max_size=30))
def test_blocks_of_frames_that_hypothesis_draws_do_no_harm(batch: list[bytes]) -> None:
    checker = Checker()
    checker.check(batch)
    assert checker.tally.inputs == len(batch)


@settings(max_examples=2000, deadline=None)
@given(st.one_of(st.binary(max_size=300), mutated()), st.one_of(st.none(), st.integers(0, 4095)))
def test_the_parser_says_of_any_bytes_what_stands_in_them(frame: bytes, vlan: int | None) -> None:
    headers = dissect(frame, vlan)
    if isinstance(headers, Headers):
        well_said(headers, frame)
        assert vlan is None or headers.vlan == vlan
    else:
        assert headers.reason


def test_mutated_frames_are_read_as_tshark_reads_them_or_said_to_be_truncated(tmp_path: Path) -> None:
    frames = [frame for frame in Fuzzer("tshark").inputs(0, 10_000) if frame]
    write_pcap(tmp_path / "mutated.pcap", frames)
    compared = 0
    for frame, headers, told in zip(frames, decoded(frames), tshark(tmp_path / "mutated.pcap"), strict=True):
        if headers is None or told.headers is None:
            continue
        compared += 1
        assert not contradictions(headers, told.headers), (frame.hex(), headers, told.headers)
    assert compared > 4000


def test_the_checker_finds_a_wrong_tuple(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it could not find it would not be worth to run for."""
    swapped = columns._layout(8, source=(">u2", 2), destination=(">u2", 0), length=(">u2", 4))
    monkeypatch.setattr(columns, "UDP_HEADER", swapped)
    with pytest.raises(AssertionError):
        Checker().check(list(frames_fuzz.plain_seeds()))
