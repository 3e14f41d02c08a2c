"""The options that every command takes, before and after the subcommand; the later one wins. Knows no commands."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click
from click.core import ParameterSource

from pathtap.cli.calling import KUBECTL_NAME, as_called

Color = Literal["auto", "always", "never"]
PATHTAP_NAMESPACE = "pathtap"
_META = "pathtap.options"
_FROM_ENVIRONMENT = "pathtap.from_environment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The global options as given; strings are empty where none was. `kubectl` is set where the command is its plugin."""

    collector: str = ""
    kubeconfig: Path | None = None
    context: str = ""
    namespace: str = ""
    color: Color = "auto"
    insecure: bool = False
    tls_ca: Path | None = None
    tls_server_name: str = ""
    token_file: Path | None = None
    pathtap_namespace: str = PATHTAP_NAMESPACE
    kubectl: bool = False


def settings(context: click.Context) -> Settings:
    """A cluster named by a flag wins over a collector that the environment names: what a person typed is what is asked."""
    root = context.find_root()
    given = dict(root.meta.get(_META, {}))
    if root.meta.get(_FROM_ENVIRONMENT) and (given.get("context") or given.get("kubeconfig")):
        given.pop("collector", None)
    return Settings(**given, kubectl=root.info_name == KUBECTL_NAME)


class GlobalOption(click.Option):
    """Keeps what it was given with the root context, where `settings` finds it, and out of the command's arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, expose_value=False, callback=self._keep, **kwargs)

    @staticmethod
    def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
        if value and parameter.name:
            meta = context.find_root().meta
            meta.setdefault(_META, {})[parameter.name] = value
            if parameter.name == "collector":
                meta[_FROM_ENVIRONMENT] = context.get_parameter_source("collector") is ParameterSource.ENVIRONMENT


def global_options(*, root: bool = False) -> list[click.Parameter]:
    """A fresh set for one command. Only the root's reads the environment: a flag given there wins over the variable."""
    existing = click.Path(path_type=Path)
    return [
        GlobalOption(
            ["-n", "--namespace"],
            metavar="NAME",
            help="The namespace of bare names; else the context's.",
            shell_complete=_later("complete_namespaces"),
        ),
        GlobalOption(["--kubeconfig"], type=existing, metavar="FILE", help="Find the collector in its cluster."),
        GlobalOption(
            ["--context"],
            metavar="NAME",
            help="The kubeconfig context to use.",
            shell_complete=_later("complete_contexts"),
        ),
        GlobalOption(["--pathtap-namespace"], metavar="NAME", type=_Label(), help="Where it is installed (pathtap)."),
        GlobalOption(
            ["--collector"],
            metavar="ADDRESS",
            envvar="PATHTAP_COLLECTOR" if root else None,
            help="Not through a cluster: HOST:PORT or unix:PATH. [env: PATHTAP_COLLECTOR]",
        ),
        GlobalOption(["--insecure"], is_flag=True, help="No TLS to --collector. Implied by a unix: address."),
        GlobalOption(["--tls-ca"], type=existing, metavar="FILE", help="Trust these CA certificates (PEM) only."),
        GlobalOption(["--tls-server-name"], metavar="NAME", help="The name in the certificate of --collector."),
        GlobalOption(["--token-file"], type=existing, metavar="FILE", help="Show --collector this token."),
        GlobalOption(
            ["--color"],
            type=click.Choice(["auto", "always", "never"]),
            help="Colours; auto: on a terminal, unless NO_COLOR is set or TERM=dumb.",
        ),
    ]


class _Label(click.ParamType[str]):
    """A namespace's name: it becomes part of a path and of a certificate's name (RFC 1123)."""

    name = "label"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", str(value)):
            self.fail(f"{value} is no namespace: lower-case letters, digits and - are.", param, ctx)
        return str(value)


def _later(name: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """A completion of pathtap.cli.completion, which needs these options itself."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        from pathtap.cli import completion

        found: list[str] = getattr(completion, name)(context, parameter, incomplete)
        return found

    return complete


class Command(click.Command):
    """A click command that also takes the global options, and lists them apart in its help."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(global_options())

    def get_help(self, ctx: click.Context) -> str:
        return as_called(super().get_help(ctx), ctx.find_root().info_name or "")

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
