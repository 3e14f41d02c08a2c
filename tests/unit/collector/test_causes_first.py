"""What is wrong comes first, and what merely follows from it behind it."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest
from journeys import CART_REDIS, CART_TO_REDIS, codes, flow, question, record, silent, syn, trace_of, travel, verdict
from small_cluster import (
    HOST_1,
    INTERNET,
    NODE_1,
    NODE_2,
    ORDERS,
    REDIS,
    SEARCH,
    filtering,
    node_1,
    node_2,
    without_rules,
)

from pathtap.collector import findings
from pathtap.collector.foreseeing.halting import misses_its_pod
from pathtap.collector.judging.once import told_once
from pathtap.model.netfilter import Backend
from pathtap.model.node import Interface, Neighbour, NodeSnapshot, PodInterior, Role
from pathtap.model.packet import PacketObservation
from pathtap.model.trace import Action, Evidence, Finding, RuleReference, Trace, Witness

OUT, ACROSS = flow(SEARCH, INTERNET, 443), flow(SEARCH, ORDERS, 8080)
TRANSLATED = replace(OUT, source=flow(HOST_1, INTERNET).source, source_port=50_712)


def trace(snapshot: NodeSnapshot, destination: str, seen: list[PacketObservation]) -> Trace:
    of = OUT if destination == INTERNET else ACROSS
    asked = question("shop/search", destination, of.destination_port)
    return trace_of(record(asked, [silent(of)], seen, snapshots=[snapshot, node_2()]))


@pytest.mark.parametrize(
    ("code", "snapshot", "destination", "seen"),
    [
        (
            "FWMARK_RULE_MISSING",
            without_rules(node_1(), "fwmark"),
            INTERNET,
            travel(syn(OUT), "1 enisearch in", ("1 eth1 out", TRANSLATED)),
        ),
        (
            "FROM_POD_RULE_MISSING",
            without_rules(node_1(), "from 192.168.1.116"),
            "shop/orders",
            travel(syn(ACROSS), "1 enisearch in", "1 eth0 out"),
        ),
    ],
)
def test_a_source_that_its_eni_does_not_own_comes_behind_the_rule_that_is_missing(
    code: str, snapshot: NodeSnapshot, destination: str, seen: list[PacketObservation]
) -> None:
    made = trace(snapshot, destination, seen)
    assert codes(made) == [code, "SOURCE_NOT_OWNED_BY_ENI"]
    cause, consequence = made.verdict.findings
    assert "ip rule add priority" in cause.fix
    assert consequence.fix == f"none of its own: it goes away with {code} above"
    assert made.verdict.summary.index(cause.text[1:]) < made.verdict.summary.index(consequence.text[1:])


def test_a_rule_that_leads_astray_explains_only_the_packets_that_it_led() -> None:
    def foreign(text: str) -> Finding:
        proof = (Evidence(witness=Witness.EXPECTED, claim=text, source=f"{NODE_1} ip rule"),)
        return findings.foreign_ip_rule(NODE_1, text, "", True, proof)

    leading, other = "1000 from 192.168.1.116 lookup 100", "1001 from 192.168.1.41 lookup 101"
    astray = findings.wrong_eni(NODE_1, "eth0", SEARCH, leading, None, "", ())
    assert [each.code for each in told_once((astray,), (foreign(leading),))] == ["FOREIGN_IP_RULE", "WRONG_ENI"]
    assert told_once((astray,), (foreign(other),)) == (astray, foreign(other))


def test_what_would_stop_the_packet_further_on_comes_last_and_in_the_conditional() -> None:
    """A trace whose packet never left node 1, and an explanation of the same."""
    dropping = filtering(node_2(), "forward", "-j DROP")
    broken = without_rules(node_1(), "from 192.168.1.116")
    seen = travel(syn(ACROSS), "1 enisearch in", "1 eth0 out")
    asked = question("shop/search", "shop/orders", 8080)
    made = trace_of(record(asked, [silent(ACROSS)], seen, snapshots=[broken, dropping]))
    assert codes(made) == ["FROM_POD_RULE_MISSING", "SOURCE_NOT_OWNED_BY_ENI", "FILTER_DROP"]
    assert f"a filter rule on {NODE_2} would also drop the packet" in made.verdict.findings[-1].text
    assert f"{NODE_2} drops" not in made.verdict.summary


def test_what_drops_the_packet_where_it_came_to_is_said_as_it_is() -> None:
    dropping = filtering(node_2(), "forward", "-j DROP")
    seen = travel(syn(ACROSS), "1 enisearch in", "1 eth1 out", "2 eth1 in")
    asked = question("shop/search", "shop/orders", 8080)
    (found,) = trace_of(record(asked, [silent(ACROSS)], seen, snapshots=[node_1(), dropping])).verdict.findings
    assert f"a filter rule on {NODE_2} drops the packet" in found.text


@pytest.mark.parametrize(("pod", "misses"), [(REDIS, True), (f"{REDIS}1", False)])
def test_what_goes_to_a_mac_that_is_nobodys_misses_the_pod_that_it_was_for(pod: str, misses: bool) -> None:
    stale = findings.pod_neighbour_stale(NODE_2, "shop/redis", pod, "eniredis", "02:00:00:00:00:01", ())
    assert misses_its_pod(stale, NODE_2, ip_address(REDIS)) is misses
    assert not misses_its_pod(stale, NODE_1, ip_address(REDIS))


def test_a_packet_that_left_by_its_pods_veth_for_a_stale_mac_is_not_delivered() -> None:
    """The capture of the veth sees it, the pod does not."""
    link = Interface(
        index=2,
        name="eth0",
        role=Role.OTHER,
        mac="02:00:00:00:00:01",
        mtu=9001,
        up=True,
        addresses=(ip_interface(REDIS),),
    )
    interior = PodInterior(address=ip_address(REDIS), interfaces=(link,))
    stale = Neighbour(address=ip_address(REDIS), interface="eniredis", mac="00:00:5e:00:53:01", state="permanent")
    links = tuple(
        replace(each, mac="02:00:00:00:00:02") if each.name == "eniredis" else each for each in node_2().interfaces
    )
    broken = replace(node_2(), interfaces=links, interiors=(interior,), neighbours=(stale,))
    asked = question("shop/cart", "shop/redis", 6379)
    seen = travel(syn(CART_REDIS), *CART_TO_REDIS)
    made = trace_of(record(asked, [silent(CART_REDIS)], seen, snapshots=[node_1(), broken]))
    assert verdict(made) == ("DROPPED", "NOT_SEEN", ["POD_NEIGHBOUR_STALE"])
    assert [step.action for step in made.forward.hops[-1].steps][-2:] == [Action.FORWARDED, Action.DROPPED]
    assert "does not reach shop/redis" in made.verdict.summary


@pytest.mark.parametrize(("chain", "explained"), [("AWS-CONNMARK-CHAIN-0", True), ("PREROUTING", False)])
def test_a_service_that_is_translated_too_late_explains_the_marks_of_the_cni_alone(chain: str, explained: bool) -> None:
    late = findings.connmark_before_dnat(NODE_1, "nat PREROUTING", "kube-proxy nat-prerouting", False, ())
    text = "-j CONNMARK --set-xmark 0x80/0x80"
    by = RuleReference(backend=Backend.NFT, table="nat", chain=chain, position=2, text=text)
    astray = findings.wrong_eni(NODE_1, "eth0", SEARCH, "1024 from all fwmark 0x80/0x80 lookup main", by, "", ())
    found = [each.code for each in told_once((astray,), (late,))]
    assert (found == ["CONNMARK_BEFORE_DNAT", "WRONG_ENI"]) is explained
