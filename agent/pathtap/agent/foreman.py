"""The agent's side of its worker: has one while there is something to do, passes commands down and what comes back up.

Knows no library of the kernel and reads no answer. It takes from the worker only what the stream has room for: what waits,
waits in the worker's spool, which is bounded.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count

from pathtap.agent.counts import Counts, from_bytes
from pathtap.agent.frames import HEADER, Frame, Kind
from pathtap.agent.launch import Launch, Worker
from pathtap.agent.metrics import Reading
from pathtap.agent.outbox import Outbox
from pathtap.v1 import agent_pb2 as pb

log = logging.getLogger(__name__)

# In seconds: how long a worker that was told to end may take.
_PATIENCE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A command that waits for its answer: the collector's number, and the capture that it arms or ends."""

    number: int
    arms: str
    ends: str


@dataclass(slots=True, kw_only=True, eq=False)
class _Shift:
    """One worker, from its start to its end. `ending`: how often it was told to end captures and has not said that it did.

    `delivered` packets have come from it, `told` is what else it counted.
    """

    worker: Worker
    before: "_Shift | None"
    asked: dict[int, _Asked] = field(default_factory=dict)
    armed: set[str] = field(default_factory=set)
    ending: int = 0
    delivered: int = 0
    told: Counts = field(default_factory=Counts)
    orders: "asyncio.Queue[Frame | None]" = field(default_factory=asyncio.Queue)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: "list[asyncio.Task[None]]" = field(default_factory=list)

    @property
    def counts(self) -> Counts:
        return replace(self.told, delivered=self.delivered)


class Foreman:
    """Belongs to the event loop of `tasks`; `close` it before they can end."""

    def __init__(self, launch: Launch, outbox: Outbox, tasks: asyncio.TaskGroup) -> None:
        self._launch = launch
        self._outbox = outbox
        self._tasks = tasks
        self._tokens = count(1)
        # The one that takes commands, and all that have not ended.
        self._current: _Shift | None = None
        self._last: _Shift | None = None
        self._shifts: set[_Shift] = set()
        # Of workers that are gone.
        self._former = Counts()
        self._started = 0
        self._failed = 0

    def perform(self, command: pb.ConnectResponse) -> None:
        """Passes it on, to a new worker where there is none. It is answered once, whatever becomes of the worker."""
        try:
            shift = self._current or self._hire()
        except (OSError, RuntimeError) as error:
            reason = f"The agent cannot begin anything at present: its worker cannot be started: {error}."
            self._outbox.add(_failure(command.command, reason), answer=True)
            return
        token = next(self._tokens)
        shift.asked[token] = _Asked(number=command.command, arms=command.arm_capture.id, ends=command.end_capture.id)
        shift.orders.put_nowait(Frame(Kind.COMMAND, command.SerializeToString(), token))

    def end_captures(self, reason: str) -> None:
        """The conversation is over: captures end, and what was asked needs no answer any more."""
        for shift in self._shifts:
            shift.asked.clear()
        if self._current is not None:
            self._current.ending += 1
            self._current.settled.clear()
            self._current.orders.put_nowait(Frame(Kind.END_CAPTURES, reason.encode()))

    def reading(self, connected: bool) -> Reading:
        """What all workers have counted since the agent began, as far as they have told."""
        counts = sum((shift.counts for shift in self._shifts), self._former)
        return Reading(connected=connected, counts=counts, started=self._started, failed=self._failed)

    async def settled(self) -> None:
        """Returns when everything is in the outbox that the captures saw which were ended."""
        for shift in tuple(self._shifts):
            if shift.ending:
                await shift.settled.wait()

    async def close(self) -> None:
        """No worker is left when it returns."""
        for shift in tuple(self._shifts):
            for task in shift.tasks:
                task.cancel()
            # A descriptor that is still waited for must not be closed.
            await asyncio.wait(shift.tasks)
            # Which its worker takes for a request to end.
            shift.worker.connection.close()
            try:
                async with asyncio.timeout(_PATIENCE):
                    await shift.worker.ended()
            except TimeoutError:
                shift.worker.kill()
                await shift.worker.ended()
            shift.settled.set()

    def _hire(self) -> _Shift:
        """Raises OSError or RuntimeError."""
        shift = _Shift(worker=self._launch(), before=self._last)
        self._current = self._last = shift
        self._started += 1
        self._shifts.add(shift)
        shift.tasks += [self._tasks.create_task(self._read(shift)), self._tasks.create_task(_write(shift))]
        return shift

    async def _read(self, shift: _Shift) -> None:
        # What an earlier worker saw goes first.
        if shift.before is not None:
            await shift.before.over.wait()
            shift.before = None
        while (frame := await _receive(shift.worker)) is not None:
            await self._take(shift, frame)
        self._dismiss(shift)
        how = await shift.worker.ended()
        await asyncio.wait(shift.tasks[1:])
        shift.worker.connection.close()
        self._bury(shift, how)

    async def _take(self, shift: _Shift, frame: Frame) -> None:
        match frame.kind:
            case Kind.BATCH:
                shift.delivered += frame.token
                await self._outbox.put(frame.body, packets=frame.token)
            case Kind.ANSWER | Kind.FAILURE:
                asked = shift.asked.pop(frame.token, None)
                if asked is None:
                    # Asked on a stream that is gone.
                    return
                shift.armed.discard(asked.ends)
                if asked.arms and frame.kind is Kind.ANSWER:
                    shift.armed.add(asked.arms)
                await self._outbox.put(frame.body, answer=True)
            case Kind.ENDED:
                shift.armed.clear()
                shift.ending -= 1
                if not shift.ending:
                    shift.settled.set()
            case Kind.COUNTS:
                shift.told = from_bytes(frame.body)
            case Kind.IDLE if not shift.asked and not shift.ending:
                shift.armed.clear()
                self._dismiss(shift)

    def _dismiss(self, shift: _Shift) -> None:
        """It gets no more commands, and ends."""
        if self._current is shift:
            self._current = None
        shift.orders.put_nowait(None)

    def _bury(self, shift: _Shift, how: str) -> None:
        """Answers for a worker that is gone what it did not answer; where it left in order there is nothing."""
        if shift.asked or shift.armed:
            log.error("the worker %s", how)
            self._failed += 1
        if shift.armed:
            why = f"the agent's worker {how}: what it had seen and not sent is lost"
            lost = [pb.Lost(where="worker", count=0, capture=each, why=why) for each in sorted(shift.armed)]
            self._outbox.add(pb.ConnectRequest(batch=pb.Batch(lost=lost)))
        for asked in shift.asked.values():
            reason = f"The agent's worker {how} before it answered."
            self._outbox.add(_failure(asked.number, reason), answer=True)
        shift.asked.clear()
        self._shifts.discard(shift)
        self._former += shift.counts.past()
        shift.settled.set()
        shift.over.set()


def _failure(number: int, reason: str) -> pb.ConnectRequest:
    return pb.ConnectRequest(answer=pb.Answer(command=number, failure=reason))


async def _write(shift: _Shift) -> None:
    connection = shift.worker.connection
    # A worker that is gone is the reader's to tell.
    with suppress(OSError):
        while (frame := await shift.orders.get()) is not None:
            await asyncio.get_running_loop().sock_sendall(connection, frame.header + frame.body)
        connection.shutdown(1)


async def _receive(worker: Worker) -> Frame | None:
    """None where the worker is gone. No more is read than one frame has."""
    header = await _exactly(worker, HEADER.size)
    if header is None:
        return None
    length, kind, token = HEADER.unpack(header)
    body = await _exactly(worker, length)
    return None if body is None else Frame(Kind(kind), body, token)


async def _exactly(worker: Worker, size: int) -> bytes | None:
    buffer = bytearray(size)
    rest = memoryview(buffer)
    loop = asyncio.get_running_loop()
    while rest:
        try:
            received = await loop.sock_recv_into(worker.connection, rest)
        except ConnectionResetError:
            return None
        if not received:
            return None
        rest = rest[received:]
    return bytes(buffer)
