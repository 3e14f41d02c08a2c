"""Headers of many frames at once: columns of numbers in place of one dissection for each. Pure.

What is covered: Ethernet with at most one tag in the frame, IPv4 with options, IPv6 without extension headers, TCP, UDP, ICMP
messages that quote nothing, later fragments, other protocols. Every frame that is not wholly and soundly one of these is left to
`dissect`, which is also what this module is held to: where it decodes a frame, the row is that of `dissect`'s headers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pathtap.agent.captured import NO_VLAN, OTHERHOST, OUTGOING, Column, Frames
from pathtap.agent.dissect import ECHO, EXTENSIONS, ICMP_ERRORS, IPV4, IPV6, VLAN_TAGS
from pathtap.model.address import Protocol
from pathtap.model.rows import FIELDS, ICMP_LAYER, ROW, TCP_LAYER, Mark

_FORMATS = {"Q": "<u8", "I": "<u4", "H": "<u2", "B": "u1", "16s": "V16"}
_SIZES = [np.dtype(_FORMATS[code]).itemsize for _, code in FIELDS]
_OFFSETS = [sum(_SIZES[:number]) for number in range(len(FIELDS))]
_AT = dict(zip((name for name, _ in FIELDS), _OFFSETS, strict=True))

# A row by the names of `FIELDS`, and the first 4 bytes of each address, where an IPv4 address stands.
ROWS = np.dtype(
    {
        "names": [*_AT, "source4", "destination4"],
        "formats": [*(_FORMATS[code] for _, code in FIELDS), "V4", "V4"],
        "offsets": [*_OFFSETS, _AT["source"], _AT["destination"]],
        "itemsize": ROW.size,
    }
)


def _layout(size: int, **fields: tuple[str, int]) -> np.dtype[Any]:
    """A header of `size` bytes: format and place of each field."""
    formats, offsets = zip(*fields.values(), strict=True)
    return np.dtype({"names": list(fields), "formats": list(formats), "offsets": list(offsets), "itemsize": size})


# Behind the two MAC addresses: the EtherType, or a tag and the EtherType behind it.
ETHERTYPE = _layout(8, kind=(">u2", 0), tag=(">u2", 2), inner=(">u2", 4))
IPV4_HEADER = _layout(
    20,
    first=("u1", 0),
    length=(">u2", 2),
    ip_id=(">u2", 4),
    offset=(">u2", 6),
    ttl=("u1", 8),
    protocol=("u1", 9),
    source=("V4", 12),
    destination=("V4", 16),
)
IPV6_HEADER = _layout(
    40,
    first=("u1", 0),
    length=(">u2", 4),
    protocol=("u1", 6),
    ttl=("u1", 7),
    source=("V16", 8),
    destination=("V16", 24),
)
TCP_HEADER = _layout(
    16,
    source=(">u2", 0),
    destination=(">u2", 2),
    sequence=(">u4", 4),
    acknowledgment=(">u4", 8),
    words=("u1", 12),
    flags=("u1", 13),
)
UDP_HEADER = _layout(8, source=(">u2", 0), destination=(">u2", 2), length=(">u2", 4))
ICMP_HEADER = _layout(8, type=("u1", 0), code=("u1", 1), identifier=(">u2", 4), sequence=(">u2", 6))


def _table(values: dict[int, int]) -> Column:
    """What each byte means, 0 where nothing is said of it."""
    return np.array([values.get(byte, 0) for byte in range(256)], np.uint8)


# What the kernel's packet type is in a row's marks.
_MARKS = _table({OUTGOING: Mark.OUT, OTHERHOST: Mark.FOR_ANOTHER})
_EXTENSION = _table(dict.fromkeys(EXTENSIONS, 1)).astype(bool)
# Protocols whose headers are read.
_READ = {icmp: _table(dict.fromkeys((Protocol.TCP, Protocol.UDP, icmp), 1)).astype(bool) for icmp in ICMP_ERRORS}
_QUOTING = {protocol: _table(dict.fromkeys(types, 1)).astype(bool) for protocol, types in ICMP_ERRORS.items()}


@dataclass(frozen=True, slots=True)
class _Level:
    """One header of some frames: which rows they are, where it begins in memory, how many bytes are there from there on."""

    rows: Column | slice
    start: Column
    room: Column

    def where(self, mask: Column) -> "_Level":
        if mask.all():
            return self
        rows = np.flatnonzero(mask) if isinstance(self.rows, slice) else self.rows[mask]
        return _Level(rows, self.start[mask], self.room[mask])


class Columns:
    """The rows of `frames`; `decoded` says which of them are filled in. `sequence` and `interface` are left 0."""

    def __init__(self, frames: Frames) -> None:
        self.rows = np.zeros(len(frames), ROWS)
        self.decoded = np.zeros(len(frames), np.bool_)
        self._memory = frames.memory
        self._marks = _MARKS[frames.kind]
        self.rows["captured_at"] = frames.captured_at
        # No frame is shorter than an Ethernet and an IPv4 header: what is read behind the MAC addresses is there.
        self._link(_Level(slice(None), frames.start, frames.room).where(frames.room >= 34), frames.vlan)
        self.rows["marks"] = self._marks

    def _read(self, level: _Level, layout: np.dtype[Any]) -> Column:
        """The header at each start, copied: headers stand at any address."""
        places = max(0, len(self._memory) - layout.itemsize + 1)
        everywhere = np.ndarray((places,), f"V{layout.itemsize}", self._memory, 0, (1,))
        return everywhere[level.start].view(layout)

    def _mark(self, level: _Level, mark: Mark, where: Column) -> None:
        if where.any():
            self._marks[level.rows] |= np.where(where, np.uint8(mark), np.uint8(0))

    def _link(self, level: _Level, stripped: Column) -> None:
        if not len(level.start):
            return
        header = self._read(_Level(level.rows, level.start + 12, level.room), ETHERTYPE)
        kind, vlan = header["kind"], stripped[level.rows]
        size: Column | int = 14
        tagged = np.isin(kind, list(VLAN_TAGS)) if (kind != IPV4).any() else np.False_
        if tagged.any():
            kind = np.where(tagged, header["inner"], kind)
            vlan = np.where(tagged & (vlan == NO_VLAN), header["tag"] & 0x0FFF, vlan)
            size = np.where(tagged, 18, 14)
        told = vlan != NO_VLAN
        if told.any():
            self.rows["vlan"][level.rows] = np.where(told, vlan, 0)
            self._mark(level, Mark.HAS_VLAN, told)
        behind = _Level(level.rows, level.start + size, level.room - size)
        for ethertype, read in ((IPV4, self._ipv4), (IPV6, self._ipv6)):
            chosen = kind == ethertype
            if chosen.any():
                read(behind.where(chosen))

    def _ipv4(self, level: _Level) -> None:
        level = level.where(level.room >= 20)
        header = self._read(level, IPV4_HEADER)
        size = (header["first"] & 0x0F) * 4
        sound = (header["first"] >= 0x45) & (header["first"] <= 0x4F)
        sound &= (header["length"] >= size) & (level.room >= size)
        if not sound.all():
            level, header, size = level.where(sound), header[sound], size[sound]
        rows = self.rows
        rows["source4"][level.rows] = header["source"]
        rows["destination4"][level.rows] = header["destination"]
        rows["length"][level.rows] = header["length"]
        rows["ip_id"][level.rows] = header["ip_id"]
        self._marks[level.rows] |= np.uint8(Mark.HAS_IP_ID)
        later = header["offset"] & 0x1FFF != 0
        self._mark(level, Mark.FRAGMENT, later)
        payload = _Level(level.rows, level.start + size, np.minimum(level.room, header["length"]) - size)
        self._transport(payload, header, Protocol.ICMP, later)

    def _ipv6(self, level: _Level) -> None:
        level = level.where(level.room >= 40)
        header = self._read(level, IPV6_HEADER)
        sound = (header["first"] >> 4 == 6) & ~_EXTENSION[header["protocol"]]
        if not sound.all():
            level, header = level.where(sound), header[sound]
        rows = self.rows
        rows["source"][level.rows] = header["source"]
        rows["destination"][level.rows] = header["destination"]
        length = header["length"].astype(np.int64)
        rows["length"][level.rows] = length + 40
        self._marks[level.rows] |= np.uint8(Mark.IPV6)
        payload = _Level(level.rows, level.start + 40, np.minimum(level.room - 40, length))
        self._transport(payload, header, Protocol.ICMPV6, np.zeros(len(length), np.bool_))

    def _transport(self, level: _Level, header: Column, icmp: Protocol, later: Column) -> None:
        protocol = header["protocol"]
        self.rows["protocol"][level.rows] = protocol
        self.rows["ttl"][level.rows] = header["ttl"]
        bare = ~_READ[icmp][protocol] | later
        if bare.any():
            self.decoded[level.where(bare).rows] = True
        for number, least in ((Protocol.TCP, 20), (Protocol.UDP, 8), (icmp, 8)):
            # As a plain int: an enumeration's member makes numpy widen the whole column.
            chosen = (protocol == int(number)) & ~bare & (level.room >= least)
            if not chosen.any():
                continue
            if number == Protocol.TCP:
                self._tcp(level.where(chosen))
            elif number == Protocol.UDP:
                self._udp(level.where(chosen))
            else:
                self._icmp(level.where(chosen), icmp)

    def _tcp(self, level: _Level) -> None:
        header = self._read(level, TCP_HEADER)
        sound = header["words"] >= 0x50
        if not sound.all():
            level, header = level.where(sound), header[sound]
        self._ports(level, header["source"], header["destination"])
        rows = self.rows
        rows["tcp_sequence"][level.rows] = header["sequence"]
        rows["tcp_acknowledgment"][level.rows] = header["acknowledgment"]
        rows["tcp_flags"][level.rows] = header["flags"]
        rows["layer"][level.rows] = TCP_LAYER
        self._mark(level, Mark.TRUNCATED, level.room < (header["words"] >> 4) * 4)

    def _udp(self, level: _Level) -> None:
        header = self._read(level, UDP_HEADER)
        self._ports(level, header["source"], header["destination"])
        self._mark(level, Mark.TRUNCATED, header["length"] < 8)

    def _icmp(self, level: _Level, protocol: Protocol) -> None:
        header = self._read(level, ICMP_HEADER)
        quoting = _QUOTING[protocol][header["type"]]
        if quoting.any():
            level, header = level.where(~quoting), header[~quoting]
        request, reply = (header["type"] == kind for kind in ECHO[protocol])
        self._ports(level, np.where(request, header["identifier"], 0), np.where(reply, header["identifier"], 0))
        rows = self.rows
        rows["icmp_sequence"][level.rows] = np.where(request | reply, header["sequence"], 0)
        rows["icmp_type"][level.rows] = header["type"]
        rows["icmp_code"][level.rows] = header["code"]
        rows["layer"][level.rows] = ICMP_LAYER

    def _ports(self, level: _Level, source: Column, destination: Column) -> None:
        self.rows["source_port"][level.rows] = source
        self.rows["destination_port"][level.rows] = destination
        self.decoded[level.rows] = True
