"""What two listeners' rounds of a flood say beside each other."""

from collections.abc import Sequence

from bench.crowd import same
from bench.flood import judged
from bench.ladder import Trial
from bench.listeners import Heard


def heard(kept: int, share: float = 0.027, sent: int = 1000) -> Heard:
    return Heard(trial=Trial(rate=sent / 2, sent=sent, kept=kept), seconds=2, cpu=0.1, share=share)


def rounds(kept: Sequence[int], share: float = 0.027) -> list[Heard]:
    return [heard(each, share) for each in kept]


def test_medians_of_the_rounds_are_compared_by_the_second() -> None:
    row = judged("x", rounds([500, 400, 450, 460, 0]), rounds([900, 300, 310, 290, 305]))
    assert (row["ours"], row["peer"], row["met"]) == (225, 152.5, True)
    assert (
        row["note"]
        == "500 and 500 packets/s were sent, 45.00% and 30.50% of them kept, with 2.70% and 2.70% of a processor"
    )


def test_two_that_lose_nothing_say_nothing() -> None:
    row = judged("x", rounds([1000] * 5), rounds([1000, 1000, 1000, 10, 10]))
    assert row["met"] is None
    assert row["note"].startswith(
        "void: neither lost anything, the generator was the limit: 500 and 500 packets/s were sent"
    )


def test_one_that_loses_beside_one_that_does_not_is_decided() -> None:
    assert judged("x", rounds([900] * 5), rounds([1000] * 5, 0.01))["met"] is False
    assert judged("x", rounds([1000] * 5, 0.01), rounds([900] * 5))["met"] is True


def test_two_that_lose_with_different_shares_say_nothing() -> None:
    row = judged("x", rounds([500] * 5, 0.030), rounds([400] * 5, 0.025))
    assert (row["met"], row["note"].partition(":")[0]) == (None, "void")


def test_shares_are_the_same_within_a_tenth() -> None:
    assert same(0.027, 0.025)
    assert same(0.025, 0.027)
    assert not same(0.027, 0.024)
