"""Decodes the values that nftables JSON compares with: constants, prefixes, ranges, sets and maps.

Knows fields and constants, no statements. What cannot be evaluated raises `UnevaluableError`, which the rule's decoder turns
into `Unmodelled`.
"""

import json
from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Any, TypeAlias

from pathtap.forwarding.fields import Field, Value
from pathtap.forwarding.matches import Values
from pathtap.forwarding.xoptions import PROTOCOLS
from pathtap.model.packet import TcpFlag

Json: TypeAlias = Any

ADDRESSES = frozenset({Field.IP_SOURCE, Field.IP_DESTINATION, Field.IP6_SOURCE, Field.IP6_DESTINATION})
TUPLE_ADDRESSES = frozenset(
    {Field.ORIGINAL_SOURCE, Field.ORIGINAL_DESTINATION, Field.REPLY_SOURCE, Field.REPLY_DESTINATION}
)
NAMES = frozenset({Field.IN_INTERFACE, Field.OUT_INTERFACE, Field.PACKET_TYPE})
# RFC 2474, 2597, 3246, 8622.
DSCP = (
    {f"cs{number}": number << 3 for number in range(8)}
    | {f"af{kind}{drop}": kind << 3 | drop << 1 for kind in range(1, 5) for drop in range(1, 4)}
    | {"ef": 0x2E, "lephb": 1, "be": 0, "va": 0x2C}
)
# icmp(7) and RFC 4443, as nft names them.
CONSTANTS: dict[Field, dict[str, int]] = {
    Field.ICMP_TYPE: {"echo-reply": 0, "destination-unreachable": 3, "redirect": 5, "echo-request": 8, "time-exceeded": 11},
    Field.ICMP6_TYPE: {
        "destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3, "echo-request": 128, "echo-reply": 129,
        "nd-router-solicit": 133, "nd-router-advert": 134, "nd-neighbor-solicit": 135, "nd-neighbor-advert": 136,
    },
    Field.FAMILY: {"ipv4": 4, "ipv6": 6, "ip": 4, "ip6": 6},
    Field.DIRECTION: {"original": 0, "reply": 1},
    Field.PROTOCOL: PROTOCOLS,
    Field.CT_PROTOCOL: PROTOCOLS,
    Field.DSCP: DSCP,
    Field.DSCP6: DSCP,
    Field.TCP_FLAGS: {flag.name.lower(): flag.value for flag in TcpFlag if flag.name},
}  # fmt: skip


class UnevaluableError(Exception):
    """The expression has a form that is not modelled."""


class RememberedError(UnevaluableError):
    """It asks for what earlier packets left behind: a set that they fill, and that forgets."""


# The element `*`, which is asked last.
EVERYTHING = Values(ranges=((0, 1 << 128),), prefixes=("",))


class Sets:
    """The named sets and maps of one table, parsed when a rule first asks."""

    def __init__(self, objects: str) -> None:
        self._text = objects
        self._parsed: dict[str, Json] | None = None

    def elements(self, name: str) -> list[Json]:
        """The elements of `@name`. RememberedError for a set that packets fill: what it holds later is not known."""
        found = self._by_name().get(name.removeprefix("@"))
        if found is None:
            raise UnevaluableError(name)
        if {"dynamic", "timeout"} & set(found.get("flags", ())):
            raise RememberedError(name)
        return list(found.get("elem", ()))

    def _by_name(self) -> dict[str, Json]:
        if self._parsed is None:
            loaded = json.loads(self._text) if self._text else {}
            if isinstance(loaded, dict):
                self._parsed = {
                    name: next(iter(body.values())) if len(body) == 1 else body for name, body in loaded.items()
                }
            else:
                bodies = [next(iter(wrapped.values())) for wrapped in loaded]
                self._parsed = {body["name"]: body for body in bodies}
        return self._parsed


def constant(field: Field, value: Json) -> Value:
    """One constant of that field: an address or mark as a number, a name as itself."""
    value = plain(value)
    if field in NAMES or field is Field.STATE:
        return str(value)
    if isinstance(value, bool) or not isinstance(value, int | str | list):
        raise UnevaluableError(value)
    if isinstance(value, int):
        return value
    if isinstance(value, list):
        return sum(int(constant(field, part)) for part in value)
    if field in ADDRESSES or (field in TUPLE_ADDRESSES and not value.isdigit()):
        return int(ip_address(value))
    named = CONSTANTS.get(field, {})
    if value not in named:
        raise UnevaluableError(value)
    return named[value]


def plain(element: Json) -> Json:
    """An element without its comment, timeout or counter."""
    return element["elem"]["val"] if isinstance(element, dict) and "elem" in element else element


def values(field: Field, right: Json, sets: Sets) -> Values:
    """The right side of a comparison of one field."""
    exact: set[Value] = set()
    ranges: list[tuple[int, int]] = []
    prefixes: list[str] = []
    for element in alternatives(right, sets):
        match plain(element):
            case {"prefix": {"addr": address, "len": length}}:
                network = ip_network(f"{address}/{length}")
                ranges.append((int(network.network_address), int(network.broadcast_address)))
            case {"range": [first, last]}:
                ranges.append((int(constant(field, first)), int(constant(field, last))))
            case str(name) if field in NAMES and name.endswith("*"):
                prefixes.append(name[:-1])
            case single:
                exact.add(constant(field, single))
    return Values(frozenset(exact), tuple(ranges), tuple(prefixes))


def alternatives(right: Json, sets: Sets) -> Iterable[Json]:
    match right:
        case str(name) if name.startswith("@"):
            return sets.elements(name)
        case {"set": list(elements)}:
            return elements
        case {"set": single}:
            return [single]
        case single:
            return [single]


def key(fields: tuple[Field, ...], element: Json) -> tuple[Value, ...] | tuple[Values, ...]:
    """An element of a set or map, `10.0.0.1 . tcp . 80`: its constants, or what each part may be where one is a range."""
    element = plain(element)
    if element == "*":
        return tuple(EVERYTHING for _ in fields)
    parts = element["concat"] if isinstance(element, dict) and "concat" in element else [element]
    if len(parts) != len(fields):
        raise UnevaluableError(element)
    if all(isinstance(part, int | str) and not str(part).endswith("*") for part in parts):
        return tuple(constant(field, part) for field, part in zip(fields, parts, strict=True))
    found = tuple(values(field, {"set": [part]}, NO_SETS) for field, part in zip(fields, parts, strict=True))
    if any(each.ranges or each.prefixes for each in found):
        return found
    return tuple(value for each in found for value in each.exact)


NO_SETS = Sets("")
