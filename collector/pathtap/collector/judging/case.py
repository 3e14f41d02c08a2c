"""What there is to judge: the record, the joined journey, and how each direction ended. Holds values; decides nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pathtap.collector.joining.correlate import Journey
from pathtap.collector.joining.expect import ExpectedPassage
from pathtap.collector.judging.fate import Fate, fate_of
from pathtap.collector.record import Record
from pathtap.forwarding.node import NodeModel
from pathtap.model.request import ProbeReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    record: Record
    journey: Journey
    forward: Fate
    reply: Fate
    forward_passages: Sequence[ExpectedPassage] = ()
    reply_passages: Sequence[ExpectedPassage] = ()
    models: Mapping[str, NodeModel] = field(default_factory=dict)

    @property
    def report(self) -> ProbeReport | None:
        """Of the probe that was followed."""
        return next((report for report in self.record.reports if report.five_tuple == self.journey.sent), None)

    @property
    def passages(self) -> tuple[ExpectedPassage, ...]:
        return (*self.forward_passages, *self.reply_passages)


def case_of(
    record: Record,
    journey: Journey,
    forward: Sequence[ExpectedPassage],
    reply: Sequence[ExpectedPassage],
    models: Mapping[str, NodeModel],
) -> Case:
    return Case(
        record=record,
        journey=journey,
        forward=fate_of(forward, record.inventory),
        reply=fate_of(reply, record.inventory),
        forward_passages=forward,
        reply_passages=reply,
        models=models,
    )
