"""Reads the legacy iptables tables that exist, through python-iptables in a child process. Opens no other table.

Where the child cannot print a table faithfully, or dies, the table is taken from iptables-legacy-save, which reads
existing tables only; docs/decisions/0003-iptc-in-a-child.md tells why.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pathtap.agent.readers import command, stores, xtables
from pathtap.agent.readers.command import CommandError
from pathtap.agent.readers.stores import Stored
from pathtap.agent.readers.xtables import UnexpectedTextError
from pathtap.model.netfilter import Backend, NetfilterRule, RuleSet
from pathtap.model.node import Unread

# The calling thread's network namespace; /proc/net would be the main thread's.
PROC = Path("/proc/thread-self/net")

_CHILD = (sys.executable, "-m", "pathtap.agent.readers.iptc_child")
_NAMES = {"ip": "ip_tables_names", "ip6": "ip6_tables_names"}
_SAVE = {"ip": "iptables-legacy-save", "ip6": "ip6tables-legacy-save"}


@dataclass(frozen=True, slots=True, order=True)
class Table:
    family: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FromChild:
    """`refused` gives the reason for each table that iptc cannot print faithfully."""

    rule_sets: tuple[RuleSet, ...] = ()
    refused: Mapping[Table, str]


def read() -> Stored:
    """Nothing is run where no legacy table exists. Raises OSError where the kernel's list cannot be read."""
    tables = existing()
    if not tables:
        return Stored()
    answer = _through_iptc(tables)
    saved = _through_save(answer.refused) if answer.refused else Stored()
    return Stored(rule_sets=(*answer.rule_sets, *saved.rule_sets), unread=saved.unread)


def existing(proc: Path = PROC) -> tuple[Table, ...]:
    """What /proc/net/ip_tables_names and its ip6 kin list; a kernel without the module has no such file."""
    found: list[Table] = []
    for family, name in _NAMES.items():
        try:
            found.extend(Table(family, line) for line in (proc / name).read_text().split())
        except FileNotFoundError:
            continue
    return tuple(sorted(found))


def decode(text: str) -> FromChild:
    """What iptc_child printed. Raises UnexpectedTextError."""
    try:
        answer = json.loads(text)
        return FromChild(
            rule_sets=tuple(_rule_set(table) for table in answer["tables"]),
            refused={Table(table["family"], table["table"]): table["reason"] for table in answer["refused"]},
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UnexpectedTextError(f"the python-iptables process printed something else: {error!r}") from error


def _rule_set(table: dict[str, object]) -> RuleSet:
    name = str(table["table"])
    chains = []
    for chain in table["chains"]:  # type: ignore[attr-defined]
        rules = (
            NetfilterRule(position=position, text=text, packets=packets, bytes=octets)
            for position, (packets, octets, text) in enumerate(chain["rules"], start=1)
        )
        chains.append(xtables.chain(name, chain["name"], chain["policy"], rules))
    return RuleSet(backend=Backend.LEGACY, family=str(table["family"]), table=name, chains=tuple(chains))


def _through_iptc(tables: Iterable[Table]) -> FromChild:
    # setuptools replaces distutils, which iptc imports, at a cost of 80 ms.
    environment = {**os.environ, "SETUPTOOLS_USE_DISTUTILS": "stdlib"}
    try:
        return decode(
            command.run([*_CHILD, *(f"{table.family}/{table.name}" for table in tables)], environment=environment)
        )
    except (CommandError, UnexpectedTextError) as error:
        return FromChild(refused=dict.fromkeys(tables, str(error)))


def _through_save(refused: Mapping[Table, str]) -> Stored:
    rule_sets: list[RuleSet] = []
    unread: list[Unread] = []
    for family in sorted({table.family for table in refused}):
        wanted = {table.name: reason for table, reason in refused.items() if table.family == family}
        try:
            # Never with -t: naming an absent table creates it.
            saved = xtables.parse(command.run([_SAVE[family], "-c"]), Backend.LEGACY, family)
            why = f"{_SAVE[family]} does not show it"
        except (CommandError, UnexpectedTextError) as error:
            saved, why = xtables.Saved(), str(error)
        found = [rule_set for rule_set in saved.rule_sets if rule_set.table in wanted]
        rule_sets.extend(found)
        for name in sorted(wanted.keys() - {rule_set.table for rule_set in found}):
            reason = f"python-iptables: {wanted[name]}; {why}"
            unread.append(Unread(part=stores.part(Backend.LEGACY, family, name), reason=reason))
    return Stored(rule_sets=tuple(rule_sets), unread=tuple(unread))
