"""What the command line says when it cannot answer. Knows no gRPC and no terminal.

Exit codes: 1 runtime error, 2 usage (click.UsageError), 130 interrupted; those of a verdict are in exit_codes.
"""

import click


class CommandError(click.ClickException):
    """A runtime error as a sentence a person can act on; exit code 1."""

    exit_code = 1


class WrongRequest(click.ClickException):
    """What was asked makes no sense to the collector (an ambiguous name …); exit code 2 and its sentence alone."""

    exit_code = 2
