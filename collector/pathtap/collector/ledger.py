"""What became of one agent's packets since it connected: while no capture is open, accepted is delivered and all that is lost.

Knows no wire. What the filters of a capture accepted is known once the agent has said it. Of a capture whose end it never said
(its stream broke, its worker was killed) that much was accepted as came of it: what else it saw is a loss without a count.
"""

from collections import Counter


class Ledger:
    """Counts are in packets; `losses` are by stage (docs/wire.md)."""

    def __init__(self) -> None:
        self.accepted = 0
        self.delivered = 0
        self.losses: Counter[str] = Counter()
        # Of each capture that is not closed, how many packets have come of it or are told as lost.
        self._open: dict[str, int] = {}

    def open(self, capture: str) -> None:
        """A capture will be armed on this stream."""
        self._open[capture] = 0

    def deliver(self, capture: str, count: int) -> None:
        self.delivered += count
        self._count(capture, count)

    def lose(self, capture: str, where: str, count: int) -> None:
        """`capture` may be empty: of whichever."""
        self.losses[where] += count
        self._count(capture, count)

    def close(self, capture: str, accepted: int | None) -> None:
        """`accepted` is None where the agent could not say it."""
        known = self._open.pop(capture, None)
        if known is not None:
            self.accepted += known if accepted is None else accepted

    def _count(self, capture: str, count: int) -> None:
        if capture in self._open:
            self._open[capture] += count
        else:
            self.accepted += count
