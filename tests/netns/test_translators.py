# ruff: noqa: E501 (a rule is one line, as the tools print it)
"""Who translates first, as the model has it, against the kernel's own counters; and who does once that rule is really gone."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from itertools import count

import pytest
from three_namespaces import DESTINATION, DESTINATION6, SOURCE, SOURCE6, SOURCE_VETH, Wires, run, wired

from pathtap.agent.snapshot import read_snapshot
from pathtap.collector.proving.translators import Translators, translators
from pathtap.forwarding import NodeModel, Packet
from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.netfilter import Backend
from pathtap.model.node import NodeSnapshot
from pathtap.model.snat import Standing
from pathtap.model.trace import RuleReference

pytestmark = pytest.mark.netns

CONNECTIONS, PORT = 5, 9
# No more rules than this translate one packet here.
MOST = 8
PORTS = count(20_000)
STORES = {"legacy": Backend.LEGACY, "nft": Backend.NFT}

# What is in 10.211.0.0/24 is the VPC's, what is outside of it the node translates to 10.211.1.1.
SETS = """create cali40masq-ipam-pools hash:net family inet
add cali40masq-ipam-pools 10.211.0.0/24
create cali40all-ipam-pools hash:net family inet
add cali40all-ipam-pools 10.211.0.0/24
"""
KUBE_AND_CALICO = """*nat
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
:cali-POSTROUTING - [0:0]
:cali-fip-snat - [0:0]
:cali-nat-outgoing - [0:0]
-A PREROUTING -d 10.211.1.2/32 -j KUBE-MARK-MASQ
-A POSTROUTING -m comment --comment "cali:O3lYWMrLQYEMJtB5" -j cali-POSTROUTING
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A cali-POSTROUTING -j cali-fip-snat
-A cali-POSTROUTING -j cali-nat-outgoing
-A cali-nat-outgoing -m comment --comment "cali:flqWnvo8yq4ULQLa" -m set --match-set cali40masq-ipam-pools src -m set ! --match-set cali40all-ipam-pools dst -j MASQUERADE --random
COMMIT
"""
AWS_AND_IP_MASQ = """*nat
:AWS-SNAT-CHAIN-0 - [0:0]
:AWS-SNAT-CHAIN-1 - [0:0]
:AWS-SNAT-CHAIN-2 - [0:0]
:IP-MASQ - [0:0]
-A POSTROUTING -m comment --comment "AWS SNAT CHAIN" -j AWS-SNAT-CHAIN-0
-A POSTROUTING -m addrtype ! --dst-type LOCAL -j IP-MASQ
-A POSTROUTING ! -d 10.211.0.0/24 -p udp -j MASQUERADE --to-ports 30000-60000
-A POSTROUTING -d 203.0.113.0/24 -j SNAT --to-source 10.211.1.1
-A POSTROUTING -o v-target -j NETMAP --to 10.211.77.0/24
-A AWS-SNAT-CHAIN-0 ! -d 10.211.0.0/24 -m comment --comment "AWS SNAT CHAIN" -j AWS-SNAT-CHAIN-1
-A AWS-SNAT-CHAIN-1 ! -d 10.12.0.0/16 -m comment --comment "AWS SNAT CHAIN EXCLUSION" -j AWS-SNAT-CHAIN-2
-A AWS-SNAT-CHAIN-2 ! -o vlan+ -m comment --comment "AWS, SNAT" -m addrtype ! --dst-type LOCAL -j SNAT --to-source 10.211.1.1 --random-fully
-A IP-MASQ -d 10.0.0.0/24 -j RETURN
-A IP-MASQ -m comment --comment "ip-masq-agent: outbound traffic is subject to MASQUERADE (must be last in chain)" -j MASQUERADE --random
COMMIT
"""
EGRESS = """*nat
:CNI-E{v}-5740307710ebfd5fb24f5 - [0:0]
:CNI-E{v}-aaaaaaaaaaaaaaaaaaaaa - [0:0]
-A POSTROUTING -s {other}/{bits} -m comment --comment "name: \\"aws-cni\\" id: \\"1\\"" -j CNI-E{v}-aaaaaaaaaaaaaaaaaaaaa
-A POSTROUTING -s {source}/{bits} -m comment --comment "name: \\"aws-cni\\" id: \\"2\\"" -j CNI-E{v}-5740307710ebfd5fb24f5
-A POSTROUTING -o v-target -j MASQUERADE --random
-A CNI-E{v}-aaaaaaaaaaaaaaaaaaaaa -j SNAT --to-source {node} --random-fully
-A CNI-E{v}-5740307710ebfd5fb24f5 -d {multicast} -j ACCEPT
-A CNI-E{v}-5740307710ebfd5fb24f5 -j SNAT --to-source {node} --random-fully
COMMIT
"""
# Native chains run by their priority, whatever store the others are in; iptables' have 100.
NATIVE = """table ip calico {
  set pools { type ipv4_addr; flags interval; elements = { 10.211.0.0/24 } }
  chain nat-cali-nat-outgoing {
    ip saddr @pools ip daddr != @pools counter masquerade random,fully-random
  }
  chain nat-POSTROUTING {
    type nat hook postrouting priority 99; policy accept;
    jump nat-cali-nat-outgoing
  }
}
table ip kube-proxy {
  chain masquerading {
    meta mark & 0x4000 == 0 return
    counter masquerade fully-random
  }
  chain nat-postrouting {
    type nat hook postrouting priority 101; policy accept;
    jump masquerading
  }
}
table inet own {
  chain translating {
    type nat hook postrouting priority 102; policy accept;
    meta nfproto ipv4 ip daddr 203.0.113.9 counter snat to 10.211.1.1 random
    meta nfproto ipv4 ip saddr 10.211.0.0/24 counter snat ip to ip saddr map { 10.211.0.2 : 10.211.1.1 } persistent
    meta nfproto ipv4 oifname "v-target" counter snat ip prefix to 10.211.77.0/24
  }
}
"""


@pytest.fixture
def wires() -> Iterator[Wires]:
    with wired("ha5") as made:
        yield made


def feed(wires: Wires, text: str, *words: str) -> None:
    run("ip", "netns", "exec", wires.node.name, *words, feed=text)


def loaded(wires: Wires, store: str, *texts: str) -> None:
    feed(wires, SETS, "ipset", "-exist", "restore")
    for text in texts:
        feed(wires, text, f"iptables-{store}-restore", "--noflush")


def read(wires: Wires) -> NodeSnapshot:
    return wires.on_node(lambda: read_snapshot("node-1", "1", 1))


def asked(snapshot: NodeSnapshot, version: int = 4) -> Translators:
    source, destination = (SOURCE, DESTINATION) if version == 4 else (SOURCE6, DESTINATION6)
    flow = FiveTuple(
        protocol=Protocol.UDP, source=source, source_port=20_000, destination=destination, destination_port=PORT
    )
    return translators(NodeModel(snapshot), Packet.opening(flow, SOURCE_VETH))


def send(wires: Wires, version: int = 4) -> None:
    """So many connections of one datagram each, all with ports of their own."""
    family, source, destination = (
        (socket.AF_INET, SOURCE, DESTINATION) if version == 4 else (socket.AF_INET6, SOURCE6, DESTINATION6)
    )
    for _ in range(CONNECTIONS):
        with wires.socket(wires.source, socket.SOCK_DGRAM, family) as opened, suppress(ConnectionRefusedError):
            opened.bind((str(source), next(PORTS)))
            opened.sendto(b"x", (str(destination), PORT))


def counted(snapshot: NodeSnapshot, rule: RuleReference) -> int:
    """The rule's own counter; of NAT a connection's first packet alone comes there."""
    for rule_set in snapshot.rule_sets:
        if (rule_set.backend, rule_set.table) == (rule.backend, rule.table) and (chain := rule_set.chain(rule.chain)):
            found = chain.rules[rule.position - 1]
            if found.text == rule.text:
                return found.packets or 0
    raise AssertionError(f"{rule} is not there")


def rises(wires: Wires, found: Translators, before: NodeSnapshot, version: int = 4) -> dict[RuleReference, int]:
    """By how much the counter of each translating rule rose while the connections were opened; of those where it did."""
    send(wires, version)
    after = read(wires)
    rise = {each.rule: counted(after, each.rule) - counted(before, each.rule) for each in found.rules}
    return {rule: packets for rule, packets in rise.items() if packets}


def recorded(wires: Wires, version: int) -> set[str]:
    """The sources that conntrack gave to the connections, which it then forgets."""
    listed = wires.command(
        wires.node, "conntrack", "-L", "-f", f"ipv{version}", "-p", "udp", "--orig-port-dst", str(PORT)
    )
    entries = listed.splitlines()
    assert len(entries) == CONNECTIONS
    wires.command(wires.node, "conntrack", "-F")
    # The second `dst=` is that of the answers.
    return {re.findall(r"dst=(\S+)", entry)[1] for entry in entries}


def identity(rule: RuleReference) -> tuple[Backend, str, str, str]:
    """A rule's but for its position, which changes with the rules before it; a native rule's text has its counter."""
    text = rule.text if rule.backend is not Backend.NFTABLES else rule.text.partition("counter")[0]
    return rule.backend, rule.table, rule.chain, text


def removed(wires: Wires, rule: RuleReference, version: int = 4) -> None:
    if rule.backend is not Backend.NFTABLES:
        tool = f"ip{'6' if version == 6 else ''}tables-{'legacy' if rule.backend is Backend.LEGACY else 'nft'}"
        wires.command(wires.node, tool, "-t", "nat", "-D", rule.chain, str(rule.position))
        return
    family = "inet" if rule.table == "own" else "ip"
    listed = wires.command(wires.node, "nft", "-j", "-a", "list", "chain", family, rule.table, rule.chain)
    handles = [each["rule"]["handle"] for each in json.loads(listed)["nftables"] if "rule" in each]
    handle = str(handles[rule.position - 1])
    wires.command(wires.node, "nft", "delete", "rule", family, rule.table, rule.chain, "handle", handle)


def taken_away_in_turn(wires: Wires, version: int = 4) -> list[str]:
    """The owners in the order in which they translate. Each time the one that was foretold takes every connection."""
    owners: list[str] = []
    behind: list[tuple[Backend, str, str, str]] | None = None
    for _ in range(MOST + 1):
        snapshot = read(wires)
        found = asked(snapshot, version)
        assert found.unknown == ()
        order = [each for each in found.rules if each.standing in (Standing.FIRST, Standing.BEHIND)]
        if behind is not None:
            assert [identity(each.rule) for each in order] == behind
        assert rises(wires, found, snapshot, version) == ({found.first: CONNECTIONS} if found.first else {})
        source = SOURCE if version == 4 else SOURCE6
        assert recorded(wires, version) == {str(found.translated_to or source)}
        if found.first is None:
            return owners
        owners.append(order[0].owner)
        behind = [identity(each.rule) for each in order[1:]]
        removed(wires, found.first, version)
    raise AssertionError(f"{owners} and no end")


@pytest.mark.parametrize("store", STORES)
def test_each_rule_translates_once_those_before_it_are_gone(wires: Wires, store: str) -> None:
    loaded(wires, store, KUBE_AND_CALICO, AWS_AND_IP_MASQ)
    own = "unknown writer"
    passed_by = [each.rule.text for each in asked(read(wires)).rules if each.standing is Standing.PASSED_BY]
    assert passed_by == ["-d 203.0.113.0/24 -j SNAT --to-source 10.211.1.1"]
    assert taken_away_in_turn(wires) == ["Calico", "kube-proxy", "VPC CNI", "ip-masq-agent", own, own]


@pytest.mark.parametrize("store", STORES)
def test_native_chains_take_their_turn_by_priority(wires: Wires, store: str) -> None:
    marking = "*mangle\n-A PREROUTING -d 10.211.1.2/32 -j MARK --set-xmark 0x4000/0x4000\nCOMMIT\n"
    loaded(wires, store, AWS_AND_IP_MASQ, marking)
    wires.nft(NATIVE)
    own = "unknown writer"
    assert taken_away_in_turn(wires) == [
        "Calico", "VPC CNI", "ip-masq-agent", own, own, "kube-proxy", "translating", "translating",
    ]  # fmt: skip


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("version", [4, 6])
def test_of_the_egress_plugins_chains_the_sources_own_translates(wires: Wires, store: str, version: int) -> None:
    source, node, bits, multicast = (
        (str(SOURCE), "10.211.1.1", 32, "224.0.0.0/4")
        if version == 4
        else (str(SOURCE6), "fd11:0:0:b::1", 128, "ff00::/8")
    )
    other = f"{source}2"
    text = EGRESS.format(v=version, source=source, other=other, node=node, bits=bits, multicast=multicast)
    feed(wires, text, f"ip{'6' if version == 6 else ''}tables-{store}-restore")
    found = asked(read(wires), version)
    assert {each.standing for each in found.rules} == {Standing.FIRST, Standing.BEHIND}
    assert taken_away_in_turn(wires, version) == ["egress-cni", "unknown writer"]


@pytest.mark.parametrize("order", [("legacy", "nft"), ("nft", "legacy")])
def test_of_two_stores_one_of_the_candidates_translates(wires: Wires, order: tuple[str, str]) -> None:
    for store in order:
        loaded(wires, store, AWS_AND_IP_MASQ)
    snapshot = read(wires)
    found = asked(snapshot)
    assert (found.first, found.unknown) == (None, ())
    undecided = [each.rule for each in found.rules if each.standing is Standing.UNDECIDED]
    assert [(each.backend, each.chain) for each in undecided] == [
        (Backend.LEGACY, "AWS-SNAT-CHAIN-2"),
        (Backend.NFT, "AWS-SNAT-CHAIN-2"),
    ]
    ((took, packets),) = rises(wires, found, snapshot).items()
    # The kernel runs the chain first that was registered last.
    assert (took, packets) == (undecided[list(STORES).index(order[1])], CONNECTIONS)


def test_what_is_exempt_is_translated_by_nobody(wires: Wires) -> None:
    exempting = AWS_AND_IP_MASQ.replace("! -d 10.211.0.0/24", "! -d 10.211.0.0/16")
    aws = "\n".join(line for line in exempting.splitlines() if "-A POSTROUTING" not in line or "AWS" in line)
    loaded(wires, "nft", aws + "\n")
    snapshot = read(wires)
    found = asked(snapshot)
    assert (found.first, found.candidates, found.unknown) == (None, (), ())
    assert [(each.owner, each.standing) for each in found.rules] == [("VPC CNI", Standing.PASSED_BY)]
    assert rises(wires, found, snapshot) == {}
