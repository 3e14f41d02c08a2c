"""Decodes one native nftables rule, its JSON list of statements (libnftables-json(5)), into clauses.

Knows what `table ip aws-cni` and kube-proxy's nftables mode write; every other statement becomes `Unmodelled` with its JSON.
"""

import json
from typing import Any, TypeAlias

from pathtap.forwarding.fields import Field
from pathtap.forwarding.matches import AddressTypeIn, InSet, Is, Match, Not, StatusIn, Unmodelled, Values
from pathtap.forwarding.nftsets import Sets, UnevaluableError, alternatives, constant, key, values
from pathtap.forwarding.nfttargets import decode_target, fields_of
from pathtap.forwarding.targets import Clause

Json: TypeAlias = Any

# No packet's way depends on them; `set` and `map` statements fill sets that count as unknown anyway.
SILENT = frozenset({"counter", "log", "set", "map", "continue"})
STATUS = {"dnat": "DNAT", "snat": "SNAT"}
LAST = 0xFFFFFFFF
UNREADABLE = (UnevaluableError, KeyError, TypeError, ValueError, AttributeError, IndexError)


def decode(expression: str, sets: Sets) -> tuple[Clause, ...]:
    """The rule's clauses in order. `sets` are the named sets and maps of the rule's table. Never fails."""
    clauses: list[Clause] = []
    matches: list[Match] = []
    try:
        statements = json.loads(expression)
    except ValueError:
        return (Clause((), Unmodelled(expression)),)
    for statement in statements:
        kind, body = next(iter(statement.items()))
        if kind in SILENT:
            continue
        if kind in ("match", "limit") or (kind == "xt" and body.get("type") == "match"):
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
    except UNREADABLE:
        return Unmodelled(json.dumps(statement))


def _comparison(operator: str, left: Json, right: Json, sets: Sets) -> Match:
    if operator == "!=":
        return Not(_comparison("==", left, right, sets))
    match left:
        case {"fib": {"result": "type", "flags": flags}}:
            return _address_type(flags, right, sets)
        case {"ct": {"key": "status"}}:
            names = right if isinstance(right, list) else [right]
            found = StatusIn(frozenset(STATUS[name] for name in names))
            return Not(found) if operator == "!" else found
        case {"&": [inner, mask]}:
            (field,) = fields_of(inner)
            return _ordered(operator, field, values(field, right, sets), int(constant(field, mask)))
    fields = fields_of(left)
    if len(fields) > 1:
        return InSet(fields, frozenset(key(fields, element) for element in alternatives(right, sets)))
    if fields[0] is Field.TCP_FLAGS and operator == "in":
        return Not(Is(fields[0], Values(frozenset({0})), int(constant(fields[0], right))))
    chosen = {"set": right} if isinstance(right, list) else right
    return _ordered(operator, fields[0], values(fields[0], chosen, sets), None)


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
