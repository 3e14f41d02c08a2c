"""Questions to several agents at once. What an agent cannot say becomes a gap that names its node, never an exception.

Knows commands and time-outs; knows nothing of what the answers are for.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pathtap.collector.agents import Agent, AgentError, Agents, NoAgent
from pathtap.model.address import Address, FiveTuple
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.node import NodeSnapshot, RouteAnswer
from pathtap.model.request import (
    MOST_ANSWER_SECONDS,
    MOST_RATE,
    CaptureArmed,
    CaptureEnded,
    CaptureRequest,
    Command,
    ConnectionsReport,
    EndCapture,
    LookupReport,
    LookupRequest,
    OpenConnections,
    ProbeReport,
    ProbeRequest,
    ReadSnapshot,
    RouteQuestion,
)
from pathtap.model.survey import MOST_FOLLOW_SECONDS, SurveyReport, SurveyRequest
from pathtap.model.trace import Gap

Kind = TypeVar("Kind")
Report = TypeVar("Report", ConnectionsReport, SurveyReport)
Progress = Callable[[str], Awaitable[None]]

# Seconds an agent has for what takes milliseconds: what a trace may take beyond its own time-out.
COMMAND_TIMEOUT = 0.8
# For what is asked once the packets are in: conntrack, the kernel's routes. Without it claims are missing, so it is worth a wait.
LOOKUP_TIMEOUT = 1.5
# For a snapshot by an agent that answers other questions meanwhile: it gives up what prints its rules after 12 s, and
# iptables-nft-save takes 2 s and more for 50,000 of them.
SNAPSHOT_TIMEOUT = 13.0
# For a capture, which may have to wait until the node's metadata service has been silent for its one second.
ARM_TIMEOUT = 1.3
# For a survey beyond the time that it is to follow: a table of 240,000 entries was looked through in 2.3 to 4.4 s while the
# other of two processors was busy, and once in 6 s.
SURVEY_TIMEOUT = 12.0
PARTS: dict[type[Command], str] = {
    ReadSnapshot: "snapshot",
    CaptureRequest: "capture",
    EndCapture: "capture",
    ProbeRequest: "probe",
    LookupRequest: "conntrack",
    OpenConnections: "connections",
    SurveyRequest: "conntrack",
}


async def read_patiently(agent: Agent, request: ReadSnapshot, silence: float) -> NodeSnapshot:
    """A busy agent has SNAPSHOT_TIMEOUT, one that does not answer an empty question either `silence` seconds.

    Raises AgentError.
    """
    alive: LookupReport | AgentError | None = None
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(_outcome(agent.ask(request, NodeSnapshot, max(silence, SNAPSHOT_TIMEOUT))))
        await asyncio.wait({reading}, timeout=max(0.0, silence - COMMAND_TIMEOUT))
        if not reading.done():
            alive = await _outcome(agent.ask(LookupRequest(), LookupReport, COMMAND_TIMEOUT))
            if isinstance(alive, AgentError):
                reading.cancel()
    read = alive if reading.cancelled() and isinstance(alive, AgentError) else reading.result()
    if isinstance(read, AgentError):
        raise read
    return read


async def _outcome(asked: Awaitable[Kind]) -> Kind | AgentError:
    try:
        return await asked
    except AgentError as error:
        return error


@dataclass(slots=True, kw_only=True)
class Asking:
    """`missing` are nodes whose agent was silent once: they are not waited for again. `attempted` may hold captures; `refused`
    did not say that they do, `armed` did, each by this agent.

    `ended` is what each node's agent said of its capture in the end.
    """

    agents: Agents
    gaps: list[Gap] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    attempted: dict[str, None] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    armed: dict[str, Agent] = field(default_factory=dict)
    ended: dict[str, CaptureEnded] = field(default_factory=dict)

    async def snapshot(self, node: str, timeout: float, interiors: Sequence[Address] = ()) -> NodeSnapshot | None:
        """`interiors` are pods of that node to look into. `timeout` is in seconds, for an agent that is silent."""
        request = ReadSnapshot(interiors=tuple(interiors))
        return await self._answer(node, request, lambda agent: read_patiently(agent, request, timeout))

    async def snapshot_again(self, node: str) -> NodeSnapshot | None:
        """A second look, which a node that is slow to read may leave out: that is no gap."""
        if node in self.missing:
            return None
        try:
            return await self.agents.of(node).ask(ReadSnapshot(), NodeSnapshot, COMMAND_TIMEOUT)
        except AgentError:
            return None

    @property
    def watching(self) -> set[str]:
        """The nodes that still capture: an agent ends its captures with its stream, and whoever comes after it has none."""
        return {node for node, agent in self.armed.items() if not agent.gone}

    async def arm(self, nodes: Iterable[str], request: CaptureRequest) -> dict[str, tuple[str, ...]]:
        """The interfaces that are now captured, by node."""
        present = [node for node in nodes if node not in self.missing]
        self.attempted.update(dict.fromkeys(present))
        asked = await asyncio.gather(
            *(self._answer(node, request, lambda agent: self._arm(agent, request)) for node in present)
        )
        answers = {node: answer for node, answer in zip(present, asked, strict=True) if answer is not None}
        self.refused.update(node for node in present if node not in answers)
        for node, armed in answers.items():
            self.gaps.extend(Gap(node=node, part=unread.part, why=unread.reason) for unread in armed.unread)
        return {node: armed.interfaces for node, armed in answers.items()}

    async def _arm(self, agent: Agent, request: CaptureRequest) -> CaptureArmed:
        answer = await agent.ask(request, CaptureArmed, ARM_TIMEOUT)
        self.armed[agent.node] = agent
        return answer

    async def end(self, capture: str) -> None:
        """Ends the capture wherever it may be armed. What it still held has arrived before this returns.

        An agent that was silent, or did not say that it armed the capture, is told too, but not waited for: it may have armed it
        all the same, and what it answers is nothing new.
        """
        nodes, self.attempted = list(self.attempted), {}
        unsure = self.missing | self.refused
        for node in unsure.intersection(nodes):
            self.agents.tell(node, EndCapture(id=capture))
        self.ended |= await self._each(
            {node: EndCapture(id=capture) for node in nodes if node not in unsure}, CaptureEnded
        )

    async def probe(self, node: str, request: ProbeRequest) -> tuple[ProbeReport, ...]:
        # The agent's own answer may come a little after the last probe's time-out.
        timeout = request.timeout * request.count + COMMAND_TIMEOUT
        return await self._ask(node, request, tuple, timeout) or ()

    async def conntrack(
        self, tuples: Mapping[str, Iterable[FiveTuple]], addresses: Sequence[Address] = ()
    ) -> tuple[ConntrackEntry, ...]:
        """Each node's entries of the tuples that belong to it, and of `addresses` on all of these nodes."""
        requests = {
            node: LookupRequest(tuples=tuple(dict.fromkeys(of_node)), addresses=tuple(addresses))
            for node, of_node in tuples.items()
        }
        reports = await self._each(requests, LookupReport, LOOKUP_TIMEOUT)
        for node, report in reports.items():
            self.gaps.extend(Gap(node=node, part=unread.part, why=unread.reason) for unread in report.unread)
        return tuple(entry for report in reports.values() for entry in report.entries)

    async def open_connections(self, node: str, request: OpenConnections) -> ConnectionsReport | None:
        # The agent paces itself and gives up in its own time, whatever it is asked for.
        opening = request.count / min(request.rate, MOST_RATE)
        timeout = opening + min(request.timeout, MOST_ANSWER_SECONDS) + SURVEY_TIMEOUT
        report = await self._ask(node, request, ConnectionsReport, timeout)
        return self._told(node, report)

    async def survey(self, node: str, request: SurveyRequest) -> SurveyReport | None:
        follow = min(request.follow, MOST_FOLLOW_SECONDS)
        return self._told(node, await self._ask(node, request, SurveyReport, follow + SURVEY_TIMEOUT))

    async def kernels(
        self, questions: Iterable[tuple[str, RouteQuestion]]
    ) -> dict[tuple[str, RouteQuestion], RouteAnswer]:
        by_node: dict[str, list[RouteQuestion]] = {}
        for node, question in questions:
            by_node.setdefault(node, []).append(question)
        requests = {node: LookupRequest(routes=tuple(routes)) for node, routes in by_node.items()}
        reports = await self._each(requests, LookupReport, LOOKUP_TIMEOUT)
        return {
            (node, question): answer
            for node, report in reports.items()
            for question, answer in zip(requests[node].routes, report.routes, strict=False)
        }

    def _told(self, node: str, report: Report | None) -> Report | None:
        """With what the report could not read among the gaps, each once."""
        for unread in report.unread if report else ():
            gap = Gap(node=node, part=unread.part, why=unread.reason)
            self.gaps.extend([gap] if gap not in self.gaps else [])
        return report

    async def _each(
        self, commands: Mapping[str, Command], kind: type[Kind], timeout: float = COMMAND_TIMEOUT
    ) -> dict[str, Kind]:
        answers = await asyncio.gather(*(self._ask(node, command, kind, timeout) for node, command in commands.items()))
        return {node: answer for node, answer in zip(commands, answers, strict=True) if answer is not None}

    async def _ask(self, node: str, command: Command, kind: type[Kind], timeout: float) -> Kind | None:
        return await self._answer(node, command, lambda agent: agent.ask(command, kind, timeout))

    async def _answer(self, node: str, command: Command, ask: Callable[[Agent], Awaitable[Kind]]) -> Kind | None:
        if node in self.missing:
            return None
        try:
            return await ask(self.agents.of(node))
        except NoAgent as error:
            if node not in self.missing:
                self.missing.add(node)
                # By the time of a lookup the capture has ended, and all that was seen has come.
                part = PARTS[LookupRequest] if isinstance(command, LookupRequest) else "agent"
                self.gaps.append(Gap(node=node, part=part, why=str(error)))
        except AgentError as error:
            self.gaps.append(Gap(node=node, part=PARTS[type(command)], why=str(error)))
        return None
