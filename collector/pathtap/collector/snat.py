"""Carries out `snat`: reads the source's node, opens connections or watches those that there are, surveys before and after.

Knows the order of things and the clock; weighs nothing. What is pure runs beside the event loop, which other requests share.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pathtap.collector.agents import Agents
from pathtap.collector.asking import SNAPSHOT_TIMEOUT, Asking, Progress
from pathtap.collector.cluster.inventory import Inventory, inventory_gaps
from pathtap.collector.cluster.resolve import Question
from pathtap.collector.plan import capture_request
from pathtap.collector.proving.answers import answer
from pathtap.collector.proving.exposure import has_lost
from pathtap.collector.proving.proof import unproven
from pathtap.collector.proving.subject import Asked, Found, Subject, subject_of
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.netfilter import Random
from pathtap.model.node import NodeSnapshot
from pathtap.model.packet import PacketObservation
from pathtap.model.request import ConnectionsReport, OpenConnections
from pathtap.model.snat import Snat
from pathtap.model.survey import PortUsage, SurveyReport, SurveyRequest

# Connections that are opened where nobody says how many: enough for every statement about the usual range of ports.
CONNECTIONS = 64
# Of each connection: what opens it, answers it and ends it, on the veth and on the ENI.
PACKETS_EACH = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`timeout` is in seconds, for the answers to all connections, or for the source's own to come where the asked is live.

    `protocol` narrows what is surveyed, 0 does not.
    """

    connections: int
    timeout: float
    protocol: int = 0


@dataclass(slots=True, kw_only=True)
class SnatRun:
    """Where no destination was given, or the asked is live, nothing is sent."""

    asked: Asked
    inventory: Inventory
    agents: Agents
    options: Options
    now: Callable[[], int]
    progress: Progress
    asking: Asking = field(init=False)

    def __post_init__(self) -> None:
        self.asking = Asking(agents=self.agents)

    async def prove(self) -> Snat:
        """Never raises for an agent's sake: what is missing is in the answer's gaps."""
        started_at, node = self.now(), self.asked.source.node
        await self.progress(f"reading {node}")
        snapshot, before = await asyncio.gather(self.asking.snapshot(node, SNAPSHOT_TIMEOUT), self._survey())
        if snapshot is None:
            return unproven(self.asked, self.asking.gaps, started_at, self.now())
        subject = await asyncio.to_thread(subject_of, self.asked, snapshot, self.inventory)
        mapped = await self._mappings(subject)
        opened, observations, seen = await self._look(subject)
        mappings, after = (*mapped, *await self._mappings(subject)), await self._survey()
        found = Found(
            before=before or SurveyReport(),
            seen=seen,
            after=after or SurveyReport(),
            opened=opened,
            observations=observations,
            mappings=mappings,
            elsewhere=await self._elsewhere(before, after),
            gaps=tuple(self.asking.gaps),
        )
        proven = await asyncio.to_thread(answer, subject, found, self.inventory)
        gaps = (*proven.gaps, *inventory_gaps(self.inventory))
        return replace(proven, gaps=gaps, started_at=started_at, finished_at=self.now())

    async def _look(
        self, subject: Subject
    ) -> tuple[ConnectionsReport | None, tuple[PacketObservation, ...], SurveyReport]:
        """Connections of our own, or the source's."""
        question, live = self.asked.question, self.asked.live
        if question is not None and not live:
            opened, observations = await self._open(question, subject.snapshot)
            return opened, observations, SurveyReport()
        if live:
            await self.progress(f"watching {self.asked.source.name} for {self.options.timeout:g} s")
        request = replace(self._request(), sources=subject.addresses, follow=self.options.timeout if live else 0.0)
        return None, (), await self.asking.survey(self.asked.source.node, request) or SurveyReport()

    async def _open(
        self, question: Question, snapshot: NodeSnapshot
    ) -> tuple[ConnectionsReport | None, tuple[PacketObservation, ...]]:
        """However this ends, no capture stays armed."""
        node, count = question.source.node, self.options.connections
        request = OpenConnections(
            protocol=question.protocol,
            source=question.source.socket.address if question.source_has_namespace else None,
            destination=question.destination.socket,
            count=count,
            timeout=self.options.timeout,
        )
        with self.agents.capture(self.asked.id) as log:
            try:
                armed = capture_request(self.asked.id, question, snapshot)
                await self.asking.arm([node], replace(armed, limit=max(armed.limit, PACKETS_EACH * count)))
                await self.progress(f"opening {count} connections from {question.source.name}")
                opened = await self.asking.open_connections(node, request)
            finally:
                await self.asking.end(self.asked.id)
            return opened, log.observations

    async def _mappings(self, subject: Subject) -> tuple[ConntrackEntry, ...]:
        """What the source's sockets are translated to towards other destinations than the one asked about: a rule without a flag
        reuses that, others do not.
        """
        flags = {each.rule.random for each in subject.translators.rules}
        if self.asked.question is None or Random.NONE not in flags:
            return ()
        request = SurveyRequest(protocol=self.options.protocol, sources=subject.addresses)
        report = await self.asking.survey(self.asked.source.node, request)
        return report.entries if report else ()

    async def _elsewhere(self, before: SurveyReport | None, after: SurveyReport | None) -> tuple[PortUsage, ...]:
        """Where connections were lost meanwhile: they may be to another destination, whose ports have run out."""
        if self.asked.question is None or before is None or after is None or not has_lost(before, after):
            return ()
        report = await self.asking.survey(self.asked.source.node, SurveyRequest(limit=0))
        return report.usage if report else ()

    async def _survey(self) -> SurveyReport | None:
        """Counters and ports in use; no entries."""
        return await self.asking.survey(self.asked.source.node, replace(self._request(), limit=0))

    def _request(self) -> SurveyRequest:
        question = self.asked.question
        return SurveyRequest(
            protocol=self.options.protocol, destination=question.destination.socket if question else None
        )
