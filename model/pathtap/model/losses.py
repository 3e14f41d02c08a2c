"""Losses that differ by their count alone, added up."""

from collections import Counter
from dataclasses import replace

from pathtap.model.packet import Lost

# Reasons that are told apart of one stage, capture and interface: who sends absurd headers chooses the reasons, and each is
# a line for somebody to read. The count stays exact.
MOST_REASONS = 8
OTHERS = "for other reasons"


class Losses:
    """Bounded by stages, captures and interfaces, whatever the reasons are. Belongs to one thread at a time."""

    def __init__(self) -> None:
        self._counts: dict[Lost, int] = {}
        self._reasons: Counter[Lost] = Counter()

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, lost: Lost) -> None:
        kind = replace(lost, count=0)
        if kind not in self._counts:
            place = replace(kind, why="")
            if self._reasons[place] < MOST_REASONS:
                self._reasons[place] += 1
            else:
                kind = replace(kind, why=OTHERS)
        self._counts[kind] = self._counts.get(kind, 0) + lost.count

    @property
    def all(self) -> tuple[Lost, ...]:
        """In the order in which they first came."""
        return tuple(replace(kind, count=count) for kind, count in self._counts.items())
