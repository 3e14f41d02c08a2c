"""`pathtap-collector`: the only place here that reads flags, clock and signals."""

import asyncio
import logging
import secrets
import signal
import socket
import sys
import time
from pathlib import Path

import click
import grpc
import grpc.aio

from pathtap.collector.agents import Agents
from pathtap.collector.cluster.inventory_file import InventoryFile, InventoryFileError
from pathtap.collector.config import ConfigError, Settings
from pathtap.collector.intake import Intake
from pathtap.collector.server import TraceServer
from pathtap.model.printable import log_to
from pathtap.v1 import agent_pb2_grpc, service_pb2_grpc

log = logging.getLogger("pathtap.collector")

# An agent pings every 10 s; a server that allowed less would end its stream (docs/wire.md).
CHANNEL_OPTIONS = (
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.so_reuseport", 0),
)
GRACE = 1.0


async def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises InventoryFileError or ConfigError before it listens."""
    inventory = InventoryFile(settings.inventory)
    agents = Agents(time.time_ns)
    server = grpc.aio.server(options=CHANNEL_OPTIONS)
    agent_pb2_grpc.add_IntakeServiceServicer_to_server(Intake(agents), server)
    tracer = TraceServer(agents, inventory.current, time.time_ns, lambda: secrets.token_hex(6))
    service_pb2_grpc.add_TraceServiceServicer_to_server(tracer, server)
    _listen(server, settings)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await server.start()
    log.info("listening on %s", settings.listen)
    await stopped.wait()
    log.info("stopping")
    # Agents are let go first: a trace that still runs ends at once, with what it has, instead of being cut off.
    agents.dismiss()
    await server.stop(GRACE)


def _listen(server: grpc.aio.Server, settings: Settings) -> None:
    if settings.listen.startswith("unix:") and _somebody_listens(settings.listen.removeprefix("unix:")):
        raise ConfigError(f"cannot listen on {settings.listen}: another collector is there")
    try:
        if settings.insecure:
            server.add_insecure_port(settings.listen)
        else:
            server.add_secure_port(settings.listen, grpc.ssl_server_credentials([_key_pair(settings)]))
    except RuntimeError as error:
        raise ConfigError(f"cannot listen on {settings.listen}: is another collector there?") from error


def _somebody_listens(path: str) -> bool:
    """gRPC would take the socket of a running server away from it without a word."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def _key_pair(settings: Settings) -> tuple[bytes, bytes]:
    assert settings.tls_key is not None and settings.tls_certificate is not None  # noqa: S101, PT018 - Settings saw to it
    try:
        return settings.tls_key.read_bytes(), settings.tls_certificate.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {error.filename}: {error.strerror}") from error


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--listen", required=True, metavar="ADDRESS", help="HOST:PORT or unix:PATH.")
@click.option(
    "--inventory",
    required=True,
    type=click.Path(path_type=Path),
    help="What `kubectl get nodes,pods,services,endpoints -A -o json` prints; read again when it changes.",
)
@click.option("--insecure", is_flag=True, help="No TLS and no authentication.")
@click.option("--tls-cert", "tls_certificate", type=click.Path(path_type=Path), help="The server's certificate, PEM.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key, PEM.")
@click.version_option(package_name="pathtap")
def command(listen: str, inventory: Path, insecure: bool, tls_certificate: Path | None, tls_key: Path | None) -> None:
    """Join what pathtap's agents see into traces, and answer `pathtap`."""
    log_to(sys.stderr, logging.INFO, "%(asctime)s %(levelname)s %(message)s")
    try:
        settings = Settings(
            listen=listen, inventory=inventory, insecure=insecure, tls_certificate=tls_certificate, tls_key=tls_key
        )
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    try:
        asyncio.run(serve(settings))
    except (ConfigError, InventoryFileError) as error:
        raise click.ClickException(str(error)) from error
