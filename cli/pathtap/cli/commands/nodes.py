"""`pathtap nodes`."""

import click

from pathtap.cli import output
from pathtap.cli.commands.common import asking, output_option, write_lines
from pathtap.cli.escape import escaped
from pathtap.cli.exit_codes import OK
from pathtap.cli.options import Command, settings
from pathtap.cli.render.nodes import node_lines

_HELP = """Show the nodes: their agents, interfaces and ENI ids, what could not be read, what was lost.

Exit codes: 0 done, 1 runtime error, 2 usage, 130 interrupted."""


def _nodes(form: output.Format) -> int:
    chosen = settings(click.get_current_context())
    with asking(chosen, "asking the collector") as (collector, _progress):
        nodes = collector.nodes()
    if form == "text":
        write_lines(chosen, node_lines(escaped(nodes), output.width()))
    else:
        output.write(output.document(nodes, form))
    return OK


nodes = Command(
    "nodes",
    callback=_nodes,
    help=_HELP,
    short_help="Show nodes, agents, interfaces and what could not be read.",
    params=[output_option()],
)
