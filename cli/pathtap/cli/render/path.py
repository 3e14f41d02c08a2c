"""Lays a path's entries out in columns: one line a sighting where the width allows it, two where not. Knows no message.

Wide, every sighting is one line:    1 eth0  eni-0a1f primary ENI   a:1 → b:2   SYN  +0.031 ms  observed
Narrow, the tuple goes below, so that the right edge keeps packet, time and witnesses.
"""

from collections.abc import Sequence

from rich.cells import cell_len

from pathtap.cli.render.entries import Between, Entry, Heading, Sighting
from pathtap.cli.render.notes import Note
from pathtap.cli.render.page import Line, Span, Style, cells, fits, flush, hanging, pad, wrap

_LABEL_INDENT = 5
_LABEL_WIDTH = 7


def path_lines(entries: Sequence[Entry], width: int) -> list[Line]:
    sightings = [entry for entry in entries if isinstance(entry, Sighting)]
    columns = _Columns(sightings)
    wide = columns.wide_width() <= width
    edge = _edge(columns, entries, width) if wide else width
    lines: list[Line] = []
    for entry in entries:
        match entry:
            case Heading():
                back = (Span("  reply", Style.FAINT),) if entry.reply else ()
                lines += [(), (Span(f" {entry.node}", Style.NODE), *back)]
            case Sighting():
                lines += [columns.one_line(entry, edge)] if wide else columns.two_lines(entry, width)
            case Between():
                style = Style.BAD if entry.broken else Style.FAINT
                lines += hanging((Span(" · ", style),), entry.text, entry.witnesses, edge, style)
            case Note():
                lines += _note(entry, edge)
    return lines


def _edge(columns: "_Columns", entries: Sequence[Entry], width: int) -> int:
    """The right edge: as near as the sightings and those explanations allow that fit on one line."""
    notes = [entry for entry in entries if isinstance(entry, Note)]
    natural = [_LABEL_INDENT + _LABEL_WIDTH + cell_len(f"{note.text}  {note.witnesses}") for note in notes]
    return max([80, columns.wide_width(), *(each for each in natural if each <= width)])


def _note(note: Note, width: int) -> list[Line]:
    label = Span(" " * _LABEL_INDENT + pad(note.label, _LABEL_WIDTH), Style.BAD if note.broken else Style.FAINT)
    return hanging((label,), note.text, note.witnesses, width, Style.BAD if note.broken else Style.PLAIN)


def _where(sighting: Sighting) -> Line:
    return (Span(sighting.interface, Style.INTERFACE), *((Span("  " + sighting.about),) if sighting.about else ()))


class _Columns:
    """The widest of each column over all sightings, so that all of them align."""

    def __init__(self, sightings: Sequence[Sighting]) -> None:
        def widest(texts: list[str]) -> int:
            return max((cell_len(text) for text in texts), default=0)

        self._number = widest([str(s.number) for s in sightings])
        self._where = max((cells(_where(s)) for s in sightings), default=0)
        self._tuple = widest([s.tuple_ for s in sightings])
        self._packet = widest([s.packet for s in sightings])
        self._time = widest([s.time for s in sightings])
        self._witnesses = widest([s.witnesses for s in sightings])

    def wide_width(self) -> int:
        return cells(self._lead_of(0)) + self._where + 2 + self._tuple + 2 + self._right_width()

    def one_line(self, s: Sighting, edge: int) -> Line:
        where = _where(s)
        gap = Span(" " * (self._where - cells(where) + 2))
        left = (*self._lead_of(s.number), *where, gap, Span(pad(s.tuple_, self._tuple)))
        return flush(left, self._right(s), edge)

    def two_lines(self, s: Sighting, width: int) -> list[Line]:
        """Packet, time and witnesses beside the interface; beside the tuple, or alone, where that is too long."""
        first = (*self._lead_of(s.number), *_where(s))
        right = self._right(s)
        indent = Span(" " * _LABEL_INDENT)
        second = [(indent, Span(part)) for part in wrap(s.tuple_, width - _LABEL_INDENT)] if s.tuple_ else []
        if fits(first, right, width):
            return [flush(first, right, width), *second]
        if second and fits(second[-1], right, width):
            return [first, *second[:-1], flush(second[-1], right, width)]
        return [first, *second, flush((indent,), right, width)]

    def _lead_of(self, number: int) -> Line:
        return (Span(f" {number:>{self._number}} ", Style.STRONG),)

    def _right_width(self) -> int:
        return self._packet + 2 + self._time + 2 + self._witnesses

    def _right(self, s: Sighting) -> Line:
        time = " " * (self._time - cell_len(s.time)) + s.time
        return (
            Span(pad(s.packet, self._packet) + "  ", Style.STRONG),
            Span(time + "  "),
            Span(pad(s.witnesses, self._witnesses), Style.FAINT),
        )
