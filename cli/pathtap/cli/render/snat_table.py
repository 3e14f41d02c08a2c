"""Every node's SNAT as a table, then what is not as intended: one line a row where the width allows it, two where not."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.cells import cell_len

from pathtap.cli.exit_codes import OK, snat_exit_code
from pathtap.cli.render.page import Line, Span, Style, hanging, row, wrap
from pathtap.cli.render.snat_words import Snat, place_text, verdict_name, verdict_style
from pathtap.cli.render.trace import finding_lines, gap_lines
from pathtap.cli.render.words import socket_text
from pathtap.v1 import snat_pb2, trace_pb2

Row = tuple[Span, ...]
Told = TypeVar("Told", trace_pb2.Finding, trace_pb2.Gap)

_TITLES = ("NODE", "VERDICT", "RULE", "FLAG")
_MORE_TITLES = ("INTENT", "KEPT", "INSERT_FAILED", "PORTS IN USE")


def snat_table_lines(table: snat_pb2.SnatTable, width: int) -> list[Line]:
    """`width` in cells. KEPT is how many of the pairs that count kept their port, `0/64`."""
    if not table.nodes:
        none = "No node could be read." if table.gaps else "No node: no agent has connected and the inventory is empty."
        return [(Span(none, Style.DOUBT),), *gap_lines(table.gaps, width)]
    first = [_titles(_TITLES), *(_rule(snat) for snat in table.nodes)]
    second = [_titles(_MORE_TITLES), *(_more(snat) for snat in table.nodes)]
    lines = [*_table(first, second, width), *_summaries(table, width)]
    for finding in _each_once(finding for snat in table.nodes for finding in snat.findings):
        lines += [(), *finding_lines(finding, width)]
    gaps = _each_once([*table.gaps, *(gap for snat in table.nodes for gap in snat.gaps)])
    return lines + gap_lines(gaps, width)


def _table(first: Sequence[Row], second: Sequence[Row], width: int) -> list[Line]:
    upper, lower = _widths(first), _widths(second)
    one_line = 1 + sum(upper) + sum(lower) + 2 * (len(upper) + len(lower) - 1) <= width
    lines: list[Line] = []
    for a, b in zip(first, second, strict=True):
        if one_line:
            lines += row((*a, *b), (*upper, *lower), (Span(" "),), width)
        else:
            lines += row(a, upper, (Span(" "),), width) + row(b, lower, (Span("     "),), width)
    return lines


def _titles(titles: Iterable[str]) -> Row:
    return tuple(Span(title, Style.FAINT) for title in titles)


def _widths(rows: Sequence[Row]) -> tuple[int, ...]:
    return tuple(max(cell_len(span.text) for span in column) for column in zip(*rows, strict=True))


def _rule(snat: Snat) -> Row:
    return (
        Span(_node(snat), Style.NODE),
        Span(verdict_name(snat), verdict_style(snat)),
        Span(_first_rule(snat)),
        Span((snat.rule.random if snat.HasField("rule") else "") or "-"),
    )


def _first_rule(snat: Snat) -> str:
    """`VPC CNI nat AWS-SNAT-CHAIN-0 #2`; where the first cannot be told, how many it may be."""
    if snat.HasField("rule"):
        owners = [rule.owner for rule in snat.rules if rule.rule == snat.rule]
        return " ".join(part for part in (*owners[:1], place_text(snat.rule)) if part) or "-"
    undecided = sum(rule.standing == snat_pb2.Snat.Rule.UNDECIDED for rule in snat.rules)
    return f"one of {undecided}" if undecided > 1 else "not told" if undecided else "-"


def _more(snat: Snat) -> Row:
    said = snat.statistics
    kept = f"{said.preserved:,}/{said.counted:,}" if snat.HasField("statistics") else "-"
    failed = f"{snat.insert_failed_total:,}" if snat.cpus else "not read"
    return (
        Span(_intent(snat)),
        Span(kept),
        Span(failed),
        Span(_ports_in_use(snat)),
    )


def _intent(snat: Snat) -> str:
    """What was set, in the words of FLAG."""
    if not snat.HasField("intent"):
        return "not told"
    return snat.intent.random if snat.intent.translated else "no SNAT"


def _ports_in_use(snat: Snat) -> str:
    """Of the destination with the largest share: `66/64,512 to 198.51.100.8:443`."""
    if not snat.ports_in_use:
        return "-"
    most = max(snat.ports_in_use, key=lambda ports: ports.in_use / max(ports.capacity, 1))
    return f"{most.in_use:,}/{most.capacity:,} to {socket_text(most.destination, most.protocol)}"


def _summaries(table: snat_pb2.SnatTable, width: int) -> list[Line]:
    """One paragraph for each row that is not as intended."""
    lines: list[Line] = []
    for snat in table.nodes:
        if snat_exit_code(snat) != OK and snat.summary:
            lines += [(), *((Span(part, Style.NODE),) for part in wrap(_node(snat), width))]
            lines += hanging((Span("  "),), snat.summary, "", width)
    return lines


def _node(snat: Snat) -> str:
    return snat.source.node or snat.source.name or "?"


def _each_once(messages: Iterable[Told]) -> list[Told]:
    """Two rows of one node carry the same findings and gaps."""
    return list({message.SerializeToString(deterministic=True): message for message in messages}.values())
