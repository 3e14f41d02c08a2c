"""Ip rules: what the VPC CNI writes and what is missing, doubled, left or foreign; and what only looks like it."""

from dataclasses import replace
from ipaddress import ip_address

import pytest
from wired_node import CART, NODE, ORDERS, SEARCH, found, inventory, snapshot, with_link, with_rules

from pathtap.model.address import Address
from pathtap.model.inventory import Pod
from pathtap.model.netfilter import Backend
from pathtap.model.node import CniSettings, NodeSnapshot, Unread
from pathtap.model.trace import Severity


@pytest.mark.parametrize("metadata", [True, False])
@pytest.mark.parametrize(
    ("form", "backend"),
    [("return", Backend.NFT), ("return", Backend.LEGACY), ("jump", Backend.LEGACY), ("native", Backend.NFT)],
)
def test_a_node_as_the_cni_wires_it_has_nothing(form: str, backend: Backend, metadata: bool) -> None:
    assert found(snapshot(form, backend, metadata=metadata)) == {}


@pytest.mark.parametrize(
    ("less", "code", "concerns"),
    [
        ("1024:", "FWMARK_RULE_MISSING", set()),
        (f"to {SEARCH}", "TO_POD_RULE_MISSING", {SEARCH}),
        (f"1536: from {ORDERS}", "FROM_POD_RULE_MISSING", {ORDERS}),
    ],
)
def test_a_rule_that_is_gone_is_missed(less: str, code: str, concerns: set[Address]) -> None:
    defects = found(with_rules(snapshot(), less=less))
    assert set(defects) == {code}
    assert defects[code].concerns == concerns
    assert defects[code].finding.severity is Severity.ERROR
    assert defects[code].finding.fix


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (f"500: from all to {SEARCH} lookup 2", "TO_POD_RULE_OVERRULED"),
        (f"1536: from {SEARCH} lookup main", "FROM_POD_RULE_DUPLICATED"),
        (f"1536: from {CART} lookup 2", "FROM_POD_RULE_STALE"),
        ("1536: from 192.168.1.250 lookup 2", "FROM_POD_RULE_STALE"),
        (f"1000: from {CART} lookup 2", "FOREIGN_IP_RULE"),
        ("30350: from all lookup 30350", "FOREIGN_IP_RULE"),
    ],
)
def test_a_rule_too_many_is_named(line: str, code: str) -> None:
    defects = found(with_rules(snapshot(), line))
    assert set(defects) == {code}
    assert line.replace(":", "", 1) in " ".join(each.claim for each in defects[code].finding.evidence)


def test_tables_are_called_as_ip_rule_prints_them() -> None:
    doubled = found(with_rules(snapshot(), f"1536: from {SEARCH} lookup main"))["FROM_POD_RULE_DUPLICATED"]
    assert "to tables 2 and main:" in doubled.finding.text


def test_what_changes_no_way_and_what_nobody_has_is_but_a_warning() -> None:
    idle = found(with_rules(snapshot(), "30350: from all lookup 30350"))["FOREIGN_IP_RULE"].finding
    left = found(with_rules(snapshot(), "1536: from 192.168.1.250 lookup 2"))["FROM_POD_RULE_STALE"].finding
    assert (idle.severity, left.severity) == (Severity.WARNING, Severity.WARNING)
    assert "nm-cloud-setup" in idle.text
    hurting = found(with_rules(snapshot(), f"1000: from {CART} lookup 2"))["FOREIGN_IP_RULE"]
    assert (hurting.finding.severity, hurting.concerns) == (Severity.ERROR, frozenset({CART}))


@pytest.mark.parametrize(
    "line",
    [
        "10: from all iif vlan.eth.1 lookup 101",
        "10: from all iif vlan0365022ad4d lookup 101",
        "20: from all lookup local",
        "1535: from all to 10.9.0.0/16 lookup main",
        f"1536: from {SEARCH} to 192.168.0.0/16 lookup 2",
        "32765: from 192.168.1.29 lookup 7",
        "10001: from 192.168.1.77 lookup 2",
        "9: from all fwmark 0x200/0xf00 lookup 2004",
    ],
)
def test_what_cnis_and_kernels_write_too_is_no_defect(line: str) -> None:
    assert found(with_rules(snapshot(), line)) == {}


def test_without_node_ports_and_with_external_snat_nobody_needs_the_mark_rule() -> None:
    node = replace(snapshot(), settings=CniSettings(external_snat=True, node_port_support=False), rule_sets=())
    assert found(with_rules(node, less="1024:")) == {}


def test_the_mark_may_be_another() -> None:
    node = with_rules(snapshot(), less="1024:")
    marked = replace(node, settings=CniSettings(connmark=0x100))
    assert "FWMARK_RULE_MISSING" not in found(with_rules(marked, "1024: from all fwmark 0x100/0x100 lookup main"))


def test_whose_an_address_is_nobody_told() -> None:
    assert found(with_rules(snapshot(metadata=False), less=f"1536: from {SEARCH}")) == {}


def test_a_pod_on_its_way_in_or_out_misses_nothing_and_leaves_nothing() -> None:
    cluster = inventory()
    address = ip_address("192.168.1.250")
    coming = Pod(namespace="shop", name="new", uid="n", node=NODE, phase="Pending", addresses=(address,))
    going = replace(coming, name="old", phase="Running", deleting=True, addresses=(ip_address("192.168.1.251"),))
    more = replace(cluster, pods={**cluster.pods, coming.key: coming, going.key: going})
    node = with_rules(snapshot(), "1536: from 192.168.1.250 lookup 2", "1536: from 192.168.1.251 lookup 2")
    assert found(node, more) == {}


def test_a_branch_eni_has_rules_and_tables_of_its_own() -> None:
    strict = with_link(snapshot(), "eth1", eni_addresses=())
    node = with_rules(strict, f"1536: from {SEARCH} lookup 101", less=f"1536: from {SEARCH}")
    assert found(node) == {}


@pytest.mark.parametrize("part", ["rules", "routes", "nat (iptables-nft)"])
def test_what_was_not_read_is_not_missed(part: str) -> None:
    node: NodeSnapshot = with_rules(snapshot(), less="1024:")
    assert found(replace(node, unread=(Unread(part=part, reason="refused"),))) == {}


def test_what_a_rule_changes_is_shown_of_packets_as_the_node_marks_them() -> None:
    """What leaves the VPC goes by its mark before any rule of 1100 is asked."""
    astray = found(with_rules(snapshot(), f"1100: from {SEARCH} lookup main"))["FOREIGN_IP_RULE"].finding
    claims = [evidence.claim for evidence in astray.evidence[1:]]
    assert claims
    assert all("without it rule 1536" in claim and "rule rule" not in claim for claim in claims)
    assert not any("198.51.100" in claim or "203.0.113" in claim for claim in claims)
