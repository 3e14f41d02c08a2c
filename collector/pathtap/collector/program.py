"""`pathtap-collector`: the only place here that reads flags, clock and signals."""

import asyncio
import logging
import secrets
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import click

from pathtap.collector import monitor
from pathtap.collector.access.bundle import Bundle
from pathtap.collector.access.desk import Desk
from pathtap.collector.access.gate import ClusterGate, Gate, OpenGate
from pathtap.collector.access.reviews import Reviews
from pathtap.collector.agents import Agents
from pathtap.collector.bounds import Connections, allotted, one_arena
from pathtap.collector.cluster.api import Api, ApiError, connect
from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.inventory_file import InventoryFile, InventoryFileError
from pathtap.collector.cluster.live_inventory import LiveInventory
from pathtap.collector.config import AGENTS, MAX_AGENTS, NAMESPACE, ConfigError, Settings
from pathtap.collector.intake import Intake
from pathtap.collector.ports import Ports
from pathtap.collector.server import TraceServer
from pathtap.model.printable import escape, log_to

log = logging.getLogger("pathtap.collector")

# What runs beside the server until it stops.
Background = list[Callable[[], Coroutine[Any, Any, None]]]

# In seconds: a trace that ends now still asks its agents for 0.8 s at most, and is then put together.
GRACE = 3.0
# What a person can act on, in its own words.
SENTENCES = (ConfigError, InventoryFileError, ApiError)


async def serve(settings: Settings, most: Connections) -> None:
    """Serves until SIGTERM or SIGINT. Raises ApiError, InventoryFileError or ConfigError before it listens."""
    api = await connect(settings.kubeconfig, settings.context) if settings.has_cluster else None
    inventory, background = _inventory(settings, api)
    gate = _gate(settings, api)
    agents = Agents(time.time_ns)
    tracer = TraceServer(agents, inventory, time.time_ns, lambda: secrets.token_hex(6), Desk(gate))
    ports = Ports(settings, gate, Intake(agents, gate), tracer, most)
    if api is not None and settings.listen_certificates:
        background.append(partial(ports.run, api))
    if api is not None and settings.authenticates and settings.tls_ca is not None:
        background.append(Bundle(api, settings.tls_ca, settings.namespace, time.time).run)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    metrics = None
    try:
        await ports.open()
        if settings.metrics:
            metrics = await monitor.serve(settings.metrics, lambda: monitor.figures(agents, inventory))
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(each()) for each in background]
            await stopped.wait()
            log.info("stopping")
            for task in running:
                task.cancel()
    finally:
        # Agents are let go first: a trace that still runs ends at once, with what it has, instead of being cut off.
        agents.dismiss()
        await ports.close(GRACE)
        if metrics is not None:
            metrics.close()
        if api is not None:
            await api.close()


def _inventory(settings: Settings, api: Api | None) -> tuple[Callable[[], Inventory], Background]:
    """What gives the present inventory, and what keeps it."""
    if api is not None:
        live = LiveInventory(api, time.time_ns)
        return live.current, [live.run]
    assert settings.inventory is not None  # noqa: S101 - Settings saw to it
    return InventoryFile(settings.inventory).current, []


def _gate(settings: Settings, api: Api | None) -> Gate:
    if api is not None and settings.authenticates:
        return ClusterGate(Reviews(api, time.time), settings.agents, time.time)
    why = "--insecure" if settings.insecure else "an inventory from a file, and no cluster to ask"
    log.warning("nobody has to show who they are (%s): whoever reaches %s may trace everything", why, settings.listen)
    return OpenGate()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--listen", required=True, metavar="ADDRESS", help="HOST:PORT or unix:PATH.")
@click.option("--listen-agents", default="", metavar="ADDRESS", help="The same, for agents alone; else they share it.")
@click.option("--listen-certificates", default="", metavar="ADDRESS", help="The same, for who shows a certificate.")
@click.option(
    "--metrics",
    default="",
    metavar="HOST:PORT",
    help="Where /healthz and /metrics are served, without TLS; nowhere otherwise.",
)
@click.option(
    "--inventory",
    type=click.Path(path_type=Path),
    help="What `kubectl get nodes,pods,services,endpoints -A -o json` prints; read again when it changes.",
)
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="The cluster to follow, from outside of it.")
@click.option("--context", default="", metavar="NAME", help="Of the kubeconfig; its current one unless said otherwise.")
@click.option("--in-cluster", is_flag=True, help="Follow the cluster that this runs in, as its pod's service account.")
@click.option("--insecure", is_flag=True, help="No TLS and no authentication.")
@click.option(
    "--tls-cert",
    "tls_certificate",
    type=click.Path(path_type=Path),
    help="The server's certificate, PEM; read again when it changes.",
)
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key, PEM.")
@click.option(
    "--tls-ca", type=click.Path(path_type=Path), help="What has signed it, PEM: told in the ConfigMap pathtap-ca."
)
@click.option("--namespace", default=NAMESPACE, show_default=True, help="Where that ConfigMap is.")
@click.option(
    "--agents",
    default=f"{NAMESPACE}/{AGENTS}",
    show_default=True,
    metavar="NAMESPACE/NAME",
    help="The service account that agents run as.",
)
@click.option(
    "--max-agents",
    type=click.IntRange(1, 100_000),
    default=MAX_AGENTS,
    show_default=True,
    help="Connections of agents at once: no fewer than there are nodes.",
)
@click.version_option(package_name="pathtap")
def command(**options: Any) -> None:
    """Join what pathtap's agents see into traces, and answer `pathtap`."""
    log_to(sys.stderr, logging.INFO, "%(asctime)s %(levelname)s %(message)s")
    # The requests to the API server are thousands, and say nothing.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = Settings(**options)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    one_arena()
    try:
        asyncio.run(serve(settings, allotted(Connections(agents=settings.max_agents))))
    except SENTENCES as error:
        raise click.ClickException(escape(str(error))) from error
    except ExceptionGroup as group:
        known, others = group.split(SENTENCES)
        if known is None or others is not None:
            raise
        raise click.ClickException(escape(str(_first(known)))) from group


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """Tasks of tasks tell what happened in groups of groups."""
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
