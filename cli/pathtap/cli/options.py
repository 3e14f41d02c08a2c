"""The options that every command takes, before and after the subcommand; the later one wins. Knows no commands."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

Color = Literal["auto", "always", "never"]
_META = "pathtap.options"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The global options as given. `collector` and `namespace` are empty where none was."""

    collector: str = ""
    kubeconfig: Path | None = None
    context: str = ""
    namespace: str = ""
    color: Color = "auto"
    insecure: bool = False
    tls_ca: Path | None = None


def settings(context: click.Context) -> Settings:
    return Settings(**context.find_root().meta.get(_META, {}))


class GlobalOption(click.Option):
    """Keeps what it was given with the root context, where `settings` finds it, and out of the command's arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, expose_value=False, callback=self._keep, **kwargs)

    @staticmethod
    def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
        if value and parameter.name:
            context.find_root().meta.setdefault(_META, {})[parameter.name] = value


def global_options(*, root: bool = False) -> list[click.Parameter]:
    """A fresh set for one command. Only the root's reads the environment: a flag given there wins over the variable."""
    existing = click.Path(path_type=Path)
    return [
        GlobalOption(
            ["--collector"],
            metavar="ADDRESS",
            envvar="PATHTAP_COLLECTOR" if root else None,
            help="The collector: HOST:PORT or unix:PATH. [env: PATHTAP_COLLECTOR]",
        ),
        GlobalOption(["--insecure"], is_flag=True, help="No TLS. Implied by a unix: address."),
        GlobalOption(["--tls-ca"], type=existing, metavar="FILE", help="Trust these CA certificates (PEM) only."),
        GlobalOption(["-n", "--namespace"], metavar="NAME", help="The namespace of bare names."),
        GlobalOption(
            ["--kubeconfig"], type=existing, metavar="FILE", help="Without -n, its context's namespace is used."
        ),
        GlobalOption(["--context"], metavar="NAME", help="The kubeconfig context to take it from."),
        GlobalOption(
            ["--color"],
            type=click.Choice(["auto", "always", "never"]),
            help="Colours; auto: on a terminal, unless NO_COLOR is set or TERM=dumb.",
        ),
    ]


class Command(click.Command):
    """A click command that also takes the global options, and lists them apart in its help."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(global_options())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own: list[tuple[str, str]] = []
        everywhere: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                (everywhere if isinstance(parameter, GlobalOption) else own).append(record)
        for title, records in (("Options", own), ("Global options", everywhere)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
