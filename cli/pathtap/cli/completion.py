"""Completes SRC, `to` and DST in a shell. Whatever goes wrong, it offers nothing and says nothing."""

import time

import click

from pathtap.cli.client import connected
from pathtap.cli.options import settings

SECONDS = 0.5


def complete_ends(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """SRC, then the word `to`, then DST; nothing beside `snat --all`."""
    given = len(context.params.get("words") or ())
    if context.params.get("every_node"):
        return []
    if given == 1:
        return ["to"] if "to".startswith(incomplete) else []
    if given == 0:
        return [name for name in names(context, incomplete) if not name.startswith(("svc/", "service/"))]
    return names(context, incomplete) if given == 2 else []


def complete_source(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in names(context, incomplete) if not name.startswith(("svc/", "service/"))]


def complete_nodes(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of nodes, as they are; those that are named already are not offered again."""
    given = context.params.get("nodes") or ()
    found = names(context, f"node/{incomplete}")
    return [name for each in found if (name := each.removeprefix("node/")) not in given]


def names(context: click.Context, prefix: str) -> list[str]:
    """The names that the collector knows, those alone that a shell can be given as they are."""
    deadline = time.monotonic() + SECONDS
    try:
        with connected(settings(context), SECONDS) as collector:
            found = collector.names(prefix, max(0.05, deadline - time.monotonic()))
    except (click.ClickException, OSError, ValueError):
        return []
    return [name for name in found if name.startswith(prefix) and name.isprintable() and " " not in name]
