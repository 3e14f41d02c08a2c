"""What makes two packets one kind of traffic to a proof: the same rules translate them, and the same was set for them. Pure."""

from dataclasses import dataclass

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.resolve import owner_of
from pathtap.collector.inspections.intent import exempted_from, intent_of
from pathtap.collector.inspections.owners import EGRESS_CNI, owner_of_chain
from pathtap.collector.inspections.view import NodeView
from pathtap.forwarding.packet import Packet
from pathtap.forwarding.prediction import Outcome, Prediction
from pathtap.model.address import Address
from pathtap.model.netfilter import Backend, Random
from pathtap.model.snat import Intent
from pathtap.model.trace import RuleReference

# Where a packet ends before the rules that translate sources.
STOPPED = (Outcome.DROPPED, Outcome.REJECTED, Outcome.NO_ROUTE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """`rules` are those of which one translates, with None among them where perhaps none does. The chains that egress-cni writes
    for each pod differ in nothing else: `alike` stands for them, and `rules` is then empty.

    `meant` is whether it is to be translated and with which flag, None where nobody told. `stopped`: it never comes so far.
    """

    rules: frozenset[RuleReference | None] = frozenset()
    alike: tuple[Backend, Random, Address | None] | None = None
    meant: tuple[bool, Random] | None = None
    stopped: bool = False


def kind_of(view: NodeView, packet: Packet, prediction: Prediction) -> Kind:
    snat, meant = prediction.snat, intended(view, packet, prediction)
    rules = frozenset(snat.candidates if snat else ())
    first = next(iter(rules)) if len(rules) == 1 else None
    per_pod = first is not None and owner_of_chain(first) == EGRESS_CNI
    return Kind(
        rules=frozenset() if per_pod else rules,
        alike=(first.backend, first.random, snat.address if snat else None) if per_pod and first else None,
        meant=(meant.translated, meant.random) if meant else None,
        stopped=not rules and prediction.outcome in STOPPED,
    )


def intended(view: NodeView, packet: Packet, prediction: Prediction) -> Intent | None:
    """What somebody set for the packet, as far as anybody told."""
    ends = packet.five_tuple.source, prediction.packet.five_tuple.destination
    return intent_of(view.snapshot, *ends, _owner(prediction), _named(ends[1], view.inventory))


def exempted(view: NodeView, packet: Packet, prediction: Prediction) -> str:
    """A sentence on what the VPC CNI exempts and another one translates all the same; empty where that is not so."""
    ends = packet.five_tuple.source, prediction.packet.five_tuple.destination
    return exempted_from(view.snapshot, *ends, _owner(prediction), _named(ends[1], view.inventory))


def _owner(prediction: Prediction) -> str:
    """Of the first rule that may translate; empty where none does."""
    found = prediction.snat.candidates if prediction.snat else ()
    return next((owner_of_chain(rule) for rule in found if rule is not None), "")


def _named(address: Address, inventory: Inventory) -> str:
    """`pod shop/redis`, `node ip-192-168-1-29`; empty for what is neither."""
    owner = owner_of(address, 0, inventory)
    return f"{owner.kind} {owner.name}" if owner.kind in ("pod", "node") else ""
