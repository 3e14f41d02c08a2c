"""From the options to an open, verified gRPC channel, or to a sentence.

Plaintext on unix sockets and where asked for, TLS otherwise; a token is sent with calls on a channel that is TLS, after the
server's certificate was verified. The way into a cluster is imported where it is taken.
"""

import os
import queue
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import click
import grpc

from pathtap.cli.address import Address, choose
from pathtap.cli.errors import CommandError
from pathtap.cli.options import Settings
from pathtap.cli.transport import Transport
from pathtap.v1 import service_pb2, service_pb2_grpc

READY_SECONDS = 3.0
# Of each answer on the way through an API server, which may be far away; and of the whole way for a completion.
CLUSTER_SECONDS = 10.0
_OPTIONS = (
    ("grpc.max_receive_message_length", 64 << 20),
    # A collector is reached through a port-forward or inside the cluster; an http_proxy of the laptop leads elsewhere.
    ("grpc.enable_http_proxy", 0),
    # Also the time that one attempt to connect may take, 20 s unless told.
    ("grpc.min_reconnect_backoff_ms", int(READY_SECONDS * 1000)),
    # A collector that is black-holed or stopped is noticed within 18 s, as by an agent (docs/wire.md), however long the trace.
    ("grpc.keepalive_time_ms", 13_000),
    ("grpc.keepalive_timeout_ms", 4_000),
    ("grpc.http2.ping_timeout_ms", 4_000),
    ("grpc.http2.max_pings_without_data", 0),
)
# OpenSSL's words for a certificate that leads to no root, or whose root of that name is another one.
_UNTRUSTED = ("certificate_verify_failed", "certificate signature failure")


Opened = tuple[grpc.Channel, Transport]


def opened(chosen: Settings, seconds: float | None = None, *, quiet: bool = False) -> AbstractContextManager[Opened]:
    """A channel to a collector that answered within `seconds`, and the way it goes. CommandError names what did not.

    What may ask a person for something, an exec plugin, is run by the call; the rest happens when the context is entered.
    `quiet` keeps the plugin from asking, and from taking long.
    """
    address = direct(chosen)
    if address is not None:
        return _opened(nullcontext(_addressed(address, chosen)), seconds)
    from pathtap.cli.cluster import place, tunnel
    from pathtap.cli.cluster.values import Terminal

    patience = seconds or CLUSTER_SECONDS
    terminal = Terminal(
        interactive=not quiet and sys.stdin is not None and sys.stdin.isatty(),
        quiet=quiet,
        patience=patience if quiet else None,
    )
    where = place.Where(file=chosen.kubeconfig, context=chosen.context, environment=os.environ, home=Path.home())
    return _opened(tunnel.reached(place.find(where, chosen.pathtap_namespace, terminal), patience), seconds)


@contextmanager
def _opened(transport: AbstractContextManager[Transport], seconds: float | None) -> Iterator[Opened]:
    with transport as way, _channel(way) as channel:
        # Watching a channel costs 0.2 s when it is closed, and a unix socket has told all that can be told of it.
        if not way.target.startswith("unix:"):
            _wait(channel, way, seconds or (CLUSTER_SECONDS if way.forwarded else READY_SECONDS))
        yield channel, way


def direct(chosen: Settings) -> Address | None:
    """The collector's address where the way does not lead through a cluster's API server."""
    return choose(chosen.collector, lab=not (chosen.kubectl or chosen.kubeconfig or chosen.context))


def _addressed(address: Address, chosen: Settings) -> Transport:
    plaintext = chosen.insecure or address.socket_path is not None
    if plaintext and (chosen.token_file or chosen.tls_server_name):
        given = "--token-file" if chosen.token_file else "--tls-server-name"
        raise click.UsageError(f"{given} needs TLS: a unix: address and --insecure are plaintext.")
    if address.socket_path is not None:
        _try_socket(address.socket_path)
    token = ""
    if chosen.token_file is not None:
        from pathtap.cli.cluster.tokens import token_file

        token = token_file(chosen.token_file, "--token-file")
    return Transport(
        target=address.target,
        called=address.target,
        plaintext=plaintext,
        roots=_roots(chosen.tls_ca) if not plaintext else None,
        server_name=chosen.tls_server_name,
        token=token,
    )


def _roots(tls_ca: Path | None) -> bytes | None:
    try:
        return tls_ca.read_bytes() if tls_ca is not None else None
    except OSError as error:
        raise CommandError(f"--tls-ca {tls_ca} cannot be read: {error.strerror}.") from error


def _channel(way: Transport) -> grpc.Channel:
    if way.plaintext:
        return grpc.insecure_channel(way.target, options=_OPTIONS)
    named = (("grpc.ssl_target_name_override", way.server_name),) if way.server_name else ()
    credentials = grpc.ssl_channel_credentials(way.roots, way.key or None, way.certificate or None)
    if way.token:
        credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(way.token))
    return grpc.secure_channel(way.target, credentials, options=(*_OPTIONS, *named))


def _try_socket(path: Path) -> None:
    """gRPC retries where a socket file is absent or closed to us; the kernel's answer is known at once."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(READY_SECONDS)
            probe.connect(str(path.absolute()))
    except PermissionError as error:
        raise CommandError(f"No permission to reach the collector at unix:{path}. Try sudo.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise CommandError(f"No collector answers at unix:{path}: {reason}. Is it running?") from error


def _wait(channel: grpc.Channel, way: Transport, seconds: float) -> None:
    """Returns once the channel is ready; a refused connection ends the wait at once, a silent one after `seconds`."""
    states: queue.SimpleQueue[grpc.ChannelConnectivity] = queue.SimpleQueue()
    keep = states.put
    channel.subscribe(keep, try_to_connect=True)
    deadline = time.monotonic() + seconds
    failed = f"No collector answers at {way.called}"
    try:
        while (state := states.get(timeout=max(0.0, deadline - time.monotonic()))) != grpc.ChannelConnectivity.READY:
            if state in (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN):
                raise CommandError(f"{failed}: {_why(channel, way)}")
    except queue.Empty:
        hint = way.trouble() or _hint(way, "is the address right")
        raise CommandError(f"{failed} within {seconds:g} s; {hint}") from None
    finally:
        channel.unsubscribe(keep)


def _why(channel: grpc.Channel, way: Transport) -> str:
    """Why connecting failed: what gRPC says of certificates to a call that finds no connection, else what the way itself says,
    which also is that the other end hung up after that."""
    if way.plaintext:
        return "the connection failed; is it running?"
    try:
        service_pb2_grpc.TraceServiceStub(channel).ListNames(service_pb2.ListNamesRequest(), timeout=READY_SECONDS)
        said = ""
    except grpc.RpcError as error:
        said = (error.details() or "").lower()
    if "hostname verification" in said or "peer name" in said:
        name = way.server_name or way.target.rpartition(":")[0]
        return f"its certificate is not one of {name}. Nothing was sent to it."
    if any(each in said for each in _UNTRUSTED):
        trusted = "by the ConfigMap that the cluster has" if way.forwarded else "here"
        return f"its certificate is signed by nobody who is trusted {trusted}. Nothing was sent to it."
    return way.trouble() or f"the connection failed; {_hint(way, 'is it running')}"


def _hint(way: Transport, question: str) -> str:
    if way.plaintext:
        return f"{question}?"
    return "its log says more." if way.forwarded else f"{question}, and does it speak TLS? (else --insecure)"
