"""Which rate is the highest without loss, climbed on listeners whose limit is known, and what two such say beside each other."""

from collections.abc import Callable

import pytest

from bench.ladder import Highest, Trial, climb, compared, geometric
from bench.rows import Row

RUNGS = geometric(1_000, 1_000_000, 31)


def listener(limit: float, sender: float = float("inf")) -> Callable[[float], Trial]:
    """Keeps `limit` packets of each second; its sender sends at most `sender`."""

    def trial(rate: float) -> Trial:
        reached = min(rate, sender)
        return Trial(rate=reached, sent=int(reached), kept=int(min(reached, limit)))

    return trial


def highest(rate: float, limited: bool = False) -> list[Highest]:
    return [Highest(rate=rate, rung=0, limited=limited)] * 5


def test_rungs_rise_by_one_factor() -> None:
    assert geometric(1, 100, 3) == pytest.approx((1, 10, 100))


@pytest.mark.parametrize("begin", [None, 0, 12, 20, 21, 30])
def test_the_last_rung_before_a_loss_is_found_wherever_the_climb_begins(begin: int | None) -> None:
    found = climb(RUNGS, listener(RUNGS[20] * 1.01), begin)
    assert found == Highest(rate=RUNGS[20], rung=20, limited=False)


def test_a_climb_that_begins_where_the_last_one_ended_takes_two_trials() -> None:
    asked = []

    def counted(rate: float) -> Trial:
        asked.append(rate)
        return listener(RUNGS[20] * 1.01)(rate)

    climb(RUNGS, counted, begin=20)
    assert asked == [RUNGS[20], RUNGS[21]]


def test_a_sender_that_does_not_reach_a_rung_is_the_limit_and_its_rate_is_told() -> None:
    found = climb(RUNGS, listener(RUNGS[30], sender=5_000.0))
    assert (found.rate, found.limited) == (5_000.0, True)


def test_a_sender_that_is_held_up_once_is_asked_again() -> None:
    held_up = iter([5.0])

    def trial(rate: float) -> Trial:
        return listener(RUNGS[20] * 1.01, sender=next(held_up, float("inf")))(rate)

    assert climb(RUNGS, trial) == Highest(rate=RUNGS[20], rung=20, limited=False)


def test_who_loses_nothing_at_the_highest_rung_is_limited_by_the_ladder() -> None:
    assert climb(RUNGS, listener(10 * RUNGS[30])) == Highest(rate=RUNGS[30], rung=30, limited=True)


def test_who_loses_at_the_lowest_rung_has_no_rate() -> None:
    assert climb(RUNGS, listener(10)) == Highest(rate=0.0, rung=0, limited=False)


def test_one_packet_in_a_thousand_may_be_missing_and_not_two() -> None:
    assert Trial(rate=1, sent=10_000, kept=9_990).lossless
    assert not Trial(rate=1, sent=10_000, kept=9_980).lossless
    assert not Trial(rate=1, sent=0, kept=0).lossless


def told(row: Row) -> tuple[bool | None, str]:
    return row["met"], row["note"].partition(",")[0]


def test_two_real_limits_are_compared_by_their_medians() -> None:
    ours = [Highest(rate=rate, rung=0, limited=False) for rate in (70, 75, 80, 85, 900)]
    row = compared("x", ours, highest(100), 0.8)
    assert (row["ours"], row["peer"], row["met"], row["note"]) == (80, 100, True, "")
    assert compared("x", highest(79), highest(100), 0.8)["met"] is False


def test_the_generator_as_the_limit_makes_void_what_it_leaves_open() -> None:
    assert told(compared("x", highest(100, True), highest(100, True), 0.8)) == (
        None,
        "void: the generator was the limit of both",
    )
    # Ours could do more, so that it may meet the goal; the peer could do more, so that ours may not.
    assert told(compared("x", highest(60, True), highest(100), 0.8))[0] is None
    assert told(compared("x", highest(90), highest(100, True), 0.8))[0] is None


def test_the_generator_as_the_limit_leaves_standing_what_is_decided_all_the_same() -> None:
    assert told(compared("x", highest(90, True), highest(100), 0.8)) == (True, "the generator was the limit of ours")
    assert told(compared("x", highest(70), highest(100, True), 0.8)) == (
        False,
        "the generator was the limit of the peer",
    )


def test_a_peer_whose_limit_is_not_asked_for_is_taken_as_measured() -> None:
    both = compared("x", highest(90, True), highest(100, True), 0.25, peer_as_measured=True)
    assert told(both) == (True, "the generator was the limit of ours and the peer")
    assert both["note"].endswith("the goal is met of a peer of up to 360")
    ours_open = compared("x", highest(20, True), highest(100, True), 0.25, peer_as_measured=True)
    assert told(ours_open)[0] is None
