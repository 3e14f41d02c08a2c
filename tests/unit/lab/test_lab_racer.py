"""How far one side of a race lets the other go ahead: never both, and over the pairs every distance either way."""

from pathtap.lab.racer import lag


def test_one_side_waits_and_the_other_does_not() -> None:
    assert all(min(lag(0, number), lag(1, number)) == 0 for number in range(1_000))


def test_each_side_waits_for_each_time_once_in_a_while() -> None:
    for side in (0, 1):
        short = {lag(side, number) for number in range(0, 16 * 257, 2)}
        longer = {lag(side, number) for number in range(1, 2 * 1025, 2)}
        assert short == {*range(129), 2_048}
        assert longer == set(range(513))


def test_each_side_lets_the_other_be_first_in_a_sixteenth_of_the_pairs() -> None:
    for side in (0, 1):
        assert sum(lag(side, number) > 1_000 for number in range(1_600)) == 100
