"""Puts the answer together: joined paths, the way out, what was translated, the verdict, and the sentence on top. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.resolve import Question, owner_of
from pathtap.collector.foreseeing.foretell import foretell
from pathtap.collector.foreseeing.halting import Halt, halted
from pathtap.collector.joining.correlate import Entries, Journey, Passage, join
from pathtap.collector.joining.expect import ExpectedPassage, expect, models_of, with_answers
from pathtap.collector.judging.beside import expected_way
from pathtap.collector.judging.case import case_of
from pathtap.collector.judging.fate import interface_of, is_local
from pathtap.collector.judging.judge import judge, missed_pod
from pathtap.collector.record import Record
from pathtap.collector.telling import words
from pathtap.collector.telling.egress import egress_by
from pathtap.collector.telling.narrate import tell
from pathtap.collector.telling.summary import summarise
from pathtap.forwarding.node import NodeModel
from pathtap.forwarding.prediction import Outcome
from pathtap.model.address import FiveTuple, protocol_name
from pathtap.model.node import RouteAnswer
from pathtap.model.request import RouteQuestion
from pathtap.model.trace import DestinationNat, Disposition, Egress, Path, Reply, SourceNat, Trace

# Causes that lie between the nodes, where the VPC alone decides.
LOST_BEYOND = ("SOURCE_NOT_OWNED_BY_ENI", "LOST_IN_VPC")
REFUSED = (Outcome.DROPPED, Outcome.REJECTED, Outcome.NO_ROUTE)

Answers = Mapping[tuple[str, RouteQuestion], RouteAnswer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A record, joined and laid beside what each node's configuration says; its kernels have not been asked yet."""

    record: Record
    journey: Journey
    forward: tuple[ExpectedPassage, ...]
    reply: tuple[ExpectedPassage, ...]
    models: Mapping[str, NodeModel]

    @property
    def questions(self) -> tuple[tuple[str, RouteQuestion], ...]:
        """What to ask which node's kernel."""
        return tuple(
            dict.fromkeys(
                (expected.passage.node, expected.expectation.question)
                for expected in (*self.forward, *self.reply)
                if expected.expectation is not None and expected.expectation.question is not None
            )
        )


def lay_out(record: Record) -> Expected:
    entries = Entries(record.entries)
    journey = join(record.sent, record.observations, entries, record.unanswered)
    models = models_of(record.snapshots)
    forward = expect(journey.forward or _unseen(record, entries), models, reply=False)
    if not record.sent:
        # What could not even be sent tells of a node only where that node's configuration refuses it.
        forward = tuple(each for each in forward if each.prediction and each.prediction.outcome in REFUSED)
    reply = expect(journey.reply or _unseen_answer(forward), models, reply=True)
    return Expected(record=record, journey=journey, forward=forward, reply=reply, models=models)


def _unseen(record: Record, entries: Entries) -> tuple[Passage, ...]:
    """What a node sends itself shows on its ENIs alone: where they were watched and it did not, it stopped on its way out."""
    source = record.question.source
    snapshot = record.snapshots.get(source.node)
    if snapshot is None or record.question.source_has_namespace or not record.reports:
        return ()
    sent = record.sent[0] if record.sent else _unsent(record.question)
    if not record.captured.get(source.node) or sent.destination in snapshot.addresses():
        return ()
    entry = entries.on(source.node, sent)
    return (Passage(node=source.node, arrival=None, departure=None, entry=entry, before=sent, after=sent),)


def _unseen_answer(forward: Sequence[ExpectedPassage]) -> tuple[Passage, ...]:
    """What a node answers by itself and then drops shows in its conntrack entry alone: LOCAL_OUT, where it is tracked, comes
    before the filters (nf_conntrack_in, net/netfilter/nf_conntrack_core.c).
    """
    last = forward[-1].passage if forward else None
    if last is None or last.arrival is None or last.departure is not None:
        return ()
    if last.entry is None or "SEEN_REPLY" not in last.entry.status or not is_local(forward[-1], last.after.destination):
        return ()
    there, back = last.after.reversed, last.before.reversed
    return (Passage(node=last.node, arrival=None, departure=None, entry=last.entry, before=there, after=back),)


def _unsent(question: Question) -> FiveTuple:
    """What a kernel that refused to send it was asked to send. Its port is not known."""
    source, destination = question.source.socket, question.destination.socket
    return FiveTuple(
        protocol=question.protocol,
        source=source.address,
        source_port=0,
        destination=destination.address,
        destination_port=destination.port,
    )


def assemble(expected: Expected, answers: Answers) -> Trace:
    record, journey = expected.record, expected.journey
    forward, reply = with_answers(expected.forward, answers), with_answers(expected.reply, answers)
    case = case_of(record, journey, forward, reply, expected.models)
    prospect = expected_way(case)
    question, verdict = record.question, judge(case, prospect)
    expected_forward, expected_reply = foretell(prospect) if prospect else (Path(), Path())
    lost = next((f for f in verdict.findings if f.code in LOST_BEYOND), None)
    missed = missed_pod(case, verdict.findings) if verdict.disposition is Disposition.DROPPED else None
    stop = Halt(hop=len(forward) - 1, entering=False, finding=missed) if missed else None
    lost_there = lost if verdict.disposition is Disposition.DROPPED else None
    lost_back = lost if verdict.reply is Reply.LOST else None
    answered = any(each.five_tuple == journey.sent and each.round_trip is not None for each in record.reports)
    trace = Trace(
        id=record.id,
        started_at=record.started_at,
        finished_at=record.finished_at,
        source=question.source,
        destination=question.destination,
        protocol=protocol_name(question.protocol),
        live=question.live,
        five_tuple=journey.sent,
        forward=halted(tell(forward, case.forward, lost_there, answered=answered), stop),
        reply=tell(reply, case.reply, lost_back, answered=answered),
        egress=egress_of(forward, question.source.node),
        snat=source_nat(forward, journey.sent),
        dnat=destination_nat(forward, record.inventory),
        verdict=verdict,
        round_trip=_round_trip(record, journey),
        expected_forward=expected_forward,
        expected_reply=expected_reply,
        accounts=record.accounts,
    )
    return replace(trace, verdict=replace(verdict, summary=summarise(trace, case)))


def _round_trip(record: Record, journey: Journey) -> int | None:
    """Of the probe that was followed, else of the first that was answered."""
    answered = [report for report in record.reports if report.round_trip is not None]
    followed = [report for report in answered if report.five_tuple == journey.sent]
    return next((report.round_trip for report in (*followed, *answered)), None)


def egress_of(passages: Sequence[ExpectedPassage], node: str) -> Egress | None:
    """The way out of this node: as it was seen, else as it is expected; None where it was not routed out."""
    first = next((expected for expected in passages if expected.passage.node == node), None)
    if first is None:
        return None
    decision = first.prediction.routing if first.prediction else None
    seen = first.passage.departure
    name = seen.interface if seen else decision.interface if decision and not decision.local else ""
    if not name:
        return None
    return egress_by(first.passage.node, name, interface_of(first, name), decision)


def source_nat(forward: Sequence[ExpectedPassage], first: FiveTuple | None) -> SourceNat:
    """The first node's translation of the source, else a later one's (a NodePort's far node)."""
    for expected in forward:
        passage = expected.passage
        if passage.before.source_socket != passage.after.source_socket:
            prediction = expected.prediction
            return SourceNat(
                applied=True,
                original=passage.before.source_socket,
                translated=passage.after.source_socket,
                rule=prediction.snat.rule if prediction and prediction.snat else None,
                conntrack=words.conntrack_words(passage.entry) if passage.entry else "",
            )
    original = first.source_socket if first else None
    return SourceNat(applied=False, original=original, translated=original)


def destination_nat(forward: Sequence[ExpectedPassage], inventory: Inventory) -> DestinationNat:
    for expected in forward:
        passage = expected.passage
        if passage.before.destination_socket != passage.after.destination_socket:
            prediction = expected.prediction
            service = inventory.service_at(passage.before.destination)
            backend = owner_of(passage.after.destination, 0, inventory)
            return DestinationNat(
                applied=True,
                original=passage.before.destination_socket,
                translated=passage.after.destination_socket,
                service=service.key if service else "",
                backend_pod=backend.name if backend.kind == "pod" else "",
                rule=prediction.dnat.rule if prediction and prediction.dnat else None,
                conntrack=words.conntrack_words(passage.entry) if passage.entry else "",
            )
    original = forward[0].passage.before.destination_socket if forward else None
    return DestinationNat(applied=False, original=original, translated=original)
