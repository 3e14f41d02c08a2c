"""The answer of `explain`: a prospect as a trace of which nothing was observed, with its verdict and its sentence. Pure.

Everything in it would happen and has not: ANSWERED says that an answer would come back, not that anybody listens.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pathtap.collector.assemble import destination_nat, egress_of
from pathtap.collector.foresee import foreseen
from pathtap.collector.foretell import foretell, is_translated
from pathtap.collector.further import would_also
from pathtap.collector.hurting import hurting, without_chance
from pathtap.collector.inspections import Defect
from pathtap.collector.inventory import Inventory
from pathtap.collector.once import told_once
from pathtap.collector.plan import first_packet
from pathtap.collector.prospect import Prospect, prospect_of
from pathtap.collector.resolve import Question
from pathtap.collector.summary import end_words, gap_words, other_eni, sentence, way_out
from pathtap.collector.ways import way_beyond
from pathtap.forwarding.journey import Arrival
from pathtap.model.address import Address, FiveTuple, protocol_name
from pathtap.model.node import NodeSnapshot
from pathtap.model.trace import (
    DestinationNat,
    Disposition,
    Finding,
    Gap,
    Path,
    Reply,
    Severity,
    SourceNat,
    Trace,
    Verdict,
)

DISPOSITIONS = {
    Arrival.DELIVERED: Disposition.DELIVERED,
    Arrival.OUTSIDE: Disposition.LEFT_CLUSTER,
    Arrival.DROPPED: Disposition.DROPPED,
    Arrival.REJECTED: Disposition.REJECTED,
    Arrival.NO_ROUTE: Disposition.NO_ROUTE,
    Arrival.LOOPED: Disposition.LOOPED,
    Arrival.UNKNOWN: Disposition.INSUFFICIENT_EVIDENCE,
}
ARRIVED = (Disposition.DELIVERED, Disposition.LEFT_CLUSTER)
BACKEND_GONE = "SERVICE_BACKEND_GONE"
# What goes wrong between a pod and its node, by which way the packet goes.
FROM_A_POD = ("GATEWAY_NEIGHBOUR_STALE",)
TO_A_POD = ("POD_NEIGHBOUR_STALE", "POD_ROUTE_WRONG_VETH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """What was read for one explanation. `gaps` are of the reading.

    `prospects` are the way that is told and, of a service, those to its other backends; none where it could not be begun.
    """

    id: str
    question: Question
    inventory: Inventory
    started_at: int
    finished_at: int
    snapshots: Mapping[str, NodeSnapshot]
    gaps: tuple[Gap, ...]
    prospects: tuple[Prospect, ...]

    @property
    def prospect(self) -> Prospect | None:
        return next(iter(self.prospects), None)


def outlook(explained: Explained) -> Trace:
    """Never has a conntrack line, a time of a packet, or a witness that saw it."""
    question, prospect = explained.question, explained.prospect
    passages = prospect.passages if prospect else ()
    forward, reply = foretell(prospect) if prospect else (Path(), Path())
    flow = replace(first_packet(question), source_port=0)
    trace = Trace(
        id=explained.id,
        started_at=explained.started_at,
        finished_at=explained.finished_at,
        source=question.source,
        destination=question.destination,
        protocol=protocol_name(question.protocol),
        live=False,
        five_tuple=flow,
        forward=forward,
        reply=reply,
        egress=egress_of(passages, question.source.node),
        snat=_source_nat(prospect, flow),
        dnat=destination_nat(passages, explained.inventory) if prospect else DestinationNat(applied=False),
        verdict=_verdict(explained),
    )
    return replace(trace, verdict=replace(trace.verdict, summary=_summary(trace, explained)))


def _source_nat(prospect: Prospect | None, flow: FiveTuple) -> SourceNat:
    for stretch in prospect.forward if prospect else ():
        if is_translated(stretch) and (snat := stretch.leg.prediction.snat) is not None:
            passage = stretch.expected.passage
            return SourceNat(
                applied=True,
                original=passage.before.source_socket,
                translated=passage.after.source_socket,
                rule=snat.rule,
            )
    return SourceNat(applied=False, original=flow.source_socket, translated=flow.source_socket)


def _verdict(explained: Explained) -> Verdict:
    prospect = explained.prospect
    gaps, defects = tuple(dict.fromkeys(_gaps(explained))), _defects(explained)
    first, others = _found(explained)
    if prospect is None or any(gap.decisive for gap in gaps):
        disposition, reply = Disposition.INSUFFICIENT_EVIDENCE, Reply.NOT_SEEN
    else:
        disposition = DISPOSITIONS[prospect.walk.arrival]
        reply = _reply(prospect.walk.reply_arrival, explained.question)
        if disposition in ARRIVED and (_stops(defects, prospect) or any(f.code == BACKEND_GONE for f in first)):
            disposition, reply = Disposition.DROPPED, Reply.NOT_SEEN
        elif reply is Reply.ANSWERED and _stops_the_answer(defects, prospect):
            reply = Reply.LOST
    configured = tuple(dict.fromkeys([*(defect.finding for defect in defects), *others]))
    found = told_once(first, configured, answered=reply is Reply.ANSWERED)
    if all(_is_known(each) for each in explained.prospects):
        found = without_chance(found)
    return Verdict(disposition=disposition, reply=reply, summary="", findings=found, gaps=gaps)


def _is_known(prospect: Prospect) -> bool:
    """Whether all that is open on the way there and back leaves it the same."""
    return Arrival.UNKNOWN not in (prospect.walk.arrival, prospect.walk.reply_arrival)


def _found(explained: Explained) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """What is wrong on the way that is told; and beyond where it ends, and on the ways to other backends."""
    if not explained.prospects:
        return (), ()
    told, *others = explained.prospects
    first = foreseen(told, explained.inventory)
    more = [finding for each in others for finding in foreseen(each, explained.inventory)]
    beyond = way_beyond(told.walk, told.fabric)
    if beyond is not None:
        stop = told.walk.forward[-1].node
        rest = foreseen(prospect_of(beyond, told.fabric, port_known=False), explained.inventory)
        # Back at the node that stops the packet, one cause would be told twice.
        more += [would_also(finding) for finding in rest if finding.node != stop]
    return first, tuple(more)


def _defects(explained: Explained) -> tuple[Defect, ...]:
    """Those of the nodes on the way that can hurt this flow."""
    prospect, question = explained.prospect, explained.question
    if prospect is None:
        return ()
    flows = [flow for each in prospect.stretches for flow in (each.leg.before, each.leg.after)]
    asked = (question.source.socket.address, question.destination.socket.address)
    ends = frozenset((*asked, *(address for flow in flows for address in (flow.source, flow.destination))))
    nodes = (question.source.node, *(each.leg.node for each in prospect.stretches), question.destination.node)
    last = prospect.walk.forward[-1].after.destination
    to_service = question.destination.kind == "service" or last != question.destination.socket.address
    return hurting(nodes, ends, last, prospect.fabric, explained.inventory, to_service=to_service)


def _stops(defects: Sequence[Defect], prospect: Prospect) -> bool:
    """Whether a defect of the last yards, which the model does not walk, keeps the packet from its way."""
    legs = prospect.walk.forward
    return _hurts(defects, FROM_A_POD, legs[0].before.source) or _hurts(defects, TO_A_POD, legs[-1].after.destination)


def _stops_the_answer(defects: Sequence[Defect], prospect: Prospect) -> bool:
    legs = prospect.walk.forward
    return _hurts(defects, FROM_A_POD, legs[-1].after.destination) or _hurts(defects, TO_A_POD, legs[0].before.source)


def _hurts(defects: Sequence[Defect], codes: Sequence[str], pod: Address) -> bool:
    return any((defect.severs or defect.finding.code in codes) and pod in defect.concerns for defect in defects)


def _reply(arrival: Arrival | None, question: Question) -> Reply:
    if arrival is None:
        return Reply.NOT_SEEN
    outside = arrival is Arrival.OUTSIDE and not question.source.node
    return Reply.ANSWERED if arrival is Arrival.DELIVERED or outside else Reply.LOST


def _gaps(explained: Explained) -> Iterator[Gap]:
    """A gap of the reading decides where the way leads to that node; what the model cannot evaluate, where the way ends."""
    prospect, source = explained.prospect, explained.question.source
    needed = {source.node} if prospect is None else set()
    if prospect is not None:
        needed = {stretch.leg.carried.node for stretch in prospect.stretches if stretch.leg.carried}
    for gap in explained.gaps:
        yield replace(gap, decisive=gap.node in needed and gap.node not in explained.snapshots)
    walked = {stretch.leg.node for stretch in prospect.stretches} if prospect else set()
    for node, snapshot in explained.snapshots.items():
        if node in walked or prospect is None:
            yield from (Gap(node=node, part=unread.part, why=unread.reason) for unread in snapshot.unread)
    if prospect is None:
        yield from _no_beginning(explained)
        return
    walk = prospect.walk
    decides = Arrival.UNKNOWN in (walk.arrival, walk.reply_arrival)
    for why in walk.unknown:
        node = next((s.leg.node for s in prospect.stretches if why in s.leg.prediction.unknown), "")
        yield Gap(node=node, part="expectation", why=why, decisive=decides)


def _no_beginning(explained: Explained) -> Iterator[Gap]:
    source = explained.question.source
    if source.node in explained.snapshots:
        why = f"the veth of {source.name} is not known: no route of the node leads to it"
        yield Gap(node=source.node, part="links", why=why, decisive=True)
    elif not source.node:
        why = f"no node that was read owns {explained.question.destination.socket.address}"
        yield Gap(node="", part="expectation", why=why, decisive=True)
    elif not any(gap.node == source.node for gap in explained.gaps):
        yield Gap(node=source.node, part="snapshot", why="its state was not read", decisive=True)


def _summary(trace: Trace, explained: Explained) -> str:
    """One sentence in the conditional, then what is in the way."""
    verdict, source, destination = trace.verdict, end_words(trace.source), end_words(trace.destination)
    passages = explained.prospect.passages if explained.prospect else ()
    if verdict.disposition is Disposition.INSUFFICIENT_EVIDENCE:
        why = next((gap for gap in verdict.gaps if gap.decisive), None)
        reason = f" {gap_words(why, explained.inventory)}" if why else ""
        return f"What would become of the packet cannot be said.{reason}"
    left = way_out(trace, passages)
    if verdict.disposition is Disposition.LEFT_CLUSTER:
        parts = [f"{source} would leave the cluster{left} towards {destination}{_answer(verdict.reply)}."]
    elif verdict.disposition is Disposition.DELIVERED:
        there = f", there {trace.dnat.backend_pod}," if trace.dnat.applied and trace.dnat.backend_pod else ""
        parts = [f"{source} would reach {destination}{there}{left}{_answer(verdict.reply)}."]
    else:
        parts = [f"{source} would not reach {destination}: the way ends on {passages[-1].passage.node}."]
    parts.extend(sentence(finding.text, explained.inventory) for finding in _errors(verdict.findings)[:2])
    if note := other_eni(trace, passages):
        parts.append(note)
    return " ".join(parts)


def _answer(reply: Reply) -> str:
    return (
        ", and an answer would come back" if reply is Reply.ANSWERED else "; its answer would be lost on the way back"
    )


def _errors(found: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.severity is Severity.ERROR]
