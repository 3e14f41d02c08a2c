"""What the model answers. Values only."""

from dataclasses import dataclass
from enum import Enum

from pathtap.forwarding.packet import Packet
from pathtap.forwarding.routing import RoutingDecision
from pathtap.model.address import Address, Socket
from pathtap.model.netfilter import Random
from pathtap.model.node import PortRange
from pathtap.model.trace import RuleReference


class Outcome(Enum):
    """FORWARDED: handed to the way out that `routing` names. LOCAL: delivered to the node itself.

    REJECTED: dropped, and the sender is told, by a rule or an unreachable or prohibit route. NO_ROUTE: nothing leads there.
    """

    FORWARDED = "FORWARDED"
    LOCAL = "LOCAL"
    DROPPED = "DROPPED"
    REJECTED = "REJECTED"
    NO_ROUTE = "NO_ROUTE"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkChange:
    """`kind` is fwmark or connmark."""

    kind: str
    before: int
    after: int
    rule: RuleReference


@dataclass(frozen=True, slots=True, kw_only=True)
class DnatPrediction:
    """`alternatives` has more than one socket where the kernel picks by chance or a rule cannot be evaluated; the packet's own
    destination is among them where it may remain. `rule` is None where it depends on that choice which rule it is.
    """

    rule: RuleReference | None
    alternatives: tuple[Socket, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnatPrediction:
    """`address` is None where it cannot be predicted, `rule` where several could be the one. `candidates` are all that could,
    with None among them where perhaps no rule translates; `undecided` are sentences on what decides between them, but for the
    kernel's dice.

    The port is never predicted: `random` says how it is chosen, within `ports`, or the source port's own class for None
    (nf_nat_l4proto_unique_tuple: below 512, 600 to 1023, 1024 and up).
    """

    rule: RuleReference | None
    address: Address | None
    random: Random = Random.NONE
    ports: PortRange | None = None
    candidates: tuple[RuleReference | None, ...] = ()
    undecided: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversePath:
    """Why source validation refused a packet. `mode` is strict or loose; `decision` is the lookup of the way back."""

    mode: str
    decision: RoutingDecision


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What packets and conntrack showed of how a packet left a node: its source, the entry's mark, the interface.

    None and the empty name where nothing showed it.
    """

    source: Address | None = None
    connmark: int | None = None
    interface: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What must happen to one packet on one node.

    `unknown` is empty for a definite answer; else sentences, one for each thing that could not be evaluated and could make
    a difference, and every field holds what is certain all the same. `reason` says in words why a packet ended where
    it did, `dropped_by` names the rule (position 0 is the chain's policy), `reverse_path` the lookup by which rp_filter
    refused the source. `packet` is the packet after everything, its
    source port as before SNAT, one of the possible ones where they differ. `routed` is the packet as its last route lookup
    saw it, so with the mark that counted: what to ask the kernel's own lookup; None before or without one.
    """

    outcome: Outcome
    marks: tuple[MarkChange, ...] = ()
    dnat: DnatPrediction | None = None
    routing: RoutingDecision | None = None
    dropped_by: RuleReference | None = None
    snat: SnatPrediction | None = None
    packet: Packet
    routed: Packet | None = None
    reverse_path: ReversePath | None = None
    reason: str = ""
    unknown: tuple[str, ...] = ()
