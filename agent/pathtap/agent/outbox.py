"""Numbers what this process sends and hands it out, one message after another. Outlives streams; knows no gRPC call.

What is identified by (node, boot_id, sequence) may be sent twice and is taken once: a message whose sending was cut
short goes out again on the next stream, under its first number.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

from pathtap.v1 import agent_pb2 as pb


@dataclass(frozen=True, slots=True)
class _Item:
    body: bytes
    answer: bool
    packets: int = 0


class Outbox:
    """Belongs to one event loop. Bodies are serialized ConnectRequests without node, boot_id and sequence, and are not read."""

    def __init__(self, node: str, boot_id: str) -> None:
        self._node = node
        self._boot_id = boot_id
        self._sequence = 0
        self._waiting: deque[_Item] = deque()
        self._packets = 0
        self._unsent: tuple[bytes, _Item] | None = None
        self._closing = False
        self._woken = asyncio.Event()
        self._empty = asyncio.Event()

    def hello(self, version: str, kernel: str) -> bytes:
        hello = pb.Hello(version=version, kernel=kernel, packets=self._packets)
        return self._numbered(pb.ConnectRequest(hello=hello).SerializeToString())

    async def put(self, body: bytes, *, answer: bool = False, packets: int = 0) -> None:
        """Returns when it was taken, or forgotten: who has more to bring waits. `packets` is how many are in it."""
        self._append(_Item(body, answer, packets))
        while self._waiting:
            self._empty.clear()
            await self._empty.wait()

    def add(self, message: pb.ConnectRequest, *, answer: bool = False) -> None:
        """What is small and few need not wait for room."""
        self._append(_Item(message.SerializeToString(), answer))

    async def next(self) -> bytes | None:
        """Waits for a message; the same again until it is `sent`. None once the outbox is closing and empty."""
        if self._unsent is None:
            while not self._waiting:
                if self._closing:
                    return None
                self._woken.clear()
                await self._woken.wait()
            item = self._waiting.popleft()
            self._unsent = self._numbered(item.body), item
            self._perhaps_empty()
        return self._unsent[0]

    def sent(self) -> None:
        if self._unsent is not None:
            self._packets += self._unsent[1].packets
        self._unsent = None

    def forget_answers(self) -> None:
        """No answer of a stream that ended may reach the next."""
        self._waiting = deque(item for item in self._waiting if not item.answer)
        if self._unsent is not None and self._unsent[1].answer:
            self._unsent = None
        self._perhaps_empty()

    def close(self) -> None:
        """What is there still goes out, then `next` is None."""
        self._closing = True
        self._woken.set()

    def _append(self, item: _Item) -> None:
        self._waiting.append(item)
        self._woken.set()

    def _perhaps_empty(self) -> None:
        if not self._waiting:
            self._empty.set()

    def _numbered(self, body: bytes) -> bytes:
        """Serialized messages that follow each other are one with the fields of both (protobuf's encoding, "Last One Wins")."""
        self._sequence += 1
        envelope = pb.ConnectRequest(node=self._node, boot_id=self._boot_id, sequence=self._sequence)
        return envelope.SerializeToString() + body
