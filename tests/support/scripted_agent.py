"""A scripted agent: speaks the wire to a real collector and answers as a test tells it to. It has no kernel, captures nothing."""

import asyncio
import itertools
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
from journeys import CAPTURE

from pathtap import wire
from pathtap.collector.access.desk import Desk
from pathtap.collector.access.gate import Gate, OpenGate
from pathtap.collector.agents import Agents
from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.intake import Intake
from pathtap.collector.server import TraceServer
from pathtap.model.node import NodeSnapshot
from pathtap.model.packet import Lost, PacketObservation
from pathtap.model.request import (
    Answer,
    CaptureArmed,
    CaptureEnded,
    CaptureRequest,
    Command,
    EndCapture,
    Failure,
    LookupReport,
    LookupRequest,
    OpenConnections,
    ProbeRequest,
    ReadSnapshot,
)
from pathtap.model.survey import SurveyReport, SurveyRequest
from pathtap.v1 import agent_pb2, agent_pb2_grpc, service_pb2_grpc

Reaction = Callable[["ScriptedAgent", Command], Awaitable[Answer | None]]


class ScriptedAgent:
    """`reactions` override what it answers to a kind of command; a reaction that gives None leaves it unanswered.

    `received` are the commands so far, `sent` is how many packets it says that it has sent when it says hello.
    Numbers count from 1 over the life of the object, as an agent's do over its streams.
    """

    def __init__(
        self,
        snapshot: NodeSnapshot,
        reactions: dict[type[Command], Reaction] | None = None,
        boot_id: str = "boot",
    ) -> None:
        self.snapshot = replace(snapshot, boot_id=boot_id)
        self.node = snapshot.node
        self.boot_id = boot_id
        self.sent = 0
        self.received: list[Command] = []
        self.armed: dict[str, CaptureRequest] = {}
        self.ended = asyncio.Event()
        self._reactions = reactions or {}
        self._numbers = itertools.count(1)
        self._changed = asyncio.Condition()
        self._outgoing: asyncio.Queue[agent_pb2.ConnectRequest | None] = asyncio.Queue()

    @asynccontextmanager
    async def connected(self, address: str) -> AsyncIterator["ScriptedAgent"]:
        """Dials, says hello, and answers until the block ends or the collector ends the stream, which sets `ended`."""
        self.ended.clear()
        self._outgoing = asyncio.Queue()
        async with grpc.aio.insecure_channel(address) as channel:
            stub = agent_pb2_grpc.IntakeServiceStub(channel)
            call = stub.Connect(self._requests())
            self.say(hello=agent_pb2.Hello(version="0.1.0", kernel="6.18", packets=self.sent))
            async with asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(self._read(call, tasks))
                try:
                    yield self
                finally:
                    reader.cancel()
                    self._outgoing.put_nowait(None)
                    call.cancel()

    def say(self, **body: object) -> int:
        """Queues a message with the next number."""
        number = next(self._numbers)
        self.say_again(number, **body)
        return number

    def say_again(self, number: int, **body: object) -> None:
        message = agent_pb2.ConnectRequest(node=self.node, boot_id=self.boot_id, sequence=number, **body)  # type: ignore[arg-type]
        self._outgoing.put_nowait(message)

    def see(self, observations: Iterable[PacketObservation], capture: str, lost: Iterable[Lost] = ()) -> int:
        """Sends those of the observations that are this node's, as of that capture."""
        own = [replace(each, capture=capture) for each in observations if each.node == self.node]
        return self.say(batch=wire.batch_to_wire(own, lost))

    async def until(self, kind: type[Command], count: int = 1) -> Command:
        """The last of at least `count` commands of this kind, once they have come."""
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: len(self.of(kind)) >= count)
        return self.of(kind)[-1]

    def of(self, kind: type[Command]) -> list[Command]:
        return [command for command in self.received if isinstance(command, kind)]

    async def _requests(self) -> AsyncIterator[agent_pb2.ConnectRequest]:
        while (message := await self._outgoing.get()) is not None:
            yield message

    async def _read(self, call: AsyncIterable[agent_pb2.ConnectResponse], tasks: asyncio.TaskGroup) -> None:
        try:
            async for message in call:
                command = wire.command_from_wire(message)
                async with self._changed:
                    self.received.append(command)
                    self._changed.notify_all()
                tasks.create_task(self._answer(message.command, command))
        except grpc.aio.AioRpcError:
            pass
        finally:
            self.ended.set()

    async def _answer(self, number: int, command: Command) -> None:
        if isinstance(command, CaptureRequest):
            self.armed[command.id] = command
        react = self._reactions.get(type(command))
        answer = await react(self, command) if react else self._usual(command)
        if isinstance(command, EndCapture):
            self.armed.pop(command.id, None)
        if answer is not None:
            self.say(answer=wire.answer_to_wire(number, answer))

    def _usual(self, command: Command) -> Answer:
        match command:
            case ReadSnapshot():
                return self.snapshot
            case CaptureRequest():
                names = tuple(each.name for each in self.snapshot.interfaces if each.name != "lo")
                return CaptureArmed(id=command.id, interfaces=names)
            case EndCapture():
                return CaptureEnded(id=command.id, stats=())
            case LookupRequest():
                return LookupReport()
            case ProbeRequest():
                return Failure(reason="this agent was told nothing of probes")
            case OpenConnections():
                return Failure(reason="this agent was told nothing of connections")
            case SurveyRequest():
                return SurveyReport()


def always(answer: Answer | None) -> Reaction:
    async def react(agent: ScriptedAgent, command: Command) -> Answer | None:
        del agent, command
        return answer

    return react


class Bench:
    """A collector in this process, behind a real unix socket."""

    def __init__(self, address: str, agents: Agents, channel: grpc.aio.Channel) -> None:
        self.address = address
        self.agents = agents
        self.client = service_pb2_grpc.TraceServiceStub(channel)

    async def agent(self, node: str) -> None:
        """Returns once an agent of this node is connected."""
        async with asyncio.timeout(5):
            while node not in [agent.node for agent in self.agents.connected()]:
                await asyncio.sleep(0.002)

    async def no_agent(self, node: str) -> None:
        async with asyncio.timeout(5):
            while node in [agent.node for agent in self.agents.connected()]:
                await asyncio.sleep(0.002)


@asynccontextmanager
async def serving(
    directory: Path, inventory: Inventory | Callable[[], Inventory], gate: Gate | None = None
) -> AsyncIterator[Bench]:
    """`inventory` may change. Without a gate everybody may everything.

    Trace ids count up: trace-1, trace-2 … (the first is `journeys.CAPTURE`)."""
    address = f"unix:{directory}/collector.sock"
    clock, ids = itertools.count(1_700_000_000_000_000_000, 1_000), itertools.count(1)
    agents = Agents(lambda: next(clock))
    server, gate = grpc.aio.server(), gate or OpenGate()
    agent_pb2_grpc.add_IntakeServiceServicer_to_server(Intake(agents, gate), server)
    tracer = TraceServer(
        agents,
        inventory if callable(inventory) else lambda: inventory,
        lambda: next(clock),
        lambda: f"{CAPTURE[:-1]}{next(ids)}",
        Desk(gate),
    )
    service_pb2_grpc.add_TraceServiceServicer_to_server(tracer, server)
    server.add_insecure_port(address)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            yield Bench(address, agents, channel)
    finally:
        await server.stop(None)
