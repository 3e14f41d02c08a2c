"""A Snat as a page: header, the four kinds of evidence, the summary, what was found, what could not be read."""

from rich.cells import cell_len, set_cell_size

from pathtap.cli.render.page import Line, Span, Style, cells, fits, flush, hanging, pad, wrap
from pathtap.cli.render.snat_blocks import Block, Item, intent_block, ports_block, rules_block
from pathtap.cli.render.snat_exposure import exposure_block
from pathtap.cli.render.snat_words import Snat, ends_text, how_text, verdict_style, verdict_text
from pathtap.cli.render.trace import finding_lines, gap_lines

_INDENT = 3
_KEY = 11


def snat_lines(snat: Snat, width: int, *, every_statement: bool = False) -> list[Line]:
    """`width` in cells; with `every_statement` every rule's text, pair, counter and user of ports is printed."""
    lines = [*_header(snat, width), ()]
    if snat.source.node:
        lines += hanging((Span(" "),), snat.source.node, "", width, Style.NODE)
    for block in (
        intent_block(snat),
        rules_block(snat, every_statement=every_statement),
        ports_block(snat, every_statement=every_statement),
        exposure_block(snat, every_statement=every_statement),
    ):
        lines += _block(block, width)
    if snat.summary:
        lines += [(), *((Span(part, Style.STRONG),) for part in wrap(snat.summary, width))]
    for finding in snat.findings:
        lines += [(), *finding_lines(finding, width)]
    return lines + gap_lines(snat.gaps, width)


def _header(snat: Snat, width: int) -> list[Line]:
    ends, how = ends_text(snat), how_text(snat)
    left: Line = (Span(ends, Style.STRONG), Span(f"  {how}"))
    right: Line = (Span(verdict_text(snat), verdict_style(snat)),)
    if fits(left, right, width):
        return [flush(left, right, width)]
    above = [left] if cells(left) <= width else [(Span(part, Style.STRONG),) for part in wrap(f"{ends}  {how}", width)]
    if cells(right) < width:
        return [*above, flush((), right, width)]
    return [*above, *((Span(part, right[0].style),) for part in wrap(right[0].text, width))]


def _block(block: Block, width: int) -> list[Line]:
    heading = flush((Span(f" {block.name}", Style.STRONG),), (Span(block.witnesses, Style.FAINT),), width)
    return [heading, *(line for item in block.items for line in _item(item, width))]


def _item(item: Item, width: int) -> list[Line]:
    lead: Line = (Span(" " * _INDENT), Span(pad(item.key, _KEY), Style.FAINT))
    text = _shortened(item.text, width - cells(lead)) if item.one_line else item.text
    return hanging(lead, text, item.witnesses, width, item.style)


def _shortened(text: str, room: int) -> str:
    """`text` in `room` cells, without its middle where it is longer: a rule's target and flag stand at its end."""
    if cell_len(text) <= room:
        return text
    left = max(room - 3, 2) // 3
    head = set_cell_size(text, left)
    tail = set_cell_size(text[::-1], max(room - 3, 2) - left)[::-1]
    # At blanks, as far as there are any.
    return f"{(head.rpartition(' ')[0] or head).rstrip()} … {(tail.partition(' ')[2] or tail).lstrip()}"
