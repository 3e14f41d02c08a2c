"""The verdict: what became of the packet, of its answer, and what stands in the way of saying so. Pure.

Follows the table in docs/evidence.md row by row. A trace with a decisive gap (`gaps`) is inconclusive.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pathtap.collector import findings
from pathtap.collector.cluster.resolve import owner_of
from pathtap.collector.foreseeing.halting import misses_its_pod
from pathtap.collector.foreseeing.prospect import Prospect
from pathtap.collector.joining.correlate import packet_label
from pathtap.collector.joining.expect import ExpectedPassage
from pathtap.collector.judging.beside import configured
from pathtap.collector.judging.case import Case
from pathtap.collector.judging.causes import (
    cause_of_leaving,
    cause_of_local_drop,
    cause_of_stop,
    direction_words,
    sighting,
    source_check,
)
from pathtap.collector.judging.disagreements import disagreements
from pathtap.collector.judging.fate import End, Fate
from pathtap.collector.judging.gaps import gaps_of
from pathtap.collector.judging.hurting import without_chance
from pathtap.collector.judging.losses import explained, too_big
from pathtap.collector.judging.once import told_once
from pathtap.collector.judging.refusals import (
    REJECTIONS,
    cause_of,
    probe_evidence,
    refusal_of,
    refusing_errors,
    rejection_of,
)
from pathtap.model.address import Protocol
from pathtap.model.request import ProbeOutcome
from pathtap.model.trace import Disposition, Finding, Reply, Severity, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    disposition: Disposition
    reply: Reply
    findings: tuple[Finding, ...] = ()


INCONCLUSIVE = Judgement(disposition=Disposition.INSUFFICIENT_EVIDENCE, reply=Reply.NOT_SEEN)


def judge(case: Case, prospect: Prospect | None) -> Verdict:
    """The verdict without its summary: `summary` writes that once all is known. `prospect` is the way as it was expected."""
    judgement = _judge(case)
    gaps = gaps_of(case, answered=judgement.reply is Reply.ANSWERED)
    answered = judgement.reply is Reply.ANSWERED
    found = told_once(
        (*judgement.findings, *disagreements(case)),
        configured(case, prospect),
        answered=answered,
        marked_in_vain=any(expected.is_marked_in_vain for expected in case.passages),
    )
    if judgement.reply is Reply.ANSWERED:
        found = without_chance(found)
    gone = any(finding.code == "SERVICE_BACKEND_GONE" for finding in found)
    if judgement.reply is Reply.UNANSWERED and (gone or missed_pod(case, found)):
        # Nobody has the address, or the MAC, so nobody answers.
        judgement = replace(judgement, disposition=Disposition.DROPPED, reply=Reply.NOT_SEEN)
    if any(gap.decisive for gap in gaps):
        judgement = INCONCLUSIVE
        found = tuple(finding for finding in found if finding.severity is not Severity.ERROR)
    return Verdict(disposition=judgement.disposition, reply=judgement.reply, summary="", findings=found, gaps=gaps)


def missed_pod(case: Case, found: Iterable[Finding]) -> Finding | None:
    """Why what went out of the destination's veth did not come to it."""
    last = case.forward.last
    if last is None or case.forward.end is not End.DELIVERED:
        return None
    node, pod = last.passage.node, last.passage.after.destination
    return next((finding for finding in found if misses_its_pod(finding, node, pod)), None)


def _judge(case: Case) -> Judgement:
    if case.forward.end is End.LOOPED:
        return _looped(case)
    if rejection := rejection_of(case):
        return Judgement(disposition=Disposition.REJECTED, reply=Reply.NOT_SEEN, findings=(rejection,))
    match case.forward.end:
        case End.DELIVERED:
            return _with_reply(case, Disposition.DELIVERED)
        case End.LEFT_CLUSTER:
            return _left_cluster(case)
        case End.NOT_ARRIVED:
            return _not_arrived(case)
        case End.STOPPED:
            return _stopped(case)
        case _:
            return _not_seen(case)


def _with_reply(case: Case, disposition: Disposition) -> Judgement:
    """The packet got there; what remains is its answer."""
    refusal = refusal_of(case)
    refused = (refusal,) if refusal else ()
    if case.reply.end is End.DELIVERED and not refusal and (unheard := _unheard(case)):
        reply = Reply.ANSWERED if unheard.code == "ANSWER_NOT_RECEIVED" else Reply.LOST
        return Judgement(disposition=disposition, reply=reply, findings=(unheard,))
    if case.reply.end is End.DELIVERED or (_back_outside(case) and source_check(case.reply) is None):
        return Judgement(disposition=disposition, reply=Reply.ANSWERED, findings=refused)
    if case.reply.end is End.NOT_SEEN and refusal:
        told = Reply.ANSWERED if _was_told(case) else Reply.LOST
        return Judgement(disposition=disposition, reply=told, findings=refused)
    if case.reply.end is End.NOT_SEEN:
        swallowed = cause_of_local_drop(case.forward.last) if case.forward.last else None
        # UDP owes nobody an answer.
        expected = case.record.question.protocol != Protocol.UDP
        found = (swallowed,) if swallowed else (_no_answer(case),) if expected else ()
        return Judgement(disposition=disposition, reply=Reply.UNANSWERED, findings=found)
    loss = _loss_of(case.reply, case)
    return Judgement(disposition=disposition, reply=Reply.LOST, findings=(*((loss,) if loss else ()), *refused))


def _no_answer(case: Case) -> Finding:
    last = case.forward.last
    assert last is not None  # noqa: S101 - it got there
    owner = owner_of(last.passage.after.destination, 0, case.record.inventory)
    seen = last.passage.departure or last.passage.arrival
    return findings.no_answer(last.passage.node, owner.name or str(owner.socket), sighting(seen))


def _unheard(case: Case) -> Finding | None:
    """Why a probe was silent though its answer came to the source: a rule of that node's own, or whatever is inside a pod."""
    report, last = case.report, case.reply.last
    if report is None or report.outcome is not ProbeOutcome.SILENT or last is None:
        return None
    source, seen = case.record.question.source, last.passage.departure or last.passage.arrival
    proof = (*sighting(seen), probe_evidence(case))
    return cause_of_local_drop(last) or findings.answer_not_received(source.node, source.name, proof)


def _was_told(case: Case) -> bool:
    """Whether an ICMP error came to the source: its probe says so, else a sighting on its node."""
    if case.report is not None:
        return case.report.outcome in (ProbeOutcome.UNREACHABLE, ProbeOutcome.REFUSED)
    return any(error.node == case.record.question.source.node for error in refusing_errors(case))


def _back_outside(case: Case) -> bool:
    """The answer left towards a source that is no pod or node, where nobody can follow it past the VPC's source check."""
    return not case.record.question.source.node and case.reply.end is End.LEFT_CLUSTER


def _loss_of(fate: Fate, case: Case) -> Finding | None:
    """Why a packet that was under way did not arrive."""
    if fate.last is None:
        return None
    if fate.end is End.STOPPED:
        return explained(case, fate.last, cause_of_stop(fate.last, case.record.inventory))
    if fate.end is End.LOOPED:
        return _loop(fate.last)
    if (astray := cause_of_leaving(fate.last, case.record.inventory)) is not None:
        return astray
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
    if case.reply.end is not End.NOT_SEEN or refusal_of(case) is not None:
        return _with_reply(case, Disposition.LEFT_CLUSTER)
    if (unowned := source_check(case.forward)) is not None:
        return Judgement(disposition=Disposition.DROPPED, reply=Reply.NOT_SEEN, findings=(unowned,))
    destination = str(seen.headers.five_tuple.destination_socket)
    found = [findings.no_answer_from_outside(seen.node, seen.interface, destination, sighting(seen))]
    for error in refusing_errors(case)[:1]:
        found.insert(
            0,
            findings.refused_outside(
                seen.node, str(error.headers.five_tuple.source), packet_label(error.headers), sighting(error)
            ),
        )
    return Judgement(disposition=Disposition.LEFT_CLUSTER, reply=Reply.UNANSWERED, findings=(*too_big(case), *found))


def _not_arrived(case: Case) -> Judgement:
    """It left for a node of the cluster. An answer shows that it arrived where nobody looked."""
    if case.reply.end is not End.NOT_SEEN:
        return _with_reply(case, Disposition.DELIVERED)
    found = _loss_of(case.forward, case)
    return Judgement(disposition=Disposition.DROPPED, reply=Reply.NOT_SEEN, findings=(found,) if found else ())


def _looped(case: Case) -> Judgement:
    assert case.forward.last is not None  # noqa: S101 - a loop was seen
    return Judgement(disposition=Disposition.LOOPED, reply=Reply.NOT_SEEN, findings=(_loop(case.forward.last),))


def _loop(last: ExpectedPassage) -> Finding:
    seen = last.passage.arrival or last.passage.departure
    assert seen is not None  # noqa: S101 - a loop was seen
    return findings.looped(seen.node, seen.interface, sighting(seen))


def _stopped(case: Case) -> Judgement:
    last = case.forward.last
    assert last is not None  # noqa: S101 - it was seen somewhere
    found = cause_of(case, last)
    if last.is_unseen:
        found = replace(found, evidence=(*found.evidence, probe_evidence(case)))
    if found.code in REJECTIONS:
        disposition = Disposition.REJECTED
    else:
        disposition = Disposition.NO_ROUTE if found.code == "NO_ROUTE_TO_DESTINATION" else Disposition.DROPPED
    return Judgement(disposition=disposition, reply=Reply.NOT_SEEN, findings=(found,))


def _not_seen(case: Case) -> Judgement:
    """What was sent and seen nowhere did not leave the source, if that was watched: `gaps` says whether it was."""
    record, source = case.record, case.record.question.source
    if record.question.live or not record.sent or not record.reports:
        return INCONCLUSIVE
    make = findings.never_left_pod if record.question.source_has_namespace else findings.never_left_node
    found = make(source.node, source.name, (probe_evidence(case),))
    return Judgement(disposition=Disposition.DROPPED, reply=Reply.NOT_SEEN, findings=(found,))
