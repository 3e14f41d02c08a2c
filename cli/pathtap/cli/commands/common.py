"""What the commands share: the output option, the namespace of bare names, colours, the wait. Reads the environment."""

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from pathtap.cli import output
from pathtap.cli.channel import direct
from pathtap.cli.client import Collector, connected
from pathtap.cli.options import Settings
from pathtap.cli.render.page import Line
from pathtap.cli.request import is_bare

# The collector's own limit.
MOST_SECONDS = 600.0


def output_option() -> click.Option:
    return click.Option(
        ["form", "-o", "--output"],
        type=click.Choice(["text", "json", "yaml"]),
        default="text",
        show_default=True,
        help="text for people; json and yaml are pathtap.v1's messages.",
    )


class Seconds(click.FloatRange):
    """A range of seconds, which `nan` is not in, though it is neither below nor above it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value} is no number of seconds.", param, ctx)
        return seconds


class Port(click.IntRange):
    """A port by its number: names are each machine's own, and the one that serves may know others."""

    def __init__(self) -> None:
        super().__init__(1, 65_535)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            int(value)
        except ValueError:
            self.fail(f"{value} is no port: give its number, 1 to 65535.", param, ctx)
        port: int = super().convert(value, param, ctx)
        return port


def port_option() -> click.Option:
    return click.Option(["--port"], type=Port(), metavar="N", help="The destination's port.")


def timeout_option(default: float | None, what: str) -> click.Option:
    return click.Option(
        ["--timeout"],
        type=Seconds(0.1, MOST_SECONDS),
        default=default,
        show_default=default is not None,
        metavar="SECONDS",
        help=what,
    )


def namespace(chosen: Settings, names: Sequence[str]) -> str:
    """-n, else the kubeconfig context's; read only where a name leaves its namespace open. Empty means unique."""
    if chosen.namespace or not any(is_bare(name) for name in names):
        return chosen.namespace
    from pathtap.cli.cluster import place

    where = place.Where(file=chosen.kubeconfig, context=chosen.context, environment=os.environ, home=Path.home())
    return place.namespace_of_bare_names(where, reached=direct(chosen) is None)


def write_lines(chosen: Settings, lines: Sequence[Line]) -> None:
    output.write_lines(lines, colour=output.coloured(chosen.color, sys.stdout, os.environ))


@contextmanager
def asking(chosen: Settings, first: str) -> Iterator[tuple[Collector, Callable[[str], None]]]:
    """A connected collector, and where to show what it is doing."""
    colour = output.coloured(chosen.color, sys.stderr, os.environ)
    # Before the terminal's line is taken: a credential plugin may want to ask for a password.
    connection = connected(chosen)
    with output.waiting(first, colour, os.environ) as progress, connection as collector:
        yield collector, progress
