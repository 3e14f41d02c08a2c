"""Carries out `snat --all`: reads every node and its connection tracking, sends nothing, and proves each node's rules.

Reading is bounded, a few nodes at once; what is pure runs beside the event loop, which other requests share.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pathtap.collector.agents import Agents
from pathtap.collector.asking import SNAPSHOT_TIMEOUT, Asking, Progress
from pathtap.collector.check import AT_ONCE
from pathtap.collector.cluster.inventory import Inventory, inventory_gaps
from pathtap.collector.proving.answers import rows
from pathtap.collector.proving.subject import Found, subjects_of_node
from pathtap.model.node import NodeSnapshot
from pathtap.model.snat import Snat
from pathtap.model.survey import SurveyReport, SurveyRequest
from pathtap.model.trace import Gap

# Of one node: enough for every statement, and little to send.
MOST_ENTRIES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SnatTable:
    """One row for each node and, on a node, for each rule that its pods' traffic meets first."""

    started_at: int
    finished_at: int
    nodes: tuple[Snat, ...]
    gaps: tuple[Gap, ...]


@dataclass(slots=True, kw_only=True)
class SnatTableRun:
    id: str
    nodes: tuple[str, ...]
    inventory: Inventory
    agents: Agents
    now: Callable[[], int]
    progress: Progress
    asking: Asking = field(init=False)

    def __post_init__(self) -> None:
        self.asking = Asking(agents=self.agents, gaps=[*inventory_gaps(self.inventory)])

    async def prove(self) -> SnatTable:
        """Never raises for an agent's sake: a node that could not be read is a decisive gap."""
        started_at, free = self.now(), asyncio.Semaphore(AT_ONCE)
        await self.progress(f"reading {len(self.nodes)} nodes")

        async def of_node(node: str) -> tuple[Snat, ...]:
            async with free:
                return await self._prove_node(node)

        each = await asyncio.gather(*(of_node(node) for node in self.nodes))
        told = {gap for of_node in each for row in of_node for gap in row.gaps}
        missing = (gap for gap in self.asking.gaps if gap not in told)
        return SnatTable(
            started_at=started_at,
            finished_at=self.now(),
            nodes=tuple(row for of_node in each for row in of_node),
            gaps=tuple(replace(gap, decisive=True) for gap in missing),
        )

    async def _prove_node(self, node: str) -> tuple[Snat, ...]:
        started_at = self.now()
        counters = SurveyRequest(limit=0)
        snapshot, before = await asyncio.gather(
            self.asking.snapshot(node, SNAPSHOT_TIMEOUT), self.asking.survey(node, counters)
        )
        if snapshot is None:
            return ()
        seen = await self.asking.survey(node, SurveyRequest(limit=MOST_ENTRIES))
        found = Found(
            before=before or SurveyReport(),
            seen=seen or SurveyReport(),
            after=seen or SurveyReport(),
            gaps=tuple(gap for gap in self.asking.gaps if gap.node == node),
        )
        proven = await asyncio.to_thread(self._rows, snapshot, found)
        return tuple(replace(row, started_at=started_at, finished_at=self.now()) for row in proven)

    def _rows(self, snapshot: NodeSnapshot, found: Found) -> tuple[Snat, ...]:
        subjects, left_out = subjects_of_node(self.id, snapshot, self.inventory)
        return rows(subjects, replace(found, gaps=(*found.gaps, *left_out)), self.inventory)
