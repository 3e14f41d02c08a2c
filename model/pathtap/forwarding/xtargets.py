"""Decodes the target of an iptables rule, `-j` or `-g` and what follows. Knows no matches."""

from ipaddress import ip_address, ip_network

from pathtap.forwarding.matches import Unmodelled
from pathtap.forwarding.targets import (
    ALL_BITS,
    Accept,
    Bits,
    Dnat,
    Drop,
    Jump,
    Masquerade,
    Netmap,
    NoEffect,
    Redirect,
    Reject,
    Return,
    SetConnmark,
    SetMark,
    SetTos,
    Snat,
    Target,
    Untrack,
    set_xmark,
)
from pathtap.model.address import Address
from pathtap.model.netfilter import Random
from pathtap.model.node import PortRange

# Forwarding does not depend on them: they log, count, or rewrite what no rule and no route here looks at.
HARMLESS = frozenset({
    "LOG", "NFLOG", "ULOG", "TRACE", "AUDIT", "CHECKSUM", "TCPMSS", "TCPOPTSTRIP", "TTL", "HL", "CLASSIFY", "LED",
    "RATEEST", "IDLETIMER", "SECMARK", "CONNSECMARK", "SET", "TEE", "ECN",
})  # fmt: skip
SIMPLE: dict[str, Target] = {"ACCEPT": Accept(), "DROP": Drop(), "RETURN": Return(), "NOTRACK": Untrack()}


def decode_target(goto: bool, group: tuple[str, ...], family: int) -> Target:
    """`group` is the target's name and options; empty for a rule that only counts.

    A name alone that is no extension is a chain; whether it exists is for the walk to see.
    """
    if not group:
        return NoEffect()
    name, arguments = group[0], group[1:]
    if name in HARMLESS:
        return NoEffect()
    if name in SIMPLE and not arguments:
        return SIMPLE[name]
    decoded = _extension(name, arguments, family)
    if decoded is not None:
        return decoded
    return Unmodelled(f"-j {' '.join(group)}") if arguments else Jump(name, goto)


def _extension(name: str, arguments: tuple[str, ...], family: int) -> Target | None:
    match name:
        case "SNAT" | "DNAT":
            return _nat(name, arguments, family)
        case "MASQUERADE":
            return Masquerade(_ports(_value(arguments, "--to-ports")), _random(arguments))
        case "REDIRECT":
            return Redirect(_ports(_value(arguments, "--to-ports")), _random(arguments))
        case "REJECT":
            return Reject(_value(arguments, "--reject-with"))
        case "MARK" | "CONNMARK":
            return _mark(arguments, connmark=name == "CONNMARK")
        case "CT":
            return _tracking(arguments)
        case "TOS" | "DSCP":
            return _tos(arguments)
        case "NETMAP":
            return Netmap(ip_network(_value(arguments, "--to")))
        case _:
            return None


def _value(arguments: tuple[str, ...], option: str) -> str:
    return arguments[arguments.index(option) + 1] if option in arguments else ""


def _random(arguments: tuple[str, ...]) -> Random:
    if "--random-fully" in arguments:
        return Random.FULLY
    return Random.RANDOM if "--random" in arguments else Random.NONE


def _nat(name: str, arguments: tuple[str, ...], family: int) -> Target | None:
    option = "--to-source" if name == "SNAT" else "--to-destination"
    # A binary older than the rule's writer prints the option twice, and garbage.
    if arguments.count(option) != 1:
        return None
    addresses, ports = _socket(_value(arguments, option), family)
    ports, _, base = ports.partition("/")
    if name == "SNAT":
        return Snat(addresses, _ports(ports), _random(arguments))
    return Dnat(addresses, _ports(ports), _random(arguments), int(base) if base else None)


def _tracking(arguments: tuple[str, ...]) -> Target | None:
    """Another conntrack zone is not modelled; helpers, timeouts and events lead no packet elsewhere."""
    if arguments == ("--notrack",):
        return Untrack()
    harmless = ("--helper", "--timeout", "--ctevents", "--expevents")
    return NoEffect() if arguments and all(option in harmless for option in arguments[::2]) else None


def _tos(arguments: tuple[str, ...]) -> Target | None:
    match arguments:
        case ("--set-dscp", text):
            return SetTos(int(text, 0) << 2, 0xFC)
        case ("--set-tos", text):
            value, _, mask = text.partition("/")
            return SetTos(int(value, 0), int(mask, 0) if mask else 0xFF)
        case ("--and-tos", text):
            return SetTos(0, 0xFF & ~int(text, 0))
        case ("--or-tos", text):
            return SetTos(int(text, 0), int(text, 0))
        case ("--xor-tos", text):
            return SetTos(int(text, 0), 0)
        case _:
            return None


def _socket(text: str, family: int) -> tuple[tuple[Address, Address] | None, str]:
    """`10.0.0.1-10.0.0.9:80-90`, `[fd00::1]:80`, `fd00::1`, `:80` as addresses and ports."""
    if family == 4:
        hosts, _, ports = text.partition(":")
    elif text.startswith("["):
        hosts, _, ports = text.rpartition("]")
        ports = ports.removeprefix(":")
    else:
        hosts, ports = text, ""
    first, _, last = hosts.replace("[", "").replace("]", "").partition("-")
    return ((ip_address(first), ip_address(last or first)) if first else None), ports


def _ports(text: str) -> PortRange | None:
    if not text:
        return None
    first, _, last = text.partition("-")
    return PortRange(first=int(first), last=int(last or first))


def _mark(arguments: tuple[str, ...], *, connmark: bool) -> Target | None:
    match arguments:
        case ("--set-xmark", text):
            value, mask = _masked(text)
            return set_xmark(value, mask, connmark=connmark)
        case ("--set-mark", text):
            value, mask = _masked(text)
            return set_xmark(value, value | mask, connmark=connmark)
        case ("--and-mark", text):
            return set_xmark(0, ALL_BITS & ~int(text, 0), connmark=connmark)
        case ("--or-mark", text):
            return set_xmark(int(text, 0), int(text, 0), connmark=connmark)
        case ("--xor-mark", text):
            return set_xmark(int(text, 0), 0, connmark=connmark)
        case ("--save-mark", *masks) if connmark:
            packet, connection = _masks(masks)
            return SetConnmark(Bits(mark=packet, connmark=ALL_BITS & ~connection))
        case ("--restore-mark", *masks) if connmark:
            packet, connection = _masks(masks)
            return SetMark(Bits(mark=ALL_BITS & ~packet, connmark=connection))
        case _:
            return None


def _masked(text: str) -> tuple[int, int]:
    value, _, mask = text.partition("/")
    return int(value, 0), int(mask, 0) if mask else ALL_BITS


def _masks(words: list[str]) -> tuple[int, int]:
    """(nfmask, ctmask); `--mask` sets both."""
    given = dict(zip(words[::2], words[1::2], strict=True))
    both = int(given.get("--mask", hex(ALL_BITS)), 0)
    return int(given.get("--nfmask", hex(both)), 0), int(given.get("--ctmask", hex(both)), 0)
