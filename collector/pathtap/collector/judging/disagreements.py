"""Where the witnesses part: what a node should have done, what its kernel's lookup says, what was seen. Pure warnings."""

from collections.abc import Iterator

from pathtap.collector import findings
from pathtap.collector.joining.expect import ExpectedPassage
from pathtap.collector.judging.case import Case
from pathtap.collector.judging.causes import sighting
from pathtap.collector.judging.losses import asymmetries
from pathtap.collector.judging.staleness import stale_entries
from pathtap.collector.telling import words
from pathtap.model.request import ProbeOutcome
from pathtap.model.trace import Evidence, Finding, Witness


def disagreements(case: Case) -> tuple[Finding, ...]:
    stale = stale_entries(case.forward_passages, case.models) if case.record.question.live else ()
    return (
        *(found for expected in case.passages for found in _of_passage(expected)),
        *asymmetries(case),
        *stale,
        *_probe_losses(case),
    )


def _of_passage(expected: ExpectedPassage) -> Iterator[Finding]:
    expectation, seen, node = expected.expectation, expected.passage.departure, expected.passage.node
    decision = expectation.prediction.routing if expectation else None
    if expectation is None or decision is None or decision.unknown or decision.local or not decision.interface:
        return
    if seen is not None and decision.interface != seen.interface:
        yield findings.unexpected_egress(node, decision.interface, seen.interface, sighting(seen))
    answer = expectation.answer
    if answer is not None and not answer.error and answer.interface != decision.interface:
        claim = words.kernel_answer_words(answer)
        proof = Evidence(witness=Witness.EXPECTED, claim=claim, source=f"{node} RTM_GETROUTE")
        says = f"the kernel's own lookup says {answer.interface}"
        yield findings.kernel_disagrees(node, decision.interface, says, (proof,))


def _probe_losses(case: Case) -> tuple[Finding, ...]:
    reports, node = case.record.reports, case.record.question.source.node
    silent = [report for report in reports if report.outcome is ProbeOutcome.SILENT]
    if len(silent) in (0, len(reports)):
        return ()
    proof = tuple(
        Evidence(
            witness=Witness.OBSERVED,
            claim=f"silent: {report.five_tuple or report.detail}",
            source=f"{node} probe",
            at=report.sent_at,
        )
        for report in silent
    )
    return (findings.probes_unanswered(node, len(silent), len(reports), proof),)
