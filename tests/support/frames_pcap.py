"""libpcap's file format for Ethernet frames (pcap-savefile(5)), read and written: what tests share with tshark and tcpdump."""

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

MICROSECONDS, NANOSECONDS = 0xA1B2C3D4, 0xA1B23C4D
FILE, RECORD = struct.Struct("=IHHiIII"), struct.Struct("=IIII")
ETHERNET, LONGEST = 1, 262_144


class PcapPacket(NamedTuple):
    """`captured_at` in nanoseconds; `length` is the frame's on the wire, of which `data` may be the beginning."""

    data: bytes
    captured_at: int
    length: int


def read_pcap(path: Path) -> list[PcapPacket]:
    """Raises ValueError for what is no such file of this machine's byte order."""
    content = path.read_bytes()
    magic, *_, link = FILE.unpack_from(content)
    if magic not in (MICROSECONDS, NANOSECONDS) or link != ETHERNET:
        raise ValueError(f"{path} is no capture of Ethernet frames")
    unit = 1 if magic == NANOSECONDS else 1000
    packets, offset = [], FILE.size
    while offset < len(content):
        seconds, fraction, kept, length = RECORD.unpack_from(content, offset)
        offset += RECORD.size
        packets.append(PcapPacket(content[offset : offset + kept], seconds * 10**9 + fraction * unit, length))
        offset += kept
    return packets


def write_pcap(path: Path, frames: Iterable[bytes]) -> None:
    """The frames, a microsecond after each other, each as long as on the wire."""
    with path.open("wb") as file:
        file.write(FILE.pack(NANOSECONDS, 2, 4, 0, 0, LONGEST, ETHERNET))
        for number, frame in enumerate(frames):
            file.write(RECORD.pack(number // 10**6, number % 10**6 * 1000, len(frame), len(frame)) + frame)
