"""For how long packets gather between two turns of a capture: long enough to share a decode's fixed price, short enough that
nobody waits for a long turn. Pure."""

# After each wake-up packets gather, so that the fixed price of a decode, a tenth of a millisecond, is shared: in milliseconds.
LONGEST, SHORTEST = 16, 2
# What a turn decodes in some 0.3 ms; where the kernel's blocks hold more, a turn is a block. The kernel lets who runs go on for
# that long and longer before somebody who wakes on the same processor (EEVDF, kernel/sched/fair.c: a slice of 1.4 ms on two
# processors), whatever either's share of it is.
EVEN = 512


class Gathering:
    """`milliseconds` is how long to wait before the next turn."""

    def __init__(self, longest: int) -> None:
        self._longest = min(LONGEST, longest)
        self._shortest = min(SHORTEST, longest)
        self.milliseconds = self._longest

    def turned(self, frames: int, *, full: bool) -> None:
        """`frames` were decoded since the last wait; `full`: of some ring as many as may be, and more may be there."""
        if full:
            self.milliseconds //= 4
        elif frames > EVEN or self.milliseconds < self._shortest:
            self.milliseconds = max(self._shortest, self.milliseconds // 2)
        elif frames < EVEN // 4:
            self.milliseconds = min(self._longest, max(1, 2 * self.milliseconds))
