"""A check over snapshots: which nodes, one finding for each cause, what was left out, what could not be read."""

from dataclasses import replace
from ipaddress import ip_network

import pytest
from wired_node import CART, NODE, SEARCH, inventory, snapshot, view, with_rules

from pathtap.collector.check import judge, nodes_to_check
from pathtap.collector.cluster.resolve import UnknownName
from pathtap.collector.foreseeing.sampling import MOST_OF_NODE, MOST_PREDICTIONS, sample, share
from pathtap.forwarding.fabric import Fabric
from pathtap.model.node import MAIN_TABLE, NextHop, NodeSnapshot, PodInterior, Role, Route, Unread
from pathtap.model.trace import Severity


def with_forward_rule(node: NodeSnapshot, text: str) -> NodeSnapshot:
    sets = []
    for of in node.rule_sets:
        chains = [
            replace(each, rules=(replace(each.rules[0], text=text), *each.rules)) if each.name == "FORWARD" else each
            for each in of.chains
        ]
        sets.append(replace(of, chains=tuple(chains)))
    return replace(node, rule_sets=tuple(sets))


def codes(*nodes: NodeSnapshot) -> list[str]:
    names = tuple(node.node for node in nodes)
    return [each.code for each in judge(names, {node.node: node for node in nodes}, inventory()).findings]


def test_a_healthy_node_has_nothing_and_its_packets_were_walked() -> None:
    judged = judge((NODE,), {NODE: snapshot()}, inventory())
    assert (judged.findings, judged.gaps) == ((), ())
    assert (judged.nodes[0].read, judged.nodes[0].pods) == (True, 3)
    assert judged.nodes[0].predictions > 5


def test_what_stops_many_packets_is_named_once_and_names_its_rule() -> None:
    node = with_forward_rule(snapshot(), f"-d {CART}/32 -j DROP")
    (finding,) = judge((NODE,), {NODE: node}, inventory()).findings
    assert finding.code == "FILTER_DROP"
    assert f"-d {CART}/32 -j DROP" in finding.text


def test_two_causes_are_two_findings_and_consequences_none() -> None:
    node = with_forward_rule(with_rules(snapshot(), less="1024:"), f"-d {CART}/32 -j REJECT")
    assert codes(node) == ["FILTER_REJECT", "FWMARK_RULE_MISSING"]


def test_a_source_that_no_inspection_explains_is_found_by_a_sample() -> None:
    node = snapshot()
    sets = tuple(
        replace(of, chains=tuple(replace(each, rules=tuple(
            replace(rule, text=rule.text.replace("--to-source 192.168.1.29", "--to-source 192.168.1.77"))
            for rule in each.rules
        )) for each in of.chains))
        for of in node.rule_sets
    )  # fmt: skip
    assert codes(replace(node, rule_sets=sets)) == ["SOURCE_NOT_OWNED_BY_ENI"]


@pytest.mark.parametrize(("less", "expected"), [("\n", False), ("AWS, SNAT", True)])
def test_a_pods_way_out_by_egress_cni_is_walked_to_where_it_is_translated(less: str, expected: bool) -> None:
    node = snapshot()
    given = ip_network("169.254.172.2")
    veth = next(each for each in node.interfaces if each.role is Role.POD_VETH)
    second = replace(veth, index=90, name="vethegress", pod_addresses=(given.network_address,))
    hops = (NextHop(interface="vethegress"),)
    route = Route(family=4, table=MAIN_TABLE, destination=given, next_hops=hops, text=f"{given} dev vethegress")
    sets = tuple(
        replace(of, chains=tuple(
            replace(each, rules=tuple(rule for rule in each.rules if less not in rule.text)) for each in of.chains
        ))
        for of in node.rule_sets
    )  # fmt: skip
    node = replace(node, interfaces=(*node.interfaces, second), routes=(*node.routes, route), rule_sets=sets)
    seen = view(node)
    sampled = sample(seen, Fabric({NODE: seen.model}), inventory(), (), MOST_OF_NODE)
    claims = [proof.claim for each in sampled.findings for proof in each.evidence]
    assert any(f"{given.network_address} belongs to no ENI" in claim for claim in claims) == expected


def test_errors_come_before_warnings() -> None:
    node = with_rules(snapshot(), "1536: from 192.168.1.250 lookup 2", f"1000: from {CART} lookup 2")
    judged = judge((NODE,), {NODE: node}, inventory())
    assert [each.severity for each in judged.findings] == [Severity.ERROR, Severity.WARNING]


def test_a_node_that_was_not_read_is_listed_as_such() -> None:
    judged = judge((NODE, "node-2"), {NODE: snapshot()}, inventory())
    assert [(each.node, each.read) for each in judged.nodes] == [(NODE, True), ("node-2", False)]


def test_what_was_not_read_of_a_node_is_a_gap_and_decides_where_hardly_anything_is_left() -> None:
    refused = Unread(part="interior", reason="gone")
    node = replace(
        snapshot(),
        unread=(Unread(part="rules", reason="refused"), Unread(part="imds", reason="silent")),
        interiors=tuple(PodInterior(address=pod, unread=(refused,)) for pod in (CART, SEARCH)),
    )
    judged = judge((NODE,), {NODE: node}, inventory())
    told = {gap.part: (gap.decisive, gap.why) for gap in judged.gaps if gap.part != "expectation"}
    assert told["rules"] == (True, "refused")
    assert told["imds"] == (False, "silent")
    assert told["interior"][1].startswith("2 pods could not be looked into")
    assert judged.findings == ()


def test_predictions_are_bounded_and_what_is_left_out_is_told() -> None:
    looked = view(snapshot())
    sampled = sample(looked, Fabric({NODE: looked.model}), inventory(), (), 4)
    assert 4 <= sampled.predictions < 12
    assert sampled.left_out > 0
    assert share(1) == MOST_PREDICTIONS
    assert share(5000) == MOST_OF_NODE


def test_nodes_are_those_named_else_all_that_are_known() -> None:
    assert nodes_to_check((), ("node-9",), inventory()) == (NODE, "node-9")
    assert nodes_to_check((NODE, NODE), (), inventory()) == (NODE,)
    with pytest.raises(UnknownName, match=r"there is no node node-7; did you mean node-1\?"):
        nodes_to_check(("node-7",), (), inventory())
    with pytest.raises(UnknownName, match=f"there is no node zzz; the nodes are {NODE}$"):
        nodes_to_check(("zzz",), (), inventory())
    with pytest.raises(UnknownName, match=r"a1, a2, .*, a8 and 2 more$"):
        nodes_to_check(("zzz",), [f"a{number}" for number in range(1, 10)], inventory())


def test_a_node_that_forwards_nothing_is_named_once_and_not_for_each_interface() -> None:
    node = snapshot()
    deaf = replace(node, sysctls={**node.sysctls, "net.ipv4.ip_forward": "0"})
    found = judge((NODE,), {NODE: deaf}, inventory()).findings
    assert [each.code for each in found].count("FORWARDING_DISABLED") == 1
