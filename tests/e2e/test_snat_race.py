"""What `pathtap snat` says of a race for ports and of their lack, beside what was really lost."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from labs import Bench, finish, running

from pathtap.lab.build import LabOptions
from pathtap.lab.kernel import inside
from pathtap.lab.racing import Race, race
from pathtap.lab.topology import INTERNET_HOST

pytestmark = pytest.mark.e2e

PAIRS = 1_000
WATCHED = ("snat", "shop/cart", "to", str(INTERNET_HOST), "--port", "9", "--protocol", "udp")
NETLINK_NETFILTER = "12"
FLAGS: tuple[Literal["none", "prng"], ...] = ("none", "prng")


@pytest.fixture(scope="module", params=FLAGS)
def raced(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with running(LabOptions(prefix=f"e{os.getpid()}r{request.param[0]}", randomize=request.param)) as bench:
        yield bench


def listens(bench: Bench) -> bool:
    """Whether somebody on node 1 is told of new conntrack entries: the agent has looked at the counters by then, and watches."""
    table = inside(bench.cluster.nodes[0].network_namespace, Path("/proc/thread-self/net/netlink").read_text)
    rows = [line.split() for line in table.splitlines()[1:]]
    return any(protocol == NETLINK_NETFILTER and int(groups, 16) for _, protocol, _, groups, *_ in rows)


def watched_race(bench: Bench) -> tuple[Race, Any]:
    """A race, and what `snat --live` says that saw it from before the first packet until after the last."""
    process = bench.start(*WATCHED, "--live", "--timeout", "8", "-o", "json")
    until = time.monotonic() + 20
    while not listens(bench) and time.monotonic() < until and process.poll() is None:
        time.sleep(0.02)
    run = race(bench.cluster, PAIRS, "udp")
    return run, finish(process).json


def codes(snat: Any) -> list[str]:
    return [finding["code"] for finding in snat["findings"]]


def test_a_race_is_told_as_it_went(raced: Bench) -> None:
    run, snat = watched_race(raced)
    lost = run.rose["insert_failed"]
    assert snat["insert_failed"] == lost
    assert sum(cpu["after"]["drop"] - cpu["before"]["drop"] for cpu in snat["cpus"]) == lost
    assert ("SNAT_RACE_LOST" in codes(snat)) == (lost > 0)
    assert "SNAT_PORTS_EXHAUSTED" not in codes(snat)
    kept = raced.cluster.options.randomize == "none"
    # With --random-fully chance may take one flow of this many, hardly two.
    assert lost > 2 if kept else lost <= 2
    assert snat["verdict"] == ("NOT_RANDOM" if kept else "FULLY_RANDOM"), snat["summary"]


def test_ports_that_run_out_are_no_race(raced: Bench) -> None:
    run = race(raced.cluster, 30_000, "udp", apart=True)
    snat = finish(raced.start(*WATCHED, "-o", "json")).json
    (ports,) = (each for each in snat["ports_in_use"] if each["destination"]["port"] == 9)
    assert 0.9 * run.entries < ports["in_use"] <= ports["capacity"] == 64_512
    assert {user["name"] for user in ports["users"]} == {"shop/cart", "shop/web"}
    assert "SNAT_PORTS_EXHAUSTED" in codes(snat)
    assert "SNAT_RACE_LOST" not in codes(snat)
