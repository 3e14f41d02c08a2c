"""Hypothesis strategies for every type of the model, derived from its fields: a field that is added is drawn at once."""

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any

import pytest
from hypothesis import strategies as st

from pathtap.model.address import FiveTuple
from pathtap.model.node import Route
from pathtap.model.packet import TcpFlag

U8 = st.integers(0, 255)
PORT = st.integers(0, 65_535)
U32 = st.integers(0, 2**32 - 1)
TIME = st.integers(0, 2**61)
TEXT = st.text(max_size=8)

BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(["protocol"], U8),
    **dict.fromkeys(["port", "source_port", "destination_port"], PORT),
    **dict.fromkeys(["taken_at", "captured_at", "sent_at", "started_at", "finished_at", "at"], TIME),
    **dict.fromkeys(["first_seen", "last_seen"], TIME),
    "ports": st.lists(PORT, max_size=3).map(tuple),
}
BY_FIELD: dict[tuple[str, str], st.SearchStrategy[Any]] = {
    ("Rule", "family"): st.sampled_from([4, 6]),
    ("Chain", "priority"): st.integers(-(2**31), 2**31 - 1),
    # Known to nobody who could send it.
    ("Chain", "registration"): st.just(0),
    ("ProbeRequest", "size"): st.integers(0, 65_507),
    ("ProbeRequest", "timeout"): st.integers(1, 100_000).map(lambda milliseconds: milliseconds / 1000),
    ("OpenConnections", "count"): st.integers(0, 1000),
    ("OpenConnections", "rate"): st.integers(0, 100_000),
    ("OpenConnections", "timeout"): st.integers(1, 100_000).map(lambda milliseconds: milliseconds / 1000),
    ("SurveyRequest", "follow"): st.integers(0, 3_600_000).map(lambda milliseconds: milliseconds / 1000),
    ("Step", "at"): st.none() | TIME,
    ("Evidence", "at"): st.none() | TIME,
    ("Trace", "protocol"): TEXT,
    ("Trace", "round_trip"): st.none() | st.integers(0, 2**40),
    ("Target", "kind"): st.sampled_from(["pod", "node", "service", "address"]),
}


def _network(cls: type) -> st.SearchStrategy[Any]:
    width = 32 if cls is IPv4Network else 128
    pairs = st.tuples(st.integers(0, 2**width - 1), st.integers(0, width))
    return pairs.map(lambda pair: cls((pair[0], pair[1]), strict=False))


def _interface(cls: type) -> st.SearchStrategy[Any]:
    width = 32 if cls is IPv4Interface else 128
    return st.tuples(st.integers(0, 2**width - 1), st.integers(0, width)).map(cls)


PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    int: U32,
    str: TEXT,
    bool: st.booleans(),
    type(None): st.none(),
    IPv4Address: st.ip_addresses(v=4),
    IPv6Address: st.ip_addresses(v=6),
    IPv4Network: _network(IPv4Network),
    IPv6Network: _network(IPv6Network),
    IPv4Interface: _interface(IPv4Interface),
    IPv6Interface: _interface(IPv6Interface),
    TcpFlag: U8.map(TcpFlag),
}


@functools.cache
def values(hint: Any) -> st.SearchStrategy[Any]:
    """What a field of this type can hold; fails loudly for a type it has not met."""
    if hint in PLAIN:
        return PLAIN[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*(values(argument) for argument in arguments))
    if origin in (tuple, Sequence):
        return st.lists(values(arguments[0]), max_size=2).map(tuple)
    if origin is frozenset:
        return st.frozensets(values(arguments[0]), max_size=3)
    if origin is Mapping:
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=3)
    if issubclass(hint, Enum):
        return st.sampled_from(hint)
    if dataclasses.is_dataclass(hint):
        return _instances(hint)
    raise TypeError(f"no strategy for {hint}")


def field_values(cls: Any, name: str) -> st.SearchStrategy[Any]:
    """What the field `name` of `cls` can hold."""
    known = BY_FIELD.get((cls.__name__, name), BY_NAME.get(name))
    return values(typing.get_type_hints(cls)[name]) if known is None else known


def _instances(cls: Any) -> st.SearchStrategy[Any]:
    drawn = {field.name: field_values(cls, field.name) for field in dataclasses.fields(cls)}
    if cls is FiveTuple:
        families = (values(IPv4Address), values(IPv6Address))
        return st.one_of(*(st.builds(cls, **(drawn | {"source": one, "destination": one})) for one in families))
    built = st.builds(cls, **drawn)
    if cls is Route:
        return built.map(lambda route: dataclasses.replace(route, family=route.destination.version))
    return built


@pytest.fixture(scope="session")
def model() -> Callable[[Any], st.SearchStrategy[Any]]:
    """From a type of the model to a strategy for its values."""
    return values


@pytest.fixture(scope="session")
def field_of() -> Callable[[Any, str], st.SearchStrategy[Any]]:
    """From a type of the model and a field's name to a strategy for that field."""
    return field_values
