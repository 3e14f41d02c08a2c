"""Hostile frames, and all that happens to a frame between the ring and a person's eyes, held to what must be so.

`Fuzzer` mutates a corpus of sound, recorded and odd frames; every input follows from a seed and a number. `Checker` takes
inputs through the parser, the decoder of blocks, rows, the wire and the collector's joining, judging and rendering. It asserts

* that nothing raises;
* that no tuple is wrong: what the decoder says in a block equals what the parser says of each frame alone, the wire changes
  nothing, and where a frame is plain enough for a few lines of arithmetic, their tuple is the parser's;
* that no input takes over `SLOWEST`, by the quickest of several attempts: a whole
  batch that takes no longer has none that does; of any other, each input is taken alone.
"""

import struct
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from random import Random

from frames import FAR, FAR6, NEAR, NEAR6, recorded, sound
from frames_decoded import PLACE
from frames_odd import odd
from journeys import question, record, trace_of
from small_cluster import CART, NODE_1, NODE_2, REDIS

from pathtap.agent.captured import frames_of
from pathtap.agent.decoding import decode
from pathtap.agent.dissect import Unparsed, dissect
from pathtap.cli.escape import escaped
from pathtap.cli.render.page import paint
from pathtap.cli.render.trace import trace_lines
from pathtap.collector.plan import live_flow
from pathtap.model.address import Address, FiveTuple
from pathtap.model.packet import Direction, Headers, PacketObservation
from pathtap.model.rows import PacketRows
from pathtap.v1 import agent_pb2
from pathtap.wire.packet import observation_from_wire, observation_to_wire, rows_from_wire, rows_to_wire
from pathtap.wire.trace import trace_to_wire

# In seconds of processor time, for one input: the clock on the wall would tell of who else is busy.
SLOWEST, ATTEMPTS = 0.010, 4
BATCH, BATCHES_PER_TRACE = 100, 20
# The mutations keep within what a filter's cut leaves; payload is never looked at.
LONGEST = 400
NUMBERS = (0, 1, 4, 5, 6, 7, 17, 20, 43, 44, 45, 51, 58, 59, 60, 0x60, 0x7F, 0x80, 0x86, 0xFF)
WORDS = (0, 1, 7, 8, 19, 20, 28, 40, 0x0800, 0x86DD, 0x8100, 0x88A8, 0x1FFF, 0x2000, 0x7FFF, 0x8000, 0xFFFF)
PLACES = ((NODE_1, "enicart"), (NODE_1, "eth0"), (NODE_2, "eth0"), (NODE_2, "eniredis"))
UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")


@cache
def seeds() -> tuple[bytes, ...]:
    """The corpus between two pods of the small cluster, so that the collector has something to join."""
    ends = ((NEAR, CART), (FAR, REDIS), (NEAR6, "fd00::41"), (FAR6, "fd00::42"))
    found = []
    for sample in (*sound(), *recorded(), *odd()):
        frame = sample.frame[:LONGEST]
        for old, new in ends:
            frame = frame.replace(ip_address(old).packed, ip_address(new).packed)
        found.append(frame)
    return tuple(dict.fromkeys(found))


@cache
def plain_seeds() -> tuple[bytes, ...]:
    """Those that are what most traffic is; ICMP errors of all kinds are most of the corpus."""
    return tuple(frame for frame in seeds() if plainly(frame) is not None)


class Fuzzer:
    """Input number n of a seed is always the same bytes."""

    def __init__(self, seed: str) -> None:
        self._seed = seed

    def inputs(self, first: int, last: int) -> Iterator[bytes]:
        return map(self.input, range(first, last))

    def input(self, number: int) -> bytes:
        random = Random(f"{self._seed}/{number}")  # noqa: S311 - no secret
        if random.random() < 0.02:
            kind = random.choice((b"\x08\x00\x45", b"\x86\xdd\x60", b"\x81\x00", b""))
            return bytes(12) + kind + random.randbytes(random.randrange(120))
        frame = bytearray(random.choice(seeds() if random.random() < 0.6 else plain_seeds()))
        for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3, 5, 9))):
            random.choice(MUTATIONS)(random, frame)
        return bytes(frame[:LONGEST])


def _flip(random: Random, frame: bytearray) -> None:
    if frame:
        frame[random.randrange(len(frame))] ^= 1 << random.randrange(8)


def _number(random: Random, frame: bytearray) -> None:
    if frame:
        frame[random.randrange(len(frame))] = random.choice(NUMBERS)


def _word(random: Random, frame: bytearray) -> None:
    if len(frame) > 14:
        struct.pack_into("!H", frame, random.randrange(12, len(frame) - 1), random.choice(WORDS))


def _cut(random: Random, frame: bytearray) -> None:
    del frame[random.randrange(len(frame) + 1) :]


def _remove(random: Random, frame: bytearray) -> None:
    at = random.randrange(len(frame) + 1)
    del frame[at : at + random.randrange(1, 20)]


def _insert(random: Random, frame: bytearray) -> None:
    at = random.randrange(len(frame) + 1)
    frame[at:at] = random.randbytes(random.randrange(1, 12))


def _repeat(random: Random, frame: bytearray) -> None:
    at = random.randrange(len(frame) + 1)
    frame[at:at] = frame[at : at + random.randrange(1, 48)] * random.randrange(1, 6)


def _splice(random: Random, frame: bytearray) -> None:
    other, at = random.choice(seeds()), random.randrange(len(frame) + 1)
    frame[at:] = other[random.randrange(len(other) + 1) :]


def _header_byte(random: Random, frame: bytearray) -> None:
    """Where lengths, fragments, protocols and types of untagged packets stand."""
    at = random.choice((12, 13, 14, 16, 17, 18, 19, 20, 21, 23, 34, 35, 38, 42, 46, 54, 55, 56, 57, 60, 62))
    if at < len(frame):
        frame[at] = random.randrange(256)


MUTATIONS: tuple[Callable[[Random, bytearray], None], ...] = (
    *(_flip, _number, _word, _cut, _remove, _insert, _repeat, _splice, _header_byte),
    *(_flip, _number, _header_byte),
)


def plainly(frame: bytes) -> FiveTuple | None:
    """The five-tuple of an untagged, unfragmented TCP or UDP packet whose lengths all agree; None for anything else."""
    if frame[12:14] == b"\x08\x00" and len(frame) >= 34 and 0x45 <= frame[14] <= 0x4F:
        size, total = (frame[14] - 0x40) * 4, frame[16] << 8 | frame[17]
        ends = frame[26:30], frame[30:34]
        protocol, later = frame[23], frame[20] & 0x1F or frame[21]
    elif frame[12:14] == b"\x86\xdd" and len(frame) >= 54 and frame[14] >> 4 == 6:
        size, total = 40, 40 + (frame[18] << 8 | frame[19])
        ends = frame[22:38], frame[38:54]
        protocol, later = frame[20], 0
    else:
        return None
    if later or protocol not in (6, 17) or not size + 20 <= total <= len(frame) - 14:
        return None
    source, destination = struct.unpack_from("!HH", frame, 14 + size)
    return FiveTuple(
        protocol=protocol,
        source=_address(ends[0]),
        source_port=source,
        destination=_address(ends[1]),
        destination_port=destination,
    )


def _address(packed: bytes) -> Address:
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


@dataclass(slots=True, kw_only=True)
class Tally:
    """`slowest`, in seconds, is what no input took longer than; `singled` were taken alone, their batch being slow."""

    inputs: int = 0
    parsed: int = 0
    plain: int = 0
    traces: int = 0
    singled: int = 0
    slowest: float = 0.0

    def add(self, other: "Tally") -> None:
        for name in ("inputs", "parsed", "plain", "traces", "singled"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.slowest = max(self.slowest, other.slowest)

    def text(self) -> str:
        return (
            f"{self.inputs} inputs: {self.parsed} with two addresses, {self.plain} of them checked by arithmetic, "
            f"{self.traces} traces; no input took over {self.slowest * 1000:.1f} ms ({self.singled} timed alone)"
        )


class Checker:
    """Counts in `tally`; raises AssertionError, with the input, where something is not as it must be."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._live = question(CART, REDIS, live=True)
        self._batches = 0

    def check(self, batch: Sequence[bytes]) -> None:
        headers = [dissect(frame) for frame in batch]
        taken = _quickest(lambda: _to_the_collector(batch), SLOWEST)
        if taken > SLOWEST:
            taken = max(self._timed_alone(frame) for frame in batch)
        self.tally.slowest = max(self.tally.slowest, taken)
        for frame, found in zip(batch, headers, strict=True):
            self._said(frame, found)
        self._batches += 1
        if self._batches % BATCHES_PER_TRACE == 0:
            self.tally.traces += 1
            self._traced([found for found in headers if isinstance(found, Headers)])

    def _timed_alone(self, frame: bytes) -> float:
        taken = _quickest(lambda: _to_the_collector([frame]), SLOWEST)
        assert taken <= SLOWEST, f"{frame.hex()} takes {taken * 1000:.1f} ms"
        self.tally.singled += 1
        return taken

    def _said(self, frame: bytes, headers: Headers | Unparsed) -> None:
        self.tally.inputs += 1
        if isinstance(headers, Headers):
            self.tally.parsed += 1
            well_said(headers, frame)
        plain = plainly(frame)
        if plain is not None:
            self.tally.plain += 1
            assert isinstance(headers, Headers), frame.hex()
            assert headers.five_tuple == plain, frame.hex()

    def _traced(self, seen: Sequence[Headers]) -> None:
        """All packets of a batch as the traffic of one live trace; what is printed of it has no control character."""
        observations = [_somewhere(number, headers) for number, headers in enumerate(seen)]
        sent = live_flow(self._live, observations, opening=False)
        gathered = record(self._live, observations=observations, sent=[sent] if sent else ())
        lines = trace_lines(escaped(trace_to_wire(trace_of(gathered))), 80, every_statement=True)
        text = "".join(paint(line, colour=False) for line in lines)
        assert not any(unicodedata.category(char) in UNSAFE for char in text), text


def _quickest(work: Callable[[], None], enough: float) -> float:
    """Seconds of processor time: of one attempt that is quick `enough`, else the quickest of all. Nothing in it waits."""
    found = float("inf")
    for _ in range(ATTEMPTS):
        began = time.thread_time()
        work()
        found = min(found, time.thread_time() - began)
        if found <= enough:
            break
    return found


def _to_the_collector(batch: Sequence[bytes]) -> None:
    """A block of frames: into rows and observations, over the wire, and back; each is what the parser says of it alone."""
    numbers = range(len(batch))
    result = decode(frames_of(batch, numbers, [0] * len(batch), [None] * len(batch)), PLACE, 0, len(batch))
    rows = PacketRows(node="node-1", capture="c1", interfaces=("eth0",), rows=result.rows)
    sent = rows_to_wire(rows).SerializeToString()
    arrived = list(rows_from_wire(agent_pb2.PacketRows.FromString(sent), "node-1").observations())
    for observation in result.observations:
        message = observation_to_wire(observation).SerializeToString()
        arrived.append(observation_from_wire(agent_pb2.PacketObservation.FromString(message), "node-1"))
    told = {observation.captured_at: observation.headers for observation in arrived}
    for number, frame in enumerate(batch):
        alone = dissect(frame)
        assert told.get(number) == (alone if isinstance(alone, Headers) else None), frame.hex()
    assert len(told) + sum(result.unparsed.values()) == len(batch)


def well_said(headers: Headers, frame: bytes) -> None:
    """What holds of any frame: the addresses stand in it, and a later fragment has no header of its own."""
    flow = headers.five_tuple
    assert flow.source.packed + flow.destination.packed in frame, frame.hex()
    assert not (headers.fragment and (headers.tcp or headers.icmp)), frame.hex()
    quoted = headers.icmp.quoted if headers.icmp else None
    assert quoted is None or quoted.source.packed + quoted.destination.packed in frame, frame.hex()
    assert not (headers.tcp and headers.icmp), frame.hex()


def _somewhere(number: int, headers: Headers) -> PacketObservation:
    node, interface = PLACES[number % len(PLACES)]
    return PacketObservation(
        node=node,
        sequence=number + 1,
        capture="trace-1",
        captured_at=number,
        interface=interface,
        direction=Direction.OUT if number % 3 else Direction.IN,
        headers=replace(headers, vlan=None),
    )


def run(seed: str, first: int, last: int) -> Tally:
    """Inputs `first` to `last` - 1 of a seed. Raises AssertionError, with the input's bytes, for the first that fails."""
    fuzzer, checker = Fuzzer(seed), Checker()
    for start in range(first, last, BATCH):
        checker.check(list(fuzzer.inputs(start, min(start + BATCH, last))))
    return checker.tally
