"""Whether packets get the mark by which they leave, and come back, by the primary ENI: by prediction, then by structure. Pure.

A new packet of a secondary ENI's pod to what is outside must be marked before its route is chosen, since it is SNATed to the
primary ENI's address; so must the packets after it, and what comes in for a node port.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pathtap.collector import findings
from pathtap.collector.inspections.defect import Defect, Traffic
from pathtap.collector.inspections.netfilter import base_chains, has_restore_rule, is_cnis, pruned, sets_connmark
from pathtap.collector.inspections.translation import is_snat_intended
from pathtap.collector.inspections.view import FROM_MARK, NodeView, expected, from_pod_rules
from pathtap.collector.telling import words
from pathtap.forwarding.node import NodeModel
from pathtap.forwarding.packet import Packet, State
from pathtap.forwarding.predict import predict
from pathtap.forwarding.prediction import Prediction
from pathtap.model.address import Address
from pathtap.model.node import Role
from pathtap.model.trace import RuleReference

# Kubernetes' own range of node ports begins here; the mark is set whatever the port.
NODE_PORT = 30_000
# More rules before the CNI's than these are not taken away one by one.
SUSPECTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A packet that must be marked. `lacks` says what is missing where it is not and no rule stands in the way."""

    packet: Packet
    is_marked: Callable[[Prediction], bool]
    is_written: bool
    lacks: str
    traffic: Traffic


def inspect(view: NodeView) -> Iterator[Defect]:
    if not view.netfilter_was_read or not view.was_read("rules", "routes") or view.outside is None:
        return
    concerns = secondary_pods(view)
    for wanted in _wanted(view, concerns):
        prediction = predict(view.model, wanted.packet)
        if prediction.unknown or prediction.routed is None or wanted.is_marked(prediction):
            continue
        flow = f"{wanted.packet.five_tuple} is not marked {view.connmark:#x}"
        proof = (expected(flow, f"{view.node} netfilter"),)
        obstacle, family = (_obstacle(view, wanted) if wanted.is_written else None) or (None, "")
        if obstacle is not None:
            says = expected(words.netfilter_words(obstacle), f"{view.node} {obstacle.backend.value}")
            finding = findings.connmark_rules_shadowed(view.node, obstacle, family, (*proof, says))
        else:
            finding = findings.connmark_rules_missing(view.node, wanted.lacks, proof)
        yield Defect(finding=finding, concerns=concerns, traffic=wanted.traffic)
        return


def secondary_pods(view: NodeView) -> frozenset[Address]:
    """The IPv4 pods whose own packets leave by another ENI than the primary one."""
    found = set()
    for address in view.pods:
        owner = view.owner(address)
        secondary = owner is not None and owner.role is Role.SECONDARY_ENI
        if address.version == 4 and (secondary or from_pod_rules(view.rules, address)):
            found.add(address)
    return frozenset(found)


def _wanted(view: NodeView, secondary: frozenset[Address]) -> Iterator[Wanted]:
    mark, outside = view.connmark, view.outside
    has_rule = any(rule.priority == FROM_MARK and rule.mark for rule in view.rules)
    written = any(sets_connmark(chain, mark) is not None for chain in base_chains(view))
    sources = [address for address in view.samples if address in secondary]
    primary = view.primary.name if view.primary else ""

    def leaves_rightly(prediction: Prediction) -> bool:
        # Up to v1.7 only what went to the VPC had a rule 1536, and needed no mark to leave by the primary ENI.
        by_route = prediction.routing is not None and prediction.routing.interface == primary and not has_rule
        return by_route or bool(
            prediction.packet.connmark & mark and prediction.routed and prediction.routed.mark & mark
        )

    if outside is None:
        return
    for source in sources if is_snat_intended(view) else ():
        packet = view.opening(source, outside)
        if not written and not _would_leave_wrong(view, packet, primary):
            continue
        lacks = "the rules that mark a pod's new connections to what is outside the VPC"
        yield Wanted(packet=packet, is_marked=leaves_rightly, is_written=written, lacks=lacks, traffic=Traffic.OUTSIDE)
        if has_rule:
            yield _following(packet, mark, has_restore_rule(view))
    yield from _node_port(view, secondary)


def _would_leave_wrong(view: NodeView, packet: Packet, primary: str) -> bool:
    decision = view.model.tables.lookup(packet)
    return not decision.unknown and decision.interface != primary


def _following(packet: Packet, mark: int, is_written: bool) -> Wanted:
    """The packets after the first one, which pass no nat chain: the mangle rule `-i eni+` gives them the mark."""
    later = replace(packet, state=State.ESTABLISHED, connmark=mark, translated=packet.five_tuple)
    return Wanted(
        packet=later,
        is_marked=lambda prediction: bool(prediction.routed and prediction.routed.mark & mark),
        is_written=is_written,
        lacks="the mangle rule that gives a pod's packets the mark of their connection",
        traffic=Traffic.OUTSIDE,
    )


def _node_port(view: NodeView, secondary: frozenset[Address]) -> Iterator[Wanted]:
    """With AWS_VPC_CNI_NODE_PORT_SUPPORT what comes in by the primary ENI for the node is marked, for its answers' sake."""
    settings, primary, outside = view.settings, view.primary, view.outside
    if settings is None or not settings.node_port_support or primary is None or outside is None or not secondary:
        return
    own = next((each.ip for each in primary.addresses if each.version == 4 and not each.ip.is_link_local), None)
    if own is None:
        return
    mark = view.connmark
    yield Wanted(
        packet=replace(view.opening(outside, own, NODE_PORT), in_interface=primary.name),
        is_marked=lambda prediction: bool(prediction.packet.connmark & mark),
        is_written=True,
        lacks=f"the mangle rule that marks what comes in by {primary.name} for the node: node ports need it",
        traffic=Traffic.NODE_PORT,
    )


def _obstacle(view: NodeView, wanted: Wanted) -> tuple[RuleReference, str] | None:
    """The rule of somebody else without which the packet would be marked, and its table's family."""
    suspects = [
        (chain, index)
        for chain in base_chains(view)
        for index in range(len(chain.chain.rules))
        if not is_cnis(chain.reference(index))
    ]
    for chain, index in suspects[:SUSPECTS]:
        prediction = predict(NodeModel(pruned(view.snapshot, chain, index)), wanted.packet)
        if prediction.routed is not None and wanted.is_marked(prediction):
            return chain.reference(index), chain.table.rule_set.family
    return None
