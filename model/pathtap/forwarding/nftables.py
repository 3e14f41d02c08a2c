"""Decodes one native nftables rule, its JSON list of statements (libnftables-json(5)), into clauses.

Knows what `table ip aws-cni` and kube-proxy's nftables mode write; every other statement becomes `Unmodelled` with its JSON.
"""

import json
from collections.abc import Iterable
from typing import Any, TypeAlias

from pathtap.forwarding.fields import Field, Value
from pathtap.forwarding.matches import (
    NEVER,
    AddressTypeIn,
    Chance,
    FromSocket,
    InSet,
    Is,
    Match,
    Not,
    StatusIn,
    Unmodelled,
    Values,
    WayTo,
)
from pathtap.forwarding.nftsets import RememberedError, Sets, UnevaluableError, alternatives, constant, key, values
from pathtap.forwarding.nfttargets import decode_target, fields_of
from pathtap.forwarding.targets import Clause

Json: TypeAlias = Any

# No packet's way depends on them; `set` and `map` statements fill sets that count as unknown anyway.
SILENT = frozenset({"counter", "log", "set", "map", "continue", "flow", "dup", "ct helper", "ct timeout", "last"})
# The kernel counts packets or connections.
CHANCES = frozenset({"limit", "quota", "ct count"})
STATUS = {
    "dnat": "DNAT", "snat": "SNAT", "seen-reply": "SEEN_REPLY", "assured": "ASSURED", "confirmed": "CONFIRMED",
    "expected": "EXPECTED",
}  # fmt: skip
# Of `ip frag-off`, the offset and MF: no packet here is a fragment. DF is not known.
FRAGMENT = 0x3FFF
LAST = 0xFFFFFFFF
# An agent may send anything: other shapes than nft's, and some nested deeper than Python can go.
UNREADABLE = (
    UnevaluableError, KeyError, TypeError, ValueError, AttributeError, IndexError, StopIteration, RecursionError,
)  # fmt: skip


def decode(expression: str, sets: Sets) -> tuple[Clause, ...]:
    """The rule's clauses in order. `sets` are the named sets and maps of the rule's table. Never fails."""
    try:
        return _decode([(statement, *next(iter(statement.items()))) for statement in json.loads(expression)], sets)
    except UNREADABLE:
        return (Clause((), Unmodelled(expression)),)


def _decode(statements: Iterable[tuple[Json, str, Json]], sets: Sets) -> tuple[Clause, ...]:
    """Of statements, each with its kind and body."""
    clauses: list[Clause] = []
    matches: list[Match] = []
    for statement, kind, body in statements:
        if kind in SILENT:
            continue
        if kind in CHANCES:
            matches.append(Chance(json.dumps(statement)))
            continue
        if kind == "match" or (kind == "xt" and body.get("type") == "match"):
            matches.append(_match(statement, sets))
            continue
        try:
            clauses.append(Clause(tuple(matches), decode_target(kind, body, sets)))
        except UNREADABLE:
            clauses.append(Clause(tuple(matches), Unmodelled(json.dumps(statement))))
        matches = []
    return tuple(clauses)


def _match(statement: Json, sets: Sets) -> Match:
    try:
        body = statement["match"]
        return _comparison(body["op"], body["left"], body["right"], sets)
    except RememberedError:
        return Chance(json.dumps(statement))
    except UNREADABLE:
        return Unmodelled(json.dumps(statement))


def _comparison(operator: str, left: Json, right: Json, sets: Sets) -> Match:
    if left == {"ct": {"key": "status"}}:
        return _status(operator, right)
    if operator == "!=":
        return Not(_comparison("==", left, right, sets))
    match left:
        case {"fib": {"result": "type", "flags": flags}}:
            return _address_type(flags, right, sets)
        case {"fib": {"result": "oif" | "oifname", "flags": flags}}:
            return _way_to(flags, right, sets)
        case {"meta": {"key": "skuid" | "skgid" | "cgroup"}}:
            return FromSocket(json.dumps(left))
        case {"&": [{"ct": {"key": "status"}}, str(name)]} if right == name:
            return StatusIn(frozenset({STATUS[name]}))
        case {"&": [{"payload": {"protocol": "ip", "field": "frag-off"}}, int(mask)]} if not mask & ~FRAGMENT:
            return Is(Field.FAMILY, Values(frozenset({4}))) if right == 0 else NEVER
        case {"&": [inner, mask]}:
            (field,) = fields_of(inner)
            return _ordered(operator, field, values(field, right, sets), int(constant(field, mask)))
    fields = fields_of(left)
    if len(fields) > 1:
        return _in_set(fields, alternatives(right, sets))
    if fields[0] is Field.TCP_FLAGS and operator == "in":
        return Not(Is(fields[0], Values(frozenset({0})), int(constant(fields[0], right))))
    chosen = {"set": right} if isinstance(right, list) else right
    return _ordered(operator, fields[0], values(fields[0], chosen, sets), None)


def _status(operator: str, right: Json) -> Match:
    """`ct status dnat` asks for one of the bits; `==` and `!=` compare the whole word, in which NAT sets several bits at once
    (IPS_DST_NAT with IPS_DST_NAT_DONE of linux/netfilter/nf_conntrack_common.h): it never is one of them alone.
    """
    names = right if isinstance(right, list) else [right]
    found = StatusIn(frozenset(STATUS[name] for name in names))
    if operator in ("==", "!="):
        alone = Is(Field.DIRECTION, Values())
        return alone if operator == "==" else Not(alone)
    return Not(found) if operator == "!" else found


def _in_set(fields: tuple[Field, ...], elements: Iterable[Json]) -> Match:
    single: set[tuple[Value, ...]] = set()
    ranged: list[tuple[Values, ...]] = []
    for element in elements:
        found = key(fields, element)
        if any(isinstance(part, Values) for part in found):
            ranged.append(tuple(part for part in found if isinstance(part, Values)))
        else:
            single.add(tuple(part for part in found if not isinstance(part, Values)))
    return InSet(fields, frozenset(single), tuple(ranged))


def _way_to(flags: Json, right: Json, sets: Sets) -> Match:
    """`fib saddr . iif oif missing`, nft_fib4_eval of net/ipv4/netfilter/nft_fib_ipv4.c."""
    named = {flags} if isinstance(flags, str) else set(flags)
    names = None if isinstance(right, bool) else values(Field.IN_INTERFACE, right, sets)
    by = "in" if "iif" in named else "out" if "oif" in named else ""
    match = WayTo("saddr" in named, by, names, marked="mark" in named)
    return Not(match) if right is False else match


def _ordered(operator: str, field: Field, found: Values, mask: int | None) -> Match:
    if operator in ("==", "in"):
        return Is(field, found, mask)
    (limit,) = (int(value) for value in found.exact)
    ranges = {"<": (0, limit - 1), "<=": (0, limit), ">": (limit + 1, LAST), ">=": (limit, LAST)}
    return Is(field, Values(ranges=(ranges[operator],)), mask)


def _address_type(flags: Json, right: Json, sets: Sets) -> Match:
    """`fib daddr . iif type local`, nft_fib4_eval_type of net/ipv4/netfilter/nft_fib_ipv4.c."""
    named = {flags} if isinstance(flags, str) else set(flags)
    limit = "in" if "iif" in named else "out" if "oif" in named else ""
    if named & {"mark"}:
        raise UnevaluableError(flags)
    return AddressTypeIn("saddr" in named, frozenset(str(word) for word in alternatives(right, sets)), limit)
