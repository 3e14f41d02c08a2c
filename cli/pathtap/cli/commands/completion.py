"""`pathtap completion SHELL`: prints the script; the names come from the collector while one types."""

import click
from click.shell_completion import get_completion_class

from pathtap.cli import output
from pathtap.cli.errors import CommandError
from pathtap.cli.options import Command

COMPLETE_VARIABLE = "_PATHTAP_COMPLETE"

_HELP = """Print the completion script of a shell.

\b
  bash   eval "$(pathtap completion bash)"           in ~/.bashrc
  zsh    eval "$(pathtap completion zsh)"            in ~/.zshrc
  fish   pathtap completion fish | source            in ~/.config/fish/config.fish"""


def _completion(shell: str) -> None:
    script = get_completion_class(shell)
    if script is None:
        raise CommandError(f"This version of click has no completion for {shell}.")
    output.write(
        script(click.get_current_context().find_root().command, {}, "pathtap", COMPLETE_VARIABLE).source() + "\n"
    )


completion = Command(
    "completion",
    callback=_completion,
    help=_HELP,
    short_help="Print a shell's completion script.",
    params=[click.Argument(["shell"], type=click.Choice(["bash", "zsh", "fish"]))],
)
