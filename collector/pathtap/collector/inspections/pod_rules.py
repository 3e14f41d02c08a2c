"""The ip rules that every pod has or must not have: 512 to it, 1536 from it where its ENI is not the primary one. Pure."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

from pathtap.collector import findings
from pathtap.collector.inspections.defect import Defect, Traffic
from pathtap.collector.inspections.view import (
    FROM_ENI,
    FROM_POD,
    TO_POD,
    NodeView,
    expected,
    from_pod_rules,
    known_addresses,
)
from pathtap.collector.telling import words
from pathtap.model.address import Address
from pathtap.model.inventory import Pod
from pathtap.model.node import MAIN_TABLE, Interface, Role, Rule, RuleAction


def inspect(view: NodeView) -> Iterator[Defect]:
    if not view.was_read("rules", "routes"):
        return
    yield from _towards_pods(view)
    for address, pod in view.pods.items():
        if not view.has_branch_eni(address):
            yield from _from_pod(view, address, pod)
    yield from _left_over(view)


def _towards_pods(view: NodeView) -> Iterator[Defect]:
    # Without a rule that leads pods' packets elsewhere, main decides all the same.
    hurts = any(rule.priority == FROM_POD for rule in view.rules)
    for address, pod in view.pods.items():
        if any(each.name.startswith("vlan") for each in view.veths.get(address, ())):
            continue
        rules = [rule for rule in view.rules if rule.destination == ip_network(address) and leads_to_main(rule)]
        if not rules:
            proof = (expected(f"no ip rule {TO_POD} to {address}", f"{view.node} ip rule"),)
            finding = findings.to_pod_rule_missing(view.node, pod.key, str(address), hurts, proof)
            yield Defect(finding=finding, concerns=frozenset({address}), traffic=Traffic.INSIDE)
        elif (rule := _overruling(view, address)) is not None:
            proof = (expected(words.rule_words(rule), f"{view.node} ip rule"),)
            finding = findings.to_pod_rule_overruled(view.node, pod.key, str(address), words.rule_words(rule), proof)
            yield Defect(finding=finding, concerns=frozenset({address}))


def leads_to_main(rule: Rule) -> bool:
    return rule.priority == TO_POD and rule.table == MAIN_TABLE and rule.action is RuleAction.LOOKUP


def overruling_rules(view: NodeView) -> frozenset[Rule]:
    """The rules before 512 that lead packets for pods elsewhere."""
    return frozenset(rule for address in view.pods if (rule := _overruling(view, address)) is not None)


def _overruling(view: NodeView, address: Address) -> Rule | None:
    """The rule before 512 by which a packet for the pod goes anywhere but to its veth."""
    veths = {each.name for each in view.veths.get(address, ())}
    peers = [peer for peer in view.pods if peer.version == address.version and peer != address][:2]
    enis = [each for each in view.snapshot.interfaces if each.role.is_eni]
    others = [own.ip for eni in enis for own in eni.addresses if own.version == address.version][:1]
    packets = [view.opening(peer, address) for peer in peers]
    packets += [replace(view.opening(other, address), in_interface=eni.name) for other in others for eni in enis]
    for packet in packets:
        for mark in (0, view.connmark):
            decision = view.model.tables.lookup(replace(packet, mark=mark))
            rule = decision.rule
            if rule is None or decision.unknown or decision.local or decision.interface in veths:
                continue
            if rule.priority < TO_POD:
                return rule
    return None


def _from_pod(view: NodeView, address: Address, pod: Pod) -> Iterator[Defect]:
    rules, owner = from_pod_rules(view.rules, address), view.owner(address)
    concerns = frozenset({address})
    tables = sorted({rule.table for rule in rules})
    duplicates = {rule.destination for rule in rules if _tables_of(rules, rule) > 1}
    proof = tuple(expected(words.rule_words(rule), f"{view.node} ip rule") for rule in rules)
    if duplicates:
        astray = next((r for r in rules if not _fits(view, r, owner)), None) if owner else None
        which = words.rule_words(astray) if astray else ""
        yield Defect(
            finding=findings.from_pod_rule_duplicated(view.node, pod.key, str(address), tables, which, proof),
            concerns=concerns,
        )
    elif owner is not None and owner.role is Role.SECONDARY_ENI and not rules:
        says = expected(f"{address} belongs to {_eni_words(owner)}", f"{view.node} ENIs")
        table = view.table_of(owner, address.version)
        finding = findings.from_pod_rule_missing(view.node, pod.key, str(address), owner.name, table, (says,))
        yield Defect(finding=finding, concerns=concerns)
    elif owner is not None and (wrong := next((r for r in rules if not _fits(view, r, owner)), None)) is not None:
        says = expected(f"{address} belongs to {_eni_words(owner)}", f"{view.node} ENIs")
        text = words.rule_words(wrong)
        table = view.table_of(owner, address.version) if owner.role is Role.SECONDARY_ENI else 0
        yield Defect(
            finding=findings.from_pod_rule_wrong(
                view.node, pod.key, str(address), owner.name, text, table, (*proof, says)
            ),
            concerns=concerns,
        )


def _tables_of(rules: tuple[Rule, ...], rule: Rule) -> int:
    return len({other.table for other in rules if other.destination == rule.destination})


def _eni_words(eni: Interface) -> str:
    return f"{eni.name} {eni.eni_id}".rstrip()


def _fits(view: NodeView, rule: Rule, owner: Interface) -> bool:
    """Whether the rule's table leads out of the pod's ENI; one without default route is for another inspection, unless the ENI
    has another.
    """
    if owner.role is Role.PRIMARY_ENI:
        return rule.table == MAIN_TABLE
    if rule.table == MAIN_TABLE:
        return False
    routes = view.default_routes(rule.table, rule.family)
    if not routes:
        return not view.table_of(owner, rule.family)
    return any(hop.interface == owner.name for route in routes for hop in route.next_hops)


def _left_over(view: NodeView) -> Iterator[Defect]:
    """Rules 1536 from addresses that nobody has: neither a pod of the inventory nor one whose veth is there already."""
    known = known_addresses(view.node, view.inventory) | view.veths.keys() | view.snapshot.addresses()
    for rule in view.rules:
        source = rule.source
        if rule.priority != FROM_POD or source is None or source.prefixlen != source.max_prefixlen:
            continue
        if source.network_address not in known:
            proof = (expected(words.rule_words(rule), f"{view.node} ip rule"),)
            finding = findings.from_pod_rule_left(view.node, str(source.network_address), words.rule_words(rule), proof)
            yield Defect(finding=finding, concerns=frozenset({source.network_address}))


def is_from_eni(rule: Rule, view: NodeView) -> bool:
    """`32765 from ENI_ADDRESS lookup TABLE`, and the same at other priorities: what an ENI's own address sends leaves by it."""
    if rule.source is None or rule.source.prefixlen != rule.source.max_prefixlen or rule.inverted:
        return False
    address = rule.source.network_address
    owner = next((i for i in view.snapshot.interfaces if any(a.ip == address for a in i.addresses)), None)
    if owner is None or rule.action is not RuleAction.LOOKUP:
        return False
    routes = view.default_routes(rule.table, rule.family)
    return rule.priority == FROM_ENI or any(hop.interface == owner.name for r in routes for hop in r.next_hops)
