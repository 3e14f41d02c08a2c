"""The agents that are connected, and one question at a time to each of them.

Knows the wire and no gRPC: `intake` moves the messages. An agent that goes away fails every question that it still
owes and tells every capture that it was part of.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from pathtap import wire
from pathtap.collector.capture_log import MOST_BYTES, CaptureLog, Room
from pathtap.collector.ledger import Ledger
from pathtap.model.packet import Lost
from pathtap.model.request import CaptureRequest, Command, EndCapture, Failure
from pathtap.v1 import agent_pb2

log = logging.getLogger(__name__)

Kind = TypeVar("Kind")

STOPS = "the collector stops"


class AgentError(Exception):
    """Why an agent did not answer, as a sentence that names the node."""


class NoAgent(AgentError):  # noqa: N818 - it says what is so
    """No agent of that node is connected, it went away, or it is silent."""


@dataclass(slots=True)
class Run:
    """What came of one run of an agent, over all of its streams: the `last` number, how many packets (with those that the agent
    had sent before it was known here), and of which captures they may be.
    """

    last: int = -1
    packets: int = 0
    captures: set[str] = field(default_factory=set)


class Agent:
    """One connected agent. `messages` is what the stream has yet to send to it, `ledger` is since it connected."""

    def __init__(self, hello: agent_pb2.ConnectRequest, connected_at: int, run: Run) -> None:
        self.run = run
        self.node = hello.node
        self.boot_id = hello.boot_id
        self.version = hello.hello.version
        self.kernel = hello.hello.kernel
        self.connected_at = connected_at
        self.ledger = Ledger()
        self.messages: asyncio.Queue[agent_pb2.ConnectResponse | None] = asyncio.Queue()
        # Why nobody can ask it any longer; empty while its stream lasts.
        self.gone = ""
        self._owed: dict[int, asyncio.Future[agent_pb2.Answer]] = {}
        # The captures that commands end.
        self._ends: dict[int, str] = {}
        self._commands = 0

    @property
    def commands(self) -> int:
        """How many were sent to it."""
        return self._commands

    async def ask(self, command: Command, kind: type[Kind], timeout: float) -> Kind:
        """Sends a command and waits for its answer, which is of this kind. `timeout` is in seconds.

        Raises NoAgent when the agent is gone, goes or is silent, AgentError when it refuses or answers otherwise.
        """
        if self.gone:
            raise NoAgent(self.gone)
        future: asyncio.Future[agent_pb2.Answer] = asyncio.get_running_loop().create_future()
        number = self.tell(command)
        self._owed[number] = future
        try:
            async with asyncio.timeout(timeout):
                answer = wire.answer_from_wire(await future, self.node)
        except TimeoutError:
            raise NoAgent(f"the agent of {self.node} did not answer within {timeout:.1f} s") from None
        except wire.WireError as error:
            raise AgentError(f"the agent of {self.node} sent what cannot be understood: {error}") from error
        finally:
            self._owed.pop(number, None)
        if isinstance(answer, Failure):
            raise AgentError(answer.reason)
        if not isinstance(answer, kind):
            raise AgentError(f"the agent of {self.node} answered another question than the one it was asked")
        return answer

    def tell(self, command: Command) -> int:
        """Sends a command and waits for nothing; its number."""
        self._commands += 1
        if isinstance(command, CaptureRequest):
            self.run.captures.add(command.id)
            self.ledger.open(command.id)
        if isinstance(command, EndCapture):
            self._ends[self._commands] = command.id
        self.messages.put_nowait(wire.command_to_wire(self._commands, command))
        return self._commands

    def answered(self, answer: agent_pb2.Answer) -> None:
        if (capture := self._ends.pop(answer.command, None)) is not None:
            ended = answer.HasField("ended")
            self.ledger.close(capture, sum(each.received for each in answer.ended.stats) if ended else None)
        future = self._owed.get(answer.command)
        if future is not None and not future.done():
            future.set_result(answer)

    def leave(self, why: str = "") -> None:
        """The stream has ended: nobody waits for this agent any longer. `why` where it is not the agent that went away."""
        self.gone = why or f"the agent of {self.node} went away"
        for future in self._owed.values():
            if not future.done():
                future.set_exception(NoAgent(self.gone))
        self.messages.put_nowait(None)


class Agents:
    """All connected agents by node, and the captures that their batches belong to.

    `most` is how many bytes of packets one capture may keep.
    """

    def __init__(self, now: Callable[[], int], most: int = MOST_BYTES) -> None:
        self._now = now
        self._most = most
        self._together = Room()
        self._by_node: dict[str, Agent] = {}
        self._captures: dict[str, CaptureLog] = {}
        self._runs: dict[tuple[str, str], Run] = {}
        self._dismissed = False

    def connected(self) -> tuple[Agent, ...]:
        return tuple(self._by_node.values())

    def of(self, node: str) -> Agent:
        """Raises NoAgent."""
        agent = self._by_node.get(node)
        if agent is None:
            raise NoAgent(STOPS if self._dismissed else f"no agent of {node} is connected")
        return agent

    def tell(self, node: str, command: Command) -> None:
        """Sends a command that nobody waits for, if there is an agent."""
        if (agent := self._by_node.get(node)) is not None:
            agent.tell(command)

    def join(self, hello: agent_pb2.ConnectRequest) -> Agent:
        """Admits an agent. A second stream of the same node replaces the first."""
        identity = (hello.node, hello.boot_id)
        known = self._runs.get(identity)
        agent = Agent(hello, self._now(), known or Run(packets=hello.hello.packets))
        # Numbers hold for one run of an agent; those of its former ones are not kept for ever.
        self._runs = {each: run for each, run in self._runs.items() if each[0] != agent.node} | {identity: agent.run}
        if known is not None:
            self._miss(agent, hello.hello.packets)
        former = self._by_node.get(agent.node)
        self._by_node[agent.node] = agent
        if former is not None:
            same = "the same agent" if former.boot_id == agent.boot_id else "another agent"
            log.warning("%s of %s has connected: the stream before it is ended", same, agent.node)
            former.leave()
        return agent

    def dismiss(self) -> None:
        """Ends every stream from this side, for good."""
        self._dismissed = True
        for agent in self.connected():
            self.leave(agent, STOPS)

    def leave(self, agent: Agent, why: str = "") -> None:
        agent.leave(why)
        if self._by_node.get(agent.node) is agent:
            del self._by_node[agent.node]
        for log in self._captures.values():
            log.changed.set()

    def receive(self, agent: Agent, message: agent_pb2.ConnectRequest) -> None:
        """Takes one message of an agent; one that came before, by (node, boot_id, sequence), is passed over. So is what comes
        late on a stream that is over: the next Hello tells how much that is.

        Raises wire.WireError for a malformed one.
        """
        if agent.gone or message.sequence <= agent.run.last:
            return
        agent.run.last = message.sequence
        match message.WhichOneof("body"):
            case "batch":
                self._take(agent, message.batch)
            case "answer":
                agent.answered(message.answer)
            case _:
                pass

    def _miss(self, agent: Agent, sent: int) -> None:
        """What the agent has sent and has not come: it was on its way when a stream ended, for whichever capture."""
        if (missing := sent - agent.run.packets) <= 0:
            return
        agent.run.packets = sent
        agent.ledger.lose("", "stream", missing)
        why = "they were on their way when the agent's stream ended"
        for capture in agent.run.captures:
            if (log := self._captures.get(capture)) is not None:
                log.lose(Lost(node=agent.node, where="stream", count=missing, why=why))

    def _take(self, agent: Agent, batch: agent_pb2.Batch) -> None:
        observations, losses, rows = wire.batch_from_wire(batch, agent.node)
        agent.run.packets += len(observations) + sum(map(len, rows))
        for each in rows:
            log = self._log_of(agent, each.capture)
            self._enter(agent, each.capture, len(each), log.take(each) if log is not None else 0)
        for observation in observations:
            log = self._log_of(agent, observation.capture)
            self._enter(agent, observation.capture, 1, log.see(observation) if log is not None else 0)
        for lost in losses:
            agent.ledger.lose(lost.capture, lost.where, lost.count)
            for capture in (lost.capture,) if lost.capture else tuple(agent.run.captures):
                if (log := self._log_of(agent, capture)) is not None:
                    log.lose(lost)

    def _log_of(self, agent: Agent, capture: str) -> CaptureLog | None:
        """Of a capture that this agent was asked for: what it says of others is nobody's."""
        return self._captures.get(capture) if capture in agent.run.captures else None

    def _enter(self, agent: Agent, capture: str, came: int, beyond: int) -> None:
        agent.ledger.deliver(capture, came - beyond)
        if beyond:
            agent.ledger.lose(capture, "collector", beyond)

    @contextmanager
    def capture(self, identity: str) -> Iterator[CaptureLog]:
        """Keeps what arrives of the capture with this id while the block runs."""
        log = CaptureLog(identity, self._most, self._together)
        self._captures[identity] = log
        try:
            yield log
        finally:
            del self._captures[identity]
            log.release()
            for run in self._runs.values():
                run.captures.discard(identity)
