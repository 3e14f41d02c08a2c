"""Reads what nf_tables holds: iptables-nft's tables as iptables-save text, every other table as nft's own JSON.

Creates no table: the kernel itself says which there are, and no save program is run without a table that could be its
own. nft shows the matches of iptables-nft (`xt`) without their parameters, so a table that holds them and that
iptables-nft-save does not print is also named as unread. Nothing is run while the kernel's generation number stays the same.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pathtap.agent.readers import generation, netlink, xtables
from pathtap.agent.readers.command import SAVE_SECONDS, Budget, CommandError
from pathtap.agent.readers.generation import Generation
from pathtap.agent.readers.netlink import Message
from pathtap.agent.readers.stores import Stored
from pathtap.agent.readers.xtables import UnexpectedTextError
from pathtap.model import netfilter
from pathtap.model.netfilter import Backend, Chain, NetfilterRule, RuleSet
from pathtap.model.node import Unread

# For all commands together.
SECONDS = SAVE_SECONDS

_SAVE = {"ip": "iptables-nft-save", "ip6": "ip6tables-nft-save"}
# NFPROTO_* of linux/netfilter.h, as nft calls them.
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_HANDLE = re.compile(r" # handle (\d+)\Z")
# nft's JSON of elements that expire, and of rules that enter or delete elements (libnftables-json(5)).
_MOVING_SET = re.compile(r'"timeout": ')
_MOVING_RULE = re.compile(r'"op": "(?:add|update|delete)"')
# Asks for an interface by its number, which nft prints as the name of whoever has that number now.
_NUMBERED = re.compile(r'"key": "[io]if"')
# A chain's declaration in text, which tells the interfaces of its hook; the JSON of nft 1.0.6 does not.
_CHAIN = re.compile(r"chain (?P<name>\S+) \{(?: # handle \d+)?\Z")
_DEVICES = re.compile(
    r'type \S+ hook (?:ingress|egress) (?:device "(?P<one>[^"]+)"|devices = \{ (?P<several>[^}]*) \})'
)
# What a chain's block holds besides rules.
_CHAIN_WORDS = ("type ", "comment ", "policy ", "flags ", "devices ")


@dataclass(frozen=True, slots=True, order=True)
class Table:
    family: str
    name: str


class NftablesReader:
    """Every table of the current network namespace. Not for several threads at once."""

    def __init__(self) -> None:
        self._generation: Generation | None = None
        self._held = Stored()

    def read(self) -> Stored:
        """What was read last, with the counters of that time, while no transaction has changed anything since.

        Raises OSError where the kernel does not say which tables there are.
        """
        before = _generation()
        if before is None or before != self._generation:
            self._held = read()
            # A transaction during the reading leaves it without a generation, so that the next one reads again.
            self._generation = before if before == _generation() and _is_lasting(self._held) else None
        return self._held


def read() -> Stored:
    """Once, keeping nothing. Raises OSError where the kernel does not say which tables there are."""
    listed = decode_tables(netlink.nft_tables())
    budget = Budget(SECONDS)
    own = {table.family for table in listed if table.family in _SAVE and table.name in xtables.TABLES}
    saved = _read_saved(sorted(own), budget)
    printed = {Table(rule_set.family, rule_set.table) for rule_set in saved.rule_sets}
    native = _read_native((table for table in listed if table not in printed), budget)
    return Stored(rule_sets=saved.rule_sets + native.rule_sets, unread=saved.unread + native.unread)


def _generation() -> Generation | None:
    """None where the kernel tells none: then every reading is a new one."""
    try:
        return generation.read()
    except OSError:
        return None


def _is_lasting(stored: Stored) -> bool:
    """Whether nothing failed, and nothing changes without a transaction: sets by packets that enter elements or by time, what
    belongs to an interface by its coming and going.
    """
    return not stored.unread and not any(
        _MOVING_SET.search(rule_set.objects)
        or any(chain.device for chain in rule_set.chains)
        or any(
            _MOVING_RULE.search(rule.expression) or _NUMBERED.search(rule.expression)
            for chain in rule_set.chains
            for rule in chain.rules
        )
        for rule_set in stored.rule_sets
        if rule_set.backend is Backend.NFTABLES
    )


def _read_saved(families: Iterable[str], budget: Budget) -> Stored:
    rule_sets: list[RuleSet] = []
    unread: list[Unread] = []
    for family in families:
        try:
            text = budget.run([_SAVE[family], "-c"])
            rule_sets.extend(xtables.parse(text, Backend.NFT, family, _SAVE[family]).rule_sets)
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
            part = netfilter.part(Backend.NFTABLES, table.family, table.name)
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
    texts, devices = rule_texts(in_text), hook_devices(in_text)
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
        chains=tuple(_chain(chain, rules[key], devices.get(key, "")) for key, chain in declared.items()),
        objects=json.dumps(others) if others else "",
        read_by="nft",
    )


def hook_devices(text: str) -> Mapping[str, str]:
    """The interfaces of each chain with a hook of interfaces, by the chain's name; several have blanks between them."""
    found: dict[str, str] = {}
    chain = ""
    for line in map(str.strip, text.splitlines()):
        if opened := _CHAIN.match(line):
            chain = opened["name"]
        elif told := _DEVICES.match(line):
            several = (told["several"] or "").split(",")
            found[chain] = told["one"] or " ".join(name.strip().strip('"') for name in several)
    return found


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


def _chain(item: Mapping[str, Any], rules: Iterable[NetfilterRule], devices: str) -> Chain:
    if "hook" not in item:
        return Chain(name=item["name"], rules=tuple(rules))
    # One name, or a list of several; where the JSON has none, what the text says.
    named = item.get("dev") or devices
    return Chain(
        name=item["name"],
        rules=tuple(rules),
        hook=item["hook"],
        kind=item["type"],
        priority=item["prio"],
        policy=item.get("policy", "accept").upper(),
        device=" ".join(named if isinstance(named, list) else [named]),
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
            part=netfilter.part(Backend.NFT, table.family, table.table),
            reason=f"table {table.family} {table.table} mixes rules of iptables-nft and of nft, so iptables-nft-save "
            "refuses to print it and nft prints iptables' matches without their parameters",
        )
