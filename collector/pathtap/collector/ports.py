"""The addresses that a collector listens on: for people with tokens, for agents, for people with client certificates.

Each has a server of its own, because gRPC's limits are a server's, and it cannot ask for a certificate optionally. Where agents
have no address of their own, they come to that of the people, whose requests may then be as large as a node's rules.
"""

import asyncio
import logging
import socket
from collections.abc import Callable

import grpc
import grpc.aio

from pathtap.collector.access.client_authority import ClientAuthority
from pathtap.collector.access.decoding import Decoding
from pathtap.collector.access.desk import LONGEST_REQUEST
from pathtap.collector.access.doorkeeper import Doorkeeper
from pathtap.collector.access.gate import ClusterGate, Gate
from pathtap.collector.access.tls import CertificateError, KeyPair, credentials
from pathtap.collector.bounds import Connections
from pathtap.collector.cluster.api import Api
from pathtap.collector.config import ConfigError, Settings
from pathtap.collector.intake import Intake
from pathtap.collector.server import TraceServer
from pathtap.v1 import agent_pb2_grpc, service_pb2_grpc

log = logging.getLogger(__name__)

Options = tuple[tuple[str, int], ...]

# An agent pings every 13 s; a server that allowed less would end its stream (docs/wire.md). What comes from it puts the server's
# own ping off, so that these are for peers that do not ping, or are gone.
ALIVE: Options = (
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 15_000),
    ("grpc.keepalive_timeout_ms", 4_000),
    ("grpc.http2.ping_timeout_ms", 4_000),
    ("grpc.so_reuseport", 0),
)
# What strangers may take of a connection: calls, seconds until TLS must be spoken and without a call, headers.
BOUNDED: Options = (
    ("grpc.max_concurrent_streams", 100),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 60_000),
    ("grpc.max_metadata_size", 32 << 10),
    ("grpc.absolute_max_metadata_size", 48 << 10),
)
# A node's rules may be large (docs/wire.md).
CHANNEL_OPTIONS: Options = (*ALIVE, *BOUNDED, ("grpc.max_receive_message_length", 64 << 20))
PEOPLE_OPTIONS: Options = (*ALIVE, *BOUNDED, ("grpc.max_receive_message_length", LONGEST_REQUEST))
# A client authority that is taken away holds for an hour at most, and no trace is cut off by that.
CERTIFICATE_OPTIONS: Options = (
    *PEOPLE_OPTIONS,
    ("grpc.max_connection_age_ms", 3_600_000),
    ("grpc.max_connection_age_grace_ms", 660_000),
)
EVERY_CONNECTION = Connections()


class Ports:
    """`open`, then `run` until it is cancelled, then `close`."""

    def __init__(
        self, settings: Settings, gate: Gate, intake: Intake, tracer: TraceServer, most: Connections = EVERY_CONNECTION
    ) -> None:
        """Raises ConfigError where the certificate cannot be used."""
        self._settings = settings
        self._most = most
        self._tracer = tracer
        self._pair = _pair_of(settings)
        inner = Decoding()
        guards = [Doorkeeper(gate), inner] if isinstance(gate, ClusterGate) else [inner]
        own = settings.listen_agents
        if own:
            people = grpc.aio.server(options=_at_most(most.people, PEOPLE_OPTIONS), interceptors=guards)
            agents = grpc.aio.server(options=_at_most(most.agents, CHANNEL_OPTIONS), interceptors=guards)
        else:
            shared = _at_most(most.people + most.agents, CHANNEL_OPTIONS)
            people = agents = grpc.aio.server(options=shared, interceptors=guards)
        service_pb2_grpc.add_TraceServiceServicer_to_server(tracer, people)
        agent_pb2_grpc.add_IntakeServiceServicer_to_server(intake, agents)
        self._servers = {settings.listen: people} | ({own: agents} if own else {})

    async def open(self) -> None:
        """Raises ConfigError where an address is not to be had."""
        for listen, server in self._servers.items():
            if listen.startswith("unix:") and _somebody_listens(listen.removeprefix("unix:")):
                raise ConfigError(f"cannot listen on {listen}: another collector is there")
            _bind(server, listen, self._pair, None)
            await server.start()
            log.info("listening on %s", listen)

    async def run(self, api: Api) -> None:
        """The port for client certificates, as soon as it is known who signs them. Raises ConfigError, as `open`."""
        authority = ClientAuthority(api)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(authority.run())
            await authority.known.wait()
            options = _at_most(self._most.certificates, CERTIFICATE_OPTIONS)
            server = grpc.aio.server(options=options, interceptors=[Decoding()])
            service_pb2_grpc.add_TraceServiceServicer_to_server(self._tracer, server)
            self._servers[self._settings.listen_certificates] = server
            _bind(server, self._settings.listen_certificates, self._pair, lambda: authority.pem)
            await server.start()
            log.info("listening on %s for client certificates", self._settings.listen_certificates)

    async def close(self, grace: float) -> None:
        """`grace` is what calls that run are given, in seconds."""
        await asyncio.gather(*(each.stop(grace) for each in self._servers.values()))


def _at_most(connections: int, options: Options) -> Options:
    return (*options, ("grpc.max_allowed_incoming_connections", connections))


def _bind(server: grpc.aio.Server, listen: str, pair: KeyPair | None, clients: Callable[[], bytes] | None) -> None:
    try:
        if pair is None:
            server.add_insecure_port(listen)
        else:
            server.add_secure_port(listen, credentials(pair, clients))
    except RuntimeError as error:
        raise ConfigError(f"cannot listen on {listen}: is another collector there?") from error


def _pair_of(settings: Settings) -> KeyPair | None:
    if settings.insecure or settings.tls_certificate is None or settings.tls_key is None:
        return None
    try:
        return KeyPair(settings.tls_certificate, settings.tls_key)
    except CertificateError as error:
        raise ConfigError(str(error)) from error


def _somebody_listens(path: str) -> bool:
    """gRPC would take the socket of a running server away from it without a word."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0
