"""The agents' end of the wire: one bidirectional stream each, moved to and from `agents`. Decides nothing."""

import asyncio
import logging
from collections.abc import AsyncIterator

import grpc
import grpc.aio

from pathtap import wire
from pathtap.collector.access.audit import Seldom
from pathtap.collector.access.gate import AgentIdentity, Gate
from pathtap.collector.access.refusal import Refused, denied, quoted
from pathtap.collector.access.vigil import Pauses, outstayed
from pathtap.collector.agents import Agent, Agents
from pathtap.v1 import agent_pb2, agent_pb2_grpc

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[agent_pb2.ConnectRequest, agent_pb2.ConnectResponse]


# Seconds for the first message of a stream.
GREETING = 10.0
# Bytes of it: a node's name, and some words that are kept while the stream lasts.
LONGEST_GREETING = 16 << 10


class Intake(agent_pb2_grpc.IntakeServiceServicer):
    def __init__(self, agents: Agents, gate: Gate, pauses: Pauses | None = None) -> None:
        self._agents = agents
        self._pauses = pauses or Pauses()
        self._gate = gate
        self._strangers = Seldom()
        self._greeted: set[str] = set()

    async def Connect(  # type: ignore[override]  # noqa: N802 - the stub's name; grpc.aio takes a coroutine that writes
        self, request_iterator: AsyncIterator[agent_pb2.ConnectRequest], context: Context
    ) -> None:
        identity, hello = await self._admitted(request_iterator, context)
        sound = hello is not None and hello.WhichOneof("body") == "hello" and hello.ByteSize() <= LONGEST_GREETING
        if hello is None or not sound or not hello.node or not hello.boot_id:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "the first message of an agent is a Hello with its node"
            )
        assert hello is not None  # noqa: S101 - abort has raised
        # Tells an agent that it was taken before the first command does.
        await context.send_initial_metadata(())
        agent = self._agents.join(hello)
        log.info("agent of %s connected, version %s", agent.node, agent.version)
        reader = asyncio.ensure_future(self._read(agent, request_iterator))
        vigil = asyncio.ensure_future(self._outstayed(agent, identity, context)) if identity is not None else None
        if vigil is not None:
            # However it ends: a stream that nobody asks about any more is over too.
            vigil.add_done_callback(lambda _: self._agents.leave(agent))
        refused = None
        try:
            await self._write(agent, context)
            refused = vigil.result() if vigil is not None and vigil.done() else None
        finally:
            reader.cancel()
            if vigil is not None:
                vigil.cancel()
            self._agents.leave(agent)
            log.info("agent of %s went away", agent.node)
        if refused is not None:
            log.info("the stream of the agent of %s is ended: %s", agent.node, refused)
            await context.abort(refused.status, str(refused))

    async def _outstayed(self, agent: Agent, identity: AgentIdentity, context: Context) -> Refused:
        """Returns once the agent may not stay. In use is one that was sent a command, or still has captures."""
        seen = agent.commands

        def used() -> bool:
            nonlocal seen
            before, seen = seen, agent.commands
            return seen != before or bool(agent.run.captures)

        return await outstayed(self._gate, context, identity, used, self._pauses)

    async def _admitted(
        self, requests: AsyncIterator[agent_pb2.ConnectRequest], context: Context
    ) -> tuple[AgentIdentity | None, agent_pb2.ConnectRequest | None]:
        """Who sends, and the first message, once they have shown who they are, and if it is of their own node."""
        try:
            identity = await self._gate.agent(context)
            hello = await self._greeting(identity, requests)
            if identity is not None and hello is not None and hello.node != identity.node:
                claimed = quoted(hello.node)
                raise denied(f'{identity.pod} runs on {identity.node} and may not speak for the node "{claimed}"')
        except Refused as error:
            if self._strangers.may_say() is not None:
                log.warning("an agent at %s is refused: %s", context.peer(), error)
            await context.abort(error.status, str(error))
        except wire.WireError as error:
            log.warning("an agent at %s sent what cannot be understood: %s", context.peer(), error)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return identity, hello

    async def _greeting(
        self, identity: AgentIdentity | None, requests: AsyncIterator[agent_pb2.ConnectRequest]
    ) -> agent_pb2.ConnectRequest | None:
        """The first message, for which an agent does not make others wait: one stream of each at a time, and not for long."""
        node = identity.node if identity is not None else ""
        if node in self._greeted:
            raise denied(f"another stream of {node}'s agent has not said yet who it is")
        if node:
            self._greeted.add(node)
        try:
            async with asyncio.timeout(GREETING):
                return await anext(aiter(requests), None)
        except TimeoutError:
            return None
        finally:
            self._greeted.discard(node)

    async def _read(self, agent: Agent, requests: AsyncIterator[agent_pb2.ConnectRequest]) -> None:
        try:
            async for message in requests:
                self._agents.receive(agent, message)
        except wire.WireError as error:
            log.warning("agent of %s sent a malformed message and is disconnected: %s", agent.node, error)
        finally:
            agent.leave()

    async def _write(self, agent: Agent, context: Context) -> None:
        while (message := await agent.messages.get()) is not None:
            await context.write(message)
