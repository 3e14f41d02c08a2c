"""What tests of the agent's stream share: a node of no kernel, a collector that keeps what it gets, and both ends running."""

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import grpc

from pathtap import wire
from pathtap.agent.config import Settings
from pathtap.agent.daemon import Daemon
from pathtap.agent.delivery import Deliver, Packets
from pathtap.agent.spool import Spool
from pathtap.agent.workbench import Workbench
from pathtap.model.address import FiveTuple, Socket
from pathtap.model.node import NodeSnapshot
from pathtap.model.packet import Direction, Headers, Lost, PacketObservation
from pathtap.model.request import (
    Answer,
    CaptureArmed,
    CaptureEnded,
    CaptureRequest,
    CaptureStats,
    Command,
    Connection,
    ConnectionsReport,
    LookupReport,
    LookupRequest,
    OpenConnections,
    ProbeOutcome,
    ProbeReport,
    ProbeRequest,
    ReadSnapshot,
)
from pathtap.model.rows import ROW, PacketRows, row_of
from pathtap.model.survey import SurveyReport, SurveyRequest
from pathtap.v1 import agent_pb2 as pb
from pathtap.v1.agent_pb2_grpc import IntakeServiceServicer, add_IntakeServiceServicer_to_server

NODE, BOOT = "node-a", "b007"
HERE, THERE = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
TUPLE = FiveTuple(protocol=17, source=HERE, source_port=1, destination=THERE, destination_port=2)
PROBE = ProbeRequest(protocol=17, source=None, destination=Socket(THERE, 2))


def seen(capture: str, sequence: int) -> PacketObservation:
    return PacketObservation(
        node=NODE,
        sequence=sequence,
        capture=capture,
        captured_at=time.time_ns(),
        interface="eth0",
        direction=Direction.IN,
        headers=Headers(five_tuple=TUPLE, ttl=64, length=28),
    )


def together(observations: Sequence[PacketObservation]) -> Packets:
    """As a capture hands them on: all of these fit rows."""
    rows = b"".join(row_of(each, 0) for each in observations)
    return Packets(rows=(PacketRows(node=NODE, capture=observations[0].capture, interfaces=("eth0",), rows=rows),))


class SmallCapture:
    """Sees `limit` packets on arming, and as many again while it is ended."""

    def __init__(self, request: CaptureRequest, deliver: Deliver, ended: Callable[[str], None]) -> None:
        self.armed = CaptureArmed(id=request.id, interfaces=("eth0",))
        self._numbers = itertools.count(1)
        self._limit = request.limit
        self._deliver = deliver
        self._ended = ended
        self._see()

    def _see(self) -> None:
        self._deliver(
            together([seen(self.armed.id, number) for number in itertools.islice(self._numbers, self._limit)])
        )

    def end(self) -> CaptureEnded:
        self._see()
        lost = Lost(node=NODE, where="kernel", count=3, capture=self.armed.id, interface="eth0")
        self._deliver(Packets(lost=(lost,)))
        self._ended(self.armed.id)
        return CaptureEnded(id=self.armed.id, stats=(CaptureStats(interface="eth0", received=1, dropped=3),))


class SmallNode:
    """A node of no kernel: its probes wait to be let go, its captures see what they are told to."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.let_probes_go = threading.Event()

    def read_snapshot(self, request: ReadSnapshot) -> NodeSnapshot:
        return NodeSnapshot(node=NODE, boot_id=BOOT, taken_at=1, sysctls={"net.ipv4.ip_forward": "1"})

    def open_capture(self, request: CaptureRequest, deliver: Deliver) -> SmallCapture:
        if request.id == "forbidden":
            raise PermissionError("eth0 cannot be captured")
        return SmallCapture(request, deliver, self.ended.append)

    def send_probe(self, request: ProbeRequest) -> tuple[ProbeReport, ...]:
        assert self.let_probes_go.wait(10)
        return (ProbeReport(outcome=ProbeOutcome.SILENT),)

    def look_up(self, request: LookupRequest) -> LookupReport:
        if not request.tuples:
            raise KeyError("a mistake of ours")
        return LookupReport()

    def open_connections(self, request: OpenConnections, over: Callable[[], bool]) -> ConnectionsReport:
        assert not over()
        return ConnectionsReport(connections=(Connection(outcome=ProbeOutcome.SILENT),) * request.count)

    def survey(self, request: SurveyRequest, over: Callable[[], bool]) -> SurveyReport:
        assert not over()
        return SurveyReport(left_off=request.limit)


class Collector(IntakeServiceServicer):
    """The other end: what it received, and a way to ask. A `slow` one takes its time before it reads."""

    def __init__(self, slow: float = 0.0) -> None:
        self.messages: list[pb.ConnectRequest] = []
        self.streams = 0
        self._slow = slow
        self._changed = asyncio.Condition()
        self._questions: asyncio.Queue[pb.ConnectResponse] = asyncio.Queue()
        self._numbers = itertools.count(1)

    async def Connect(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]  # noqa: N802
        self.streams += 1
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(self._write(context))
            await asyncio.sleep(self._slow)
            async for message in request_iterator:
                async with self._changed:
                    self.messages.append(message)
                    self._changed.notify_all()
            writer.cancel()

    async def _write(self, context: Any) -> None:
        while True:
            await context.write(await self._questions.get())

    async def until(self, condition: Callable[[], bool], timeout: float = 5.0) -> None:
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(condition)

    def say(self, message: pb.ConnectResponse) -> int:
        message.command = next(self._numbers)
        self._questions.put_nowait(message)
        return message.command

    async def ask(self, command: Command) -> Answer:
        return await self.answer(self.say(wire.command_to_wire(0, command)))

    async def answer(self, number: int) -> Answer:
        await self.until(lambda: any(message.answer.command == number for message in self.messages))
        found = next(message.answer for message in self.messages if message.answer.command == number)
        return wire.answer_from_wire(found, NODE)

    @property
    def observations(self) -> list[PacketObservation]:
        """In the order in which they came."""
        batches = [wire.batch_from_wire(message.batch, NODE) for message in self.messages]
        found: list[PacketObservation] = []
        for observations, _, rows in batches:
            both = [*observations, *(each for part in rows for each in part.observations())]
            found += sorted(both, key=lambda each: (each.capture, each.sequence))
        return found

    @property
    def packets(self) -> int:
        """How many came, without a look at them."""
        batches = [message.batch for message in self.messages]
        return sum(len(each.observations) + sum(len(part.rows) // ROW.size for part in each.rows) for each in batches)

    @property
    def lost(self) -> list[pb.Lost]:
        return [lost for message in self.messages for lost in message.batch.lost]


class WorkerThread:
    """A worker that lives in a thread of this process, over a real pair of sockets."""

    def __init__(self, node: SmallNode, settings: Settings) -> None:
        self.connection, self._theirs = socket.socketpair()
        self.connection.setblocking(False)
        spool = Spool(NODE, settings.spool_bytes)
        bench = Workbench(self._theirs, node, NODE, spool, settings.worker_idle, settings.limits)
        self._thread = threading.Thread(target=self._run, args=(bench,), daemon=True)
        self._thread.start()

    def _run(self, bench: Workbench) -> None:
        with self._theirs:
            bench.run()

    async def ended(self) -> str:
        while self._thread.is_alive():
            await asyncio.sleep(0.01)
        return "ended with exit status 0"

    def kill(self) -> None:
        self._theirs.shutdown(socket.SHUT_RDWR)


@asynccontextmanager
async def serving(
    path: Path, collector: Collector, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[str]:
    """Serves until the block ends; yields the address."""
    server = grpc.aio.server(options=(("grpc.max_receive_message_length", 64 << 20),))
    add_IntakeServiceServicer_to_server(collector, server)
    if credentials is None:
        address = f"unix:{path}"
        server.add_insecure_port(address)
    else:
        address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
    await server.start()
    try:
        yield address
    finally:
        await server.stop(0)


@asynccontextmanager
async def running(settings: Settings, node: SmallNode) -> AsyncIterator[Daemon]:
    """A daemon that is stopped, and has ended by itself, when the block ends. Its workers are threads of this process."""
    daemon = Daemon(settings, BOOT, lambda: WorkerThread(node, settings))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(daemon.run())
        try:
            yield daemon
        finally:
            node.let_probes_go.set()
            daemon.stop()


def settings_for(address: str) -> Settings:
    return Settings(collector=address, node=NODE, health_port=0)


def play(
    path: Path, scene: Callable[[Collector, SmallNode], Coroutine[Any, Any, None]], node: SmallNode | None = None
) -> None:
    async def all_of_it(node: SmallNode) -> None:
        collector = Collector()
        async with asyncio.timeout(20), serving(path, collector) as address, running(settings_for(address), node):
            await scene(collector, node)

    asyncio.run(all_of_it(node or SmallNode()))
