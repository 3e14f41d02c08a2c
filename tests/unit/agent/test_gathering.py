"""How long a capture lets packets gather, by what its turns decode."""

import pytest

from pathtap.agent.gathering import EVEN, LONGEST, SHORTEST, Gathering


def settled(rate: int, longest: int = LONGEST, turns: int = 40) -> tuple[int, int]:
    """Milliseconds and frames of the last turn, at `rate` packets/s of which a ring holds all."""
    gathering, frames = Gathering(longest), 0
    for _ in range(turns):
        frames = rate * gathering.milliseconds // 1000
        gathering.turned(frames, full=False)
    return gathering.milliseconds, frames


@pytest.mark.parametrize("rate", [0, 100, 10_000, 30_000])
def test_what_comes_slowly_shares_the_price_of_a_decode(rate: int) -> None:
    assert settled(rate)[0] == LONGEST


@pytest.mark.parametrize("rate", [60_000, 100_000, 200_000, 250_000])
def test_no_turn_is_long_where_much_comes(rate: int) -> None:
    milliseconds, frames = settled(rate)
    assert SHORTEST <= milliseconds < LONGEST
    assert EVEN // 4 <= frames <= EVEN


def test_a_decodes_price_is_paid_five_hundred_times_a_second_at_most() -> None:
    assert settled(2_000_000)[0] == SHORTEST


def test_a_full_turn_shortens_the_wait_to_nothing_and_what_is_slow_again_lengthens_it() -> None:
    gathering = Gathering(LONGEST)
    for _ in range(3):
        gathering.turned(8_192, full=True)
    assert gathering.milliseconds == 0
    for _ in range(8):
        gathering.turned(1, full=False)
    assert gathering.milliseconds == LONGEST


@pytest.mark.parametrize("frames", [EVEN // 4, EVEN, EVEN + 1])
def test_after_full_turns_even_ones_are_waited_for_again(frames: int) -> None:
    gathering = Gathering(LONGEST)
    for _ in range(3):
        gathering.turned(8_192, full=True)
    gathering.turned(frames, full=False)
    assert gathering.milliseconds == SHORTEST


def test_a_small_ring_is_never_waited_for_longer_than_it_holds() -> None:
    assert settled(0, longest=1)[0] == 1
    assert settled(0, longest=4)[0] == 4
    assert settled(2_000_000, longest=1)[0] == 1
