"""While a traced flow is flooded, and its collector is slow or stopped, another flow of the node gets what it got before.

Judged by its ratio to the same flood with nothing armed, in windows that follow each other; `make bench GROUPS=stress` says more.
"""

import os
from collections.abc import Iterator
from statistics import median

import pytest

from bench.stress import STRESSES, Node, node, pairs
from bench.wiring import Wired, wired

pytestmark = pytest.mark.netns

PAIRS, SECONDS, FLOOD = 3, 0.4, 150_000
LEAST = 0.9
# Far beyond what a busy machine makes of a median in windows that follow each other (1.4); 400 idle packet sockets make 4 of it.
LONGEST = 2.5


@pytest.fixture(scope="module")
def wires() -> Iterator[Wired]:
    with wired(f"bst{os.getpid()}") as built:
        yield built


@pytest.fixture(scope="module")
def built(wires: Wired) -> Iterator[Node]:
    with node(wires) as made:
        yield made


@pytest.mark.parametrize("stress", STRESSES)
def test_the_nodes_own_traffic_is_not_slowed(wires: Wired, built: Node, stress: str) -> None:
    measured = pairs(wires, built, STRESSES[stress], PAIRS, SECONDS, FLOOD)
    assert median(each.delivered for each in measured) >= LEAST, measured
    assert median(each.armed.flow.median / each.untraced.flow.median for each in measured) <= LONGEST, measured
    # The stress was one, and the account added up (`pairs`).
    assert all(each.armed.accepted > FLOOD * SECONDS / 2 for each in measured)
    assert any(each.armed.lost for each in measured) or "stopped" not in stress
