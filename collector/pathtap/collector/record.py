"""Everything that was gathered for one trace: what `narrate` tells and `judge` weighs. Holds values alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pathtap.collector.inventory import Inventory
from pathtap.collector.resolve import Question
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
    """

    id: str
    question: Question
    inventory: Inventory
    started_at: int
    finished_at: int
    sent: tuple[FiveTuple, ...] = ()
    reports: tuple[ProbeReport, ...] = ()
    snapshots: Mapping[str, NodeSnapshot] = field(default_factory=dict)
    captured: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    observations: tuple[PacketObservation, ...] = ()
    lost: tuple[Lost, ...] = ()
    entries: tuple[ConntrackEntry, ...] = ()
    gaps: tuple[Gap, ...] = ()

    @property
    def unanswered(self) -> tuple[FiveTuple, ...]:
        """The flows of the probes that got no answer: where some got one, these are what is to be explained."""
        failed = (
            report for report in self.reports if report.outcome not in (ProbeOutcome.ANSWERED, ProbeOutcome.REFUSED)
        )
        return tuple(report.five_tuple for report in failed if report.five_tuple is not None)
