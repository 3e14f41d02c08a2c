"""`pathtap explain SRC to DST`."""

from typing import Any

import click

from pathtap.cli import output
from pathtap.cli.commands.common import asking, namespace, output_option, port_option, write_lines
from pathtap.cli.completion import complete_ends
from pathtap.cli.escape import escaped
from pathtap.cli.exit_codes import exit_code
from pathtap.cli.options import Command, settings
from pathtap.cli.render.trace import explained_lines
from pathtap.cli.request import PROTOCOLS, check_destination, check_source, protocol_number, source_and_destination
from pathtap.v1 import service_pb2

_HELP = """Say what the nodes' configuration makes of a packet from SRC to DST and of its answer. Nothing is sent.

SRC is NAME, NAMESPACE/NAME, pod/NAME, deploy/NAME (sts, ds, job, rs), node/NAME, or an address. DST is the same,
svc/NAME, or an address; deploy/NAMESPACE/NAME and svc/NAMESPACE/NAME are in another namespace.
The protocol is TCP where a port is given, else ICMP. `pathtap trace` sends the packet and shows what happens.

\b
  pathtap explain shop/cart to shop/redis --port 6379
  pathtap explain shop/cart to svc/web --port 80 -n shop
  pathtap explain shop/cart to 198.51.100.8 --protocol udp --port 53 -o json

\b
Exit codes:
  0    it would get there, and an answer back
  1    runtime error: no collector, no such pod, a pod that does not run
  2    usage: the command line makes no sense, or a name is ambiguous
  3    it would not, or an error was found on the way
  4    inconclusive: what decides could not be read or evaluated
  130  interrupted"""


def _explain(words: tuple[str, ...], **given: Any) -> int:
    source, destination = source_and_destination(words, "explain")
    check_source(source, live=True)
    check_destination(destination)
    port = given["port"] or 0
    chosen = settings(click.get_current_context())
    request = service_pb2.TraceRequest(
        source=source,
        destination=destination,
        namespace=namespace(chosen, [source, destination]),
        protocol=protocol_number(given["protocol"] or "", port, destination, live=False),
        port=port,
    )
    with asking(chosen, "asking the collector") as (collector, progress):
        trace = collector.explain(request, progress)
    if given["form"] == "text":
        lines = explained_lines(escaped(trace), output.width(), every_statement=given["evidence"])
        write_lines(chosen, lines)
    else:
        output.write(output.document(trace, given["form"]))
    return exit_code(trace)


explain = Command(
    "explain",
    callback=_explain,
    help=_HELP,
    short_help="Say what would become of a packet, and send none.",
    params=[
        click.Argument(["words"], nargs=-1, metavar="SRC to DST", shell_complete=complete_ends),
        click.Option(["--protocol"], type=click.Choice(list(PROTOCOLS)), help="tcp where a port is given, else icmp."),
        port_option(),
        click.Option(["--evidence"], is_flag=True, help="Print every statement and where it was read."),
        output_option(),
    ],
)
