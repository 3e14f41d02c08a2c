"""Intervals of the median, against the tables of the sign test and against distributions whose median is known."""

import random

import pytest

from bench.intervals import of_the_median


# Of n values the k-th from either end: the sign test's 5 % table.
@pytest.mark.parametrize(("count", "depth"), [(6, 1), (8, 1), (9, 2), (12, 3), (20, 6), (24, 7), (25, 8)])
def test_ends_are_those_of_the_sign_test(count: int, depth: int) -> None:
    found = of_the_median(random.Random(count).sample(range(1, count + 1), count))  # noqa: S311
    assert (found.low, found.high) == (depth, count + 1 - depth)
    assert found.confidence >= 0.95


def test_five_values_are_too_few() -> None:
    with pytest.raises(ValueError, match="5 values are too few"):
        of_the_median([1, 2, 3, 4, 5])


def test_one_absurd_value_moves_it_by_one_place_at_most() -> None:
    calm = of_the_median(range(20))
    shaken = of_the_median([*range(19), 1e9])
    assert (calm.low, calm.high) == (shaken.low, shaken.high)


def test_it_encloses_the_median_as_often_as_it_says() -> None:
    chance = random.Random(7)  # noqa: S311
    runs = 2000
    enclosed = 0
    for _ in range(runs):
        found = of_the_median([chance.lognormvariate(0, 1) for _ in range(20)])
        enclosed += found.low <= 1.0 <= found.high
    # 95.9 % by the binomial distribution; five standard deviations of 2,000 runs are 2.2 %.
    assert 0.937 <= enclosed / runs <= 0.981
