"""Whose translation is to be proved, towards what, which packet stands for it, and what was found of it. Pure."""

from dataclasses import dataclass

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.resolve import Question
from pathtap.collector.inspections.view import FAR_AWAY, NodeView, view_of
from pathtap.collector.plan import first_packet, veth_of
from pathtap.collector.proving.translators import Translators, translators
from pathtap.forwarding.node import NodeModel
from pathtap.forwarding.packet import Packet
from pathtap.model.address import Address, Socket
from pathtap.model.node import NodeSnapshot
from pathtap.model.packet import PacketObservation
from pathtap.model.request import ConnectionsReport
from pathtap.model.survey import SurveyReport
from pathtap.model.trace import Gap, RuleReference, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person asked for. `question` is None where no destination was given; `live` where the source's own is watched.

    `protocol` is 0 for any: a question always has one, of which a packet is made.
    """

    id: str
    source: Target
    question: Question | None = None
    live: bool = False
    protocol: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """`packet` is the first one of a connection as it is asked about, or one to what is outside where nothing was.

    `addresses` are the original sources whose conntrack entries concern it; none means those of everybody on the node.
    """

    asked: Asked
    view: NodeView
    packet: Packet
    translators: Translators
    addresses: tuple[Address, ...]

    @property
    def snapshot(self) -> NodeSnapshot:
        return self.view.snapshot

    @property
    def model(self) -> NodeModel:
        return self.view.model


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


def subject_of(asked: Asked, snapshot: NodeSnapshot, inventory: Inventory) -> Subject:
    """Takes milliseconds, or tens of them where a node has tens of thousands of rules."""
    view = view_of(snapshot, inventory)
    packet = _packet(asked, view)
    return Subject(
        asked=asked,
        view=view,
        packet=packet,
        translators=translators(view.model, packet),
        addresses=(packet.five_tuple.source,),
    )


def subjects_of_node(identity: str, snapshot: NodeSnapshot, inventory: Inventory) -> tuple[Subject, ...]:
    """One for each rule that the node's pods' traffic to what is outside meets first, that it meets none among them.

    Empty where the node has neither pods nor an address of its own that was read.
    """
    view, node = view_of(snapshot, inventory), snapshot.node
    found: dict[RuleReference | None, Subject] = {}
    for address in _sources(view):
        packet = _outward(view, address)
        translating = translators(view.model, packet)
        source = Target(kind="node", name=node, node=node, socket=Socket(address, 0))
        subject = Subject(
            asked=Asked(id=identity, source=source), view=view, packet=packet, translators=translating, addresses=()
        )
        found.setdefault(translating.first, subject)
    return tuple(found.values())


def _packet(asked: Asked, view: NodeView) -> Packet:
    if asked.question is not None:
        return Packet.opening(first_packet(asked.question), veth_of(asked.question, view.snapshot))
    return _outward(view, asked.source.socket.address)


def _outward(view: NodeView, source: Address) -> Packet:
    """To what is translated where anything is; else to what is excluded, as everything is."""
    return view.opening(source, view.far_from(source) or FAR_AWAY[0])


def _sources(view: NodeView) -> tuple[Address, ...]:
    """One pod of each ENI and one of egress-cni; of a node without pods what the node itself sends."""
    own = tuple(each.ip for each in view.primary.addresses if not each.is_link_local) if view.primary else ()
    return (*view.samples, *view.second_ways_out[:1]) or own[:1]
