"""Joins all packets of one pod into its flows, both nodes' views of a flow in one record. Pure."""

from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.resolve import owner_of
from pathtap.collector.joining.correlate import Entries, Journey, join
from pathtap.collector.joining.expect import ExpectedPassage, expect, models_of
from pathtap.collector.telling import words
from pathtap.collector.telling.assemble import destination_nat, egress_of, source_nat
from pathtap.model.address import FiveTuple
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.node import NodeSnapshot
from pathtap.model.packet import Headers, PacketObservation, TcpFlag
from pathtap.model.trace import Egress, Evidence, Flow, Target, Witness


@dataclass(frozen=True, slots=True, kw_only=True)
class Sightings:
    """What was gathered of a pod's traffic. `points` are the interfaces of `source.node` where it shows."""

    source: Target
    points: frozenset[str]
    inventory: Inventory
    snapshots: Mapping[str, NodeSnapshot]
    observations: Sequence[PacketObservation]
    entries: Sequence[ConntrackEntry]


def flows_of(sightings: Sightings) -> tuple[Flow, ...]:
    """Each flow of the pod once, in the order in which they were first seen. A flow begins with whoever opened it."""
    return tuple(sorted(_Conversations(sightings).flows(), key=lambda flow: flow.first_seen))


class _Conversations:
    """The sightings, indexed: a busy pod has thousands of packets and flows."""

    def __init__(self, sightings: Sightings) -> None:
        self._sightings = sightings
        self._entries = Entries(sightings.entries)
        self._models = models_of(sightings.snapshots)
        self._by_tuple: dict[FiveTuple, list[PacketObservation]] = defaultdict(list)
        for observation in sightings.observations:
            self._by_tuple[observation.headers.five_tuple].append(observation)

    def flows(self) -> Iterator[Flow]:
        opened: dict[FiveTuple, list[PacketObservation]] = defaultdict(list)
        for seen in self._sightings.observations:
            at_pod = seen.node == self._sightings.source.node and seen.interface in self._sightings.points
            if at_pod and (opening := self._opening(seen, opened)) is not None:
                opened[opening].append(seen)
        return (self._flow(opening, at_pod) for opening, at_pod in opened.items())

    def _opening(self, observation: PacketObservation, known: Container[FiveTuple]) -> FiveTuple | None:
        """The tuple of the flow's opener as it shows at the pod; None for what belongs to another flow or another pod."""
        seen, address = observation.headers.five_tuple, self._sightings.source.socket.address
        if observation.headers.icmp is not None and not (seen.source_port or seen.destination_port):
            return None
        for one_way in (seen, seen.reversed):
            if one_way in known:
                return one_way
        entry = self._entries.on(observation.node, seen)
        if entry is None:
            opening = seen.reversed if _is_answer(observation.headers) else seen
            return opening if address in (opening.source, opening.destination) else None
        # At the pod a flow out shows before its node's translation, a flow in after it.
        before, after = entry.forward_tuples
        if before.source == address:
            return before
        # A node's ENI shows the packets of its pods too, translated to its own address.
        return after if after.destination == address else None

    def _flow(self, opening: FiveTuple, at_pod: Sequence[PacketObservation]) -> Flow:
        inventory = self._sightings.inventory
        initiated = opening.source == self._sightings.source.socket.address
        sent = self._origin(opening)
        journey = join([sent], self._observations_of(sent), self._entries)
        forward = expect(journey.forward, self._models, reply=False)
        reply = expect(journey.reply, self._models, reply=True)
        recorded = self._recorded(sent)
        times = [observation.captured_at for observation in at_pod]
        packets = self._packets(sent, [observation.headers.five_tuple for observation in at_pod])
        nodes = [*(p.node for p in (*journey.forward, *journey.reply)), *(entry.node for entry in recorded)]
        return Flow(
            five_tuple=opening,
            source=owner_of(opening.source, opening.source_port, inventory),
            destination=owner_of(opening.destination, opening.destination_port, inventory),
            initiated=initiated,
            first_seen=min(times),
            last_seen=max(times),
            packets_forward=packets[0],
            packets_reply=packets[1],
            egress=self._seen_egress(forward if initiated else reply),
            snat=source_nat(forward, opening),
            dnat=destination_nat(forward, inventory),
            nodes=tuple(dict.fromkeys(nodes)),
            evidence=(*_observed(journey), *_told(recorded)),
        )

    def _origin(self, opening: FiveTuple) -> FiveTuple:
        """As the opener sent it, where its own node or the pod's translated it: before the first of the translations."""
        seen, sent = set[FiveTuple](), opening
        while sent not in seen:
            seen.add(sent)
            entries = (self._entries.on(node, sent) for node in self._models)
            sent = next((e.original for e in entries if e and e.original != sent and sent in e.forward_tuples), sent)
        return sent

    def _packets(self, sent: FiveTuple, at_pod: Sequence[FiveTuple]) -> tuple[int, int]:
        """There and back. A flow may show under two tuples at one place (a pod that reaches itself): the first one counts."""
        there = self._entries.closure(sent)
        shown = next((one_way for seen in at_pod for one_way in (seen, seen.reversed) if one_way in there), sent)
        return at_pod.count(shown), at_pod.count(shown.reversed)

    def _seen_egress(self, passages: Sequence[ExpectedPassage]) -> Egress | None:
        """A flow tells what was seen; where nothing left the pod's node it has no way out."""
        node = self._sightings.source.node
        left = any(each.passage.node == node and each.passage.departure for each in passages)
        return egress_of(passages, node) if left else None

    def _observations_of(self, sent: FiveTuple) -> list[PacketObservation]:
        tuples = self._entries.closure(sent)
        both_ways = dict.fromkeys(each for known in tuples for each in (known, known.reversed))
        return [observation for each in both_ways for observation in self._by_tuple.get(each, ())]

    def _recorded(self, sent: FiveTuple) -> list[ConntrackEntry]:
        """Every node's entry of this flow, one that was recorded where no packet was seen included."""
        tuples = self._entries.closure(sent)
        found = (self._entries.on(node, known) for node in self._models for known in tuples)
        return list(dict.fromkeys(entry for entry in found if entry is not None))


def _is_answer(headers: Headers) -> bool:
    """What can only be an answer, where no conntrack entry tells who began."""
    if headers.tcp is not None:
        return TcpFlag.SYN | TcpFlag.ACK in headers.tcp.flags
    return headers.icmp is not None and not headers.five_tuple.source_port


def _observed(journey: Journey) -> Iterator[Evidence]:
    for passage in (*journey.forward, *journey.reply):
        for seen in (passage.arrival, passage.departure):
            if seen is not None:
                claim = f"{seen.direction.value} on {seen.interface}: {seen.headers.five_tuple}"
                source = f"{seen.node} {seen.interface}"
                yield Evidence(witness=Witness.OBSERVED, claim=claim, source=source, at=seen.captured_at)


def _told(entries: Sequence[ConntrackEntry]) -> Iterator[Evidence]:
    for entry in entries:
        claim = words.conntrack_words(entry)
        yield Evidence(witness=Witness.RECORDED, claim=claim, source=f"{entry.node} conntrack")
