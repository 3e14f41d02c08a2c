"""What the legacy and the nft variant of iptables share: built-in chains, and the text of iptables-save.

Decodes no rule: a rule is the text behind `-A CHAIN `.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pathtap.model.netfilter import Backend, Chain, NetfilterRule, RuleSet

TABLES = frozenset({"raw", "mangle", "nat", "filter", "security"})
HOOKS = {
    "PREROUTING": "prerouting",
    "INPUT": "input",
    "FORWARD": "forward",
    "OUTPUT": "output",
    "POSTROUTING": "postrouting",
}

# enum nf_ip_hook_priorities of linux/netfilter_ipv4.h; nat's depends on the hook (net/ipv4/netfilter/iptable_nat.c).
_PRIORITIES = {"raw": -300, "mangle": -150, "filter": 0, "security": 50}
_NAT_SOURCE = 100
_NAT_DESTINATION = -100

_RULE = re.compile(r"\[(\d+):(\d+)\] -A (\S+)(?: (.*))?\Z", re.DOTALL)
_CHAIN = re.compile(r":(\S+) (\S+)(?: \[\d+:\d+\])?\Z")
_INCOMPATIBLE = re.compile(r"# Table [`'](\S+)' is incompatible")
_QUOTED = re.compile(r'\\.|(")', re.DOTALL)


class UnexpectedTextError(ValueError):
    """iptables-save printed what is not its format; the message is a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """`incompatible` names the tables that iptables-nft-save refused to print because a native rule stands in them."""

    rule_sets: tuple[RuleSet, ...] = ()
    incompatible: tuple[str, ...] = ()


@dataclass(slots=True)
class _Table:
    name: str
    policies: dict[str, str] = field(default_factory=dict)
    rules: dict[str, list[NetfilterRule]] = field(default_factory=dict)


def chain(table: str, name: str, policy: str, rules: Iterable[NetfilterRule]) -> Chain:
    """A chain of an iptables table; a built-in one (which alone has a policy) gets its hook, kind and priority."""
    if not policy or name not in HOOKS:
        return Chain(name=name, rules=tuple(rules))
    return Chain(
        name=name,
        rules=tuple(rules),
        hook=HOOKS[name],
        kind="nat" if table == "nat" else "route" if (table, name) == ("mangle", "OUTPUT") else "filter",
        priority=_priority(table, name),
        policy=policy,
    )


def parse(text: str, backend: Backend, family: str) -> Saved:
    """The output of iptables-save -c, iptables-nft-save -c and their ip6 kin. Raises UnexpectedTextError."""
    rule_sets: list[RuleSet] = []
    incompatible: list[str] = []
    table: _Table | None = None
    for line in _lines(text):
        if refusal := _INCOMPATIBLE.match(line):
            incompatible.append(refusal[1])
        elif line.startswith("*"):
            table = _Table(line[1:])
        elif line == "COMMIT" and table is not None:
            rule_sets.append(_rule_set(table, backend, family))
            table = None
        elif line and not line.startswith("#"):
            _take(line, table)
    if table is not None:
        raise UnexpectedTextError(f"the text of table {table.name} ends in the middle")
    return Saved(rule_sets=tuple(rule_sets), incompatible=tuple(incompatible))


def _take(line: str, table: _Table | None) -> None:
    if table is not None and (declared := _CHAIN.match(line)):
        table.policies[declared[1]] = "" if declared[2] == "-" else declared[2]
        table.rules[declared[1]] = []
    elif table is not None and (rule := _RULE.match(line)) and rule[3] in table.rules:
        rules = table.rules[rule[3]]
        rules.append(
            NetfilterRule(position=len(rules) + 1, text=rule[4] or "", packets=int(rule[1]), bytes=int(rule[2]))
        )
    else:
        raise UnexpectedTextError(f"iptables-save printed a line that is none of its format: {line[:80]!r}")


def _rule_set(table: _Table, backend: Backend, family: str) -> RuleSet:
    chains = (chain(table.name, name, policy, table.rules[name]) for name, policy in table.policies.items())
    return RuleSet(backend=backend, family=family, table=table.name, chains=tuple(chains))


def _lines(text: str) -> Iterator[str]:
    """Lines, but a rule whose comment holds a line break is one (xtables_save_string leaves it as it is)."""
    pending = ""
    for line in text.split("\n"):
        pending = f"{pending}\n{line}" if pending else line
        if pending.startswith("[") and '"' in pending and _open_quote(pending):
            continue
        yield pending
        pending = ""
    if pending:
        raise UnexpectedTextError("iptables-save's text ends within a quoted string")


def _open_quote(line: str) -> bool:
    return sum(found is not None for found in (match[1] for match in _QUOTED.finditer(line))) % 2 == 1


def _priority(table: str, name: str) -> int:
    if table == "nat":
        return _NAT_SOURCE if name in ("POSTROUTING", "INPUT") else _NAT_DESTINATION
    return _PRIORITIES.get(table, 0)
