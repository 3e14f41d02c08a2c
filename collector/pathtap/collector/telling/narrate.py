"""Tells a journey as hops and steps, each step with the witnesses that speak for it. Pure; judges nothing.

A step that no witness speaks for is not made.
"""

from collections.abc import Sequence
from dataclasses import replace

from pathtap.collector.joining.correlate import packet_label
from pathtap.collector.joining.expect import ExpectedPassage
from pathtap.collector.judging.fate import End, Fate, interface_of, is_delivered
from pathtap.collector.telling import words
from pathtap.forwarding.prediction import MarkChange, Outcome, Prediction
from pathtap.model.address import FiveTuple
from pathtap.model.packet import PacketObservation
from pathtap.model.trace import Action, Cause, CauseKind, Evidence, Finding, Hop, Path, RuleReference, Step, Witness


def tell(
    passages: Sequence[ExpectedPassage], fate: Fate, lost_beyond: Finding | None = None, *, answered: bool = False
) -> Path:
    """`lost_beyond` is why the packet died after it left the last node, where it did. Of an `answered` one the source had the
    answer: what was not seen leaving a node did so all the same, and stopped nowhere.
    """
    stopped = fate.last if fate.end is End.STOPPED and not answered else None
    return Path(hops=tuple(_hop(expected, fate, lost_beyond, expected is stopped) for expected in passages))


def _hop(expected: ExpectedPassage, fate: Fate, lost_beyond: Finding | None, stopped: bool) -> Hop:
    passage = expected.passage
    before_routing, after_routing = _translations(expected)
    ended = expected is fate.last
    steps = [
        *_arrival(expected),
        *_tracked(expected),
        *mark_steps(expected),
        *before_routing,
        *routing_steps(expected),
        *after_routing,
        *(_stop(expected) if stopped else ()),
        *_departure(expected, fate),
        *(_beyond(expected, fate, lost_beyond) if ended else ()),
    ]
    return Hop(
        node=passage.node,
        ingress=passage.arrival.interface if passage.arrival else "",
        egress=passage.departure.interface if passage.departure else "",
        steps=tuple(steps),
    )


def _sighting(action: Action, seen: PacketObservation, expected: ExpectedPassage, claim: str) -> Step:
    evidence = Evidence(
        witness=Witness.OBSERVED, claim=claim, source=f"{seen.node} {seen.interface}", at=seen.captured_at
    )
    return Step(
        action=action,
        before=expected.passage.before,
        after=seen.headers.five_tuple,
        cause=Cause(kind=CauseKind.PACKET, text=interface_words(expected, seen.interface)),
        interface=seen.interface,
        at=seen.captured_at,
        packet=packet_label(seen.headers),
        evidence=(evidence,),
    )


def interface_words(expected: ExpectedPassage, name: str) -> str:
    """`primary ENI eni-0a1f…`, `pod veth`, or nothing where the node could not be read."""
    interface = interface_of(expected, name)
    if interface is None:
        return ""
    return " ".join(part for part in (interface.eni_id, interface.role.value) if part)


def _arrival(expected: ExpectedPassage) -> list[Step]:
    seen = expected.passage.arrival
    return [_sighting(Action.RECEIVED, seen, expected, f"came in on {seen.interface}")] if seen else []


def _tracked(expected: ExpectedPassage) -> list[Step]:
    """The entry of a flow that passes as it is; a translation shows its own."""
    passage = expected.passage
    if passage.entry is None or passage.before != passage.after or (expected.reply and not expected.is_unseen):
        return []
    text = words.conntrack_words(passage.entry)
    evidence = Evidence(witness=Witness.RECORDED, claim=text, source=f"{passage.node} conntrack")
    return [Step(action=Action.TRACKED, cause=Cause(kind=CauseKind.CONNTRACK, text=text), evidence=(evidence,))]


def _departure(expected: ExpectedPassage, fate: Fate) -> list[Step]:
    passage = expected.passage
    seen = passage.departure
    if seen is None:
        if expected is fate.last and fate.end is End.DELIVERED and passage.arrival is not None:
            return [_sighting(Action.DELIVERED, passage.arrival, expected, "came in for the node itself")]
        return []
    delivered = expected is fate.last and fate.owner is not None and is_delivered(expected, fate.owner)
    if passage.arrival is None and not delivered and _sends_itself(expected):
        return [_sighting(Action.SENT, seen, expected, f"sent by the node, out of {seen.interface}")]
    action = Action.DELIVERED if delivered else Action.FORWARDED
    return [_sighting(action, seen, expected, f"went out of {seen.interface}")]


def _sends_itself(expected: ExpectedPassage) -> bool:
    return expected.snapshot is not None and expected.passage.before.source in expected.snapshot.addresses()


def _beyond(expected: ExpectedPassage, fate: Fate, lost: Finding | None) -> list[Step]:
    if fate.end not in (End.LEFT_CLUSTER, End.NOT_ARRIVED):
        return []
    if lost is not None:
        cause = Cause(kind=CauseKind.FABRIC, text=f"between the ENIs: {lost.code}")
        return [Step(action=Action.DROPPED, before=expected.passage.after, cause=cause, evidence=lost.evidence)]
    if fate.end is End.NOT_ARRIVED:
        return []
    claim = "beyond the cluster's nodes: nobody watches there"
    evidence = Evidence(witness=Witness.ASSUMED, claim=claim, source="the VPC")
    cause = Cause(kind=CauseKind.FABRIC, text="outside the cluster")
    return [Step(action=Action.FORWARDED, after=expected.passage.after, cause=cause, evidence=(evidence,))]


def mark_steps(expected: ExpectedPassage) -> list[Step]:
    """One for each change of a mark that the configuration makes."""
    prediction = expected.prediction
    return [_mark(change, expected) for change in prediction.marks] if prediction else []


def _mark(change: MarkChange, expected: ExpectedPassage) -> Step:
    node, entry = expected.passage.node, expected.passage.entry
    claim = f"{change.kind} {change.before:#x} → {change.after:#x}"
    evidence = [Evidence(witness=Witness.EXPECTED, claim=claim, source=f"{node} {change.rule.backend.value}")]
    if change.kind == "connmark" and entry is not None and entry.mark == change.after:
        recorded = f"the entry has mark={entry.mark}"
        evidence.append(Evidence(witness=Witness.RECORDED, claim=recorded, source=f"{node} conntrack"))
    cause = Cause(kind=CauseKind.NETFILTER_RULE, text=words.netfilter_words(change.rule))
    return Step(action=Action.MARKED, cause=cause, evidence=tuple(evidence))


def routing_steps(expected: ExpectedPassage) -> list[Step]:
    """The ip rule and the route that decide, each where there is one."""
    expectation, node = expected.expectation, expected.passage.node
    if expectation is None or expectation.prediction.routing is None:
        return []
    decision, answer = expectation.prediction.routing, expectation.answer
    steps = []
    if decision.rule is not None:
        text = words.rule_words(decision.rule)
        evidence = Evidence(witness=Witness.EXPECTED, claim=text, source=f"{node} ip rule")
        steps.append(Step(action=Action.ROUTED, cause=Cause(kind=CauseKind.IP_RULE, text=text), evidence=(evidence,)))
    if decision.route is not None:
        text = words.route_words(decision.route)
        witnesses = [Evidence(witness=Witness.EXPECTED, claim=text, source=f"{node} ip route")]
        if answer is not None:
            claim = words.kernel_answer_words(answer)
            witnesses.append(Evidence(witness=Witness.EXPECTED, claim=claim, source=f"{node} RTM_GETROUTE"))
        seen = expected.passage.departure
        if seen is not None and seen.interface == decision.interface:
            claim = f"went out of {seen.interface}"
            source = f"{node} {seen.interface}"
            witnesses.append(Evidence(witness=Witness.OBSERVED, claim=claim, source=source, at=seen.captured_at))
        cause = Cause(kind=CauseKind.ROUTE, text=text)
        steps.append(Step(action=Action.ROUTED, cause=cause, evidence=tuple(witnesses)))
    return steps


def _translations(expected: ExpectedPassage) -> tuple[list[Step], list[Step]]:
    """Destination translation, which comes before routing, and source translation, which comes after."""
    passage = expected.passage
    between = replace(
        passage.before,
        destination=passage.after.destination,
        destination_port=passage.after.destination_port,
    )
    prediction = expected.prediction
    dnat = prediction.dnat.rule if prediction and prediction.dnat else None
    snat = prediction.snat.rule if prediction and prediction.snat else None
    return (
        _translation(expected, passage.before, between, None if expected.reply else dnat),
        _translation(expected, between, passage.after, None if expected.reply else snat),
    )


def _translation(
    expected: ExpectedPassage, before: FiveTuple, after: FiveTuple, rule: RuleReference | None
) -> list[Step]:
    if before == after:
        return []
    passage, node = expected.passage, expected.passage.node
    evidence = []
    cause = None
    if passage.entry is not None:
        text = words.conntrack_words(passage.entry)
        cause = Cause(kind=CauseKind.CONNTRACK, text=text)
        evidence.append(Evidence(witness=Witness.RECORDED, claim=text, source=f"{node} conntrack"))
    if passage.arrival is not None and passage.departure is not None:
        claim = f"came in as {passage.before}, went out as {passage.after}"
        at = passage.departure.captured_at
        evidence.append(Evidence(witness=Witness.OBSERVED, claim=claim, source=f"{node} packets", at=at))
    if rule is not None:
        text = words.netfilter_words(rule)
        cause = Cause(kind=CauseKind.NETFILTER_RULE, text=text)
        evidence.append(Evidence(witness=Witness.EXPECTED, claim=text, source=f"{node} {rule.backend.value}"))
    return [Step(action=Action.TRANSLATED, before=before, after=after, cause=cause, evidence=tuple(evidence))]


def _stop(expected: ExpectedPassage) -> list[Step]:
    passage, prediction = expected.passage, expected.prediction
    seen = passage.arrival
    evidence = []
    if seen is not None:
        claim = f"came in on {seen.interface} and was not seen leaving"
        evidence.append(
            Evidence(witness=Witness.OBSERVED, claim=claim, source=f"{passage.node} packets", at=seen.captured_at)
        )
    cause = stopping_cause(prediction) if prediction else None
    if cause is not None:
        evidence.append(Evidence(witness=Witness.EXPECTED, claim=cause.text, source=f"{passage.node} configuration"))
    rejected = prediction is not None and prediction.outcome is Outcome.REJECTED
    action = Action.REJECTED if rejected else Action.DROPPED
    return [Step(action=action, before=passage.before, cause=cause, evidence=tuple(evidence))] if evidence else []


def stopping_cause(prediction: Prediction) -> Cause | None:
    """The filter rule or the refusing route that must have stopped it."""
    routing = prediction.routing
    if prediction.dropped_by is not None:
        return Cause(kind=CauseKind.NETFILTER_RULE, text=words.netfilter_words(prediction.dropped_by))
    if routing is None or not routing.refused:
        return None
    if routing.route is None and routing.rule is not None:
        return Cause(kind=CauseKind.IP_RULE, text=words.rule_words(routing.rule))
    return Cause(kind=CauseKind.ROUTE, text=words.route_words(routing.route) if routing.route else routing.refused)
