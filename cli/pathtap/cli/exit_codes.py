"""From a verdict to an exit code; docs/cli.md shows the table. Knows no command and no process."""

from collections.abc import Iterable

from pathtap.v1 import snat_pb2, trace_pb2

OK = 0
BROKEN = 3
INCONCLUSIVE = 4
INTERRUPTED = 130

HELP = """\
  0    answered, and nothing is wrong
  1    runtime error: no collector, no such pod, a pod that does not run
  2    usage: the command line makes no sense, or a name is ambiguous
  3    the path is broken, or an error was found on it
  4    inconclusive: what decides could not be seen, or no answer from outside the cluster
  130  interrupted"""

_D = trace_pb2.Verdict.Disposition
_R = trace_pb2.Verdict.Reply

# Whatever is not in the table has no proof either way: INCONCLUSIVE.
_TABLE = {
    (_D.DELIVERED, _R.ANSWERED): OK,
    (_D.DELIVERED, _R.UNANSWERED): BROKEN,
    (_D.DELIVERED, _R.LOST): BROKEN,
    (_D.LEFT_CLUSTER, _R.ANSWERED): OK,
    (_D.LEFT_CLUSTER, _R.UNANSWERED): INCONCLUSIVE,
    (_D.LEFT_CLUSTER, _R.LOST): BROKEN,
}
# The path works, and the far end itself says that nobody serves there: errors whatever their severity says.
REFUSALS = frozenset({"CONNECTION_REFUSED", "PORT_UNREACHABLE"})
_ALWAYS_BROKEN = frozenset({_D.DROPPED, _D.NO_ROUTE, _D.LOOPED, _D.REJECTED})
_DECIDED = frozenset(snat_pb2.Snat.Verdict.values()) - {snat_pb2.Snat.VERDICT_UNSPECIFIED, snat_pb2.Snat.INCONCLUSIVE}


def exit_code(trace: trace_pb2.Trace) -> int:
    """0, 3 or 4. Only a decisive gap makes a trace inconclusive; UDP may be silent and well."""
    verdict = trace.verdict
    if has_decisive_gap(verdict.gaps):
        return INCONCLUSIVE
    if verdict.disposition in _ALWAYS_BROKEN:
        return BROKEN
    code = _TABLE.get((verdict.disposition, verdict.reply), INCONCLUSIVE)
    silent_udp = trace.protocol == "udp" and verdict.reply == _R.UNANSWERED
    if verdict.disposition == _D.DELIVERED and silent_udp:
        code = OK
    return BROKEN if code == OK and _has_error(verdict) else code


def check_exit_code(check: trace_pb2.Check) -> int:
    """0, 3 or 4: what was found stands, whatever could not be read."""
    if any(finding.severity != trace_pb2.Finding.note for finding in check.findings):
        return BROKEN
    return INCONCLUSIVE if has_decisive_gap(check.gaps) else OK


def snat_exit_code(snat: snat_pb2.Snat) -> int:
    """0, 3 or 4. A verdict that this program does not know proves nothing to it."""
    if snat.verdict not in _DECIDED:
        return INCONCLUSIVE
    return OK if snat.as_intended else BROKEN


def snat_table_exit_code(table: snat_pb2.SnatTable) -> int:
    """0, 3 or 4: what was found on one node stands, whatever could not be read of another."""
    codes = {snat_exit_code(snat) for snat in table.nodes}
    if BROKEN in codes:
        return BROKEN
    return INCONCLUSIVE if INCONCLUSIVE in codes or has_decisive_gap(table.gaps) else OK


def has_decisive_gap(gaps: Iterable[trace_pb2.Gap]) -> bool:
    return any(gap.decisive for gap in gaps)


def _has_error(verdict: trace_pb2.Verdict) -> bool:
    return is_refused(verdict) or any(finding.severity == trace_pb2.Finding.error for finding in verdict.findings)


def is_refused(verdict: trace_pb2.Verdict) -> bool:
    """Whether what came back is the far end's refusal."""
    return any(finding.code in REFUSALS for finding in verdict.findings)
