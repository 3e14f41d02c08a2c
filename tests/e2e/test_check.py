"""`pathtap check` over whole labs: healthy ones of unlike settings have no finding, two faults at once are both found.

That each single fault is found is held by test_faults.
"""

import os
import signal
from typing import Any

import pytest
from labs import Bench, running

from pathtap.lab.build import LabOptions
from pathtap.lab.procfs import roles

pytestmark = pytest.mark.e2e

# The settings that change what a CNI writes; what the other end-to-end labs have already is left out.
SETTINGS: dict[str, dict[str, Any]] = {
    "custom networking, prefixes, native": {"custom_networking": True, "prefix_mode": True, "chains": "native"},
    "external snat, no node ports": {"external_snat": True, "node_port": False},
    "no node ports, untold": {"node_port": False, "metadata": False, "backend": "legacy", "names": "ens"},
    "IPv6": {"family": "ipv6"},
    "excluded, two CIDRs, jumps": {"exclude_cidrs": ("203.0.113.0/24",), "vpc_cidrs": 2, "chains": "jump"},
}


def checked(bench: Bench, *nodes: str) -> Any:
    answer = bench.run("check", *nodes, "-o", "json")
    assert answer.output, answer.errors
    return {**answer.json, "exit_code": answer.exit_code}


def test_a_healthy_lab_has_no_finding(bench: Bench) -> None:
    check = checked(bench)
    assert (check["exit_code"], check["findings"]) == (0, [])
    names = [node.name for node in bench.cluster.nodes]
    assert [(node["node"], node["read"], node["pods"]) for node in check["nodes"]] == [
        (name, True, 3) for name in names
    ]
    assert all(node["predictions"] > 20 for node in check["nodes"])
    assert not [gap for gap in check["gaps"] if gap["part"] not in ("imds", "ipamd")]


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_no_setting_of_the_cni_is_taken_for_a_defect(settings: dict[str, Any]) -> None:
    with running(LabOptions(prefix=f"e{os.getpid()}k", **settings)) as bench:
        check = checked(bench)
    assert (check["exit_code"], check["findings"]) == (0, [])


def test_two_faults_at_once_are_both_found(bench: Bench) -> None:
    with bench.broken("no-fwmark-rule"), bench.broken("forward-drop"):
        check = checked(bench)
    assert [(each["code"], each["node"]) for each in check["findings"]] == [
        ("FWMARK_RULE_MISSING", bench.cluster.nodes[0].name),
        ("FILTER_DROP", bench.cluster.nodes[1].name),
    ]
    assert check["exit_code"] == 3
    assert checked(bench)["findings"] == []


def test_a_node_that_is_named_is_checked_alone(bench: Bench) -> None:
    first, second = (node.name for node in bench.cluster.nodes)
    with bench.broken("no-fwmark-rule"):
        assert checked(bench, second)["exit_code"] == 0
        answer = bench.run("check", f"node/{first}")
    assert answer.exit_code == 3
    assert "ip rule add priority 1024 fwmark 0x80/0x80 lookup main" in " ".join(answer.output.split())
    assert second not in answer.output


def test_a_node_that_nobody_knows_ends_with_a_sentence(bench: Bench) -> None:
    answer = bench.run("check", "ip-192-168-1-28")
    assert (answer.exit_code, answer.output) == (1, "")
    assert "there is no node ip-192-168-1-28; did you mean ip-192-168-1-29" in answer.errors


def test_an_agent_that_is_gone_decides_unless_something_was_found(lab_to_break: Bench) -> None:
    first, second = (node.name for node in lab_to_break.cluster.nodes)
    os.kill(roles(lab_to_break.prefix)[f"agent-{second}"], signal.SIGKILL)
    check = checked(lab_to_break)
    assert (check["exit_code"], check["findings"]) == (4, [])
    assert [(node["node"], node["read"]) for node in check["nodes"]] == [(first, True), (second, False)]
    assert [(gap["node"], gap["part"]) for gap in check["gaps"] if gap["decisive"]] == [(second, "agent")]
    with lab_to_break.broken("no-fwmark-rule"):
        assert checked(lab_to_break)["exit_code"] == 3
