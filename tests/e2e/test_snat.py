"""`pathtap snat` as a person uses it: what is sent and what is not, by which protocol, of whom, and what is left afterwards.

Which rule translates, and with which flag, is held by test_snat_matrix; what is amiss by test_snat_amiss.
"""

import os
import re
import signal
import threading
from collections.abc import Iterator

import pytest
from labs import Bench, finish, running
from translation.traffic import (
    BY_CHANCE,
    OUTSIDE,
    SILENT_PORT,
    assert_fully_random,
    entries,
    forget,
    hellos,
    sent,
    silent,
    talking,
    wait_until,
)

from pathtap.lab.build import LabOptions
from pathtap.lab.kernel import command_inside
from pathtap.lab.names import places
from pathtap.lab.topology import UDP_ECHO_PORT
from pathtap.model.request import MOST_ANSWER_SECONDS

pytestmark = pytest.mark.e2e

CART, CONNECTIONS = "shop/cart", 64
IPV6_OUTSIDE = "2001:db8:100::8"


@pytest.fixture(scope="module")
def six() -> Iterator[Bench]:
    with running(LabOptions(prefix=f"e{os.getpid()}n", family="ipv6")) as bench:
        yield bench


@pytest.fixture
def fresh(bench: Bench) -> Bench:
    """Without a connection of before: an entry that is kept for minutes is evidence."""
    forget(bench)
    return bench


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


def test_live_by_an_address_towards_one_destination(fresh: Bench) -> None:
    cart = str(fresh.cluster.pod(CART).address)
    process = fresh.start("snat", cart, "to", OUTSIDE, "--live", "--timeout", "2", "-o", "json")
    with talking(fresh, CART), talking(fresh, "shop/search"):
        answer = finish(process)
    snat = answer.json | {"exit_code": answer.exit_code}
    assert snat["source"]["name"] == CART
    assert {pair["original"]["address"] for pair in snat["pairs"]} == {cart}
    assert_fully_random(snat)
    # Any protocol, where none was asked for; these are UDP's ports, and no identifiers.
    assert (snat["protocol"], {pair["protocol"] for pair in snat["pairs"]}) == ("", {"udp"})
    assert "ports" in snat["summary"]
    assert "identifier" not in snat["summary"]


def test_a_node_itself_is_a_source(bench: Bench) -> None:
    node = bench.cluster.nodes[1]
    snat = bench.snat(f"node/{node.name}", "to", OUTSIDE, "--port", "443")
    assert_fully_random(snat)
    assert (snat["source"]["kind"], snat["source"]["node"]) == ("NODE", node.name)
    assert {pair["original"]["address"] for pair in snat["pairs"]} == {str(node.address)}


def test_several_at_once_keep_to_their_own_connections(fresh: Bench) -> None:
    words = ("to", OUTSIDE, "--port", "443", "-o", "json")
    sources = (CART, CART, "shop/search", "shop/redis")
    answers = [finish(process) for process in [fresh.start("snat", source, *words) for source in sources]]
    for source, answer in zip(sources, answers, strict=True):
        snat = answer.json | {"exit_code": answer.exit_code}
        assert_fully_random(snat)
        assert (snat["source"]["name"], snat["connections"]) == (source, CONNECTIONS)
        own = {pair["original"]["address"] for pair in snat["pairs"]}
        assert own == {str(fresh.cluster.pod(source).address)}
    first, second = ({pair["original"]["port"] for pair in answer.json["pairs"]} for answer in answers[:2])
    assert len(first & second) <= BY_CHANCE


def test_live_without_traffic_sends_none(fresh: Bench) -> None:
    pod = places(fresh.cluster)[CART]
    before = sent(pod)
    snat = fresh.snat(CART, "to", OUTSIDE, "--live", "--timeout", "0.5")
    assert sent(pod) == before
    assert (snat["verdict"], snat["exit_code"], snat["connections"]) == ("INCONCLUSIVE", 4, 0)


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
    used = {re.search(r"sport=(\d+)", line)[1] for line in made}  # type: ignore[index]
    assert len(used) == 100
    # The pod may have closed connections of its own.
    left = command_inside(pod, ["ss", "-Htan", "dst", OUTSIDE]).splitlines()
    assert not [line for line in left if line.split()[3].rpartition(":")[2] in used]
    assert not [line for line in command_inside(pod, ["ss", "-Huan"]).splitlines() if OUTSIDE in line]


def test_an_interrupted_probe_leaves_no_connection(fresh: Bench) -> None:
    pod = places(fresh.cluster)[CART]

    def waiting() -> int:
        return len(command_inside(pod, ["ss", "-Htan", "state", "syn-sent", "dst", OUTSIDE]).splitlines())

    # Nobody answers, so that only the agent's own bound ends them.
    with silent(fresh):
        process = fresh.start(
            "snat", CART, "to", OUTSIDE, "--port", str(SILENT_PORT), "--connections", "1000", "--timeout", "10"
        )
        wait_until(lambda: waiting() > 100)
        process.send_signal(signal.SIGINT)
        assert finish(process).exit_code == 130
        assert waiting() > 100
        # What the agent began it ends by itself, ten seconds after the last at the latest, and a second question finds it well.
        threading.Event().wait(MOST_ANSWER_SECONDS)
        wait_until(lambda: waiting() == 0)
    assert_fully_random(fresh.snat(CART, "to", OUTSIDE, "--port", "80"))
    assert len(entries(fresh, OUTSIDE)) <= 1000 + CONNECTIONS
