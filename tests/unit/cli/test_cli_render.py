from collections.abc import Callable

import pytest

from pathtap.cli.render.flows import flow_lines
from pathtap.cli.render.nodes import node_lines
from pathtap.cli.render.page import Line, Style, cells, paint
from pathtap.cli.render.trace import trace_lines
from pathtap.v1 import node_pb2, service_pb2, trace_pb2

TRACES = (
    "trace-outside",
    "trace-pod",
    "trace-service",
    "trace-dropped",
    "trace-lost-in-vpc",
    "trace-no-agent",
    "trace-refused-ipv6",
)
Golden = Callable[[str, list[Line]], None]
ATrace = Callable[[str], trace_pb2.Trace]


def text_of(lines: list[Line]) -> str:
    return "\n".join(paint(line, colour=False) for line in lines)


def test_a_loss_of_which_nobody_knows_the_count_is_no_loss_of_none() -> None:
    """docs/wire.md, Loss: the count is 0 because how many it would have been is not known."""
    losses = [service_pb2.NodeStatus.Loss(where=where, count=count) for where, count in (("limit", 0), ("spool", 3))]
    node = service_pb2.NodeStatus(node="n", connected=True, losses=losses)
    lines = node_lines(service_pb2.ListNodesResponse(nodes=[node]), 100)
    text = "\n".join(paint(line, colour=False) for line in lines)
    assert "an unknown number at limit" in text
    assert "3 at spool" in text


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", TRACES)
def test_traces_as_a_person_reads_them(name: str, width: int, a_trace: ATrace, golden: Golden) -> None:
    golden(f"{name}.{width}", trace_lines(a_trace(name), width))


@pytest.mark.parametrize("width", [80, 120])
def test_every_statement_is_printed_on_demand(width: int, a_trace: ATrace, golden: Golden) -> None:
    golden(f"trace-outside.evidence.{width}", trace_lines(a_trace("trace-outside"), width, every_statement=True))


@pytest.mark.parametrize("width", [80, 120])
def test_flows_as_a_person_reads_them(width: int, busy_flows: trace_pb2.Flows, golden: Golden) -> None:
    golden(f"flows-busy.{width}", flow_lines(busy_flows, width))


@pytest.mark.parametrize("width", [80, 120])
def test_nodes_as_a_person_reads_them(width: int, two_nodes: service_pb2.ListNodesResponse, golden: Golden) -> None:
    golden(f"nodes-two.{width}", node_lines(two_nodes, width))


@pytest.mark.parametrize("width", range(80, 121))
def test_no_line_is_wider_than_the_terminal(
    width: int, a_trace: ATrace, busy_flows: trace_pb2.Flows, two_nodes: service_pb2.ListNodesResponse
) -> None:
    pages = [trace_lines(a_trace(name), width) for name in TRACES]
    pages += [flow_lines(busy_flows, width), node_lines(two_nodes, width)]
    too_wide = [paint(line, colour=False) for page in pages for line in page if cells(line) > width]
    assert not [line for line in too_wide if len(line) > width]


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_long_rule_wraps_and_nothing_of_it_is_lost(width: int, a_trace: ATrace) -> None:
    trace = a_trace("trace-outside")
    words = [f"--word{number}" for number in range(60)] + ["x" * 300]
    trace.snat.rule.text = " ".join(words)
    text = text_of(trace_lines(trace, width))
    assert all(word in text for word in words[:60])
    assert text.replace("\n", "").replace(" ", "").count("x" * 300) == 1


def test_colour_adds_nothing_but_sgr(a_trace: ATrace) -> None:
    for line in trace_lines(a_trace("trace-dropped"), 100):
        coloured = paint(line, colour=True)
        for style in ("0", "1", "2", "36", "1;31", "1;32", "1;33", "1;36"):
            coloured = coloured.replace(f"\x1b[{style}m", "")
        assert coloured.rstrip() == paint(line, colour=False)


def test_an_empty_trace_says_that_there_is_no_verdict() -> None:
    assert text_of(trace_lines(trace_pb2.Trace(), 80)).split("\n") == [
        "? ─▶ ?" + " " * (80 - len("? ─▶ ?") - len("NO VERDICT")) + "NO VERDICT"
    ]


def test_nat_and_egress_that_no_step_tells_are_told_after_the_path(a_trace: ATrace) -> None:
    trace = a_trace("trace-outside")
    del trace.forward.hops[0].steps[1:-1]
    text = text_of(trace_lines(trace, 120))
    assert "snat   192.168.1.116:41874 → 192.168.1.29:50712" in text
    assert "by nat AWS-SNAT-CHAIN-0 #2 (iptables-nft, random fully)" in text
    assert "conntrack tcp SYN_RECV src=192.168.1.116" in text
    assert "egress eth0, eni-0a1f5b7c9d2e4f601, table main, 1024 from all fwmark 0x80/0x80 lookup main" in text


def test_icmp_identifiers_are_shown_before_and_after_snat(a_trace: ATrace) -> None:
    trace = a_trace("trace-outside")
    trace.protocol = trace.five_tuple.protocol = "icmp"
    for step in trace.forward.hops[0].steps:
        step.before.protocol = step.after.protocol = "icmp"
    text = text_of(trace_lines(trace, 120))
    assert "snat   192.168.1.116 id 41874 → 192.168.1.29 id 50712" in text


def test_wide_names_keep_the_right_edge(a_trace: ATrace) -> None:
    trace = a_trace("trace-pod")
    trace.forward.hops[0].steps[0].interface = "名前"
    sightings = [line for line in trace_lines(trace, 120) if paint(line, colour=False).endswith("observed")]
    edges = {cells(line) for line in sightings}
    assert len(edges) == 1


def test_flows_that_were_not_seen_are_said_to_be_none() -> None:
    flows = trace_pb2.Flows(source=trace_pb2.Target(kind=trace_pb2.Target.POD, name="shop/cart", address="192.168.1.7"))
    assert text_of(flow_lines(flows, 80)).endswith("no flow was seen")


def test_no_node_is_said_to_be_none() -> None:
    assert text_of(node_lines(service_pb2.ListNodesResponse(), 80)).startswith("No node")


@pytest.mark.parametrize("code", ["CONNECTION_REFUSED", "PORT_UNREACHABLE"])
@pytest.mark.parametrize("name", ["trace-pod", "trace-outside"])
def test_a_refusal_is_not_called_an_answer(code: str, name: str, a_trace: ATrace) -> None:
    trace = a_trace(name)
    assert ", answered in " in text_of(trace_lines(trace, 120)).splitlines()[0]
    trace.verdict.findings.add(code=code)
    headline = trace_lines(trace, 120)[0]
    assert ", refused in " in headline[-1].text
    assert headline[-1].style == Style.BAD


def test_what_was_expected_and_not_seen_follows_the_last_sighting() -> None:
    seen = trace_pb2.Path(hops=[trace_pb2.Hop(node="n1", ingress="veth1", egress="eth0")])
    rest = trace_pb2.Path(hops=[*seen.hops, trace_pb2.Hop(node="n2", ingress="eth0", egress="veth2")])
    dropped = trace_pb2.Verdict(disposition=trace_pb2.Verdict.DROPPED)
    trace = trace_pb2.Trace(verdict=dropped, forward=seen, expected_forward=rest)
    printed = "\n".join("".join(span.text for span in line) for line in trace_lines(trace, 100))
    assert "expected on, not seen: n2 in by eth0, out of veth2" in printed


def test_what_was_expected_is_not_repeated_where_it_was_seen_or_otherwise() -> None:
    seen = trace_pb2.Path(hops=[trace_pb2.Hop(node="n1", ingress="veth1", egress="eth1")])
    other = trace_pb2.Path(hops=[trace_pb2.Hop(node="n1", ingress="veth1", egress="eth0")])
    for disposition in (trace_pb2.Verdict.DROPPED, trace_pb2.Verdict.DELIVERED):
        for expected in (seen, other):
            verdict = trace_pb2.Verdict(disposition=disposition)
            trace = trace_pb2.Trace(verdict=verdict, forward=seen, expected_forward=expected)
            printed = "\n".join("".join(span.text for span in line) for line in trace_lines(trace, 100))
            assert "not seen" not in printed


def test_nodes_of_an_inventory_that_is_old_say_so_first() -> None:
    unread = node_pb2.Unread(
        part="inventory", reason="it is as of 2026-11-21 19:00:00Z: the API server does not answer"
    )
    nodes = service_pb2.ListNodesResponse(unread=[unread], nodes=[service_pb2.NodeStatus(node="node-1")])
    text = text_of(node_lines(nodes, 120)).splitlines()
    assert text[0] == "inventory  it is as of 2026-11-21 19:00:00Z: the API server does not answer"
    assert (text[1], text[2].split()[0]) == ("", "node-1")
    nodes.ClearField("nodes")
    assert len(node_lines(nodes, 120)) == 2
