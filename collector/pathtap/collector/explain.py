"""Carries out one explanation: reads the nodes that the way leads over, and sends and captures nothing.

The kernels are asked for their own route lookups, which moves no packet. What is made of all that is pure (`outlook`).
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pathtap.collector.agents import Agents
from pathtap.collector.asking import SNAPSHOT_TIMEOUT, Asking, Progress
from pathtap.collector.cluster.inventory import Inventory, inventory_gaps
from pathtap.collector.cluster.resolve import Question
from pathtap.collector.foreseeing.outlook import Explained, outlook
from pathtap.collector.foreseeing.prospect import Prospect, answered, prospect_of
from pathtap.collector.foreseeing.ways import fabric_of, way
from pathtap.collector.joining.expect import models_of
from pathtap.collector.plan import concerned_nodes, first_packet, pods_to_enter
from pathtap.forwarding.journey import LIMIT
from pathtap.model.node import NodeSnapshot
from pathtap.model.trace import Trace

# Of a service's backends no more than these are looked at one by one.
MOST_BACKENDS = 32


@dataclass(slots=True, kw_only=True)
class ExplainRun:
    id: str
    question: Question
    inventory: Inventory
    agents: Agents
    now: Callable[[], int]
    progress: Progress
    asking: Asking = field(init=False)

    def __post_init__(self) -> None:
        self.asking = Asking(agents=self.agents, gaps=[*inventory_gaps(self.inventory)])

    async def explain(self) -> Trace:
        """Never raises for an agent's sake: what is missing is in the answer's gaps."""
        started_at = self.now()
        snapshots: dict[str, NodeSnapshot] = {}
        prospects: tuple[Prospect, ...] = ()
        asked: set[str] = set()
        wanted = set(concerned_nodes(self.question, self.inventory))
        for _ in range(LIMIT):
            asked |= wanted
            snapshots |= await self._read(sorted(wanted))
            prospects = self._look_ahead(snapshots)
            wanted = set().union(*(_leads_to(each) for each in prospects)) - asked
            if not wanted:
                break
        await self.progress("asking the kernels for their route lookups")
        answers = await self.asking.kernels(dict.fromkeys(each for p in prospects for each in p.questions))
        return outlook(
            Explained(
                id=self.id,
                question=self.question,
                inventory=self.inventory,
                started_at=started_at,
                finished_at=self.now(),
                snapshots=snapshots,
                gaps=tuple(self.asking.gaps),
                prospects=tuple(answered(each, answers) for each in prospects),
            )
        )

    async def _read(self, nodes: Iterable[str]) -> dict[str, NodeSnapshot]:
        nodes = list(nodes)
        for choice in self.question.chosen:
            await self.progress(choice)
        await self.progress(f"reading {', '.join(nodes)}")
        read = await asyncio.gather(
            *(
                self.asking.snapshot(node, SNAPSHOT_TIMEOUT, pods_to_enter(self.question, self.inventory, node))
                for node in nodes
            )
        )
        return {node: snapshot for node, snapshot in zip(nodes, read, strict=True) if snapshot is not None}

    def _look_ahead(self, snapshots: Mapping[str, NodeSnapshot]) -> tuple[Prospect, ...]:
        """The way of the packet; where DNAT has a choice, one for each backend."""
        fabric, flow = fabric_of(models_of(snapshots), self.inventory), first_packet(self.question)
        first = way(self.question, fabric, flow)
        if first is None:
            return ()
        choices = next((leg.alternatives for leg in first.forward if len(leg.alternatives) > 1), ())
        others = (way(self.question, fabric, flow, socket) for socket in choices[1:MOST_BACKENDS])
        return tuple(prospect_of(each, fabric, port_known=False) for each in (first, *others) if each is not None)


def _leads_to(prospect: Prospect) -> set[str]:
    """The nodes that the way comes to and that were not read."""
    nodes = {stretch.leg.carried.node for stretch in prospect.stretches if stretch.leg.carried}
    return {node for node in nodes if node and node not in prospect.fabric.models}
