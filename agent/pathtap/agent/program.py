"""The command `pathtap-agent`: settings in, exit codes out (0 stopped, 1 runtime error, 2 usage). Decides nothing else."""

import asyncio
import os
import secrets
import sys
from pathlib import Path

import click

from pathtap.agent.config import (
    LIMITS,
    SPOOL_BYTES,
    WORKER_IDLE,
    Limits,
    Settings,
    SettingsError,
    missing_capabilities,
    settings,
)

LEVELS = ("debug", "info", "warning", "error")
# In seconds. gRPC's threads wake by themselves some ten times a second and find nothing to do; this halves what an agent costs
# while nobody traces (docs/benchmarks.md), and only what it waits for anyway comes later: a ping, a dial, the worker's end.
TIMER_SLACK = 0.2


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--collector",
    metavar="ADDRESS",
    envvar="PATHTAP_COLLECTOR",
    required=True,
    help="The collector to dial: HOST:PORT or unix:PATH.",
)
@click.option(
    "--node",
    metavar="NAME",
    envvar=["PATHTAP_NODE", "NODE_NAME"],
    required=True,
    help="This node's name in the cluster.",
)
@click.option("--insecure", is_flag=True, envvar="PATHTAP_INSECURE", help="No TLS and no authentication.")
@click.option(
    "--tls-ca",
    metavar="FILE",
    envvar="PATHTAP_TLS_CA",
    type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path),
    help="Certificates, PEM, that may sign the collector's; read again for each connection.",
)
@click.option(
    "--tls-server-name",
    metavar="NAME",
    envvar="PATHTAP_TLS_SERVER_NAME",
    default="",
    help="The name in the collector's certificate, where it is not the address's host.",
)
@click.option(
    "--token-file",
    metavar="FILE",
    envvar="PATHTAP_TOKEN_FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The service account's token to show the collector; read again for each connection.",
)
@click.option(
    "--health-port",
    metavar="PORT",
    envvar="PATHTAP_HEALTH_PORT",
    type=click.IntRange(0, 65_535),
    default=9470,
    show_default=True,
    help="Where /healthz is served on loopback; 0 for nowhere.",
)
@click.option(
    "--cni-config",
    metavar="DIRECTORY",
    envvar="PATHTAP_CNI_CONFIG",
    type=click.Path(path_type=Path),
    default=None,
    help="Where the container runtime's CNI configuration is; /etc/cni/net.d, where there is one, unless said otherwise.",
)
@click.option(
    "--spool-bytes",
    metavar="BYTES",
    envvar="PATHTAP_SPOOL_BYTES",
    type=click.IntRange(1 << 20, 1 << 34),
    default=SPOOL_BYTES,
    show_default=True,
    help="How many bytes of packets may wait to be sent; what comes beyond is counted.",
)
@click.option(
    "--worker-idle",
    metavar="SECONDS",
    envvar="PATHTAP_WORKER_IDLE",
    type=click.FloatRange(0.1, 86_400),
    default=WORKER_IDLE,
    show_default=True,
    help="How long the process that reads and captures stays after its last command.",
)
@click.option(
    "--max-packets",
    metavar="COUNT",
    envvar="PATHTAP_MAX_PACKETS",
    type=click.IntRange(1, 1 << 32),
    default=LIMITS.packets,
    show_default=True,
    help="How many packets one capture may take; what comes beyond is counted.",
)
@click.option(
    "--max-bytes",
    metavar="BYTES",
    envvar="PATHTAP_MAX_BYTES",
    type=click.IntRange(80, 1 << 40),
    default=LIMITS.bytes,
    show_default=True,
    help="The same in bytes, of which each packet takes 80.",
)
@click.option(
    "--max-seconds",
    metavar="SECONDS",
    envvar="PATHTAP_MAX_SECONDS",
    type=click.FloatRange(0.1, 86_400),
    default=LIMITS.seconds,
    show_default=True,
    help="When a capture that nobody ends is ended.",
)
@click.option(
    "--max-captures",
    metavar="COUNT",
    envvar="PATHTAP_MAX_CAPTURES",
    type=click.IntRange(1, 1000),
    default=LIMITS.captures,
    show_default=True,
    help="How many captures there may be at once; one more is refused.",
)
@click.option("--log-level", envvar="PATHTAP_LOG_LEVEL", type=click.Choice(LEVELS), default="info", show_default=True)
@click.version_option(package_name="pathtap")
def main(
    log_level: str, max_packets: int, max_bytes: int, max_seconds: float, max_captures: int, **options: object
) -> None:
    """Read this node's forwarding state and packet headers for a pathtap collector. Runs until it is told to stop."""
    try:
        limits = Limits(packets=max_packets, bytes=max_bytes, seconds=max_seconds, captures=max_captures)
        chosen = settings(**options, limits=limits)  # type: ignore[arg-type]  # click's options are the function's parameters
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    if missing := missing_capabilities(Path("/proc/self/status").read_text()):
        raise click.ClickException(
            f"The agent reads rules and captures packets, which needs {' and '.join(missing)}: run it as root, or in "
            "a container with these capabilities."
        )
    _log_to_stderr(log_level)
    _run(chosen)


def _run(chosen: Settings) -> None:
    # Here and not above: --help and refusals need not wait for gRPC.
    from pathtap.agent.daemon import Daemon
    from pathtap.agent.launch import launch, worker_command
    from pathtap.agent.prctl import set_timer_slack
    from pathtap.model.printable import escape

    boot_id = secrets.token_hex(8)
    try:
        set_timer_slack(TIMER_SLACK)
        command = worker_command(chosen, boot_id)
        asyncio.run(Daemon(chosen, boot_id, lambda: launch(command)).run())
    except OSError as error:
        raise click.ClickException(escape(str(error))) from None


def _log_to_stderr(level: str) -> None:
    from pathtap.agent.launch import LOG_FORMAT
    from pathtap.model.printable import log_to

    # The C core's own lines tell nothing that the session does not say better.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    log_to(sys.stderr, level.upper(), LOG_FORMAT)
