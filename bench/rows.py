"""What a figure is: `ours` beside `peer`, the ratio of the two, and the goal that the ratio is held to. Pure."""

from typing import Literal, TypedDict

Sense = Literal["at most", "at least"]


class Row(TypedDict):
    """`ratio` is ours by peer, and `met` whether it is at most, or at least, `goal`.

    None where there is none: a figure that was not measured, one without a peer or with a peer of 0, one that is void. `note`
    then says why, in a sentence.
    """

    figure: str
    ours: float | None
    peer: float | None
    ratio: float | None
    goal: float
    met: bool | None
    sense: Sense
    note: str


def row(figure: str, ours: float, peer: float, goal: float, note: str = "") -> Row:
    """A figure of which less is better: at most `goal` times the peer's."""
    return _row(figure, ours, peer, goal, "at most", ours <= goal * peer, note)


def at_least(figure: str, ours: float, peer: float, goal: float, note: str = "") -> Row:
    """A figure of which more is better: at least `goal` times the peer's."""
    return _row(figure, ours, peer, goal, "at least", ours >= goal * peer, note)


def then(measured: Row, goal: float) -> Row:
    """With a second goal, which `note` tells of: `met` is of the first alone."""
    if measured["met"] is None or measured["ratio"] is None:
        return measured
    ratio = measured["ratio"]
    reached = ratio >= goal if measured["sense"] == "at least" else ratio <= goal
    told = f"the second goal, {goal:g} ×, is {'met' if reached else 'not met'}"
    return {**measured, "note": "; ".join(filter(None, (told, measured["note"])))}


def noted(measured: Row, more: str) -> Row:
    return {**measured, "note": "; ".join(filter(None, (measured["note"], more)))}


def void(measured: Row, why: str) -> Row:
    """The same figures, which say nothing about the goal."""
    return {**measured, "met": None, "note": f"void: {why}"}


def informs(measured: Row, why: str) -> Row:
    """A figure that is no goal of ours: it says what a goal is to be read beside."""
    return {**measured, "met": None, "note": f"{why}; {measured['note']}"}


def unmeasured(figure: str, goal: float, sense: Sense, why: str) -> Row:
    return {
        "figure": figure,
        "ours": None,
        "peer": None,
        "ratio": None,
        "goal": goal,
        "met": None,
        "sense": sense,
        "note": f"not measured: {why}",
    }


def _row(figure: str, ours: float, peer: float, goal: float, sense: Sense, met: bool, note: str) -> Row:
    return {
        "figure": figure,
        "ours": ours,
        "peer": peer,
        "ratio": ours / peer if peer else None,
        "goal": goal,
        "met": met,
        "sense": sense,
        "note": note,
    }
