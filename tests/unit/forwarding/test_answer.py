"""Kleene's logic: what must hold for every combination of three values."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathtap.forwarding.answer import Answer, every

answers = st.sampled_from(Answer)


@given(answers, answers, answers)
def test_and_is_commutative_and_associative(a: Answer, b: Answer, c: Answer) -> None:
    assert a & b is b & a
    assert (a & b) & c is a & (b & c)


@given(answers, answers)
def test_or_is_and_seen_from_the_other_side(a: Answer, b: Answer) -> None:
    assert ~(a & b) is ~a | ~b
    assert ~~a is a


def test_without_unknown_it_is_ordinary_logic() -> None:
    for first, second in product((True, False), repeat=2):
        assert Answer.of(first) & Answer.of(second) is Answer.of(first and second)
        assert Answer.of(first) | Answer.of(second) is Answer.of(first or second)
        assert ~Answer.of(first) is Answer.of(not first)


@given(answers)
def test_unknown_never_becomes_certain_by_itself(a: Answer) -> None:
    """Whatever the unknown turns out to be must be what the algebra said, or the algebra said unknown."""
    for truth in (Answer.YES, Answer.NO):
        assert a & Answer.UNKNOWN in (a & truth, Answer.UNKNOWN)
        assert a | Answer.UNKNOWN in (a | truth, Answer.UNKNOWN)


@given(st.lists(answers))
def test_every(listed: list[Answer]) -> None:
    expected = Answer.NO if Answer.NO in listed else Answer.UNKNOWN if Answer.UNKNOWN in listed else Answer.YES
    assert every(listed) is expected


def test_an_answer_is_no_truth_value() -> None:
    with pytest.raises(TypeError):
        bool(Answer.NO)


def test_none_is_unknown() -> None:
    assert Answer.of(None) is Answer.UNKNOWN
