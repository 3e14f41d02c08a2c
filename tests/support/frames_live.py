"""Varied frames over a real veth, seen at once by a capture and by tcpdump, then read by tshark: compared one by one.

Both sockets get the kernel's one time stamp of a frame, in nanoseconds, so a frame is known by it.
"""

import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from random import Random

import cbpf
from frames import FAR, FAR6, NEAR, NEAR6, recorded, sound
from frames_pcap import read_pcap, write_pcap
from frames_tshark import contradictions, tshark
from three_namespaces import SOURCE_VETH, Wires, wired

from pathtap.agent.capture import open_capture
from pathtap.agent.delivery import Packets
from pathtap.agent.filter import header_program
from pathtap.agent.ring import RingSize
from pathtap.model.packet import Headers
from pathtap.model.request import CaptureEnded, CaptureRequest
from pathtap.model.rows import ROW, PacketRows

# As many frames are made; they are sent over and over, as long as it takes.
VARIED = 50_000
LONGEST = 400
SNAPLEN = 512
# In seconds: the kernel hands tcpdump a block of its ring that is not full once a second, and tcpdump does not wait for the last.
TCPDUMP_FLUSHES = 2.5
# Frames a second. Most of these frames are odd on purpose, and are dissected one by one: far fewer a second than plain ones.
RATE = 15_000
# So large that a reader who is held up for seconds by a busy machine loses nothing: what is compared here is what was read.
RING = RingSize(blocks=1024, block_bytes=1 << 16, retire=4)
REQUEST = CaptureRequest(
    id="live",
    protocol=0,
    near=tuple(map(ip_address, (NEAR, NEAR6))),
    far=tuple(map(ip_address, (FAR, FAR6))),
    limit=1 << 40,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """How a comparison ended. `captured` packets are in rows or observations; `lost` and `unparsed` are the capture's account.

    `compared` were told by both; `cut` of them are marked as truncated and say less: the first 8 bytes of a TCP header, and what
    is beyond those IPv6 extension headers that the filter keeps (docs/capture.md). `beside` are frames that tcpdump saw and
    the filter rejects; `missed` those that it accepts and the capture has not, which must all be `lost`. What must not be:
    `unseen_by_tcpdump`, and frames that are `different`.
    """

    sent: int
    accepted: int
    captured: int
    lost: int
    unparsed: int
    compared: int
    cut: int
    beside: int
    unseen_by_tcpdump: int
    missed: int
    different: tuple[str, ...]

    def complaints(self) -> list[str]:
        """What is not as it must be, in sentences; empty where all is well."""
        found = list(self.different[:10])
        if self.accepted != self.captured + self.lost + self.unparsed:
            found.append(
                f"{self.accepted} accepted, but {self.captured} captured, {self.lost} lost, {self.unparsed} unparsed"
            )
        if self.missed != self.lost or self.unseen_by_tcpdump:
            found.append(f"{self.missed} missed of {self.lost} lost, {self.unseen_by_tcpdump} that tcpdump did not see")
        if self.cut * 10 > self.compared:
            found.append(f"{self.cut} of {self.compared} are marked as truncated")
        return found


def varied(count: int, seed: str) -> Iterator[bytes]:
    """Sound frames, most of them of the request, with fields of their own: identifications, TTLs, ports, numbers."""
    random = Random(seed)  # noqa: S311 - no secret
    near, far = ip_address(NEAR).packed, ip_address(FAR).packed
    near6, far6 = ip_address(NEAR6).packed, ip_address(FAR6).packed
    found = [sample.frame for sample in (*sound(), *recorded()) if 34 <= len(sample.frame) <= LONGEST]
    chosen = [f for f in found if (near in f and far in f) or (near6 in f and far6 in f)] * 3 + found
    for _ in range(count):
        frame = bytearray(random.choice(chosen))
        if frame[12:14] == b"\x08\x00":
            frame[18:20], frame[22] = random.randbytes(2), random.randrange(256)
            at, protocol = 14 + 4 * (frame[14] & 15), frame[23]
        elif frame[12:14] == b"\x86\xdd":
            frame[21] = random.randrange(256)
            at, protocol = 54, frame[20]
        else:
            at, protocol = len(frame), 0
        if protocol in (6, 17) and at + 12 <= len(frame):
            size = 12 if protocol == 6 else 4
            frame[at : at + size] = random.randbytes(size)
        yield bytes(frame)


def compare_live(count: int, directory: Path, seed: str = "live", rate: int = RATE) -> Live:
    """Builds three namespaces, sends `count` frames from the source, and takes them down again. Needs root."""
    write_pcap(directory / "sent.pcap", varied(min(count, VARIED), seed))
    with wired("hbv-live") as wires:
        delivered: list[Packets] = []
        with _tcpdump(wires, directory / "seen.pcap"):
            capture = wires.on_node(lambda: open_capture("node-1", REQUEST, (SOURCE_VETH,), delivered.append, RING))
            try:
                _send(wires, directory / "sent.pcap", count, rate)
            finally:
                ended = capture.end()
    return _compared(count, ended, _Seen(delivered), directory / "seen.pcap")


class _Seen:
    """What a capture delivered, by time of capture: the row, or the headers of what no row holds."""

    def __init__(self, delivered: Iterable[Packets]) -> None:
        self.found: dict[int, list[bytes | Headers]] = {}
        self.captured = 0
        self.lost: dict[str, int] = {}
        for packets in delivered:
            self._take_in(packets)

    def _take_in(self, packets: Packets) -> None:
        for rows in packets.rows:
            for at in range(0, len(rows.rows), ROW.size):
                row = rows.rows[at : at + ROW.size]
                self._add(int.from_bytes(row[:8], "little"), row)
        for observation in packets.observations:
            self._add(observation.captured_at, observation.headers)
        for lost in packets.lost:
            self.lost[lost.where] = self.lost.get(lost.where, 0) + lost.count

    def _add(self, captured_at: int, seen: bytes | Headers) -> None:
        self.found.setdefault(captured_at, []).append(seen)
        self.captured += 1

    def take(self, captured_at: int) -> Headers | None:
        """The next packet of that moment; None where there is none."""
        waiting = self.found.get(captured_at)
        if not waiting:
            return None
        seen = waiting.pop(0)
        if isinstance(seen, Headers):
            return seen
        rows = PacketRows(node="node-1", capture="live", interfaces=(SOURCE_VETH,), rows=seen)
        return next(rows.observations()).headers


def _compared(sent: int, ended: CaptureEnded, ours: _Seen, seen: Path) -> Live:
    program, frames = header_program(REQUEST), read_pcap(seen)
    compared = cut = beside = missed = 0
    different = []
    for packet, told in zip(frames, tshark(seen), strict=True):
        headers = ours.take(told.captured_at)
        if headers is not None:
            compared += 1
            if _says_less(headers, told.headers):
                cut += 1
            elif headers != told.headers:
                different.append(f"{packet.data.hex()}: {headers} is {told.headers} for tshark")
        elif cbpf.run(program, _untagged(packet.data)).result:
            missed += 1
        else:
            beside += 1
    return Live(
        sent=sent,
        accepted=sum(stats.received for stats in ended.stats),
        captured=ours.captured,
        lost=sum(count for where, count in ours.lost.items() if where != "parse"),
        unparsed=ours.lost.get("parse", 0),
        compared=compared,
        cut=cut,
        beside=beside,
        unseen_by_tcpdump=sum(map(len, ours.found.values())),
        missed=missed,
        different=tuple(different),
    )


def _says_less(ours: Headers, theirs: Headers | None) -> bool:
    """Marked as truncated, and otherwise the same."""
    return ours.truncated and theirs is not None and not contradictions(ours, theirs)


def _untagged(frame: bytes) -> bytes:
    """As the filter saw it: without the tag that the kernel took off and tcpdump put back."""
    return frame[:12] + frame[16:] if frame[12:14] in (b"\x81\x00", b"\x88\xa8") else frame


@contextmanager
def _tcpdump(wires: Wires, path: Path) -> Iterator[None]:
    options = (
        "-i",
        SOURCE_VETH,
        "-Q",
        "in",
        "-s",
        str(SNAPLEN),
        "-B",
        "131072",
        "--nano",
        "-Z",
        "root",
        "-w",
        str(path),
    )
    command = ("ip", "netns", "exec", wires.node.name, "tcpdump", *options)
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        process.stderr.readline()
        yield
        time.sleep(TCPDUMP_FLUSHES)
    finally:
        process.terminate()
        process.wait(60)
        process.stderr.close()


def _send(wires: Wires, frames: Path, count: int, rate: int) -> None:
    words: Sequence[str] = (sys.executable, str(Path(__file__).parent / "frames_send.py"))
    command = ("ip", "netns", "exec", wires.source.name, *words, "eth0", str(frames), str(count), str(rate))
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
