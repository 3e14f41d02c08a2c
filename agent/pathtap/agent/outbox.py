"""Numbers what this process sends and hands it out when it is due. Outlives streams; knows no gRPC call.

What is identified by (node, boot_id, sequence) may be sent twice and is taken once: a message whose sending was cut
short goes out again on the next stream, under its first number.
"""

import asyncio
from contextlib import suppress

from pathtap import wire
from pathtap.agent.spool import LIMIT, Packets, Parcel, Pending, Reply, Spool
from pathtap.v1 import agent_pb2 as pb

FLUSH_AFTER = 0.02


class Outbox:
    """Belongs to the event loop in which it was made; its `spool` may be filled from any thread."""

    def __init__(self, node: str, boot_id: str, limit: int = LIMIT) -> None:
        loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self.spool = Spool(node, lambda: loop.call_soon_threadsafe(self._woken.set), limit)
        self._node = node
        self._boot_id = boot_id
        self._sequence = 0
        self._unsent: pb.ConnectRequest | None = None
        self._closing = False

    def hello(self, version: str, kernel: str) -> pb.ConnectRequest:
        return self._number(pb.ConnectRequest(hello=pb.Hello(version=version, kernel=kernel)))

    async def next(self) -> pb.ConnectRequest | None:
        """Waits for what is due; the same again until it is `sent`. None once the outbox is closing and empty."""
        if self._unsent is None:
            await self._due()
            parcel = self.spool.take()
            self._unsent = None if parcel is None else self._number(_body(parcel))
        return self._unsent

    def sent(self) -> None:
        self._unsent = None

    def forget_replies(self) -> None:
        """No answer of a stream that ended may reach the next."""
        self.spool.forget_replies()
        if self._unsent is not None and self._unsent.HasField("answer"):
            self._unsent = None

    def close(self) -> None:
        """What is there still goes out, then `next` is None."""
        self._closing = True
        self._woken.set()

    async def _due(self) -> None:
        """Returns when a parcel must go: at once where it is DUE, FLUSH_AFTER seconds after the first of SOME."""
        await self._until_above(Pending.NOTHING)
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_AFTER):
                await self._until_above(Pending.SOME)

    async def _until_above(self, level: Pending) -> None:
        while not self._closing:
            # Cleared before the spool is asked: what comes in between wakes again.
            self._woken.clear()
            if self.spool.pending().value > level.value:
                return
            await self._woken.wait()

    def _number(self, message: pb.ConnectRequest) -> pb.ConnectRequest:
        self._sequence += 1
        message.node, message.boot_id, message.sequence = self._node, self._boot_id, self._sequence
        return message


def _body(parcel: Parcel) -> pb.ConnectRequest:
    match parcel:
        case Packets(observations, lost):
            return pb.ConnectRequest(batch=wire.batch_to_wire(observations, lost))
        case Reply(answer):
            return pb.ConnectRequest(answer=answer)
