"""One packet's whole way as the configuration has it: over every node it comes to, and its answer's way back.

Composes `predict` on each node with the fabric between them. Each node remembers what it made of the flow, as conntrack does, so
that it undoes its NAT for the answer. The port that SNAT chooses stays the source's own here: any of its class.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from pathtap.forwarding.fabric import Carriage, Fabric, Whereto
from pathtap.forwarding.packet import Packet
from pathtap.forwarding.predict import predict
from pathtap.forwarding.prediction import Outcome, Prediction
from pathtap.model.address import FiveTuple, Socket

# No packet of a VPC CNI cluster crosses more nodes: a client's, a NodePort's, the backend's.
LIMIT = 16


class Arrival(Enum):
    """How a way ended. DELIVERED: at a pod's veth or at a node itself. OUTSIDE: it left by an ENI for what is nobody's here.

    DROPPED includes the VPC's source check; UNKNOWN is said by the walk's `unknown`.
    """

    DELIVERED = "DELIVERED"
    OUTSIDE = "OUTSIDE"
    DROPPED = "DROPPED"
    REJECTED = "REJECTED"
    NO_ROUTE = "NO_ROUTE"
    LOOPED = "LOOPED"
    UNKNOWN = "UNKNOWN"


STOPS = {
    Outcome.LOCAL: Arrival.DELIVERED,
    Outcome.DROPPED: Arrival.DROPPED,
    Outcome.REJECTED: Arrival.REJECTED,
    Outcome.NO_ROUTE: Arrival.NO_ROUTE,
    Outcome.UNKNOWN: Arrival.UNKNOWN,
}
CARRIED = {
    Whereto.POD: Arrival.DELIVERED,
    Whereto.OUTSIDE: Arrival.OUTSIDE,
    Whereto.REFUSED: Arrival.DROPPED,
    Whereto.NOT_MODELLED: Arrival.UNKNOWN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One node's passage. `packet` is as it entered; its in_interface is empty for what the node itself sends.

    `carried` is what became of it after it left, None where it did not. `alternatives` are the destinations among which the
    node's DNAT chooses by chance where it has a choice; the prediction follows one of them.
    """

    node: str
    packet: Packet
    prediction: Prediction
    carried: Carriage | None = None
    alternatives: tuple[Socket, ...] = ()

    @property
    def before(self) -> FiveTuple:
        return self.packet.five_tuple

    @property
    def after(self) -> FiveTuple:
        """As it left, or would have left: the source port that SNAT chooses is not known and stays the packet's own."""
        return self.prediction.packet.five_tuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """There and back. `reply_arrival` is None where the packet does not come to anyone who could answer.

    `unknown` are sentences: what could not be evaluated on the way and could make a difference.
    """

    forward: tuple[Leg, ...]
    reply: tuple[Leg, ...] = ()
    arrival: Arrival
    reply_arrival: Arrival | None = None
    unknown: tuple[str, ...] = ()


def walk(fabric: Fabric, node: str, packet: Packet, *, translated_to: Socket | None = None) -> Walk:
    """The way of a connection's first packet that enters `node` (one of the fabric's), and of its answer.

    `translated_to` is the backend to follow where DNAT has several; without it the first is taken, and the leg names all.
    """
    forward, arrival = _follow(fabric, node, packet, _opening, translated_to)
    reply: tuple[Leg, ...] = ()
    reply_arrival: Arrival | None = None
    origin = _origin(fabric, forward[-1], arrival)
    if origin is not None:
        start, came_by = origin
        memory = _Memory(forward)
        answer = replace(packet, five_tuple=forward[-1].after.reversed, in_interface=came_by)
        reply, reply_arrival = _follow(fabric, start, memory.answering(start, answer), memory.answering)
        if reply_arrival is Arrival.DELIVERED and reply[-1].after != packet.five_tuple.reversed:
            reply_arrival = Arrival.DROPPED
    unknown = (*_unknown(forward, arrival), *_unknown(reply, reply_arrival))
    return Walk(
        forward=forward,
        reply=reply,
        arrival=arrival,
        reply_arrival=reply_arrival,
        unknown=tuple(dict.fromkeys(unknown)),
    )


class _Memory:
    """What each node's connection tracking knows of a flow once its first packet has passed."""

    def __init__(self, forward: Sequence[Leg]) -> None:
        self._known = {
            (leg.node, leg.after.reversed): (leg.before.reversed, leg.prediction.packet.connmark)
            for leg in reversed(forward)
            if leg.prediction.packet.tracked
        }

    def answering(self, node: str, packet: Packet) -> Packet:
        """An answer as `node` takes it, which may know nothing of what it answers."""
        flow = packet.five_tuple
        before, connmark = self._known.get((node, flow), (flow, 0))
        answer = Packet.replying(flow, before, packet.in_interface, connmark)
        if (node, flow) not in self._known:
            answer = Packet.without_entry(
                flow, packet.in_interface, tcp_flags=answer.tcp_flags, icmp_type=answer.icmp_type
            )
        return replace(answer, tos=packet.tos)


def _opening(node: str, packet: Packet) -> Packet:
    """The first packet of a flow is new to every node."""
    del node
    fresh = Packet.opening(packet.five_tuple, packet.in_interface)
    return replace(
        packet,
        out_interface="",
        mark=0,
        connmark=0,
        state=fresh.state,
        dnated=False,
        snated=False,
        translated=None,
    )


def _follow(
    fabric: Fabric,
    node: str,
    packet: Packet,
    entering: Callable[[str, Packet], Packet],
    translated_to: Socket | None = None,
) -> tuple[tuple[Leg, ...], Arrival]:
    """From node to node until it ends; `entering` says how the next node takes what the last one sent."""
    legs: list[Leg] = []
    seen: set[tuple[str, Packet]] = set()
    while (node, packet) not in seen and len(legs) < LIMIT:
        seen.add((node, packet))
        leg = _leg(fabric, node, packet, translated_to)
        legs.append(leg)
        arrival = _arrival(leg)
        if arrival is not None or leg.carried is None:
            return tuple(legs), arrival or Arrival.UNKNOWN
        node = leg.carried.node
        packet = entering(node, replace(packet, five_tuple=leg.after, in_interface=leg.carried.interface))
    return tuple(legs), Arrival.LOOPED


def _leg(fabric: Fabric, node: str, packet: Packet, translated_to: Socket | None) -> Leg:
    model = fabric.models[node]
    prediction = predict(model, packet)
    alternatives = prediction.dnat.alternatives if prediction.dnat else ()
    wanted = translated_to or next(iter(alternatives), None)
    if alternatives and alternatives != (wanted,):
        prediction = predict(model, packet, wanted)
    return Leg(
        node=node,
        packet=packet,
        prediction=prediction,
        carried=_carried(fabric, node, prediction),
        alternatives=alternatives,
    )


def _carried(fabric: Fabric, node: str, prediction: Prediction) -> Carriage | None:
    routing = prediction.routing
    if prediction.outcome is not Outcome.FORWARDED or routing is None or not routing.interface:
        return None
    if prediction.snat is not None and prediction.snat.address is None:
        why = f"the source that {node} gives to the packet cannot be predicted"
        return Carriage(whereto=Whereto.NOT_MODELLED, why=why)
    return fabric.carry(prediction.packet.five_tuple, node, routing.interface, routing.gateway)


def _arrival(leg: Leg) -> Arrival | None:
    """None while the packet is still on its way."""
    if leg.prediction.outcome is not Outcome.FORWARDED:
        return STOPS[leg.prediction.outcome]
    return CARRIED.get(leg.carried.whereto) if leg.carried else Arrival.UNKNOWN


def _origin(fabric: Fabric, last: Leg, arrival: Arrival) -> tuple[str, str] | None:
    """The node that an answer enters, and by which interface; empty where the node itself answers."""
    if arrival is Arrival.DELIVERED:
        return (last.carried.node, last.carried.interface) if last.carried else (last.node, "")
    if arrival is not Arrival.OUTSIDE or last.prediction.routing is None:
        return None
    owner = fabric.owner(last.after.source)
    return owner if owner and owner[1] else (last.node, last.prediction.routing.interface)


def _unknown(legs: Sequence[Leg], arrival: Arrival | None) -> tuple[str, ...]:
    found = [why for leg in legs for why in leg.prediction.unknown]
    found += [leg.carried.why for leg in legs if leg.carried and leg.carried.why]
    if arrival is Arrival.UNKNOWN and not found:
        found.append(f"where {legs[-1].node} sends the packet cannot be told")
    return tuple(found)
