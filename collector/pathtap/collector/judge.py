"""The verdict: what became of the packet, of its answer, and what stands in the way of saying so. Pure.

Follows the table in docs/evidence.md row by row. A gap is decisive when it could change the disposition, the reply or the
claim; a trace with one is inconclusive.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pathtap.collector import findings
from pathtap.collector.causes import cause_of_stop, direction_words, sighting, source_check
from pathtap.collector.correlate import Journey
from pathtap.collector.expect import ExpectedPassage
from pathtap.collector.fate import End, Fate, fate_of
from pathtap.collector.record import Record
from pathtap.collector.resolve import owner_of
from pathtap.model.packet import PacketObservation, TcpFlag
from pathtap.model.request import ProbeOutcome
from pathtap.model.trace import Disposition, Evidence, Finding, Gap, Reply, Severity, Verdict, Witness

# Causes that answer in the destination's place.
REJECTIONS = ("FILTER_REJECT", "SERVICE_WITHOUT_ENDPOINTS", "UNREACHABLE_ROUTE", "PROHIBIT_ROUTE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What there is to judge: the record, the joined journey, and how each direction ended."""

    record: Record
    journey: Journey
    forward: Fate
    reply: Fate
    forward_passages: Sequence[ExpectedPassage] = field(default=())
    reply_passages: Sequence[ExpectedPassage] = field(default=())

    @property
    def passages(self) -> tuple[ExpectedPassage, ...]:
        return (*self.forward_passages, *self.reply_passages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    disposition: Disposition
    reply: Reply
    findings: tuple[Finding, ...] = ()


def case_of(
    record: Record, journey: Journey, forward: Sequence[ExpectedPassage], reply: Sequence[ExpectedPassage]
) -> Case:
    return Case(
        record=record,
        journey=journey,
        forward=fate_of(forward, record.inventory),
        reply=fate_of(reply, record.inventory),
        forward_passages=forward,
        reply_passages=reply,
    )


def judge(case: Case) -> Verdict:
    """The verdict without its summary: `summary` writes that once all is known."""
    judgement = _judge(case)
    gaps = _gaps(case)
    found = (*judgement.findings, *_disagreements(case), *_probe_losses(case))
    if any(gap.decisive for gap in gaps):
        judgement = replace(judgement, disposition=Disposition.INSUFFICIENT_EVIDENCE, reply=Reply.NOT_SEEN)
        found = tuple(finding for finding in found if finding.severity is not Severity.ERROR)
    return Verdict(disposition=judgement.disposition, reply=judgement.reply, summary="", findings=found, gaps=gaps)


def _judge(case: Case) -> Judgement:
    if case.forward.end is not End.DELIVERED and (rejection := _rejection(case)):
        return Judgement(disposition=Disposition.REJECTED, reply=Reply.NOT_SEEN, findings=(rejection,))
    match case.forward.end:
        case End.DELIVERED:
            return _with_reply(case, Disposition.DELIVERED)
        case End.LEFT_CLUSTER:
            return _left_cluster(case)
        case End.NOT_ARRIVED:
            return _not_arrived(case)
        case End.LOOPED:
            last = case.forward.last
            assert last is not None and last.passage.arrival is not None  # noqa: S101, PT018 - a loop has arrivals
            seen = last.passage.arrival
            finding = findings.looped(seen.node, seen.interface, sighting(seen))
            return Judgement(disposition=Disposition.LOOPED, reply=Reply.NOT_SEEN, findings=(finding,))
        case End.STOPPED:
            return _stopped(case)
        case End.NOT_SEEN:
            return _not_seen(case)


def _with_reply(case: Case, disposition: Disposition) -> Judgement:
    """The packet got there; what remains is its answer."""
    if (refusal := _refusal(case)) is not None:
        return Judgement(disposition=disposition, reply=Reply.ANSWERED, findings=(refusal,))
    match case.reply.end:
        case End.DELIVERED:
            return Judgement(disposition=disposition, reply=Reply.ANSWERED)
        case End.NOT_SEEN:
            return Judgement(disposition=disposition, reply=Reply.UNANSWERED)
        case _:
            found = _loss_of(case.reply, case)
            return Judgement(disposition=disposition, reply=Reply.LOST, findings=(found,) if found else ())


def _loss_of(fate: Fate, case: Case) -> Finding | None:
    """Why a packet that was under way did not arrive."""
    if fate.last is None:
        return None
    if fate.end is End.STOPPED:
        return cause_of_stop(fate.last, case.record.inventory)
    if (unowned := source_check(fate)) is not None:
        return unowned
    seen = fate.last.passage.departure
    if seen is None or fate.owner is None:
        return None
    owner = fate.owner.node or str(fate.owner.socket.address)
    return findings.lost_in_vpc(seen.node, seen.interface, owner, direction_words(fate.last), sighting(seen))


def _left_cluster(case: Case) -> Judgement:
    last = case.forward.last
    seen = last.passage.departure if last else None
    assert seen is not None  # noqa: S101 - it left
    if case.reply.end is not End.NOT_SEEN:
        return _with_reply(case, Disposition.LEFT_CLUSTER)
    if (unowned := source_check(case.forward)) is not None:
        return Judgement(disposition=Disposition.DROPPED, reply=Reply.NOT_SEEN, findings=(unowned,))
    proof = sighting(seen)
    destination = str(seen.headers.five_tuple.destination_socket)
    found = findings.no_answer_from_outside(seen.node, seen.interface, destination, proof)
    if case.journey.errors:
        error = case.journey.errors[0]
        found = findings.refused_outside(seen.node, str(error.headers.five_tuple.source), sighting(error))
        no_answer = findings.no_answer_from_outside(seen.node, seen.interface, destination, proof)
        return Judgement(disposition=Disposition.LEFT_CLUSTER, reply=Reply.UNANSWERED, findings=(found, no_answer))
    return Judgement(disposition=Disposition.LEFT_CLUSTER, reply=Reply.UNANSWERED, findings=(found,))


def _not_arrived(case: Case) -> Judgement:
    """It left for a node of the cluster. An answer that came all the same shows that it arrived where nobody looked."""
    if case.reply.end is End.DELIVERED:
        return Judgement(disposition=Disposition.DELIVERED, reply=Reply.ANSWERED)
    found = _loss_of(case.forward, case)
    return Judgement(disposition=Disposition.DROPPED, reply=Reply.NOT_SEEN, findings=(found,) if found else ())


def _stopped(case: Case) -> Judgement:
    last = case.forward.last
    assert last is not None  # noqa: S101 - it was seen somewhere
    found = _cause(case, last)
    if found.code in REJECTIONS:
        disposition = Disposition.REJECTED
    else:
        disposition = Disposition.NO_ROUTE if found.code == "NO_ROUTE_TO_DESTINATION" else Disposition.DROPPED
    return Judgement(disposition=disposition, reply=Reply.NOT_SEEN, findings=(found,))


def _not_seen(case: Case) -> Judgement:
    record = case.record
    nothing = Judgement(disposition=Disposition.INSUFFICIENT_EVIDENCE, reply=Reply.NOT_SEEN)
    source = record.question.source
    if record.question.live or not record.sent or not record.captured.get(source.node) or _lost_on(case, source.node):
        return nothing
    claim = f"{record.reports[0].outcome.value.lower()}: {record.reports[0].detail or record.sent[0]}"
    proof = (Evidence(witness=Witness.OBSERVED, claim=claim, source=f"{source.node} probe"),)
    if record.question.source_has_namespace:
        return Judgement(
            disposition=Disposition.DROPPED,
            reply=Reply.NOT_SEEN,
            findings=(findings.never_left_pod(source.node, source.name, proof),),
        )
    return Judgement(
        disposition=Disposition.DROPPED,
        reply=Reply.NOT_SEEN,
        findings=(findings.never_left_node(source.node, proof),),
    )


def _rejection(case: Case) -> Finding | None:
    """A node of ours, not the destination, answered with an ICMP error or an RST."""
    answer = _answer_of_a_node(case)
    last = case.forward.last
    if answer is None or last is None:
        return None
    cause = _cause(case, last)
    if cause.code in REJECTIONS:
        return replace(cause, evidence=(*cause.evidence, *sighting(answer)))
    if cause.code in ("NO_ROUTE_TO_DESTINATION", "POD_ROUTE_MISSING"):
        return None
    return findings.rejected_by_node(answer.node, (*cause.evidence, *sighting(answer)))


def _answer_of_a_node(case: Case) -> PacketObservation | None:
    """An ICMP error of a node, or an RST that left a node without having come to it."""
    for error in case.journey.errors:
        if case.record.inventory.node_at(error.headers.five_tuple.source) is not None:
            return error
    if case.journey.reply and (first := case.journey.reply[0]).arrival is None and first.departure is not None:
        tcp = first.departure.headers.tcp
        if tcp is not None and TcpFlag.RST in tcp.flags:
            return first.departure
    return None


def _refusal(case: Case) -> Finding | None:
    """The destination's own RST or ICMP error."""
    destination = str(case.forward.last.passage.after.destination_socket) if case.forward.last else ""
    node = case.forward.owner.node if case.forward.owner else ""
    for passage in case.journey.reply[:1]:
        seen = passage.arrival or passage.departure
        if seen is not None and seen.headers.tcp is not None and TcpFlag.RST in seen.headers.tcp.flags:
            return findings.connection_refused(node, destination, sighting(seen))
    for error in case.journey.errors:
        if case.forward.last and error.headers.five_tuple.source == case.forward.last.passage.after.destination:
            return findings.port_unreachable(node, destination, sighting(error))
    return None


def _cause(case: Case, last: ExpectedPassage) -> Finding:
    """Why the packet stopped there; kube-proxy's refusal of a service without endpoints goes by its own name."""
    cause = cause_of_stop(last, case.record.inventory)
    destination = case.record.question.destination
    if cause.code != "FILTER_REJECT" or destination.kind != "service" or case.record.question.backends:
        return cause
    claim = f"the inventory has no ready address for {destination.name}"
    says = Evidence(witness=Witness.RECORDED, claim=claim, source="inventory")
    return findings.service_without_endpoints(cause.node, destination.name, (*cause.evidence, says))


def _disagreements(case: Case) -> list[Finding]:
    found = []
    for expected in case.passages:
        expectation, seen = expected.expectation, expected.passage.departure
        if expectation is None or (decision := expectation.prediction.routing) is None:
            continue
        if decision.unknown or decision.local:
            continue
        if seen is not None and decision.interface and decision.interface != seen.interface:
            found.append(findings.unexpected_egress(seen.node, decision.interface, seen.interface, sighting(seen)))
        answer = expectation.answer
        if answer is not None and not answer.error and decision.interface and answer.interface != decision.interface:
            says = f"the kernel's own lookup says {answer.interface}"
            found.append(findings.kernel_disagrees(expected.passage.node, decision.interface, says, ()))
    return found


def _probe_losses(case: Case) -> list[Finding]:
    reports = case.record.reports
    silent = sum(report.outcome is ProbeOutcome.SILENT for report in reports)
    if len(reports) < 2 or silent in (0, len(reports)):
        return []
    return [findings.probes_unanswered(case.record.question.source.node, silent, len(reports))]


def _lost_on(case: Case, node: str) -> int:
    return sum(lost.count for lost in case.record.lost if lost.node == node)


def _gaps(case: Case) -> tuple[Gap, ...]:
    """The record's gaps with the decisive ones marked, and those that only the journey shows."""
    needed = _needed_nodes(case)
    gaps = [_weighed(gap, gap.node in needed) for gap in case.record.gaps]
    incomplete = case.forward.end is not End.DELIVERED or case.reply.end is not End.DELIVERED
    for lost in case.record.lost:
        why = f"{lost.count} packets were lost at {lost.where}{f' ({lost.why})' if lost.why else ''}"
        decisive = lost.node in needed and incomplete
        gaps.append(Gap(node=lost.node, part=f"capture {lost.interface}".strip(), why=why, decisive=decisive))
    for node, snapshot in case.record.snapshots.items():
        gaps.extend(Gap(node=node, part=unread.part, why=unread.reason) for unread in snapshot.unread)
    for expected in case.passages:
        for reason in expected.prediction.unknown if expected.prediction else ():
            gaps.append(Gap(node=expected.passage.node, part="expectation", why=reason))
    if case.record.question.live and case.forward.end is End.NOT_SEEN:
        why = "no matching traffic came within the time-out"
        gaps.append(Gap(node=case.record.question.source.node, part="live traffic", why=why, decisive=True))
    for report in case.record.reports:
        if report.outcome is ProbeOutcome.FAILED:
            node = case.record.question.source.node
            gaps.append(Gap(node=node, part="probe", why=report.detail, decisive=not case.record.sent))
    return tuple(dict.fromkeys(gaps))


def _weighed(gap: Gap, needed: bool) -> Gap:
    return replace(gap, decisive=needed and gap.part in ("agent", "capture", "probe"))


def _needed_nodes(case: Case) -> frozenset[str]:
    """Nodes whose sight decides: both ends', where the far end is the backend that was reached rather than all of them."""
    question = case.record.question
    far = question.destination.node
    if not far and case.forward.last is not None:
        reached = case.forward.last.passage.after.destination
        far = owner_of(reached, 0, case.record.inventory).node
    return frozenset(node for node in (question.source.node, far) if node)
