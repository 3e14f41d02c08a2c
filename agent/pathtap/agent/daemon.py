"""Brings the world's events to the session and carries out its orders. The only place with clock, chance and signals."""

import asyncio
import logging
import random
import signal
import time
from functools import partial
from importlib.metadata import version
from typing import assert_never

from pathtap import wire
from pathtap.agent.captures import Capture, Captures
from pathtap.agent.config import Settings
from pathtap.agent.health import serve_health
from pathtap.agent.outbox import Outbox
from pathtap.agent.performer import Node, perform
from pathtap.agent.session import (
    Broke,
    Connected,
    Dial,
    Elapsed,
    EndCaptures,
    Event,
    Exit,
    HangUp,
    Order,
    Perform,
    Received,
    Refuse,
    Session,
    Start,
    State,
    Stop,
    Wait,
)
from pathtap.agent.stream import Stream
from pathtap.agent.worker import in_thread
from pathtap.model.packet import Lost
from pathtap.model.request import CaptureRequest, Command, Failure

log = logging.getLogger(__name__)


class Daemon:
    """One agent. `run` returns after SIGTERM, SIGINT or `stop`."""

    def __init__(self, settings: Settings, node: Node, boot_id: str) -> None:
        self._settings = settings
        self._node = node
        self._boot_id = boot_id
        self._session = Session()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._captures = Captures(self._open_capture)
        self._commands: set[asyncio.Task[None]] = set()
        self._told = ""

    async def run(self) -> None:
        """Raises OSError where /healthz cannot be served."""
        self._outbox = Outbox(self._settings.node, self._boot_id)
        self._stop_on_signals()
        health = None
        if self._settings.health_port:
            health = await serve_health(self._settings.health_port, lambda: self._session.state is State.TALKING)
        try:
            self._events.put_nowait(Start())
            async with asyncio.TaskGroup() as self._tasks:
                while self._session.state is not State.OVER:
                    for order in self._session.handle(await self._events.get()):
                        await self._carry_out(order)
        finally:
            if health is not None:
                health.close()

    def stop(self) -> None:
        """Ends the captures, sends what is left, and lets `run` return. Call it in the daemon's own loop."""
        self._events.put_nowait(Stop())

    async def _carry_out(self, order: Order) -> None:
        match order:
            case Dial():
                self._captures = Captures(self._open_capture)
                self._stream = Stream(self._settings, self._outbox, self._connected, self._received)
                self._tasks.create_task(self._live())
            case Perform(number, command):
                if isinstance(command, CaptureRequest):
                    self._captures.announce(command.id)
                task = self._tasks.create_task(self._perform(number, command))
                self._commands.add(task)
                task.add_done_callback(self._commands.discard)
            case Refuse(number, failure):
                self._refuse(number, failure)
            case EndCaptures(reason):
                await self._end_captures(reason)
            case Wait(seconds):
                asyncio.get_running_loop().call_later(seconds, self._events.put_nowait, Elapsed())
            case HangUp():
                self._stream.hang_up()
            case Exit():
                log.info("stopped")
            case _:
                assert_never(order)

    async def _live(self) -> None:
        begun = time.monotonic()
        reason = await self._stream.run(self._outbox.hello(version("pathtap"), self._node.kernel_release()))
        # Said once, not at each of the attempts of a night.
        log.log(logging.DEBUG if reason == self._told else logging.INFO, "not connected: %s", reason)
        self._told = reason
        # Agents that lost the same collector must not all come back in the same instant; no secret rests on this.
        jitter = random.random()  # noqa: S311
        self._events.put_nowait(Broke(reason, time.monotonic() - begun, jitter))

    def _connected(self) -> None:
        self._told = ""
        log.info("connected to the collector at %s as %s", self._settings.collector, self._settings.node)
        self._events.put_nowait(Connected())

    def _received(self, number: int, command: Command | Failure) -> None:
        self._events.put_nowait(Received(number, command))

    async def _perform(self, number: int, command: Command) -> None:
        work = partial(perform, self._node, self._captures, number, command)
        try:
            self._outbox.spool.reply(await in_thread(work))
        except RuntimeError as error:
            # Nothing that `perform` does: the kernel grants no more threads (pids.max), as it may again in a moment.
            self._refuse(number, Failure(reason=f"The agent cannot begin anything at present: {error}."))

    def _refuse(self, number: int, failure: Failure) -> None:
        self._outbox.spool.reply(wire.answer_to_wire(number, failure))

    async def _end_captures(self, reason: str) -> None:
        """The commands under way belong to the stream that ended: their answers would reach somebody else's questions."""
        for task in self._commands:
            task.cancel()
        ended = await in_thread(self._captures.close)
        # How many packets they would have seen is not known, hence 0.
        why = f"the capture was ended before its time: {reason}"
        node = self._settings.node
        losses = [Lost(node=node, where="stream", count=0, capture=identity, why=why) for identity in ended]
        self._outbox.spool.deliver((), losses)
        self._outbox.forget_replies()

    def _open_capture(self, request: CaptureRequest) -> Capture:
        return self._node.open_capture(request, self._outbox.spool.deliver)

    def _stop_on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
