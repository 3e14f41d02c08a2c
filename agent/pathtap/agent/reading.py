"""The one place where an expected failure of a reader becomes an Unread. Knows no reader."""

from collections.abc import Callable
from typing import TypeVar

from pathtap.agent.readers.enis import UnexpectedAnswerError
from pathtap.agent.readers.xtables import UnexpectedTextError
from pathtap.model.node import Unread

Value = TypeVar("Value")


def attempt(part: str, read: Callable[[], Value]) -> Value | Unread:
    """What `read` returns, or why it could not; anything but an expected failure is raised."""
    try:
        return read()
    except (OSError, UnexpectedAnswerError, UnexpectedTextError) as error:
        return Unread(part=part, reason=str(error) or type(error).__name__)


def kept(answer: Value | Unread, unread: list[Unread], nothing: Value) -> Value:
    """The answer, or `nothing` with its reason put among the unread."""
    if isinstance(answer, Unread):
        unread.append(answer)
        return nothing
    return answer
