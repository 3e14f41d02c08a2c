"""What a figure is: `ours` beside `peer`, the ratio of the two, the goal that the ratio may not exceed."""

from typing import TypedDict


class Row(TypedDict):
    figure: str
    ours: float
    peer: float
    ratio: float
    goal: float
    met: bool


def row(figure: str, ours: float, peer: float, goal: float) -> Row:
    return {
        "figure": figure,
        "ours": ours,
        "peer": peer,
        "ratio": ours / peer,
        "goal": goal,
        "met": ours <= goal * peer,
    }
