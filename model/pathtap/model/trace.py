"""The answer: paths, the evidence each claim rests on, what is missing, and the verdict."""

from dataclasses import dataclass
from enum import Enum

from pathtap.model.account import Account
from pathtap.model.address import FiveTuple, Socket
from pathtap.model.netfilter import Backend, Random


class Witness(Enum):
    """Who says so. docs/evidence.md tells what each can testify to."""

    EXPECTED = "EXPECTED"
    OBSERVED = "OBSERVED"
    RECORDED = "RECORDED"
    ASSUMED = "ASSUMED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One witness's statement. `source` names where it was read: `ip-192-168-1-29 eth0`, `ip-192-168-1-29 conntrack`.

    `at` is the time of the statement in nanoseconds, None where it holds for the snapshot as a whole.
    """

    witness: Witness
    claim: str
    source: str
    at: int | None = None


class Action(Enum):
    """TRACKED is the conntrack entry that the node keeps of a flow which it does not translate."""

    RECEIVED = "RECEIVED"
    SENT = "SENT"
    TRACKED = "TRACKED"
    MARKED = "MARKED"
    ROUTED = "ROUTED"
    TRANSLATED = "TRANSLATED"
    FORWARDED = "FORWARDED"
    DELIVERED = "DELIVERED"
    DROPPED = "DROPPED"
    REJECTED = "REJECTED"


class CauseKind(Enum):
    PACKET = "PACKET"
    IP_RULE = "IP_RULE"
    ROUTE = "ROUTE"
    NETFILTER_RULE = "NETFILTER_RULE"
    CONNTRACK = "CONNTRACK"
    FABRIC = "FABRIC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why a step happened, in the words the kernel's own tools print."""

    kind: CauseKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happened to the packet on a node. A step without evidence is not printed, so it is not made.

    `interface` and `at` hold for RECEIVED, FORWARDED and DELIVERED; `packet` is then what a person calls it: `SYN,ACK`.
    """

    action: Action
    evidence: tuple[Evidence, ...]
    before: FiveTuple | None = None
    after: FiveTuple | None = None
    cause: Cause | None = None
    interface: str = ""
    at: int | None = None
    packet: str = ""

    @property
    def witnesses(self) -> tuple[Witness, ...]:
        return tuple(dict.fromkeys(evidence.witness for evidence in self.evidence))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One node's passage. `ingress` and `egress` are interface names, empty where the packet was not seen there."""

    node: str
    ingress: str = ""
    egress: str = ""
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    hops: tuple[Hop, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """The way out of the source node. `rule` is `1024 from all fwmark 0x80/0x80 lookup main`."""

    node: str
    interface: str
    eni_id: str
    table: str
    rule: str
    route: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleReference:
    """Points at one rule. `position` counts from 1."""

    backend: Backend
    table: str
    chain: str
    position: int
    text: str
    random: Random = Random.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceNat:
    applied: bool
    original: Socket | None = None
    translated: Socket | None = None
    rule: RuleReference | None = None
    conntrack: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationNat:
    applied: bool
    original: Socket | None = None
    translated: Socket | None = None
    service: str = ""
    backend_pod: str = ""
    rule: RuleReference | None = None
    conntrack: str = ""


class Severity(Enum):
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A named cause: docs/findings.md has one section for each code. `fix` is a command or a sentence, or empty."""

    code: str
    severity: Severity
    node: str
    text: str
    fix: str = ""
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What could not be read or seen. It is decisive when it could change the disposition, the reply or the claim."""

    node: str
    part: str
    why: str
    decisive: bool = False


class Disposition(Enum):
    """What became of the forward direction; the table in docs/evidence.md gives each one's exact condition."""

    DELIVERED = "DELIVERED"
    LEFT_CLUSTER = "LEFT_CLUSTER"
    DROPPED = "DROPPED"
    NO_ROUTE = "NO_ROUTE"
    LOOPED = "LOOPED"
    REJECTED = "REJECTED"
    INSUFFICIENT_EVIDENCE = "INSUFFICIENT_EVIDENCE"


class Reply(Enum):
    """What became of the way back."""

    ANSWERED = "ANSWERED"
    UNANSWERED = "UNANSWERED"
    LOST = "LOST"
    NOT_SEEN = "NOT_SEEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    disposition: Disposition
    reply: Reply
    summary: str
    findings: tuple[Finding, ...] = ()
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One end as it was resolved. `kind` is pod, node, service or address; `name` is `shop/cart`, a node name or empty.

    A pod with `host_network` has its node's address and sends and receives as the node does.
    """

    kind: str
    name: str
    node: str
    socket: Socket
    host_network: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """`round_trip` is nanoseconds from the probe's departure to its answer as the source saw it; None without one.

    `expected_forward` and `expected_reply` are the whole way as the configuration has it, beside what was seen.
    """

    id: str
    started_at: int
    finished_at: int
    source: Target
    destination: Target
    protocol: str
    live: bool
    five_tuple: FiveTuple | None
    forward: Path
    reply: Path
    egress: Egress | None
    snat: SourceNat
    dnat: DestinationNat
    verdict: Verdict
    round_trip: int | None = None
    expected_forward: Path = Path()
    expected_reply: Path = Path()
    accounts: tuple[Account, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedNode:
    """`read` is False where nothing could be read. `predictions` counts the packets whose way was predicted."""

    node: str
    read: bool
    pods: int = 0
    predictions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Whether each node is wired as its CNI wires it."""

    started_at: int
    finished_at: int
    nodes: tuple[CheckedNode, ...]
    findings: tuple[Finding, ...] = ()
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One joined flow of a pod, both nodes' views in one record. Times are nanoseconds, counts are packets at the pod's veth.

    `peer` is `pod shop/redis`, `service shop/web` with `backend_pod`, or an address outside. `initiated` tells
    whether the pod opened it. `nodes` are those whose agents saw or recorded it.
    """

    five_tuple: FiveTuple
    source: Target
    destination: Target
    initiated: bool
    first_seen: int
    last_seen: int
    packets_forward: int
    packets_reply: int
    egress: Egress | None
    snat: SourceNat
    dnat: DestinationNat
    nodes: tuple[str, ...]
    evidence: tuple[Evidence, ...]
