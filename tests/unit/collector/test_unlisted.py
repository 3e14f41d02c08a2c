"""A pod's address of the family that its cluster does not have, learnt from inside the pod; and a node's."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import grpc
import grpc.aio
import pytest
from scripted_agent import ScriptedAgent, serving
from small_cluster import CART, NODE_1, cluster, node_1, route, rule, with_routes

from pathtap.collector.cluster.unlisted import unlisted_addresses
from pathtap.model.address import Socket
from pathtap.model.node import Interface, NodeSnapshot, PodInterior, Role, Unread
from pathtap.model.trace import Target
from pathtap.v1 import service_pb2, trace_pb2

OWN, OUTSIDE = "fd00::ac:5", "2001:db8:9::8"
POD = Target(kind="pod", name="shop/cart", node=NODE_1, socket=Socket(ip_address(CART), 0))
NODE = Target(kind="node", name=NODE_1, node=NODE_1, socket=Socket(ip_address("192.168.1.29"), 0))


def link(name: str, *addresses: str) -> Interface:
    own = tuple(map(ip_interface, addresses))
    return Interface(index=5, name=name, role=Role.OTHER, mac="", mtu=9001, up=True, addresses=own)


def interior() -> PodInterior:
    """Of shop/cart: eth0 as ever, and v6if0 by which IPv6 leaves."""
    return PodInterior(
        address=ip_address(CART),
        interfaces=(
            link("lo", "127.0.0.1/8", "::1/128"),
            link("eth0", f"{CART}/32", "fe80::1234/64"),
            link("v6if0", "fe80::5/64", f"{OWN}/118"),
        ),
        routes=(
            route("0.0.0.0/0", "eth0", "169.254.1.1"),
            route("::/0", "v6if0", "fd00::ac:1"),
        ),
    )


def snapshot() -> NodeSnapshot:
    """Node 1, whose primary ENI has IPv6 too."""
    veth = replace(link("vethcart"), role=Role.POD_VETH, pod_addresses=(ip_address(OWN),))
    snapshot = with_routes(
        node_1(),
        route(f"{OWN}/128", "vethcart"),
        route("::/0", "eth0", "fe80:ec2::1"),
        route("2001:db8:1::29/128", "eth0", table=255, kind="local"),
    )
    interfaces = tuple(
        replace(
            each,
            addresses=(*each.addresses, ip_interface("2001:db8:1::29/64"), ip_interface("fe80::29/64")),
            eni_addresses=(*each.eni_addresses, ip_network("2001:db8:1::29")),
        )
        if each.role is Role.PRIMARY_ENI
        else each
        for each in snapshot.interfaces
    )
    sysctls = {**snapshot.sysctls, "net.ipv6.conf.all.forwarding": "1"}
    lookups = (rule("0 from all lookup local", table=255), rule("32766 from all lookup main", table=254))
    rules = (*snapshot.rules, *(replace(each, family=6) for each in lookups))
    return replace(snapshot, interfaces=(*interfaces, veth), interiors=(interior(),), sysctls=sysctls, rules=rules)


def explain(source: str, read: NodeSnapshot | None, directory: Path) -> trace_pb2.Trace | str:
    """The answer, or the sentence that refuses it."""

    async def call() -> trace_pb2.Trace | str:
        async with AsyncExitStack() as stack:
            bench = await stack.enter_async_context(serving(directory, cluster()))
            if read is not None:
                agent = ScriptedAgent(read)
                await stack.enter_async_context(agent.connected(bench.address))
                await bench.agent(agent.node)
            request = service_pb2.TraceRequest(source=source, destination=OUTSIDE, port=443)
            try:
                return [each async for each in bench.client.Explain(request, timeout=10)][-1].trace
            except grpc.aio.AioRpcError as refusal:
                return refusal.details() or ""

    return asyncio.run(call())


def test_a_pod_has_what_its_own_default_routes_lead_by() -> None:
    assert set(unlisted_addresses(POD, snapshot())) == {ip_address(CART), ip_address(OWN)}


def test_a_node_has_its_primary_enis() -> None:
    assert set(unlisted_addresses(NODE, snapshot())) == {ip_address("192.168.1.29"), ip_address("2001:db8:1::29")}


@pytest.mark.parametrize("source", ["shop/cart", f"node/{NODE_1}"])
def test_the_way_begins_with_the_address_that_the_node_told(source: str, tmp_path: Path) -> None:
    trace = explain(source, snapshot(), tmp_path)
    assert isinstance(trace, trace_pb2.Trace)
    pod = source == "shop/cart"
    assert trace.source.address == (OWN if pod else "2001:db8:1::29")
    assert trace.forward.hops[0].ingress == ("vethcart" if pod else "")
    # Of this pod's the node's rules translate nothing, and the VPC knows no such source.
    lost = trace_pb2.Verdict.DROPPED if pod else trace_pb2.Verdict.LEFT_CLUSTER
    assert trace.verdict.disposition == lost
    assert [each.code for each in trace.verdict.findings] == ["SOURCE_NOT_OWNED_BY_ENI"] * pod


def test_where_nobody_knows_one_the_refusal_stands(tmp_path: Path) -> None:
    unread = PodInterior(address=ip_address(CART), unread=(Unread(part="interior", reason="No such namespace."),))
    for interiors in ((), (unread,), (replace(interior(), routes=()),)):
        answer = explain("shop/cart", replace(snapshot(), interiors=interiors), tmp_path)
        assert answer == f"shop/cart has no IPv6 address to reach {OUTSIDE}"


def test_where_the_node_cannot_be_asked_that_is_said(tmp_path: Path) -> None:
    answer = explain("shop/cart", None, tmp_path)
    assert isinstance(answer, str)
    assert answer.startswith(f"shop/cart has no IPv6 address to reach {OUTSIDE}, as far as the inventory knows; ")
    assert "agent" in answer
