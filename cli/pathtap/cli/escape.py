"""Makes text from outside safe to print: names, rules, claims and errors cannot move the cursor, set a colour or turn
the reading direction. Knows no renderer and no terminal.

Everything that a person reads passes `escaped` (messages, before they are laid out) or `escape` (single sentences). JSON
and YAML do not: their encoders write such characters as escapes of their own.
"""

import unicodedata
from typing import TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)

# Control (C0, DEL, C1), format (bidi controls, zero width, tags), surrogates, line and paragraph separators.
UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def escape(text: str) -> str:
    """`text` with each unsafe character written as \\x1b, \\u202e or \\U000e0041. Printable text is left as it is."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_written(char) if unicodedata.category(char) in UNSAFE else char for char in text)


def _written(char: str) -> str:
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


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
