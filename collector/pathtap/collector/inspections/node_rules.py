"""The ip rules of the node as a whole: 1024 for what is marked, and those that neither kernel nor CNI writes. Pure."""

import re
from collections.abc import Iterator
from dataclasses import replace

from pathtap.collector import findings
from pathtap.collector.inspections.defect import Defect, Traffic
from pathtap.collector.inspections.netfilter import has_restore_rule
from pathtap.collector.inspections.pod_rules import is_from_eni, leads_to_main, overruling_rules
from pathtap.collector.inspections.translation import is_snat_intended
from pathtap.collector.inspections.view import (
    EXTERNAL_SERVICES,
    FROM_MARK,
    FROM_POD,
    NodeView,
    expected,
    without,
)
from pathtap.collector.telling import words
from pathtap.forwarding.packet import Packet
from pathtap.forwarding.routing import RoutingDecision, RoutingTables
from pathtap.model.address import Address
from pathtap.model.node import LOCAL_TABLE, MAIN_TABLE, Rule, RuleAction

# `from all lookup local` at 0, or at 20 with security groups for pods in strict mode; main and default at the end;
# 1000 for l3mdev (net/ipv4/fib_rules.c, drivers/net/vrf.c).
KERNELS_OWN = (0, 20, 32766, 32767)
L3MDEV = 1000
BRANCH = 10
IMPORTANT_PODS = 64
# By the priorities that they choose; a rule does not say who wrote it.
WRITERS = (
    (range(30200, 30401), "nm-cloud-setup of NetworkManager"),
    (range(10000, 10512), "amazon-ec2-net-utils"),
    (range(5200, 5300), "Tailscale"),
)
# Network plugins that stand beside the VPC CNI and know what they do: Cilium's proxy and ENI rules.
NEIGHBOURS = re.compile(r"fwmark 0x[0-9a-f]*[2a]00/0xf00 lookup (?:2004|2005)\b")


def inspect(view: NodeView) -> Iterator[Defect]:
    if not view.was_read("rules", "routes"):
        return
    yield from _mark_rule(view)
    overruling = overruling_rules(view)
    for rule in view.rules:
        # What overrules rule 512 is told there.
        if not _is_known(rule, view) and rule not in overruling:
            yield from _foreign(view, rule)


def _mark_rule(view: NodeView) -> Iterator[Defect]:
    """1024 is needed where marks are given back to packets; what is not marked does not miss it.

    CNIs before v1.12.1 without node-port support have neither the rule nor the mangle rule.
    """
    if not any(pod.version == 4 for pod in view.pods) or any(_is_mark_rule(rule, view.connmark) for rule in view.rules):
        return
    settings = view.settings
    if settings is not None and settings.external_snat and not settings.node_port_support:
        return
    if not view.netfilter_was_read or not has_restore_rule(view):
        return
    marked = f"{view.connmark:#x}/{view.connmark:#x}"
    proof = (expected(f"no ip rule {FROM_MARK} fwmark {marked}", f"{view.node} ip rule"),)
    finding = findings.fwmark_rule_missing(view.node, marked, proof)
    node_ports = settings is None or settings.node_port_support
    yield Defect(finding=finding, traffic=Traffic.ANY if node_ports else Traffic.OUTSIDE)


def _is_mark_rule(rule: Rule, mark: int) -> bool:
    matches = rule.mark is not None and rule.mask and not (rule.mark ^ mark) & rule.mask
    narrow = rule.source or rule.destination or rule.in_interface or rule.out_interface
    leads = rule.table == MAIN_TABLE and rule.action is RuleAction.LOOKUP and rule.priority < FROM_POD
    return rule.family == 4 and bool(matches) and not narrow and not rule.inverted and leads


def _is_known(rule: Rule, view: NodeView) -> bool:
    """Whether the kernel or the VPC CNI writes such rules, of any version."""
    if rule.priority in KERNELS_OWN and rule.text.startswith("from all lookup "):
        return rule.table in (LOCAL_TABLE, MAIN_TABLE, 253)
    if rule.priority == L3MDEV and "l3mdev" in rule.text:
        return True
    if rule.priority == 0 and rule.table == LOCAL_TABLE:
        return True
    if rule.priority == BRANCH and rule.in_interface and rule.in_interface.startswith("vlan"):
        return True
    if leads_to_main(rule) and rule.destination is not None:
        return True
    if rule.priority == FROM_MARK and rule.table == MAIN_TABLE:
        # Up to v1.2 it was `not from all to VPC`.
        return rule.mark is not None or rule.inverted
    if rule.priority == EXTERNAL_SERVICES and rule.table == MAIN_TABLE and rule.destination is not None:
        return True
    if rule.priority == FROM_POD and rule.source is not None and rule.action is RuleAction.LOOKUP:
        return rule.source.prefixlen == rule.source.max_prefixlen
    return is_from_eni(rule, view)


def _foreign(view: NodeView, rule: Rule) -> Iterator[Defect]:
    changed = _changed_ways(view, rule)
    if not changed and NEIGHBOURS.search(rule.text):
        return
    writer = next((name for priorities, name in WRITERS if rule.priority in priorities), "")
    proof = [expected(words.rule_words(rule), f"{view.node} ip rule")]
    proof += [expected(claim, f"{view.node} ip rule") for claim in changed.values()][:3]
    finding = findings.foreign_ip_rule(view.node, words.rule_words(rule), writer, bool(changed), proof)
    yield Defect(finding=finding, concerns=frozenset(changed))


def _changed_ways(view: NodeView, rule: Rule) -> dict[Address, str]:
    """By pod, how the rule changes where a packet of it, or one to it, goes: with and without the rule."""
    pruned = RoutingTables(replace(view.snapshot, rules=without(view.rules, rule)))
    found: dict[Address, str] = {}
    for address, packet in (*_samples(view, rule), *_marked_samples(view, rule)):
        if address in found:
            continue
        now, then = view.model.tables.lookup(packet), pruned.lookup(packet)
        if _way(now) != _way(then):
            flow, mark = packet.five_tuple, f" (mark {packet.mark:#x})" if packet.mark else ""
            found[address] = f"{flow.source} → {flow.destination}{mark}: {now.text}; without it {then.text}"
    return found


def _way(decision: RoutingDecision) -> tuple[str, str, str]:
    return decision.interface, str(decision.gateway), decision.refused


def _samples(view: NodeView, rule: Rule) -> Iterator[tuple[Address, Packet]]:
    """Packets of the pods to what is outside, to a peer and to the VPC's router, as the node marks them; and answers to them."""
    primary = view.primary
    marks_outside = has_restore_rule(view) and is_snat_intended(view)
    for address, target in _pairs(view, rule):
        there = view.opening(address, target)
        marked = marks_outside and target == view.far_from(address) and rule.family == 4
        yield address, replace(there, mark=view.connmark) if marked else there
        yield address, Packet.opening(there.five_tuple.reversed, primary.name if primary else "")


def _marked_samples(view: NodeView, rule: Rule) -> Iterator[tuple[Address, Packet]]:
    """What stays inside has the mark where it answers a node port."""
    for address, target in _pairs(view, rule):
        if target != view.far_from(address):
            yield address, replace(view.opening(address, target), mark=view.connmark)


def _pairs(view: NodeView, rule: Rule) -> Iterator[tuple[Address, Address]]:
    """Pods, and where their packets go."""
    pods = [address for address in view.pods if address.version == rule.family]
    named = [address for address in pods if rule.source and address in rule.source][:IMPORTANT_PODS]
    routers = [hop.gateway for route in view.snapshot.routes for hop in route.next_hops if hop.gateway]
    for address in dict.fromkeys((*named, *pods[:IMPORTANT_PODS])):
        others = [pod for pod in pods if pod != address][:2]
        targets = [view.far_from(address), *others, *routers]
        for target in dict.fromkeys(each for each in targets if each is not None and each.version == rule.family):
            yield address, target
