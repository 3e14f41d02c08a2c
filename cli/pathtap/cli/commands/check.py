"""`pathtap check [NODE…]`."""

import click

from pathtap.cli import output
from pathtap.cli.commands.common import asking, output_option, write_lines
from pathtap.cli.completion import complete_nodes
from pathtap.cli.escape import escaped
from pathtap.cli.exit_codes import check_exit_code
from pathtap.cli.options import Command, settings
from pathtap.cli.render.check import check_lines
from pathtap.v1 import service_pb2

_HELP = """Check whether nodes are wired as the VPC CNI wires them; without NODE all of them.

Reads each node and looks into its pods; sends nothing. Ip rules, routes, links, neighbours, connection marks, SNAT and conntrack
are inspected, and sample packets are walked over what was read: between pods, to Services, out of the VPC and back.

\b
Exit codes:
  0    nothing is wrong    1  runtime error, or no such node    2  usage
  3    an error or a warning was found
  4    nothing was found, and a node could not be read    130  interrupted"""


def _check(nodes: tuple[str, ...], form: output.Format) -> int:
    chosen = settings(click.get_current_context())
    request = service_pb2.CheckRequest(nodes=[node.removeprefix("node/") for node in nodes])
    with asking(chosen, "asking the collector") as (collector, progress):
        check = collector.check(request, progress)
    if form == "text":
        write_lines(chosen, check_lines(escaped(check), output.width()))
    else:
        output.write(output.document(check, form))
    return check_exit_code(check)


check = Command(
    "check",
    callback=_check,
    help=_HELP,
    short_help="Check whether nodes are wired as the VPC CNI wires them.",
    params=[
        click.Argument(["nodes"], metavar="[NODE]...", nargs=-1, shell_complete=complete_nodes),
        output_option(),
    ],
)
