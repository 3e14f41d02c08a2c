"""Makes text from outside safe to print: names, rules and errors cannot move the cursor, set a colour or turn the reading
direction, neither on a terminal nor in a log that is read on one. Knows neither."""

import logging
import unicodedata
from typing import TextIO

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


class PrintableFormatter(logging.Formatter):
    """A log's lines of printable text: one for each message, whatever it holds, and those of a traceback."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        return escape(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802
        lines = super().formatException(ei).split("\n")  # type: ignore[arg-type]
        return "\n".join(map(escape, lines))


def log_to(stream: TextIO, level: int | str, form: str) -> None:
    """The root logger's records at `level` and above go to `stream`, in the form that logging.Formatter takes."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrintableFormatter(form))
    logging.basicConfig(level=level, handlers=[handler])
