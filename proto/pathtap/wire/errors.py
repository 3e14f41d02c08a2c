"""The one error of this package, and the checks that raise it. Knows no message in particular."""

from collections.abc import Mapping
from enum import Enum
from typing import Generic, TypeVar

from google.protobuf.message import Message

M = TypeVar("M", bound=Enum)
W = TypeVar("W", bound=int)


class WireError(ValueError):
    """A message that cannot be what its sender meant, as a sentence. The peer is at fault, or speaks another version."""


class EnumTable(Generic[M, W]):
    """Both directions of an enum, pair by pair: numbers of the wire never reach the model, nor the other way round."""

    def __init__(self, what: str, pairs: Mapping[M, W]) -> None:
        self._what = what
        self._to_wire = dict(pairs)
        self._from_wire: dict[int, M] = {number: value for value, number in pairs.items()}

    def to_wire(self, value: M) -> W:
        return self._to_wire[value]

    def from_wire(self, number: int) -> M:
        """Raises WireError for what is unspecified, and for what a newer peer may mean by a number not known here."""
        try:
            return self._from_wire[number]
        except KeyError:
            raise WireError(f"A {self._what} is unspecified or unknown: {number}.") from None


def require(message: Message, field: str) -> None:
    """Raises WireError where `message` lacks the sub-message `field`."""
    if not message.HasField(field):
        raise WireError(f"A {message.DESCRIPTOR.name} came without its {field}.")


def bounded(value: int, limit: int, what: str) -> int:
    """`value`, or WireError where it is above `limit`: the wire's integers are wider than the headers' fields."""
    if value > limit:
        raise WireError(f"A {what} cannot be {value}: at most {limit}.")
    return value
