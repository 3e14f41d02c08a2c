"""Completes SRC, `to` and DST in a shell. Whatever goes wrong, it offers nothing and says nothing."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pathtap.cli.channel import direct
from pathtap.cli.client import connected
from pathtap.cli.commands.common import namespace
from pathtap.cli.options import settings

if TYPE_CHECKING:
    from pathtap.cli.cluster import place

# Where the collector is at hand, and where the way to it leads through an API server and a port-forward.
SECONDS = 0.5
CLUSTER_SECONDS = 3.0


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
    chosen = settings(context)
    try:
        seconds = SECONDS if direct(chosen) is not None else CLUSTER_SECONDS
        deadline = time.monotonic() + seconds
        with connected(chosen, seconds, quiet=True) as collector:
            found = collector.names(
                prefix, namespace(chosen, [prefix or "any"]), max(0.05, deadline - time.monotonic())
            )
    except (click.ClickException, OSError, ValueError):
        return []
    return _fit(found, prefix)


def complete_contexts(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The kubeconfig's contexts."""
    try:
        found = list(_where(context).load().contexts)
    except (click.ClickException, OSError, ValueError):
        return []
    return _fit(found, incomplete)


def complete_namespaces(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The cluster's namespaces; none without a cluster. No port-forward is needed for them."""
    chosen = settings(context)
    try:
        if direct(chosen) is not None:
            return []
        from pathtap.cli.cluster import place, tunnel
        from pathtap.cli.cluster.values import Terminal

        terminal = Terminal(interactive=False, quiet=True, patience=CLUSTER_SECONDS)
        found = tunnel.namespaces(place.find(_where(context), chosen.pathtap_namespace, terminal), CLUSTER_SECONDS)
    except (click.ClickException, OSError, ValueError):
        return []
    return _fit(found, incomplete)


def _where(context: click.Context) -> "place.Where":
    from pathtap.cli.cluster import place

    chosen = settings(context)
    return place.Where(file=chosen.kubeconfig, context=chosen.context, environment=os.environ, home=Path.home())


def _fit(found: Iterable[str], prefix: str) -> list[str]:
    """Those that a shell can be given as they are."""
    return [name for name in found if name.startswith(prefix) and name.isprintable() and " " not in name]
