"""Carries out one check: reads the nodes, inspects them, walks samples over them. Knows the order of things and the clock.

Reading is bounded, a few nodes at once; what is pure runs beside the event loop, which other requests share.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pathtap.collector.agents import Agents
from pathtap.collector.asking import Asking, Progress
from pathtap.collector.cluster.inventory import Inventory, inventory_gaps
from pathtap.collector.cluster.naming import nearest
from pathtap.collector.cluster.resolve import UnknownName
from pathtap.collector.foreseeing.sampling import Sampled, sample, share
from pathtap.collector.inspections import Defect, inspect, inspect_cluster, own_pods, view_of
from pathtap.forwarding.fabric import Fabric
from pathtap.forwarding.node import NodeModel
from pathtap.model.node import NodeSnapshot
from pathtap.model.trace import Check, CheckedNode, Finding, Gap, Severity

# Seconds for a node's whole state and the inside of all its pods.
SNAPSHOT_TIMEOUT = 10.0
AT_ONCE = 16
# Sentences about what cannot be evaluated, for one node; they are much alike.
MOST_UNKNOWN = 5
# Names of nodes in a refusal.
_NAMED = 8
# Without these hardly anything can be inspected.
NEEDED = frozenset({"links", "rules", "routes"})
# Of these one cause stops many packets, and the mend names it.
ONE_CAUSE = frozenset(
    {
        "NO_ROUTE_TO_DESTINATION",
        "SOURCE_NOT_OWNED_BY_ENI",
        "RP_FILTER_DROP",
        "FORWARDING_DISABLED",
        "ROUTING_LOOP",
        "WRONG_ENI",
    }
)
# These say already that the order of two chains is not known.
DISORDER = frozenset({"STALE_RULE_SET", "CONNMARK_BEFORE_DNAT"})
SEVERITIES = (Severity.ERROR, Severity.WARNING, Severity.NOTE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was made of the snapshots: the findings in the order in which they are shown."""

    nodes: tuple[CheckedNode, ...]
    findings: tuple[Finding, ...]
    gaps: tuple[Gap, ...]


def nodes_to_check(named: Sequence[str], agents: Iterable[str], inventory: Inventory) -> tuple[str, ...]:
    """Those named, else every one that the inventory or an agent has. Raises UnknownName."""
    every = sorted({*inventory.nodes, *agents})
    for name in named:
        if name not in every:
            raise UnknownName(f"there is no node {name}{nearest(name, every) or _some(every)}")
    return tuple(dict.fromkeys(named)) or tuple(every)


def _some(nodes: Sequence[str]) -> str:
    """For a person whose word is like no node's name."""
    more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
    return f"; the nodes are {', '.join(nodes[:_NAMED])}{more}" if nodes else "; no node is known"


@dataclass(slots=True, kw_only=True)
class CheckRun:
    nodes: tuple[str, ...]
    inventory: Inventory
    agents: Agents
    now: Callable[[], int]
    progress: Progress
    asking: Asking = field(init=False)

    def __post_init__(self) -> None:
        self.asking = Asking(agents=self.agents, gaps=[*inventory_gaps(self.inventory)])

    async def check(self) -> Check:
        """Never raises for an agent's sake: a node that could not be read is a decisive gap."""
        started_at = self.now()
        await self.progress(f"reading {len(self.nodes)} nodes" if len(self.nodes) > 1 else f"reading {self.nodes[0]}")
        snapshots = await self._read()
        await self.progress("inspecting")
        judged = await asyncio.to_thread(judge, self.nodes, snapshots, self.inventory)
        missing = tuple(Gap(node=gap.node, part=gap.part, why=gap.why, decisive=True) for gap in self.asking.gaps)
        return Check(
            started_at=started_at,
            finished_at=self.now(),
            nodes=judged.nodes,
            findings=judged.findings,
            gaps=(*missing, *judged.gaps),
        )

    async def _read(self) -> dict[str, NodeSnapshot]:
        free = asyncio.Semaphore(AT_ONCE)

        async def read(node: str) -> NodeSnapshot | None:
            pods = tuple(address for pod in own_pods(node, self.inventory) for address in pod.addresses)
            async with free:
                return await self.asking.snapshot(node, SNAPSHOT_TIMEOUT, pods)

        found = await asyncio.gather(*(read(node) for node in self.nodes))
        return {node: snapshot for node, snapshot in zip(self.nodes, found, strict=True) if snapshot is not None}


def judge(nodes: Sequence[str], snapshots: Mapping[str, NodeSnapshot], inventory: Inventory) -> Judged:
    """Pure: inspections first, then samples, of which what an inspection has named already is not told again."""
    models = {node: NodeModel(snapshot) for node, snapshot in snapshots.items()}
    placed = {address: pod.node for node in models for pod in own_pods(node, inventory) for address in pod.addresses}
    fabric = Fabric(models, placed)
    views = {node: view_of(snapshots[node], inventory, model) for node, model in models.items()}
    defects: list[Defect] = [*inspect_cluster(snapshots.values(), inventory)]
    for view in views.values():
        defects += inspect(view)
    most = share(len(views))
    sampled = {node: sample(view, fabric, inventory, defects, most) for node, view in views.items()}
    found = [defect.finding for defect in defects]
    found += [finding for each in sampled.values() for finding in each.findings]
    checked = [
        CheckedNode(
            node=node,
            read=node in views,
            pods=len({pod.key for pod in views[node].pods.values()}) if node in views else 0,
            predictions=sampled[node].predictions if node in views else 0,
        )
        for node in nodes
    ]
    gaps = [gap for node, snapshot in snapshots.items() for gap in _gaps(snapshot, sampled[node])]
    disordered = {finding.node for finding in found if finding.code in DISORDER}
    gaps = [gap for gap in gaps if not (gap.node in disordered and gap.why.startswith("the order of "))]
    return Judged(nodes=tuple(checked), findings=_merged(found), gaps=tuple(dict.fromkeys(gaps)))


def _merged(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """One for each cause, whatever packets came upon it: by node, the errors first."""
    first: dict[tuple[str, str, str, str], Finding] = {}
    for finding in found:
        # The mend names the rule, route or pod; the sentence of a packet names the packet too.
        first.setdefault((finding.node, finding.code, finding.fix, _cause(finding)), finding)
    return tuple(sorted(first.values(), key=lambda each: (each.node, SEVERITIES.index(each.severity), each.code)))


def _cause(finding: Finding) -> str:
    """The text, but for those codes of which one cause stops many packets."""
    return "" if finding.code in ONE_CAUSE else finding.text


def _gaps(snapshot: NodeSnapshot, sampled: Sampled) -> list[Gap]:
    node = snapshot.node
    found = [
        Gap(node=node, part=unread.part, why=unread.reason, decisive=unread.part in NEEDED)
        for unread in snapshot.unread
    ]
    unseen = [interior.unread[0] for interior in snapshot.interiors if interior.unread]
    if unseen:
        pods = "1 pod" if len(unseen) == 1 else f"{len(unseen)} pods"
        found.append(Gap(node=node, part=unseen[0].part, why=f"{pods} could not be looked into: {unseen[0].reason}"))
    found += [Gap(node=node, part="expectation", why=why) for why in sampled.unknown[:MOST_UNKNOWN]]
    if more := len(sampled.unknown) - MOST_UNKNOWN:
        found += [Gap(node=node, part="expectation", why=f"{more} more could not be evaluated")] if more > 0 else []
    if sampled.left_out:
        why = f"{sampled.left_out} sample packets were left out after {sampled.predictions} predictions"
        found.append(Gap(node=node, part="samples", why=why))
    return found
