"""`pathtap lab …`: a cluster of network namespaces to try pathtap on. Knows words and options; the lab does the work.

The lab's own libraries are imported by the commands that use them: the laptop's install has none of them.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from pathtap.cli.commands.lab_options import up_options
from pathtap.cli.errors import CommandError, WrongRequest
from pathtap.cli.options import Command, settings


@contextmanager
def _sentences() -> Iterator[None]:
    """The lab's errors as the command line's."""
    try:
        from pathtap.lab.errors import LabError
        from pathtap.lab.names import AmbiguousNameError
    except ImportError as error:
        raise CommandError(f"The lab is not installed ({error.name}): pip install 'pathtap[lab]'.") from error
    try:
        yield
    except AmbiguousNameError as error:
        raise WrongRequest(str(error)) from error
    except LabError as error:
        raise CommandError(str(error)) from error
    except ImportError as error:
        raise CommandError(f"The lab needs {error.name}: pip install 'pathtap[lab]'.") from error


def _checked(_context: click.Context, _option: click.Parameter, prefix: str) -> str:
    """Before anything else, root included: what cannot be a prefix can be nobody's lab."""
    with _sentences():
        from pathtap.lab.options import check_prefix

        check_prefix(prefix)
    return prefix


_prefix = click.option(
    "--prefix",
    metavar="NAME",
    default="lab",
    show_default=True,
    help="Which lab: all its namespaces begin with it.",
    callback=_checked,
)


@click.group()
def lab() -> None:
    """A VPC CNI cluster of network namespaces on this machine. Needs root."""


@lab.command(cls=Command)
@_prefix
@up_options
def up(processes: bool, chains: str | None, images: tuple[Path, ...], **options: Any) -> None:
    """Build a lab, and start its collector and agents, or a real Kubernetes."""
    # In iptables the connmark rules and kube-proxy's chain have one priority: which comes first would be chance.
    nftables = options["kube_proxy"] == "nftables" and options["backend"] == "nft"
    options["chains"] = chains or ("native" if nftables else "return")
    with _sentences():
        from pathtap.lab.build import LabOptions, build
        from pathtap.lab.kube.names import admin_kubeconfig
        from pathtap.lab.kube.programs import ASSETS, find_programs
        from pathtap.lab.kube.up import start_or_take_away
        from pathtap.lab.processes import start

        if images and not options["kube"]:
            raise click.UsageError("Images are for the nodes of a real Kubernetes: --image needs --kube.")
        wanted = LabOptions(**options)
        assets = find_programs(os.environ.get(ASSETS, "")) if wanted.kube else None
        began = time.monotonic()
        cluster = build(wanted)
        size = f"{len(cluster.nodes)} nodes and {len(cluster.pods)} pods"
        click.echo(f"Built {size} in {time.monotonic() - began:.1f} s.")
        if assets is not None:
            start_or_take_away(cluster, assets, images, click.echo)
            click.echo(f"export KUBECONFIG={admin_kubeconfig(wanted.prefix)}")
        elif processes:
            began = time.monotonic()
            start(cluster)
            click.echo(f"Collector and {len(cluster.nodes)} agents are up after {time.monotonic() - began:.1f} s.")
            click.echo(f"Try: {_example(options['prefix'])}")


def _example(prefix: str) -> str:
    return f"pathtap trace shop/cart to shop/redis --port 6379{_collector(prefix)}"


def _collector(prefix: str) -> str:
    """The option that a trace in this lab takes; the default lab needs none."""
    from pathtap.lab.state import DEFAULT_SOCKET, StateDirectory

    socket = StateDirectory(prefix).socket
    return "" if socket == DEFAULT_SOCKET else f" --collector unix:{socket}"


def _complete_place(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """All places of the lab that is up; nothing, silently, where it cannot be read."""
    try:
        with _sentences():
            from pathtap.lab.build import find
            from pathtap.lab.names import places

            known = places(find(context.params.get("prefix") or "lab"))
    except click.ClickException:
        return []
    return [name for name in known if name.startswith(incomplete)]


def _complete_fault(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    try:
        from pathtap.lab.faults import FAULTS
    except ImportError:
        return []
    return [fault.name for fault in FAULTS if fault.name.startswith(incomplete)]


@lab.command(cls=Command)
@_prefix
def down(prefix: str) -> None:
    """End a lab's processes and remove its namespaces. Twice is no error."""
    with _sentences():
        from pathtap.lab.build import tear_down

        removed = tear_down(prefix)
    if removed.anything:
        click.echo(f"Removed the lab {prefix}: {removed.namespaces} namespaces, their processes and files.")
    else:
        click.echo(f"There is no lab {prefix}: nothing was removed.")


@lab.command(cls=Command)
@_prefix
def status(prefix: str) -> None:
    """Show namespaces, nodes, ENIs, pods, processes and the faults in force."""
    with _sentences():
        from pathtap.lab.build import require_root
        from pathtap.lab.status import status as describe

        require_root()
        click.echo(describe(prefix), nl=False)


@lab.command(cls=Command, name="exec")
@_prefix
@click.argument("place", metavar="POD|NODE", shell_complete=_complete_place)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def execute(context: click.Context, prefix: str, place: str, command: tuple[str, ...]) -> None:
    """Run a command in the network namespace of a pod, of a node, of the vpc, or of a host outside: internet, peer.

    For instance: pathtap lab exec shop/cart -- ping -c 1 192.168.2.41
    """
    with _sentences():
        from pathtap.lab.build import find, require_root
        from pathtap.lab.kernel import MARK
        from pathtap.lab.names import resolve

        require_root()
        namespace = resolve(find(prefix), place, settings(context).namespace)
    os.execvpe("ip", ["ip", "netns", "exec", namespace, *command], {**os.environ, MARK: prefix})  # noqa: S606


@lab.command(cls=Command)
@_prefix
@click.argument("name", required=False, shell_complete=_complete_fault)
@click.option("--heal", is_flag=True, help="End the fault.")
@click.option("--list", "listing", is_flag=True, help="Say what each fault breaks, and which trace shows it.")
def fault(prefix: str, name: str | None, heal: bool, listing: bool) -> None:
    """Break a lab in a named way, or heal it."""
    with _sentences():
        from pathtap.lab.breaking import break_lab, heal_lab
        from pathtap.lab.faults import FAULTS

        if listing:
            for known in FAULTS:
                click.echo(f"{known.name}\n    {known.breaks}\n    {known.shown_by}{_collector(prefix)}")
                click.echo(f"    {known.found_as}")
            return
        if name is None:
            raise click.UsageError("Which fault? `pathtap lab fault --list` names them.")
        if heal:
            healed = heal_lab(prefix, name)
            click.echo(f"Healed: {healed.fault.name}.")
            if healed.already:
                click.echo(f"Already mended: {'; '.join(healed.already)}.")
            return
        made = break_lab(prefix, name)
        click.echo(f"{made.breaks[0].upper()}{made.breaks[1:]}\nSee: {made.shown_by}{_collector(prefix)}")


@lab.command(cls=Command)
@_prefix
@click.option(
    "--pairs", type=click.IntRange(1, 32_000), default=5_000, show_default=True, help="Of flows: source ports."
)
@click.option("--protocol", type=click.Choice(["udp", "tcp"]), default="udp", show_default=True, help="Of the flows.")
@click.option(
    "--apart", is_flag=True, help="One pod after the other, so that nothing races: only a lack of ports loses flows."
)
def race(prefix: str, pairs: int, protocol: str, apart: bool) -> None:
    """Let two pods of node 1 send from equal source ports at the same moment, and say what became of it.

    The node's conntrack table is flushed before. What --random-fully exists for: build the lab with --randomize none to
    see flows lose their ports, with --randomize prng to see them keep all.
    """
    with _sentences():
        from pathtap.lab.build import find, require_root
        from pathtap.lab.racing import race as run

        require_root()
        for line in run(find(prefix), pairs, protocol, apart=apart).lines:
            click.echo(line)
