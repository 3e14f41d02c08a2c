"""Puts results on standard output and waiting on standard error. Knows terminals, and no message's meaning."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, TextIO

import click
import yaml
from google.protobuf import json_format
from google.protobuf.message import Message

from pathtap.cli.errors import CommandError
from pathtap.cli.escape import escape
from pathtap.cli.options import Color
from pathtap.cli.render.page import Line, paint

Format = Literal["text", "json", "yaml"]
NARROWEST, WIDEST = 80, 120

# One cell for one cell, where standard output's encoding has no such characters.
_PLAIN = str.maketrans({"→": ">", "←": "<", "─": "-", "▶": ">", "·": "-", "—": "-", "…": "~"})


def coloured(choice: Color, stream: TextIO | None, environment: Mapping[str, str]) -> bool:
    """--color wins; else a terminal that can, and a person who has not set NO_COLOR. A closed stream is None."""
    if choice != "auto":
        return choice == "always"
    return (
        stream is not None and stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"
    )


def width() -> int:
    """The terminal's width (COLUMNS wins), held between 80 and 120; 120 where there is no terminal."""
    return min(max(shutil.get_terminal_size((WIDEST, 24)).columns, NARROWEST), WIDEST)


def document(message: Message, form: Format) -> str:
    """The protobuf JSON mapping with the original field names, as JSON or as YAML; ASCII only, so safe on a terminal."""
    content = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    if form == "json":
        return json.dumps(content, indent=2) + "\n"
    return str(yaml.safe_dump(content, sort_keys=False, width=WIDEST, allow_unicode=False))


def write(text: str) -> None:
    """Writes and flushes now: a closed pipe is noticed here and not while the interpreter shuts down.

    CommandError where standard output was closed from the start (`>&-`), which Python shows as None.
    """
    if sys.stdout is None:
        raise CommandError("Standard output is closed: there is nowhere to write the result.")
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_PLAIN).encode(encoding, "backslashreplace").decode(encoding)
    click.echo(text, nl=False, color=True)
    sys.stdout.flush()


def write_lines(lines: Sequence[Line], *, colour: bool) -> None:
    write("".join(paint(line, colour=colour) + "\n" for line in lines))


@contextmanager
def waiting(first: str, colour: bool, environment: Mapping[str, str]) -> Iterator[Callable[[str], None]]:
    """Shows what is being done on one rewritten line, if standard error is a terminal that can; else says nothing."""
    if sys.stderr is None or not sys.stderr.isatty() or environment.get("TERM") == "dumb":
        yield lambda _text: None
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, no_color=not colour, highlight=False)

    def line(text: str) -> Text:
        """One line whatever its length: the spinner and a blank go before it."""
        said = Text(escape(text))
        said.truncate(console.width - 3, overflow="ellipsis")
        return said

    with console.status(line(first)) as status:
        yield lambda text: status.update(line(text))
