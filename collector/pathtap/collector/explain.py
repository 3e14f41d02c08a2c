"""Carries out one explanation: reads the nodes that the way leads over, and sends and captures nothing.

The kernels are asked for their own route lookups, which moves no packet. What is foreseen of them is pure, and so is the way
that a trace expected (`expected_paths`).
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pathtap.collector.agents import Agents
from pathtap.collector.asking import Asking, Progress
from pathtap.collector.expect import models_of
from pathtap.collector.foretell import foretell
from pathtap.collector.inventory import Inventory
from pathtap.collector.outlook import Explained, outlook
from pathtap.collector.plan import concerned_nodes, first_packet, pods_to_enter, veth_of
from pathtap.collector.prospect import Prospect, answered, prospect_of
from pathtap.collector.record import Record
from pathtap.collector.resolve import Question
from pathtap.forwarding.fabric import Fabric
from pathtap.forwarding.journey import LIMIT, Walk, walk
from pathtap.forwarding.node import NodeModel
from pathtap.forwarding.packet import Packet
from pathtap.model.address import Address, FiveTuple, Socket
from pathtap.model.node import NodeSnapshot
from pathtap.model.trace import Path, Trace

# Seconds for a node's whole state; a node with tens of thousands of rules takes some.
SNAPSHOT_TIMEOUT = 5.0
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
        self.asking = Asking(agents=self.agents)

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
        fabric, flow = Fabric(models_of(snapshots), placed(self.inventory)), first_packet(self.question)
        first = _way(self.question, fabric, flow)
        if first is None:
            return ()
        choices = next((leg.alternatives for leg in first.forward if len(leg.alternatives) > 1), ())
        others = (_way(self.question, fabric, flow, socket) for socket in choices[1:MOST_BACKENDS])
        return tuple(prospect_of(each, fabric, port_known=False) for each in (first, *others) if each is not None)


def expected_paths(
    record: Record, models: Mapping[str, NodeModel], sent: FiveTuple | None, translated_to: Socket | None = None
) -> tuple[Path, Path, Walk | None]:
    """The whole way of a traced packet as the nodes' configuration has it, there and back, and the walk it is told from.

    `sent` is the flow as the source sent it, `translated_to` the backend that was really chosen. Empty, and no walk, where the
    source's node was not read.
    """
    question = record.question
    fabric = Fabric(models, placed(record.inventory))
    found = _way(question, fabric, sent or first_packet(question), translated_to)
    if found is None:
        return Path(), Path(), None
    forward, reply = foretell(prospect_of(found, fabric, port_known=sent is not None and sent.source_port != 0))
    return forward, reply, found


def placed(inventory: Inventory) -> dict[Address, str]:
    """The node of every pod and node address, as the cluster's API has it."""
    pods = {a: pod.node for pod in inventory.pods.values() for a in pod.addresses if inventory.pod_at(a) is pod}
    return pods | {address: node.name for node in inventory.nodes.values() for address in node.addresses}


def _way(question: Question, fabric: Fabric, flow: FiveTuple, translated_to: Socket | None = None) -> Walk | None:
    """None where it cannot be begun: the source's node was not read, or the pod's veth is not known."""
    start = _start(question, fabric)
    if start is None:
        return None
    node, interface = start
    return walk(fabric, node, Packet.opening(flow, interface), translated_to=translated_to)


def _start(question: Question, fabric: Fabric) -> tuple[str, str] | None:
    """The node that the packet enters, and by which interface: none for a node's own, the destination's ENI from outside."""
    model = fabric.models.get(question.source.node)
    if not question.source.node:
        owner = fabric.owner(question.destination.socket.address)
        return owner if owner and owner[1] else None
    if model is None:
        return None
    veth = veth_of(question, model.snapshot)
    return (question.source.node, veth) if veth or not question.source_has_namespace else None


def _leads_to(prospect: Prospect) -> set[str]:
    """The nodes that the way comes to and that were not read."""
    nodes = {stretch.leg.carried.node for stretch in prospect.stretches if stretch.leg.carried}
    return {node for node in nodes if node and node not in prospect.fabric.models}
