"""Stands before every handler of a port where tokens are shown: nobody's message is read before their token was.

A handler asks its gate itself; that is the check. This one spares the memory and the parsing that strangers would cost.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import grpc.aio

from pathtap.collector.access.audit import Seldom
from pathtap.collector.access.gate import ClusterGate, Context, Metadata
from pathtap.collector.access.refusal import Refused, quoted
from pathtap.v1 import agent_pb2

log = logging.getLogger("pathtap.collector.audit")

# Of the stubs alone: at run time the class takes no parameters.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]"

_OF_AGENTS = f"/{agent_pb2.DESCRIPTOR.services_by_name['IntakeService'].full_name}/"


class Doorkeeper(grpc.aio.ServerInterceptor):
    def __init__(self, gate: ClusterGate) -> None:
        self._gate = gate
        self._strangers = Seldom()

    async def intercept_service(self, continuation: Continuation, details: grpc.HandlerCallDetails) -> Handler:
        metadata: Metadata = [(str(key), value) for key, value in details.invocation_metadata or ()]
        try:
            if details.method.startswith(_OF_AGENTS):
                await self._gate.agent_by(metadata)
            else:
                await self._gate.person_by(metadata)
        except Refused as error:
            if self._strangers.may_say() is not None:
                log.warning("refused before %s: %s", quoted(details.method), error)
            return _ending(error)
        return await continuation(details)


def _ending(error: Refused) -> Handler:
    """A handler of streams whatever the method is: one of single messages would read the first before it began."""

    async def end(requests: object, context: Context) -> None:
        del requests
        await context.abort(error.status, str(error))

    return grpc.stream_stream_rpc_method_handler(end)
