"""Decodes what a native nftables rule does: verdicts, mark arithmetic, NAT and verdict maps. Knows no matches."""

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any, TypeAlias

from pathtap.forwarding.fields import Field, Value
from pathtap.forwarding.matches import Chance, Values
from pathtap.forwarding.nftsets import EVERYTHING, Sets, UnevaluableError, alternatives, constant, key, plain
from pathtap.forwarding.targets import (
    ALL_BITS,
    Accept,
    Bits,
    Dnat,
    Drop,
    Jump,
    Lookup,
    Masquerade,
    Netmap,
    NoEffect,
    OneOf,
    Redirect,
    Reject,
    Return,
    SetConnmark,
    SetMark,
    SetTos,
    Snat,
    Target,
    Untrack,
)
from pathtap.model.address import Address
from pathtap.model.netfilter import Random
from pathtap.model.node import PortRange

Json: TypeAlias = Any

FIELDS = {field.value: field for field in Field} | {
    "meta protocol": Field.FAMILY,
    "ip protocol": Field.PROTOCOL,
    "meta iif": Field.IN_INTERFACE,
    "meta oif": Field.OUT_INTERFACE,
    "ip6 nexthdr": Field.PROTOCOL,
}
VERDICTS: dict[str, Target] = {
    "accept": Accept(),
    "drop": Drop(),
    "return": Return(),
    "continue": NoEffect(),
    "notrack": Untrack(),
}
# `meta … set` that no rule or route here looks at.
HARMLESS_KEYS = frozenset({"priority", "nftrace", "pkttype"})
# Of headers, that no rule and no route here looks at.
HARMLESS_FIELDS = frozenset({"ttl", "hoplimit", "id", "ecn", "flowlabel"})


def fields_of(left: Json) -> tuple[Field, ...]:
    """`ip daddr . meta l4proto . th dport` as its three fields."""
    match left:
        case {"concat": parts}:
            return tuple(field for part in parts for field in fields_of(part))
        case {"payload": {"protocol": protocol, "field": name}}:
            words = f"{protocol} {name}"
        case {"meta": {"key": name}}:
            words = f"meta {name}"
        case {"ct": {"key": name, "dir": direction}}:
            words = f"ct {direction} {name.removeprefix('ip6 ').removeprefix('ip ')}"
        case {"ct": {"key": name}}:
            words = f"ct {name}"
        case _:
            raise UnevaluableError(left)
    if words not in FIELDS:
        raise UnevaluableError(words)
    return (FIELDS[words],)


def decode_target(kind: str, body: Json, sets: Sets) -> Target:
    """One statement that is no match. UnevaluableError, KeyError or TypeError for what is not modelled."""
    match kind:
        case "jump" | "goto":
            return Jump(str(body["target"]), kind == "goto")
        case "reject":
            return Reject(" ".join(str(body[name]) for name in ("type", "expr") if name in body) if body else "")
        case "mangle":
            return _mangle(body)
        case "vmap":
            return _map(body["key"], body["data"], sets, lambda verdict: _verdict(verdict, sets))
        case "snat" | "dnat":
            return _nat(kind, body, sets)
        case "masquerade" | "redirect":
            body = body or {}
            return (Masquerade if kind == "masquerade" else Redirect)(_ports(body.get("port")), _random(body))
        case _ if kind in VERDICTS:
            return VERDICTS[kind]
        case _:
            raise UnevaluableError(kind)


def _verdict(verdict: Json, sets: Sets) -> Target:
    kind, body = next(iter(verdict.items()))
    return decode_target(kind, body, sets)


def _map(left: Json, data: Json, sets: Sets, decoded: Callable[[Json], Target]) -> Target:
    """`numgen` is the kernel's dice, and a hash of the packet with a seed that nobody can read is as good as that."""
    pairs = [(entry[0], decoded(entry[1])) for entry in alternatives(data, sets)]
    match left:
        case {"numgen": _} | {"jhash": _} if not pairs:
            raise UnevaluableError(data)
        case {"numgen": {"mode": mode}}:
            return OneOf(Chance(f"numgen {mode}"), tuple(target for _, target in pairs))
        case {"jhash": _}:
            return OneOf(Chance("jhash"), tuple(target for _, target in pairs))
    fields = fields_of(left)
    single: dict[tuple[Value, ...], Target] = {}
    ranged: list[tuple[tuple[Values, ...], Target]] = []
    for element, target in pairs:
        found = key(fields, plain(element))
        if any(isinstance(part, Values) for part in found):
            ranged.append((tuple(part for part in found if isinstance(part, Values)), target))
        else:
            single[tuple(part for part in found if not isinstance(part, Values))] = target
    return Lookup(fields, single, tuple(sorted(ranged, key=lambda each: EVERYTHING in each[0])))


def _nat(kind: str, body: Json, sets: Sets) -> Target:
    if "prefix" in body.get("type_flags", ()):
        return _netmap(body)
    match body.get("addr"):
        case {"map": {"key": left, "data": data}}:
            return _map(left, data, sets, lambda value: _nat_to(kind, value, body))
        case address:
            return _nat_to(kind, address, body)


def _netmap(body: Json) -> Target:
    """`snat ip prefix to 192.168.77.0/24`: nft_nat_setup_netmap (net/netfilter/nft_nat.c) does as xt_NETMAP does."""
    match body:
        case {"addr": {"prefix": {"addr": str(address), "len": int(length)}}, "flags": "netmap"} if "port" not in body:
            return Netmap(ip_network(f"{address}/{length}"))
        case _:
            raise UnevaluableError("prefix")


def _nat_to(kind: str, address: Json, body: Json) -> Target:
    ports = _ports(body.get("port"))
    if isinstance(address, dict) and "concat" in address:
        address, port = address["concat"]
        ports = _ports(port)
    return (Snat if kind == "snat" else Dnat)(_addresses(address), ports, _random(body))


def _addresses(value: Json) -> tuple[Address, Address] | None:
    match plain(value):
        case None:
            return None
        case {"range": [first, last]}:
            return ip_address(first), ip_address(last)
        case str(single):
            return ip_address(single), ip_address(single)
        case other:
            raise UnevaluableError(other)


def _ports(value: Json) -> PortRange | None:
    match value:
        case None:
            return None
        case {"range": [int(first), int(last)]}:
            return PortRange(first=first, last=last)
        case int(single):
            return PortRange(first=single, last=single)
        case other:
            raise UnevaluableError(other)


def _random(body: Json) -> Random:
    flags = body.get("flags", ())
    named = {flags} if isinstance(flags, str) else set(flags)
    if "fully-random" in named:
        return Random.FULLY
    return Random.RANDOM if "random" in named else Random.NONE


def _mangle(body: Json) -> Target:
    match body["key"]:
        case {"meta": {"key": "mark"}}:
            return SetMark(marks(body["value"]))
        case {"ct": {"key": "mark"}}:
            return SetConnmark(marks(body["value"]))
        case {"meta": {"key": name}} if name in HARMLESS_KEYS:
            return NoEffect()
        case {"payload": {"protocol": "ip" | "ip6", "field": "dscp"}}:
            return SetTos(int(constant(Field.DSCP, body["value"])) << 2, 0xFC)
        case {"payload": {"protocol": "ip" | "ip6" | "ether", "field": name}} if name in HARMLESS_FIELDS:
            return NoEffect()
        case {"tcp option": _}:
            return NoEffect()
        case other:
            raise UnevaluableError(other)


def marks(value: Json) -> Bits:
    """Mark arithmetic with constants, folded: x | c is (x & ~c) ^ c."""
    match value:
        case int(number):
            return Bits(constant=number)
        case {"meta": {"key": "mark"}}:
            return Bits(mark=ALL_BITS)
        case {"ct": {"key": "mark"}}:
            return Bits(connmark=ALL_BITS)
        case {"&": [left, int(mask)]}:
            bits = marks(left)
            return Bits(bits.mark & mask, bits.connmark & mask, bits.constant & mask)
        case {"|": [left, int(mask)]}:
            bits = marks({"&": [left, ALL_BITS & ~mask]})
            return Bits(bits.mark, bits.connmark, bits.constant ^ mask)
        case {"^": [left, int(mask)]}:
            bits = marks(left)
            return Bits(bits.mark, bits.connmark, bits.constant ^ mask)
        case other:
            raise UnevaluableError(other)
