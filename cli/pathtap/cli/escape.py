"""Makes text from outside safe to print: names, rules, claims and errors cannot move the cursor, set a colour or turn
the reading direction. Knows no renderer and no terminal.

Everything that a person reads passes `escaped` (messages, before they are laid out) or `escape` (single sentences). JSON
and YAML do not: their encoders write such characters as escapes of their own.
"""

from typing import TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from pathtap.model.printable import escape

__all__ = ["escape", "escaped"]

M = TypeVar("M", bound=Message)


def escaped(message: M) -> M:
    """A copy of a protobuf message in which every string, at any depth, is escaped."""
    copy = type(message)()
    copy.CopyFrom(message)
    _escape_in_place(copy)
    return copy


def _escape_in_place(message: Message) -> None:
    for field, value in message.ListFields():
        values = value if field.is_repeated else (value,)
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in values:
                _escape_in_place(inner)
        elif field.type == FieldDescriptor.TYPE_STRING:
            safe = [escape(text) for text in values]
            if field.is_repeated:
                value[:] = safe
            else:
                setattr(message, field.name, safe[0])
