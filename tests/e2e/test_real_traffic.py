"""Traffic that pathtap did not send: `--live` and `flows`; and several traces at once."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from labs import Bench, finish

from pathtap.lab.topology import INTERNET_HOST, UDP_ECHO_PORT

pytestmark = pytest.mark.e2e


@contextmanager
def chatting(bench: Bench, pod: str, *peers: str, every: float = 0.3) -> Iterator[None]:
    """Keeps the pod busy while the block runs."""
    chat = [sys.executable, "-m", "pathtap.lab.chat", "--every", str(every), "20", *peers]
    process = bench.start("lab", "exec", "--prefix", bench.prefix, pod, "--", *chat)
    try:
        yield
    finally:
        process.terminate()
        process.communicate(timeout=5)


def test_live_shows_real_traffic_and_sends_none(bench: Bench) -> None:
    redis = bench.cluster.pod("shop/redis")
    with chatting(bench, "shop/search", f"tcp:{redis.address}:6379"):
        trace = bench.trace("shop/search", "to", "shop/redis", "--port", "6379", "--live", "--timeout", "10")
    assert trace["live"]
    verdict = trace["verdict"]
    assert (verdict["disposition"], verdict["reply"], trace["exit_code"]) == ("DELIVERED", "ANSWERED", 0), verdict
    assert [hop["node"] for hop in trace["forward"]["hops"]] == [node.name for node in bench.cluster.nodes]
    assert len(trace["reply"]["hops"]) == 2


def test_live_by_the_address_of_the_source(lab: Bench) -> None:
    search = lab.cluster.pod("shop/search")
    with chatting(lab, "shop/search", f"tcp:{INTERNET_HOST}:443"):
        trace = lab.trace(str(search.address), "to", str(INTERNET_HOST), "--port", "443", "--live", "--timeout", "10")
    assert (trace["verdict"]["disposition"], trace["verdict"]["reply"]) == ("LEFT_CLUSTER", "ANSWERED")
    assert trace["source"]["name"] == "shop/search"
    assert trace["snat"]["applied"]


def test_live_without_traffic_is_inconclusive(lab: Bench) -> None:
    trace = lab.trace("shop/cart", "to", "shop/redis", "--port", "6379", "--live", "--timeout", "1")
    verdict = trace["verdict"]
    assert (verdict["disposition"], verdict["reply"]) == ("INSUFFICIENT_EVIDENCE", "NOT_SEEN")
    assert trace["exit_code"] == 4
    assert [gap["part"] for gap in verdict["gaps"] if gap["decisive"]] == ["live traffic"]


def flow_key(flow: Any) -> tuple[object, ...]:
    ends = flow["five_tuple"]["source"], flow["five_tuple"]["destination"]
    return (flow["five_tuple"]["protocol"], *((end["address"], end["port"]) for end in ends))


def test_flows_of_a_busy_pod(bench: Bench) -> None:
    cluster = bench.cluster
    node, search = cluster.nodes[0], cluster.pod("shop/search")
    redis, orders = cluster.pod("shop/redis"), cluster.pod("shop/orders")
    peers = [
        f"tcp:{redis.address}:6379",
        f"udp:{orders.address}:{UDP_ECHO_PORT}",
        "tcp:10.100.0.20:80",
        f"tcp:{INTERNET_HOST}:443",
    ]
    with (
        chatting(bench, "shop/search", *peers),
        chatting(bench, "shop/cart", f"tcp:{INTERNET_HOST}:443", f"tcp:{search.address}:9200"),
    ):
        answer = bench.run("flows", "shop/search", "--timeout", "2", "-o", "json")
    assert answer.exit_code == 0, answer.errors
    document = answer.json
    flows = document["flows"]
    assert not [key for key, count in Counter(map(flow_key, flows)).items() if count > 1]
    ours = {str(search.address)}
    assert all(ours & {f["five_tuple"]["source"]["address"], f["five_tuple"]["destination"]["address"]} for f in flows)

    def to(address: object) -> list[Any]:
        return [flow for flow in flows if flow["five_tuple"]["destination"]["address"] == str(address)]

    for flow in to(redis.address):
        assert flow["initiated"]
        assert flow["destination"]["name"] == "shop/redis"
        assert flow["egress"]["interface"] == node.secondary.interface
        assert not flow["snat"]["applied"]
        assert {"OBSERVED", "RECORDED"} <= {evidence["witness"] for evidence in flow["evidence"]}
    # The far node is captured from the moment its pod has shown; every later flow is seen by both.
    assert set(to(redis.address)[-1]["nodes"]) == {each.name for each in cluster.nodes}
    for flow in to(INTERNET_HOST):
        assert flow["egress"]["interface"] == node.primary.interface
        assert flow["snat"]["applied"]
        assert flow["snat"]["translated"]["address"] == str(node.address)
        assert flow["snat"]["rule"]["random"] == "fully"
    for flow in to("10.100.0.20"):
        assert flow["dnat"]["backend_pod"] in ("shop/web", "shop/orders")
    assert to(orders.address)[0]["packets_forward"] == 1
    incoming = to(search.address)
    assert incoming
    assert all(not flow["initiated"] and flow["source"]["name"] == "shop/cart" for flow in incoming)
    assert min(map(len, (to(redis.address), to(INTERNET_HOST), to("10.100.0.20"), to(orders.address)))) >= 2


def test_two_traces_at_once_do_not_disturb_each_other(lab: Bench) -> None:
    words = [
        ("trace", "shop/cart", "to", "shop/redis", "--port", "6379", "-o", "json"),
        ("trace", "shop/cart", "to", "shop/redis", "--port", "6379", "-o", "json"),
        ("trace", "shop/cart", "to", "198.51.100.8", "-o", "json"),
        ("trace", "shop/cart", "to", "198.51.100.8", "-o", "json"),
        ("trace", "shop/search", "to", "shop/cart", "-o", "json"),
    ]
    answers = [finish(process) for process in [lab.start(*each) for each in words]]
    assert [answer.exit_code for answer in answers] == [0] * len(words)
    traces = [answer.json for answer in answers]
    assert len({trace["id"] for trace in traces}) == len(words)
    for trace in traces:
        source = trace["five_tuple"]["source"]
        seen = [s for hop in trace["forward"]["hops"] for s in hop["steps"] if s["action"] == "RECEIVED"]
        assert seen[0]["before"]["source"] == source
        assert len(trace["forward"]["hops"]) == (2 if trace["destination"]["name"] == "shop/redis" else 1)


def test_nothing_is_left_behind(lab: Bench) -> None:
    """No capture socket without a trace, and no socket of a probe in a pod that nothing else talks with."""
    lab.trace("staging/redis", "to", "shop/redis", "--port", "6379")
    for node in lab.cluster.nodes:
        packet = lab.run("lab", "exec", "--prefix", lab.prefix, node.name, "--", "cat", "/proc/net/packet").output
        assert len(packet.splitlines()) == 1, packet
    tcp = lab.run("lab", "exec", "--prefix", lab.prefix, "staging/redis", "--", "cat", "/proc/net/tcp").output
    states = {line.split()[3] for line in tcp.splitlines()[1:]}
    assert states <= {"0A"}, "only listeners"
