"""Decodes one rule as `iptables -S` prints it, without its `-A CHAIN`, into matches and a target.

Knows the matches and targets that VPC CNI, egress-cni, kube-proxy, kubelet, portmap and Calico write, in their canonical
text (man iptables-extensions); what else it meets becomes `Unmodelled` with its words, and never disappears.
"""

import re
from collections.abc import Iterator

from pathtap.forwarding.matches import Match, Unmodelled
from pathtap.forwarding.targets import Clause, NoEffect, Target
from pathtap.forwarding.xmatches import decode_module
from pathtap.forwarding.xoptions import Option
from pathtap.forwarding.xtargets import decode_target

# One word, or one quoted string in which a backslash protects the next character (xtables_save_string).
WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
ESCAPED = re.compile(r"\\(.)")
# Their value is free text and may look like an option.
FREE_TEXT = frozenset({"--comment", "--log-prefix", "--nflog-prefix", "--string", "--hex-string"})
# Without an influence on whether the rule applies.
SILENT_MODULES = frozenset({"comment", "nfacct"})


def words(text: str) -> tuple[str, ...]:
    """Splits as the tools quote: `--comment "name: \\"aws-cni\\""` is two words."""
    if '"' not in text:
        return tuple(text.split())
    return tuple(plain or ESCAPED.sub(r"\1", quoted) for quoted, plain in WORD.findall(text))


def decode(text: str, family: int) -> tuple[Clause, ...]:
    """The rule's one clause. `family` is 4 or 6. Never fails: what does not parse is unmodelled."""
    matches: list[Match] = []
    target: Target = NoEffect()
    for module, group in _groups(words(text)):
        try:
            if module in ("-j", "-g"):
                target = decode_target(module == "-g", group, family)
            elif module not in SILENT_MODULES:
                matches.extend(decode_module(module, group, options(group), family))
        except (ValueError, IndexError, KeyError):
            unmodelled = Unmodelled(" ".join((module, *group)).strip())
            if module in ("-j", "-g"):
                target = unmodelled
            else:
                matches.append(unmodelled)
    return (Clause(tuple(matches), target),)


def _groups(tokens: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(module, its words): the basic options under the empty name, the target under `-j` or `-g`."""
    name, group, index = "", list[str](), 0
    while index < len(tokens):
        token = tokens[index]
        if token in ("-j", "-g"):
            yield name, tuple(group)
            yield token, tokens[index + 1 :]
            return
        if token == "-m":  # noqa: S105 (an option, no password)
            yield name, tuple(group)
            name, group, index = "".join(tokens[index + 1 : index + 2]), [], index + 2
            continue
        taken = 2 if token in FREE_TEXT else 1
        group.extend(tokens[index : index + taken])
        index += taken
    yield name, tuple(group)


def options(group: tuple[str, ...]) -> tuple[Option, ...]:
    """`! --ctstate NEW --ctdir ORIGINAL` as two options."""
    found: list[Option] = []
    negated, index = False, 0
    while index < len(group):
        if group[index] == "!":
            negated, index = True, index + 1
            continue
        end = index + 1
        while end < len(group) and group[end] != "!" and not group[end].startswith("-"):
            end += 1
        end = max(end, index + 2) if group[index] in FREE_TEXT else end
        found.append(Option(negated, group[index], group[index + 1 : end]))
        negated, index = False, end
    return tuple(found)
