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
from pathtap.model.netfilter import Backend, Chain, NetfilterRule, RuleSet
from pathtap.model.node import Unread

FAMILIES = ("ip", "ip6")
# The calling thread's network namespace; /proc/net would be the main thread's.
PROC = Path("/proc/thread-self/net")

# -P: what runs as root takes no module from the directory where it happens to stand.
_CHILD = (sys.executable, "-P", "-m", "pathtap.agent.readers.iptc_child")
_NAMES = {"ip": "ip_tables_names", "ip6": "ip6_tables_names"}
_SAVE = {"ip": "iptables-legacy-save", "ip6": "ip6tables-legacy-save"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FromChild:
    """`refused` gives the reason for each table that iptc cannot print faithfully."""

    rule_sets: tuple[RuleSet, ...] = ()
    refused: Mapping[str, str]


def read(family: str) -> Stored:
    """`ip` or `ip6`. Nothing is run where no legacy table exists. Raises OSError where the kernel's list is unreadable."""
    names = existing(family)
    if not names:
        return Stored()
    answer = _through_iptc(family, names)
    saved = _through_save(family, answer.refused) if answer.refused else Stored()
    return Stored(rule_sets=answer.rule_sets + saved.rule_sets, unread=saved.unread)


def existing(family: str, proc: Path = PROC) -> tuple[str, ...]:
    """What /proc/net/ip_tables_names or its ip6 kin lists; a kernel without the module has no such file."""
    try:
        return tuple(sorted((proc / _NAMES[family]).read_text().split()))
    except FileNotFoundError:
        return ()


def decode(text: str, family: str) -> FromChild:
    """What iptc_child printed. Raises UnexpectedTextError."""
    try:
        answer = json.loads(text)
        return FromChild(
            rule_sets=tuple(
                RuleSet(
                    backend=Backend.LEGACY,
                    family=family,
                    table=name,
                    chains=tuple(_chain(name, chain["name"], chain["policy"], chain["rules"]) for chain in chains),
                )
                for name, chains in answer["tables"].items()
            ),
            refused=answer["refused"],
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnexpectedTextError(f"the python-iptables process printed something else: {error!r}") from error


def _chain(table: str, name: str, policy: str, rules: Iterable[tuple[int, int, str]]) -> Chain:
    numbered = enumerate(rules, start=1)
    return xtables.chain(
        table,
        name,
        policy,
        (
            NetfilterRule(position=position, text=text, packets=packets, bytes=octets)
            for position, (packets, octets, text) in numbered
        ),
    )


def _through_iptc(family: str, names: Iterable[str]) -> FromChild:
    # setuptools replaces distutils, which iptc imports, at a cost of 80 ms.
    environment = {**os.environ, "SETUPTOOLS_USE_DISTUTILS": "stdlib"}
    try:
        return decode(command.run([*_CHILD, family, *names], environment=environment), family)
    except (CommandError, UnexpectedTextError) as error:
        return FromChild(refused=dict.fromkeys(names, str(error)))


def _through_save(family: str, refused: Mapping[str, str]) -> Stored:
    tool = _SAVE[family]
    try:
        # Never with -t: naming an absent table creates it.
        saved = xtables.parse(command.run([tool, "-c"]), Backend.LEGACY, family)
        why = f"{tool} does not show it"
    except (CommandError, UnexpectedTextError) as error:
        saved, why = xtables.Saved(), str(error)
    found = tuple(rule_set for rule_set in saved.rule_sets if rule_set.table in refused)
    missing = sorted(refused.keys() - {rule_set.table for rule_set in found})
    return Stored(
        rule_sets=found,
        unread=tuple(
            Unread(
                part=stores.part(Backend.LEGACY, family, name), reason=f"python-iptables: {refused[name]}; and {why}"
            )
            for name in missing
        ),
    )
