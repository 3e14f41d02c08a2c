"""Lays the four kinds of evidence side by side and makes the answer of them. Pure; each part is another module's."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.proving.consequences import consequences
from pathtap.collector.proving.crowding import in_use_share, shift_of, unseen_share
from pathtap.collector.proving.evidence import Evidence
from pathtap.collector.proving.exposure import exposure_of, ports_in_use
from pathtap.collector.proving.kinds import STOPPED, exempted, intended
from pathtap.collector.proving.meeting import pairs_of
from pathtap.collector.proving.remarks import unanswered
from pathtap.collector.proving.settings import settings_of
from pathtap.collector.proving.subject import Asked, Found, Subject
from pathtap.collector.proving.verdict import judge
from pathtap.collector.telling.egress import egress_by
from pathtap.forwarding.prediction import Outcome
from pathtap.model.request import ConnectionsReport, ProbeOutcome
from pathtap.model.snat import Exposure, Intent, Opened, PortPair, Snat, SnatVerdict
from pathtap.model.trace import Egress, Gap

# Without these there are no pairs.
PAIRS_FROM = frozenset({"conntrack", "conntrack events", "connections", "agent"})


def prove(subject: Subject, found: Found, inventory: Inventory) -> Snat:
    """Without its times, which are the caller's."""
    translating, asked = subject.translators, subject.asked
    exposure = exposure_of(found.before, found.after, inventory, translating.ports)
    packet = subject.view, subject.packet, translating.prediction
    intent, exempt = intended(*packet), exempted(*packet)
    pairs = pairs_of(subject, found)
    known = Gap(node=subject.snapshot.node, part="intent", why=exempt)
    gaps = tuple(dict.fromkeys((*found.gaps, *_unread(subject), *([known] if exempt else ()))))
    opened = opened_counts(found.opened) if found.opened else None
    judgement = judge(_evidence(subject, found, pairs, intent, gaps))
    return Snat(
        id=asked.id,
        started_at=0,
        finished_at=0,
        source=asked.source,
        destination=asked.question.destination if asked.question else None,
        protocol=asked.protocol,
        verdict=judgement.verdict,
        as_intended=judgement.as_intended,
        summary=" ".join((judgement.summary, *unanswered(opened))),
        intent=intent,
        # Where rules alone cannot tell, ports may have.
        rule=judgement.rules[0] if len(judgement.rules) == 1 else None,
        rules=translating.rules,
        translated_to=translating.translated_to,
        egress=_egress(subject),
        pairs=judgement.pairs,
        statistics=judgement.statistics,
        opened=opened,
        exposure=exposure,
        live=asked.live,
        settings=settings_of(subject.snapshot),
        findings=tuple(consequences(subject, exposure, ports_in_use([found.elsewhere], inventory))),
        gaps=gaps,
    )


def _evidence(
    subject: Subject,
    found: Found,
    pairs: tuple[PortPair, ...],
    intent: Intent | None,
    gaps: tuple[Gap, ...],
) -> Evidence:
    asked, translating, routing = subject.asked, subject.translators, subject.translators.prediction.routing
    unread = next((gap.why for gap in gaps if gap.part in PAIRS_FROM), "")
    return Evidence(
        source=subject.whose or _source_words(subject),
        destination=subject.towards or _destination_words(asked),
        protocol=asked.protocol,
        kernel=subject.snapshot.kernel,
        candidates=translating.candidates,
        rules=translating.rules,
        ports=translating.ports,
        translated_to=translating.translated_to,
        interface=routing.interface if routing and not routing.local else "",
        unknown=(*translating.unknown, *_stopped(subject)),
        intent=intent,
        pairs=pairs,
        opened=opened_counts(found.opened) if found.opened else None,
        fresh=found.seen.fresh,
        live=asked.live,
        unseen_share=unseen_share(subject, found, pairs),
        shift=shift_of(subject, found, pairs),
        in_use_share=in_use_share(subject, found, pairs),
        pairs_unread="" if pairs else unread or _unrecorded(found),
        why_not_translated=_why_not_translated(subject),
    )


def _source_words(subject: Subject) -> str:
    source = subject.asked.source
    return (source.name or str(source.socket)) if subject.addresses else f"a pod of {source.name}"


def _destination_words(asked: Asked) -> str:
    if asked.question is None:
        return ""
    target = asked.question.destination
    port = f" port {target.socket.port}" if target.name and target.socket.port else ""
    return f"{target.name}{port}" if target.name else str(target.socket)


def _why_not_translated(subject: Subject) -> str:
    """Where the packet does not come to the rules that translate at all."""
    local = subject.translators.prediction.outcome is Outcome.LOCAL
    return f"it is for {subject.snapshot.node} itself" if local else ""


def _stopped(subject: Subject) -> Iterator[str]:
    """Where the packet ends before POSTROUTING nobody can say what would have become of its source."""
    prediction = subject.translators.prediction
    if prediction.outcome in STOPPED and not subject.translators.candidates:
        yield f"the node's configuration lets it go no further: {prediction.reason}"


def _unrecorded(found: Found) -> str:
    """What the agent says of connections that were opened and of which the node knows nothing; empty where it knows some."""
    opened = [each for each in (found.opened.connections if found.opened else ()) if each.five_tuple is not None]
    return opened[0].detail.rstrip(".") if opened and all(each.entry is None for each in opened) else ""


def _egress(subject: Subject) -> Egress | None:
    decision = subject.translators.prediction.routing
    if decision is None or decision.local or not decision.interface:
        return None
    node = subject.snapshot.node
    return egress_by(node, decision.interface, subject.snapshot.interface(decision.interface), decision)


def opened_counts(report: ConnectionsReport) -> Opened:
    """How the connections ended."""
    counts = Counter(connection.outcome for connection in report.connections)
    failed = (each.detail for each in report.connections if each.outcome is ProbeOutcome.FAILED)
    return Opened(
        answered=counts[ProbeOutcome.ANSWERED],
        refused=counts[ProbeOutcome.REFUSED],
        unreachable=counts[ProbeOutcome.UNREACHABLE],
        silent=counts[ProbeOutcome.SILENT],
        failed=counts[ProbeOutcome.FAILED],
        failure=next(failed, ""),
    )


def _unread(subject: Subject) -> Iterator[Gap]:
    node = subject.snapshot.node
    yield from (Gap(node=node, part=unread.part, why=unread.reason) for unread in subject.snapshot.unread)
    yield from (Gap(node=node, part="expectation", why=why, decisive=True) for why in subject.translators.unknown)


def unproven(asked: Asked, gaps: Sequence[Gap], started_at: int, finished_at: int) -> Snat:
    """The answer where the source's node could not be read."""
    why = gaps[0].why if gaps else "its agent told nothing"
    return Snat(
        id=asked.id,
        started_at=started_at,
        finished_at=finished_at,
        source=asked.source,
        destination=asked.question.destination if asked.question else None,
        protocol=asked.protocol,
        verdict=SnatVerdict.INCONCLUSIVE,
        as_intended=False,
        summary=f"{asked.source.node} could not be read, so nothing can be said of what it translates: {why}.",
        intent=None,
        rule=None,
        rules=(),
        translated_to=None,
        egress=None,
        pairs=(),
        statistics=None,
        opened=None,
        exposure=Exposure(),
        live=asked.live,
        gaps=tuple(replace(gap, decisive=True) for gap in gaps),
    )
