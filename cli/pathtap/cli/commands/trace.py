"""`pathtap trace SRC to DST`."""

from typing import Any

import click

from pathtap.cli import output
from pathtap.cli.commands.common import asking, namespace, output_option, port_option, timeout_option, write_lines
from pathtap.cli.completion import complete_ends
from pathtap.cli.escape import escaped
from pathtap.cli.exit_codes import HELP, exit_code
from pathtap.cli.options import Command, settings
from pathtap.cli.render.trace import trace_lines
from pathtap.cli.request import (
    PROTOCOLS,
    check_destination,
    check_source,
    checked_size,
    protocol_number,
    source_and_destination,
)
from pathtap.model.request import MAX_PROBE_SIZE
from pathtap.v1 import service_pb2

ANSWER_SECONDS = 3.0
LIVE_SECONDS = 30.0

_HELP = f"""Trace packets from SRC to DST and back, hop by hop.

SRC is NAME, NAMESPACE/NAME, pod/NAME, deploy/NAME (sts, ds, job, rs), node/NAME, or with --live an address. DST is the
same, svc/NAME, or an address; deploy/NAMESPACE/NAME and svc/NAMESPACE/NAME are in another namespace.
The protocol is TCP where a port is given, else ICMP. `pathtap explain` says what should happen, and sends nothing.

\b
  pathtap trace shop/cart to shop/redis --port 6379
  pathtap trace shop/cart to svc/web --port 80 -n shop
  pathtap trace shop/cart to 198.51.100.8 --protocol udp --port 53 -o json

\b
Exit codes:
{HELP}"""


def _trace(words: tuple[str, ...], **given: Any) -> int:
    source, destination = source_and_destination(words)
    check_source(source, live=given["live"])
    check_destination(destination)
    port = given["port"] or 0
    seconds = given["timeout"] or (LIVE_SECONDS if given["live"] else ANSWER_SECONDS)
    protocol = protocol_number(given["protocol"] or "", port, destination, live=given["live"])
    chosen = settings(click.get_current_context())
    request = service_pb2.TraceRequest(
        source=source,
        destination=destination,
        namespace=namespace(chosen, [source, destination]),
        protocol=protocol,
        port=port,
        live=given["live"],
        count=given["count"],
        timeout_ms=round(seconds * 1000),
        size=checked_size(given["size"], protocol, port),
    )
    with asking(chosen, "asking the collector") as (collector, progress):
        trace = collector.trace(request, progress)
    if given["form"] == "text":
        lines = trace_lines(escaped(trace), output.width(), every_statement=given["evidence"])
        write_lines(chosen, lines)
    else:
        output.write(output.document(trace, given["form"]))
    return exit_code(trace)


trace = Command(
    "trace",
    callback=_trace,
    help=_HELP,
    short_help="Trace packets between two ends, there and back.",
    params=[
        click.Argument(["words"], nargs=-1, metavar="SRC to DST", shell_complete=complete_ends),
        click.Option(["--protocol"], type=click.Choice(list(PROTOCOLS)), help="tcp where a port is given, else icmp."),
        port_option(),
        click.Option(["--live"], is_flag=True, help="Send nothing; wait for traffic that matches."),
        click.Option(
            ["--count"], type=click.IntRange(1, 100), default=1, metavar="N", show_default=True, help="Probes to send."
        ),
        click.Option(
            ["--size"],
            type=click.IntRange(0, MAX_PROBE_SIZE),
            default=0,
            metavar="BYTES",
            help="Payload of an ICMP or UDP probe, sent with don't-fragment set: shows where an MTU is too small.",
        ),
        timeout_option(
            None,
            f"How long to wait for the answers to all probes together ({ANSWER_SECONDS:g}), "
            f"or for traffic with --live ({LIVE_SECONDS:g}).",
        ),
        click.Option(["--evidence"], is_flag=True, help="Print every witness's statement and where it was read."),
        output_option(),
    ],
)
