"""`pathtap snat SRC [to DST]` and `pathtap snat --all`."""

from typing import Any

import click

from pathtap.cli import output
from pathtap.cli.commands.common import asking, namespace, output_option, port_option, timeout_option, write_lines
from pathtap.cli.completion import complete_ends
from pathtap.cli.escape import escaped
from pathtap.cli.exit_codes import snat_exit_code, snat_table_exit_code
from pathtap.cli.options import Command, settings
from pathtap.cli.render.snat import snat_lines
from pathtap.cli.render.snat_table import snat_table_lines
from pathtap.cli.request import (
    PROTOCOLS,
    check_destination,
    check_source,
    protocol_number,
    source_and_perhaps_destination,
)
from pathtap.model.request import MOST_ANSWER_SECONDS, MOST_CONNECTIONS
from pathtap.v1 import service_pb2

USUAL_CONNECTIONS = 64
ANSWER_SECONDS = 2.0
LIVE_SECONDS = 5.0

_HELP = """Prove how SRC's traffic out of its node is source-translated, and whether its ports are fully random.

SRC is NAME, NAMESPACE/NAME, pod/NAME, deploy/NAME (sts, ds, job, rs), node/NAME, or, where nothing is sent, an address.
DST is the same, svc/NAME, or an address outside; the protocol is TCP where a port is given, else ICMP. To DST some
connections are opened from inside the pod and closed at once. Without DST nothing is sent: the rules for what lies
outside of the VPC and the connections that are there are read.

\b
  pathtap snat shop/cart to 198.51.100.8 --port 443
  pathtap snat shop/cart to 198.51.100.8 --protocol udp --port 53 --connections 200
  pathtap snat shop/cart
  pathtap snat shop/cart --live --timeout 30
  pathtap snat --all

\b
Exit codes:
  0    the effect is what was set; where nobody told what was set: the ports are fully random
  1    runtime error: no collector, no such pod, a pod that does not run
  2    usage: the command line makes no sense, or a name is ambiguous
  3    the effect is another
  4    inconclusive: what decides could not be read, or too few connections count
  130  interrupted

With --all: 3 where any node has a 3, else 4 where any has a 4 or could not be read, else 0."""


def _snat(words: tuple[str, ...], **given: Any) -> int:
    if given["every_node"]:
        return _every_node(words, given)
    source, destination = source_and_perhaps_destination(words, "snat")
    live = given["live"]
    # Where nothing is sent, an address stands for whoever has it.
    check_source(source, live=live or not destination)
    _refuse_idle_options(destination, given)
    port, protocol = given["port"] or 0, 0
    if destination:
        check_destination(destination, "snat")
        protocol = protocol_number(given["protocol"] or "", port, destination, live=live)
    sends = bool(destination) and not live
    seconds = given["timeout"] or (LIVE_SECONDS if live else ANSWER_SECONDS if sends else 0.0)
    chosen = settings(click.get_current_context())
    request = service_pb2.SnatRequest(
        source=source,
        destination=destination,
        namespace=namespace(chosen, [name for name in (source, destination) if name]),
        protocol=protocol,
        port=port,
        connections=(given["connections"] or USUAL_CONNECTIONS) if sends else 0,
        live=live,
        timeout_ms=round(seconds * 1000),
    )
    with asking(chosen, "asking the collector") as (collector, progress):
        snat = collector.snat(request, progress)
    if given["form"] == "text":
        write_lines(chosen, snat_lines(escaped(snat), output.width(), every_statement=given["evidence"]))
    else:
        output.write(output.document(snat, given["form"]))
    return snat_exit_code(snat)


def _every_node(words: tuple[str, ...], given: dict[str, Any]) -> int:
    if words:
        raise click.UsageError("--all is every node at once: leave out SRC and DST, or --all.")
    for option in ("live", "protocol", "port", "connections", "timeout"):
        if given[option]:
            raise click.UsageError(f"--all reads what is there and sends nothing: leave out --{option}, or name SRC.")
    if given["evidence"]:
        raise click.UsageError("--all prints a table: leave out --evidence, or name SRC. -o json has every rule.")
    chosen = settings(click.get_current_context())
    with asking(chosen, "asking the collector") as (collector, progress):
        table = collector.snat_table(service_pb2.SnatRequest(all=True), progress)
    if given["form"] == "text":
        write_lines(chosen, snat_table_lines(escaped(table), output.width()))
    else:
        output.write(output.document(table, given["form"]))
    return snat_table_exit_code(table)


def _refuse_idle_options(destination: str, given: dict[str, Any]) -> None:
    """Usage errors for options that would change nothing."""
    if destination and not given["live"] and (given["timeout"] or 0) > MOST_ANSWER_SECONDS:
        raise click.UsageError(
            f"Answers are waited for {MOST_ANSWER_SECONDS:g} s at most: give --timeout {MOST_ANSWER_SECONDS:g} or less."
        )
    if given["connections"] and given["live"]:
        raise click.UsageError("--live opens no connections: leave out --connections, or --live.")
    if destination:
        return
    for option in ("connections", "port", "protocol"):
        if given[option]:
            raise click.UsageError(f"--{option} needs a destination: pathtap snat SRC to DST --{option} …")
    if given["timeout"] and not given["live"]:
        raise click.UsageError("Without a destination and --live nothing is waited for: leave out --timeout.")


snat = Command(
    "snat",
    callback=_snat,
    help=_HELP,
    short_help="Prove whether a source's SNAT chooses fully random ports.",
    params=[
        click.Argument(["words"], nargs=-1, metavar="SRC [to DST]", shell_complete=complete_ends),
        click.Option(["every_node", "--all"], is_flag=True, help="Every node at once, as a table; nothing is sent."),
        click.Option(["--protocol"], type=click.Choice(list(PROTOCOLS)), help="tcp where a port is given, else icmp."),
        port_option(),
        click.Option(
            ["--connections"],
            type=click.IntRange(1, MOST_CONNECTIONS),
            metavar="N",
            help=f"Connections to open to DST ({USUAL_CONNECTIONS}).",
        ),
        click.Option(
            ["--live"], is_flag=True, help="Send nothing; take the source's own connections, present and new."
        ),
        timeout_option(
            None,
            f"How long to wait for the answers to all connections together ({ANSWER_SECONDS:g}), "
            f"or for new connections with --live ({LIVE_SECONDS:g}).",
        ),
        click.Option(["--evidence"], is_flag=True, help="Print every rule's text, every port pair and every counter."),
        output_option(),
    ],
)
