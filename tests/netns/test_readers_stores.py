"""Legacy, iptables-nft and native nftables rules of a real kernel, read in a namespace of their own."""

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from pyroute2 import netns

from pathtap.agent.readers import command, legacy, nftables, xtables
from pathtap.agent.snapshot import read_snapshot
from pathtap.model.netfilter import Backend, RuleSet

pytestmark = pytest.mark.netns

RULESETS = Path(__file__).parents[1] / "unit" / "agent" / "fixtures" / "rulesets"
IPV4 = RULESETS / "vpc-cni-and-kube-proxy.rules"
IPV6 = RULESETS / "ipv6.rules"


class Namespace:
    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *argv: str) -> str:
        done = subprocess.run(["ip", "netns", "exec", self.name, *argv], check=True, capture_output=True, text=True)
        return done.stdout

    def inside(self, read: Callable[[], Any]) -> Any:
        """What `read` returns in a thread that has entered the namespace; its threads and processes are inside too."""
        found: list[Any] = []

        def enter() -> None:
            netns.setns(self.name)
            found.append(read())

        thread = Thread(target=enter)
        thread.start()
        thread.join()
        return found[0]


@pytest.fixture
def node() -> Iterator[Namespace]:
    name = f"rdst{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        namespace = Namespace(name)
        namespace.run("ip", "link", "set", "lo", "up")
        yield namespace
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def read_by_iptc(family: str) -> legacy.FromChild:
    return legacy._through_iptc(family, legacy.existing(family))


def by_table(rule_sets: tuple[RuleSet, ...]) -> dict[tuple[str, str], RuleSet]:
    return {(rule_set.family, rule_set.table): rule_set for rule_set in rule_sets}


def unsigned(rule_sets: tuple[RuleSet, ...]) -> dict[tuple[str, str], RuleSet]:
    """By table, whoever read it."""
    return {key: replace(rule_set, read_by="") for key, rule_set in by_table(rule_sets).items()}


def texts(rule_set: RuleSet) -> dict[str, list[str]]:
    return {chain.name: [rule.text for rule in chain.rules] for chain in rule_set.chains}


def test_what_iptc_reads_is_what_legacy_save_prints(node: Namespace) -> None:
    node.run("iptables-legacy-restore", str(IPV4))
    node.run("ip6tables-legacy-restore", str(IPV6))
    for family, tool in (("ip", "iptables-legacy-save"), ("ip6", "ip6tables-legacy-save")):
        through_iptc = node.inside(partial(read_by_iptc, family))
        saved = xtables.parse(node.run(tool, "-c"), Backend.LEGACY, family).rule_sets
        assert through_iptc.refused == {}
        assert unsigned(through_iptc.rule_sets) == unsigned(saved)
        assert len(saved) == {"ip": 4, "ip6": 2}[family]


def test_the_same_rules_have_the_same_text_in_both_stores(node: Namespace) -> None:
    for variant in ("legacy", "nft"):
        node.run(f"iptables-{variant}-restore", str(IPV4))
        node.run(f"ip6tables-{variant}-restore", str(IPV6))
    in_legacy = by_table(node.inside(lambda: legacy.read("ip").rule_sets + legacy.read("ip6").rule_sets))
    stored = node.inside(nftables.read)
    assert stored.unread == ()
    in_nft = by_table(stored.rule_sets)
    assert in_nft.keys() == in_legacy.keys()
    for key, rule_set in in_nft.items():
        assert rule_set.backend is Backend.NFT
        assert texts(rule_set) == texts(in_legacy[key])
        assert {chain.name: (chain.hook, chain.kind, chain.priority, chain.policy) for chain in rule_set.chains} == {
            chain.name: (chain.hook, chain.kind, chain.priority, chain.policy) for chain in in_legacy[key].chains
        }


def test_all_three_stores_are_read_at_once_with_their_counters(node: Namespace) -> None:
    node.run("iptables-legacy", "-t", "mangle", "-A", "OUTPUT", "-d", "127.0.0.2/32", "-j", "MARK", "--set-mark", "1")
    node.run("iptables-nft", "-t", "mangle", "-A", "OUTPUT", "-d", "127.0.0.2/32", "-m", "comment", "--comment", "a b")
    node.run("nft", "add table inet own { chain out { type filter hook output priority mangle + 3; policy accept; }; }")
    node.run("nft", 'add rule inet own out ip daddr 127.0.0.2 counter meta mark 1 accept comment "it\'s # handle 7"')
    node.run("nft", "add rule inet own out ip daddr 127.0.0.3 drop")
    node.run("ping", "-c", "3", "-i", "0.01", "127.0.0.2")
    snapshot = node.inside(lambda: read_snapshot("n", "b", 1))
    found = {rule_set.backend: rule_set for rule_set in snapshot.rule_sets}
    assert {unread.part for unread in snapshot.unread} == {"imds", "ipamd"}
    for backend in (Backend.LEGACY, Backend.NFT):
        chain = found[backend].chain("OUTPUT")
        assert chain is not None
        assert [(rule.position, rule.packets, rule.bytes) for rule in chain.rules] == [(1, 3, 252)]
        assert (chain.hook, chain.kind, chain.priority, chain.policy) == ("output", "route", -150, "ACCEPT")
    native = found[Backend.NFTABLES]
    chain = native.chain("out")
    assert (native.family, native.table, chain.hook, chain.kind, chain.priority) == (
        "inet",
        "own",
        "output",
        "filter",
        -147,
    )
    assert [(rule.packets, rule.bytes) for rule in chain.rules] == [(3, 252), (None, None)]
    assert [rule.text for rule in chain.rules] == [
        'ip daddr 127.0.0.2 counter meta mark 0x00000001 accept comment "it\'s # handle 7"',
        "ip daddr 127.0.0.3 drop",
    ]


def test_a_revision_that_iptc_does_not_know_is_taken_from_legacy_save(node: Namespace) -> None:
    write = (
        "import iptc\n"
        "rule = iptc.Rule(); target = rule.create_target('CONNMARK', revision=1)\n"
        "target.set_parameter('restore-mark'); target.set_parameter('mask', '0x80')\n"
        "iptc.Chain(iptc.Table('mangle'), 'PREROUTING').append_rule(rule)\n"
    )
    node.run("iptables-legacy", "-t", "mangle", "-S")
    node.run("iptables-legacy", "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE")
    node.run(legacy._CHILD[0], "-c", write)
    refused = node.inside(lambda: legacy._through_iptc("ip", ("mangle", "nat"))).refused
    assert refused == {"mangle": "target CONNMARK has revision 1, not 2"}
    stored = node.inside(lambda: legacy.read("ip"))
    assert stored.unread == ()
    found = by_table(stored.rule_sets)
    assert texts(found["ip", "mangle"])["PREROUTING"] == ["-j CONNMARK [unsupported revision]"]
    assert texts(found["ip", "nat"])["POSTROUTING"] == ["-j MASQUERADE"]


def test_a_child_that_dies_costs_nothing_but_time(node: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    node.run("iptables-legacy-restore", str(IPV4))
    before = node.inside(lambda: legacy.read("ip"))
    monkeypatch.setattr(legacy, "_CHILD", ("sh", "-c", "kill -SEGV $$"))
    after = node.inside(lambda: legacy.read("ip"))
    assert unsigned(after.rule_sets) == unsigned(before.rule_sets)
    assert {rule_set.read_by for rule_set in before.rule_sets} == {"python-iptables"}
    assert {rule_set.read_by for rule_set in after.rule_sets} == {"iptables-legacy-save"}
    monkeypatch.setattr(legacy, "_SAVE", {"ip": "no-such-iptables-save"})
    unread = node.inside(lambda: legacy.read("ip")).unread
    assert [item.part for item in unread] == [
        f"{name} (iptables-legacy)" for name in ("filter", "mangle", "nat", "raw")
    ]
    assert unread[0].reason == "python-iptables: sh was ended by signal 11; and no-such-iptables-save is not installed"


def test_a_table_of_both_worlds_is_read_and_named(node: Namespace) -> None:
    node.run("iptables-nft", "-t", "nat", "-A", "POSTROUTING", "-m", "comment", "--comment", "x", "-j", "MASQUERADE")
    node.run("iptables-nft", "-t", "filter", "-A", "FORWARD", "-j", "ACCEPT")
    node.run("nft", "add rule ip nat POSTROUTING ip saddr 10.0.0.0/8 ct mark set 0x80")
    stored = node.inside(nftables.read)
    assert {(rule_set.backend, rule_set.table) for rule_set in stored.rule_sets} == {
        (Backend.NFT, "filter"),
        (Backend.NFTABLES, "nat"),
    }
    assert [unread.part for unread in stored.unread] == ["nat (iptables-nft)"]


def test_the_child_takes_no_module_from_the_current_directory(
    node: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('taken from the current directory')")
    monkeypatch.chdir(tmp_path)
    node.run("iptables-legacy-restore", str(IPV4))
    assert node.inside(partial(read_by_iptc, "ip")).refused == {}


def test_reading_changes_nothing(node: Namespace) -> None:
    def state() -> tuple[str, ...]:
        proc = "cat /proc/net/ip_tables_names /proc/net/ip6_tables_names"
        return node.run("sh", "-c", proc), node.run("nft", "-s", "list", "ruleset"), node.run("ip", "rule")

    empty = state()
    assert node.inside(lambda: read_snapshot("n", "b", 1)).rule_sets == ()
    assert state() == empty
    assert empty[:2] == ("", "")
    node.run("iptables-legacy", "-t", "nat", "-A", "PREROUTING", "-j", "CONNMARK", "--restore-mark")
    node.run("iptables-nft", "-t", "mangle", "-A", "PREROUTING", "-j", "CONNMARK", "--restore-mark")
    one_of_each = state()
    assert one_of_each[0] == "nat\n"
    snapshot = node.inside(lambda: read_snapshot("n", "b", 1))
    assert [(item.backend, item.table) for item in snapshot.rule_sets] == [
        (Backend.LEGACY, "nat"),
        (Backend.NFT, "mangle"),
    ]
    assert state() == one_of_each


def test_many_slow_tables_cost_no_more_than_one(
    node: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slow = tmp_path / "nft"
    slow.write_text(f'#!/bin/sh\ncase "$*" in *"list table "*) sleep 0.4 ;; esac\nexec {shutil.which("nft")} "$@"\n')
    slow.chmod(0o755)
    names = [f"t{number}" for number in range(8)]
    for name in names:
        node.run("nft", f"add table ip {name}")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(nftables, "SECONDS", 1.0)
    started = time.monotonic()
    stored = node.inside(nftables.read)
    assert time.monotonic() - started < 2
    assert [rule_set.table for rule_set in stored.rule_sets] == ["t0"]
    assert [unread.part for unread in stored.unread] == [f"{name} (nftables)" for name in names[1:]]
    assert stored.unread[-1].reason == "nft was not asked: the 1 s for this store were over"


def test_missing_tools_are_said_so(node: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    node.run("nft", "add table ip mine")
    monkeypatch.setenv("PATH", str(tmp_path))
    stored = node.inside(nftables.read)
    assert {unread.part: unread.reason for unread in stored.unread} == {"mine (nftables)": "nft is not installed"}
    monkeypatch.undo()
    node.run("iptables-nft", "-t", "nat", "-A", "POSTROUTING", "-j", "ACCEPT")
    monkeypatch.setenv("PATH", str(tmp_path))
    stored = node.inside(nftables.read)
    assert {unread.part: unread.reason for unread in stored.unread} == {
        "iptables-nft": "iptables-nft-save is not installed",
        "mine (nftables)": "nft is not installed",
        "nat (nftables)": "nft is not installed",
    }


def test_tables_of_every_family_are_found(node: Namespace) -> None:
    families = ("arp", "bridge", "inet", "ip", "ip6", "netdev")
    for family in families:
        node.run("nft", f"add table {family} t")
    stored = node.inside(nftables.read)
    assert stored.unread == ()
    assert sorted((rule_set.family, rule_set.table) for rule_set in stored.rule_sets) == [
        (one, "t") for one in families
    ]


def test_the_xtables_lock_of_others_does_not_hold_a_read_up(
    node: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node.run("iptables-legacy-restore", str(IPV4))
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "lock"))
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert len(node.inside(lambda: legacy.read("ip")).rule_sets) == 4
        # The lock does hold up who takes it.
        with pytest.raises(command.CommandError, match=r"did not answer within 0\.3 s$"):
            command.run(["ip", "netns", "exec", node.name, "iptables-legacy", "-w", "-L"], seconds=0.3)
