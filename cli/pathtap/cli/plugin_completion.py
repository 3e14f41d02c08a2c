"""Completes `kubectl pathtap …` for kubectl (since 1.26), which runs kubectl_complete-pathtap with the words so far.

It prints a candidate a line, a tab and a description after it where there is one, and `:DIRECTIVE` at last (cobra's
ShellCompDirective, a bit field).
"""

from collections.abc import Sequence

import click
from click.shell_completion import ShellComplete

from pathtap.cli.calling import KUBECTL_NAME

DEFAULT, NO_FILES = 0, 4


def completion_lines(command: click.Command, words: Sequence[str]) -> list[str]:
    """For the words after `kubectl pathtap`, of which the last is incomplete, perhaps empty."""
    *before, incomplete = words or [""]
    option, equals, _value = incomplete.partition("=")
    # The shell replaces the whole word.
    stem = option + equals if option.startswith("--") else ""
    found = ShellComplete(command, {}, KUBECTL_NAME, "").get_completions(before, incomplete)
    if any(item.type in ("file", "dir") for item in found):
        return [f":{DEFAULT}"]
    lines = [f"{stem if equals else ''}{item.value}" + (f"\t{item.help}" if item.help else "") for item in found]
    return [*lines, f":{NO_FILES}"]
