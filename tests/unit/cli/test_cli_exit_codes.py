import pytest

from pathtap.cli.exit_codes import exit_code
from pathtap.v1 import trace_pb2

DISPOSITIONS = trace_pb2.Verdict.Disposition
REPLIES = trace_pb2.Verdict.Reply


def judged(disposition: str, reply: str, protocol: str = "tcp") -> trace_pb2.Trace:
    verdict = trace_pb2.Verdict(disposition=disposition, reply=reply)
    return trace_pb2.Trace(protocol=protocol, verdict=verdict)


@pytest.mark.parametrize(
    ("disposition", "reply", "protocol", "code"),
    [
        ("DELIVERED", "ANSWERED", "tcp", 0),
        ("DELIVERED", "UNANSWERED", "udp", 0),
        ("DELIVERED", "UNANSWERED", "tcp", 3),
        ("DELIVERED", "UNANSWERED", "icmp", 3),
        ("DELIVERED", "LOST", "tcp", 3),
        ("DELIVERED", "LOST", "udp", 3),
        ("DELIVERED", "NOT_SEEN", "tcp", 4),
        ("LEFT_CLUSTER", "ANSWERED", "tcp", 0),
        ("LEFT_CLUSTER", "UNANSWERED", "tcp", 4),
        ("LEFT_CLUSTER", "UNANSWERED", "udp", 4),
        ("LEFT_CLUSTER", "LOST", "tcp", 3),
        ("DROPPED", "NOT_SEEN", "tcp", 3),
        ("NO_ROUTE", "NOT_SEEN", "tcp", 3),
        ("LOOPED", "NOT_SEEN", "icmp", 3),
        ("REJECTED", "NOT_SEEN", "udp", 3),
        ("INSUFFICIENT_EVIDENCE", "NOT_SEEN", "tcp", 4),
        ("DISPOSITION_UNSPECIFIED", "REPLY_UNSPECIFIED", "tcp", 4),
    ],
)
def test_each_case_of_the_contract(disposition: str, reply: str, protocol: str, code: int) -> None:
    assert exit_code(judged(disposition, reply, protocol)) == code


@pytest.mark.parametrize("disposition", DISPOSITIONS.keys())
@pytest.mark.parametrize("reply", REPLIES.keys())
def test_a_decisive_gap_makes_any_verdict_inconclusive_and_another_gap_none(disposition: str, reply: str) -> None:
    trace = judged(disposition, reply)
    without = exit_code(trace)
    trace.verdict.gaps.add(node="a", part="enis", why="unknown", decisive=False)
    assert exit_code(trace) == without
    trace.verdict.gaps.add(node="a", part="agent", why="gone", decisive=True)
    assert exit_code(trace) == 4


@pytest.mark.parametrize(
    ("disposition", "severity", "code"),
    [
        ("DELIVERED", trace_pb2.Finding.error, 3),
        ("LEFT_CLUSTER", trace_pb2.Finding.error, 3),
        ("DELIVERED", trace_pb2.Finding.warning, 0),
        ("DELIVERED", trace_pb2.Finding.note, 0),
    ],
)
def test_a_finding_of_severity_error_breaks_an_answered_path(
    disposition: str, severity: trace_pb2.Finding.Severity, code: int
) -> None:
    trace = judged(disposition, "ANSWERED")
    trace.verdict.findings.add(code="ANY", severity=severity)
    assert exit_code(trace) == code


def test_a_refused_connection_is_broken_whatever_its_severity() -> None:
    trace = judged("DELIVERED", "ANSWERED")
    trace.verdict.findings.add(code="CONNECTION_REFUSED", severity=trace_pb2.Finding.warning)
    assert exit_code(trace) == 3


def test_no_answer_from_outside_stays_inconclusive_beside_its_finding() -> None:
    trace = judged("LEFT_CLUSTER", "UNANSWERED")
    trace.verdict.findings.add(code="NO_ANSWER_FROM_OUTSIDE", severity=trace_pb2.Finding.error)
    assert exit_code(trace) == 4
