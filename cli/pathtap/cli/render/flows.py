"""The flows of one pod as a table: one line a flow where the width allows it, two where not."""

from collections.abc import Sequence

from rich.cells import cell_len

from pathtap.cli.render.page import Line, Span, Style, fits, flush, row
from pathtap.cli.render.trace import gap_lines
from pathtap.cli.render.words import (
    address_port,
    nanoseconds,
    socket_text,
    target_text,
    tuple_text,
    witness_text,
)
from pathtap.v1 import trace_pb2

Row = tuple[Span, ...]

_FLOW_TITLES = ("PROTO", "FLOW", "PACKETS", "PEER")
_WAY_TITLES = ("LEAVES BY", "SNAT", "WITNESSES")


def flow_lines(flows: trace_pb2.Flows, width: int) -> list[Line]:
    """`width` in cells. PACKETS are those of the opener and those of the answers, `12/11`."""
    first = [tuple(Span(title, Style.FAINT) for title in _FLOW_TITLES), *(_flow(flow) for flow in flows.flows)]
    second = [tuple(Span(title, Style.FAINT) for title in _WAY_TITLES), *(_way(flow) for flow in flows.flows)]
    lines = _header(flows, width)
    if flows.flows:
        lines += [(), *_table(first, second, width)]
    return lines + gap_lines(flows.gaps, width)


def _header(flows: trace_pb2.Flows, width: int) -> list[Line]:
    on = f"  on {flows.source.node}" if flows.source.node else ""
    left: Line = (Span(target_text(flows.source), Style.STRONG), Span(on))
    count = len(flows.flows)
    seconds = (nanoseconds(flows.finished_at) - nanoseconds(flows.started_at)) / 1e9
    text = "no flow was seen" if not count else "1 flow" if count == 1 else f"{count} flows"
    if flows.HasField("started_at") and flows.HasField("finished_at"):
        text += f" in {seconds:.1f} s"
    right: Line = (Span(text, Style.STRONG if count else Style.DOUBT),)
    return [flush(left, right, width)] if fits(left, right, width) else [left, flush((), right, width)]


def _table(first: Sequence[Row], second: Sequence[Row], width: int) -> list[Line]:
    upper, lower = _widths(first), _widths(second)
    if 1 + sum(upper) + sum(lower) + 2 * (len(upper) + len(lower) - 1) <= width:
        return [
            line
            for a, b in zip(first, second, strict=True)
            for line in row((*a, *b), (*upper, *lower), _lead(1), width)
        ]
    lines: list[Line] = []
    for a, b in zip(first, second, strict=True):
        lines += row(a, upper, _lead(1), width)
        lines += row(b, lower, _lead(5), width)
    return lines


def _widths(rows: Sequence[Row]) -> tuple[int, ...]:
    return tuple(max(cell_len(span.text) for span in column) for column in zip(*rows, strict=True))


def _lead(blanks: int) -> Line:
    return (Span(" " * blanks),)


def _flow(flow: trace_pb2.Flow) -> Row:
    tuple_ = flow.five_tuple
    packets = f"{flow.packets_forward}/{flow.packets_reply}"
    return (Span(tuple_.protocol), Span(tuple_text(tuple_), Style.STRONG), Span(packets), Span(_peer(flow)))


def _peer(flow: trace_pb2.Flow) -> str:
    """Who is at the other end; `from` where the other end opened the flow; through which service, to which pod."""
    if not flow.initiated:
        return f"from {_name(flow.source)}"
    if not flow.dnat.applied:
        return _name(flow.destination)
    translated = address_port(flow.dnat.translated.address, flow.dnat.translated.port)
    service = flow.dnat.service or _name(flow.destination)
    return f"{service} → {' '.join(part for part in (flow.dnat.backend_pod, translated) if part)}"


def _name(target: trace_pb2.Target) -> str:
    if target.name and target.name != target.address:
        return target.name
    return "outside" if target.kind == trace_pb2.Target.ADDRESS else target.address or "unknown"


def _way(flow: trace_pb2.Flow) -> Row:
    egress = " ".join(part for part in (flow.egress.interface, flow.egress.eni_id) if part) or "-"
    witnesses = witness_text(sorted({evidence.witness for evidence in flow.evidence}))
    return (Span(egress, Style.INTERFACE), Span(_snat(flow)), Span(witnesses, Style.FAINT))


def _snat(flow: trace_pb2.Flow) -> str:
    """`192.168.1.29:50712 fully`: what the other end sees, and the rule's random flag."""
    if not flow.snat.applied:
        return "-"
    random = flow.snat.rule.random
    flag = f" {random}" if random not in ("", "none") else ""
    return socket_text(flow.snat.translated, flow.five_tuple.protocol) + flag
