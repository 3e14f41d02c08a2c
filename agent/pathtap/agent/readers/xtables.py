"""What the legacy and the nft variant of iptables share: the text of iptables-save, as tables.

Decodes no rule, and makes none a value: `pathtap.model.saved` indexes a table's text by chain.
"""

import re
from dataclasses import dataclass

from pathtap.model.netfilter import Backend, RuleSet
from pathtap.model.saved import Grammar, SavedChains, SavedTextError, grammar

TABLES = frozenset({"raw", "mangle", "nat", "filter", "security"})

_INCOMPATIBLE = re.compile(r"# Table [`'](\S+)' is incompatible")
_BETWEEN = re.compile(r"(?:#.*)?\n")


class UnexpectedTextError(ValueError):
    """A program printed what is not its format; the message is a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """`incompatible` names the tables that iptables-nft-save refused to print because a native rule stands in them."""

    rule_sets: tuple[RuleSet, ...] = ()
    incompatible: tuple[str, ...] = ()


def parse(text: str, backend: Backend, family: str, read_by: str = "") -> Saved:
    """The output of iptables-save -c, iptables-nft-save -c and their ip6 kin. Raises UnexpectedTextError."""
    rule_sets: list[RuleSet] = []
    incompatible: list[str] = []
    lines = grammar(text)
    at = 0
    while at < len(text):
        if table := lines.table.match(text, at):
            rule_sets.append(rule_set(backend, family, table[1], table[2], read_by, lines))
            at = table.end()
        elif between := _BETWEEN.match(text, at):
            if refusal := _INCOMPATIBLE.match(between[0]):
                incompatible.append(refusal[1])
            at = between.end()
        else:
            raise UnexpectedTextError(_unexpected(text[at : at + 80].partition("\n")[0]))
    return Saved(rule_sets=tuple(rule_sets), incompatible=tuple(incompatible))


def rule_set(
    backend: Backend, family: str, table: str, text: str, read_by: str, lines: Grammar | None = None
) -> RuleSet:
    """One table by its text from behind its `*` line to its COMMIT. Raises UnexpectedTextError."""
    try:
        chains = SavedChains(table, text, lines)
    except SavedTextError as error:
        raise UnexpectedTextError(str(error)) from error
    return RuleSet(backend=backend, family=family, table=table, chains=chains, read_by=read_by)


def _unexpected(line: str) -> str:
    if line.startswith("*"):
        return (
            f"the text of table {line[1:]} ends in the middle, or holds a line that is none of iptables-save's format"
        )
    return f"iptables-save printed a line that is none of its format: {line!r}"
