"""Mends that a person can type, true causes, and each cause once."""

import shlex
from dataclasses import replace
from ipaddress import ip_address

import pytest
from journeys import answered, codes, flow, question, record, syn, syn_ack, trace_of, travel
from small_cluster import INTERNET, NODE_1, ORDERS, SEARCH, SERVICE, chain, cluster, node_1, node_2, without_rules

from pathtap.collector import findings
from pathtap.collector.foreseeing.foresee import backends_gone, foresee
from pathtap.collector.foreseeing.ways import placed
from pathtap.collector.inspections.links import inspect as inspect_links
from pathtap.collector.inspections.view import view_of
from pathtap.collector.judging.once import told_once
from pathtap.forwarding.fabric import Fabric
from pathtap.forwarding.journey import walk
from pathtap.forwarding.node import NodeModel
from pathtap.forwarding.packet import Packet
from pathtap.model.address import Socket
from pathtap.model.netfilter import Backend, RuleSet
from pathtap.model.node import NodeSnapshot
from pathtap.model.trace import RuleReference


def of_rule(text: str, backend: Backend = Backend.NFT, position: int = 1) -> RuleReference:
    return RuleReference(backend=backend, table="filter", chain="FORWARD", position=position, text=text)


def test_a_rule_is_deleted_by_its_own_words_and_nothing_in_them_is_expanded() -> None:
    rule = of_rule('-d 192.0.2.1/32 -m comment --comment "$(reboot) it\'s" -j DROP')
    fix = findings.filter_drop(NODE_1, rule, "ip", ()).fix
    command = f"on {NODE_1}: iptables-nft -t filter -D FORWARD "
    assert fix.startswith(command)
    words = shlex.split(fix.removeprefix(command))
    assert words == ["-d", "192.0.2.1/32", "-m", "comment", "--comment", "$(reboot) it's", "-j", "DROP"]
    assert '"$(reboot)' not in fix


def test_a_native_rule_is_deleted_from_the_table_of_its_family() -> None:
    assert (
        "nft -a list chain inet filter FORWARD"
        in findings.filter_drop(NODE_1, of_rule("drop", Backend.NFTABLES), "inet", ()).fix
    )
    policy = findings.filter_drop(NODE_1, of_rule("policy DROP", Backend.NFTABLES, 0), "inet", ())
    assert "nft add chain inet filter FORWARD '{ policy accept; }'" in policy.fix
    assert policy.text.startswith("a chain's policy on")
    assert "#0" not in policy.text


def with_chain(snapshot: NodeSnapshot, table: str, *rules: str) -> NodeSnapshot:
    kind, priority = ("nat", -100) if table == "nat" else ("filter", -150)
    made = replace(chain("PREROUTING", *rules, hook="prerouting", priority=priority), kind=kind)
    added = RuleSet(backend=Backend.NFT, family="ip", table=table, chains=(made,))
    return replace(snapshot, rule_sets=(added,))


def test_the_rule_that_marked_the_connection_is_named_and_not_the_one_that_restores_the_mark() -> None:
    marking = "-s 192.168.1.116/32 -j CONNMARK --set-xmark 0x80/0x80"
    restoring = "-i eni+ -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80"
    snapshot, known = with_chain(node_1(), "mangle", marking, restoring), cluster()
    fabric = Fabric({NODE_1: NodeModel(snapshot), node_2().node: NodeModel(node_2())}, placed(known))
    way = walk(fabric, NODE_1, Packet.opening(flow(SEARCH, ORDERS, 8080), "enisearch"))
    (found,) = foresee(way, fabric, known)
    assert found.code == "WRONG_ENI"
    assert f"iptables-nft -t mangle -D PREROUTING {marking};" in found.fix
    assert "restore" not in found.fix


def test_a_backend_that_is_gone_is_named_though_the_packet_follows_another() -> None:
    known = cluster()
    service = next(each for each in known.services.values() if ip_address(SERVICE) in each.cluster_addresses)
    port = service.ports[0].port
    fabric = Fabric({NODE_1: NodeModel(node_1()), node_2().node: NodeModel(node_2())}, placed(known))
    way = walk(fabric, NODE_1, Packet.opening(flow(SEARCH, SERVICE, port), "enisearch"))
    alive = Socket(service.backends[0].address, service.backends[0].port)
    gone = Socket(ip_address("192.168.2.199"), 6379)
    chosen = replace(way, forward=(replace(way.forward[0], alternatives=(alive, gone)), *way.forward[1:]))
    (found,) = backends_gone(chosen, known)
    assert found.code == "SERVICE_BACKEND_GONE"
    assert "192.168.2.199:6379" in found.text


def test_packets_show_and_the_inspection_mends() -> None:
    seen = findings.pod_route_missing(NODE_1, "shop/cart", "192.168.1.41", "eth0", ())
    foreseen = findings.pod_route_missing(NODE_1, "shop/cart", "192.168.1.41", "eth0", ())
    inspected = findings.pod_route_missing(NODE_1, "shop/cart", "192.168.1.41", "eth0", (), "enicart")
    (told,) = told_once((seen,), (foreseen, inspected))
    assert "dev enicart scope link" in told.fix


@pytest.mark.parametrize("answered", [True, False])
def test_what_would_lead_a_packet_astray_is_not_said_of_one_that_came_and_was_answered(answered: bool) -> None:
    stale = findings.from_pod_rule_wrong(NODE_1, "shop/search", SEARCH, "eth1", "1536 from x", 2, ())
    assert told_once((), (stale,), answered=answered) == (() if answered else (stale,))


def test_a_veth_that_is_down_has_no_route_and_that_is_said_once() -> None:
    missing = findings.pod_route_missing(NODE_1, "shop/cart", "192.168.1.41", "eth0", ())
    veth = findings.link_down(NODE_1, "enicart", "the veth of shop/cart 192.168.1.41", "", ())
    eni = findings.link_down(NODE_1, "eth1", "an ENI that has pods", "", ())
    assert told_once((missing,), (veth,)) == (veth,)
    assert told_once((missing,), (eni,)) == (missing, eni)


def test_an_eni_that_is_down_is_called_what_it_is_whatever_pods_are_asked_for() -> None:
    interfaces = tuple(replace(each, up=each.name != "eth0") for each in node_1().interfaces)
    snapshot = replace(node_1(), interfaces=interfaces)
    (defect,) = inspect_links(replace(view_of(snapshot, cluster()), pods={}))
    assert "eth0" in defect.finding.text
    assert "the primary ENI" in defect.finding.text


def test_a_mark_that_no_rule_heeds_is_said_of_an_answered_packet_too() -> None:
    """Without rule 1024 and without SNAT a pod's packet leaves by its own ENI, and a router beyond may translate it."""
    of = flow(SEARCH, INTERNET, 443)
    untranslated = tuple(
        replace(
            rule_set,
            chains=tuple(replace(each, rules=()) if each.name == "POSTROUTING" else each for each in rule_set.chains),
        )
        for rule_set in node_1().rule_sets
    )
    snapshot = replace(without_rules(node_1(), "fwmark"), rule_sets=untranslated)
    seen = [
        *travel(syn(of), "1 enisearch in", "1 eth1 out"),
        *travel(syn_ack(of), "1 eth1 in", "1 enisearch out", start=1),
    ]
    asked = question("shop/search", INTERNET, 443)
    trace = trace_of(record(asked, [answered(of)], seen, snapshots=[snapshot]))
    assert trace.verdict.reply.value == "ANSWERED"
    assert "FWMARK_RULE_MISSING" in codes(trace)
