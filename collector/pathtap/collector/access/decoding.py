"""Messages that are none: whoever sends bytes that are no message of the service is told so, and nothing else happens.

gRPC takes what a decoder raises for a failure of the handler and prints its traceback. Here a decoder raises nothing: what it
could not read comes to the handler's door as a value of its own.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from pathtap import wire
from pathtap.collector.access.doorkeeper import Continuation, Handler
from pathtap.collector.access.gate import Context

SENTENCE = "what was sent is no message of this service"


class Malformed:
    """In place of a message."""


class Decoding(grpc.aio.ServerInterceptor):
    """Ends calls of one request by INVALID_ARGUMENT; a stream of requests raises wire.WireError to its handler."""

    async def intercept_service(self, continuation: Continuation, details: grpc.HandlerCallDetails) -> Handler:
        # A named tuple in grpc's own code, which the stubs do not tell.
        handler: Any = await continuation(details)
        if handler is None:
            return None
        handler = handler._replace(request_deserializer=_without_raising(handler.request_deserializer))
        if handler.stream_stream is not None:
            handler = handler._replace(stream_stream=_of_many(handler.stream_stream))
        if handler.unary_stream is not None:
            handler = handler._replace(unary_stream=_of_one(handler.unary_stream))
        if handler.unary_unary is not None:
            handler = handler._replace(unary_unary=_of_one_and_one(handler.unary_unary))
        answer: Handler = handler
        return answer


def _without_raising(decode: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    # The doorkeeper's handlers decode nothing.
    if decode is None:
        return None

    def decoded(raw: bytes) -> Any:
        try:
            return decode(raw)
        except DecodeError:
            return Malformed()

    return decoded


def _of_many(behaviour: Callable[..., Any]) -> Callable[..., Any]:
    async def handle(requests: AsyncIterator[Any], context: Context) -> None:
        await behaviour(_sound(requests), context)

    return handle


async def _sound(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        if isinstance(request, Malformed):
            raise wire.WireError(SENTENCE)
        yield request


def _of_one(behaviour: Callable[..., AsyncIterator[Any]]) -> Callable[..., Any]:
    async def handle(request: Any, context: Context) -> AsyncIterator[Any]:
        if isinstance(request, Malformed):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, SENTENCE)
        async for response in behaviour(request, context):
            yield response

    return handle


def _of_one_and_one(behaviour: Callable[..., Any]) -> Callable[..., Any]:
    async def handle(request: Any, context: Context) -> Any:
        if isinstance(request, Malformed):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, SENTENCE)
        return await behaviour(request, context)

    return handle
