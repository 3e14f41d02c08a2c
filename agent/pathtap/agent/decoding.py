"""Frames into rows: in columns where they are plain, one by one through `dissect` where they are not. Pure, and never guesses."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pathtap.agent.captured import NO_VLAN, OTHERHOST, OUTGOING, Column, Frames
from pathtap.agent.columns import ROWS, Columns
from pathtap.agent.dissect import Unparsed, dissect
from pathtap.model.packet import Direction, Headers, PacketObservation
from pathtap.model.rows import fits_a_row, row_of

# Columns cost about as much as the dissection of so many frames, however few they hold.
FEW = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where frames were captured; `number` is the interface's in the rows."""

    node: str
    capture: str
    interface: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """Every frame is in a row, an observation (those that no row holds), counted as unparsed by its reason, or beyond the limit.

    `sequence` is the last that was given.
    """

    rows: bytes
    observations: tuple[PacketObservation, ...]
    unparsed: Mapping[str, int]
    beyond: int
    sequence: int


def decode(frames: Frames, place: Place, sequence: int, limit: int) -> Decoded:
    """Packets are numbered from `sequence` + 1 to `limit`, in the order of `frames`; what comes after is beyond."""
    if not len(frames) or sequence >= limit:
        return Decoded(rows=b"", observations=(), unparsed={}, beyond=len(frames), sequence=sequence)
    rows, seen = _columns(frames)
    odd = {number: _dissected(frames, number) for number in map(int, np.flatnonzero(~seen))}
    in_row = seen.copy()
    for number, headers in odd.items():
        if isinstance(headers, Headers):
            seen[number] = True
            in_row[number] = fits_a_row(headers)
    numbers = np.cumsum(seen) + sequence
    end = len(frames)
    if numbers[-1] >= limit:
        end = int(np.searchsorted(numbers, limit)) + 1
    rows["sequence"], rows["interface"] = numbers, place.number
    observations, unparsed = [], Counter[str]()
    for number, headers in odd.items():
        if number >= end:
            break
        if isinstance(headers, Unparsed):
            unparsed[headers.reason] += 1
            continue
        observation = _observation(frames, number, headers, place, int(numbers[number]))
        if in_row[number]:
            rows[number : number + 1] = np.frombuffer(row_of(observation, place.number), ROWS)
        else:
            observations.append(observation)
    kept = rows[:end] if in_row[:end].all() else rows[:end][in_row[:end]]
    return Decoded(
        rows=kept.tobytes(),
        observations=tuple(observations),
        unparsed=unparsed,
        beyond=len(frames) - end,
        sequence=int(numbers[end - 1]),
    )


def _columns(frames: Frames) -> tuple[Column, Column]:
    """A row for each frame, and which of them are filled in."""
    if len(frames) <= FEW:
        return np.zeros(len(frames), ROWS), np.zeros(len(frames), np.bool_)
    columns = Columns(frames)
    return columns.rows, columns.decoded


def _dissected(frames: Frames, number: int) -> Headers | Unparsed:
    vlan = int(frames.vlan[number])
    return dissect(frames.data(number), None if vlan == NO_VLAN else vlan)


def _observation(frames: Frames, number: int, headers: Headers, place: Place, sequence: int) -> PacketObservation:
    return PacketObservation(
        node=place.node,
        sequence=sequence,
        capture=place.capture,
        captured_at=int(frames.captured_at[number]),
        interface=place.interface,
        direction=Direction.OUT if frames.kind[number] == OUTGOING else Direction.IN,
        headers=headers,
        for_another=bool(frames.kind[number] == OTHERHOST),
    )
