"""What refuses or swallows packets beside the lab's named faults, made by hand in a namespace: each is named, none is healthy."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from labs import Bench

from pathtap.lab.kernel import command_inside

pytestmark = pytest.mark.e2e

TO_REDIS = ("shop/cart", "to", "shop/redis", "--port", "6379")


@dataclass(frozen=True)
class Fault:
    """A place (`vpc`, a pod, or a node by its number), and two commands, each the other's inverse."""

    place: str
    broken: str
    healed: str


def namespace(bench: Bench, place: str) -> str:
    if place == "vpc":
        return bench.cluster.vpc_namespace
    if place.isdigit():
        return bench.cluster.nodes[int(place) - 1].network_namespace
    return bench.cluster.pod(place).network_namespace


@contextmanager
def made(bench: Bench, fault: Fault) -> Iterator[None]:
    where = namespace(bench, fault.place)
    command_inside(where, fault.broken.split())
    try:
        yield
    finally:
        command_inside(where, fault.healed.split())


def filtering(place: str, rule: str, table: str = "filter") -> Callable[[Bench], Fault]:
    """A rule at the head of its chain, in the lab's own backend."""

    def make(bench: Bench) -> Fault:
        iptables = f"iptables-{bench.cluster.options.backend} -w 10 -t {table}"
        return Fault(place, f"{iptables} -I {rule}", f"{iptables} -D {rule}")

    return make


def fixed(place: str, broken: str, healed: str) -> Callable[[Bench], Fault]:
    return lambda _: Fault(place, broken, healed)


def astray(bench: Bench) -> Fault:
    node, redis = bench.cluster.nodes[1], bench.cluster.pod("shop/redis")
    way = f"via {node.primary.gateway} dev {node.primary.interface}"
    replace = f"ip route replace {redis.address}"
    return Fault("2", f"{replace} {way}", f"{replace} dev {redis.veth} scope link")


def found(trace: Any) -> tuple[str, str, list[str]]:
    verdict = trace["verdict"]
    errors = [finding["code"] for finding in verdict["findings"] if finding["severity"] == "error"]
    return verdict["disposition"], verdict["reply"], errors


REDIS = "192.168.2.41"
FROM_NODE = ("node/ip-192-168-1-29", "to", "shop/redis")
TO_NODE = ("shop/cart", "to", "node/ip-192-168-2-29", "--port", "9100")
RULE = f"priority 100 to {REDIS}"


@pytest.mark.parametrize(
    ("fault", "words", "expected"),
    [
        (
            fixed("1", f"ip rule add {RULE} prohibit", f"ip rule del {RULE} prohibit"),
            TO_REDIS,
            ("REJECTED", "NOT_SEEN", ["PROHIBIT_ROUTE"]),
        ),
        (
            fixed("1", f"ip rule add {RULE} blackhole", f"ip rule del {RULE} blackhole"),
            TO_REDIS,
            ("DROPPED", "NOT_SEEN", ["BLACKHOLE_ROUTE"]),
        ),
        (
            fixed("1", f"ip route add unreachable {REDIS}", f"ip route del unreachable {REDIS}"),
            FROM_NODE,
            ("REJECTED", "NOT_SEEN", ["UNREACHABLE_ROUTE"]),
        ),
        (filtering("1", f"OUTPUT -d {REDIS} -j DROP"), FROM_NODE, ("DROPPED", "NOT_SEEN", ["FILTER_DROP"])),
        (
            filtering("1", f"INPUT -s {REDIS} -j DROP"),
            (*FROM_NODE, "--port", "6379"),
            ("DELIVERED", "LOST", ["FILTER_DROP"]),
        ),
        (filtering("2", "OUTPUT -p tcp --sport 9100 -j DROP"), TO_NODE, ("DELIVERED", "LOST", ["FILTER_DROP"])),
        (
            filtering("shop/cart", "INPUT -p tcp --sport 6379 -j DROP"),
            TO_REDIS,
            ("DELIVERED", "ANSWERED", ["ANSWER_NOT_RECEIVED"]),
        ),
        (
            filtering("vpc", "FORWARD -p icmp --icmp-type 3 -j DROP", "mangle"),
            ("shop/cart", "to", "shop/redis", "--port", "6380", "--protocol", "udp"),
            ("DELIVERED", "LOST", ["PORT_UNREACHABLE"]),
        ),
        (
            fixed("2", "sysctl -qw net.ipv4.ip_forward=0", "sysctl -qw net.ipv4.ip_forward=1"),
            TO_REDIS,
            ("DROPPED", "NOT_SEEN", ["FORWARDING_DISABLED"]),
        ),
        (astray, TO_REDIS, ("DROPPED", "NOT_SEEN", ["POD_ROUTE_MISSING"])),
        (
            filtering("1", "PREROUTING -p tcp -d 198.51.100.8 --dport 443 -j REDIRECT --to-ports 9100", "nat"),
            ("shop/cart", "to", "198.51.100.8", "--port", "443"),
            ("DROPPED", "NOT_SEEN", ["FILTER_DROP"]),
        ),
    ],
    ids=[
        "ip-rule-prohibit",
        "ip-rule-blackhole",
        "route-of-the-sending-node",
        "output-of-the-sending-node",
        "input-of-the-sending-node",
        "output-of-the-answering-node",
        "pod-swallows-its-answer",
        "icmp-error-is-lost",
        "forwarding-off",
        "route-past-the-pod",
        "redirect-without-an-address",
    ],
)
def test_who_refused_or_swallowed_it_is_named(
    bench: Bench, fault: Callable[[Bench], Fault], words: tuple[str, ...], expected: tuple[str, str, list[str]]
) -> None:
    with made(bench, fault(bench)):
        trace = bench.trace(*words, "--timeout", "1")
    assert found(trace) == expected, trace["verdict"]
    assert trace["exit_code"] == 3
    assert not [gap for gap in trace["verdict"]["gaps"] if gap["decisive"]]
    assert trace["verdict"]["findings"][0]["evidence"]


AWS_CNI = """
table ip aws-cni {
  chain snat-mark {
    counter ip daddr 192.168.0.0/16 return
    counter ct mark set ct mark | 0x80
  }
  chain nat-prerouting {
    type nat hook prerouting priority -90; policy accept;
    fib daddr type local return
    iifname "eni*" counter jump snat-mark
    counter meta mark set ct mark & 0x80
  }
}
"""


def test_the_native_connmark_table_of_v1_23_is_read_and_followed(bench: Bench, tmp_path: Any) -> None:
    """It takes the place of iptables' connmark rules; a Service's DNAT comes first and keeps its packets from it."""
    node = bench.cluster.nodes[0]
    iptables = [f"iptables-{bench.cluster.options.backend}", "-w", "10", "-t", "nat"]
    rules = tmp_path / "aws-cni.nft"
    rules.write_text(AWS_CNI)
    command_inside(node.network_namespace, [*iptables, "-I", "PREROUTING", "1", "-j", "KUBE-SERVICES"])
    command_inside(node.network_namespace, [*iptables, "-I", "PREROUTING", "2", "-j", "ACCEPT"])
    command_inside(node.network_namespace, ["nft", "-f", str(rules)])
    try:
        outside = bench.trace("shop/search", "to", "198.51.100.8", "--port", "443")
        service = bench.trace("shop/search", "to", "svc/shop/redis")
    finally:
        command_inside(node.network_namespace, ["nft", "delete", "table", "ip", "aws-cni"])
        command_inside(node.network_namespace, [*iptables, "-D", "PREROUTING", "1"])
        command_inside(node.network_namespace, [*iptables, "-D", "PREROUTING", "1"])
    marks = [step for step in outside["forward"]["hops"][0]["steps"] if step["action"] == "MARKED"]
    assert [(step["cause"]["text"].split(" (")[0], step["witnesses"]) for step in marks] == [
        ("aws-cni snat-mark #2", ["EXPECTED", "RECORDED"]),
        ("aws-cni nat-prerouting #3", ["EXPECTED"]),
    ]
    assert outside["egress"]["interface"] == node.primary.interface
    assert outside["egress"]["rule"].startswith("1024 ")
    assert service["egress"]["interface"] == node.secondary.interface
    assert not [step for step in service["forward"]["hops"][0]["steps"] if step["action"] == "MARKED"]
    assert (outside["exit_code"], service["exit_code"]) == (0, 0)
