"""Which of ascending rates is the highest that is still without loss. Pure: `trial` does the work."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.rows import Row, at_least, void

# The share of packets that may be missing from what is called without loss: a machine shared with others has its moments.
ALLOWED_LOSS = 0.001
# A sender that comes to less than this share of a rate has not reached it.
REACHED = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of sending at a rate: packets `sent`, and those of them that were `kept`; `rate` is that of the sender, in
    packets/s."""

    rate: float
    sent: int
    kept: int

    @property
    def lossless(self) -> bool:
        return self.sent > 0 and self.kept >= self.sent * (1 - ALLOWED_LOSS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Highest:
    """`rate` as the sender measured it, 0 where even the lowest rung had losses. `limited`: nothing was lost at the most that the
    sender could do. `rung` is its index, for the next climb to begin at."""

    rate: float
    rung: int
    limited: bool


def without_loss(trials: Sequence[Trial]) -> bool:
    """Whether most of them were."""
    return 2 * sum(each.lossless for each in trials) > len(trials)


def climb(rungs: Sequence[float], trial: Callable[[float], Trial], begin: int | None = None) -> Highest:
    """Bisects, or goes rung by rung from where the last climb ended: `begin`. Takes it that who loses nothing at one rate
    loses nothing at a lower one."""
    best, below, above = 0.0, -1, len(rungs)
    while above - below > 1:
        index = _next(below, above, len(rungs), begin)
        found = trial(rungs[index])
        if found.lossless and found.rate < rungs[index] * REACHED:
            # Once more: a machine shared with others has its moments.
            found = max(found, trial(rungs[index]), key=lambda each: each.rate)
        if not found.lossless:
            above = index
        elif found.rate < rungs[index] * REACHED:
            return Highest(rate=max(best, found.rate), rung=index, limited=True)
        else:
            below, best = index, found.rate
    return Highest(rate=best, rung=max(below, 0), limited=below == len(rungs) - 1)


def _next(below: int, above: int, count: int, begin: int | None) -> int:
    if begin is None or not 0 <= begin < count:
        return (below + above) // 2
    if below < 0 and above == count:
        return begin
    return below + 1 if below >= 0 else above - 1


def geometric(least: float, most: float, steps: int) -> tuple[float, ...]:
    """`steps` rungs from `least` to `most`, each the same factor above the one before it."""
    factor = (most / least) ** (1 / (steps - 1))
    return tuple(least * factor**step for step in range(steps))


def compared(
    name: str, ours: Sequence[Highest], peer: Sequence[Highest], goal: float, *, peer_as_measured: bool = False
) -> Row:
    """Medians of climbs, ours to be at least `goal` times the peer's. Where the generator was the limit in most climbs of one,
    that one could do more, and the row is void unless what was measured decides it all the same. With `peer_as_measured` it
    is not asked what more the peer could do: its rate is only the measure of ours.
    """
    mine, theirs = (median(each.rate for each in climbs) for climbs in (ours, peer))
    ours_limited, peer_limited = (2 * sum(each.limited for each in climbs) > len(climbs) for climbs in (ours, peer))
    row = at_least(name, mine, theirs, goal)
    peer_open = peer_limited and not peer_as_measured
    if (ours_limited and (peer_open or not row["met"])) or (peer_open and row["met"]):
        whose = "both" if ours_limited and peer_limited else "ours" if ours_limited else "the peer"
        return void(
            row, f"the generator was the limit of {whose}, at {mine:,.0f} and {theirs:,.0f} packets/s nothing was lost"
        )
    limited = " and ".join(who for who, is_so in (("ours", ours_limited), ("the peer", peer_limited)) if is_so)
    holds = f", the goal is met of a peer of up to {mine / goal:,.0f}" if peer_limited and row["met"] else ""
    return {**row, "note": f"the generator was the limit of {limited}{holds}" if limited else ""}
