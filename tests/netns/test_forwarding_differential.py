"""What the model says against what the kernel does: random nodes, random packets, both iptables backends and native nft.

`make fuzz-model` does the same with more configurations and a new seed; tests/support/differential holds both.
"""

import json
import os
from pathlib import Path

import pytest
from differential.campaign import Plan, run
from differential.tally import Tally

pytestmark = pytest.mark.netns

SEED, CONFIGURATIONS = "20261121", 500
BUILD = Path(__file__).parents[2] / "build"
MOST_UNKNOWN = 0.02
# The draw must exercise what it is for: at least so many of a hundred packets each.
EXERCISED = {
    "forwarded": 30,
    "local": 8,
    "dropped": 4,
    "rejected": 2,
    "no_route": 1,
    "told": 2,
    "dnat": 8,
    "snat": 20,
    "marked": 10,
    "connmarked": 10,
    "untracked": 1,
    "reverse path": 1,
    "own": 8,
    "reply": 15,
    "next": 3,
    "IPv6": 15,
}


def keep(tally: Tally) -> None:
    BUILD.mkdir(exist_ok=True)
    (BUILD / "differential.json").write_text(json.dumps(json.loads(tally.to_json()), indent=1) + "\n")


@pytest.mark.timeout(900)
def test_the_kernel_never_contradicts_the_model() -> None:
    plan = Plan(seed=SEED, first=0, last=CONFIGURATIONS)
    found = run(plan, os.cpu_count() or 1, progress=lambda _: None)
    keep(found)
    counts = found.counts
    assert not found.contradictions, "\n".join(found.contradictions[:20])
    assert not found.refused, found.refused[0]
    assert counts["configurations"] == CONFIGURATIONS
    assert counts["unknown"] <= MOST_UNKNOWN * counts["packets"], found.text()
    scarce = {name: counts[name] for name, least in EXERCISED.items() if counts[name] < least / 100 * counts["packets"]}
    assert not scarce, f"{scarce} of {counts['packets']} packets"
