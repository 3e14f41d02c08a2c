"""Labs of an IPv6 cluster: trace and explain agree on both families, and nothing healthy is taken for a defect."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from labs import Bench, finish, running

from pathtap.lab.build import LabOptions
from pathtap.lab.kernel import command_inside

pytestmark = pytest.mark.e2e

LABS: dict[str, dict[str, Any]] = {
    "nft": {},
    "legacy, ens, untold": {"backend": "legacy", "names": "ens", "metadata": False, "node_port": False},
    "kube-proxy in nftables": {"kube_proxy": "nftables", "external_snat": True, "randomize": "hashrandom"},
}
NODE_1, NODE_2 = "ip-192-168-1-29", "ip-192-168-2-29"
IPV6_INTERNET, INTERNET = "2001:db8:100::8", "198.51.100.8"
INSIDE, OUTSIDE = ("DELIVERED", "ANSWERED"), ("LEFT_CLUSTER", "ANSWERED")
WAYS: tuple[tuple[str, tuple[str, str]], ...] = (
    ("shop/cart to shop/redis --port 6379", INSIDE),
    ("shop/search to shop/web --port 8080", INSIDE),
    ("shop/cart to staging/redis", INSIDE),
    ("shop/cart to shop/orders --port 7 --protocol udp", INSIDE),
    ("shop/cart to svc/redis", INSIDE),
    ("shop/redis to svc/redis", INSIDE),
    ("shop/orders to svc/web", INSIDE),
    (f"shop/cart to node/{NODE_2} --port 30080", INSIDE),
    (f"node/{NODE_1} to shop/redis", INSIDE),
    (f"node/{NODE_1} to svc/web", INSIDE),
    (f"kube-system/node-exporter-2 to node/{NODE_1} --port 9100", INSIDE),
    (f"shop/cart to {IPV6_INTERNET} --port 443", OUTSIDE),
    (f"shop/search to {IPV6_INTERNET}", OUTSIDE),
    (f"node/{NODE_1} to {IPV6_INTERNET} --port 7 --protocol udp", OUTSIDE),
    (f"shop/cart to {INTERNET} --port 443", OUTSIDE),
    (f"shop/redis to {INTERNET}", OUTSIDE),
    (f"shop/search to {INTERNET} --port 7 --protocol udp", OUTSIDE),
    (f"node/{NODE_2} to {INTERNET} --port 80", OUTSIDE),
)


@pytest.fixture(scope="module", params=tuple(LABS.values()), ids=tuple(LABS))
def six(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with running(LabOptions(prefix=f"e{os.getpid()}s", family="ipv6", **request.param)) as bench:
        yield bench


def said(bench: Bench, command: str, way: str) -> Any:
    answer = finish(bench.start(command, *way.split(), "-o", "json"))
    assert answer.output, answer.errors
    return json.loads(answer.output)


def told(document: Any, bench: Bench) -> tuple[tuple[str, str], list[str], list[str]]:
    """The verdict, the findings' codes, and what was not read, but for what this lab never tells."""
    verdict = document["verdict"]
    untold = () if bench.cluster.options.metadata else ("imds", "ipamd")
    gaps = [gap["why"] for gap in verdict["gaps"] if gap["part"] not in untold]
    return (verdict["disposition"], verdict["reply"]), [each["code"] for each in verdict["findings"]], gaps


def test_trace_and_explain_find_nothing_wrong_with_any_way_of_either_family(six: Bench) -> None:
    options = six.cluster.options
    # All of them in the lab of today, elsewhere a few.
    ways = WAYS if options.backend == "nft" and options.kube_proxy == "iptables" else WAYS[::4]
    found = [(way, told(said(six, command, way), six)) for way, _ in ways for command in ("trace", "explain")]
    assert found == [(way, (verdict, [], [])) for way, verdict in ways for _ in ("trace", "explain")]


def test_ipv4_leaves_by_the_second_veth_as_the_node_by_the_rule_of_egress_cni(six: Bench) -> None:
    pod, node = six.cluster.pod("shop/cart"), six.cluster.nodes[0]
    assert pod.egress is not None
    for command in ("trace", "explain"):
        document = said(six, command, f"shop/cart to {INTERNET} --port 443")
        assert document["source"]["address"] == str(pod.egress.address)
        hop = document["forward"]["hops"][0]
        assert (hop["ingress"], hop["egress"]) == (pod.egress.veth, node.primary.interface)
        snat = document["snat"]
        assert (snat["applied"], snat["translated"]["address"]) == (True, str(node.address))
        assert snat["rule"]["chain"] == pod.egress.chain


def test_ipv6_leaves_as_it_is(six: Bench) -> None:
    document = said(six, "trace", f"shop/cart to {IPV6_INTERNET} --port 443")
    assert document["source"]["address"] == str(six.cluster.pod("shop/cart").address)
    assert not document["snat"]["applied"]
    assert document["egress"]["interface"] == six.cluster.nodes[0].primary.interface


def test_check_finds_nothing(six: Bench) -> None:
    check = six.run("check", "-o", "json")
    document = check.json
    assert (check.exit_code, document["findings"]) == (0, [])
    assert [gap for gap in document["gaps"] if gap["part"] not in ("imds", "ipamd")] == []
    assert all(node["read"] and node["pods"] == 3 and node["predictions"] > 20 for node in document["nodes"])


def test_what_is_broken_is_named_in_either_family(six: Bench) -> None:
    node, pod = six.cluster.nodes[1], six.cluster.pod("shop/redis")
    wrong = ["ip", "-6", "route", "del", f"{pod.address}/128"]
    command_inside(node.network_namespace, wrong)
    try:
        for command in ("trace", "explain"):
            assert "POD_ROUTE_MISSING" in told(said(six, command, WAYS[0][0]), six)[1]
        assert "POD_ROUTE_MISSING" in [each["code"] for each in six.run("check", "-o", "json").json["findings"]]
    finally:
        command_inside(node.network_namespace, ["ip", "-6", "route", "add", str(pod.address), "dev", pod.veth])


def test_a_lab_of_ipv6_refuses_the_faults_of_ipv4s_wiring(six: Bench) -> None:
    answer = six.run("lab", "fault", "no-fwmark-rule", "--prefix", six.prefix)
    assert answer.exit_code == 1
    assert "is written for IPv4 labs" in answer.errors
