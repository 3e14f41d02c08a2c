"""Reads what nf_tables holds: iptables-nft's tables as iptables-save text, every other table as nft's own JSON.

Creates no table: the kernel itself says which there are, and no save program is run without a table that could be its
own. nft shows the matches of iptables-nft (`xt`) without their parameters, so a table that holds them and that
iptables-nft-save does not print is also named as unread.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pathtap.agent.readers import netlink, stores, xtables
from pathtap.agent.readers.command import Budget, CommandError
from pathtap.agent.readers.netlink import Message
from pathtap.agent.readers.stores import Stored
from pathtap.agent.readers.xtables import UnexpectedTextError
from pathtap.model.netfilter import Backend, Chain, NetfilterRule, RuleSet
from pathtap.model.node import Unread

# For all commands together: the save of 50,000 rules in 20,000 chains takes 2.4 s, and a trace waits 4 s for a snapshot.
SECONDS = 3.0

_SAVE = {"ip": "iptables-nft-save", "ip6": "ip6tables-nft-save"}
# NFPROTO_* of linux/netfilter.h, as nft calls them.
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_HANDLE = re.compile(r" # handle (\d+)\Z")
# What a chain's block holds besides rules.
_CHAIN_WORDS = ("type ", "comment ", "policy ", "flags ", "devices ")


@dataclass(frozen=True, slots=True, order=True)
class Table:
    family: str
    name: str


def read() -> Stored:
    """Every table of the current network namespace. Raises OSError where the kernel does not say which there are."""
    listed = decode_tables(netlink.nft_tables())
    budget = Budget(SECONDS)
    own = {table.family for table in listed if table.family in _SAVE and table.name in xtables.TABLES}
    saved = _read_saved(sorted(own), budget)
    printed = {Table(rule_set.family, rule_set.table) for rule_set in saved.rule_sets}
    native = _read_native((table for table in listed if table not in printed), budget)
    return Stored(rule_sets=saved.rule_sets + native.rule_sets, unread=saved.unread + native.unread)


def _read_saved(families: Iterable[str], budget: Budget) -> Stored:
    rule_sets: list[RuleSet] = []
    unread: list[Unread] = []
    for family in families:
        try:
            text = budget.run([_SAVE[family], "-c"])
            rule_sets.extend(xtables.parse(text, Backend.NFT, family).rule_sets)
        except (CommandError, UnexpectedTextError) as error:
            unread.append(Unread(part=_SAVE[family].removesuffix("-save"), reason=str(error)))
    return Stored(rule_sets=tuple(rule_sets), unread=tuple(unread))


def _read_native(tables: Iterable[Table], budget: Budget) -> Stored:
    rule_sets: list[RuleSet] = []
    unread: list[Unread] = []
    for table in tables:
        try:
            native = decode(*fetch(table, budget))
        except (CommandError, UnexpectedTextError) as error:
            part = stores.part(Backend.NFTABLES, table.family, table.name)
            unread.append(Unread(part=part, reason=str(error)))
            continue
        rule_sets.append(native)
        unread.extend(_without_parameters(native))
    return Stored(rule_sets=tuple(rule_sets), unread=tuple(unread))


def fetch(table: Table, budget: Budget) -> tuple[str, str]:
    """The table as JSON, and as text without counters and set elements."""
    name = ["list", "table", table.family, table.name]
    return budget.run(["nft", "-j", *name]), budget.run(["nft", "-a", "-s", "-t", *name])


def decode_tables(messages: tuple[Message, ...]) -> tuple[Table, ...]:
    """In the kernel's order."""
    return tuple(Table(_FAMILIES[message["nfgen_family"]], message["attrs"]["NFTA_TABLE_NAME"]) for message in messages)


def decode(in_json: str, in_text: str) -> RuleSet:
    """One native table. Raises UnexpectedTextError."""
    texts = rule_texts(in_text)
    name = family = ""
    declared: dict[str, Mapping[str, Any]] = {}
    rules: dict[str, list[NetfilterRule]] = {}
    others: list[dict[str, Any]] = []
    for kind, item in _objects(in_json):
        if kind == "table":
            name, family = item["name"], item["family"]
        elif kind == "chain":
            declared[item["name"]] = item
            rules[item["name"]] = []
        elif kind == "rule":
            chain = rules[item["chain"]]
            chain.append(_rule(item, len(chain) + 1, texts))
        elif kind != "metainfo":
            others.append({kind: item})
    if not name:
        raise UnexpectedTextError("nft listed no table")
    return RuleSet(
        backend=Backend.NFTABLES,
        family=family,
        table=name,
        chains=tuple(_chain(chain, rules[key]) for key, chain in declared.items()),
        objects=json.dumps(others) if others else "",
    )


def rule_texts(text: str) -> Mapping[int, str]:
    """The text of each rule by its handle; a rule whose map spans lines is made one line."""
    found: dict[int, str] = {}
    in_chain = False
    pending: list[str] = []
    for line in map(str.strip, text.splitlines()):
        if not in_chain:
            in_chain = line.startswith("chain ")
        elif line == "}" and not pending:
            in_chain = False
        elif pending or not line.startswith(_CHAIN_WORDS):
            pending.append(line)
            if handle := _HANDLE.search(line):
                found[int(handle[1])] = _HANDLE.sub("", " ".join(pending))
                pending = []
    return found


def _objects(text: str) -> Iterator[tuple[str, Any]]:
    """libnftables-json(5): an array of objects with one key each."""
    try:
        for entry in json.loads(text)["nftables"]:
            yield from entry.items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnexpectedTextError(f"nft printed something else than its JSON: {error!r}") from error


def _chain(item: Mapping[str, Any], rules: Iterable[NetfilterRule]) -> Chain:
    if "hook" not in item:
        return Chain(name=item["name"], rules=tuple(rules))
    return Chain(
        name=item["name"],
        rules=tuple(rules),
        hook=item["hook"],
        kind=item["type"],
        priority=item["prio"],
        policy=item.get("policy", "accept").upper(),
    )


def _rule(item: Mapping[str, Any], position: int, texts: Mapping[int, str]) -> NetfilterRule:
    expression = json.dumps(item.get("expr", []))
    counter = next((part["counter"] for part in item.get("expr", []) if _counts(part)), None)
    return NetfilterRule(
        position=position,
        # A rule that came between the two listings has no text yet.
        text=texts.get(item["handle"], expression),
        expression=expression,
        packets=None if counter is None else counter["packets"],
        bytes=None if counter is None else counter["bytes"],
    )


def _counts(statement: Mapping[str, Any]) -> bool:
    """An anonymous counter; a named one ({"counter": "name"}) stands among the table's objects."""
    return isinstance(statement.get("counter"), dict)


def _without_parameters(table: RuleSet) -> Iterator[Unread]:
    if any('{"xt":' in rule.expression for chain in table.chains for rule in chain.rules):
        yield Unread(
            part=stores.part(Backend.NFT, table.family, table.table),
            reason=f"table {table.family} {table.table} mixes rules of iptables-nft and of nft, so iptables-nft-save "
            "refuses to print it and nft prints iptables' matches without their parameters",
        )
