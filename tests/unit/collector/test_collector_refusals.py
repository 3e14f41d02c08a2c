"""Who refuses a packet: an ip rule without a route, and a node's own kernel that does not even send its probe."""

from dataclasses import replace
from ipaddress import ip_network

import pytest
from journeys import CART_REDIS, decisive, icmp_error, question, record, silent, syn, trace_of, travel, verdict
from small_cluster import NODE_1, REDIS, filtering, node_1, node_2, rule, with_routes, without_routes
from small_cluster import route as route_of

from pathtap.model.node import NodeSnapshot, RuleAction
from pathtap.model.request import ProbeOutcome, ProbeReport
from pathtap.model.trace import Trace

FAILED = ProbeReport(
    outcome=ProbeOutcome.FAILED, sent_at=1, detail="The probe could not be sent: Operation not permitted."
)


def with_rule(snapshot: NodeSnapshot, action: RuleAction) -> NodeSnapshot:
    refusing = rule(f"100 from all to {REDIS} {action.value}", destination=ip_network(REDIS), action=action)
    return replace(snapshot, rules=(refusing, *snapshot.rules))


@pytest.mark.parametrize(
    ("action", "disposition"),
    [(RuleAction.PROHIBIT, "REJECTED"), (RuleAction.UNREACHABLE, "REJECTED"), (RuleAction.BLACKHOLE, "DROPPED")],
)
def test_an_ip_rule_that_refuses_is_named_and_is_no_missing_route(action: RuleAction, disposition: str) -> None:
    seen = travel(syn(CART_REDIS), "1 enicart in")
    if action is not RuleAction.BLACKHOLE:
        seen += travel(icmp_error("192.168.1.29", CART_REDIS), "1 enicart out", start=0.1)
    snapshots = (with_rule(node_1(), action), node_2())
    trace = trace_of(record(question("shop/cart", "shop/redis", 6379), [silent(CART_REDIS)], seen, snapshots=snapshots))
    assert verdict(trace) == (disposition, "NOT_SEEN", [f"{action.value.upper()}_ROUTE"])
    (finding,) = trace.verdict.findings
    assert f"100 from all to {REDIS} {action.value}" in finding.text
    assert finding.fix == f"on {NODE_1}: ip rule del priority 100 from all to {REDIS} {action.value}"


def unsent(snapshot: NodeSnapshot) -> Trace:
    """A node's probe that its own kernel refused to send: no tuple, no packet."""
    asked = question(f"node/{NODE_1}", "shop/redis", 7, protocol=17)
    return trace_of(record(asked, [FAILED], snapshots=(snapshot, node_2())))


def test_a_filter_rule_that_keeps_a_nodes_datagram_from_being_sent_is_the_cause() -> None:
    trace = unsent(filtering(node_1(), "output", f"-d {REDIS}/32 -j DROP"))
    assert verdict(trace) == ("DROPPED", "NOT_SEEN", ["FILTER_DROP"])
    assert decisive(trace) == []
    assert [evidence.witness.value for evidence in trace.verdict.findings[0].evidence] == ["EXPECTED", "OBSERVED"]


def test_a_node_without_a_route_has_none_though_nothing_was_sent() -> None:
    trace = unsent(without_routes(node_1(), "default"))
    assert verdict(trace) == ("NO_ROUTE", "NOT_SEEN", ["NO_ROUTE_TO_DESTINATION"])
    assert trace.egress is None


def test_a_prohibit_route_answers_the_node_itself() -> None:
    trace = unsent(with_routes(node_1(), route_of(f"{REDIS}/32", kind="prohibit")))
    assert verdict(trace) == ("REJECTED", "NOT_SEEN", ["PROHIBIT_ROUTE"])


def test_a_probe_that_failed_for_no_reason_of_the_nodes_rules_stays_a_gap() -> None:
    trace = unsent(node_1())
    assert verdict(trace) == ("INSUFFICIENT_EVIDENCE", "NOT_SEEN", [])
    assert decisive(trace) == [(NODE_1, "probe")]
    assert trace.forward.hops == ()


def test_a_pods_failure_says_nothing_of_its_nodes_rules() -> None:
    asked = question("shop/cart", "shop/redis", 7, protocol=17)
    snapshots = (filtering(node_1(), "forward", "-j DROP"), node_2())
    trace = trace_of(record(asked, [FAILED], snapshots=snapshots))
    assert verdict(trace)[0] == "INSUFFICIENT_EVIDENCE"


def test_forwarding_that_is_switched_off_is_named() -> None:
    deaf = replace(node_2(), sysctls={"net.ipv4.ip_forward": "0"})
    seen = travel(syn(CART_REDIS), "1 enicart in", "1 eth0 out", "2 eth0 in")
    asked = question("shop/cart", "shop/redis", 6379)
    trace = trace_of(record(asked, [silent(CART_REDIS)], seen, snapshots=(node_1(), deaf)))
    assert verdict(trace) == ("DROPPED", "NOT_SEEN", ["FORWARDING_DISABLED"])
    assert "net.ipv4.ip_forward=1" in trace.verdict.findings[0].fix


def test_a_policy_is_mended_as_a_policy() -> None:
    snapshot = filtering(node_1(), "forward")
    table = snapshot.rule_sets[-1]
    dropping = replace(table, chains=(replace(table.chains[0], policy="DROP"),))
    snapshot = replace(snapshot, rule_sets=(*snapshot.rule_sets[:-1], dropping))
    seen = travel(syn(CART_REDIS), "1 enicart in")
    asked = question("shop/cart", "shop/redis", 6379)
    trace = trace_of(record(asked, [silent(CART_REDIS)], seen, snapshots=(snapshot, node_2())))
    assert verdict(trace) == ("DROPPED", "NOT_SEEN", ["FILTER_DROP"])
    assert trace.verdict.findings[0].fix == f"on {NODE_1}: iptables-nft -t filter -P FORWARD ACCEPT"
