"""`explain`: the way that the nodes' configuration has, told as a trace of which nothing was observed."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from journeys import CART_REDIS, answered, flow, handshake, question, record, silent, trace_of
from scripted_agent import ScriptedAgent, always, serving
from small_cluster import (
    CART,
    HOST_1,
    INTERNET,
    NODE_1,
    NODE_2,
    ORDERS,
    REDIS,
    SEARCH,
    WEB,
    cluster,
    filtering,
    node_1,
    node_2,
    without_routes,
)

from pathtap.collector.foreseeing.foretell import foretell
from pathtap.collector.foreseeing.halting import halt, halted
from pathtap.collector.foreseeing.prospect import prospect_of
from pathtap.collector.foreseeing.ways import fabric_of, way
from pathtap.collector.inspections import Defect
from pathtap.forwarding.node import NodeModel
from pathtap.model.node import NodeSnapshot, RouteAnswer, Unread
from pathtap.model.request import (
    CaptureRequest,
    Failure,
    LookupReport,
    LookupRequest,
    ProbeRequest,
    ReadSnapshot,
)
from pathtap.model.trace import Action, Finding, Severity, Witness
from pathtap.v1 import service_pb2, trace_pb2

W, V = trace_pb2.Step.Witness, trace_pb2.Verdict


def asked(source: str, destination: str, **fields: Any) -> service_pb2.TraceRequest:
    return service_pb2.TraceRequest(source=source, destination=destination, **fields)


def explain(
    request: service_pb2.TraceRequest,
    directory: Path,
    agents: Mapping[str, ScriptedAgent],
) -> trace_pb2.Trace:
    """By way of a real collector, whose agents answer as they are told."""

    async def call() -> trace_pb2.Trace:
        async with AsyncExitStack() as stack:
            bench = await stack.enter_async_context(serving(directory, cluster()))
            for agent in agents.values():
                await stack.enter_async_context(agent.connected(bench.address))
                await bench.agent(agent.node)
            responses = [each async for each in bench.client.Explain(request, timeout=10)]
            assert all(each.progress for each in responses[:-1])
            return responses[-1].trace

    return asyncio.run(call())


def agents_of(*snapshots: NodeSnapshot, **reactions: Any) -> dict[str, ScriptedAgent]:
    return {each.node: ScriptedAgent(each, **reactions) for each in snapshots or (node_1(), node_2())}


def codes(trace: trace_pb2.Trace) -> list[str]:
    return [finding.code for finding in trace.verdict.findings]


def hops(path: trace_pb2.Path) -> list[tuple[str, str, str]]:
    return [(hop.node, hop.ingress, hop.egress) for hop in path.hops]


def test_there_and_back_with_nothing_sent_and_nothing_captured(tmp_path: Path) -> None:
    agents = agents_of()
    trace = explain(asked("shop/cart", "shop/redis", port=6379), tmp_path, agents)
    assert (trace.verdict.disposition, trace.verdict.reply) == (V.DELIVERED, V.ANSWERED)
    assert hops(trace.forward) == [(NODE_1, "enicart", "eth0"), (NODE_2, "eth0", "eniredis")]
    assert hops(trace.reply) == [(NODE_2, "eniredis", "eth0"), (NODE_1, "eth0", "enicart")]
    assert trace.egress.rule == "32766 from all lookup main"
    assert not trace.HasField("round_trip_us")
    for agent in agents.values():
        assert not agent.of(CaptureRequest)
        assert not agent.of(ProbeRequest)


def test_every_statement_is_expected_or_assumed_and_no_port_is_foretold(tmp_path: Path) -> None:
    trace = explain(asked("shop/search", INTERNET, port=443), tmp_path, agents_of())
    steps = [step for path in (trace.forward, trace.reply) for hop in path.hops for step in hop.steps]
    assert {witness for step in steps for witness in step.witnesses} == {W.EXPECTED, W.ASSUMED}
    assert all(step.evidence and not step.HasField("at") for step in steps)
    assert (trace.verdict.disposition, trace.verdict.reply) == (V.LEFT_CLUSTER, V.ANSWERED)
    assert (trace.snat.original.address, trace.snat.original.port) == (SEARCH, 0)
    assert (trace.snat.translated.address, trace.snat.translated.port) == (HOST_1, 0)
    assert (trace.snat.applied, trace.snat.rule.random, trace.snat.conntrack) == (True, "fully", "")
    assert trace.egress.rule == "1024 from all fwmark 0x80/0x80 lookup main"
    (snat,) = [step for step in trace.forward.hops[0].steps if step.action == trace_pb2.Step.TRANSLATED]
    assert "the port is not predicted: chosen at random of 1024 to 65535" in [each.claim for each in snat.evidence]


def test_a_service_names_its_backends_and_follows_the_first(tmp_path: Path) -> None:
    trace = explain(asked("shop/cart", "svc/shop/web"), tmp_path, agents_of())
    assert (trace.dnat.applied, trace.dnat.service, trace.dnat.backend_pod) == (True, "shop/web", "shop/web")
    (dnat,) = [step for step in trace.forward.hops[0].steps if step.action == trace_pb2.Step.TRANSLATED]
    chances = f"by chance one of {WEB}:8080, {ORDERS}:8080; followed is {WEB}:8080"
    assert chances in [each.claim for each in dnat.evidence]


def test_a_backend_that_only_some_connections_reach_is_looked_at_too(tmp_path: Path) -> None:
    broken = filtering(node_2(), "forward", f"-d {ORDERS}/32 -j DROP")
    trace = explain(asked("shop/cart", "svc/shop/web"), tmp_path, agents_of(node_1(), broken))
    assert (trace.verdict.disposition, codes(trace)) == (V.DELIVERED, ["FILTER_DROP"])


def test_what_stops_the_packet_is_said_in_the_conditional(tmp_path: Path) -> None:
    broken = without_routes(node_2(), REDIS)
    trace = explain(asked("shop/cart", "shop/redis", port=6379), tmp_path, agents_of(node_1(), broken))
    assert (trace.verdict.disposition, trace.verdict.reply) == (V.DROPPED, V.NOT_SEEN)
    assert codes(trace) == ["POD_ROUTE_MISSING"]
    assert "would not reach" in trace.verdict.summary
    rejecting = filtering(node_2(), "forward", "-p tcp -m tcp --sport 6379 -j REJECT")
    trace = explain(asked("shop/cart", "shop/redis", port=6379), tmp_path, agents_of(node_1(), rejecting))
    assert (trace.verdict.disposition, trace.verdict.reply) == (V.DELIVERED, V.LOST)
    assert trace.reply.hops[-1].steps[-1].action == trace_pb2.Step.REJECTED


def test_the_kernel_is_asked_for_its_own_lookup(tmp_path: Path) -> None:
    answer = RouteAnswer(table=254, interface="eth0", route="default via 192.168.1.1 dev eth0")
    agents = {NODE_1: ScriptedAgent(node_1(), {LookupRequest: always(LookupReport(routes=(answer,)))})}
    trace = explain(asked("node/" + NODE_1, INTERNET, port=443), tmp_path, agents)
    claims = [each.claim for step in trace.forward.hops[0].steps for each in step.evidence]
    assert any(claim.startswith("the kernel's own lookup says default via 192.168.1.1") for claim in claims)
    requests = agents[NODE_1].of(LookupRequest)
    assert [(r.tuples, r.addresses) for r in requests if isinstance(r, LookupRequest)] == [((), ())]


def test_the_pods_at_both_ends_are_looked_into(tmp_path: Path) -> None:
    agents = agents_of()
    explain(asked("shop/cart", "shop/redis", port=6379), tmp_path, agents)
    read = [command.interiors for agent in agents.values() for command in agent.of(ReadSnapshot)]  # type: ignore[union-attr]
    assert read == [(ip_address(CART),), (ip_address(REDIS),)]


def test_a_node_without_an_agent_decides_where_the_way_leads_there(tmp_path: Path) -> None:
    trace = explain(asked("shop/cart", "shop/redis", port=6379), tmp_path, agents_of(node_1()))
    assert trace.verdict.disposition == V.INSUFFICIENT_EVIDENCE
    assert any(gap.node == NODE_2 and gap.part == "agent" and gap.decisive for gap in trace.verdict.gaps)
    assert hops(trace.forward) == [(NODE_1, "enicart", "eth0")]
    nobody = explain(asked("shop/cart", "shop/redis", port=6379), tmp_path, {})
    assert nobody.verdict.disposition == V.INSUFFICIENT_EVIDENCE
    assert not nobody.forward.hops
    assert NODE_1 in nobody.verdict.summary


def test_a_snapshot_that_failed_is_a_gap(tmp_path: Path) -> None:
    failing = ScriptedAgent(node_2(), {ReadSnapshot: always(Failure(reason="out of memory"))})
    agents = {NODE_1: ScriptedAgent(node_1()), NODE_2: failing}
    trace = explain(asked("shop/cart", "shop/redis", port=6379), tmp_path, agents)
    assert any(gap.node == NODE_2 and "out of memory" in gap.why and gap.decisive for gap in trace.verdict.gaps)


def test_what_cannot_be_evaluated_decides_only_where_it_makes_a_difference(tmp_path: Path) -> None:
    fancy = filtering(node_1(), "forward", "-p udp -m fancy --thing 1 -j DROP")
    trace = explain(asked("shop/cart", "shop/redis", port=6379), tmp_path, agents_of(fancy, node_2()))
    assert (trace.verdict.disposition, list(trace.verdict.gaps)) == (V.DELIVERED, [])
    fancy = filtering(node_1(), "forward", "-p tcp -m fancy --thing 1 -j DROP")
    trace = explain(asked("shop/cart", "shop/redis", port=6379), tmp_path, agents_of(fancy, node_2()))
    assert trace.verdict.disposition == V.INSUFFICIENT_EVIDENCE
    (gap,) = trace.verdict.gaps
    assert (gap.node, gap.part, gap.decisive) == (NODE_1, "expectation", True)
    assert "fancy" in gap.why
    assert "fancy" in trace.verdict.summary


def test_what_was_not_read_of_a_node_is_a_gap_that_decides_nothing_by_itself(tmp_path: Path) -> None:
    partly = replace(node_2(), unread=(Unread(part="imds", reason="no answer"),))
    trace = explain(asked("shop/cart", "shop/redis", port=6379), tmp_path, agents_of(node_1(), partly))
    assert [(gap.node, gap.part, gap.decisive) for gap in trace.verdict.gaps] == [(NODE_2, "imds", False)]
    assert trace.verdict.disposition == V.DELIVERED


def test_an_address_may_be_the_source_since_nothing_is_sent(tmp_path: Path) -> None:
    trace = explain(asked(INTERNET, "shop/orders", port=8080), tmp_path, agents_of())
    assert (trace.verdict.disposition, trace.verdict.reply) == (V.DELIVERED, V.ANSWERED)
    assert hops(trace.forward) == [(NODE_2, "eth1", "eniorders")]
    assert trace.forward.hops[0].steps[0].witnesses == [W.ASSUMED]
    trace = explain(asked(CART, "shop/redis", port=6379), tmp_path, agents_of())
    assert (trace.source.name, hops(trace.forward)[0]) == ("shop/cart", (NODE_1, "enicart", "eth0"))


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (asked("svc/shop/web", "shop/cart"), "a service sends nothing"),
        (asked("shop/cart", "shop/redis", protocol=6), "--port N"),
        (asked("shop/cart", "example.com"), "DNS name"),
    ],
)
def test_refusals_are_sentences(request_: service_pb2.TraceRequest, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        explain(request_, tmp_path, {})
    assert sentence in (refused.value.details() or "")


def test_a_trace_has_the_expected_way_beside_what_was_seen_with_the_ports_that_were_used() -> None:
    trace = trace_of(record(question("shop/cart", "shop/redis", 6379), [answered(CART_REDIS)], handshake()))
    forward, reply = trace.expected_forward, trace.expected_reply
    assert [(hop.node, hop.ingress, hop.egress) for hop in forward.hops] == [
        (NODE_1, "enicart", "eth0"),
        (NODE_2, "eth0", "eniredis"),
    ]
    assert forward.hops[0].steps[0].after == CART_REDIS
    assert reply.hops[-1].steps[-1].after == CART_REDIS.reversed
    assert {w for hop in (*forward.hops, *reply.hops) for s in hop.steps for w in s.witnesses} == {
        Witness.EXPECTED,
        Witness.ASSUMED,
    }


def test_beside_a_trace_the_port_is_lost_at_snat_and_found_again_on_the_way_back() -> None:
    outward = flow(SEARCH, INTERNET, 443)
    trace = trace_of(record(question("shop/search", INTERNET, 443), [silent(outward)]))
    steps = trace.expected_forward.hops[0].steps
    left = next(step for step in steps if step.action is Action.FORWARDED)
    assert left.before == outward
    assert left.after == flow(HOST_1, INTERNET, 443, source_port=0)
    assert trace.expected_reply.hops[0].steps[-1].after == outward.reversed


def test_beside_a_trace_whose_source_was_not_read_nothing_is_expected() -> None:
    trace = trace_of(record(question("shop/cart", "shop/redis", 6379), [silent(CART_REDIS)], snapshots=[node_2()]))
    assert trace.expected_forward.hops == ()


def with_table_full(snapshot: NodeSnapshot) -> NodeSnapshot:
    full = {"net.netfilter.nf_conntrack_count": "1000", "net.netfilter.nf_conntrack_max": "1000"}
    return replace(snapshot, sysctls={**snapshot.sysctls, **full})


def test_the_way_ends_where_new_connections_are_dropped(tmp_path: Path) -> None:
    agents = agents_of(node_1(), with_table_full(node_2()))
    trace = explain(asked("shop/cart", "shop/redis", port=6379), tmp_path, agents)
    assert (trace.verdict.disposition, trace.verdict.reply) == (V.DROPPED, V.NOT_SEEN)
    assert codes(trace) == ["CONNTRACK_TABLE_FULL"]
    assert hops(trace.forward) == [(NODE_1, "enicart", "eth0"), (NODE_2, "eth0", "")]
    assert [step.action for step in trace.forward.hops[-1].steps] == [trace_pb2.Step.RECEIVED, trace_pb2.Step.DROPPED]
    assert not trace.reply.hops
    assert f"the way ends on {NODE_2}" in trace.verdict.summary


def test_the_way_ends_on_the_first_node_whose_table_is_full_and_the_rest_would_also_stop_it(tmp_path: Path) -> None:
    agents = agents_of(with_table_full(node_1()), filtering(node_2(), "forward", "-j DROP"))
    trace = explain(asked("shop/cart", "shop/redis", port=6379), tmp_path, agents)
    assert codes(trace) == ["CONNTRACK_TABLE_FULL", "FILTER_DROP"]
    assert hops(trace.forward) == [(NODE_1, "enicart", "")]
    assert f"the way ends on {NODE_1}" in trace.verdict.summary
    assert "would also drop" in trace.verdict.findings[1].text


@pytest.mark.parametrize(
    ("code", "forward", "last"),
    [
        ("GATEWAY_NEIGHBOUR_STALE", [(NODE_1, "enicart", "")], Action.DROPPED),
        ("POD_NEIGHBOUR_STALE", [(NODE_1, "enicart", "eth0"), (NODE_2, "eth0", "eniredis")], Action.DROPPED),
    ],
)
def test_a_stale_mac_ends_the_way_at_its_pod(code: str, forward: list[tuple[str, str, str]], last: Action) -> None:
    known, models = cluster(), {each.node: NodeModel(each) for each in (node_1(), node_2())}
    asks = question("shop/cart", "shop/redis", 6379)
    found = way(asks, fabric_of(models, known), CART_REDIS)
    assert found is not None
    prospect = prospect_of(found, fabric_of(models, known), port_known=False)
    pod = CART if code.startswith("GATEWAY") else REDIS
    finding = Finding(code=code, severity=Severity.ERROR, node=NODE_1, text="")
    defect = Defect(finding=finding, concerns=frozenset({ip_address(pod)}))
    stop = halt([defect], prospect.forward, arrives=True, opens=True)
    path = halted(foretell(prospect)[0], stop)
    assert [(hop.node, hop.ingress, hop.egress) for hop in path.hops] == forward
    assert path.hops[-1].steps[-1].action is last
    assert Action.DELIVERED not in [step.action for step in path.hops[-1].steps]


def test_what_a_pod_sends_to_itself_is_not_led_over_its_veth(tmp_path: Path) -> None:
    trace = explain(asked("shop/cart", "shop/cart", port=80), tmp_path, agents_of())
    assert trace.verdict.disposition == V.INSUFFICIENT_EVIDENCE
    assert not trace.forward.hops
    (gap,) = [gap for gap in trace.verdict.gaps if gap.decisive]
    assert (gap.node, gap.part) == (NODE_1, "loopback")
    assert "passes by its own lo" in trace.verdict.summary
