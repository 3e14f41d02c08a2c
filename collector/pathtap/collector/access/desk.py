"""Where each request of a person is taken: who asks, how long the request may be, and what the audit log says of it.

What is raised while a request is looked at ends the call, with its gRPC status and its sentence.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from google.protobuf.message import Message

from pathtap.collector.access.audit import Asked, Seldom, line
from pathtap.collector.access.gate import Caller, Context, Gate
from pathtap.collector.access.refusal import Refused
from pathtap.collector.cluster.inventory import InventoryUnread
from pathtap.collector.cluster.resolve import NotListed, NotTraceable, UnknownName, UnusableRequest

log = logging.getLogger("pathtap.collector.audit")

STATUS: dict[type[Exception], grpc.StatusCode] = {
    UnusableRequest: grpc.StatusCode.INVALID_ARGUMENT,
    UnknownName: grpc.StatusCode.NOT_FOUND,
    NotTraceable: grpc.StatusCode.FAILED_PRECONDITION,
    NotListed: grpc.StatusCode.FAILED_PRECONDITION,
    InventoryUnread: grpc.StatusCode.UNAVAILABLE,
}
# Bytes of a person's request: two names and some numbers. A port's own limit may be that of an agent's answers.
LONGEST_REQUEST = 64 << 10


class Desk:
    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._strangers = Seldom()

    @asynccontextmanager
    async def asked(self, request: Message, context: Context, asked: Asked) -> AsyncIterator[Caller]:
        """Gives who asks. Nothing may have been looked up before."""
        name = uid = ""
        try:
            caller = await self._gate.person(context)
            name, uid = caller.name, caller.uid
            if request.ByteSize() > LONGEST_REQUEST:
                raise UnusableRequest(f"the request is longer than {LONGEST_REQUEST} bytes")
            yield caller
        except Refused as error:
            if name or self._strangers.may_say() is not None:
                log.warning("%s", line(asked, context.peer(), name, uid, "refused", str(error)))
            await context.abort(error.status, str(error))
        except tuple(STATUS) as error:
            log.info("%s", line(asked, context.peer(), name, uid, "unusable", str(error)))
            await context.abort(STATUS[type(error)], str(error))
        log.info("%s", line(asked, context.peer(), name, uid, "allowed"))

    @asynccontextmanager
    async def answered(self, caller: Caller, context: Context, asked: Asked) -> AsyncIterator[None]:
        """Around what was allowed, and may cease to be."""
        try:
            yield
        except Refused as error:
            log.warning("%s", line(asked, context.peer(), caller.name, caller.uid, "refused", str(error)))
            await context.abort(error.status, str(error))
