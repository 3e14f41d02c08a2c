"""Marks, SNAT and rule sets: by prediction and by structure, in every form that the CNI has written; and healthy look-alikes."""

import json
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from wired_node import CART, ORDERS, SEARCH, found, snapshot, with_rules

from pathtap.model.netfilter import Backend, RuleSet
from pathtap.model.node import CniSettings, EgressPlugin, NodeSnapshot
from pathtap.model.trace import Severity
from tests.unit.forwarding import eks
from tests.unit.forwarding.nodes import iptables, native_table, route, rule

SECOND_WAYS = {4: ip_address("169.254.172.3"), 6: ip_address("fd00::ac:3")}
PLUGIN = "/etc/cni/net.d/10-aws.conflist"
FORMS = [("return", Backend.NFT), ("jump", Backend.LEGACY), ("native", Backend.NFT)]


def edited(node: NodeSnapshot, table: str, chain: str, *, first: str = "", less: str = "\n") -> NodeSnapshot:
    """With a rule put first in a chain of iptables, and without those that hold `less`."""
    sets = []
    for of in node.rule_sets:
        if of.table == table:
            chains = []
            for each in of.chains:
                if each.name == chain:
                    rules = [rule for rule in each.rules if less not in rule.text]
                    made = [replace(each.rules[0], text=first)] if first else []
                    numbered = tuple(replace(rule, position=n) for n, rule in enumerate([*made, *rules], 1))
                    each = replace(each, rules=numbered)
                chains.append(each)
            of = replace(of, chains=tuple(chains))
        sets.append(of)
    return replace(node, rule_sets=tuple(sets))


@pytest.mark.parametrize("metadata", [True, False])
@pytest.mark.parametrize(("form", "backend"), FORMS)
def test_connmark_rules_that_are_gone_are_missed(form: str, backend: Backend, metadata: bool) -> None:
    node = snapshot(form, backend, metadata=metadata)
    gone = edited(node, "nat", "PREROUTING", less="AWS, ")
    gone = replace(gone, rule_sets=tuple(of for of in gone.rule_sets if of.table != "aws-cni"))
    defects = found(gone)
    assert set(defects) == {"CONNMARK_RULES_MISSING"}
    assert defects["CONNMARK_RULES_MISSING"].concerns == {SEARCH, ORDERS}


def test_the_rules_for_later_packets_and_for_node_ports_are_missed_too() -> None:
    later = found(edited(snapshot(), "mangle", "PREROUTING", less="-i eni+"))["CONNMARK_RULES_MISSING"].finding
    ports = found(edited(snapshot(), "mangle", "PREROUTING", less="-i eth0"))["CONNMARK_RULES_MISSING"].finding
    assert "mark of their connection" in later.text
    assert "node ports" in ports.text


def test_without_node_port_support_its_rule_is_not_missed() -> None:
    node = edited(snapshot(), "mangle", "PREROUTING", less="-i eth0")
    assert found(replace(node, settings=CniSettings(node_port_support=False))) == {}


@pytest.mark.parametrize("rule", ["-j ACCEPT", f"-s {SEARCH}/32 -j ACCEPT", "-i eni+ -j ACCEPT"])
def test_an_accept_before_the_connmark_rules_is_named(rule: str) -> None:
    shadowed = edited(snapshot(), "nat", "PREROUTING", first=rule)
    defects = found(shadowed)
    assert set(defects) == {"CONNMARK_RULES_SHADOWED"}
    assert f"nat PREROUTING #1 (iptables-nft): {rule}" in defects["CONNMARK_RULES_SHADOWED"].finding.text


@pytest.mark.parametrize("rule", ["-d 10.0.0.0/8 -j ACCEPT", "-i eth0 -j ACCEPT", f"-s {CART}/32 -j ACCEPT", "-j LOG"])
def test_what_takes_no_secondary_pods_packets_shadows_nothing(rule: str) -> None:
    assert found(edited(snapshot(), "nat", "PREROUTING", first=rule)) == {}


@pytest.mark.parametrize("metadata", [True, False])
def test_snat_that_is_gone_is_missed(metadata: bool) -> None:
    node = snapshot(metadata=metadata)
    assert set(found(edited(node, "nat", "POSTROUTING", less="AWS"))) == {"SNAT_MISSING"}


def test_who_translates_instead_does_as_well() -> None:
    node = edited(snapshot(), "nat", "POSTROUTING", less="AWS", first="-o eth0 -j MASQUERADE --random-fully")
    assert found(node) == {}


SNAT = '-m comment --comment "AWS, SNAT" -j SNAT --to-source 192.168.1.29'
CALICO = """
*nat
-A POSTROUTING -j cali-POSTROUTING
-A POSTROUTING -j AWS-SNAT-CHAIN-0
-A cali-POSTROUTING -j cali-nat-outgoing
-A cali-nat-outgoing ! -d 192.168.0.0/16 -j MASQUERADE{}
-A AWS-SNAT-CHAIN-0 ! -d 192.168.0.0/16 -j SNAT --to-source 192.168.1.29 --random-fully
COMMIT
"""
CALICO_MARKS = """
*nat
-A PREROUTING -i eni+ -m comment --comment "AWS, outbound connections" -j AWS-CONNMARK-CHAIN-0
-A PREROUTING -m comment --comment "AWS, CONNMARK" -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80
-A AWS-CONNMARK-CHAIN-0 -d 192.168.0.0/16 -j RETURN
-A AWS-CONNMARK-CHAIN-0 -j CONNMARK --set-xmark 0x80/0x80
"""


def by_calico(flag: str) -> NodeSnapshot:
    nat = CALICO_MARKS + CALICO.format(flag).removeprefix("\n*nat\n")
    return replace(snapshot(), rule_sets=tuple(iptables(nat + eks.MANGLE)))


@pytest.mark.parametrize("randomize", [0, 1, 2])
@pytest.mark.parametrize(("written", "flag"), [*enumerate(("", " --random", " --random-fully"))])
def test_ports_that_are_chosen_less_randomly_than_was_set_are_named(randomize: int, written: int, flag: str) -> None:
    node = edited(snapshot(), "nat", "AWS-SNAT-CHAIN-0", first=SNAT + flag, less="AWS, SNAT")
    defects = found(replace(node, settings=CniSettings(randomize=randomize)))
    assert set(defects) == ({"SNAT_RANDOM_NOT_IN_EFFECT"} if written < randomize else set())


@pytest.mark.parametrize(
    ("flag", "says", "mend"),
    [
        ("", "keeps the source port", "restart aws-node on node-1: it writes its rule anew"),
        (" --random", "asks for random ports, not for fully random ones", "upgrade the VPC CNI"),
    ],
)
def test_what_the_cnis_own_rule_does_instead_is_said(flag: str, says: str, mend: str) -> None:
    node = edited(snapshot(), "nat", "AWS-SNAT-CHAIN-0", first=SNAT + flag, less="AWS, SNAT")
    finding = found(node)["SNAT_RANDOM_NOT_IN_EFFECT"].finding
    assert finding.severity is Severity.WARNING
    assert finding.text.startswith(
        "on node-1 AWS_VPC_K8S_CNI_RANDOMIZESNAT is prng, and the rule that translates first"
    )
    assert says in finding.text
    assert mend in finding.fix
    assert finding.evidence[0].claim == "AWS_VPC_K8S_CNI_RANDOMIZESNAT is prng"
    assert finding.evidence[0].source == "node-1 ipamd"


def with_egress_plugin(version: int, flag: str, randomize: int) -> NodeSnapshot:
    """A pod has an address that means something on its node alone, by a veth of its own; of the CNI's own there is no rule."""
    own, multicast, to = {
        4: (SECOND_WAYS[4], "224.0.0.0/4", "192.168.1.29"),
        6: (SECOND_WAYS[6], "ff00::/8", "2001:db8::29"),
    }[version]
    nat = f"""
*nat
-A POSTROUTING -s {own}/{own.max_prefixlen} -j CNI-E{version}-0123456789abcdef01234
-A CNI-E{version}-0123456789abcdef01234 -d {multicast} -j ACCEPT
-A CNI-E{version}-0123456789abcdef01234 -j SNAT --to-source {to}{flag}
COMMIT
"""
    node = snapshot()
    second = replace(node.interfaces[-1], index=20, name="veth3", pod_addresses=(own,))
    ways = [route(f"{own} dev veth3 scope link")]
    rules = node.rules
    if version == 6:
        ways.append(route("::/0 via fe80::1 dev eth0"))
        rules += (replace(rule("32766: from all lookup main"), family=6),)
    return replace(
        node,
        interfaces=(*node.interfaces, second),
        rules=rules,
        routes=(*node.routes, *ways),
        rule_sets=tuple(iptables(nat, family="ip6" if version == 6 else "ip")),
        sysctls={**node.sysctls, "net.ipv6.conf.all.forwarding": "1"},
        egress_plugin=EgressPlugin(enabled=True, randomize=randomize, path=PLUGIN),
    )


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("randomize", [0, 1, 2])
@pytest.mark.parametrize(("written", "flag"), [*enumerate(("", " --random", " --random-fully"))])
def test_so_are_those_that_egress_cni_chooses(version: int, randomize: int, written: int, flag: str) -> None:
    defects = found(with_egress_plugin(version, flag, randomize))
    if written >= randomize:
        assert "SNAT_RANDOM_NOT_IN_EFFECT" not in defects
        return
    defect = defects["SNAT_RANDOM_NOT_IN_EFFECT"]
    assert defect.concerns == {SECOND_WAYS[version]}
    assert defect.finding.fix.startswith("start the pods of node-1 anew")
    assert "node-1 randomizeSNAT is" in defect.finding.text
    assert defect.finding.evidence[0].source == f"node-1 {PLUGIN}"


def test_another_rule_that_translates_first_is_judged_by_its_own_flag() -> None:
    finding = found(by_calico(""))["SNAT_RANDOM_NOT_IN_EFFECT"].finding
    assert "cali-nat-outgoing #1" in finding.text
    assert finding.fix.startswith("have Calico ask for fully random ports")
    assert found(by_calico(" --random-fully")) == {}


@pytest.mark.parametrize(
    "nobody_told", [{"settings": None}, {"settings": CniSettings(external_snat=True)}, {"vpc_networks": ()}]
)
def test_where_nobody_told_what_was_set_no_rule_is_less_random(nobody_told: dict[str, Any]) -> None:
    assert "SNAT_RANDOM_NOT_IN_EFFECT" not in found(replace(by_calico(""), **nobody_told))


def test_where_it_is_open_which_rule_comes_first_neither_is_blamed() -> None:
    other = by_calico("")
    both = replace(other, rule_sets=(*snapshot("return", Backend.LEGACY).rule_sets, *other.rule_sets))
    assert "SNAT_RANDOM_NOT_IN_EFFECT" not in found(both)


def test_external_snat_with_the_nodes_own_is_named_and_anothers_choice_is_not() -> None:
    external = replace(snapshot(), settings=CniSettings(external_snat=True))
    defects = found(external)
    assert set(defects) == {"SNAT_DESPITE_EXTERNAL"}
    assert "AWS-SNAT-CHAIN-0 #2" in defects["SNAT_DESPITE_EXTERNAL"].finding.text
    nat = """
*nat
-A POSTROUTING -j cali-nat-outgoing
-A cali-nat-outgoing ! -d 192.168.0.0/16 -j MASQUERADE
COMMIT
"""
    chosen = replace(external, rule_sets=tuple(iptables(nat + eks.MANGLE)))
    assert found(chosen) == {}
    native = native_table("calico", "nat", "postrouting", 99, [{"masquerade": None}])
    assert found(replace(external, rule_sets=(*iptables(eks.MANGLE), native))) == {}
    unknown = native_table("own", "nat", "postrouting", 99, [{"masquerade": None}])
    assert set(found(replace(external, rule_sets=(*iptables(eks.MANGLE), unknown)))) == {"SNAT_DESPITE_EXTERNAL"}


def test_what_is_excluded_needs_no_snat() -> None:
    everything = CniSettings(excluded_networks=(ip_network("0.0.0.0/0"),))
    node = edited(replace(snapshot(), settings=everything), "nat", "POSTROUTING", less="AWS")
    assert found(edited(node, "mangle", "PREROUTING", less="\n")) == {}


def test_rules_up_to_1_7_need_no_mark() -> None:
    """One rule 1536 for each CIDR of the VPC: what leaves it goes by main, unmarked."""
    node = snapshot("jump", Backend.LEGACY)
    node = edited(node, "nat", "PREROUTING", less="AWS, ")
    for pod in (SEARCH, ORDERS):
        node = with_rules(node, f"1536: from {pod} to 192.168.0.0/16 lookup 2", less=f"1536: from {pod} lookup")
    assert "CONNMARK_RULES_MISSING" not in found(node)


def old_rules(backend: Backend) -> tuple[RuleSet, ...]:
    return tuple(of for of in eks.rule_sets("jump", backend) if of.table == "nat")


def test_rules_in_two_stores_are_named_by_their_writers() -> None:
    both = replace(snapshot(), rule_sets=(*snapshot().rule_sets, *old_rules(Backend.LEGACY)))
    finding = found(both)["STALE_RULE_SET"].finding
    assert "iptables-legacy and iptables-nft" in finding.text
    assert finding.severity is Severity.WARNING


def test_empty_chains_and_hints_in_the_other_store_are_no_second_set() -> None:
    canary = """
*nat
-A PREROUTING -j KUBE-SERVICES
-A KUBE-KUBELET-CANARY -j RETURN
COMMIT
"""
    both = replace(snapshot(), rule_sets=(*snapshot().rule_sets, *iptables(canary, Backend.LEGACY)))
    assert "STALE_RULE_SET" not in found(both)


def kube_proxy(priority: int) -> RuleSet:
    portal = {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": "10.100.0.10"}}
    made = native_table("kube-proxy", "nat", "prerouting", priority, [portal, {"dnat": {"addr": str(CART)}}])
    assert json.loads(made.chains[0].rules[0].expression)
    return made


@pytest.mark.parametrize(
    ("priority", "severity"), [(-110, None), (-100, Severity.WARNING), (-90, Severity.ERROR)], ids=str
)
def test_marks_before_the_services_dnat(priority: int, severity: Severity | None) -> None:
    node = edited(snapshot(), "nat", "PREROUTING", less="KUBE-SERVICES")
    defect = found(replace(node, rule_sets=(*node.rule_sets, kube_proxy(priority)))).get("CONNMARK_BEFORE_DNAT")
    assert (defect.finding.severity if defect else None) is severity


def test_the_cnis_own_table_marks_after_the_services_dnat() -> None:
    node = edited(snapshot("native"), "nat", "PREROUTING", less="KUBE-SERVICES")
    assert found(replace(node, rule_sets=(*node.rule_sets, kube_proxy(-100)))) == {}
