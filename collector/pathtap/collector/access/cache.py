"""Answers that are remembered for a while, and no more of them than a bound. Knows no clock but the one it is given."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Cache(Generic[Key, Value]):
    """At most `most` answers; the oldest goes first. `now` is in seconds."""

    def __init__(self, most: int, now: Callable[[], float]) -> None:
        self._most = most
        self._now = now
        self._answers: dict[Key, tuple[float, Value]] = {}

    def get(self, key: Key) -> Value | None:
        """None where there is none, or none any more."""
        until, value = self._answers.get(key, (0.0, None))
        if value is not None and self._now() < until:
            return value
        self._answers.pop(key, None)
        return None

    def put(self, key: Key, value: Value, seconds: float) -> None:
        self._answers.pop(key, None)
        while len(self._answers) >= self._most:
            del self._answers[next(iter(self._answers))]
        self._answers[key] = (self._now() + seconds, value)
