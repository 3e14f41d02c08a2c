"""A whole trace: header, the path there and back, the summary, what was found, what could not be seen."""

from collections.abc import Iterable

from pathtap.cli.exit_codes import BROKEN, INCONCLUSIVE, OK, exit_code
from pathtap.cli.render.entries import entries
from pathtap.cli.render.notes import evidence_notes
from pathtap.cli.render.page import Line, Span, Style, cells, fits, flush, hanging, pad, row, wrap
from pathtap.cli.render.path import path_lines
from pathtap.cli.render.words import expected_verdict_text, target_text, verdict_text
from pathtap.v1 import trace_pb2

_STYLES = {OK: Style.GOOD, BROKEN: Style.BAD, INCONCLUSIVE: Style.DOUBT}
_SEVERITY_STYLES = {trace_pb2.Finding.error: Style.BAD, trace_pb2.Finding.warning: Style.DOUBT}
_INDENT = 9
NOTHING_SENT = "What the nodes' configuration says would happen. Nothing was sent, nothing was observed."


def trace_lines(trace: trace_pb2.Trace, width: int, *, every_statement: bool = False) -> list[Line]:
    """`width` in cells; with `every_statement` each witness's claim is printed with where it was read."""
    how = trace.protocol + (", live" if trace.live else "")
    return _page(trace, _header(trace, how, verdict_text(trace), width), width, every_statement)


def explained_lines(trace: trace_pb2.Trace, width: int, *, every_statement: bool = False) -> list[Line]:
    """As `trace_lines`, for what would happen; headed so that nobody takes it for something that was seen."""
    head = _header(trace, f"{trace.protocol}, explained", expected_verdict_text(trace), width)
    said = [(Span(part, Style.DOUBT),) for part in wrap(NOTHING_SENT, width)]
    return _page(trace, [*head, *said], width, every_statement)


def _page(trace: trace_pb2.Trace, head: list[Line], width: int, every_statement: bool) -> list[Line]:
    lines = [*head, *path_lines(entries(trace, every_statement=every_statement), width)]
    if trace.verdict.summary:
        lines += [(), *((Span(part, Style.STRONG),) for part in wrap(trace.verdict.summary, width))]
    for finding in trace.verdict.findings:
        lines += [(), *finding_lines(finding, width)]
    lines += gap_lines(trace.verdict.gaps, width)
    accounts = [each for each in trace.accounts if every_statement or any(loss.count for loss in each.lost)]
    return lines + account_lines(accounts, width)


def _header(trace: trace_pb2.Trace, protocol: str, verdict: str, width: int) -> list[Line]:
    ends = f"{target_text(trace.source)} ─▶ {target_text(trace.destination)}"
    left: Line = (Span(ends, Style.STRONG), Span(f"  {protocol}"))
    right: Line = (Span(verdict, _STYLES[exit_code(trace)]),)
    if fits(left, right, width):
        return [flush(left, right, width)]
    above = (
        [left] if cells(left) <= width else [(Span(part, Style.STRONG),) for part in wrap(f"{ends}  {protocol}", width)]
    )
    return [*above, flush((), right, width) if cells(right) < width else right]


def finding_lines(finding: trace_pb2.Finding, width: int) -> list[Line]:
    """Severity, code and node, then the sentence, the mend and the proof below."""
    known = trace_pb2.Finding.Severity.DESCRIPTOR.values_by_number.get(finding.severity)
    severity = known.name if known and known.number else "finding"
    style = _SEVERITY_STYLES.get(finding.severity, Style.STRONG)
    indent = (Span(" " * _INDENT),)
    heading = (Span(severity, style), Span(finding.code, style), Span(finding.node))
    lines = row(heading, (_INDENT - 2, 0, 0), (), width)
    if finding.text:
        lines += hanging(indent, finding.text, "", width)
    if finding.fix:
        lines += hanging((Span(" " * _INDENT + "fix  ", Style.GOOD),), finding.fix, "", width)
    for note in evidence_notes(finding.evidence):
        lines += hanging((Span(" " * _INDENT + "·  ", Style.FAINT),), note.text, note.witnesses, width)
    return lines


def gap_lines(gaps: Iterable[trace_pb2.Gap], width: int) -> list[Line]:
    """What could not be read or seen, after an empty line; the decisive ones stand out."""
    lines: list[Line] = []
    for gap in gaps:
        style = Style.DOUBT if gap.decisive else Style.FAINT
        where = ", ".join(part for part in (gap.node, gap.part) if part)
        text = f"{where}: {gap.why}" if where and gap.why else where or gap.why
        lines += hanging((Span(pad("gap", _INDENT), style),), text, "decisive" if gap.decisive else "", width)
    return [(), *lines] if lines else []


def account_lines(accounts: Iterable[trace_pb2.Account], width: int) -> list[Line]:
    """What became of the packets that were captured, after an empty line."""
    lines: list[Line] = []
    for account in accounts:
        said = [f"{account.accepted} accepted"] if account.HasField("accepted") else []
        said += [f"{account.delivered} delivered", *(f"{loss.count} lost at {loss.where}" for loss in account.lost)]
        where = " ".join(part for part in (account.node, account.interface) if part)
        style = Style.DOUBT if account.lost else Style.FAINT
        lines += hanging((Span(pad("packets", _INDENT), style),), f"{where}: {', '.join(said)}", "", width)
    return [(), *lines] if lines else []
