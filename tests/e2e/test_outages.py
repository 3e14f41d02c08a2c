"""An agent or the collector ends in the middle of a trace: the trace ends too, says so, and the next one is well."""

import os
from collections.abc import Iterator

import pytest

from bench.outage_lab import AGENT_CASES, COLLECTOR_CASES, Stage, agent_case, collector_case, staged

pytestmark = pytest.mark.e2e

# In seconds, of a trace that would wait for a minute: what is promised is 15, and 5 until all are connected again.
ENDED, BACK = 20.0, 15.0


@pytest.fixture(scope="module")
def stage() -> Iterator[tuple[Stage, frozenset[str]]]:
    """And what the second node had before its agent."""
    with staged(f"dp{os.getpid()}e") as built:
        yield built


@pytest.mark.parametrize("how", ["killed", "asked to end"])
def test_a_trace_whose_agent_ends_names_its_node_and_nothing_is_left(
    stage: tuple[Stage, frozenset[str]], how: str
) -> None:
    """Exit 4 and a decisive gap of that node; a trace after its agent's restart ends well."""
    measured = agent_case(*stage, how, AGENT_CASES[how])
    assert measured[f"left, agent {how}"] == 0
    assert measured[f"trace, agent {how}"] < ENDED
    assert measured[f"resumes, agent {how}"] < BACK


@pytest.mark.parametrize("how", ["killed", "asked to end"])
def test_a_trace_whose_collector_ends_says_so_and_no_capture_is_left(
    stage: tuple[Stage, frozenset[str]], how: str
) -> None:
    """Exit 1 and a sentence, or what there is and exit 4 of one that was asked to end."""
    measured = collector_case(stage[0], how, *COLLECTOR_CASES[how])
    assert measured[f"trace, collector {how}"] < ENDED
    assert measured[f"resumes, collector {how}"] < BACK
