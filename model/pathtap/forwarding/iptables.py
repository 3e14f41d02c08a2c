"""Decodes one rule as `iptables -S` prints it, without its `-A CHAIN`, into matches and a target.

Knows the matches and targets that VPC CNI, egress-cni, kube-proxy, kubelet, portmap and Calico write, in their canonical
text (man iptables-extensions); what else it meets becomes `Unmodelled` with its words, and never disappears.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from pathtap.forwarding.fields import Field
from pathtap.forwarding.matches import AddressTypeIn, Chance, Either, Is, Match, Not, StateIn, Unmodelled, Values
from pathtap.forwarding.targets import Clause, NoEffect, Target
from pathtap.forwarding.xtargets import decode_target
from pathtap.model.packet import TcpFlag

# One word, or one quoted string in which a backslash protects the next character (xtables_save_string).
WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
ESCAPED = re.compile(r"\\(.)")
# Their value is free text and may look like an option.
FREE_TEXT = frozenset({"--comment", "--log-prefix", "--nflog-prefix", "--string", "--hex-string"})
# Without an influence on whether the rule applies.
SILENT_MODULES = frozenset({"comment", "nfacct"})
# These ask for nothing without options; others do (`-m socket`). The empty name stands for the basic options.
ALWAYS_TRUE_ALONE = frozenset({"", "tcp", "udp", "icmp", "icmp6"})
PROTOCOLS = {
    "icmp": 1, "igmp": 2, "ipencap": 4, "tcp": 6, "udp": 17, "dccp": 33, "ipv6": 41, "gre": 47, "esp": 50, "ah": 51,
    "ipv6-icmp": 58, "icmpv6": 58, "sctp": 132, "udplite": 136,
}  # fmt: skip
FLAG_SETS = {"ALL": 0x3F, "NONE": 0}


@dataclass(frozen=True, slots=True)
class Option:
    negated: bool
    name: str
    values: tuple[str, ...]


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
                matches.extend(_module(module, group, family))
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


def _module(module: str, group: tuple[str, ...], family: int) -> tuple[Match, ...]:
    parsed = options(group)
    if module == "addrtype":
        return _address_types(parsed)
    if module == "statistic":
        return (Chance(" ".join(("-m", module, *group))),)
    if module == "recent" and any(option.name == "--set" and not option.negated for option in parsed):
        return ()
    if not parsed and module not in ALWAYS_TRUE_ALONE:
        return (Unmodelled(f"-m {module}"),)
    found: list[Match] = []
    for option in parsed:
        decoder = MATCHES.get((module, option.name))
        if decoder is None:
            return (Unmodelled(" ".join(("-m", module, *group) if module else group)),)
        match = decoder(option, family)
        found.append(Not(match) if option.negated else match)
    return tuple(found)


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


def _network(source: bool) -> Callable[[Option, int], Match]:
    def decode_network(option: Option, family: int) -> Match:
        address, _, mask = option.values[0].partition("/")
        bits = 32 if family == 4 else 128
        number = _mask(mask, bits)
        four, six = (Field.IP_SOURCE, Field.IP6_SOURCE) if source else (Field.IP_DESTINATION, Field.IP6_DESTINATION)
        value = int(ip_address(address)) & number
        return Is(four if family == 4 else six, Values(frozenset({value})), number)

    return decode_network


def _mask(text: str, bits: int) -> int:
    """`16`, `255.0.255.0`, or nothing for a single address."""
    if not text:
        return (1 << bits) - 1
    if text.isdigit():
        return ((1 << int(text)) - 1) << (bits - int(text))
    return int(ip_address(text))


def _range(source: bool) -> Callable[[Option, int], Match]:
    def decode_range(option: Option, family: int) -> Match:
        first, _, last = option.values[0].partition("-")
        four, six = (Field.IP_SOURCE, Field.IP6_SOURCE) if source else (Field.IP_DESTINATION, Field.IP6_DESTINATION)
        field = four if family == 4 else six
        return Is(field, Values(ranges=((int(ip_address(first)), int(ip_address(last or first))),)))

    return decode_range


def _interface(field: Field) -> Callable[[Option, int], Match]:
    def decode_interface(option: Option, _: int) -> Match:
        name = option.values[0]
        return Is(field, Values(prefixes=(name[:-1],)) if name.endswith("+") else Values(frozenset({name})))

    return decode_interface


def _ports(field: Field) -> Callable[[Option, int], Match]:
    return lambda option, _: Is(field, _port_values(option.values[0]))


def _either_port(option: Option, _: int) -> Match:
    values = _port_values(option.values[0])
    return Either(Is(Field.SOURCE_PORT, values), Is(Field.DESTINATION_PORT, values))


def _port_values(text: str) -> Values:
    """`80,443,1000:2000`."""
    single: set[int | str] = set()
    ranges: list[tuple[int, int]] = []
    for part in text.split(","):
        first, colon, last = part.partition(":")
        if colon:
            ranges.append((int(first or 0), int(last or 65535)))
        else:
            single.add(int(first))
    return Values(frozenset(single), tuple(ranges))


def _protocol(option: Option, _: int) -> Match:
    name = option.values[0]
    return Is(Field.PROTOCOL, Values(frozenset({int(name) if name.isdigit() else PROTOCOLS[name]})))


def _mark(field: Field) -> Callable[[Option, int], Match]:
    def decode_mark(option: Option, _: int) -> Match:
        value, _slash, mask = option.values[0].partition("/")
        return Is(field, Values(frozenset({int(value, 0)})), int(mask, 0) if mask else 0xFFFFFFFF)

    return decode_mark


def _states(option: Option, _: int) -> Match:
    return StateIn(frozenset(option.values[0].split(",")))


def _direction(option: Option, _: int) -> Match:
    return Is(Field.DIRECTION, Values(frozenset({{"ORIGINAL": 0, "REPLY": 1}[option.values[0]]})))


def _icmp(type_field: Field, code_field: Field) -> Callable[[Option, int], Match]:
    def decode_icmp(option: Option, _: int) -> Match:
        number, _slash, code = option.values[0].partition("/")
        if number == "any":
            return Is(type_field, Values(ranges=((0, 255),)))
        match = Is(type_field, Values(frozenset({int(number)})))
        # Both in one: a negated type/code pair is not the negation of each.
        return Not(Either(Not(match), Not(Is(code_field, Values(frozenset({int(code)})))))) if code else match

    return decode_icmp


def _tcp_flags(option: Option, _: int) -> Match:
    mask, value = (_flags(text) for text in option.values)
    return Is(Field.TCP_FLAGS, Values(frozenset({value})), mask)


def _flags(text: str) -> int:
    return FLAG_SETS[text] if text in FLAG_SETS else sum(TcpFlag[name].value for name in text.split(","))


def _address_types(parsed: tuple[Option, ...]) -> tuple[Match, ...]:
    names = {option.name for option in parsed}
    limit = "in" if "--limit-iface-in" in names else "out" if "--limit-iface-out" in names else ""
    found: list[Match] = []
    for option in parsed:
        if option.name in ("--src-type", "--dst-type"):
            types = frozenset(option.values[0].lower().split(","))
            match = AddressTypeIn(option.name == "--src-type", types, limit)
            found.append(Not(match) if option.negated else match)
    return tuple(found)


MATCHES: dict[tuple[str, str], Callable[[Option, int], Match]] = {
    ("", "-s"): _network(True),
    ("", "-d"): _network(False),
    ("", "-i"): _interface(Field.IN_INTERFACE),
    ("", "-o"): _interface(Field.OUT_INTERFACE),
    ("", "-p"): _protocol,
    ("tcp", "--sport"): _ports(Field.TCP_SOURCE_PORT),
    ("tcp", "--dport"): _ports(Field.TCP_DESTINATION_PORT),
    ("tcp", "--tcp-flags"): _tcp_flags,
    ("udp", "--sport"): _ports(Field.UDP_SOURCE_PORT),
    ("udp", "--dport"): _ports(Field.UDP_DESTINATION_PORT),
    ("multiport", "--sports"): _ports(Field.SOURCE_PORT),
    ("multiport", "--dports"): _ports(Field.DESTINATION_PORT),
    ("multiport", "--ports"): _either_port,
    ("icmp", "--icmp-type"): _icmp(Field.ICMP_TYPE, Field.ICMP_CODE),
    ("icmp6", "--icmpv6-type"): _icmp(Field.ICMP6_TYPE, Field.ICMP6_CODE),
    ("mark", "--mark"): _mark(Field.MARK),
    ("connmark", "--mark"): _mark(Field.CONNMARK),
    ("state", "--state"): _states,
    ("conntrack", "--ctstate"): _states,
    ("conntrack", "--ctdir"): _direction,
    ("iprange", "--src-range"): _range(True),
    ("iprange", "--dst-range"): _range(False),
}
