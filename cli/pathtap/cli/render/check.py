"""What a check found: the nodes with their counts, then each finding, then what could not be read."""

from rich.cells import cell_len

from pathtap.cli.render.page import Line, Span, Style, flush, pad
from pathtap.cli.render.trace import finding_lines, gap_lines
from pathtap.v1 import trace_pb2

_SEVERITIES = (
    (trace_pb2.Finding.error, "error", Style.BAD),
    (trace_pb2.Finding.warning, "warning", Style.DOUBT),
    (trace_pb2.Finding.note, "note", Style.PLAIN),
)


def check_lines(check: trace_pb2.Check, width: int) -> list[Line]:
    if not check.nodes:
        return [(Span("No node: no agent has connected and the inventory is empty.", Style.DOUBT),)]
    column = max(cell_len(node.node) for node in check.nodes)
    lines = [_node(node, check, column, width) for node in check.nodes]
    for finding in check.findings:
        lines += [(), *finding_lines(finding, width)]
    return lines + gap_lines(check.gaps, width)


def _node(node: trace_pb2.CheckedNode, check: trace_pb2.Check, column: int, width: int) -> Line:
    left: Line = (Span(pad(node.node, column), Style.NODE), Span(f"  {_counted(node.pods, 'pod')}, "))
    if not node.read:
        return flush((Span(pad(node.node, column), Style.NODE),), (Span("could not be read", Style.DOUBT),), width)
    left = (*left, Span(f"{_counted(node.predictions, 'prediction')}", Style.FAINT))
    return flush(left, _result(node, check), width)


def _result(node: trace_pb2.CheckedNode, check: trace_pb2.Check) -> Line:
    of_node = [finding.severity for finding in check.findings if finding.node == node.node]
    spans: list[Span] = []
    for severity, name, style in _SEVERITIES:
        if count := of_node.count(severity):
            spans += [*([Span(", ")] if spans else []), Span(_counted(count, name), style)]
    return tuple(spans) or (Span("nothing found", Style.GOOD),)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
