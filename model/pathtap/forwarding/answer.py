"""Three-valued logic (Kleene's strong tables). Knows nothing of packets."""

from collections.abc import Iterable
from enum import Enum


class Answer(Enum):
    """Python's own `and`, `or` and `not` would lose the third value, so an Answer refuses to be used as a truth value."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, value: bool | None) -> "Answer":
        """None means unknown."""
        if value is None:
            return cls.UNKNOWN
        return cls.YES if value else cls.NO

    def __and__(self, other: "Answer") -> "Answer":
        if Answer.NO in (self, other):
            return Answer.NO
        return Answer.UNKNOWN if Answer.UNKNOWN in (self, other) else Answer.YES

    def __or__(self, other: "Answer") -> "Answer":
        return ~(~self & ~other)

    def __invert__(self) -> "Answer":
        if self is Answer.UNKNOWN:
            return self
        return Answer.NO if self is Answer.YES else Answer.YES

    def __bool__(self) -> bool:
        raise TypeError("an Answer has three values: compare it with `is`")


def every(answers: Iterable[Answer]) -> Answer:
    """YES for none at all; a single NO settles it, whatever else is unknown."""
    result = Answer.YES
    for answer in answers:
        if answer is Answer.NO:
            return answer
        result = result & answer
    return result
