"""The demo on a real Kubernetes, end to end: installed with kubectl, asked by people with tokens of their own, told as JSON."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from kube_lab import KubeLab, install, running_kube_lab

from pathtap.lab.topology import INTERNET_HOST

pytestmark = [pytest.mark.kube, pytest.mark.netns, pytest.mark.timeout(1200)]

PREFIX = f"t{os.getpid()}i"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeLab]:
    with running_kube_lab(PREFIX, tmp_path_factory.mktemp("home")) as running:
        install(running)
        yield running


def hops(path: Any) -> list[tuple[str, str, str]]:
    return [(hop["node"], hop["ingress"], hop["egress"]) for hop in path["hops"]]


def there_and_back(lab: KubeLab) -> tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]]:
    """Between cart and redis: each leaves by the ENI that owns the sender."""
    (here, cart), (there, redis) = lab.pod("shop/cart"), lab.pod("shop/redis")
    near, far = here.eni_of(cart).interface, there.eni_of(redis).interface
    return (
        [(here.name, cart.veth, near), (there.name, far, redis.veth)],
        [(there.name, redis.veth, far), (here.name, near, cart.veth)],
    )


def assert_answered(trace: Any, disposition: str) -> None:
    verdict = trace["verdict"]
    assert (verdict["disposition"], verdict["reply"], verdict["findings"]) == (disposition, "ANSWERED", []), verdict
    assert not [gap for gap in verdict["gaps"] if gap["decisive"]]
    for path in (trace["forward"], trace["reply"]):
        assert all(step["witnesses"] for hop in path["hops"] for step in hop["steps"])


def test_every_node_is_connected(lab: KubeLab) -> None:
    answer = lab.run(lab.admin, "nodes", "-o", "json")
    assert answer.exit_code == 0, answer.errors
    assert {each["node"]: each["connected"] for each in answer.json["nodes"]} == {
        node.name: True for node in lab.cluster.nodes
    }


@pytest.mark.parametrize("options", [("--port", "6379"), ()])
def test_pods_of_two_nodes_by_the_names_of_their_deployments(lab: KubeLab, options: tuple[str, ...]) -> None:
    trace = lab.trace(lab.person("alice"), "-n", "shop", "deploy/cart", "to", "deploy/redis", *options)
    assert_answered(trace, "DELIVERED")
    assert (hops(trace["forward"]), hops(trace["reply"])) == there_and_back(lab)


def test_a_service_shows_the_backend_that_was_reached(lab: KubeLab) -> None:
    trace = lab.trace(lab.person("alice"), "-n", "shop", "deploy/cart", "to", "svc/redis", "--port", "6379")
    assert_answered(trace, "DELIVERED")
    assert trace["dnat"]["applied"]
    _, redis = lab.pod("shop/redis")
    assert trace["dnat"]["translated"] == {"address": str(redis.address), "port": 6379}
    assert hops(trace["forward"]) == there_and_back(lab)[0]


def test_out_of_the_vpc_the_node_translates(lab: KubeLab) -> None:
    trace = lab.trace(lab.person("alice"), "-n", "shop", "deploy/cart", "to", str(INTERNET_HOST), "--port", "443")
    assert_answered(trace, "LEFT_CLUSTER")
    node, cart = lab.pod("shop/cart")
    assert hops(trace["forward"]) == [(node.name, cart.veth, node.primary.interface)]
    snat = trace["snat"]
    assert (snat["original"]["address"], snat["translated"]["address"]) == (str(cart.address), str(node.address))
    assert "mark=128" in snat["conntrack"]


def test_the_nodes_are_found_to_be_wired_as_their_cni_wires_them(lab: KubeLab) -> None:
    answer = lab.run(lab.admin, "check", "-o", "json")
    assert answer.exit_code == 0, answer.output + answer.errors


def test_who_has_no_right_is_told_what_is_missing(lab: KubeLab) -> None:
    answer = lab.run(lab.person("bob"), "trace", "-n", "shop", "deploy/cart", "to", "deploy/redis")
    assert answer.exit_code == 1
    assert "traces.pathtap.dev" in answer.errors
    assert "shop" in answer.errors
    nodes = lab.run(lab.person("alice"), "nodes")
    assert nodes.exit_code == 1
    assert "traces.pathtap.dev" in nodes.errors


def test_each_trace_is_logged_with_who_asked(lab: KubeLab) -> None:
    log = lab.kubectl("-n", "pathtap", "logs", "statefulset/pathtap-collector")
    assert "system:serviceaccount:people:alice" in log
    assert "system:serviceaccount:people:bob" in log
