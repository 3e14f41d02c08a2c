"""The faults as values; what they do to a kernel is in tests/netns."""

import re
from collections import Counter

import pytest

from pathtap.lab.breaking import fault_named
from pathtap.lab.errors import LabError
from pathtap.lab.faults import FAULTS, Change, CommandChange, Fault, SysctlChange
from pathtap.lab.faults.changes import EarlierChange, ProcessChange
from pathtap.lab.faults.rewriting import rewrite
from pathtap.lab.options import LabOptions
from pathtap.lab.topology import Cluster, make_cluster

NFT, LEGACY = make_cluster(LabOptions(backend="nft")), make_cluster(LabOptions(backend="legacy", chains="jump"))
CUSTOM = LabOptions(custom_networking=True)
EXTERNAL = LabOptions(external_snat=True)
NATIVE = LabOptions(chains="native")
CODE = re.compile(r"[A-Z]+(_[A-Z]+)+")


def changes(fault: Fault, cluster: Cluster) -> tuple[Change, ...]:
    """With what an earlier change is made of in its place."""
    made = fault.changes(cluster)
    return tuple(part for change in made for part in _parts(change))


def _parts(change: Change) -> tuple[Change, ...]:
    return (change.meanwhile, change.made) if isinstance(change, EarlierChange) else (change,)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_says_what_it_breaks_which_trace_shows_it_and_what_finds_it(fault: Fault) -> None:
    assert fault.breaks.endswith(".")
    assert "\n" not in fault.breaks
    assert NFT.pod(fault.trace.source)
    assert fault.shown_by.startswith(f"pathtap trace {fault.trace.source} to {fault.trace.destination}")
    assert fault.traced_as
    assert all(CODE.fullmatch(code) for code in (*fault.traced_as, *fault.checked_as))
    assert fault.found_as.startswith(fault.traced_as[0])


def test_no_two_faults_have_one_name() -> None:
    assert max(Counter(fault.name for fault in FAULTS).values()) == 1


@pytest.mark.parametrize("cluster", [NFT, LEGACY], ids=["nft", "legacy"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_change_undoes_what_it_does(fault: Fault, cluster: Cluster) -> None:
    if fault.impossible(cluster.options):
        assert fault.name == "connmark-before-dnat"
        return
    made = changes(fault, cluster)
    assert made
    for change in made:
        if isinstance(change, SysctlChange):
            assert change.broken != change.healed
        elif isinstance(change, CommandChange):
            assert (change.broken, change.broken_input) != (change.healed, change.healed_input)
            assert change.namespace.startswith(f"{cluster.options.prefix}-")
        elif isinstance(change, ProcessChange):
            assert change.namespace in cluster.network_namespaces


def test_what_a_trace_takes_is_in_its_words() -> None:
    assert fault_named("no-to-pod-rule").shown_by == "pathtap trace shop/search to shop/cart"
    assert fault_named("small-mtu").shown_by == "pathtap trace shop/cart to shop/redis --size 4000"
    assert fault_named("stale-conntrack").shown_by.endswith(" --protocol udp --port 7 --live")


def test_rules_are_written_with_the_labs_own_backend() -> None:
    (change,) = fault_named("forward-drop").changes(LEGACY)
    assert isinstance(change, CommandChange)
    assert change.broken[0] == "iptables-legacy"


@pytest.mark.parametrize(
    ("cluster", "stale", "healed"),
    [(NFT, "iptables-legacy-restore", "iptables-legacy-restore"), (LEGACY, "iptables-nft-restore", "nft")],
    ids=["nft", "legacy"],
)
def test_a_stale_rule_set_is_in_the_other_backend_in_jump_form_without_a_random_port(
    cluster: Cluster, stale: str, healed: str
) -> None:
    (change,) = fault_named("stale-rule-set").changes(cluster)
    assert isinstance(change, CommandChange)
    assert (change.broken[0], change.healed[0]) == (stale, healed)
    assert "-A AWS-SNAT-CHAIN-0 ! -d 192.168.0.0/16" in change.broken_input
    assert "--random" not in change.broken_input


@pytest.mark.parametrize("cluster", [NFT, LEGACY, make_cluster(LabOptions(randomize="hashrandom"))])
@pytest.mark.parametrize(("name", "flag"), [("snat-random-fallback", "--random"), ("snat-not-random", "192.168.1.29")])
def test_the_cnis_own_snat_rule_stands_where_it_stood_with_another_flag(cluster: Cluster, name: str, flag: str) -> None:
    if fault_named(name).impossible(cluster.options):
        return
    gone, other = fault_named(name).changes(cluster)
    assert isinstance(gone, CommandChange)
    assert isinstance(other, CommandChange)
    own = {"prng": "--random-fully", "hashrandom": "--random"}[cluster.options.randomize]
    assert (gone.broken[-1], gone.healed[-1]) == (own, own)
    assert (other.broken[-1], other.healed[-1]) == (flag, flag)
    at = other.broken.index("-I") + 2
    assert other.broken[at] == gone.healed[at]


def test_calicos_chain_masquerades_what_leaves_the_vpc_and_comes_first() -> None:
    sets, rules = fault_named("masquerade-before-snat").changes(make_cluster(LabOptions(vpc_cidrs=2)))
    assert isinstance(sets, CommandChange)
    assert isinstance(rules, CommandChange)
    for name in ("cali40masq-ipam-pools", "cali40all-ipam-pools"):
        assert f"add {name} 192.168.0.0/16\nadd {name} 100.64.0.0/16\n" in sets.broken_input
    assert "-I POSTROUTING 1 " in rules.broken_input
    assert "dst -j MASQUERADE\n" in rules.broken_input


def test_rules_that_were_removed_return_to_their_own_positions() -> None:
    lower, upper = (change for change in fault_named("no-connmark-rules").changes(NFT))
    assert isinstance(lower, CommandChange)
    assert isinstance(upper, CommandChange)
    at = lower.healed.index("-I") + 2
    assert (upper.healed[at], lower.healed[at]) == ("2", "3")


def test_with_native_chains_the_connmark_table_goes_and_returns_whole() -> None:
    (change,) = fault_named("no-connmark-rules").changes(make_cluster(NATIVE))
    assert isinstance(change, CommandChange)
    assert change.broken_input == "delete table ip aws-cni\n"
    assert change.healed_input.startswith("table ip aws-cni\ndelete table ip aws-cni\ntable ip aws-cni {")


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("connmark-before-dnat", LabOptions(backend="legacy"), "--backend nft"),
        ("connmark-before-dnat", NATIVE, "no connmark rules in iptables"),
        ("shadowed-connmark-rules", NATIVE, "a table of their own"),
        ("snat-foreign-source", EXTERNAL, "no SNAT rules"),
        ("no-fwmark-rule", LabOptions(external_snat=True, node_port=False), "no ip rule 1024"),
        ("stale-conntrack", EXTERNAL, "translates nothing"),
        ("unexpected-snat", LabOptions(metadata=False), "no ipamd"),
        ("snat-random-fallback", LabOptions(randomize="hashrandom"), "what an old iptables falls back to"),
        ("snat-random-fallback", LabOptions(randomize="none"), "no random ports"),
        ("snat-not-random", LabOptions(randomize="none"), "no random ports"),
        ("snat-not-random", LabOptions(metadata=False), "no ipamd"),
        ("masquerade-before-snat", EXTERNAL, "no SNAT rules"),
        ("stale-from-pod-rule", CUSTOM, "no pod is on a primary ENI"),
        ("no-default-route", CUSTOM, "no pod is on a primary ENI"),
        ("small-mtu", CUSTOM, "no pod is on a primary ENI"),
    ],
)
def test_what_a_lab_cannot_have_is_refused_in_a_sentence(name: str, options: LabOptions, reason: str) -> None:
    sentence = fault_named(name).impossible(options)
    assert reason in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize("options", [CUSTOM, EXTERNAL, NATIVE, LabOptions(prefix_mode=True), LabOptions(vpc_cidrs=2)])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_other_lab_has_the_fault(fault: Fault, options: LabOptions) -> None:
    assert fault.impossible(options) or fault.changes(make_cluster(options))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("no-fwmark-rul", "Did you mean no-fwmark-rule?"),
        ("fwmark", "Did you mean no-fwmark-rule?"),
        ("gremlins", "`pathtap lab fault --list` names them all."),
    ],
)
def test_an_unknown_fault_is_refused_with_the_nearest_names(name: str, hint: str) -> None:
    with pytest.raises(LabError) as refused:
        fault_named(name)
    assert str(refused.value) == f"There is no fault {name}. {hint}"


BEFORE = """*nat
:PREROUTING ACCEPT [0:0]
:GONE - [0:0]
:KEPT - [0:0]
-A PREROUTING -j GONE
-A PREROUTING -j KEPT
-A GONE -j RETURN
-A KEPT -m comment --comment "two words" -j ACCEPT
COMMIT
"""
AFTER = """*nat
:PREROUTING ACCEPT [0:0]
:KEPT - [0:0]
-A PREROUTING -j KEPT
-A KEPT -m comment --comment "two words" -j ACCEPT
COMMIT
"""


def test_a_rule_set_is_rewritten_without_touching_what_stays() -> None:
    assert rewrite(BEFORE, BEFORE) == "*nat\nCOMMIT\n"
    assert rewrite(BEFORE, AFTER) == "*nat\n-D PREROUTING -j GONE\n-F GONE\n-X GONE\nCOMMIT\n"
    back = "*nat\n:GONE - [0:0]\n-I PREROUTING 1 -j GONE\n-I GONE 1 -j RETURN\nCOMMIT\n"
    assert rewrite(AFTER, BEFORE) == back
