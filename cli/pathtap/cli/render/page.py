"""Lines of styled text: how wide they are, how they wrap, how they are painted. Knows no message.

Widths are terminal cells (UAX #11), so names in wide scripts stay aligned. Nothing is ever cut: what does not fit wraps.
"""

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from rich.cells import cell_len, chop_cells


class Style(Enum):
    """ECMA-48 SGR parameters, of the sixteen colours only: the terminal's own theme makes them legible."""

    PLAIN = ""
    STRONG = "1"
    FAINT = "2"
    NODE = "1;36"
    INTERFACE = "36"
    GOOD = "1;32"
    BAD = "1;31"
    DOUBT = "1;33"


class Span(NamedTuple):
    text: str
    style: Style = Style.PLAIN


Line = tuple[Span, ...]
# Cells that a wrapped text has at least, whatever the terminal's width.
NARROWEST = 16


def cells(line: Iterable[Span]) -> int:
    return sum(cell_len(span.text) for span in line)


def paint(line: Line, *, colour: bool) -> str:
    """One line without its end; trailing blanks are dropped."""
    if not colour:
        return "".join(span.text for span in line).rstrip()
    return "".join(f"\x1b[{s.style.value}m{s.text}\x1b[0m" if s.style.value and s.text else s.text for s in line)


def pad(text: str, width: int) -> str:
    return text + " " * max(0, width - cell_len(text))


def wrap(text: str, first: int, rest: int | None = None) -> list[str]:
    """`text` in lines of at most `first` cells, then `rest` (as `first` where None); at blanks, else inside a word.

    Runs of blanks inside a line are kept: they align what the kernel's tools print. Never empty.
    """
    limit, lines, line = first, [], ""
    for piece in _pieces(text):
        if cell_len(line + piece.rstrip()) > limit and line.strip():
            lines.append(line.rstrip())
            line, limit = "", rest if rest is not None else first
        while cell_len(piece.rstrip()) > limit:
            head = chop_cells(piece, limit)[0]
            lines.append(head)
            piece, limit = piece[len(head) :], rest if rest is not None else first
        line += piece
    return [*lines, line.rstrip()] if line.strip() or not lines else lines


def _pieces(text: str) -> list[str]:
    """Words, each with the blanks that follow it."""
    pieces: list[str] = []
    for word in text.split(" "):
        if word or not pieces:
            pieces.append(word + " ")
        else:
            pieces[-1] += " "
    return pieces


def hanging(lead: Line, text: str, right: str, width: int, style: Style = Style.PLAIN) -> list[Line]:
    """`text` after `lead`, wrapped under its own beginning; `right` faint at the right edge of the first line.

    Where that would leave `text` less than NARROWEST cells, `right` goes below it.
    """
    indent = cells(lead)
    beside = width - indent - (cell_len(right) + 2 if right else 0)
    if right and beside < NARROWEST:
        above = hanging(lead, text, "", width, style)
        return [*above, *hanging((Span(" " * indent),), right, "", width, Style.FAINT)]
    first, *more = wrap(text, max(beside, NARROWEST))
    lines = [flush((*lead, Span(first, style)), (Span(right, Style.FAINT),), width)]
    return lines + [(Span(" " * indent), Span(part, style)) for part in more]


def flush(left: Line, right: Line, width: int) -> Line:
    """`left`, and `right` ending at `width`; at least two blanks between them."""
    if not cells(right):
        return left
    return (*left, Span(" " * max(2, width - cells(left) - cells(right))), *right)


def fits(left: Line, right: Line, width: int) -> bool:
    return cells(left) + 2 + cells(right) <= width


def row(spans: Sequence[Span], widths: Sequence[int], lead: Line, width: int) -> list[Line]:
    """Spans in columns two blanks apart; one that would pass `width` goes on a line of its own, four cells further in."""
    indent = " " * (cells(lead) + 4)
    lines: list[Line] = []
    line: Line = lead
    for span, column in zip(spans, widths, strict=True):
        line_empty = line is lead or cells(line) == len(indent)
        if not line_empty and cells(line) + cell_len(span.text) > width:
            lines.append(line)
            line = (Span(indent),)
        room = max(width - cells(line), NARROWEST)
        *above, last = wrap(span.text, room, max(width - len(indent), NARROWEST))
        for part in above:
            lines.append((*line, Span(part, span.style)))
            line = (Span(indent),)
        line = (*line, Span(last, span.style), Span(" " * (max(0, column - cell_len(last)) + 2)))
    return [_trimmed(each) for each in (*lines, line) if cells(each)]


def _trimmed(line: Line) -> Line:
    return _trimmed(line[:-1]) if line and not line[-1].text.strip() else line
