"""What a collector asks of an agent, and what the agent answers."""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from pathtap.model.address import Address, FiveTuple, Socket
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.node import NodeSnapshot, RouteAnswer, Unread
from pathtap.model.survey import SurveyReport, SurveyRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest:
    """Which packets to report: those between an address of `near` and one of `far`, in both directions.

    `near` holds the source and what SNAT may make of it, `far` the destination and what DNAT may make of it; an empty
    `far` means any. `protocol` 0 means ICMP, TCP and UDP; `ports` are the far end's, empty means any. ICMP errors that
    quote such a packet are always included. Sockets are opened on every ENI and on the veths of `pods`; on a node where
    none of `pods` lives, on the ENIs alone. At `limit` packets the capture stops and says so.
    """

    id: str
    protocol: int
    near: tuple[Address, ...]
    far: tuple[Address, ...] = ()
    ports: tuple[int, ...] = ()
    pods: tuple[Address, ...] = ()
    limit: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureArmed:
    """The interfaces that are now captured, and those that could not be."""

    id: str
    interfaces: tuple[str, ...]
    unread: tuple[Unread, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureStats:
    """One interface's account at the end: `received` as the socket saw it, `dropped` by the kernel (PACKET_STATISTICS)."""

    interface: str
    received: int
    dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureEnded:
    id: str
    stats: tuple[CaptureStats, ...]


# What IPv4's total length leaves beside an IP header of 20 bytes and a UDP or echo header of 8 (RFC 791).
MAX_PROBE_SIZE = 65_507


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """`source` is the pod's address, whose network namespace sends it; None means the node's own namespace.

    `timeout` is in seconds, for each of `count`. `size` is the payload in bytes, sent with IP's don't-fragment set, at most
    MAX_PROBE_SIZE; 0 means the usual few bytes. Not for TCP, whose SYN carries no payload.
    """

    protocol: int
    source: Address | None
    destination: Socket
    count: int = 1
    timeout: float = 2.0
    size: int = 0


class ProbeOutcome(Enum):
    """ANSWERED: echo reply, handshake or datagram back. REFUSED: RST. UNREACHABLE: an ICMP error came back.

    SILENT: nothing within the time-out. FAILED: the probe could not be sent.
    """

    ANSWERED = "ANSWERED"
    REFUSED = "REFUSED"
    UNREACHABLE = "UNREACHABLE"
    SILENT = "SILENT"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """One probe. `five_tuple` is None where it could not be sent; `round_trip` is in nanoseconds, None unless answered."""

    outcome: ProbeOutcome
    five_tuple: FiveTuple | None = None
    sent_at: int = 0
    round_trip: int | None = None
    detail: str = ""


# What one OpenConnections may ask for.
MOST_CONNECTIONS = 1000
# A second, whatever an OpenConnections asks for.
MOST_RATE = 1000
# In seconds: how long an agent waits for their answers at most, and takes to open them.
MOST_ANSWER_SECONDS = 10.0
MOST_OPENING_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenConnections:
    """Asks for `count` connections of different source ports (of ICMP: identifiers) to one destination, at most MOST_CONNECTIONS.

    `source` is the pod's address, whose network namespace opens them; None means the node's own namespace. No second has
    more openings than `rate`, nor than MOST_RATE; `timeout` is in seconds, for the answers to all of them, once the last is
    opened. An agent waits no longer than MOST_ANSWER_SECONDS, and refuses what takes longer than MOST_OPENING_SECONDS to
    open. Each is closed again, with a reset where it is TCP.
    """

    protocol: int
    source: Address | None
    destination: Socket
    count: int
    rate: int = 400
    timeout: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One that was opened. `entry` is what the node's connection tracking recorded of it, None where nothing was found."""

    outcome: ProbeOutcome
    five_tuple: FiveTuple | None = None
    entry: ConntrackEntry | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionsReport:
    """In the order in which they were opened. `unread` says what kept entries from being read."""

    connections: tuple[Connection, ...]
    unread: tuple[Unread, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteQuestion:
    """What to ask the kernel's FIB. `in_interface` empty means locally generated."""

    destination: Address
    source: Address | None = None
    in_interface: str = ""
    mark: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupRequest:
    """Conntrack entries that hold one of `tuples` (either direction) or one of `addresses`, and routes."""

    tuples: tuple[FiveTuple, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[RouteQuestion, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupReport:
    """`routes` answers the questions in their order. `unread` names conntrack or routes where they could not be asked."""

    entries: tuple[ConntrackEntry, ...] = ()
    routes: tuple[RouteAnswer, ...] = ()
    unread: tuple[Unread, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A command that could not be carried out, as a sentence."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSnapshot:
    """Asks for the node's forwarding state; answered by a NodeSnapshot. `interiors` are pods to look into, by address."""

    interiors: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndCapture:
    """Asks for the end of the capture `id`; answered once all that it saw has been sent."""

    id: str


Command: TypeAlias = (
    ReadSnapshot | CaptureRequest | EndCapture | ProbeRequest | LookupRequest | OpenConnections | SurveyRequest
)
Answer: TypeAlias = (
    NodeSnapshot
    | CaptureArmed
    | CaptureEnded
    | tuple[ProbeReport, ...]
    | LookupReport
    | ConnectionsReport
    | SurveyReport
    | Failure
)
