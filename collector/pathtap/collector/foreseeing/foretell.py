"""Tells a prospect as hops and steps: EXPECTED on the nodes, ASSUMED between them. Pure; the counterpart of `narrate`."""

from collections.abc import Sequence
from dataclasses import replace

from pathtap.collector.foreseeing.prospect import Prospect, Stretch
from pathtap.collector.telling import words
from pathtap.collector.telling.narrate import interface_words, mark_steps, routing_steps, stopping_cause
from pathtap.forwarding.fabric import Carriage, Whereto
from pathtap.forwarding.packet import ECHO_REPLY, ECHO_REQUEST, Packet
from pathtap.forwarding.prediction import Outcome, SnatPrediction
from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.netfilter import Random
from pathtap.model.node import PortRange
from pathtap.model.trace import Action, Cause, CauseKind, Evidence, Hop, Path, RuleReference, Step, Witness

ENDED = (Outcome.DROPPED, Outcome.REJECTED, Outcome.NO_ROUTE)
# nf_nat_l4proto_unique_tuple (net/netfilter/nf_nat_core.c): the class of the port before is kept.
CLASSES = (PortRange(first=1, last=511), PortRange(first=600, last=1023), PortRange(first=1024, last=65535))


def foretell(prospect: Prospect) -> tuple[Path, Path]:
    """There and back."""
    return _path(prospect.forward), _path(prospect.reply)


def _path(stretches: Sequence[Stretch]) -> Path:
    return Path(hops=tuple(_hop(each) for each in stretches))


def _hop(stretch: Stretch) -> Hop:
    leg, expected = stretch.leg, stretch.expected
    steps = [
        *_arrival(stretch),
        *mark_steps(expected),
        *_destination_translation(stretch),
        *routing_steps(expected),
        *_source_translation(stretch),
        *(_stop(stretch) if leg.prediction.outcome in ENDED else ()),
        *_departure(stretch),
        *(_beyond(leg.carried, expected.passage.after) if leg.carried else ()),
    ]
    return Hop(node=leg.node, ingress=leg.packet.in_interface, egress=_out(stretch), steps=tuple(steps))


def _out(stretch: Stretch) -> str:
    """The interface by which it leaves, empty where it does not."""
    routing = stretch.leg.prediction.routing
    leaves = stretch.leg.prediction.outcome is Outcome.FORWARDED and routing is not None
    return routing.interface if leaves and routing else ""


def _place(action: Action, stretch: Stretch, interface: str, flow: FiveTuple, evidence: Evidence) -> Step:
    return Step(
        action=action,
        before=stretch.expected.passage.before,
        after=flow,
        cause=Cause(kind=CauseKind.PACKET, text=interface_words(stretch.expected, interface)),
        interface=interface,
        packet=packet_words(stretch.leg.packet),
        evidence=(evidence,),
    )


def _arrival(stretch: Stretch) -> list[Step]:
    """In from a pod is configuration, in from an ENI is the VPC's doing."""
    interface, flow, node = stretch.leg.packet.in_interface, stretch.expected.passage.before, stretch.leg.node
    if not interface:
        return []
    if not _is_eni(stretch, interface):
        claim = f"{flow.source} is behind {interface}"
        evidence = Evidence(witness=Witness.EXPECTED, claim=claim, source=f"{node} links")
    else:
        claim = f"the VPC delivers {flow.destination} to {interface}, which owns it"
        evidence = Evidence(witness=Witness.ASSUMED, claim=claim, source="the VPC")
    return [_place(Action.RECEIVED, stretch, interface, flow, evidence)]


def _is_eni(stretch: Stretch, name: str) -> bool:
    interface = stretch.expected.snapshot.interface(name) if stretch.expected.snapshot else None
    return interface is not None and interface.role.is_eni


def _departure(stretch: Stretch) -> list[Step]:
    leg, passage, node = stretch.leg, stretch.expected.passage, stretch.leg.node
    if leg.prediction.outcome is Outcome.LOCAL and leg.packet.in_interface:
        claim = f"{passage.after.destination} is the node's own"
        evidence = Evidence(witness=Witness.EXPECTED, claim=claim, source=f"{node} ip route")
        return [_place(Action.DELIVERED, stretch, leg.packet.in_interface, passage.before, evidence)]
    interface = _out(stretch)
    if not interface:
        return []
    evidence = Evidence(witness=Witness.EXPECTED, claim=f"goes out of {interface}", source=f"{node} ip route")
    if leg.carried is not None and leg.carried.whereto is Whereto.POD:
        action = Action.DELIVERED
    else:
        action = Action.FORWARDED if leg.packet.in_interface else Action.SENT
    return [_place(action, stretch, interface, passage.after, evidence)]


def _beyond(carried: Carriage, flow: FiveTuple) -> list[Step]:
    """What the VPC makes of it, where that is the end of the way."""
    if carried.whereto is Whereto.REFUSED:
        named = f"{carried.owner.name} {carried.owner.eni_id}".rstrip() if carried.owner else "no ENI of the node"
        text = f"dropped by the VPC's source check: {flow.source} belongs to {named}"
        action, before, after = Action.DROPPED, flow, None
    elif carried.whereto is Whereto.OUTSIDE:
        text = "outside the cluster, inside the VPC" if carried.inside else "outside the cluster"
        action, before, after = Action.FORWARDED, None, flow
    else:
        return []
    evidence = Evidence(witness=Witness.ASSUMED, claim=text, source="the VPC")
    cause = Cause(kind=CauseKind.FABRIC, text=text)
    return [Step(action=action, before=before, after=after, cause=cause, evidence=(evidence,))]


def _stop(stretch: Stretch) -> list[Step]:
    prediction, node = stretch.leg.prediction, stretch.leg.node
    cause = stopping_cause(prediction) or Cause(kind=CauseKind.ROUTE, text=prediction.reason)
    evidence = Evidence(witness=Witness.EXPECTED, claim=cause.text, source=f"{node} configuration")
    action = Action.REJECTED if prediction.outcome is Outcome.REJECTED else Action.DROPPED
    return [Step(action=action, before=stretch.expected.passage.before, cause=cause, evidence=(evidence,))]


def _between(stretch: Stretch) -> FiveTuple:
    """After DNAT and before SNAT."""
    before, after = stretch.expected.passage.before, stretch.expected.passage.after
    return replace(before, destination=after.destination, destination_port=after.destination_port)


def _destination_translation(stretch: Stretch) -> list[Step]:
    before, after, leg = stretch.expected.passage.before, _between(stretch), stretch.leg
    if before == after:
        return []
    more = []
    if len(leg.alternatives) > 1:
        choices = ", ".join(str(socket) for socket in leg.alternatives)
        claim = f"by chance one of {choices}; followed is {after.destination_socket}"
        more.append(Evidence(witness=Witness.EXPECTED, claim=claim, source=f"{leg.node} configuration"))
    return [_translation(stretch, before, after, leg.prediction.dnat.rule if leg.prediction.dnat else None, more)]


def _source_translation(stretch: Stretch) -> list[Step]:
    before, after, snat = _between(stretch), stretch.expected.passage.after, stretch.leg.prediction.snat
    if not is_translated(stretch):
        return []
    more = []
    if snat is not None:
        claim = port_words(snat, stretch.expected.passage.before)
        more.append(Evidence(witness=Witness.EXPECTED, claim=claim, source=f"{stretch.leg.node} configuration"))
    return [_translation(stretch, before, after, snat.rule if snat else None, more)]


def is_translated(stretch: Stretch) -> bool:
    """Whether SNAT changes the source: its address, or, where a rule says at random, its port alone."""
    snat = stretch.leg.prediction.snat
    if stretch.leg.before.source_socket != stretch.leg.after.source_socket:
        return True
    return snat is not None and (snat.random is not Random.NONE or snat.ports is not None)


def _translation(
    stretch: Stretch, before: FiveTuple, after: FiveTuple, rule: RuleReference | None, more: Sequence[Evidence]
) -> Step:
    node = stretch.leg.node
    cause = None
    if rule is None:
        undone = "connection tracking undoes what it did on the way there"
        text = undone if stretch.expected.reply else "which rule does it depends on a choice by chance"
        evidence = Evidence(witness=Witness.EXPECTED, claim=text, source=f"{node} configuration")
    else:
        text = words.netfilter_words(rule)
        cause = Cause(kind=CauseKind.NETFILTER_RULE, text=text)
        evidence = Evidence(witness=Witness.EXPECTED, claim=text, source=f"{node} {rule.backend.value}")
    return Step(action=Action.TRANSLATED, before=before, after=after, cause=cause, evidence=(evidence, *more))


def port_words(snat: SnatPrediction, before: FiveTuple) -> str:
    """What can be said of the port that SNAT gives, or of the identifier of an echo. `before` has port 0 for any client's."""
    if before.protocol in (Protocol.ICMP, Protocol.ICMPV6):
        kept = "kept where it is free" if snat.random is Random.NONE else "chosen at random"
        return f"the identifier is not predicted: {kept}"
    port = before.source_port or CLASSES[-1].first
    known = snat.ports or next(each for each in CLASSES if port <= each.last)
    among = f"{known.first} to {known.last}"
    how = "kept where it is free, else any" if snat.random is Random.NONE else "chosen at random"
    return f"the port is not predicted: {how} of {among}"


def packet_words(packet: Packet) -> str:
    """What a person calls it: SYN, echo request, datagram."""
    protocol = packet.five_tuple.protocol
    if packet.tcp_flags is not None:
        return packet.tcp_flags.describe()
    if packet.icmp_type in ECHO_REQUEST.values():
        return "echo request"
    if packet.icmp_type in ECHO_REPLY.values():
        return "echo reply"
    return "datagram" if protocol == Protocol.UDP else "packet"
