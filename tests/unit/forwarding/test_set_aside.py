"""A model without a rule of NAT against a snapshot from which the rule is really gone, on nodes that a kernel was asked about."""

import json
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from differential import cases

from pathtap.forwarding import NodeModel, Packet, Prediction, predict
from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.netfilter import Backend, Chain, NetfilterRule, RuleSet
from pathtap.model.node import NodeSnapshot
from pathtap.model.trace import RuleReference

KEPT = sorted(each for each in cases.DIRECTORY.iterdir() if each.is_dir())
OUTSIDE = {4: ip_address("198.51.100.8"), 6: ip_address("2001:db8::8")}
TRANSLATES = {"snat", "dnat", "masquerade", "redirect"}


def packets(snapshot: NodeSnapshot) -> Iterator[Packet]:
    """What every host that has a route of its own would send to the internet, and the node itself."""
    for route in snapshot.routes:
        if route.destination.prefixlen != route.destination.max_prefixlen:
            continue
        for came_by in {hop.interface for hop in route.next_hops} | {""}:
            flow = FiveTuple(
                protocol=Protocol.TCP,
                source=route.destination.network_address,
                source_port=40_000,
                destination=OUTSIDE[route.family],
                destination_port=443,
            )
            yield Packet.opening(flow, came_by)


def without(snapshot: NodeSnapshot, reference: RuleReference) -> NodeSnapshot:
    """With a rule in its place that does nothing, so that the others keep their positions."""
    return replace(snapshot, rule_sets=tuple(_emptied(each, reference) for each in snapshot.rule_sets))


def _emptied(rule_set: RuleSet, reference: RuleReference) -> RuleSet:
    if (rule_set.backend, rule_set.table) != (reference.backend, reference.table):
        return rule_set
    return replace(rule_set, chains=tuple(_without(each, reference) for each in rule_set.chains))


def _without(chain: Chain, reference: RuleReference) -> Chain:
    def inert(rule: NetfilterRule) -> NetfilterRule:
        if reference.backend is not Backend.NFTABLES:
            return replace(rule, text="")
        statements = [each for each in json.loads(rule.expression) if TRANSLATES.isdisjoint(each)]
        return replace(rule, expression=json.dumps(statements))

    if chain.name != reference.chain:
        return chain
    rules = (
        inert(each) if (each.position, each.text) == (reference.position, reference.text) else each
        for each in chain.rules
    )
    return replace(chain, rules=tuple(rules))


def translating(prediction: Prediction) -> set[RuleReference]:
    found = {rule for rule in (prediction.snat.candidates if prediction.snat else ()) if rule}
    return found | ({prediction.dnat.rule} if prediction.dnat and prediction.dnat.rule else set())


@pytest.mark.parametrize("directory", KEPT, ids=lambda each: each.name)
def test_a_rule_that_is_set_aside_is_as_good_as_gone(directory: Path) -> None:
    case = cases.read(directory)
    model = NodeModel(case.snapshot)
    for packet in (case.packet, *packets(case.snapshot)):
        for rule in translating(predict(model, packet)):
            fewer = model.without([rule])
            assert predict(fewer, packet) == predict(NodeModel(without(case.snapshot, rule)), packet)
            assert rule not in translating(predict(fewer, packet))


def test_these_nodes_have_rules_to_set_aside() -> None:
    """Of most stores, so that the comparison is of something."""
    stores = set[Backend]()
    for directory in KEPT:
        snapshot = cases.read(directory).snapshot
        model = NodeModel(snapshot)
        stores |= {rule.backend for packet in packets(snapshot) for rule in translating(predict(model, packet))}
    assert stores == set(Backend)
