# ruff: noqa: E501 (a rule is one line, as the tools print it)
"""Who translates a source first, who is behind, who is passed by: in the rules of every writer, as the tools print them."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from pathtap.collector.inspections.owners import owner_of_chain
from pathtap.collector.proving.translators import Translators, translators
from pathtap.forwarding import NodeModel, Packet
from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.netfilter import Backend, Chain, NetfilterRule, Random, RuleSet
from pathtap.model.node import IpSet, NodeSnapshot, PortRange, Unread
from pathtap.model.saved import SavedChains, save
from pathtap.model.snat import Standing
from pathtap.model.trace import RuleReference
from tests.unit.forwarding import eks
from tests.unit.forwarding.nodes import UNFILTERED, iptables, nftables, route

RULESETS = Path(eks.__file__).parent / "rulesets"
POD, NODE, INTERNET = eks.PRIMARY_POD, eks.NODE, eks.INTERNET
EGRESS = "169.254.172.10"
STORES = (Backend.LEGACY, Backend.NFT)
FLAGS = {"": Random.NONE, " --random": Random.RANDOM, " --random-fully": Random.FULLY}
NATIVE_FLAGS = {"": Random.NONE, "random": Random.RANDOM, "fully-random": Random.FULLY}

AWS_RETURN = """
-A POSTROUTING -m comment --comment "AWS SNAT CHAIN" -j AWS-SNAT-CHAIN-0
-A AWS-SNAT-CHAIN-0 -d 10.12.0.0/16 -m comment --comment "AWS SNAT CHAIN EXCLUSION" -j RETURN
-A AWS-SNAT-CHAIN-0 -d 10.11.0.0/16 -m comment --comment "AWS SNAT CHAIN" -j RETURN
-A AWS-SNAT-CHAIN-0 -d 192.168.0.0/16 -m comment --comment "AWS SNAT CHAIN" -j RETURN
-A AWS-SNAT-CHAIN-0 ! -o vlan+ -m comment --comment "AWS, SNAT" -m addrtype ! --dst-type LOCAL -j SNAT --to-source 192.168.1.29"""
AWS_JUMP = """
-A POSTROUTING -m comment --comment "AWS SNAT CHAIN" -j AWS-SNAT-CHAIN-0
-A AWS-SNAT-CHAIN-0 ! -d 192.168.0.0/16 -m comment --comment "AWS SNAT CHAIN" -j AWS-SNAT-CHAIN-1
-A AWS-SNAT-CHAIN-1 ! -d 10.11.0.0/16 -m comment --comment "AWS SNAT CHAIN" -j AWS-SNAT-CHAIN-2
-A AWS-SNAT-CHAIN-2 ! -d 10.12.0.0/16 -m comment --comment "AWS SNAT CHAIN EXCLUSION" -j AWS-SNAT-CHAIN-3
-A AWS-SNAT-CHAIN-3 ! -o vlan+ -m comment --comment "AWS, SNAT" -m addrtype ! --dst-type LOCAL -j SNAT --to-source 192.168.1.29"""
# Everything that comes from a pod is marked for kube-proxy, as a Service's hairpin is.
KUBE_MARK = """
-A PREROUTING -d 198.51.100.8/32 -j KUBE-MARK-MASQ
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000"""
KUBE = """
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE"""
CALICO = """
:cali-fip-snat - [0:0]
-A POSTROUTING -m comment --comment "cali:O3lYWMrLQYEMJtB5" -j cali-POSTROUTING
-A cali-POSTROUTING -m comment --comment "cali:Z-c7XtVd2Bq7s_hA" -j cali-fip-snat
-A cali-POSTROUTING -m comment --comment "cali:nYKhEzDlr11Jccal" -j cali-nat-outgoing
-A cali-nat-outgoing -m comment --comment "cali:flqWnvo8yq4ULQLa" -m set --match-set cali40masq-ipam-pools src -m set ! --match-set cali40all-ipam-pools dst -j MASQUERADE"""
IP_MASQ = """
-A POSTROUTING -m comment --comment "ip-masq-agent: ensure nat POSTROUTING directs all non-LOCAL destination traffic to our custom IP-MASQ chain" -m addrtype ! --dst-type LOCAL -j IP-MASQ
-A IP-MASQ -d 192.168.0.0/16 -m comment --comment "ip-masq-agent: local traffic is not subject to MASQUERADE" -j RETURN
-A IP-MASQ -m comment --comment "ip-masq-agent: outbound traffic is subject to MASQUERADE (must be last in chain)" -j MASQUERADE"""
OWN = "\n-A POSTROUTING ! -d 192.168.0.0/16 -j MASQUERADE"
POOLS = (
    IpSet(name="cali40masq-ipam-pools", kind="hash:net", family=4, elements=("192.168.0.0/16",)),
    IpSet(name="cali40all-ipam-pools", kind="hash:net", family=4, elements=("192.168.0.0/16",)),
)


def egress(address: str, digits: str) -> str:
    said = f'-m comment --comment "name: \\"aws-cni\\" id: \\"{digits}\\""'
    return f"""
-A POSTROUTING -s {address}/32 {said} -j CNI-E4-{digits}
-A CNI-E4-{digits} -d 224.0.0.0/4 {said} -j ACCEPT
-A CNI-E4-{digits} {said} -j SNAT --to-source 192.168.1.29"""


def nat(text: str, store: Backend = Backend.NFT) -> RuleSet:
    (found,) = iptables(f"*nat\n{text}\nCOMMIT", store)
    return found


def statements(flag: str, kind: str = "masquerade", **body: object) -> str:
    """A native rule that translates what does not go to the VPC."""
    left = {"payload": {"protocol": "ip", "field": "daddr"}}
    outside = {"op": "!=", "left": left, "right": {"prefix": {"addr": "192.168.0.0", "len": 16}}}
    flags = {"flags": flag} if flag else {}
    return json.dumps([{"match": outside}, {"counter": {"packets": 0, "bytes": 0}}, {kind: {**body, **flags} or None}])


def native(table: str, chain: str, expression: str, priority: int = 100) -> RuleSet:
    """A base chain that jumps to `chain`, whose one rule it is."""
    jump = NetfilterRule(position=1, text=f"jump {chain}", expression=json.dumps([{"jump": {"target": chain}}]))
    base = Chain(
        name="nat-postrouting", rules=(jump,), hook="postrouting", kind="nat", priority=priority, policy="ACCEPT"
    )
    rule = NetfilterRule(position=1, text="masquerade", expression=expression)
    return RuleSet(backend=Backend.NFTABLES, family="ip", table=table, chains=(base, Chain(name=chain, rules=(rule,))))


def registered(rule_set: RuleSet, order: int) -> RuleSet:
    return replace(
        rule_set,
        chains=tuple(replace(each, registration=order) if each.hook else each for each in rule_set.chains),
    )


def node(*rule_sets: RuleSet, unread: Sequence[Unread] = (), sets: Sequence[IpSet] = POOLS) -> NodeSnapshot:
    made = eks.node(list(rule_sets))
    return replace(
        made,
        routes=(*made.routes, route(f"{EGRESS} dev vethe4 scope link")),
        ip_sets=tuple(sets),
        unread=tuple(unread),
        sysctls={**UNFILTERED, "net.ipv4.conf.vethe4.rp_filter": "0"},
    )


def asked(
    snapshot: NodeSnapshot,
    source: str = POD,
    destination: str = INTERNET,
    port: int = 443,
    model: NodeModel | None = None,
) -> Translators:
    flow = FiveTuple(
        protocol=Protocol.TCP,
        source=ip_address(source),
        source_port=50_000,
        destination=ip_address(destination),
        destination_port=port,
    )
    came_by = {EGRESS: "vethe4", NODE: ""}.get(source) if source in (EGRESS, NODE) else eks.VETHS[source]
    return translators(model or NodeModel(snapshot), Packet.opening(flow, came_by or ""))


def standings(found: Translators) -> list[tuple[Standing, str, Random]]:
    return [(each.standing, each.owner, each.rule.random) for each in found.rules]


def places(found: Translators, standing: Standing) -> list[tuple[str, int]]:
    return [(each.rule.chain, each.rule.position) for each in found.rules if each.standing is standing]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize(
    ("text", "place"), [(AWS_RETURN, ("AWS-SNAT-CHAIN-0", 4)), (AWS_JUMP, ("AWS-SNAT-CHAIN-3", 1))]
)
def test_the_cnis_rule_comes_first_for_what_leaves_the_vpc(
    text: str, place: tuple[str, int], flag: str, store: Backend
) -> None:
    found = asked(node(nat(KUBE + " --random-fully" + text + flag, store)))
    assert found.first is not None
    assert (found.first.chain, found.first.position, found.first.backend) == (*place, store)
    assert found.candidates == (found.first,)
    assert (found.translated_to, found.ports, found.unknown) == (ip_address(NODE), None, ())
    assert standings(found) == [
        (Standing.FIRST, "VPC CNI", FLAGS[flag]),
        (Standing.PASSED_BY, "kube-proxy", Random.FULLY),
    ]


@pytest.mark.parametrize("text", [AWS_RETURN, AWS_JUMP])
@pytest.mark.parametrize("destination", ["192.168.9.9", "10.11.0.1", "10.12.0.1"])
def test_the_cnis_rule_is_passed_by_for_what_it_exempts(text: str, destination: str) -> None:
    found = asked(node(nat(text + " --random-fully")), destination=destination)
    assert (found.first, found.candidates, found.translated_to, found.unknown) == (None, (), None, ())
    assert standings(found) == [(Standing.PASSED_BY, "VPC CNI", Random.FULLY)]


def test_what_the_node_itself_sends_meets_the_cnis_rule() -> None:
    found = asked(node(nat(AWS_RETURN + " --random")), source=NODE)
    assert standings(found) == [(Standing.FIRST, "VPC CNI", Random.RANDOM)]


@pytest.mark.parametrize("flag", FLAGS)
def test_what_kube_proxy_has_marked_is_its_own_to_translate(flag: str) -> None:
    found = asked(node(nat(KUBE_MARK + KUBE + flag + AWS_RETURN + " --random-fully")))
    assert standings(found) == [
        (Standing.FIRST, "kube-proxy", FLAGS[flag]),
        (Standing.BEHIND, "VPC CNI", Random.FULLY),
    ]
    assert places(found, Standing.FIRST) == [("KUBE-POSTROUTING", 3)]
    assert places(found, Standing.BEHIND) == [("AWS-SNAT-CHAIN-0", 4)]


@pytest.mark.parametrize("flag", NATIVE_FLAGS)
def test_a_native_chain_of_a_later_priority_is_behind(flag: str) -> None:
    """Once one chain has translated, the kernel skips the others: without it they run."""
    calico = native("calico", "nat-cali-nat-outgoing", statements(flag), priority=101)
    kube = native("kube-proxy", "masquerading", statements("fully-random"), priority=102)
    found = asked(node(nat(AWS_RETURN), calico, kube))
    assert standings(found) == [
        (Standing.FIRST, "VPC CNI", Random.NONE),
        (Standing.BEHIND, "Calico", NATIVE_FLAGS[flag]),
        (Standing.BEHIND, "kube-proxy", Random.FULLY),
    ]


def test_a_native_chain_of_an_earlier_priority_comes_first() -> None:
    calico = native("calico", "nat-cali-nat-outgoing", statements("random"), priority=99)
    found = asked(node(nat(AWS_RETURN + " --random-fully"), calico))
    assert standings(found) == [
        (Standing.FIRST, "Calico", Random.RANDOM),
        (Standing.BEHIND, "VPC CNI", Random.FULLY),
    ]


def test_kube_proxys_own_table_is_passed_by_unless_it_marked() -> None:
    text = (RULESETS / "kube-proxy-maps.json").read_text()
    found = asked(node(registered(nat(AWS_RETURN + " --random-fully"), 1), registered(nftables(text), 2)))
    assert standings(found)[0] == (Standing.FIRST, "VPC CNI", Random.FULLY)
    assert {(standing, owner) for standing, owner, _ in standings(found)[1:]} == {(Standing.PASSED_BY, "kube-proxy")}
    assert {random for _, _, random in standings(found)[1:]} == {Random.FULLY}


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("flag", FLAGS)
def test_calico_asks_its_sets(store: Backend, flag: str) -> None:
    text = CALICO + flag + AWS_RETURN + " --random-fully"
    found = asked(node(nat(text, store)))
    assert standings(found) == [(Standing.FIRST, "Calico", FLAGS[flag]), (Standing.BEHIND, "VPC CNI", Random.FULLY)]
    outside = replace(POOLS[0], elements=("10.99.0.0/16",))
    passed = asked(node(nat(text, store), sets=(outside, POOLS[1])))
    assert standings(passed) == [(Standing.FIRST, "VPC CNI", Random.FULLY), (Standing.PASSED_BY, "Calico", FLAGS[flag])]


def test_a_set_that_was_not_read_leaves_two_rules_undecided() -> None:
    unread = replace(POOLS[0], elements=None)
    found = asked(node(nat(CALICO + AWS_RETURN + " --random-fully"), sets=(unread, POOLS[1])))
    assert found.first is None
    assert {(each.standing, each.owner, each.rule.random) for each in found.rules} == {
        (Standing.UNDECIDED, "Calico", Random.NONE),
        (Standing.UNDECIDED, "VPC CNI", Random.FULLY),
    }
    assert len(found.unknown) == 1
    assert "cali40masq-ipam-pools" in found.unknown[0]


@pytest.mark.parametrize("flag", FLAGS)
def test_of_the_egress_plugins_chains_only_the_sources_own_is_told(flag: str) -> None:
    others = "".join(egress(f"169.254.172.{n}", f"{n:021x}") + " --random" for n in (11, 12, 13))
    own = egress(EGRESS, "5740307710ebfd5fb24f5") + flag
    found = asked(node(nat(others + own + AWS_RETURN + " --random-fully")), source=EGRESS)
    assert standings(found) == [(Standing.FIRST, "egress-cni", FLAGS[flag]), (Standing.BEHIND, "VPC CNI", Random.FULLY)]
    of_pod = asked(node(nat(others + own + AWS_RETURN + " --random-fully")))
    assert standings(of_pod) == [(Standing.FIRST, "VPC CNI", Random.FULLY)]


def test_hundreds_of_pods_chains_are_no_more_to_tell_than_a_few() -> None:
    others = "".join(egress(f"169.254.173.{n}", f"{n:021x}") + " --random" for n in range(1, 200))
    found = asked(node(nat(others + egress(EGRESS, "f" * 21) + " --random-fully" + OWN)), source=EGRESS)
    assert standings(found) == [
        (Standing.FIRST, "egress-cni", Random.FULLY),
        (Standing.BEHIND, "unknown writer", Random.NONE),
    ]


def test_several_writers_stand_behind_each_other_in_their_order() -> None:
    text = IP_MASQ + AWS_JUMP + " --random-fully" + OWN + " --random"
    assert standings(asked(node(nat(text)))) == [
        (Standing.FIRST, "ip-masq-agent", Random.NONE),
        (Standing.BEHIND, "VPC CNI", Random.FULLY),
        (Standing.BEHIND, "unknown writer", Random.RANDOM),
    ]


def test_the_order_of_two_stores_decides_where_it_is_known() -> None:
    legacy, nft = nat(AWS_RETURN, Backend.LEGACY), nat(AWS_RETURN + " --random-fully")
    found = asked(node(registered(legacy, 1), registered(nft, 2)))
    assert [(each.standing, each.rule.backend, each.rule.random) for each in found.rules] == [
        (Standing.FIRST, Backend.NFT, Random.FULLY),
        (Standing.BEHIND, Backend.LEGACY, Random.NONE),
    ]


def test_two_stores_of_which_nobody_can_tell_the_order_are_undecided() -> None:
    """The marks that both make on the way decide nothing, and are no gap."""
    marks = eks.CONNMARK_PREROUTING + eks.CONNMARK_RETURN
    legacy = nat(marks + AWS_RETURN + OWN + " --random", Backend.LEGACY)
    found = asked(node(legacy, nat(marks + AWS_RETURN + " --random-fully")))
    assert (found.first, found.unknown, found.translated_to) == (None, (), ip_address(NODE))
    assert [(each.standing, each.rule.backend, each.rule.chain, each.rule.random) for each in found.rules] == [
        (Standing.UNDECIDED, Backend.LEGACY, "AWS-SNAT-CHAIN-0", Random.NONE),
        (Standing.UNDECIDED, Backend.NFT, "AWS-SNAT-CHAIN-0", Random.FULLY),
        (Standing.BEHIND, Backend.LEGACY, "POSTROUTING", Random.RANDOM),
    ]
    assert set(found.candidates) == {each.rule for each in found.rules[:2]}


def test_where_neither_order_changes_the_rule_it_is_the_first() -> None:
    empty = nat("-A POSTROUTING -d 10.9.0.0/16 -j MASQUERADE", Backend.LEGACY)
    found = asked(node(empty, nat(AWS_RETURN + " --random-fully")))
    assert found.unknown == ()
    assert standings(found) == [
        (Standing.FIRST, "VPC CNI", Random.FULLY),
        (Standing.PASSED_BY, "unknown writer", Random.NONE),
    ]


@pytest.mark.parametrize("part", ["nat (iptables-legacy)", "mangle (iptables-legacy)", "nftables"])
def test_an_unread_table_that_might_translate_leaves_the_first_rule_undecided(part: str) -> None:
    found = asked(node(nat(AWS_RETURN + " --random-fully"), unread=(Unread(part=part, reason="it is locked"),)))
    assert found.first is None
    assert standings(found) == [(Standing.UNDECIDED, "VPC CNI", Random.FULLY)]
    assert found.unknown == (f"{part} of node-1 could not be read: it is locked",)


def test_an_unread_table_that_only_refuses_hides_nobody() -> None:
    unread = Unread(part="filter (iptables-legacy)", reason="it is locked")
    found = asked(node(nat(AWS_RETURN + " --random-fully"), unread=(unread,)))
    assert found.unknown == ()
    assert standings(found) == [(Standing.FIRST, "VPC CNI", Random.FULLY)]


def test_a_rule_that_dice_decide_on_is_none_to_rely_on() -> None:
    dice = "\n-A POSTROUTING -m statistic --mode random --probability 0.50000000000 -j MASQUERADE"
    found = asked(node(nat(dice + AWS_RETURN + " --random-fully")))
    assert found.first is None
    assert {(each.standing, each.rule.chain) for each in found.rules} == {
        (Standing.UNDECIDED, "POSTROUTING"),
        (Standing.UNDECIDED, "AWS-SNAT-CHAIN-0"),
    }
    why = "which rule translates the source, if any, depends on what the kernel decides by chance"
    assert found.unknown == (why,)


def test_where_the_backend_decides_the_backends_are_named() -> None:
    """Towards itself a pod's packet is kube-proxy's to masquerade, towards another one it keeps its source."""
    service = nat(eks.KUBE_NAT + AWS_RETURN + " --random-fully")
    found = asked(node(service), source=eks.NEIGHBOUR, destination="10.100.0.10", port=80)
    assert (found.first, [each.chain for each in found.candidates]) == (None, ["KUBE-POSTROUTING"])
    why = "which rule translates the source, if any, depends on the backend that the kernel chooses"
    assert found.unknown == (f"{why}: 192.168.9.9:8080 or 192.168.1.117:8080",)
    elsewhere = asked(node(service), destination="10.100.0.10", port=80)
    assert (elsewhere.candidates, elsewhere.unknown) == ((), ())


def test_a_garbled_rule_is_not_taken_for_one_that_was_read() -> None:
    """As an iptables-save prints that is older than the rule's writer."""
    garbled = "\n-A POSTROUTING -j SNAT --to-source  --random --to-source 0.0.0.0:0"
    found = asked(node(nat(garbled + AWS_RETURN)))
    assert (found.first, found.candidates) == (None, ())
    assert len(found.unknown) == 1
    assert "--to-source --random" in found.unknown[0]


@pytest.mark.parametrize(
    ("target", "random", "ports"),
    [
        ("SNAT --to-source 192.168.1.29 --random", Random.RANDOM, None),
        ("SNAT --to-source 192.168.1.29 --random --persistent", Random.RANDOM, None),
        ("SNAT --to-source 192.168.1.29 --persistent --random-fully", Random.FULLY, None),
        ("SNAT --to-source 192.168.1.29:2000-2999 --random-fully", Random.FULLY, PortRange(first=2000, last=2999)),
        ("MASQUERADE --to-ports 1024-2047", Random.NONE, PortRange(first=1024, last=2047)),
        ("MASQUERADE --to-ports 1024-2047 --random", Random.RANDOM, PortRange(first=1024, last=2047)),
        ("MASQUERADE --random --random-fully", Random.FULLY, None),
        ("NETMAP --to 192.168.77.0/24", Random.NONE, None),
    ],
)
def test_flags_and_ports_of_iptables(target: str, random: Random, ports: PortRange | None) -> None:
    found = asked(node(nat(f"-A POSTROUTING -p tcp -j {target}")))
    assert found.first is not None
    assert (found.first.random, found.ports) == (random, ports)
    assert found.prediction.snat is not None
    assert found.prediction.snat.random is random


@pytest.mark.parametrize(
    ("body", "random", "ports"),
    [
        ({"masquerade": None}, Random.NONE, None),
        ({"masquerade": {"flags": "random"}}, Random.RANDOM, None),
        ({"masquerade": {"flags": ["fully-random"]}}, Random.FULLY, None),
        ({"masquerade": {"flags": ["random", "fully-random"]}}, Random.FULLY, None),
        ({"masquerade": {"flags": ["persistent"]}}, Random.NONE, None),
        (
            {"masquerade": {"port": {"range": [1024, 2047]}, "flags": ["fully-random", "persistent"]}},
            Random.FULLY,
            PortRange(first=1024, last=2047),
        ),
        ({"snat": {"addr": NODE, "flags": ["random", "fully-random"]}}, Random.FULLY, None),
        ({"snat": {"addr": NODE, "port": 4000, "flags": "random"}}, Random.RANDOM, PortRange(first=4000, last=4000)),
        ({"snat": {"family": "ip", "addr": NODE, "flags": ["persistent"]}}, Random.NONE, None),
        (
            {
                "snat": {
                    "addr": {"prefix": {"addr": "192.168.77.0", "len": 24}},
                    "flags": "netmap",
                    "type_flags": "prefix",
                }
            },
            Random.NONE,
            None,
        ),
    ],
)
def test_flags_and_ports_of_nft(body: dict[str, object], random: Random, ports: PortRange | None) -> None:
    found = asked(node(native("own", "translating", json.dumps([body]))))
    assert found.first is not None
    assert (found.first.random, found.ports, found.first.chain) == (random, ports, "translating")
    assert [each.owner for each in found.rules] == ["translating"]


def test_rules_of_the_input_hook_are_none_of_this() -> None:
    found = asked(node(nat("-A INPUT -j SNAT --to-source 192.168.1.77" + AWS_RETURN)))
    assert standings(found) == [(Standing.FIRST, "VPC CNI", Random.NONE)]


def test_what_is_dropped_is_translated_by_nobody() -> None:
    dropping = iptables("*filter\n-A FORWARD -d 198.51.100.0/24 -j DROP\nCOMMIT")
    found = asked(node(nat(AWS_RETURN), *dropping))
    assert (found.first, found.unknown) == (None, ())
    assert standings(found) == [(Standing.PASSED_BY, "VPC CNI", Random.NONE)]


def test_a_table_as_it_travels_is_walked_without_reading_it_whole() -> None:
    """20,000 chains that nothing at POSTROUTING leads to; positions are those of the printed rules."""
    many = [
        (f"KUBE-SEP-{n:016d}", "", ((0, 0, "-p tcp -j DNAT --to-destination 192.168.1.117:8080"),))
        for n in range(20_000)
    ]
    own = [
        (each.name, each.policy, tuple((0, 0, rule.text) for rule in each.rules))
        for each in nat(KUBE + AWS_RETURN).chains
    ]
    saved = RuleSet(backend=Backend.NFT, family="ip", table="nat", chains=SavedChains("nat", save([*own, *many])))
    found = asked(node(saved))
    assert standings(found) == [
        (Standing.FIRST, "VPC CNI", Random.NONE),
        (Standing.PASSED_BY, "kube-proxy", Random.NONE),
    ]
    assert places(found, Standing.FIRST) == [("AWS-SNAT-CHAIN-0", 4)]


def test_asking_leaves_the_model_as_it_was() -> None:
    snapshot = node(nat(IP_MASQ + AWS_RETURN))
    model = NodeModel(snapshot)
    assert asked(snapshot, model=model) == asked(snapshot, model=model)


@pytest.mark.parametrize(
    ("store", "table", "chain", "owner"),
    [
        (Backend.NFT, "nat", "AWS-SNAT-CHAIN-1", "VPC CNI"),
        (Backend.LEGACY, "nat", "CNI-E6-5740307710ebfd5fb24f5", "egress-cni"),
        (Backend.LEGACY, "nat", "KUBE-POSTROUTING", "kube-proxy"),
        (Backend.NFT, "nat", "cali-nat-outgoing", "Calico"),
        (Backend.NFT, "nat", "IP-MASQ-AGENT", "ip-masq-agent"),
        (Backend.NFT, "nat", "CNI-HOSTPORT-MASQ", "portmap"),
        (Backend.NFT, "nat", "CNI-DN-0123456789abcdef01234", "portmap"),
        (Backend.NFT, "nat", "CNI-0123456789abcdef01234567", "ipMasq"),
        (Backend.NFT, "nat", "CILIUM_POST_nat", "Cilium"),
        (Backend.NFT, "nat", "DOCKER", "Docker"),
        (Backend.NFT, "nat", "POSTROUTING", "unknown writer"),
        (Backend.NFT, "nat", "my-own", "my-own"),
        (Backend.NFTABLES, "kube-proxy", "masquerading", "kube-proxy"),
        (Backend.NFTABLES, "calico", "nat-cali-nat-outgoing", "Calico"),
        (Backend.NFTABLES, "mine", "POSTROUTING", "POSTROUTING"),
    ],
)
def test_owners(store: Backend, table: str, chain: str, owner: str) -> None:
    assert owner_of_chain(RuleReference(backend=store, table=table, chain=chain, position=1, text="")) == owner


def test_the_one_rule_of_the_oldest_cni_is_told_by_its_comment() -> None:
    text = '! -d 192.168.0.0/16 -m comment --comment "AWS, SNAT" -m addrtype ! --dst-type LOCAL -j SNAT --to-source 192.168.1.29'
    found = asked(node(nat(f"-A POSTROUTING {text}")))
    assert standings(found) == [(Standing.FIRST, "VPC CNI", Random.NONE)]


def test_of_more_rules_than_are_taken_away_the_rest_is_undecided() -> None:
    many = "".join(f"\n-A POSTROUTING -j SNAT --to-source 192.168.1.{n}" for n in range(100, 150))
    counts = Counter(each.standing for each in asked(node(nat(many))).rules)
    assert counts[Standing.FIRST] == 1
    assert counts[Standing.BEHIND] + counts[Standing.UNDECIDED] == 49
    assert counts[Standing.BEHIND] > 8
