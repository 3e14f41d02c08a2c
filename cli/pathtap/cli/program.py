"""The command group, and the one place where an error becomes a sentence and an exit code."""

import importlib
import os
import sys
import threading
from importlib.metadata import version
from types import TracebackType
from typing import Any

import click

# gRPC's C core logs connection attempts to standard error on its own; the client's sentences say it once.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from pathtap.cli.calling import KUBECTL_NAME, as_called
from pathtap.cli.commands.check import check
from pathtap.cli.commands.completion import COMPLETE_VARIABLE, completion
from pathtap.cli.commands.explain import explain
from pathtap.cli.commands.flows import flows
from pathtap.cli.commands.nodes import nodes
from pathtap.cli.commands.snat import snat
from pathtap.cli.commands.trace import trace
from pathtap.cli.errors import CommandError
from pathtap.cli.escape import escape
from pathtap.cli.exit_codes import HELP, INTERRUPTED
from pathtap.cli.options import global_options
from pathtap.cli.request import right_form

_LAB_HELP = "Build, break and remove a practice cluster on this machine."


class Pathtap(click.Group):
    """Loads the lab only when it is called, since its extra may not be installed, and never shows a traceback."""

    def get_help(self, ctx: click.Context) -> str:
        return as_called(super().get_help(ctx), ctx.find_root().info_name or "")

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "lab"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """For the list of commands the lab's name and a sentence do."""
        if cmd_name == "lab":
            return click.Command("lab", short_help=_LAB_HELP)
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[:1] == ["lab"]:
            return "lab", _lab(), args[1:]
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(f"{error.format_message()} {right_form(args)}", ctx) from error

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        kwargs.setdefault("complete_var", COMPLETE_VARIABLE)
        name = str(kwargs.get("prog_name") or "")
        try:
            result = super().main(*args, **kwargs)
        except click.Abort:
            sys.exit(INTERRUPTED)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            sys.exit(error.exit_code)
        except click.MissingParameter as error:
            # Nothing of it was typed by anybody: its line breaks and tabs are click's own.
            _say(_usage(error), " ".join(error.format_message().split()), name)
            sys.exit(error.exit_code)
        except click.UsageError as error:
            _say(_usage(error), error.format_message(), name)
            sys.exit(error.exit_code)
        except click.ClickException as error:
            _say("", error.format_message(), name)
            sys.exit(error.exit_code)
        except OSError as error:
            _say("", str(error), name)
            sys.exit(1)
        sys.exit(result if isinstance(result, int) else 0)


def _usage(error: click.UsageError) -> str:
    return f"{error.ctx.get_usage()}\n" if error.ctx else ""


def _say(before: str, sentence: str, name: str = "") -> None:
    click.echo(f"{before}pathtap: {escape(as_called(sentence, name))}", err=True)


def _lab() -> click.Command:
    try:
        module = importlib.import_module("pathtap.cli.commands.lab")
    except ModuleNotFoundError as error:
        raise CommandError("The lab is not installed. Install it with: pip install 'pathtap[lab]'") from error
    command: click.Command = module.lab
    return command


cli = Pathtap(
    "pathtap",
    help=f"""Trace a pod's packets through AWS VPC CNI nodes: expected, observed and recorded, hop by hop.

\b
  pathtap trace shop/cart to shop/redis --port 6379

\b
Exit codes:
{HELP}""",
    params=global_options(root=True),
    commands=[check, completion, explain, flows, nodes, snat, trace],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
click.version_option(version("pathtap"), prog_name="pathtap", message="%(prog)s %(version)s")(cli)


def run() -> None:
    _speak_in_sentences()
    cli.main(prog_name="pathtap")


def run_plugin() -> None:
    """As kubectl's plugin."""
    _speak_in_sentences()
    cli.main(prog_name=KUBECTL_NAME)


def complete_plugin() -> None:
    """For kubectl, while somebody types."""
    from pathtap.cli.plugin_completion import completion_lines

    _speak_in_sentences()
    click.echo("\n".join(completion_lines(cli, sys.argv[1:])))


def _speak_in_sentences() -> None:
    sys.excepthook = _unforeseen
    threading.excepthook = _unforeseen_in_a_thread


def _unforeseen_in_a_thread(raised: threading.ExceptHookArgs) -> None:
    """gRPC's thread that looks at a channel's state may find it closed meanwhile: nobody is missing anything then."""
    closed = raised.exc_type is ValueError and "Channel closed" in str(raised.exc_value)
    if raised.exc_value is not None and not closed:
        _unforeseen(raised.exc_type, raised.exc_value, raised.exc_traceback)


def _unforeseen(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A defect of pathtap's own: one sentence, and where it is on request. The exit code stays Python's, 1."""
    if issubclass(kind, KeyboardInterrupt):
        return
    if os.environ.get("PATHTAP_TRACEBACK"):
        sys.__excepthook__(kind, error, trace)
        return
    _say("", f"failed unexpectedly: {kind.__name__}: {error}. PATHTAP_TRACEBACK=1 shows where; please report it.")
