"""Brings the world's events to the session and carries out its orders. The only place with clock, chance and signals."""

import asyncio
import logging
import os
import random
import signal
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import assert_never

from pathtap.agent.config import Settings
from pathtap.agent.foreman import Foreman
from pathtap.agent.health import serve_health
from pathtap.agent.launch import Launch
from pathtap.agent.metrics import Reading
from pathtap.agent.outbox import Outbox
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
    Session,
    Start,
    State,
    Stop,
    Wait,
)
from pathtap.agent.stream import Stream
from pathtap.v1.agent_pb2 import ConnectResponse

log = logging.getLogger(__name__)


class Daemon:
    """One agent. `run` returns after SIGTERM, SIGINT or `stop`."""

    def __init__(self, settings: Settings, boot_id: str, launch: Launch) -> None:
        self._settings = settings
        self._launch = launch
        self._boot_id = boot_id
        self._session = Session()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._told = ""
        self._reading: Callable[[bool], Reading] = lambda connected: Reading(connected=connected)

    async def run(self) -> None:
        """Raises OSError where /healthz cannot be served."""
        self._outbox = Outbox(self._settings.node, self._boot_id)
        self._stop_on_signals()
        health = None
        if self._settings.health_port:
            health = await serve_health(
                self._settings.health_port, lambda: self._reading(self._session.state is State.TALKING)
            )
        try:
            self._events.put_nowait(Start())
            async with asyncio.TaskGroup() as self._tasks:
                self._foreman = Foreman(self._launch, self._outbox, self._tasks)
                self._reading = self._foreman.reading
                try:
                    while self._session.state is not State.OVER:
                        for order in self._session.handle(await self._events.get()):
                            self._carry_out(order)
                finally:
                    await self._foreman.close()
        finally:
            if health is not None:
                health.close()

    def stop(self) -> None:
        """Ends the captures, sends what is left, and lets `run` return. Call it in the daemon's own loop."""
        self._events.put_nowait(Stop())

    def _carry_out(self, order: Order) -> None:
        match order:
            case Dial():
                self._stream = Stream(self._settings, self._outbox, self._connected, self._received)
                self._tasks.create_task(self._live())
            case Perform(command):
                self._foreman.perform(command)
            case EndCaptures(reason):
                self._foreman.end_captures(reason)
                self._outbox.forget_answers()
            case Wait(seconds):
                asyncio.get_running_loop().call_later(seconds, self._events.put_nowait, Elapsed())
            case HangUp():
                self._stream.hang_up()
                self._tasks.create_task(self._send_what_is_left())
            case Exit():
                log.info("stopped")
            case _:
                assert_never(order)

    async def _live(self) -> None:
        begun = time.monotonic()
        reason = await self._stream.run(self._outbox.hello(version("pathtap"), os.uname().release))
        # Said once, not at each of the attempts of a night.
        log.log(logging.DEBUG if reason == self._told else logging.INFO, "not connected: %s", reason)
        self._told = reason
        # Agents that lost the same collector must not all come back in the same instant; no secret rests on this.
        jitter = random.random()  # noqa: S311
        self._events.put_nowait(Broke(reason, time.monotonic() - begun, jitter, self._stream.refused))

    def _connected(self) -> None:
        self._told = ""
        log.info("connected to the collector at %s as %s", self._settings.collector, self._settings.node)
        self._events.put_nowait(Connected())

    def _received(self, command: ConnectResponse) -> None:
        self._events.put_nowait(Received(command))

    async def _send_what_is_left(self) -> None:
        await self._foreman.settled()
        self._outbox.close()

    def _stop_on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
