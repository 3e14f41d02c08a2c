"""An interval for the median of paired measurements that supposes no distribution. Pure.

Between the k-th smallest and the k-th largest of n independent differences lies their distribution's median unless fewer than
k of them are on one side of it, which the binomial distribution tells exactly (Conover, Practical Nonparametric Statistics, on
quantiles). One absurd pair, as a shared machine makes it, moves it by one place at most.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """`low` and `high` enclose the median with at least `confidence`."""

    median: float
    low: float
    high: float
    confidence: float


def of_the_median(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Raises ValueError for too few values: six are needed for 95 %."""
    ordered, count = sorted(values), len(values)
    outside = 0.0
    depth = 0
    # Twice the chance that at most `depth` of the values lie below the median.
    while 2 * (outside + math.comb(count, depth) / 2**count) <= 1 - confidence:
        outside += math.comb(count, depth) / 2**count
        depth += 1
    if depth == 0:
        raise ValueError(f"{count} values are too few for an interval of {confidence:.0%}.")
    return Interval(
        median=median(ordered), low=ordered[depth - 1], high=ordered[count - depth], confidence=1 - 2 * outside
    )
