"""Speaks pathtap.v1.TraceService to a collector, and turns every failure into a sentence and an exit code.

Knows no command line and no terminal. Plaintext on unix sockets and where asked for, TLS otherwise.
"""

import queue
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click
import grpc

from pathtap.cli.address import Address, choose
from pathtap.cli.errors import CommandError, WrongRequest
from pathtap.cli.options import Settings
from pathtap.v1 import service_pb2, service_pb2_grpc, snat_pb2, trace_pb2

READY_SECONDS = 3.0
# What a collector may take beyond the time-out it was given: resolving, reading the nodes, joining.
SLACK_SECONDS = 15.0
# The same for `snat`, which reads the node's whole connection tracking before and after.
SNAT_SLACK_SECONDS = 40.0
# As many are opened a second, for a collector that asks for no other rate (pathtap.model.request.OpenConnections).
CONNECTIONS_A_SECOND = 400
UNARY_SECONDS = 10.0
# Hundreds of nodes, read a few at a time.
CHECK_SECONDS = 120.0
_OPTIONS = (
    ("grpc.max_receive_message_length", 64 << 20),
    # A collector is reached through a port-forward or inside the cluster; an http_proxy of the laptop leads elsewhere.
    ("grpc.enable_http_proxy", 0),
    # Also the time that one attempt to connect may take, 20 s unless told.
    ("grpc.min_reconnect_backoff_ms", int(READY_SECONDS * 1000)),
)

Progress = Callable[[str], None]
Response = TypeVar(
    "Response",
    service_pb2.TraceResponse,
    service_pb2.ListFlowsResponse,
    service_pb2.CheckResponse,
    service_pb2.SnatResponse,
)


class Collector:
    """An open channel to one collector. Its methods raise CommandError or WrongRequest."""

    def __init__(self, channel: grpc.Channel, address: str) -> None:
        self._stub = service_pb2_grpc.TraceServiceStub(channel)
        self._address = address

    def trace(self, request: service_pb2.TraceRequest, progress: Progress) -> trace_pb2.Trace:
        deadline = request.timeout_ms / 1000 * max(1, request.count) + SLACK_SECONDS
        with self._sentences():
            return _last(self._stub.Trace(request, timeout=deadline), "trace", progress).trace

    def explain(self, request: service_pb2.TraceRequest, progress: Progress) -> trace_pb2.Trace:
        with self._sentences():
            return _last(self._stub.Explain(request, timeout=SLACK_SECONDS), "trace", progress).trace

    def flows(self, request: service_pb2.ListFlowsRequest, progress: Progress) -> trace_pb2.Flows:
        deadline = request.timeout_ms / 1000 + SLACK_SECONDS
        with self._sentences():
            return _last(self._stub.ListFlows(request, timeout=deadline), "flows", progress).flows

    def check(self, request: service_pb2.CheckRequest, progress: Progress) -> trace_pb2.Check:
        with self._sentences():
            return _last(self._stub.Check(request, timeout=CHECK_SECONDS), "check", progress).check

    def snat(self, request: service_pb2.SnatRequest, progress: Progress) -> snat_pb2.Snat:
        opening = request.connections / CONNECTIONS_A_SECOND
        deadline = request.timeout_ms / 1000 + opening + SNAT_SLACK_SECONDS
        with self._sentences():
            return _last(self._stub.Snat(request, timeout=deadline), "snat", progress).snat

    def snat_table(self, request: service_pb2.SnatRequest, progress: Progress) -> snat_pb2.SnatTable:
        with self._sentences():
            return _last(self._stub.Snat(request, timeout=CHECK_SECONDS), "table", progress).table

    def nodes(self, seconds: float = UNARY_SECONDS) -> service_pb2.ListNodesResponse:
        with self._sentences():
            return self._stub.ListNodes(service_pb2.ListNodesRequest(), timeout=seconds)

    def names(self, prefix: str, seconds: float) -> list[str]:
        with self._sentences():
            return list(self._stub.ListNames(service_pb2.ListNamesRequest(prefix=prefix), timeout=seconds).names)

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise sentence(error.code(), error.details() or "", self._address) from error


def sentence(code: grpc.StatusCode, details: str, address: str) -> click.ClickException:
    """A status as what to print. Statuses that the collector chose carry their own sentence; the rest get one."""
    said = details or code.name.lower().replace("_", " ")
    match code:
        case grpc.StatusCode.INVALID_ARGUMENT:
            return WrongRequest(said)
        case grpc.StatusCode.NOT_FOUND | grpc.StatusCode.FAILED_PRECONDITION:
            return CommandError(said)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return CommandError(
                f"The collector at {address} did not answer within the time allowed. See: pathtap nodes"
            )
        case grpc.StatusCode.UNAVAILABLE:
            return CommandError(f"The collector at {address} went away or could not go on: {said}")
        case grpc.StatusCode.UNIMPLEMENTED:
            return CommandError(f"What answers at {address} is no pathtap collector, or an older one: {said}")
        case _:
            return CommandError(f"The collector at {address} failed ({code.name}): {said}")


def _last(responses: Iterator[Response], wanted: str, progress: Progress) -> Response:
    """The response that carries the answer; what comes before it is progress."""
    for response in responses:
        if response.WhichOneof("body") == wanted:
            return response
        if response.progress:
            progress(response.progress)
    raise CommandError("The collector ended the call without an answer. Its log says why.")


@contextmanager
def connected(chosen: Settings, seconds: float = READY_SECONDS) -> Iterator[Collector]:
    """A collector that answered within `seconds`; CommandError names the address where none did."""
    address = choose(chosen.collector)
    if address.socket_path is not None:
        _try_socket(address.socket_path)
    plaintext = chosen.insecure or address.socket_path is not None
    with _channel(address, plaintext, chosen.tls_ca) as channel:
        # Watching a channel costs 0.2 s when it is closed, and a unix socket has told all that can be told of it.
        if address.socket_path is None:
            _wait(channel, address.target, plaintext, seconds)
        yield Collector(channel, address.target)


def _channel(address: Address, plaintext: bool, tls_ca: Path | None) -> grpc.Channel:
    if plaintext:
        return grpc.insecure_channel(address.target, options=_OPTIONS)
    try:
        roots = tls_ca.read_bytes() if tls_ca is not None else None
    except OSError as error:
        raise CommandError(f"--tls-ca {tls_ca} cannot be read: {error.strerror}.") from error
    return grpc.secure_channel(address.target, grpc.ssl_channel_credentials(roots), options=_OPTIONS)


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


def _wait(channel: grpc.Channel, target: str, plaintext: bool, seconds: float) -> None:
    """Returns once the channel is ready; a refused connection ends the wait at once, a silent one after `seconds`."""
    states: queue.SimpleQueue[grpc.ChannelConnectivity] = queue.SimpleQueue()
    keep = states.put
    channel.subscribe(keep, try_to_connect=True)
    deadline = time.monotonic() + seconds
    failed = f"No collector answers at {target}"
    try:
        while (state := states.get(timeout=max(0.0, deadline - time.monotonic()))) != grpc.ChannelConnectivity.READY:
            if state in (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN):
                hint = "is it running?" if plaintext else "is it running, and does it speak TLS? (else --insecure)"
                raise CommandError(f"{failed}: the connection failed; {hint}")
    except queue.Empty:
        hint = (
            "is the address right?" if plaintext else "is the address right, and does it speak TLS? (else --insecure)"
        )
        raise CommandError(f"{failed} within {seconds:g} s; {hint}") from None
    finally:
        channel.unsubscribe(keep)
