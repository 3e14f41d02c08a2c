"""Where a defect that the forwarding model does not walk ends a way: stale MACs, a full conntrack table. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pathtap.collector.foreseeing.prospect import Stretch
from pathtap.collector.inspections import Defect
from pathtap.model.address import Address
from pathtap.model.trace import Action, Cause, CauseKind, Evidence, Finding, Hop, Path, Severity, Step, Witness

# What goes wrong between a pod and its node, by which way the packet goes.
FROM_A_POD = ("GATEWAY_NEIGHBOUR_STALE",)
TO_A_POD = ("POD_NEIGHBOUR_STALE", "POD_ROUTE_WRONG_VETH")
# nf_conntrack_alloc (net/netfilter/nf_conntrack_core.c) drops what would open a connection, on each node that it comes to.
TABLE_FULL = "CONNTRACK_TABLE_FULL"
UNSEEN_BY_THE_NODE = ("LINK_DOWN",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt:
    """`hop` counts from 0. `entering`: as the packet comes in, before anything is done to it; else as it goes out to its pod."""

    hop: int
    entering: bool
    finding: Finding


def halt(defects: Sequence[Defect], way: Sequence[Stretch], *, arrives: bool, opens: bool) -> Halt | None:
    """The first defect that ends this way. `arrives` says that the model has it arrive, `opens` that it begins a flow."""
    for hop, stretch in enumerate(way):
        if hop == 0 and (found := _at(defects, FROM_A_POD, stretch.leg.before.source)):
            return Halt(hop=hop, entering=True, finding=found)
        if opens and (full := _full(defects, stretch.leg.node)):
            return Halt(hop=hop, entering=True, finding=full)
    if way and arrives and (found := _at(defects, TO_A_POD, way[-1].leg.after.destination)):
        return Halt(hop=len(way) - 1, entering=False, finding=found)
    return None


def _at(defects: Sequence[Defect], codes: Sequence[str], pod: Address) -> Finding | None:
    hurting = (each for each in defects if pod in each.concerns and (each.severs or each.finding.code in codes))
    return next((each.finding for each in hurting), None)


def _full(defects: Sequence[Defect], node: str) -> Finding | None:
    found = (each.finding for each in defects if each.finding.code == TABLE_FULL)
    return next((each for each in found if each.node == node and each.severity is Severity.ERROR), None)


def misses_its_pod(finding: Finding, node: str, pod: Address) -> bool:
    """Whether it says that what `node` hands to `pod`, and a capture sees go out, comes to nobody."""
    named = re.search(rf"(?<![\w.:]){re.escape(str(pod))}(?![\w.:])", finding.text)
    return finding.code in TO_A_POD and finding.node == node and named is not None


def halted(path: Path, at: Halt | None) -> Path:
    """The path as far as the packet comes."""
    return path if at is None else Path(hops=(*path.hops[: at.hop], _last(path.hops[at.hop], at)))


def _last(hop: Hop, at: Halt) -> Hop:
    if at.entering:
        unseen = at.finding.code in UNSEEN_BY_THE_NODE
        steps = tuple(step for step in hop.steps[:1] if step.action is Action.RECEIVED and not unseen)
        return replace(hop, egress="", steps=(*steps, _drop(at.finding)))
    steps = tuple(
        replace(step, action=Action.FORWARDED) if step.action is Action.DELIVERED else step for step in hop.steps
    )
    return replace(hop, steps=(*steps, _drop(at.finding)))


def _drop(finding: Finding) -> Step:
    claims = [evidence.claim for evidence in finding.evidence[:1]]
    text = ": ".join([finding.code, *claims])
    evidence = Evidence(witness=Witness.EXPECTED, claim=text, source=f"{finding.node} configuration")
    return Step(action=Action.DROPPED, cause=Cause(kind=CauseKind.ROUTE, text=text), evidence=(evidence,))
