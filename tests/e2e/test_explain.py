"""`explain` beside `trace` of the same: in a healthy lab what was expected is what is seen, in every kind of flow."""

from typing import Any

import pytest
from labs import Bench

from pathtap.lab.topology import INTERNET_HOST, UDP_ECHO_PORT

pytestmark = pytest.mark.e2e

NODE = "node/ip-192-168-1-29"
FLOWS = {
    "another node's pod": ("shop/cart", "shop/redis", "--port", "6379"),
    "another node's pod, by ICMP": ("shop/cart", "shop/redis"),
    "the same node's pod": ("shop/cart", "shop/web", "--port", "8080"),
    "between secondary ENIs": ("shop/search", "shop/orders", "--port", "8080"),
    "datagrams": ("shop/cart", "shop/orders", "--protocol", "udp", "--port", str(UDP_ECHO_PORT)),
    "the internet, from the primary ENI": ("shop/cart", str(INTERNET_HOST), "--port", "443"),
    "the internet, from a secondary ENI": ("shop/search", str(INTERNET_HOST), "--port", "443"),
    "the internet, by ICMP": ("shop/search", str(INTERNET_HOST)),
    "a service": ("shop/cart", "svc/shop/redis", "--port", "6379"),
    "a service, from a secondary ENI": ("shop/search", "svc/shop/redis", "--port", "6379"),
    "another node": ("shop/cart", "node/ip-192-168-2-29"),
    "from a node to a pod": (NODE, "shop/redis", "--port", "6379"),
    "from a node to the internet": (NODE, str(INTERNET_HOST), "--port", "443"),
    "from a node to a service": (NODE, "svc/shop/redis", "--port", "6379"),
    "between nodes": (NODE, "node/ip-192-168-2-29"),
}


def explained(bench: Bench, source: str, destination: str, *options: str) -> Any:
    answer = bench.run("explain", source, "to", destination, *options, "-o", "json")
    assert answer.output, answer.errors
    return {**answer.json, "exit_code": answer.exit_code}


def told(trace: Any) -> dict[str, Any]:
    """What both must say alike: all but ports, times and witnesses."""
    snat, dnat = trace["snat"], trace["dnat"]
    return {
        "exit code": trace["exit_code"],
        "verdict": [trace["verdict"][name] for name in ("disposition", "reply", "findings")],
        "gaps": [gap for gap in trace["verdict"]["gaps"] if gap["decisive"]],
        "egress": trace["egress"],
        "snat": (snat["applied"], snat["original"]["address"], snat["translated"]["address"], snat.get("rule")),
        "dnat": (dnat["applied"], dnat["translated"], dnat["service"], dnat["backend_pod"], dnat.get("rule")),
        "forward": ways(trace["forward"]),
        "reply": ways(trace["reply"]),
    }


def ways(path: Any) -> list[tuple[str, str, str]]:
    return [(hop["node"], hop["ingress"], hop["egress"]) for hop in path["hops"]]


@pytest.mark.parametrize("words", FLOWS.values(), ids=FLOWS)
def test_what_is_explained_is_what_is_traced(bench: Bench, words: tuple[str, ...]) -> None:
    source, destination, *options = words
    assert told(explained(bench, source, destination, *options)) == told(
        bench.trace(source, "to", destination, *options)
    )


def test_nobody_takes_it_for_something_that_was_seen(bench: Bench) -> None:
    page = bench.run("explain", "shop/search", "to", str(INTERNET_HOST), "--port", "443").output
    head = page.splitlines()[:2]
    assert "explained" in head[0]
    assert "would be: LEFT CLUSTER, answered" in head[0]
    assert "Nothing was sent, nothing was observed." in head[1]
    assert "observed" not in "\n".join(page.splitlines()[2:])
    assert "recorded" not in page
    assert "kernel agrees" in page


@pytest.mark.parametrize(
    ("fault", "words", "code", "verdict"),
    [
        ("no-fwmark-rule", ("shop/search", str(INTERNET_HOST), "--port", "443"), "SOURCE_NOT_OWNED_BY_ENI", "DROPPED"),
        ("foreign-rule", ("shop/search", "shop/redis", "--port", "6379"), "WRONG_ENI", "DROPPED"),
        ("wrong-mark", ("shop/search", "shop/redis", "--port", "6379"), "WRONG_ENI", "DROPPED"),
        ("no-pod-route", ("shop/cart", "shop/redis", "--port", "6379"), "POD_ROUTE_MISSING", "DROPPED"),
        ("no-default-route", ("shop/cart", "shop/redis", "--port", "6379"), "NO_ROUTE_TO_DESTINATION", "NO_ROUTE"),
        ("blackhole-route", ("shop/cart", "shop/redis", "--port", "6379"), "BLACKHOLE_ROUTE", "DROPPED"),
        ("unreachable-route", ("shop/cart", "shop/redis", "--port", "6379"), "UNREACHABLE_ROUTE", "REJECTED"),
        ("forward-drop", ("shop/cart", "shop/redis", "--port", "6379"), "FILTER_DROP", "DROPPED"),
        ("forward-reject", ("shop/cart", "shop/redis", "--port", "6379"), "FILTER_REJECT", "REJECTED"),
        ("strict-rp-filter", ("shop/search", str(INTERNET_HOST), "--port", "443"), "RP_FILTER_DROP", "LEFT_CLUSTER"),
        ("no-endpoints", ("shop/cart", "svc/shop/redis", "--port", "6379"), "SERVICE_WITHOUT_ENDPOINTS", "REJECTED"),
        ("backend-gone", ("shop/cart", "svc/shop/redis", "--port", "6379"), "SERVICE_BACKEND_GONE", "DROPPED"),
    ],
)
def test_a_fault_is_foreseen(bench: Bench, fault: str, words: tuple[str, ...], code: str, verdict: str) -> None:
    source, destination, *options = words
    with bench.broken(fault):
        trace = explained(bench, source, destination, *options)
    assert code in [finding["code"] for finding in trace["verdict"]["findings"]]
    assert (trace["verdict"]["disposition"], trace["exit_code"]) == (verdict, 3)
    assert trace["verdict"]["reply"] == ("LOST" if verdict == "LEFT_CLUSTER" else "NOT_SEEN")
