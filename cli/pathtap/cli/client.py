"""Speaks pathtap.v1.TraceService to a collector, and turns every failure into a sentence and an exit code.

Knows no command line and no terminal; `channel` is how it gets there.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import click
import grpc

from pathtap.cli.channel import Opened, opened
from pathtap.cli.errors import CommandError, WrongRequest
from pathtap.cli.options import Settings
from pathtap.cli.transport import Transport
from pathtap.v1 import service_pb2, service_pb2_grpc, snat_pb2, trace_pb2

# What a collector may take beyond the time-out it was given: resolving, reading the nodes, joining.
SLACK_SECONDS = 15.0
# The same for `snat`, which reads the node's whole connection tracking before and after.
SNAT_SLACK_SECONDS = 40.0
# As many are opened a second, for a collector that asks for no other rate (pathtap.model.request.OpenConnections).
CONNECTIONS_A_SECOND = 400
UNARY_SECONDS = 10.0
# Hundreds of nodes, read a few at a time.
CHECK_SECONDS = 120.0

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

    def __init__(self, channel: grpc.Channel, way: Transport) -> None:
        self._stub = service_pb2_grpc.TraceServiceStub(channel)
        self._way = way

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

    def names(self, prefix: str, namespace: str, seconds: float) -> list[str]:
        """`namespace` is that of bare names."""
        request = service_pb2.ListNamesRequest(prefix=prefix, namespace=namespace)
        with self._sentences():
            return list(self._stub.ListNames(request, timeout=seconds).names)

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            details = error.details() or ""
            if error.code() == grpc.StatusCode.UNAVAILABLE:
                details = self._way.trouble() or details
            raise sentence(error.code(), details, self._way.called) from error


def sentence(code: grpc.StatusCode, details: str, address: str) -> click.ClickException:
    """A status as what to print. Statuses that the collector chose carry their own sentence; the rest get one."""
    said = details or code.name.lower().replace("_", " ")
    match code:
        case grpc.StatusCode.INVALID_ARGUMENT:
            return WrongRequest(said)
        case grpc.StatusCode.NOT_FOUND | grpc.StatusCode.FAILED_PRECONDITION:
            return CommandError(said)
        case grpc.StatusCode.UNAUTHENTICATED:
            return CommandError(f"Not authenticated: {said}")
        case grpc.StatusCode.PERMISSION_DENIED:
            return CommandError(f"Not permitted: {said}")
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


def connected(
    chosen: Settings, seconds: float | None = None, *, quiet: bool = False
) -> AbstractContextManager[Collector]:
    """A collector that answered within `seconds`; CommandError names the address where none did. `opened` says what the call
    itself does."""
    return _collector(opened(chosen, seconds, quiet=quiet))


@contextmanager
def _collector(channel_and_way: AbstractContextManager[Opened]) -> Iterator[Collector]:
    with channel_and_way as (channel, way):
        yield Collector(channel, way)
