"""Carries out one trace: snapshots, captures, the probe, conntrack, in that order, on all nodes that it concerns.

Knows the order of things and the clock; joins and judges nothing.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from pathtap.collector.agents import Agents
from pathtap.collector.asking import Asking, Progress
from pathtap.collector.capture_log import CaptureLog
from pathtap.collector.cluster.inventory import Inventory, inventory_gaps
from pathtap.collector.cluster.resolve import Question
from pathtap.collector.joining.correlate import Entries
from pathtap.collector.judging.accounts import accounts_of
from pathtap.collector.live import LiveTraffic
from pathtap.collector.plan import capture_request, concerned_nodes, pods_to_enter
from pathtap.collector.record import Record
from pathtap.collector.telling.assemble import assemble, lay_out
from pathtap.model.address import FiveTuple
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.node import NodeSnapshot
from pathtap.model.request import ProbeOutcome, ProbeReport, ProbeRequest
from pathtap.model.trace import Gap, Trace

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
# Of which conntrack is asked for on each node.
MOST_FLOWS = 10_000


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
        self.asking = Asking(agents=self.agents, gaps=[*inventory_gaps(self.inventory)])

    async def trace(self) -> Trace:
        expected = lay_out(await self.gather())
        trace = assemble(expected, await self.asking.kernels(expected.questions))
        return replace(trace, finished_at=self.now())

    async def gather(self) -> Record:
        """Never raises for an agent's sake: what is missing is in the record's gaps."""
        started_at = self.now()
        nodes = concerned_nodes(self.question, self.inventory)
        for choice in self.question.chosen:
            await self.progress(choice)
        async with asyncio.TaskGroup() as tasks:
            reading = {node: tasks.create_task(self._snapshot(node)) for node in nodes}
            await self.progress(f"reading {', '.join(nodes)}")
            source = reading.get(self.question.source.node)
            source_snapshot = await source if source else None
            with self.agents.capture(self.id) as log:
                traffic = LiveTraffic(self.question, log)
                captured, reports = await self._capture(nodes, source_snapshot, log, traffic)
        snapshots = {node: snapshot for node, task in reading.items() if (snapshot := task.result())}
        silent = any(report.outcome not in HEARD for report in reports)
        since = await self._since(snapshots) if silent else {}
        sent = self._sent(reports, traffic)
        entries = await self._conntrack(captured, sent, log)
        flows = {each for flow in sent for each in Entries(entries).closure(flow)}
        return Record(
            id=self.id,
            question=self.question,
            inventory=self.inventory,
            started_at=started_at,
            finished_at=self.now(),
            sent=sent,
            reports=reports,
            snapshots=_with_neighbours_of(since, snapshots),
            since=since,
            captured=captured,
            # Beside the event loop, which other traces share: there may be a million packets.
            observations=await asyncio.to_thread(log.about, flows),
            lost=log.lost,
            accounts=accounts_of(self.id, self.asking.ended, log.delivered, log.lost),
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
        self, nodes: Iterable[str], source: NodeSnapshot | None, log: CaptureLog, traffic: LiveTraffic
    ) -> tuple[dict[str, tuple[str, ...]], tuple[ProbeReport, ...]]:
        """However this ends, no capture stays armed."""
        await self.progress(f"capturing on {', '.join(nodes)}")
        try:
            captured = await self.asking.arm(nodes, capture_request(self.id, self.question, source))
            if not self.question.live:
                return captured, await self._probe()
            await self.progress(f"waiting for traffic, {self.options.timeout:g} s at most")
            await self._wait_for_traffic(traffic, log, captured)
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

    async def _wait_for_traffic(self, traffic: LiveTraffic, log: CaptureLog, captured: Iterable[str]) -> None:
        """Packets that passed before every node listened would make half a path: they are passed over."""
        await asyncio.sleep(LIVE_SETTLE)
        log.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.options.timeout):
                while traffic.flow is None and self._has_witnesses(captured):
                    await _news(log)
                    traffic.look()
        if traffic.flow is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(min(LIVE_PATIENCE, self.options.timeout)):
                while not traffic.opened:
                    await _news(log)
                    traffic.look()
        with suppress(TimeoutError):
            async with asyncio.timeout(LIVE_GRACE):
                while not traffic.answered():
                    await _news(log)

    def _has_witnesses(self, captured: Iterable[str]) -> bool:
        """Whether it is worth the wait: the source's node alone can tell that a packet set out, and of those that it may come to,
        where any was captured, one still has to be.
        """
        source, watching = self.question.source.node, self.asking.watching
        others = {node for node in captured if node != source}
        return (not source or source in watching) and (not others or bool(others & watching))

    def _sent(self, reports: Iterable[ProbeReport], traffic: LiveTraffic) -> tuple[FiveTuple, ...]:
        if not self.question.live:
            return tuple(report.five_tuple for report in reports if report.five_tuple is not None)
        traffic.look()
        return (traffic.flow,) if traffic.flow else ()

    async def _conntrack(
        self, nodes: Iterable[str], sent: Iterable[FiveTuple], log: CaptureLog
    ) -> tuple[ConntrackEntry, ...]:
        """The entries of what was sent and of every flow that each node saw."""
        await self.progress("asking conntrack")
        tuples = {}
        for node in nodes:
            seen, all_of_them = await asyncio.to_thread(log.flows, node, MOST_FLOWS)
            tuples[node] = [*sent, *seen]
            if not all_of_them:
                why = f"more than {len(seen)} flows were seen; conntrack was asked for the first of them"
                self.asking.gaps.append(Gap(node=node, part="conntrack", why=why))
        return await self.asking.conntrack(tuples)


async def _news(log: CaptureLog) -> None:
    await log.changed.wait()
    log.changed.clear()


def _with_neighbours_of(
    since: Mapping[str, NodeSnapshot], snapshots: Mapping[str, NodeSnapshot]
) -> dict[str, NodeSnapshot]:
    """`snapshots`, whose neighbour tables are those after the probe where they were read again."""
    return {
        node: replace(snapshot, neighbours=since[node].neighbours) if node in since else snapshot
        for node, snapshot in snapshots.items()
    }
