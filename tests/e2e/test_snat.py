"""`pathtap snat` as a person uses it: what is sent and what is not, who answers and who does not, and what is missing.

Which rule translates, and with which flag, is held by test_snat_matrix.
"""

import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from labs import Bench, finish, running

from pathtap.lab.build import LabOptions
from pathtap.lab.kernel import command_inside, inside
from pathtap.lab.names import places
from pathtap.lab.procfs import roles
from pathtap.lab.topology import INTERNET_HOST, UDP_ECHO_PORT

pytestmark = pytest.mark.e2e

OUTSIDE = str(INTERNET_HOST)
CART, CONNECTIONS = "shop/cart", 64
IPV6_OUTSIDE = "2001:db8:100::8"
# Nobody listens here, and here a rule makes silence.
CLOSED_PORT, SILENT_PORT = 81, 444
BY_CHANCE = 2


@pytest.fixture(scope="module")
def six() -> Iterator[Bench]:
    with running(LabOptions(prefix=f"e{os.getpid()}n", family="ipv6")) as bench:
        yield bench


@pytest.fixture
def fresh(bench: Bench) -> Bench:
    """Without a connection of before: an entry that is kept for minutes is evidence."""
    for node in bench.cluster.nodes:
        command_inside(node.network_namespace, ["conntrack", "-F"])
    return bench


def sent(namespace: str) -> int:
    """Datagrams that the namespace itself has asked IPv4 to send, RFC 4293's ipSystemStatsOutRequests."""
    names, values = (
        line.split() for line in inside(namespace, Path("/proc/thread-self/net/snmp").read_text).splitlines()[:2]
    )
    return int(values[names.index("OutRequests")])


def entries(bench: Bench, destination: str, protocol: str = "tcp") -> list[str]:
    listed = ["conntrack", "-L", "-p", protocol, "--orig-dst", destination]
    return command_inside(bench.cluster.nodes[0].network_namespace, listed).splitlines()


def hellos(bench: Bench, source: str, count: int) -> None:
    """So many datagrams to outside, each from a port of its own; all are answered before this returns."""

    def say() -> None:
        with ExitStack() as stack:
            made = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(count)]
            for each in made:
                each.settimeout(2)
                each.sendto(b"hello", (OUTSIDE, UDP_ECHO_PORT))
            for each in made:
                each.recv(100)

    inside(places(bench.cluster)[source], say)


@contextmanager
def talking(bench: Bench, source: str) -> Iterator[None]:
    """A few datagrams at once, again and again while the block runs, two thousand at the most."""
    over = threading.Event()

    def talk() -> None:
        for _ in range(200):
            hellos(bench, source, 10)
            if over.wait(0.1):
                return

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def assert_fully_random(snat: Any) -> None:
    assert snat["verdict"] == "FULLY_RANDOM", snat["summary"]
    assert (snat["exit_code"], snat["as_intended"]) == (0, True)
    assert snat["preserved"] <= BY_CHANCE
    statistics = snat["statistics"]
    assert statistics["counted"] >= statistics["needed"] > 0
    assert 0 < statistics["false_alarm"] <= 0.001


@pytest.mark.parametrize(
    ("words", "protocol"),
    [
        (("--port", "443"), "tcp"),
        (("--protocol", "udp", "--port", str(UDP_ECHO_PORT)), "udp"),
        ((), "icmp"),
    ],
    ids=("tcp", "udp", "icmp"),
)
@pytest.mark.parametrize("source", [CART, "shop/search", "kube-system/node-exporter-1"])
def test_every_protocol_of_every_kind_of_source(
    fresh: Bench, source: str, words: tuple[str, ...], protocol: str
) -> None:
    snat = fresh.snat(source, "to", OUTSIDE, *words)
    assert_fully_random(snat)
    node = fresh.cluster.nodes[0]
    assert (snat["protocol"], snat["connections"], snat["opened"]["answered"]) == (protocol, CONNECTIONS, CONNECTIONS)
    assert snat["translated_to"] == str(node.address)
    assert snat["egress"]["interface"] == node.primary.interface
    assert {pair["translated"]["address"] for pair in snat["pairs"]} == {str(node.address)}
    # Seen on the ENI, not only in conntrack.
    assert {pair["interface"] for pair in snat["pairs"]} == {node.primary.interface}
    assert all({"RECORDED", "OBSERVED"} <= set(pair["witnesses"]) for pair in snat["pairs"])


def test_the_intent_is_told_where_ipamd_tells_it(lab: Bench, legacy_lab: Bench) -> None:
    words = (CART, "to", OUTSIDE, "--port", "443")
    told, untold = lab.snat(*words), legacy_lab.snat(*words)
    assert told["intent"] == {
        "translated": True,
        "random": "fully",
        "says": "AWS_VPC_K8S_CNI_RANDOMIZESNAT is prng",
        "source": "ip-192-168-1-29 ipamd",
    }
    assert "intent" not in untold
    assert "ipamd" in {gap["part"] for gap in untold["gaps"]}
    assert_fully_random(untold)


def test_without_a_destination_nothing_is_sent_and_present_entries_count(fresh: Bench) -> None:
    node = fresh.cluster.nodes[0].network_namespace
    pod = places(fresh.cluster)[CART]
    hellos(fresh, CART, CONNECTIONS)
    before = sent(pod), len(entries(fresh, OUTSIDE, "udp"))
    snat = fresh.snat(CART)
    assert (sent(pod), len(entries(fresh, OUTSIDE, "udp"))) == before
    assert_fully_random(snat)
    assert "opened" not in snat
    assert "destination" not in snat
    assert snat["connections"] == CONNECTIONS
    command_inside(node, ["conntrack", "-F"])
    without = fresh.snat(CART)
    assert (without["verdict"], without["exit_code"], without["connections"]) == ("INCONCLUSIVE", 4, 0)
    assert without["rule"] == snat["rule"]
    assert sent(pod) == before[0]


def test_live_takes_what_the_source_itself_does(fresh: Bench) -> None:
    process = fresh.start("snat", CART, "--live", "--timeout", "2", "-o", "json")
    with talking(fresh, CART):
        answer = finish(process)
    snat = answer.json | {"exit_code": answer.exit_code}
    assert snat["live"]
    assert "opened" not in snat
    assert_fully_random(snat)
    assert {pair["original"]["address"] for pair in snat["pairs"]} == {str(fresh.cluster.pod(CART).address)}


def test_live_without_traffic_sends_none(fresh: Bench) -> None:
    pod = places(fresh.cluster)[CART]
    before = sent(pod)
    snat = fresh.snat(CART, "to", OUTSIDE, "--live", "--timeout", "0.5")
    assert sent(pod) == before
    assert (snat["verdict"], snat["exit_code"], snat["connections"]) == ("INCONCLUSIVE", 4, 0)


def test_a_destination_that_refuses_tells_as_much(fresh: Bench) -> None:
    snat = fresh.snat(CART, "to", OUTSIDE, "--port", str(CLOSED_PORT))
    assert_fully_random(snat)
    assert snat["opened"]["refused"] == CONNECTIONS


@contextmanager
def silent(bench: Bench) -> Iterator[None]:
    """Nobody answers at SILENT_PORT outside, nor refuses."""
    rule = ["INPUT", "-p", "tcp", "--dport", str(SILENT_PORT), "-j", "DROP"]
    command_inside(bench.cluster.internet_namespace, ["iptables-nft", "-A", *rule])
    try:
        yield
    finally:
        command_inside(bench.cluster.internet_namespace, ["iptables-nft", "-D", *rule])


@contextmanager
def few_ports(bench: Bench, source: str, count: int) -> Iterator[None]:
    """The source has so few ports to choose from that it takes the same again soon."""
    path, pod = Path("/proc/sys/net/ipv4/ip_local_port_range"), places(bench.cluster)[source]
    usual = inside(pod, path.read_text)
    inside(pod, lambda: path.write_text(f"40000 {40000 + count - 1}"))
    try:
        yield
    finally:
        inside(pod, lambda: path.write_text(usual))


def test_a_destination_that_is_silent_tells_as_much(fresh: Bench) -> None:
    with silent(fresh):
        snat = fresh.snat(CART, "to", OUTSIDE, "--port", str(SILENT_PORT), "--timeout", "0.5")
    assert_fully_random(snat)
    assert snat["opened"]["silent"] == CONNECTIONS


def test_what_an_entry_of_before_says_is_not_held_against_the_rules_of_now(lab: Bench) -> None:
    """Somebody mends a rule and asks again: the entries of the first time live on, some with the same ports."""
    words = (CART, "to", OUTSIDE, "--port", str(SILENT_PORT), "--timeout", "0.5", "--connections", "120")
    with silent(lab), few_ports(lab, CART, 800):
        with lab.broken("missing-snat"):
            before = lab.snat(*words)
        after = lab.snat(*words)
    assert (before["verdict"], before["exit_code"]) == ("NOT_TRANSLATED", 3)
    older = [pair for pair in after["pairs"] if pair["original"] == pair["translated"]]
    assert older
    assert all(pair["discounted"] for pair in older)
    assert_fully_random(after)
    assert after["statistics"]["counted"] <= 120 - len(older)


def test_a_port_that_the_kernel_changes_without_a_rule_is_no_contradiction(fresh: Bench) -> None:
    """A service leads to where the pod is connected already, with the same port: the kernel tells the two apart by another."""
    redis = str(fresh.cluster.pod("shop/redis").address)
    rule = ["INPUT", "-p", "tcp", "--dport", "6379", "-j", "DROP"]
    far = places(fresh.cluster)["shop/redis"]
    command_inside(far, ["iptables-nft", "-A", *rule])
    try:
        with few_ports(fresh, CART, 300):
            fresh.snat(CART, "to", redis, "--port", "6379", "--timeout", "0.5", "--connections", "200")
            snat = fresh.snat(CART, "to", "svc/redis", "--timeout", "0.5", "--connections", "200")
    finally:
        command_inside(far, ["iptables-nft", "-D", *rule])
    assert [pair for pair in snat["pairs"] if pair["original"] != pair["translated"]]
    assert {pair["translated"]["address"] for pair in snat["pairs"]} == {str(fresh.cluster.pod(CART).address)}
    assert snat["verdict"] == "NOT_TRANSLATED", snat["summary"]


def test_what_has_no_route_leaves_nothing_to_judge(lab: Bench) -> None:
    with lab.broken("no-default-route"):
        snat = lab.snat(CART, "to", OUTSIDE, "--port", "443", "--timeout", "0.5")
    assert snat["verdict"] in ("NOT_TRANSLATED", "INCONCLUSIVE")
    assert snat["exit_code"] != 0
    assert snat["opened"]["unreachable"] + snat["opened"]["silent"] == CONNECTIONS
    assert "route" in snat["summary"]


def test_inside_the_vpc_nothing_is_translated_and_that_is_intended(bench: Bench) -> None:
    snat = bench.snat(CART, "to", "shop/redis", "--port", "6379")
    assert snat["verdict"] == "NOT_TRANSLATED"
    assert "rule" not in snat
    assert all(pair["original"] == pair["translated"] for pair in snat["pairs"])
    assert len(snat["pairs"]) == CONNECTIONS
    # Without IMDS nobody tells what the VPC's CIDRs are.
    assert (snat["exit_code"], "192.168.0.0/16" in snat["summary"]) == ((0, True) if "intent" in snat else (3, False))


def test_too_few_connections_say_how_many_it_takes(fresh: Bench) -> None:
    snat = fresh.snat(CART, "to", OUTSIDE, "--port", "443", "--connections", "3")
    assert (snat["verdict"], snat["exit_code"], snat["connections"]) == ("INCONCLUSIVE", 4, 3)
    assert str(snat["statistics"]["needed"]) in snat["summary"]


def test_of_an_ipv6_cluster_either_family(six: Bench) -> None:
    own = six.snat(CART, "to", IPV6_OUTSIDE, "--port", "443")
    assert (own["verdict"], own["exit_code"]) == ("NOT_TRANSLATED", 0), own["summary"]
    assert own["opened"]["answered"] == CONNECTIONS
    second = six.snat(CART, "to", OUTSIDE, "--port", "443")
    assert_fully_random(second)
    assert second["rule"]["chain"].startswith("CNI-E4-")
    assert second["rules"][0]["owner"] == "egress-cni"
    assert second["intent"]["says"] == "randomizeSNAT is prng"
    assert second["intent"]["source"].endswith("10-aws.conflist")


def test_a_source_without_agent_is_inconclusive(lab_to_break: Bench) -> None:
    first, second = (node.name for node in lab_to_break.cluster.nodes)
    os.kill(roles(lab_to_break.prefix)[f"agent-{first}"], signal.SIGKILL)
    snat = lab_to_break.snat(CART, "to", OUTSIDE, "--port", "443")
    assert (snat["verdict"], snat["exit_code"]) == ("INCONCLUSIVE", 4)
    assert [(gap["node"], gap["part"]) for gap in snat["gaps"] if gap["decisive"]] == [(first, "agent")]
    table = lab_to_break.snat("--all")
    assert table["exit_code"] == 4
    assert {node["source"]["node"] for node in table["nodes"]} >= {second}
    assert first in {gap["node"] for gap in table["gaps"]} | {
        gap["node"] for node in table["nodes"] for gap in node["gaps"]
    }


def test_every_node_at_once_sends_nothing(fresh: Bench) -> None:
    cart, namespaces = fresh.cluster.pod(CART), [pod.network_namespace for pod in fresh.cluster.pods]
    hellos(fresh, CART, CONNECTIONS)
    before = [sent(namespace) for namespace in namespaces]
    table = fresh.snat("--all")
    assert [sent(namespace) for namespace in namespaces] == before
    first, second = (node.name for node in fresh.cluster.nodes)
    found = {node["source"]["node"]: node for node in table["nodes"]}
    assert set(found) == {first, second}
    assert found[first]["verdict"] == "FULLY_RANDOM"
    # Beside them there may be what the agent asks a metadata service that is none.
    by_cart = [pair for pair in found[first]["pairs"] if pair["original"]["address"] == str(cart.address)]
    assert len(by_cart) == CONNECTIONS
    assert found[second]["verdict"] == "INCONCLUSIVE"
    assert table["exit_code"] == 4


def test_the_connections_are_closed_and_no_more_than_were_asked_for(fresh: Bench) -> None:
    pod = places(fresh.cluster)[CART]
    snat = fresh.snat(CART, "to", OUTSIDE, "--port", "443", "--connections", "100")
    made = [line for line in entries(fresh, OUTSIDE) if "dport=443" in line]
    assert snat["connections"] == len(made) == 100
    assert not [line for line in made if "ESTABLISHED" in line]
    assert len({re.search(r"sport=(\d+)", line)[1] for line in made}) == 100  # type: ignore[index]
    assert not command_inside(pod, ["ss", "-Htan", "dst", OUTSIDE]).splitlines()
    assert not [line for line in command_inside(pod, ["ss", "-Huan"]).splitlines() if OUTSIDE in line]


def test_an_interrupted_probe_leaves_no_connection(fresh: Bench) -> None:
    pod = places(fresh.cluster)[CART]
    process = fresh.start("snat", CART, "to", OUTSIDE, "--port", "443", "--connections", "1000")
    wait_until(lambda: bool(entries(fresh, OUTSIDE)))
    process.send_signal(signal.SIGINT)
    assert finish(process).exit_code == 130
    # What the agent began it ends by itself, and a second question finds it well.
    wait_until(lambda: not command_inside(pod, ["ss", "-Htan", "dst", OUTSIDE]))
    assert_fully_random(fresh.snat(CART, "to", OUTSIDE, "--port", "80"))
    assert not command_inside(pod, ["ss", "-Htan", "dst", OUTSIDE])
    assert len(entries(fresh, OUTSIDE)) <= 1000 + CONNECTIONS


def wait_until(holds: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(200):
        if holds():
            return
        waiting.wait(0.05)
    raise AssertionError("it did not come to that within some seconds")


def test_another_rule_that_comes_first_is_named_with_the_one_behind(lab: Bench) -> None:
    node = lab.cluster.nodes[0].network_namespace
    first = ["POSTROUTING", "-s", str(lab.cluster.pod(CART).address), "-j", "MASQUERADE"]
    command_inside(node, ["iptables-nft", "-t", "nat", "-I", *first])
    try:
        snat = lab.snat(CART, "to", OUTSIDE, "--port", "443")
        answer = lab.run("snat", CART, "to", OUTSIDE, "--port", "443")
    finally:
        command_inside(node, ["iptables-nft", "-t", "nat", "-D", *first])
    assert (snat["verdict"], snat["exit_code"], snat["preserved"]) == ("NOT_IN_EFFECT", 3, CONNECTIONS)
    standing = [(each["standing"], each["rule"]["chain"], each["rule"]["random"]) for each in snat["rules"]]
    assert standing[:2] == [("FIRST", "POSTROUTING", "none"), ("BEHIND", "AWS-SNAT-CHAIN-0", "fully")]
    assert answer.exit_code == 3
    assert "NOT_IN_EFFECT" in answer.output
