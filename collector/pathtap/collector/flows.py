"""Carries out `flows`: captures all of one pod's packets for a while, on its node and on those of its peers as they show.

Knows the agents and the clock; joins nothing itself.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from pathtap import wire
from pathtap.collector.agents import Agents
from pathtap.collector.asking import Asking, Progress
from pathtap.collector.capture_log import CaptureLog, Position
from pathtap.collector.cluster.inventory import Inventory, inventory_gaps
from pathtap.collector.cluster.resolve import owner_of
from pathtap.collector.joining.conversations import Sightings, flows_of
from pathtap.collector.joining.sifting import flows_in
from pathtap.collector.judging.accounts import accounts_of, unaccounted
from pathtap.collector.judging.gaps import is_blinding, loss_gap
from pathtap.collector.tracing import MOST_FLOWS, SNAPSHOT_TIMEOUT
from pathtap.model.address import Address, FiveTuple
from pathtap.model.node import NodeSnapshot
from pathtap.model.request import CaptureRequest
from pathtap.model.trace import Gap, Target
from pathtap.v1 import trace_pb2

# Whose nodes are captured: the pod's own, and those of its peers that showed first.
MOST_NODES = 16


@dataclass(slots=True, kw_only=True)
class FlowsRun:
    """`timeout` is how long to watch, in seconds."""

    id: str
    source: Target
    inventory: Inventory
    agents: Agents
    timeout: float
    now: Callable[[], int]
    progress: Progress
    asking: Asking = field(init=False)
    snapshots: dict[str, NodeSnapshot] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.asking = Asking(agents=self.agents, gaps=[*inventory_gaps(self.inventory)])

    async def list(self) -> trace_pb2.Flows:
        started_at, node = self.now(), self.source.node
        await self.progress(f"reading {node}")
        await self._read(node)
        with self.agents.capture(self.id) as log:
            await self.progress(f"capturing {self.source.name} for {self.timeout:g} s")
            try:
                await self.asking.arm([node], self._request())
                await self._follow_peers(log)
            finally:
                await self.asking.end(self.id)
        entries = await self.asking.conntrack(dict.fromkeys(self.snapshots, ()), [self.source.socket.address])
        sightings = Sightings(
            source=self.source,
            points=self._points(),
            inventory=self.inventory,
            snapshots=self.snapshots,
            # Beside the event loop, which traces share: there may be hundreds of thousands.
            observations=await asyncio.to_thread(lambda: log.observations),
            entries=entries,
        )
        flows = await asyncio.to_thread(flows_of, sightings)
        gaps = [
            *(replace(gap, decisive=gap.node == node and is_blinding(gap)) for gap in self.asking.gaps),
            *(loss_gap(lost) for lost in log.lost),
            *unaccounted(accounts_of(self.id, self.asking.ended, log.delivered, log.lost)),
            *self._unread(),
        ]
        return wire.flows_to_wire(self.source, started_at, self.now(), flows, gaps)

    async def _read(self, node: str) -> None:
        snapshot = await self.asking.snapshot(node, SNAPSHOT_TIMEOUT)
        if snapshot is not None:
            self.snapshots[node] = snapshot

    def _request(self) -> CaptureRequest:
        """The pod's packets before and after SNAT; what else the node's own addresses send is sorted out by conntrack."""
        address = self.source.socket.address
        snapshot = self.snapshots.get(self.source.node)
        own = snapshot.addresses() if snapshot else frozenset()
        translated = sorted(a for a in own if a.version == address.version and not (a.is_loopback or a.is_link_local))
        pods = () if self.source.host_network else (address,)
        return CaptureRequest(id=self.id, protocol=0, near=(address, *translated), pods=pods)

    async def _follow_peers(self, log: CaptureLog) -> None:
        """Watches the packets come until the time is over or the pod's own node is lost, and captures on a peer's node once the
        peer has shown.
        """
        deadline = asyncio.get_running_loop().time() + self.timeout
        asked, left_out, read = {self.source.node}, set[str](), Position()
        known: set[FiveTuple] = set()
        while (left := deadline - asyncio.get_running_loop().time()) > 0 and self.source.node in self.asking.watching:
            try:
                async with asyncio.timeout(left):
                    await log.changed.wait()
            except TimeoutError:
                return
            log.changed.clear()
            rows, observations, read = log.news(read)
            seen = {*flows_in(rows, MOST_FLOWS)[0], *(each.headers.five_tuple for each in observations)}
            for node, pods in sorted(self._peers(seen - known).items()):
                if node in asked:
                    continue
                if len(asked) < MOST_NODES:
                    asked.add(node)
                    address = self.source.socket.address
                    request = CaptureRequest(id=self.id, protocol=0, near=(address,), pods=tuple(sorted(pods)))
                    await self.asking.arm([node], request)
                    await self._read(node)
                elif node not in left_out:
                    left_out.add(node)
                    why = f"peers of its were seen, and flows captures on {MOST_NODES} nodes at most"
                    self.asking.gaps.append(Gap(node=node, part="capture", why=why))
            known |= seen

    def _peers(self, flows: Iterable[FiveTuple]) -> dict[str, set[Address]]:
        """Pods of other nodes that the flows name, by node."""
        peers: dict[str, set[Address]] = {}
        for seen in flows:
            for end in (seen.source, seen.destination):
                owner = owner_of(end, 0, self.inventory)
                if owner.kind == "pod" and end.version == self.source.socket.address.version:
                    peers.setdefault(owner.node, set()).add(end)
        return peers

    def _points(self) -> frozenset[str]:
        """The host end of the pod's veth; for what shares the node's network, its ENIs."""
        snapshot, address = self.snapshots.get(self.source.node), self.source.socket.address
        interfaces = snapshot.interfaces if snapshot else ()
        if self.source.host_network or self.source.kind == "node":
            return frozenset(interface.name for interface in interfaces if interface.role.is_eni)
        return frozenset(interface.name for interface in interfaces if address in interface.pod_addresses)

    def _unread(self) -> Iterable[Gap]:
        for node, snapshot in self.snapshots.items():
            yield from (Gap(node=node, part=unread.part, why=unread.reason) for unread in snapshot.unread)
