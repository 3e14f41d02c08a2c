"""Healthy labs, in which every pair of the lab's settings is found together: check, explain and trace name nothing.

IPv6 clusters have labs of their own (test_ipv6).
"""

import json
import os
from itertools import combinations
from typing import Any

import pytest
from click.testing import CliRunner
from labs import Bench, running

from pathtap.cli.program import cli
from pathtap.lab.build import LabOptions

pytestmark = pytest.mark.e2e

PEER = ("203.0.113.0/24",)
# What is not said is as the first of VALUES.
LABS: tuple[dict[str, Any], ...] = (
    {
        "chains": "native",
        "external_snat": True,
        "node_port": False,
        "exclude_cidrs": PEER,
        "custom_networking": True,
        "prefix_mode": True,
    },
    {
        "backend": "legacy",
        "names": "ens",
        "chains": "jump",
        "node_port": False,
        "vpc_cidrs": 2,
        "metadata": False,
        "randomize": "hashrandom",
    },
    {"names": "ens", "kube_proxy": "nftables", "external_snat": True, "randomize": "none"},
    {
        "chains": "native",
        "kube_proxy": "nftables",
        "exclude_cidrs": PEER,
        "custom_networking": True,
        "vpc_cidrs": 2,
        "metadata": False,
        "randomize": "none",
    },
    {
        "backend": "legacy",
        "exclude_cidrs": PEER,
        "custom_networking": True,
        "prefix_mode": True,
        "metadata": False,
        "randomize": "hashrandom",
    },
    {
        "chains": "jump",
        "kube_proxy": "nftables",
        "external_snat": True,
        "exclude_cidrs": PEER,
        "prefix_mode": True,
        "vpc_cidrs": 2,
    },
    {
        "backend": "legacy",
        "names": "ens",
        "external_snat": True,
        "node_port": False,
        "custom_networking": True,
        "prefix_mode": True,
        "vpc_cidrs": 2,
        "metadata": False,
    },
    {
        "backend": "legacy",
        "chains": "jump",
        "node_port": False,
        "custom_networking": True,
        "prefix_mode": True,
        "randomize": "none",
    },
    {
        "names": "ens",
        "chains": "native",
        "kube_proxy": "nftables",
        "external_snat": True,
        "node_port": False,
        "exclude_cidrs": PEER,
        "vpc_cidrs": 2,
        "randomize": "hashrandom",
    },
    {"names": "ens", "chains": "jump", "custom_networking": True, "exclude_cidrs": PEER},
    {"chains": "native", "custom_networking": True, "nodes": 3},
)
VALUES: dict[str, tuple[Any, ...]] = {
    "backend": ("nft", "legacy"),
    "names": ("eth", "ens"),
    "chains": ("return", "jump", "native"),
    "kube_proxy": ("iptables", "nftables"),
    "external_snat": (False, True),
    "node_port": (True, False),
    "exclude_cidrs": ((), PEER),
    "custom_networking": (False, True),
    "prefix_mode": (False, True),
    "vpc_cidrs": (1, 2),
    "metadata": (True, False),
    "randomize": ("prng", "hashrandom", "none"),
}
# Neither is to be had on a node of iptables-legacy.
IMPOSSIBLE = (("chains", "native"), ("kube_proxy", "nftables"))
PATIENCE = 5
INSIDE, OUTSIDE = ("DELIVERED", "ANSWERED"), ("LEFT_CLUSTER", "ANSWERED")
WAYS = {
    "shop/cart to shop/web": INSIDE,
    "shop/search to shop/orders --port 8080": INSIDE,
    "shop/search to svc/shop/redis": INSIDE,
    "shop/search to 198.51.100.8 --port 443": OUTSIDE,
    "shop/orders to 203.0.113.8 --protocol udp --port 7": OUTSIDE,
}
NODE_PORT = "shop/search to node/ip-192-168-2-29 --port 30080"
# A node that is told not to support node ports loses its answers for those of its own pods that are on a secondary ENI.
INSTEAD = "node/ip-192-168-1-29 to shop/orders --port 8080"


def settings_of(lab: dict[str, Any]) -> dict[str, Any]:
    return {name: lab.get(name, values[0]) for name, values in VALUES.items()}


def told(document: Any, bench: Bench) -> tuple[tuple[str, str], list[str], list[str]]:
    """The verdict, the findings' codes, and what was not read, but for what this lab never tells."""
    verdict = document["verdict"]
    untold = () if bench.cluster.options.metadata else ("imds", "ipamd")
    gaps = [gap["why"] for gap in verdict["gaps"] if gap["part"] not in untold]
    return (verdict["disposition"], verdict["reply"]), [finding["code"] for finding in verdict["findings"]], gaps


def in_process(bench: Bench, *words: str) -> Any:
    """The command line without a process of its own: over a hundred of them would take longer than what they ask for."""
    answer = CliRunner().invoke(cli, ["--collector", bench.collector, *words, "-o", "json"])
    assert answer.stdout, answer.output
    return json.loads(answer.stdout)


def asked(bench: Bench, command: str, way: str) -> Any:
    """An agent that had no time to answer, on a machine that is busy with other things, is asked again."""
    for _ in range(PATIENCE):
        document = in_process(bench, command, *way.split())
        if all(gap["part"] != "agent" for gap in document["verdict"]["gaps"]):
            break
    return document


def test_every_two_values_are_in_a_lab_together() -> None:
    together = {pair for lab in LABS for pair in combinations(settings_of(lab).items(), 2)}
    pairs = {
        ((one, of_one), (other, of_other))
        for one, other in combinations(VALUES, 2)
        for of_one in VALUES[one]
        for of_other in VALUES[other]
    }
    assert pairs - together == {
        pair for pair in pairs for impossible in IMPOSSIBLE if ("backend", "legacy") in pair and impossible in pair
    }


@pytest.mark.parametrize("settings", LABS, ids=lambda lab: " ".join(lab))
def test_nothing_is_wrong_with_a_healthy_lab(settings: dict[str, Any]) -> None:
    ways = {**WAYS, NODE_PORT if settings.get("node_port", True) else INSTEAD: INSIDE}
    with running(LabOptions(prefix=f"e{os.getpid()}h", **settings)) as bench:
        check = bench.check()
        found = [(way, told(asked(bench, command, way), bench)) for way in ways for command in ("explain", "trace")]
    assert (check["exit_code"], check["findings"]) == (0, [])
    assert found == [(way, (verdict, [], [])) for way, verdict in ways.items() for _ in ("explain", "trace")]
