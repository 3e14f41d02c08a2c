"""Packets as they were seen on an interface, and what was not seen."""

from dataclasses import dataclass
from enum import Enum, IntFlag

from pathtap.model.address import FiveTuple


class Direction(Enum):
    """Relative to the node: IN came to the kernel from the interface, OUT left by it (PACKET_OUTGOING)."""

    IN = "in"
    OUT = "out"


class TcpFlag(IntFlag):
    """RFC 9293, section 3.1."""

    FIN = 1
    SYN = 2
    RST = 4
    PSH = 8
    ACK = 16
    URG = 32
    ECE = 64
    CWR = 128

    def describe(self) -> str:
        """`SYN,ACK`."""
        return ",".join(flag.name or "" for flag in TcpFlag if flag in self)


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpHeader:
    flags: TcpFlag
    sequence: int
    acknowledgment: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IcmpHeader:
    """`quoted` is the five-tuple of the packet that an ICMP error quotes; None for other messages.

    `sequence` is that of echo messages, `mtu` that of fragmentation needed and packet too big; 0 elsewhere.
    """

    type: int
    code: int
    sequence: int = 0
    mtu: int = 0
    quoted: FiveTuple | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Headers:
    """What the headers of one frame say. `length` is the IP packet's, in bytes, as its header states it.

    `five_tuple` has port 0 where a header was cut off or a fragment carries none; `truncated` then says so.
    `ip_id` is None for IPv6 without a fragment header.
    """

    five_tuple: FiveTuple
    ttl: int
    length: int
    ip_id: int | None = None
    vlan: int | None = None
    tcp: TcpHeader | None = None
    icmp: IcmpHeader | None = None
    fragment: bool = False
    truncated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketObservation:
    """One packet on one interface of one node. `captured_at` is the kernel's own time stamp, in nanoseconds.

    `for_another` says that its frame was addressed to another MAC than the interface's (PACKET_OTHERHOST): the kernel
    drops it silently.
    """

    node: str
    sequence: int
    capture: str
    captured_at: int
    interface: str
    direction: Direction
    headers: Headers
    for_another: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Packets that are known to be missing. `where` is the stage: kernel, parse, spool, stream, worker, limit."""

    node: str
    where: str
    count: int
    capture: str = ""
    interface: str = ""
    why: str = ""
