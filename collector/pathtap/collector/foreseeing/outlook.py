"""The answer of `explain`: a prospect as a trace of which nothing was observed, with its verdict and its sentence. Pure.

Everything in it would happen and has not: ANSWERED says that an answer would come back, not that anybody listens.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.resolve import Question
from pathtap.collector.foreseeing.foresee import foreseen
from pathtap.collector.foreseeing.foretell import foretell, is_translated
from pathtap.collector.foreseeing.further import would_also
from pathtap.collector.foreseeing.halting import Halt, halt, halted
from pathtap.collector.foreseeing.prospect import Prospect, Stretch, prospect_of
from pathtap.collector.foreseeing.ways import way_beyond
from pathtap.collector.inspections import Defect
from pathtap.collector.joining.expect import ExpectedPassage
from pathtap.collector.judging.hurting import hurting, without_chance
from pathtap.collector.judging.once import told_once
from pathtap.collector.plan import first_packet
from pathtap.collector.telling.assemble import destination_nat, egress_of
from pathtap.collector.telling.summary import end_words, gap_words, other_eni, sentence, way_out
from pathtap.forwarding.journey import Arrival
from pathtap.model.address import FiveTuple, protocol_name
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ends:
    """The defects of the nodes on the way, and where one of them ends it, there and back."""

    defects: tuple[Defect, ...] = ()
    there: Halt | None = None
    back: Halt | None = None


def outlook(explained: Explained) -> Trace:
    """Never has a conntrack line, a time of a packet, or a witness that saw it."""
    question, prospect = explained.question, explained.prospect
    ends = _ends(explained)
    told = _as_far_as(prospect, ends.there) if prospect else ()
    passages = tuple(each.expected for each in told)
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
        forward=halted(forward, ends.there),
        reply=Path() if ends.there else halted(reply, ends.back),
        egress=egress_of(passages, question.source.node),
        snat=_source_nat(told, flow),
        dnat=destination_nat(passages, explained.inventory) if passages else DestinationNat(applied=False),
        verdict=_verdict(explained, ends),
    )
    return replace(trace, verdict=replace(trace.verdict, summary=_summary(trace, explained, passages)))


def _ends(explained: Explained) -> _Ends:
    prospect = explained.prospect
    if prospect is None:
        return _Ends()
    defects, walk = _defects(explained), prospect.walk
    delivered = DISPOSITIONS[walk.arrival] in ARRIVED
    answered = _reply(walk.reply_arrival, explained.question) is Reply.ANSWERED
    return _Ends(
        defects=defects,
        there=halt(defects, prospect.forward, arrives=delivered, opens=True),
        back=halt(defects, prospect.reply, arrives=answered, opens=False),
    )


def _as_far_as(prospect: Prospect, there: Halt | None) -> tuple[Stretch, ...]:
    """What the packet passes on its way there."""
    return prospect.forward if there is None or not there.entering else prospect.forward[: there.hop]


def _source_nat(stretches: Sequence[Stretch], flow: FiveTuple) -> SourceNat:
    for stretch in stretches:
        if is_translated(stretch) and (snat := stretch.leg.prediction.snat) is not None:
            passage = stretch.expected.passage
            return SourceNat(
                applied=True,
                original=passage.before.source_socket,
                translated=passage.after.source_socket,
                rule=snat.rule,
            )
    return SourceNat(applied=False, original=flow.source_socket, translated=flow.source_socket)


def _verdict(explained: Explained, ends: _Ends) -> Verdict:
    prospect = explained.prospect
    gaps = tuple(dict.fromkeys(_gaps(explained)))
    first, others = _found(explained)
    if prospect is None or any(gap.decisive for gap in gaps):
        disposition, reply = Disposition.INSUFFICIENT_EVIDENCE, Reply.NOT_SEEN
    else:
        disposition = DISPOSITIONS[prospect.walk.arrival]
        reply = _reply(prospect.walk.reply_arrival, explained.question)
        gone = disposition in ARRIVED and any(finding.code == BACKEND_GONE for finding in first)
        if ends.there or gone:
            disposition, reply = Disposition.DROPPED, Reply.NOT_SEEN
        elif reply is Reply.ANSWERED and ends.back:
            reply = Reply.LOST
    if ends.there:
        first = tuple(would_also(finding) for finding in first)
    configured = tuple(dict.fromkeys([*(defect.finding for defect in ends.defects), *others]))
    in_vain = any(each.expected.is_marked_in_vain for each in prospect.stretches) if prospect else False
    found = told_once(first, configured, answered=reply is Reply.ANSWERED, marked_in_vain=in_vain)
    stop = ends.there.finding if ends.there else None
    if stop is not None:
        found = tuple(sorted(found, key=lambda finding: finding != stop))
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
    if explained.question.is_to_itself:
        why = "what a pod sends to itself passes by its own lo, and never comes to its node"
        yield Gap(node=source.node, part="loopback", why=why, decisive=True)
    elif source.node in explained.snapshots:
        why = f"the veth of {source.name} is not known: no route of the node leads to it"
        yield Gap(node=source.node, part="links", why=why, decisive=True)
    elif not source.node:
        why = f"no node that was read owns {explained.question.destination.socket.address}"
        yield Gap(node="", part="expectation", why=why, decisive=True)
    elif not any(gap.node == source.node for gap in explained.gaps):
        yield Gap(node=source.node, part="snapshot", why="its state was not read", decisive=True)


def _summary(trace: Trace, explained: Explained, passages: Sequence[ExpectedPassage]) -> str:
    """One sentence in the conditional, then what is in the way. `passages` are those that the packet makes on its way there."""
    verdict, source, destination = trace.verdict, end_words(trace.source), end_words(trace.destination)
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
        parts = [f"{source} would not reach {destination}: the way ends on {trace.forward.hops[-1].node}."]
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
