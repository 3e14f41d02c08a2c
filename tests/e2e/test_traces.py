"""The traces that the README shows, in both labs, asserted through JSON."""

from typing import Any

import pytest
from labs import Bench

from pathtap.lab.topology import INTERNET_HOST, UDP_ECHO_PORT, Eni, Node

pytestmark = pytest.mark.e2e

BACKEND = {"nft": "iptables-nft", "legacy": "iptables-legacy"}


def node_of(bench: Bench, pod: str) -> Node:
    return next(node for node in bench.cluster.nodes if any(each.key == pod for each in node.pods))


def eni_of(bench: Bench, pod: str) -> Eni:
    return node_of(bench, pod).eni_of(bench.cluster.pod(pod))


def eni_id(bench: Bench, eni: Eni) -> str:
    """As the agent can know it: from IMDS and ipamd, which one of the labs does not have."""
    return eni.id if bench.cluster.options.metadata else ""


def assert_answered(trace: Any, disposition: str = "DELIVERED") -> None:
    verdict = trace["verdict"]
    assert (verdict["disposition"], verdict["reply"], verdict["findings"]) == (disposition, "ANSWERED", []), verdict
    assert not [gap for gap in verdict["gaps"] if gap["decisive"]]
    assert trace["exit_code"] == 0
    for path in (trace["forward"], trace["reply"]):
        assert all(step["witnesses"] for hop in path["hops"] for step in hop["steps"])


def hops(path: Any) -> list[tuple[str, str, str]]:
    return [(hop["node"], hop["ingress"], hop["egress"]) for hop in path["hops"]]


def there_and_back(bench: Bench, source: str, destination: str) -> list[tuple[str, str, str]]:
    """The hops between two pods of two nodes: each leaves by the ENI that owns the sender."""
    pods = bench.cluster.pod(source), bench.cluster.pod(destination)
    nodes = node_of(bench, source), node_of(bench, destination)
    enis = eni_of(bench, source).interface, eni_of(bench, destination).interface
    return [(nodes[0].name, pods[0].veth, enis[0]), (nodes[1].name, enis[1], pods[1].veth)]


@pytest.mark.parametrize(
    ("source", "destination", "options"),
    [
        ("shop/cart", "shop/redis", ()),
        ("shop/cart", "shop/redis", ("--port", "6379")),
        ("shop/search", "shop/redis", ("--port", "6379")),
        ("shop/search", "shop/orders", ()),
        ("shop/cart", "shop/orders", ("--protocol", "udp", "--port", str(UDP_ECHO_PORT))),
    ],
)
def test_pods_of_two_nodes(bench: Bench, source: str, destination: str, options: tuple[str, ...]) -> None:
    trace = bench.trace(source, "to", destination, *options)
    assert_answered(trace)
    assert hops(trace["forward"]) == there_and_back(bench, source, destination)
    assert hops(trace["reply"]) == there_and_back(bench, destination, source)
    own = eni_of(bench, source)
    egress = trace["egress"]
    assert (egress["interface"], egress["eni_id"]) == (own.interface, eni_id(bench, own))
    assert not trace["snat"]["applied"]
    assert not trace["dnat"]["applied"]
    if own.device:
        pod = bench.cluster.pod(source)
        assert (egress["table"], egress["rule"]) == ("2", f"1536 from {pod.address} lookup 2")
    else:
        assert (egress["table"], egress["rule"].split()[0]) == ("main", "32766")


def test_pods_of_one_node(bench: Bench) -> None:
    trace = bench.trace("shop/cart", "to", "shop/search", "--port", "9200")
    assert_answered(trace)
    cart, search = bench.cluster.pod("shop/cart"), bench.cluster.pod("shop/search")
    assert hops(trace["forward"]) == [(node_of(bench, cart.key).name, cart.veth, search.veth)]
    assert (trace["egress"]["interface"], trace["egress"]["eni_id"]) == (search.veth, "")
    assert trace["egress"]["rule"] == f"512 from all to {search.address} lookup main"


@pytest.mark.parametrize(
    ("source", "options"),
    [("shop/cart", ()), ("shop/cart", ("--port", "443")), ("shop/search", ("--port", "443")), ("shop/search", ())],
)
def test_to_the_internet_by_the_primary_eni(bench: Bench, source: str, options: tuple[str, ...]) -> None:
    trace = bench.trace(source, "to", str(INTERNET_HOST), *options)
    assert_answered(trace, "LEFT_CLUSTER")
    node, pod = node_of(bench, source), bench.cluster.pod(source)
    assert hops(trace["forward"]) == [(node.name, pod.veth, node.primary.interface)]
    assert hops(trace["reply"]) == [(node.name, node.primary.interface, pod.veth)]
    assert trace["egress"]["table"] == "main"
    assert trace["egress"]["rule"] == "1024 from all fwmark 0x80/0x80 lookup main"
    snat = trace["snat"]
    assert snat["applied"]
    assert snat["original"] == trace["five_tuple"]["source"]
    assert snat["original"]["address"] == str(pod.address)
    assert snat["translated"]["address"] == str(node.address)
    assert snat["translated"]["port"] not in (0, snat["original"]["port"])
    rule = snat["rule"]
    last = "AWS-SNAT-CHAIN-0" if bench.cluster.options.chains == "return" else "AWS-SNAT-CHAIN-1"
    assert (rule["backend"], rule["table"], rule["chain"]) == (BACKEND[bench.cluster.options.backend], "nat", last)
    assert rule["random"] == "fully"
    assert rule["text"].endswith(f"-j SNAT --to-source {node.address} --random-fully")
    assert f"src={INTERNET_HOST} dst={node.address}" in snat["conntrack"]
    assert "mark=128" in snat["conntrack"]
    translated = [s for h in trace["forward"]["hops"] for s in h["steps"] if s["action"] == "TRANSLATED"]
    assert [set(step["witnesses"]) for step in translated] == [{"EXPECTED", "OBSERVED", "RECORDED"}]


@pytest.mark.parametrize("name", ["svc/shop/redis", "10.100.0.10"])
def test_a_service_shows_the_backend_that_was_reached(bench: Bench, name: str) -> None:
    trace = bench.trace("shop/cart", "to", name, "--port", "6379")
    assert_answered(trace)
    redis = bench.cluster.pod("shop/redis")
    dnat = trace["dnat"]
    assert dnat["applied"]
    assert dnat["original"] == {"address": "10.100.0.10", "port": 6379}
    assert dnat["translated"] == {"address": str(redis.address), "port": 6379}
    assert (dnat["service"], dnat["backend_pod"]) == ("shop/redis", "shop/redis")
    assert dnat["rule"]["chain"].startswith("KUBE-SEP-")
    assert hops(trace["forward"]) == there_and_back(bench, "shop/cart", "shop/redis")
    assert not trace["snat"]["applied"]


def test_a_service_with_two_backends(bench: Bench) -> None:
    reached = set()
    for _ in range(12):
        trace = bench.trace("shop/cart", "to", "svc/shop/web", "--port", "80")
        assert_answered(trace)
        pod = trace["dnat"]["backend_pod"]
        assert trace["dnat"]["translated"]["address"] == str(bench.cluster.pod(pod).address)
        reached.add(pod)
    assert reached == {"shop/web", "shop/orders"}


def test_a_host_network_pod_and_a_node_are_ends(bench: Bench) -> None:
    near, far = bench.cluster.nodes[0], bench.cluster.nodes[1]
    trace = bench.trace(f"node/{near.name}", "to", "shop/redis", "--port", "6379")
    assert_answered(trace)
    assert hops(trace["forward"])[0] == (near.name, "", near.primary.interface)
    trace = bench.trace("shop/cart", "to", f"node/{far.name}", "--port", "9100")
    assert_answered(trace)
    assert hops(trace["forward"])[-1] == (far.name, far.primary.interface, "")
    trace = bench.trace("kube-system/node-exporter-1", "to", "kube-system/node-exporter-2", "--port", "9100")
    assert_answered(trace)


def test_refused_is_told_from_silent(bench: Bench) -> None:
    trace = bench.trace("shop/cart", "to", "shop/redis", "--port", "6380")
    assert (trace["verdict"]["disposition"], trace["verdict"]["reply"]) == ("DELIVERED", "ANSWERED")
    assert [finding["code"] for finding in trace["verdict"]["findings"]] == ["CONNECTION_REFUSED"]
    assert trace["exit_code"] == 3
    trace = bench.trace("shop/cart", "to", "198.51.100.77", "--timeout", "1")
    assert trace["verdict"]["disposition"] == "LEFT_CLUSTER"
    assert trace["verdict"]["reply"] == "UNANSWERED"
    assert "NO_ANSWER_FROM_OUTSIDE" in [finding["code"] for finding in trace["verdict"]["findings"]]
    assert trace["exit_code"] == 4


def test_a_pod_that_reaches_itself_through_its_service(bench: Bench) -> None:
    trace = bench.trace("shop/redis", "to", "svc/shop/redis", "--port", "6379")
    assert_answered(trace)
    redis, node = bench.cluster.pod("shop/redis"), node_of(bench, "shop/redis")
    assert hops(trace["forward"]) == [(node.name, redis.veth, redis.veth)]
    assert trace["dnat"]["backend_pod"] == "shop/redis"
    assert trace["snat"]["translated"]["address"] == str(node.address)
    assert trace["snat"]["rule"]["chain"] == "KUBE-POSTROUTING"
    assert trace["snat"]["rule"]["random"] == "fully"


def test_a_pod_to_its_own_node_goes_out_nowhere(bench: Bench) -> None:
    node, cart = node_of(bench, "shop/cart"), bench.cluster.pod("shop/cart")
    trace = bench.trace("shop/cart", "to", str(node.address), "--port", "9100")
    assert_answered(trace)
    assert hops(trace["forward"]) == [(node.name, cart.veth, "")]
    assert "egress" not in trace
    assert trace["destination"]["name"] == node.name


def test_a_service_without_endpoints(bench: Bench) -> None:
    trace = bench.trace("shop/cart", "to", "svc/shop/hollow")
    assert (trace["verdict"]["disposition"], trace["verdict"]["reply"]) == ("REJECTED", "NOT_SEEN")
    assert [finding["code"] for finding in trace["verdict"]["findings"]] == ["SERVICE_WITHOUT_ENDPOINTS"]
    assert trace["exit_code"] == 3


def test_a_host_network_pods_own_port_is_translated(bench: Bench) -> None:
    """The AWS rule has no source: a node's own connection out keeps its address and gets another port."""
    trace = bench.trace("kube-system/node-exporter-1", "to", str(INTERNET_HOST), "--port", "443")
    assert_answered(trace, "LEFT_CLUSTER")
    snat, node = trace["snat"], bench.cluster.nodes[0]
    assert snat["original"]["address"] == snat["translated"]["address"] == str(node.address)
    assert snat["original"]["port"] != snat["translated"]["port"]
    assert hops(trace["forward"]) == [(node.name, "", node.primary.interface)]
