"""Joins all packets of one pod into its flows, both nodes' views of a flow in one record. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pathtap.collector import words
from pathtap.collector.assemble import destination_nat, egress_of, source_nat
from pathtap.collector.correlate import Journey, find_entry, join
from pathtap.collector.expect import expect
from pathtap.collector.inventory import Inventory
from pathtap.collector.resolve import owner_of
from pathtap.model.address import FiveTuple
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.node import NodeSnapshot
from pathtap.model.packet import PacketObservation
from pathtap.model.trace import Evidence, Flow, Target, Witness


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
    conversations: dict[FiveTuple, list[PacketObservation]] = defaultdict(list)
    for observation in sightings.observations:
        at_pod = observation.node == sightings.source.node and observation.interface in sightings.points
        if at_pod and (opening := _opening(observation, conversations, sightings)) is not None:
            conversations[opening].append(observation)
    flows = (_flow(opening, seen, sightings) for opening, seen in conversations.items())
    return tuple(sorted(flows, key=lambda flow: flow.first_seen))


def _opening(
    observation: PacketObservation, known: Mapping[FiveTuple, object], sightings: Sightings
) -> FiveTuple | None:
    """The tuple of the flow's opener as the pod's veth shows it; None for ICMP errors, which belong to another flow."""
    seen = observation.headers.five_tuple
    if observation.headers.icmp is not None and not (seen.source_port or seen.destination_port):
        return None
    if seen in known:
        return seen
    if seen.reversed in known:
        return seen.reversed
    entry = find_entry(seen, observation.node, sightings.entries)
    if entry is None:
        return seen
    # An entry's first tuple is the opener's; at the pod's veth it shows before DNAT for a flow out, after it for one in.
    address = sightings.source.socket.address
    return entry.original if entry.original.source == address else entry.forward_tuples[1]


def _flow(opening: FiveTuple, at_veth: Sequence[PacketObservation], sightings: Sightings) -> Flow:
    address = sightings.source.socket.address
    initiated = opening.source == address
    journey = join([_as_sent(opening, sightings)], sightings.observations, sightings.entries)
    forward = expect(journey.forward, sightings.snapshots, reply=False)
    reply = expect(journey.reply, sightings.snapshots, reply=True)
    times = [observation.captured_at for observation in at_veth]
    forward_count = sum(observation.headers.five_tuple == opening for observation in at_veth)
    return Flow(
        five_tuple=opening,
        source=owner_of(opening.source, opening.source_port, sightings.inventory),
        destination=owner_of(opening.destination, opening.destination_port, sightings.inventory),
        initiated=initiated,
        first_seen=min(times),
        last_seen=max(times),
        packets_forward=forward_count,
        packets_reply=len(at_veth) - forward_count,
        egress=egress_of(forward if initiated else reply),
        snat=source_nat(forward, opening),
        dnat=destination_nat(forward, sightings.inventory),
        nodes=_nodes(journey),
        evidence=tuple(_evidence(journey)),
    )


def _as_sent(opening: FiveTuple, sightings: Sightings) -> FiveTuple:
    """The opener's own tuple: for a flow that came in, what its node's entry says before translation."""
    entry = next((e for e in sightings.entries if opening in e.forward_tuples), None)
    return entry.original if entry else opening


def _nodes(journey: Journey) -> tuple[str, ...]:
    return tuple(dict.fromkeys(passage.node for passage in (*journey.forward, *journey.reply)))


def _evidence(journey: Journey) -> Iterable[Evidence]:
    told: set[str] = set()
    for passage in (*journey.forward, *journey.reply):
        seen = [o for o in (passage.arrival, passage.departure) if o is not None]
        for observation in seen:
            claim = f"{observation.direction.value} on {observation.interface}: {observation.headers.five_tuple}"
            source, at = f"{observation.node} {observation.interface}", observation.captured_at
            yield Evidence(witness=Witness.OBSERVED, claim=claim, source=source, at=at)
        if passage.entry is not None and (text := words.conntrack_words(passage.entry)) not in told:
            told.add(text)
            yield Evidence(witness=Witness.RECORDED, claim=text, source=f"{passage.node} conntrack")
