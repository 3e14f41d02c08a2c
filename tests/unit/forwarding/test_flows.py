"""One case for each flow of a VPC CNI node, in both chain forms, both iptables backends and v1.23's native connmark table."""

from dataclasses import replace
from ipaddress import IPv4Address, ip_address

import pytest

from pathtap.forwarding import NodeModel, Outcome, Packet, predict
from pathtap.model.address import FiveTuple, Protocol, Socket
from pathtap.model.netfilter import Backend, Random
from tests.unit.forwarding.eks import (
    FAR_POD,
    INTERNET,
    NEIGHBOUR,
    NODE,
    PRIMARY_POD,
    SECONDARY_POD,
    SNAT_RETURN,
    VETHS,
    node,
    rule_sets,
)
from tests.unit.forwarding.nodes import iptables

FORMS = [(form, backend) for backend in (Backend.LEGACY, Backend.NFT) for form in ("return", "jump", "native")]


@pytest.fixture(params=FORMS, ids=lambda param: f"{param[1].value}-{param[0]}")
def model(request: pytest.FixtureRequest) -> NodeModel:
    return NodeModel(node(rule_sets(*request.param)))


def syn(source: str, destination: str, port: int = 443, iface: str | None = None) -> Packet:
    flow = FiveTuple(
        protocol=Protocol.TCP,
        source=ip_address(source),
        source_port=41874,
        destination=ip_address(destination),
        destination_port=port,
    )
    return Packet.opening(flow, VETHS.get(source, "") if iface is None else iface)


def test_secondary_pod_to_the_internet_leaves_by_the_primary_eni(model: NodeModel) -> None:
    prediction = predict(model, syn(SECONDARY_POD, INTERNET))
    assert prediction.outcome is Outcome.FORWARDED
    assert not prediction.unknown
    assert [(mark.kind, mark.before, mark.after) for mark in prediction.marks] == [
        ("connmark", 0, 0x80),
        ("fwmark", 0, 0x80),
    ]
    assert prediction.routing is not None
    assert prediction.routing.rule is not None
    assert (prediction.routing.rule.priority, prediction.routing.interface) == (1024, "eth0")
    assert prediction.routing.gateway == IPv4Address("192.168.1.1")
    assert prediction.snat is not None
    assert prediction.snat.rule is not None
    assert (prediction.snat.address, prediction.snat.random) == (IPv4Address(NODE), Random.FULLY)
    assert prediction.snat.rule.chain.startswith("AWS-SNAT-CHAIN-")
    assert prediction.packet.five_tuple.source == IPv4Address(NODE)
    assert prediction.dnat is None


def test_the_rule_that_set_the_connmark_is_named_by_its_place(model: NodeModel) -> None:
    first, second = predict(model, syn(SECONDARY_POD, INTERNET)).marks
    places = {
        ("AWS-CONNMARK-CHAIN-0", 2, "PREROUTING", 3),
        ("AWS-CONNMARK-CHAIN-1", 1, "PREROUTING", 3),
        ("snat-mark", 2, "nat-prerouting", 3),
    }
    assert (first.rule.chain, first.rule.position, second.rule.chain, second.rule.position) in places


def test_secondary_pod_to_the_vpc_leaves_by_its_own_eni(model: NodeModel) -> None:
    prediction = predict(model, syn(SECONDARY_POD, FAR_POD))
    assert prediction.outcome is Outcome.FORWARDED
    assert prediction.routing is not None
    assert prediction.routing.rule is not None
    assert prediction.routing.route is not None
    assert (prediction.routing.rule.priority, prediction.routing.route.table) == (1536, 2)
    assert prediction.routing.interface == "eth1"
    assert (prediction.snat, prediction.dnat, prediction.marks, prediction.unknown) == (None, None, (), ())


@pytest.mark.parametrize(("destination", "translated"), [(INTERNET, True), (FAR_POD, False)])
def test_primary_pod(model: NodeModel, destination: str, translated: bool) -> None:
    prediction = predict(model, syn(PRIMARY_POD, destination))
    assert prediction.routing is not None
    assert prediction.routing.interface == "eth0"
    assert (prediction.snat is not None) is translated
    assert not prediction.unknown


def test_pod_on_the_same_node(model: NodeModel) -> None:
    prediction = predict(model, syn(SECONDARY_POD, NEIGHBOUR))
    assert prediction.routing is not None
    assert prediction.routing.rule is not None
    assert (prediction.routing.rule.priority, prediction.routing.interface) == (512, "eniccc")
    assert prediction.snat is None


def test_a_service_has_its_backends_as_alternatives(model: NodeModel) -> None:
    prediction = predict(model, syn(SECONDARY_POD, "10.100.0.10", 80))
    assert prediction.outcome is Outcome.FORWARDED
    assert prediction.dnat is not None
    assert prediction.dnat.rule is None
    assert set(prediction.dnat.alternatives) == {
        Socket(IPv4Address(FAR_POD), 8080),
        Socket(IPv4Address(NEIGHBOUR), 8080),
    }
    # The way out depends on the backend, which no gap explains.
    assert prediction.routing is not None
    assert prediction.routing.interface == ""
    assert prediction.unknown == ()


@pytest.mark.parametrize(("backend", "interface_name"), [(FAR_POD, "eth1"), (NEIGHBOUR, "eniccc")])
def test_the_recorded_backend_settles_a_service(model: NodeModel, backend: str, interface_name: str) -> None:
    seen = Socket(IPv4Address(backend), 8080)
    prediction = predict(model, syn(SECONDARY_POD, "10.100.0.10", 80), translated_to=seen)
    assert prediction.dnat is not None
    assert prediction.dnat.rule is not None
    assert (prediction.dnat.alternatives, prediction.dnat.rule.chain[:9]) == ((seen,), "KUBE-SEP-")
    assert prediction.routing is not None
    assert prediction.routing.interface == interface_name
    assert (prediction.snat, prediction.unknown, prediction.marks) == (None, (), ())


def test_a_recorded_backend_that_no_rule_makes_is_reported(model: NodeModel) -> None:
    prediction = predict(model, syn(SECONDARY_POD, "10.100.0.10", 80), Socket(IPv4Address("192.168.9.10"), 8080))
    assert any("192.168.9.10:8080" in why for why in prediction.unknown)


def test_a_pod_that_reaches_itself_through_its_service_is_masqueraded(model: NodeModel) -> None:
    seen = Socket(IPv4Address(NEIGHBOUR), 8080)
    prediction = predict(model, syn(NEIGHBOUR, "10.100.0.10", 80), translated_to=seen)
    assert prediction.snat is not None
    assert prediction.snat.rule is not None
    assert (prediction.snat.rule.chain, prediction.snat.address) == ("KUBE-POSTROUTING", IPv4Address(NODE))
    assert [(mark.before, mark.after) for mark in prediction.marks] == [(0, 0x4000), (0x4000, 0)]
    assert prediction.routed is not None
    assert (prediction.routed.mark, prediction.packet.mark) == (0x4000, 0)


def test_a_hollow_service_is_rejected(model: NodeModel) -> None:
    prediction = predict(model, syn(PRIMARY_POD, "10.100.0.66", 80))
    assert prediction.outcome is Outcome.REJECTED
    assert prediction.dropped_by is not None
    assert (prediction.dropped_by.table, prediction.dropped_by.chain) == ("filter", "KUBE-SERVICES")
    assert prediction.snat is None
    assert prediction.routing is not None
    assert prediction.routing.interface == "eth0"


def test_host_network_source(model: NodeModel) -> None:
    inside = predict(model, syn(NODE, FAR_POD, iface=""))
    assert (inside.outcome, inside.snat, inside.unknown) == (Outcome.FORWARDED, None, ())
    outside = predict(model, syn(NODE, INTERNET, iface=""))
    assert outside.snat is not None
    assert (outside.snat.address, outside.snat.random) == (IPv4Address(NODE), Random.FULLY)
    hollow = predict(model, syn(NODE, "10.100.0.66", 80, iface=""))
    assert hollow.outcome is Outcome.REJECTED


def test_host_network_source_to_a_service_is_routed_again(model: NodeModel) -> None:
    prediction = predict(model, syn(NODE, "10.100.0.10", 80, iface=""), Socket(IPv4Address(NEIGHBOUR), 8080))
    assert prediction.routing is not None
    assert prediction.routing.interface == "eniccc"
    assert prediction.packet.out_interface == "eniccc"


def test_host_to_itself_is_local(model: NodeModel) -> None:
    prediction = predict(model, syn(NODE, "192.168.1.77", iface=""))
    assert prediction.outcome is Outcome.LOCAL
    assert prediction.packet.in_interface == "lo"


def test_a_request_to_the_node_itself_is_local(model: NodeModel) -> None:
    prediction = predict(model, syn("203.0.113.5", NODE, 22, iface="eth0"))
    assert prediction.outcome is Outcome.LOCAL
    assert prediction.packet.connmark == 0x80


def test_a_node_port_request_is_marked_and_translated(model: NodeModel) -> None:
    seen = Socket(IPv4Address(NEIGHBOUR), 8080)
    prediction = predict(model, syn("203.0.113.5", NODE, 30080, iface="eth0"), seen)
    assert (prediction.outcome, prediction.packet.connmark) == (Outcome.FORWARDED, 0x80)
    assert prediction.routing is not None
    assert prediction.routing.interface == "eniccc"


def test_reply_from_the_internet_returns_to_the_pod(model: NodeModel) -> None:
    came = FiveTuple(
        protocol=Protocol.TCP,
        source=IPv4Address(INTERNET),
        source_port=443,
        destination=IPv4Address(NODE),
        destination_port=50712,
    )
    made = replace(came, destination=IPv4Address(SECONDARY_POD), destination_port=41874)
    prediction = predict(model, Packet.replying(came, made, "eth0", connmark=0x80))
    assert (prediction.outcome, prediction.packet.five_tuple) == (Outcome.FORWARDED, made)
    assert prediction.routing is not None
    assert prediction.routing.rule is not None
    assert (prediction.routing.rule.priority, prediction.routing.interface) == (512, "enibbb")
    assert (prediction.snat, prediction.dnat, prediction.unknown) == (None, None, ())


def test_reply_of_a_secondary_pod_to_a_node_port_client_uses_the_restored_mark(model: NodeModel) -> None:
    came = syn(SECONDARY_POD, "203.0.113.5", 51000).five_tuple
    made = replace(came, source=IPv4Address(NODE), source_port=30080)
    prediction = predict(model, Packet.replying(came, made, "enibbb", connmark=0x80))
    assert [(mark.kind, mark.after, mark.rule.table) for mark in prediction.marks] == [("fwmark", 0x80, "mangle")]
    assert prediction.routing is not None
    assert prediction.routing.interface == "eth0"
    assert prediction.packet.five_tuple == made


def test_without_the_connmark_rules_the_pod_leaves_by_its_own_eni_with_the_primary_address() -> None:
    nat = f"*nat\n-A POSTROUTING -j AWS-SNAT-CHAIN-0{SNAT_RETURN}\nCOMMIT"
    prediction = predict(NodeModel(node(iptables(nat))), syn(SECONDARY_POD, INTERNET))
    assert prediction.routing is not None
    assert prediction.routing.interface == "eth1"
    assert prediction.snat is not None
    assert prediction.snat.address == IPv4Address(NODE)


def test_snat_rules_live_in_both_backends_leave_the_rule_unknown_and_the_address_certain() -> None:
    both = rule_sets("return", Backend.LEGACY) + rule_sets("return", Backend.NFT)
    prediction = predict(NodeModel(node(both)), syn(SECONDARY_POD, INTERNET))
    assert prediction.outcome is Outcome.FORWARDED
    assert prediction.snat is not None
    assert (prediction.snat.rule, prediction.snat.address) == (None, IPv4Address(NODE))
    assert any("order of" in why for why in prediction.unknown)
