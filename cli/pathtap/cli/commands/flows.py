"""`pathtap flows SRC`."""

import click

from pathtap.cli import output
from pathtap.cli.commands.common import asking, namespace, output_option, timeout_option, write_lines
from pathtap.cli.completion import complete_source
from pathtap.cli.escape import escaped
from pathtap.cli.exit_codes import INCONCLUSIVE, OK, has_decisive_gap
from pathtap.cli.options import Command, settings
from pathtap.cli.render.flows import flow_lines
from pathtap.cli.request import check_watched
from pathtap.v1 import service_pb2

_HELP = """Show every flow of a pod that is seen until the time is over, each once, with its ENI and its SNAT.

Nothing is sent. PACKETS counts those of the end that opened the flow and those of the other, at the pod's own interface.

\b
Exit codes:
  0    done    1  runtime error    2  usage
  4    something decisive could not be seen    130  interrupted"""


def _flows(source: str, timeout: float, form: output.Format) -> int:
    check_watched(source)
    chosen = settings(click.get_current_context())
    request = service_pb2.ListFlowsRequest(
        source=source, namespace=namespace(chosen, [source]), timeout_ms=round(timeout * 1000)
    )
    with asking(chosen, "asking the collector") as (collector, progress):
        flows = collector.flows(request, progress)
    if form == "text":
        write_lines(chosen, flow_lines(escaped(flows), output.width()))
    else:
        output.write(output.document(flows, form))
    return INCONCLUSIVE if has_decisive_gap(flows.gaps) else OK


flows = Command(
    "flows",
    callback=_flows,
    help=_HELP,
    short_help="Show every flow of a pod, with its ENI and its SNAT.",
    params=[
        click.Argument(["source"], metavar="SRC", shell_complete=complete_source),
        timeout_option(5.0, "How long to watch."),
        output_option(),
    ],
)
