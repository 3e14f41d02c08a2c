"""Rule sets of a real kernel are read again when they have changed, and only then. What was run is counted."""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest
from pyroute2 import netns

from pathtap.agent.readers import command, entries, generation, legacy
from pathtap.agent.readers.legacy import LegacyReader
from pathtap.agent.readers.nftables import NftablesReader
from pathtap.agent.readers.stores import Stored

pytestmark = pytest.mark.netns

SNAT = ("POSTROUTING", "-m", "comment", "--comment", "AWS, SNAT", "-j", "SNAT", "--to-source", "192.0.2.1")


class Node:
    """A namespace, and the programs that readers ran in it."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name = name
        self._ran: list[str] = []
        run = command.run

        def counted(argv: Any, *rest: Any, **options: Any) -> str:
            self._ran.append(argv[0].rpartition("/")[2])
            return run(argv, *rest, **options)

        monkeypatch.setattr(command, "run", counted)

    def run(self, *argv: str, text: str = "") -> None:
        subprocess.run(
            ["ip", "netns", "exec", self.name, *argv], input=text, check=True, capture_output=True, text=True
        )

    def inside(self, read: Callable[[], Any]) -> Any:
        found: list[Any] = []

        def enter() -> None:
            netns.setns(self.name)
            found.append(read())

        thread = Thread(target=enter)
        thread.start()
        thread.join()
        return found[0]

    def read(self, reader: LegacyReader | NftablesReader) -> tuple[Stored, int]:
        """What was read, and how many programs were run for it."""
        self._ran.clear()
        stored: Stored = self.inside(reader.read)
        return stored, len(self._ran)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    name = f"rdun{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        made = Node(name, monkeypatch)
        made.run("ip", "link", "set", "lo", "up")
        yield made
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def texts(stored: Stored, table: str, chain: str) -> list[str]:
    (rule_set,) = (each for each in stored.rule_sets if each.table == table)
    found = rule_set.chain(chain)
    return [rule.text for rule in found.rules] if found else []


@pytest.mark.parametrize(("family", "tool"), [("ip", "iptables-legacy"), ("ip6", "ip6tables-legacy")])
def test_a_legacy_table_is_read_again_when_it_has_changed(node: Node, family: str, tool: str) -> None:
    node.run(tool, "-t", "mangle", "-A", "OUTPUT", "-j", "MARK", "--set-mark", "1")
    node.run(tool, "-t", "filter", "-A", "OUTPUT", "-j", "ACCEPT")
    reader = LegacyReader(family)
    first, ran = node.read(reader)
    assert ran == 1
    assert node.read(reader) == (first, 0)
    # One rule for another of the same size: the number of entries and their size stay.
    node.run(tool, "-t", "mangle", "-R", "OUTPUT", "1", "-j", "MARK", "--set-mark", "2")
    second, ran = node.read(reader)
    assert ran == 1
    assert texts(second, "mangle", "OUTPUT") == ["-j MARK --set-xmark 0x2/0xffffffff"]
    assert texts(second, "filter", "OUTPUT") == ["-j ACCEPT"]
    assert node.read(reader) == (second, 0)


def test_counters_alone_are_no_change(node: Node) -> None:
    for variant in ("legacy", "nft"):
        node.run(f"iptables-{variant}", "-A", "OUTPUT", "-d", "127.0.0.2/32", "-j", "ACCEPT")
    readers = (LegacyReader("ip"), NftablesReader())
    before = [node.read(reader)[0] for reader in readers]
    node.run("ping", "-c", "2", "-i", "0.01", "127.0.0.2")
    assert [node.read(reader) for reader in readers] == [(stored, 0) for stored in before]


def test_a_table_that_changes_while_it_is_read_is_read_again(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.run("iptables-legacy", "-t", "nat", "-A", *SNAT)
    slow, reader = legacy._through_iptc, LegacyReader("ip")

    def changing(*arguments: Any) -> legacy.FromChild:
        found = slow(*arguments)
        node.run("iptables-legacy", "-t", "nat", "-D", *SNAT)
        return found

    monkeypatch.setattr(legacy, "_through_iptc", changing)
    assert len(texts(node.read(reader)[0], "nat", "POSTROUTING")) == 1
    monkeypatch.setattr(legacy, "_through_iptc", slow)
    assert texts(node.read(reader)[0], "nat", "POSTROUTING") == []


def test_a_table_that_is_new_is_read_and_those_that_were_there_are_not(node: Node) -> None:
    reader = LegacyReader("ip")
    assert node.read(reader) == (Stored(), 0)
    node.run("iptables-legacy", "-t", "nat", "-A", *SNAT)
    node.read(reader)
    node.run("iptables-legacy", "-t", "raw", "-A", "OUTPUT", "-j", "ACCEPT")
    stored, ran = node.read(reader)
    assert (ran, [rule_set.table for rule_set in stored.rule_sets]) == (1, ["nat", "raw"])
    assert {rule_set.read_by for rule_set in stored.rule_sets} == {"python-iptables"}


def test_nf_tables_is_read_again_after_a_transaction(node: Node) -> None:
    node.run("iptables-nft", "-t", "nat", "-A", *SNAT)
    node.run("nft", "add table inet own { chain c { drop; }; }")
    reader = NftablesReader()
    first, ran = node.read(reader)
    # iptables-nft-save once, and nft for JSON and text of the native table.
    assert (ran, node.read(reader)) == (3, (first, 0))
    assert {rule_set.table: rule_set.read_by for rule_set in first.rule_sets} == {
        "nat": "iptables-nft-save",
        "own": "nft",
    }
    node.run("nft", "add rule inet own c accept")
    second, ran = node.read(reader)
    assert (ran, texts(second, "own", "c")) == (3, ["drop", "accept"])
    node.run("nft", "delete table inet own")
    third, ran = node.read(reader)
    assert (ran, [rule_set.table for rule_set in third.rule_sets]) == (1, ["nat"])


@pytest.mark.parametrize(
    "body",
    [
        "set s { type ipv4_addr; timeout 1h; elements = { 192.0.2.1 }; }",
        "set s { type ipv4_addr; size 9; flags dynamic; }; chain c { add @s { ip saddr }; }",
    ],
    ids=["elements that expire", "entered by a rule"],
)
def test_sets_that_packets_or_time_change_are_read_each_time(node: Node, body: str) -> None:
    node.run("nft", f"add table ip moving {{ {body}; }}")
    reader = NftablesReader()
    assert [node.read(reader)[1] for _ in range(3)] == [2, 2, 2]


@pytest.mark.parametrize(
    ("table", "read"),
    [
        ("ip t { chain c { type filter hook input priority 0; iif v0 drop; }; }", ['iif "v0" drop', "iif {} drop"]),
        ("netdev t { chain c { type filter hook ingress device v0 priority 0; ip ttl 1 drop; }; }", None),
    ],
    ids=["a number that prints as a name", "a hook of an interface"],
)
def test_what_an_interface_changes_by_going_is_read_each_time(node: Node, table: str, read: list[str] | None) -> None:
    node.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    number = node.inside(lambda: socket.if_nametoindex("v0"))
    node.run("nft", f"add table {table}")
    reader = NftablesReader()
    first = node.read(reader)
    node.run("ip", "link", "del", "v0")
    node.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    second = node.read(reader)
    assert (first[1], second[1]) == (2, 2)
    if read:
        assert [texts(stored, "t", "c") for stored, _ in (first, second)] == [[text.format(number)] for text in read]


def test_another_namespace_with_the_same_number_is_another_generation(node: Node) -> None:
    other = f"{node.name}b"
    subprocess.run(["ip", "netns", "add", other], check=True)
    try:
        for name in (node.name, other):
            subprocess.run(["ip", "netns", "exec", name, "nft", "add table ip t"], check=True)
        here = node.inside(generation.read)
        node.name = other
        there = node.inside(generation.read)
    finally:
        node.name = other.removesuffix("b")
        subprocess.run(["ip", "netns", "del", other], check=True)
    assert here.number == there.number
    assert here != there


def test_a_large_table_is_read_by_the_save_program_alone(node: Node) -> None:
    rules = "".join(f"-A OUTPUT -d 10.0.{n // 250}.{n % 250}/32 -j ACCEPT\n" for n in range(legacy.MOST_FOR_IPTC))
    node.run(
        "iptables-legacy-restore", text=f"*filter\n{rules}COMMIT\n*nat\n-A {' '.join(SNAT[:1])} -j ACCEPT\nCOMMIT\n"
    )
    assert node.inside(lambda: entries.count("ip", "filter")) > legacy.MOST_FOR_IPTC
    stored, ran = node.read(LegacyReader("ip"))
    assert (ran, stored.unread) == (1, ())
    assert {rule_set.read_by for rule_set in stored.rule_sets} == {"iptables-legacy-save"}
    assert {rule_set.table: rule_set.count_rules() for rule_set in stored.rule_sets} == {
        "filter": legacy.MOST_FOR_IPTC,
        "nat": 1,
    }
