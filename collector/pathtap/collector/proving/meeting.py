"""Which connections meet which rules: those that are there are sorted by them, so that none hides behind another's rule. Pure."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pathtap.collector.proving.kinds import Kind, kind_of
from pathtap.collector.proving.pairs import Rewriting, opened_pairs, recorded_pairs, seen_leaving, weighed
from pathtap.collector.proving.subject import MOST_KINDS, Found, Subject
from pathtap.collector.proving.translators import translators
from pathtap.forwarding.packet import Packet
from pathtap.forwarding.predict import predict
from pathtap.model.address import FiveTuple, protocol_name
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.netfilter import Random
from pathtap.model.node import NodeSnapshot
from pathtap.model.request import Connection, ConnectionsReport
from pathtap.model.snat import PortPair
from pathtap.model.trace import Gap

# Different destinations of present entries that are walked over the rules, 0.2 ms each, to tell which rules these meet.
MOST_DESTINATIONS = 1000
# How a rule that reads source ports is written by iptables, with ipset's second dimension, and by nft.
READS_SOURCE_PORT = re.compile(r"sport|source-port|--ports|--match-set \S+ (src|dst),src|@th,|proto-src")


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """Connections of one kind, and the packet that stands for them: one that was asked about, or the first connection's.

    The last `fresh` of `entries` came into being while they were watched.
    """

    subject: Subject
    entries: tuple[ConntrackEntry, ...] = ()
    fresh: int = 0


def meetings(
    subjects: Sequence[Subject], entries: Sequence[ConntrackEntry], fresh: int = 0
) -> tuple[tuple[Meeting, ...], tuple[Gap, ...]]:
    """`subjects`, at least one, are of one node and of different kinds: theirs come first, with or without connections, the
    others in the order of their first connection. And how many connections were left out, and why.

    The last `fresh` of `entries` came into being while they were watched.
    """
    sorting = _Sorting(subjects)
    for number, entry in enumerate(entries):
        sorting.add(entry, is_fresh=number >= len(entries) - fresh)
    return sorting.meetings(), sorting.gaps()


def opened_entries(connections: Iterable[Connection], node: str) -> tuple[ConntrackEntry, ...]:
    """One for each connection that has a five-tuple, as it was sent where no entry is known of it."""
    return tuple(
        each.entry or ConntrackEntry(node=node, original=each.five_tuple, reply=each.five_tuple.reversed)
        for each in connections
        if each.five_tuple is not None
    )


def of_meeting(opened: ConnectionsReport, meeting: Meeting) -> ConnectionsReport:
    """Those connections of `opened` that are of one kind, and those of which nothing is known, that could not be opened."""
    known = frozenset(entry.original for entry in meeting.entries)
    return replace(
        opened,
        connections=tuple(each for each in opened.connections if each.five_tuple is None or _sent(each) in known),
    )


def _sent(connection: Connection) -> FiveTuple | None:
    return connection.entry.original if connection.entry else connection.five_tuple


def pairs_of(subject: Subject, found: Found) -> tuple[PortPair, ...]:
    """Of what was opened, else of all entries that were seen; with why they do not count."""
    snapshot, translating = subject.snapshot, subject.translators
    enis = frozenset(interface.name for interface in snapshot.interfaces if interface.role.is_eni)
    if found.opened is not None:
        pairs = opened_pairs(found.opened.connections, seen_leaving(found.observations, enis))
    else:
        pairs = recorded_pairs(found.seen.entries)
    snat = translating.prediction.snat
    keeps = any(rule.random is Random.NONE for rule in translating.candidates)
    rewriting = Rewriting(
        random=snat.random if snat and not keeps else Random.NONE,
        ports=translating.ports,
        gives=translating.translated_to,
    )
    usage = (*found.before.usage, *found.after.usage)
    sent = found.opened is not None
    return weighed(pairs, rewriting, usage, sent=sent, before=found.before.usage, mappings=found.mappings)


class _Sorting:
    """Each destination of each source is walked over the rules once, with the backend that was chosen for it; each connection
    where a rule may tell them apart by their source ports.
    """

    def __init__(self, subjects: Sequence[Subject]) -> None:
        self._like = subjects[0]
        view = self._like.view
        self._subjects = {kind_of(view, each.packet, each.translators.prediction): each for each in subjects}
        self._entries: dict[Kind, list[ConntrackEntry]] = defaultdict(list)
        self._fresh = Counter[Kind]()
        self._known: dict[tuple[object, ...], Kind | None] = {}
        self._by_port = _reads_source_port(self._like.snapshot)
        self._unit = "connections" if self._by_port else "different destinations"
        self._far, self._many = 0, 0

    def add(self, entry: ConntrackEntry, *, is_fresh: bool) -> None:
        flow = entry.original
        port = flow.source_port if self._by_port else None
        key = flow.protocol, flow.source, flow.destination_socket, entry.reply.source_socket, port
        if key not in self._known:
            if len(self._known) == MOST_DESTINATIONS:
                self._far += 1
                return
            self._known[key] = self._kind(entry)
        kind = self._known[key]
        if kind is None:
            self._many += 1
        else:
            self._entries[kind].append(entry)
            self._fresh[kind] += is_fresh

    def meetings(self) -> tuple[Meeting, ...]:
        return tuple(
            Meeting(subject=subject, entries=tuple(self._entries[kind]), fresh=self._fresh[kind])
            for kind, subject in self._subjects.items()
        )

    def gaps(self) -> tuple[Gap, ...]:
        node = self._like.snapshot.node
        whys = (
            (self._far, f"entries were left out after {MOST_DESTINATIONS} {self._unit}"),
            (self._many, f"entries were left out that meet yet other rules, after {MOST_KINDS} kinds of traffic"),
        )
        return tuple(Gap(node=node, part="conntrack", why=f"{count} {why}") for count, why in whys if count)

    def _kind(self, entry: ConntrackEntry) -> Kind | None:
        """None where there are too many kinds already."""
        view, flow = self._like.view, entry.original
        link = view.veth(flow.source)
        packet, dnat = Packet.opening(flow, link.name if link else ""), entry.destination_translation
        chosen = dnat.after if dnat else None
        kind = kind_of(view, packet, predict(view.model, packet, chosen))
        if kind not in self._subjects:
            if len(self._subjects) >= MOST_KINDS:
                return None
            translating = translators(view.model, packet, chosen)
            self._subjects[kind] = replace(self._like, packet=packet, translators=translating, whose="", is_asked=False)
        return kind


def _reads_source_port(snapshot: NodeSnapshot) -> bool:
    rules = (rule for sets in snapshot.rule_sets for chain in sets.chains for rule in chain.rules)
    return any(READS_SOURCE_PORT.search(rule.text) for rule in rules)


def destinations_text(entries: Sequence[ConntrackEntry]) -> str:
    """`203.0.113.9:53 (udp) and 2 other destinations`; empty without any."""
    named = list(dict.fromkeys((entry.original.destination_socket, entry.original.protocol) for entry in entries))
    if not named:
        return ""
    others = len(named) - 1
    more = f" and {others} other destination{'s' if others > 1 else ''}" if others else ""
    socket, protocol = named[0]
    return f"{socket if socket.port else socket.address} ({protocol_name(protocol)}){more}"
