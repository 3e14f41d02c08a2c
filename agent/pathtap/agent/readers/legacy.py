"""Reads the legacy iptables tables that exist, and again only those that have changed. Opens no other table.

Small tables are printed by python-iptables in a child process, as the chains that a CNI writes usually lie in such; docs/
decisions/0003-iptc-in-a-child.md tells why in a child. Large tables, those that the child cannot print faithfully, and all
of them where it dies, are taken from iptables-legacy-save, which reads existing tables only
(docs/decisions/0006-fifty-thousand-rules.md).
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from pathtap.agent.readers import command, entries, xtables
from pathtap.agent.readers.command import CommandError
from pathtap.agent.readers.stores import Stored
from pathtap.agent.readers.xtables import UnexpectedTextError
from pathtap.agent.worker import begin
from pathtap.model import netfilter, saved
from pathtap.model.netfilter import Backend, RuleSet
from pathtap.model.node import Unread

FAMILIES = ("ip", "ip6")
# The calling thread's network namespace; /proc/net would be the main thread's.
PROC = Path("/proc/thread-self/net")
# Entries of all changed tables together: python-iptables takes 0.04 ms for each and 0.1 s to start, the save program 0.002 ms.
MOST_FOR_IPTC = 1000

# -P: what runs as root takes no module from the directory where it happens to stand.
_CHILD = (sys.executable, "-P", "-m", "pathtap.agent.readers.iptc_child")
_NAMES = {"ip": "ip_tables_names", "ip6": "ip6_tables_names"}
_SAVE = {"ip": "iptables-legacy-save", "ip6": "ip6tables-legacy-save"}
_IPTC = "python-iptables"


@dataclass(frozen=True, slots=True, kw_only=True)
class FromChild:
    """`refused` gives the reason for each table that iptc cannot print faithfully."""

    rule_sets: tuple[RuleSet, ...] = ()
    refused: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A reading with the table's fingerprints from before and after it: where they differ, it belongs to neither."""

    rule_set: RuleSet
    before: "Future[bytes]"
    after: "Future[bytes | None]"

    def holds(self, now: "Future[bytes]") -> bool:
        return now.result() == self.before.result() == self.after.result()


class LegacyReader:
    """One family's tables, `ip` or `ip6`. Not for several threads at once."""

    def __init__(self, family: str) -> None:
        self._family = family
        self._held: dict[str, _Held] = {}

    def read(self) -> Stored:
        """Nothing is run where no table exists or has changed. Raises OSError where the kernel's list is unreadable.

        A table that has not changed keeps its former rule set, with the counters of that time.
        """
        names = existing(self._family)
        now = {name: hashed for name in names if (hashed := _fingerprint(self._family, name))}
        held = {name: held for name, held in self._held.items() if name in now and held.holds(now[name])}
        changed = [name for name in names if name not in held]
        fresh = _read(self._family, changed) if changed else Stored()
        for rule_set in fresh.rule_sets:
            if before := now.get(rule_set.table):
                held[rule_set.table] = self._hold(rule_set, before)
        self._held = held
        found = {name: held[name].rule_set for name in held} | {each.table: each for each in fresh.rule_sets}
        return Stored(rule_sets=tuple(found[name] for name in names if name in found), unread=fresh.unread)

    def _hold(self, rule_set: RuleSet, before: "Future[bytes]") -> _Held:
        """The second fingerprint takes 0.1 s where there are 50,000 rules: nobody waits for it before the next reading."""

        def after() -> bytes | None:
            hashed = _fingerprint(self._family, rule_set.table)
            return hashed.result() if hashed else None

        return _Held(rule_set=rule_set, before=before, after=begin(after))


def read(family: str) -> Stored:
    """Once, keeping nothing. Raises OSError where the kernel's list is unreadable."""
    names = existing(family)
    return _read(family, names) if names else Stored()


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
        tables = {
            name: saved.save((chain["name"], chain["policy"], chain["rules"]) for chain in chains)
            for name, chains in answer["tables"].items()
        }
        refused = dict(answer["refused"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnexpectedTextError(f"the python-iptables process printed something else: {error!r}") from error
    return FromChild(
        rule_sets=tuple(
            xtables.rule_set(Backend.LEGACY, family, name, saved_text, _IPTC) for name, saved_text in tables.items()
        ),
        refused=refused,
    )


def _fingerprint(family: str, table: str) -> "Future[bytes] | None":
    """Fetched now, hashed while other work waits. None where the kernel does not tell or the table changes at this moment."""
    try:
        fetched = entries.fetch(family, table)
    except OSError:
        return None
    return begin(lambda: entries.fingerprint(family, fetched))


def _read(family: str, names: Sequence[str]) -> Stored:
    answer = _through_iptc(family, names) if _is_small(family, names) else _too_large(names)
    found = _through_save(family, answer.refused) if answer.refused else Stored()
    return Stored(rule_sets=answer.rule_sets + found.rule_sets, unread=found.unread)


def _is_small(family: str, names: Iterable[str]) -> bool:
    try:
        return sum(entries.count(family, name) for name in names) <= MOST_FOR_IPTC
    except OSError:
        return False


def _too_large(names: Iterable[str]) -> FromChild:
    return FromChild(refused=dict.fromkeys(names, f"not asked for more than {MOST_FOR_IPTC} entries"))


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
        printed = xtables.parse(command.run([tool, "-c"], command.SAVE_SECONDS), Backend.LEGACY, family, tool)
        why = f"{tool} does not show it"
    except (CommandError, UnexpectedTextError) as error:
        printed, why = xtables.Saved(), str(error)
    found = tuple(rule_set for rule_set in printed.rule_sets if rule_set.table in refused)
    missing = sorted(refused.keys() - {rule_set.table for rule_set in found})
    return Stored(
        rule_sets=found,
        unread=tuple(
            Unread(part=netfilter.part(Backend.LEGACY, family, name), reason=f"{_IPTC}: {refused[name]}; and {why}")
            for name in missing
        ),
    )
