"""How far one side of a race lets the other go ahead: never both, and over the pairs every distance either way."""

from pathtap.lab.racer import lag


def test_one_side_waits_and_the_other_does_not() -> None:
    assert all(min(lag(0, number), lag(1, number)) == 0 for number in range(1_000))


def test_every_distance_is_tried_either_way() -> None:
    for side in (0, 1):
        assert {lag(side, number) for number in range(257)} == set(range(129))
