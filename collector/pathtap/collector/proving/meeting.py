"""Which of the connections that were found are such as the question is about: those whose packets meet the rule. Pure."""

from pathtap.collector.proving.pairs import Rewriting, opened_pairs, recorded_pairs, seen_leaving, weighed
from pathtap.collector.proving.subject import Found, Subject
from pathtap.forwarding.packet import Packet
from pathtap.forwarding.predict import predict
from pathtap.model.address import Address, FiveTuple, Socket
from pathtap.model.netfilter import Random
from pathtap.model.snat import PortPair
from pathtap.model.trace import Gap

# Different destinations of present entries that are walked over the rules, to tell which of them meet the rule in question.
MOST_DESTINATIONS = 200


def pairs_of(subject: Subject, found: Found) -> tuple[tuple[PortPair, ...], tuple[Gap, ...]]:
    """With why they do not count, and what was left out."""
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
