"""Carries out one trace: snapshots, captures, the probe, conntrack, in that order, on all nodes that it concerns.

Knows the order of things and the clock; joins and judges nothing.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from pathtap.collector.agents import Agents, CaptureLog
from pathtap.collector.asking import Asking, Progress
from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.resolve import Question
from pathtap.collector.plan import capture_request, concerned_nodes, live_flow, pods_to_enter
from pathtap.collector.record import Record
from pathtap.collector.telling.assemble import assemble, lay_out
from pathtap.model.address import FiveTuple
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.node import NodeSnapshot
from pathtap.model.request import ProbeOutcome, ProbeReport, ProbeRequest
from pathtap.model.trace import Trace

# Seconds for a node's whole state; a node with tens of thousands of rules takes some.
SNAPSHOT_TIMEOUT = 5.0
# What shows that the packet got through.
HEARD = (ProbeOutcome.ANSWERED, ProbeOutcome.REFUSED)
# How long a live trace waits for a flow to begin, once it has seen one that was under way.
LIVE_PATIENCE = 1.0
# How long a live trace waits for the answer, once it has seen its flow.
LIVE_GRACE = 0.3
# After the last node is armed: what the first ones saw before comes within the 20 ms of an agent's batch (docs/wire.md).
LIVE_SETTLE = 0.06


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`timeout` is in seconds, for the answers to all `count` probes together, or for live traffic to come.

    `size` is the payload of a probe in bytes, 0 for the usual few.
    """

    timeout: float
    count: int = 1
    size: int = 0


@dataclass(slots=True, kw_only=True)
class TraceRun:
    id: str
    question: Question
    inventory: Inventory
    agents: Agents
    options: Options
    now: Callable[[], int]
    progress: Progress
    asking: Asking = field(init=False)

    def __post_init__(self) -> None:
        self.asking = Asking(agents=self.agents)

    async def trace(self) -> Trace:
        expected = lay_out(await self.gather())
        trace = assemble(expected, await self.asking.kernels(expected.questions))
        return replace(trace, finished_at=self.now())

    async def gather(self) -> Record:
        """Never raises for an agent's sake: what is missing is in the record's gaps."""
        started_at = self.now()
        nodes = concerned_nodes(self.question, self.inventory)
        async with asyncio.TaskGroup() as tasks:
            reading = {node: tasks.create_task(self._snapshot(node)) for node in nodes}
            await self.progress(f"reading {', '.join(nodes)}")
            source = reading.get(self.question.source.node)
            source_snapshot = await source if source else None
            with self.agents.capture(self.id) as log:
                captured, reports = await self._capture(nodes, source_snapshot, log)
        snapshots = {node: snapshot for node, task in reading.items() if (snapshot := task.result())}
        silent = any(report.outcome not in HEARD for report in reports)
        since = await self._since(snapshots) if silent else {}
        sent = self._sent(reports, log)
        entries = await self._conntrack(captured, sent, log)
        return Record(
            id=self.id,
            question=self.question,
            inventory=self.inventory,
            started_at=started_at,
            finished_at=self.now(),
            sent=sent,
            reports=reports,
            snapshots={
                node: replace(snapshot, neighbours=since[node].neighbours) if node in since else snapshot
                for node, snapshot in snapshots.items()
            },
            since=since,
            captured=captured,
            observations=tuple(log.observations),
            lost=tuple(log.lost),
            entries=entries,
            gaps=tuple(self.asking.gaps),
        )

    async def _snapshot(self, node: str) -> NodeSnapshot | None:
        timeout = min(SNAPSHOT_TIMEOUT, self.options.timeout + 1)
        return await self.asking.snapshot(node, timeout, pods_to_enter(self.question, self.inventory, node))

    async def _since(self, nodes: Iterable[str]) -> dict[str, NodeSnapshot]:
        """The nodes as they are after the probe."""
        names = tuple(nodes)
        fresh = await asyncio.gather(*(self.asking.snapshot_again(node) for node in names))
        return {node: snapshot for node, snapshot in zip(names, fresh, strict=True) if snapshot is not None}

    async def _capture(
        self, nodes: Iterable[str], source: NodeSnapshot | None, log: CaptureLog
    ) -> tuple[dict[str, tuple[str, ...]], tuple[ProbeReport, ...]]:
        """However this ends, no capture stays armed."""
        await self.progress(f"capturing on {', '.join(nodes)}")
        try:
            captured = await self.asking.arm(nodes, capture_request(self.id, self.question, source))
            if not self.question.live:
                return captured, await self._probe()
            await self.progress(f"waiting for traffic, {self.options.timeout:g} s at most")
            await self._wait_for_traffic(log)
            return captured, ()
        finally:
            await self.asking.end(self.id)

    async def _probe(self) -> tuple[ProbeReport, ...]:
        source, destination = self.question.source, self.question.destination
        await self.progress(f"probing {destination.socket} from {source.name}")
        request = ProbeRequest(
            protocol=self.question.protocol,
            source=source.socket.address if self.question.source_has_namespace else None,
            destination=destination.socket,
            count=self.options.count,
            timeout=self.options.timeout / self.options.count,
            size=self.options.size,
        )
        return await self.asking.probe(source.node, request)

    async def _wait_for_traffic(self, log: CaptureLog) -> None:
        """Packets that passed before every node listened would make half a path: they are passed over."""
        await asyncio.sleep(LIVE_SETTLE)
        log.observations.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.options.timeout):
                while live_flow(self.question, log.observations, opening=False) is None:
                    await _news(log)
        if self._live_flow(log) is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(min(LIVE_PATIENCE, self.options.timeout)):
                while live_flow(self.question, log.observations, opening=True) is None:
                    await _news(log)
        with suppress(TimeoutError):
            async with asyncio.timeout(LIVE_GRACE):
                while not self._answered(log):
                    await _news(log)

    def _live_flow(self, log: CaptureLog) -> FiveTuple | None:
        """A flow that was seen to begin, else one that was under way already."""
        opened = live_flow(self.question, log.observations, opening=True)
        return opened or live_flow(self.question, log.observations, opening=False)

    def _answered(self, log: CaptureLog) -> bool:
        """Whether an answer has come back to the source's node."""
        flow, node = self._live_flow(log), self.question.source.node
        return flow is None or any(
            o.headers.five_tuple == flow.reversed and o.node == (node or o.node) for o in log.observations
        )

    def _sent(self, reports: Iterable[ProbeReport], log: CaptureLog) -> tuple[FiveTuple, ...]:
        if not self.question.live:
            return tuple(report.five_tuple for report in reports if report.five_tuple is not None)
        flow = self._live_flow(log)
        return (flow,) if flow else ()

    async def _conntrack(
        self, nodes: Iterable[str], sent: Iterable[FiveTuple], log: CaptureLog
    ) -> tuple[ConntrackEntry, ...]:
        """The entries of what was sent and of every packet that each node saw."""
        await self.progress("asking conntrack")
        seen = {node: [o.headers.five_tuple for o in log.observations if o.node == node] for node in nodes}
        return await self.asking.conntrack({node: [*sent, *tuples] for node, tuples in seen.items()})


async def _news(log: CaptureLog) -> None:
    await log.changed.wait()
    log.changed.clear()
