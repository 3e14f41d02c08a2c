"""`pathtap snat` where something is amiss: nobody answers, an old entry is in the way, a rule is not as it was set, no agent."""

import os
import signal

import pytest
from labs import Bench
from translation.traffic import OUTSIDE, SILENT_PORT, assert_fully_random, few_ports, forget, hellos, silent

from pathtap.lab.kernel import command_inside
from pathtap.lab.names import places
from pathtap.lab.procfs import roles
from pathtap.lab.topology import UDP_ECHO_PORT

pytestmark = pytest.mark.e2e

CART, CONNECTIONS = "shop/cart", 64
# Nobody listens here.
CLOSED_PORT = 81


@pytest.fixture
def fresh(bench: Bench) -> Bench:
    """Without a connection of before: an entry that is kept for minutes is evidence."""
    forget(bench)
    return bench


def test_a_destination_that_refuses_tells_as_much(fresh: Bench) -> None:
    snat = fresh.snat(CART, "to", OUTSIDE, "--port", str(CLOSED_PORT))
    assert_fully_random(snat)
    assert snat["opened"]["refused"] == CONNECTIONS


def test_a_destination_that_is_silent_tells_as_much(fresh: Bench) -> None:
    with silent(fresh):
        snat = fresh.snat(CART, "to", OUTSIDE, "--port", str(SILENT_PORT), "--timeout", "0.5")
    assert_fully_random(snat)
    assert snat["opened"]["silent"] == CONNECTIONS


def test_what_an_entry_of_before_says_is_not_held_against_the_rules_of_now(lab: Bench) -> None:
    """Somebody mends a rule and asks again: the entries of the first time live on, some with the same ports."""
    words = (CART, "to", OUTSIDE, "--port", str(SILENT_PORT), "--timeout", "0.5", "--connections", "120")
    with silent(lab), few_ports(lab, CART, 800):
        with lab.broken("missing-snat"):
            before = lab.snat(*words)
        after = lab.snat(*words)
    assert (before["verdict"], before["exit_code"]) == ("NOT_TRANSLATED", 3)
    older = [pair for pair in after["pairs"] if pair["original"] == pair["translated"]]
    assert older
    assert all(pair["discounted"] for pair in older)
    assert_fully_random(after)
    assert after["statistics"]["counted"] <= 120 - len(older)


def test_a_port_that_the_kernel_changes_without_a_rule_is_no_contradiction(fresh: Bench) -> None:
    """A service leads to where the pod is connected already, with the same port: the kernel tells the two apart by another."""
    redis = str(fresh.cluster.pod("shop/redis").address)
    rule = ["INPUT", "-p", "tcp", "--dport", "6379", "-j", "DROP"]
    far = places(fresh.cluster)["shop/redis"]
    command_inside(far, ["iptables-nft", "-A", *rule])
    try:
        with few_ports(fresh, CART, 300):
            fresh.snat(CART, "to", redis, "--port", "6379", "--timeout", "0.5", "--connections", "200")
            snat = fresh.snat(CART, "to", "svc/redis", "--timeout", "0.5", "--connections", "200")
    finally:
        command_inside(far, ["iptables-nft", "-D", *rule])
    assert [pair for pair in snat["pairs"] if pair["original"] != pair["translated"]]
    assert {pair["translated"]["address"] for pair in snat["pairs"]} == {str(fresh.cluster.pod(CART).address)}
    assert snat["verdict"] == "NOT_TRANSLATED", snat["summary"]


def test_what_has_no_route_leaves_nothing_to_judge(lab: Bench) -> None:
    with lab.broken("no-default-route"):
        snat = lab.snat(CART, "to", OUTSIDE, "--port", "443", "--timeout", "0.5")
    assert snat["verdict"] in ("NOT_TRANSLATED", "INCONCLUSIVE")
    assert snat["exit_code"] != 0
    assert snat["opened"]["unreachable"] + snat["opened"]["silent"] == CONNECTIONS
    assert "route" in snat["summary"]


def test_inside_the_vpc_nothing_is_translated_and_that_is_intended(fresh: Bench) -> None:
    snat = fresh.snat(CART, "to", "shop/redis", "--port", "6379")
    assert snat["verdict"] == "NOT_TRANSLATED"
    assert "rule" not in snat
    assert all(pair["original"] == pair["translated"] for pair in snat["pairs"])
    assert len(snat["pairs"]) == CONNECTIONS
    # Without IMDS nobody tells what the VPC's CIDRs are, but that redis is a pod of the cluster.
    redis = fresh.cluster.pod("shop/redis").address
    assert (snat["exit_code"], snat["intent"]["translated"]) == (0, False)
    told = snat["intent"]["source"] != "inventory"
    assert ("192.168.0.0/16" if told else f"{redis} is pod shop/redis of the cluster") in snat["summary"]


def test_too_few_connections_say_how_many_it_takes(fresh: Bench) -> None:
    snat = fresh.snat(CART, "to", OUTSIDE, "--port", "443", "--connections", "3")
    assert (snat["verdict"], snat["exit_code"], snat["connections"]) == ("INCONCLUSIVE", 4, 3)
    assert str(snat["statistics"]["needed"]) in snat["summary"]


def test_a_source_without_agent_is_inconclusive(lab_to_break: Bench) -> None:
    first, second = (node.name for node in lab_to_break.cluster.nodes)
    os.kill(roles(lab_to_break.prefix)[f"agent-{first}"], signal.SIGKILL)
    snat = lab_to_break.snat(CART, "to", OUTSIDE, "--port", "443")
    assert (snat["verdict"], snat["exit_code"]) == ("INCONCLUSIVE", 4)
    assert [(gap["node"], gap["part"]) for gap in snat["gaps"] if gap["decisive"]] == [(first, "agent")]
    table = lab_to_break.snat("--all")
    assert table["exit_code"] == 4
    assert {node["source"]["node"] for node in table["nodes"]} >= {second}
    assert first in {gap["node"] for gap in table["gaps"]} | {
        gap["node"] for node in table["nodes"] for gap in node["gaps"]
    }


def test_another_rule_that_comes_first_is_named_with_the_one_behind(lab: Bench) -> None:
    node = lab.cluster.nodes[0].network_namespace
    first = ["POSTROUTING", "-s", str(lab.cluster.pod(CART).address), "-j", "MASQUERADE"]
    command_inside(node, ["iptables-nft", "-t", "nat", "-I", *first])
    try:
        snat = lab.snat(CART, "to", OUTSIDE, "--port", "443")
        answer = lab.run("snat", CART, "to", OUTSIDE, "--port", "443")
    finally:
        command_inside(node, ["iptables-nft", "-t", "nat", "-D", *first])
    assert (snat["verdict"], snat["exit_code"], snat["preserved"]) == ("NOT_IN_EFFECT", 3, CONNECTIONS)
    standing = [(each["standing"], each["rule"]["chain"], each["rule"]["random"]) for each in snat["rules"]]
    assert standing[:2] == [("FIRST", "POSTROUTING", "none"), ("BEHIND", "AWS-SNAT-CHAIN-0", "fully")]
    assert answer.exit_code == 3
    assert "NOT_IN_EFFECT" in answer.output


def test_a_rule_for_one_protocol_alone_is_found_where_no_destination_is_named(lab: Bench) -> None:
    """The packet that stands for what is outside is TCP, and passes it by."""
    node = lab.cluster.nodes[0].network_namespace
    first = ["POSTROUTING", "-p", "udp", "!", "-d", "192.168.0.0/16", "-j", "MASQUERADE"]
    forget(lab)
    command_inside(node, ["iptables-nft", "-t", "nat", "-I", *first])
    try:
        hellos(lab, CART, CONNECTIONS)
        snat, table = lab.snat(CART), lab.snat("--all")
    finally:
        command_inside(node, ["iptables-nft", "-t", "nat", "-D", *first])
    assert (snat["verdict"], snat["exit_code"], snat["preserved"]) == ("NOT_IN_EFFECT", 3, CONNECTIONS)
    assert "nat AWS-SNAT-CHAIN-0" in snat["summary"]
    rows = [
        (row["rule"]["chain"], row["verdict"])
        for row in table["nodes"]
        if row["source"]["node"] == lab.cluster.nodes[0].name
    ]
    assert ("POSTROUTING", "NOT_IN_EFFECT") in rows
    assert table["exit_code"] == 3


def test_what_is_translated_as_set_and_refused_by_the_vpc_says_so(lab: Bench) -> None:
    forget(lab)
    with lab.broken("snat-foreign-source"):
        snat = lab.snat("shop/search", "to", OUTSIDE, "--port", "443", "--timeout", "0.5")
    assert (snat["verdict"], snat["exit_code"]) == ("FULLY_RANDOM", 0)
    assert "SOURCE_NOT_OWNED_BY_ENI" in {finding["code"] for finding in snat["findings"]}
    assert f"None of the {CONNECTIONS} was answered" in snat["summary"]


def test_present_entries_that_contradict_the_rule_may_be_older_than_it(lab: Bench) -> None:
    forget(lab)
    with lab.broken("snat-not-random"):
        hellos(lab, CART, CONNECTIONS)
        before = lab.snat(CART)
    after = lab.snat(CART)
    assert (before["verdict"], before["preserved"]) == ("NOT_IN_EFFECT", CONNECTIONS)
    assert (after["verdict"], after["exit_code"], after["preserved"]) == ("INCONCLUSIVE", 4, CONNECTIONS)
    assert "older than the rules" in after["summary"]
    assert_fully_random(lab.snat(CART, "to", OUTSIDE, "--port", str(UDP_ECHO_PORT), "--protocol", "udp"))


def test_of_two_stores_the_ports_tell_which_came_first(lab: Bench) -> None:
    """Whose chain was registered last translates, which nobody can read and a lab's former faults may have changed."""
    forget(lab)
    with lab.broken("stale-rule-set"):
        snat = lab.snat("shop/search", "to", OUTSIDE, "--port", "443", "--timeout", "0.5")
    kept = snat["preserved"] == CONNECTIONS
    assert kept or not snat["preserved"]
    assert (snat["verdict"], snat["exit_code"]) == (("NOT_IN_EFFECT", 3) if kept else ("FULLY_RANDOM", 0)), snat[
        "summary"
    ]
    assert {rule["standing"] for rule in snat["rules"] if rule["owner"] == "VPC CNI"} == {"UNDECIDED"}
    assert {finding["code"] for finding in snat["findings"]} == {"STALE_RULE_SET"}


@pytest.mark.parametrize(
    ("fault", "verdict", "codes"),
    [
        ("unexpected-snat", "FULLY_RANDOM", {"SNAT_DESPITE_EXTERNAL"}),
        ("missing-snat", "NOT_TRANSLATED", {"SNAT_MISSING"}),
        ("port-exhaustion", "NOT_IN_EFFECT", {"SNAT_RANDOM_NOT_IN_EFFECT", "SNAT_PORTS_EXHAUSTED"}),
    ],
)
def test_what_is_not_as_it_was_set_names_its_cause(lab: Bench, fault: str, verdict: str, codes: set[str]) -> None:
    forget(lab)
    with lab.broken(fault):
        snat = lab.snat("shop/search", "to", OUTSIDE, "--port", "443", "--timeout", "0.5")
    assert (snat["verdict"], snat["exit_code"]) == (verdict, 3), snat["summary"]
    assert {finding["code"] for finding in snat["findings"]} == codes
    assert all(finding["text"] and finding["fix"] and finding["evidence"] for finding in snat["findings"])
