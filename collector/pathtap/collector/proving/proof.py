"""Lays the four kinds of evidence side by side and makes the answer of them. Pure; each part is another module's."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.proving.consequences import consequences
from pathtap.collector.proving.evidence import Evidence
from pathtap.collector.proving.exposure import exposure_of
from pathtap.collector.proving.intent import intent_of
from pathtap.collector.proving.owners import owner_of_chain
from pathtap.collector.proving.pairs import Rewriting, opened_pairs, recorded_pairs, seen_leaving, weighed
from pathtap.collector.proving.ranges import CLIENTS, class_of, shift_by
from pathtap.collector.proving.subject import Asked, Subject
from pathtap.collector.proving.verdict import judge
from pathtap.collector.telling.egress import egress_by
from pathtap.forwarding.packet import Packet
from pathtap.forwarding.predict import predict
from pathtap.forwarding.prediction import Outcome
from pathtap.model.address import Address, FiveTuple, Socket
from pathtap.model.netfilter import Random
from pathtap.model.packet import PacketObservation
from pathtap.model.request import ConnectionsReport, ProbeOutcome
from pathtap.model.snat import Exposure, Intent, Opened, PortPair, Snat, SnatVerdict
from pathtap.model.survey import SurveyReport
from pathtap.model.trace import Egress, Gap

# Different destinations of present entries that are walked over the rules, to tell which of them meet the rule in question.
MOST_DESTINATIONS = 200
# Without these there are no pairs.
PAIRS_FROM = frozenset({"conntrack", "connections"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the node was seen to do. `before` and `after` are surveys without entries, `seen` has those of the source.

    `opened` is None where nothing was sent; `observations` are the packets of what was.
    """

    before: SurveyReport
    seen: SurveyReport
    after: SurveyReport
    opened: ConnectionsReport | None = None
    observations: tuple[PacketObservation, ...] = ()
    gaps: tuple[Gap, ...] = ()


def prove(subject: Subject, found: Found, inventory: Inventory) -> Snat:
    """Without its times, which are the caller's."""
    translating, asked = subject.translators, subject.asked
    exposure = exposure_of(found.before, found.after, inventory, translating.ports)
    owner = owner_of_chain(translating.candidates[0]) if translating.candidates else ""
    after_dnat = translating.prediction.packet.five_tuple.destination
    intent = intent_of(subject.snapshot, subject.packet.five_tuple.source, after_dnat, owner)
    pairs, left_out = _pairs(subject, found)
    gaps = tuple(dict.fromkeys((*found.gaps, *_unread(subject), *left_out)))
    judgement = judge(_evidence(subject, found, pairs, intent, gaps, exposure))
    return Snat(
        id=asked.id,
        started_at=0,
        finished_at=0,
        source=asked.source,
        destination=asked.question.destination if asked.question else None,
        protocol=asked.question.protocol if asked.question else 0,
        verdict=judgement.verdict,
        as_intended=judgement.as_intended,
        summary=judgement.summary,
        intent=intent,
        # Where rules alone cannot tell, ports may have.
        rule=judgement.rules[0] if len(judgement.rules) == 1 else None,
        rules=translating.rules,
        translated_to=translating.translated_to,
        egress=_egress(subject),
        pairs=judgement.pairs,
        statistics=judgement.statistics,
        opened=_opened(found.opened) if found.opened else None,
        exposure=exposure,
        live=asked.live,
        findings=tuple(consequences(subject, exposure)),
        gaps=gaps,
    )


def _evidence(
    subject: Subject,
    found: Found,
    pairs: tuple[PortPair, ...],
    intent: Intent | None,
    gaps: tuple[Gap, ...],
    exposure: Exposure,
) -> Evidence:
    asked, translating, routing = subject.asked, subject.translators, subject.translators.prediction.routing
    unread = next((gap.why for gap in gaps if gap.part in PAIRS_FROM), "")
    return Evidence(
        source=(asked.source.name or str(asked.source.socket))
        if subject.addresses
        else f"a pod of {asked.source.name}",
        destination=_destination_words(asked),
        protocol=asked.question.protocol if asked.question else 0,
        kernel=subject.snapshot.kernel,
        candidates=translating.candidates,
        rules=translating.rules,
        ports=translating.ports,
        translated_to=translating.translated_to,
        interface=routing.interface if routing and not routing.local else "",
        unknown=translating.unknown,
        intent=intent,
        pairs=pairs,
        opened=_opened(found.opened) if found.opened else None,
        live=asked.live,
        in_use_share=_share_of_others(subject, exposure),
        shift=_shift(subject, found),
        pairs_unread="" if pairs else unread,
        why_not_translated=_why_not_translated(subject),
    )


def _destination_words(asked: Asked) -> str:
    if asked.question is None:
        return ""
    target = asked.question.destination
    port = f" port {target.socket.port}" if target.name and target.socket.port else ""
    return f"{target.name}{port}" if target.name else str(target.socket)


def _share_of_others(subject: Subject, exposure: Exposure) -> float:
    """Of the ports that the rule's address has towards any one destination: the most that were in use."""
    given = subject.translators.translated_to
    shares = (each.in_use / each.capacity for each in exposure.ports if given in (None, each.translated))
    return max(shares, default=0.0)


def _shift(subject: Subject, found: Found) -> float:
    """By how much ports in use may shift what is drawn, towards the destination where they do so most."""
    translating, held = subject.translators, defaultdict[tuple[int, Socket, Address], set[int]](set)
    for each in (*found.before.usage, *found.after.usage):
        if translating.translated_to in (None, each.translated):
            held[each.protocol, each.destination, each.translated].update(each.ports)
    ranges = ((taken, class_of(CLIENTS.first, key[0], translating.ports)) for key, taken in held.items())
    return max((shift_by(taken, among) for taken, among in ranges), default=0.0)


def _why_not_translated(subject: Subject) -> str:
    """Where the packet does not come to the rules that translate at all."""
    prediction = subject.translators.prediction
    if prediction.outcome is Outcome.LOCAL:
        return f"it is for {subject.snapshot.node} itself"
    if prediction.outcome in (Outcome.FORWARDED, Outcome.UNKNOWN):
        return ""
    return f"the node's configuration lets it go no further: {prediction.reason}"


def _pairs(subject: Subject, found: Found) -> tuple[tuple[PortPair, ...], tuple[Gap, ...]]:
    snapshot, translating = subject.snapshot, subject.translators
    enis = frozenset(interface.name for interface in snapshot.interfaces if interface.role.is_eni)
    meeting = _Meeting(subject)
    if found.opened is not None:
        pairs = opened_pairs(found.opened.connections, seen_leaving(found.observations, enis))
    else:
        pairs = recorded_pairs(found.seen.entries, meeting.meets)
    snat = translating.prediction.snat
    keeps = any(rule.random is Random.NONE for rule in translating.candidates)
    rewriting = Rewriting(
        random=snat.random if snat and not keeps else Random.NONE,
        ports=translating.ports,
        gives=translating.translated_to,
    )
    usage = (*found.before.usage, *found.after.usage)
    sent = found.opened is not None
    return weighed(pairs, rewriting, usage, sent=sent, before=found.before.usage), meeting.gaps()


class _Meeting:
    """Whether an entry's traffic meets the rule in question; each destination is walked over the rules once."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._wanted = frozenset(subject.translators.candidates)
        self._known: dict[tuple[int, Address, Socket], bool] = {}
        self._left_out = 0

    def meets(self, flow: FiveTuple) -> bool:
        key = flow.protocol, flow.source, flow.destination_socket
        if key not in self._known:
            if len(self._known) == MOST_DESTINATIONS:
                self._left_out += 1
                return False
            self._known[key] = self._walk(flow)
        return self._known[key]

    def gaps(self) -> tuple[Gap, ...]:
        if not self._left_out:
            return ()
        why = f"{self._left_out} entries were left out after {MOST_DESTINATIONS} different destinations"
        return (Gap(node=self._subject.snapshot.node, part="conntrack", why=why),)

    def _walk(self, flow: FiveTuple) -> bool:
        view = self._subject.view
        link = view.veth(flow.source)
        if link is None and flow.source not in view.model.addresses:
            # What only passes through the node is nobody's of it.
            return False
        snat = predict(view.model, Packet.opening(flow, link.name if link else "")).snat
        return frozenset(snat.candidates if snat else ()) == self._wanted


def _egress(subject: Subject) -> Egress | None:
    decision = subject.translators.prediction.routing
    if decision is None or decision.local or not decision.interface:
        return None
    node = subject.snapshot.node
    return egress_by(node, decision.interface, subject.snapshot.interface(decision.interface), decision)


def _opened(report: ConnectionsReport) -> Opened:
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
        protocol=asked.question.protocol if asked.question else 0,
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
