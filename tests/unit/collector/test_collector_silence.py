"""Answers that came back and were not heard, and answers that died where no capture looks."""

from dataclasses import replace
from ipaddress import ip_address

import pytest
from journeys import (
    CART_REDIS,
    CART_TO_REDIS,
    answered,
    datagram,
    decisive,
    entry,
    flow,
    handshake,
    icmp_error,
    question,
    record,
    silent,
    syn,
    syn_ack,
    trace_of,
    travel,
    verdict,
)
from small_cluster import (
    CART,
    HOST_1,
    HOST_2,
    NODE_1,
    NODE_2,
    REDIS,
    filtering,
    node_1,
    node_2,
    route,
    with_routes,
    without_routes,
)

from pathtap.model.request import ProbeOutcome, ProbeReport
from pathtap.model.trace import Witness

NODE_REDIS = flow(HOST_1, REDIS)
CART_NODE_2 = flow(CART, HOST_2, 9100)


def test_an_answer_that_the_pod_itself_swallows_is_no_healthy_trace() -> None:
    trace = trace_of(record(question("shop/cart", "shop/redis", 6379), [silent(CART_REDIS)], handshake()))
    assert verdict(trace) == ("DELIVERED", "ANSWERED", ["ANSWER_NOT_RECEIVED"])
    assert [e.source for e in trace.verdict.findings[0].evidence] == [f"{NODE_1} enicart", f"{NODE_1} probe"]


def test_an_answer_that_the_source_nodes_own_rule_swallows_is_lost() -> None:
    observations = [
        *travel(syn(NODE_REDIS), "1 eth0 out", *CART_TO_REDIS[2:]),
        *travel(syn_ack(NODE_REDIS), "2 eniredis in", "2 eth0 out", "1 eth0 in", start=0.1),
    ]
    asked, swallowing = (
        question(f"node/{NODE_1}", "shop/redis", 6379),
        filtering(node_1(), "input", f"-s {REDIS}/32 -j DROP"),
    )
    entries = [entry("1", NODE_REDIS)]
    of = record(asked, [silent(NODE_REDIS)], observations, entries=entries, snapshots=(swallowing, node_2()))
    assert verdict(trace_of(of)) == ("DELIVERED", "LOST", ["FILTER_DROP"])
    heard = replace(of, reports=(answered(NODE_REDIS),))
    assert verdict(trace_of(heard)) == ("DELIVERED", "ANSWERED", [])


def test_an_icmp_error_that_did_not_come_to_the_source_is_lost() -> None:
    of = flow(CART, REDIS, 6380, protocol=17)
    error = icmp_error(REDIS, of)
    observations = [*travel(datagram(of), *CART_TO_REDIS), *travel(error, "2 eniredis in", "2 eth0 out", start=0.1)]
    asked = question("shop/cart", "shop/redis", 6380, 17)
    assert verdict(trace_of(record(asked, [silent(of)], observations))) == ("DELIVERED", "LOST", ["PORT_UNREACHABLE"])
    told = ProbeReport(outcome=ProbeOutcome.UNREACHABLE, five_tuple=of, detail="Connection refused.")
    home = [*observations, *travel(error, "1 eth0 in", "1 enicart out", start=0.2)]
    assert verdict(trace_of(record(asked, [told], home))) == ("DELIVERED", "ANSWERED", ["PORT_UNREACHABLE"])


def test_an_answer_that_a_nodes_own_rule_keeps_from_leaving_is_lost_there() -> None:
    """conntrack saw it in LOCAL_OUT, before the filter did."""
    seen = travel(syn(CART_NODE_2), *CART_TO_REDIS[:3])
    dropping = filtering(node_2(), "output", "-p tcp -m tcp --sport 9100 -j DROP")
    asked = question("shop/cart", f"node/{NODE_2}", 9100)
    of = record(asked, [silent(CART_NODE_2)], seen, entries=[entry("2", CART_NODE_2)], snapshots=(node_1(), dropping))
    trace = trace_of(of)
    assert verdict(trace) == ("DELIVERED", "LOST", ["FILTER_DROP"])
    assert Witness.RECORDED in [evidence.witness for evidence in trace.verdict.findings[0].evidence]
    assert [(hop.node, hop.ingress, hop.egress) for hop in trace.reply.hops] == [(NODE_2, "", "")]
    assert Witness.OBSERVED not in [witness for step in trace.reply.hops[0].steps for witness in step.witnesses]


def test_a_node_that_never_answered_has_lost_no_answer() -> None:
    unreplied = replace(entry("2", CART_NODE_2), status=frozenset({"CONFIRMED"}))
    seen = travel(syn(CART_NODE_2), *CART_TO_REDIS[:3])
    of = record(question("shop/cart", f"node/{NODE_2}", 9100), [silent(CART_NODE_2)], seen, entries=[unreplied])
    assert verdict(trace_of(of)) == ("DELIVERED", "UNANSWERED", ["NO_ANSWER"])


def test_an_answer_that_goes_round_is_named_a_loop() -> None:
    rounds = [place for _ in range(3) for place in ("1 eth0 in", "1 eth0 out")]
    looping = [
        *travel(syn(CART_REDIS), *CART_TO_REDIS),
        *travel(syn_ack(CART_REDIS), "2 eniredis in", "2 eth0 out", *rounds, start=0.1),
    ]
    astray = with_routes(without_routes(node_1(), CART), route(f"{CART}/32", "eth0", "192.168.1.1"))
    asked = question("shop/cart", "shop/redis", 6379)
    trace = trace_of(record(asked, [silent(CART_REDIS)], looping, snapshots=(astray, node_2())))
    assert verdict(trace) == ("DELIVERED", "LOST", ["ROUTING_LOOP", "POD_ROUTE_MISSING"])


def test_a_packet_that_leaves_the_node_of_its_own_pod_lacks_a_route_to_it() -> None:
    astray = with_routes(without_routes(node_2(), REDIS), route(f"{REDIS}/32", "eth0", "192.168.2.1"))
    seen = travel(syn(CART_REDIS), *CART_TO_REDIS[:3], "2 eth0 out")
    asked = question("shop/cart", "shop/redis", 6379)
    trace = trace_of(record(asked, [silent(CART_REDIS)], seen, snapshots=(node_1(), astray)))
    assert verdict(trace) == ("DROPPED", "NOT_SEEN", ["POD_ROUTE_MISSING"])
    assert [e.witness.value for e in trace.verdict.findings[0].evidence] == ["OBSERVED", "EXPECTED"]


def test_a_source_that_no_eni_owns_is_dropped_by_the_vpc_as_one_that_another_owns() -> None:
    foreign = flow("192.168.7.7", "198.51.100.8", 443)
    asked = question("shop/cart", "198.51.100.8", 443)
    of = record(
        asked, [silent(flow(CART, "198.51.100.8", 443))],
        [*travel(syn(flow(CART, "198.51.100.8", 443)), "1 enicart in", ("1 eth0 out", foreign))],
        entries=[entry("1", flow(CART, "198.51.100.8", 443), source="192.168.7.7:41000")],
    )  # fmt: skip
    trace = trace_of(of)
    assert verdict(trace) == ("DROPPED", "NOT_SEEN", ["SOURCE_NOT_OWNED_BY_ENI"])
    assert "no ENI of the node" in trace.verdict.findings[0].evidence[-1].claim
    assert trace.snat.translated is not None
    assert trace.snat.translated.address == ip_address("192.168.7.7")


@pytest.mark.parametrize(("source", "destination"), [("shop/cart", CART), (f"node/{NODE_1}", HOST_1)])
def test_what_one_sends_to_oneself_is_a_gap_of_lo_and_not_of_a_capture(source: str, destination: str) -> None:
    sender = CART if source == "shop/cart" else HOST_1
    trace = trace_of(record(question(source, destination, 80), [answered(flow(sender, destination, 80))]))
    assert verdict(trace) == ("INSUFFICIENT_EVIDENCE", "NOT_SEEN", [])
    assert decisive(trace) == [(NODE_1, "loopback")]
