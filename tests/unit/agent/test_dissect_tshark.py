"""The parser, and the decoder of whole blocks, against tshark, field by field on the same frames."""

from dataclasses import replace
from pathlib import Path

import frames
import frames_odd
import pytest
from frames import Sample
from frames_decoded import decoded
from frames_pcap import write_pcap
from frames_tshark import Told, contradictions, tshark

from pathtap.agent.dissect import dissect
from pathtap.model.packet import Headers

# Where both are right, and do not say the same: what it is of which frames.
ON_PURPOSE = {
    "ICMPv6's number over IPv4": "tshark reads ICMPv6 wherever it stands; the parser only over IPv6",
    "ICMP's number over IPv6": "tshark reads ICMP wherever it stands; the parser only over IPv4",
    "9 VLAN tags": "the parser reads eight",
    "IPv6 payload length 0, hop-by-hop": "without a jumbo payload option the kernel, and the parser, know no end (RFC 2675)",
}


def on_purpose(name: str) -> bool:
    return any(part in name for part in ON_PURPOSE)


def read(samples: tuple[Sample, ...], directory: Path) -> list[tuple[str, Headers | None, Told]]:
    """Name, what the decoder says, what tshark says. A file has no empty frames."""
    chosen = [sample for sample in samples if sample.frame]
    write_pcap(directory / "corpus.pcap", (sample.frame for sample in chosen))
    ours = decoded([sample.frame for sample in chosen])
    return [
        (sample.name, headers, told)
        for sample, headers, told in zip(chosen, ours, tshark(directory / "corpus.pcap"), strict=True)
    ]


def test_sound_and_recorded_frames_say_what_tshark_says(tmp_path: Path) -> None:
    compared = read((*frames.sound(), *frames.recorded()), tmp_path)
    for name, headers, told in compared:
        if not on_purpose(name):
            assert (headers and replace(headers, truncated=False)) == told.headers, name
    assert sum(on_purpose(name) for name, *_ in compared) < 10


def test_of_sound_frames_only_a_first_fragment_is_too_short(tmp_path: Path) -> None:
    """Eight bytes of a TCP header, which RFC 1858 warns of."""
    truncated = [name for name, headers, _ in read(frames.sound(), tmp_path) if headers and headers.truncated]
    assert truncated
    assert all("first fragment of 6 with 8 bytes" in name for name in truncated)


def test_odd_frames_are_read_as_tshark_reads_them_or_said_to_be_truncated(tmp_path: Path) -> None:
    """Whole for the parser means equal. What it calls truncated tells less than tshark, or more, and nothing else."""
    equal = 0
    for name, headers, told in read(frames_odd.odd(), tmp_path):
        if on_purpose(name):
            continue
        if headers is None:
            assert told.headers is None, name
        elif not headers.truncated:
            assert headers == told.headers, name
            equal += 1
        elif told.headers is not None:
            assert not contradictions(headers, told.headers), name
    assert equal > 300


@pytest.mark.parametrize("corpus", [frames.sound, frames.recorded, frames_odd.odd])
def test_the_decoder_of_blocks_says_of_each_frame_what_the_parser_says(corpus: object) -> None:
    assert callable(corpus)
    samples = corpus()
    for (name, frame), headers in zip(samples, decoded([sample.frame for sample in samples]), strict=True):
        alone = dissect(frame)
        assert (alone if isinstance(alone, Headers) else None) == headers, name
