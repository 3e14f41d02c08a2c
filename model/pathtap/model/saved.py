"""One table as iptables-save -c prints it, indexed by chain; a rule is made a value when somebody asks for it.

Shared by the agent, which reads the text, and the collector, to which it travels as it is: nodes hold 50,000 rules in 20,000
chains, a packet meets a dozen of either. Decodes no rule: a rule is the text behind `-A CHAIN `.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import overload

from pathtap.model.netfilter import Chain, Chains, NetfilterRule

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

# Names hold anything but what isspace() of the C locale tells (xtables' parse_chain): quotes and other alphabets too.
_NAME = r"[^ \n]++"
_DECLARATION = re.compile(rf":({_NAME}) ({_NAME})(?: \[\d+:\d+\])?\n")
_DECLARATIONS = re.compile(rf"(?:{_DECLARATION.pattern})*+")
_COMMENT = re.compile(r"(?:#.*)?\n")
# Counters have 64 bits.
_COUNTED = r"\[\d{1,20}:\d{1,20}\] -A "
_RULE = re.compile(rf"\[(\d+):(\d+)\] -A {_NAME}(?: (.*))?\n\Z", re.DOTALL)

# What follows a rule's chain, to its line's end. The second form lets a line break stand in a quoted string, as
# xtables_save_string leaves it; a string begins behind a blank.
_PLAIN = r".*\n"
_QUOTING = r'(?:[^ \n]++| (?!")| "(?:[^"\\]|\\[\s\S])*+")*+\n'


class Grammar:
    """The patterns of a text for its kind of lines."""

    def __init__(self, line: str) -> None:
        self.table = re.compile(rf"\*(\S+)\n((?:[:#].*\n|\[\S+ -A {_NAME}{line}|\n)*+)COMMIT\n")
        self.rule = re.compile(f"{_COUNTED}{_NAME}{line}")
        # All rules of one chain that stand together, as they do in every iptables-save: one match for each chain.
        self.block = re.compile(rf"{_COUNTED}({_NAME}){line}(?:{_COUNTED}\1(?=[ \n]){line})*+")


_GRAMMARS = (Grammar(_PLAIN), Grammar(_QUOTING))


class SavedTextError(ValueError):
    """What should be a table's text is none; the message is a sentence."""


def grammar(text: str) -> Grammar:
    """The quick one where no string in quotes holds a line break; a backslash may hide a quote, and counts as one."""
    quoted = "\\" in text or any("\n" in part for part in text.split('"')[1::2])
    return _GRAMMARS[quoted]


class SavedRules(Sequence[NetfilterRule]):
    """The rules of one chain. Equal to any sequence of equal rules."""

    __slots__ = ("__dict__", "_grammar", "_text")

    def __init__(self, text: str, lines: Grammar) -> None:
        """`lines` is the grammar by which `text` was found to be rules: by another one it might be none."""
        self._text = text
        self._grammar = lines

    @cached_property
    def _lines(self) -> list[str]:
        return self._grammar.rule.findall(self._text)

    def texts(self) -> Iterator[str]:
        """Every rule's text, without making it a value."""
        return (_parts(line)[2] for line in self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[NetfilterRule]:
        return map(_rule, range(1, len(self._lines) + 1), self._lines)

    @overload
    def __getitem__(self, index: int) -> NetfilterRule: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[NetfilterRule, ...]: ...
    def __getitem__(self, index: int | slice) -> NetfilterRule | tuple[NetfilterRule, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        position = range(1, len(self._lines) + 1)[index]
        return _rule(position, self._lines[index])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SavedRules) and self._text == other._text:
            return True
        return tuple(self) == tuple(other) if isinstance(other, SavedRules | tuple | list) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"SavedRules({self._text!r})"


class SavedChains(Chains):
    """The chains of one table, as declared. Raises SavedTextError for what iptables-save does not print.

    `text` is what stands between the table's `*` line and its COMMIT. Equal to any sequence of equal chains.
    """

    def __init__(self, table: str, text: str, lines: Grammar | None = None) -> None:
        """`lines` is the text's grammar where it is known already: to find it takes a fifth of the time."""
        self.table = table
        self.text = text
        # Name to policy, `-` for a user chain.
        self._policies: dict[str, str] = {}
        self._blocks: dict[str, tuple[int, ...]] = {}
        self._grammar = lines or grammar(text)
        self._index(self._grammar.block)

    def named(self, name: str) -> Chain | None:
        return self._chain(name) if name in self._policies else None

    def base(self) -> tuple[Chain, ...]:
        return tuple(self._chain(name) for name, policy in self._policies.items() if policy != "-" and name in HOOKS)

    def count_rules(self) -> int:
        return sum(len(self._rules(name)) for name in self._blocks)

    def __len__(self) -> int:
        return len(self._policies)

    def __iter__(self) -> Iterator[Chain]:
        return map(self._chain, self._policies)

    @overload
    def __getitem__(self, index: int) -> Chain: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Chain, ...]: ...
    def __getitem__(self, index: int | slice) -> Chain | tuple[Chain, ...]:
        names = tuple(self._policies)
        if isinstance(index, slice):
            return tuple(map(self._chain, names[index]))
        return self._chain(names[index])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SavedChains) and (self.table, self.text) == (other.table, other.text):
            return True
        return tuple(self) == tuple(other) if isinstance(other, SavedChains | tuple | list) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"SavedChains({self.table!r}, {self.text!r})"

    def _index(self, block: re.Pattern[str]) -> None:
        text, at = self.text, 0
        while at < len(text):
            if (found := block.match(text, at)) and found[1] in self._policies:
                # A chain whose rules stand in several places has several blocks.
                self._blocks[found[1]] = (*self._blocks.get(found[1], ()), at, found.end())
                at = found.end()
            elif (declared := _DECLARATIONS.match(text, at)) and declared[0]:
                self._policies.update(_DECLARATION.findall(declared[0]))
                at = declared.end()
            elif ignored := _COMMENT.match(text, at):
                at = ignored.end()
            else:
                line = text[at : at + 80].partition("\n")[0]
                raise SavedTextError(f"iptables-save printed a line that is none of its format: {line!r}")

    def _chain(self, name: str) -> Chain:
        return chain(self.table, name, self._policies[name].removeprefix("-"), self._rules(name))

    def _rules(self, name: str) -> SavedRules:
        blocks = self._blocks.get(name, ())
        text = "".join(self.text[start:end] for start, end in zip(blocks[::2], blocks[1::2], strict=True))
        return SavedRules(text, self._grammar)


def chain(table: str, name: str, policy: str, rules: Sequence[NetfilterRule]) -> Chain:
    """A chain of an iptables table; a built-in one (which alone has a policy) gets its hook, kind and priority."""
    if not policy or name not in HOOKS:
        return Chain(name=name, rules=rules)
    return Chain(
        name=name,
        rules=rules,
        hook=HOOKS[name],
        kind="nat" if table == "nat" else "route" if (table, name) == ("mangle", "OUTPUT") else "filter",
        priority=_priority(table, name),
        policy=policy,
    )


def save(chains: Iterable[tuple[str, str, Iterable[tuple[int, int, str]]]]) -> str:
    """The text of chains given as (name, policy or nothing, rules as (packets, octets, text))."""
    listed = tuple(chains)
    declarations = (f":{name} {policy or '-'} [0:0]\n" for name, policy, _ in listed)
    rules = (
        f"[{packets}:{octets}] -A {name}{' ' if text else ''}{text}\n"
        for name, _, rules in listed
        for packets, octets, text in rules
    )
    return "".join((*declarations, *rules))


def _rule(position: int, line: str) -> NetfilterRule:
    packets, octets, text = _parts(line)
    return NetfilterRule(position=position, text=text, packets=int(packets), bytes=int(octets))


def _parts(line: str) -> tuple[str, str, str]:
    """Packets, octets and text of a line that the index has accepted."""
    found = _RULE.match(line)
    assert found is not None  # noqa: S101 - a rule of the grammar
    return found[1], found[2], found[3] or ""


def _priority(table: str, name: str) -> int:
    if table == "nat":
        return _NAT_SOURCE if name in ("POSTROUTING", "INPUT") else _NAT_DESTINATION
    return _PRIORITIES.get(table, 0)
