"""Everything that was gathered for one trace: what `narrate` tells and `judge` weighs. Holds values alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.resolve import Question
from pathtap.model.account import Account
from pathtap.model.address import FiveTuple
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.node import NodeSnapshot
from pathtap.model.packet import Lost, PacketObservation
from pathtap.model.request import ProbeOutcome, ProbeReport
from pathtap.model.trace import Gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """`captured` names the interfaces that were watched on each node; a node that is absent there was not watched.

    `sent` are the flows as the source sent them, the one to follow first; empty where nothing was sent or came.
    `since` are the nodes read once more after a probe without an answer: what the kernel counted in between tells where
    it went, and a next hop that is silent is known as such only by then. `observations` are those that tell of the flows
    that were sent; `accounts` count all that the captures saw.
    """

    id: str
    question: Question
    inventory: Inventory
    started_at: int
    finished_at: int
    sent: tuple[FiveTuple, ...] = ()
    reports: tuple[ProbeReport, ...] = ()
    snapshots: Mapping[str, NodeSnapshot] = field(default_factory=dict)
    since: Mapping[str, NodeSnapshot] = field(default_factory=dict)
    captured: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    observations: tuple[PacketObservation, ...] = ()
    lost: tuple[Lost, ...] = ()
    accounts: tuple[Account, ...] = ()
    entries: tuple[ConntrackEntry, ...] = ()
    gaps: tuple[Gap, ...] = ()

    def risen(self, node: str, counter: str) -> int:
        """By how much the node's counter rose while the trace ran; 0 where that is not known."""
        before, after = self.snapshots.get(node), self.since.get(node)
        if before is None or after is None or counter not in before.counters:
            return 0
        return max(0, after.counters.get(counter, 0) - before.counters[counter])

    @property
    def unanswered(self) -> tuple[FiveTuple, ...]:
        """The flows of the probes that got no answer: where some got one, these are what is to be explained."""
        failed = (
            report for report in self.reports if report.outcome not in (ProbeOutcome.ANSWERED, ProbeOutcome.REFUSED)
        )
        return tuple(report.five_tuple for report in failed if report.five_tuple is not None)
