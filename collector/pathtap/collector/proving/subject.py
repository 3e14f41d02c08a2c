"""Whose translation is to be proved, towards what, which packet stands for it, and what was found of it. Pure."""

from collections import defaultdict
from dataclasses import dataclass, replace

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.resolve import Question
from pathtap.collector.inspections.view import CLIENT_PORT, FAR_AWAY, HTTPS, NodeView, view_of
from pathtap.collector.plan import first_packet, veth_of
from pathtap.collector.proving.kinds import Kind, kind_of
from pathtap.collector.proving.ranges import ICMP
from pathtap.collector.proving.translators import Translators, translators
from pathtap.forwarding.node import NodeModel
from pathtap.forwarding.packet import Packet
from pathtap.forwarding.predict import predict
from pathtap.model.address import Address, FiveTuple, Protocol, Socket
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.node import NodeSnapshot
from pathtap.model.packet import PacketObservation
from pathtap.model.request import ConnectionsReport
from pathtap.model.survey import PortUsage, SurveyReport
from pathtap.model.trace import Gap, Target

# Kinds of traffic of one node or source that are judged each by itself.
MOST_KINDS = 16
# Addresses of one node's pods that are walked over its rules: no instance type of EC2 has room for more.
MOST_PODS = 800


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

    `addresses` are the original sources whose conntrack entries concern it; none means those of all pods of the node.
    `whose` and `towards` are a person's words for what it sends and where, empty for those of what was asked. `is_asked` is False
    where present connections brought it up.
    """

    asked: Asked
    view: NodeView
    packet: Packet
    translators: Translators
    addresses: tuple[Address, ...]
    whose: str = ""
    towards: str = ""
    is_asked: bool = True

    @property
    def snapshot(self) -> NodeSnapshot:
        return self.view.snapshot

    @property
    def model(self) -> NodeModel:
        return self.view.model


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the node was seen to do. `before` and `after` are surveys without entries, `seen` has those of the source.

    `mappings` are entries of the same sources towards all destinations, which rules without a flag heed. `opened` is None where
    nothing was sent; `observations` are the packets of what was. `elsewhere` are the ports in use towards the busiest
    destinations of all, read where connections were lost: the counter does not say towards whom.
    """

    before: SurveyReport
    seen: SurveyReport
    after: SurveyReport
    opened: ConnectionsReport | None = None
    observations: tuple[PacketObservation, ...] = ()
    mappings: tuple[ConntrackEntry, ...] = ()
    elsewhere: tuple[PortUsage, ...] = ()
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


def subjects_of_node(
    identity: str, snapshot: NodeSnapshot, inventory: Inventory
) -> tuple[tuple[Subject, ...], tuple[Gap, ...]]:
    """One for each kind of rules that the node's pods' traffic to what is outside meets first, that it meets none among them;
    and what was left out. Empty where the node has neither pods nor an address of its own that was read.

    Takes 0.2 ms for each pod, and milliseconds for each kind.
    """
    view = view_of(snapshot, inventory)
    found: dict[Kind, Subject] = {}
    alike: dict[Kind, list[Address]] = defaultdict(list)
    sources = _sources(view)
    for address in sources[:MOST_PODS]:
        packet = _outward(view, address)
        kind = kind_of(view, packet, predict(view.model, packet))
        alike[kind].append(address)
        if kind not in found and len(found) < MOST_KINDS:
            found[kind] = _of_node(identity, view, packet)
    many = sum(len(addresses) for kind, addresses in alike.items() if kind not in found)
    left_out = ((len(sources) - MOST_PODS, f"its first {MOST_PODS}"), (many, f"those of {MOST_KINDS} different rules"))
    named = (replace(each, whose=_whose(view, alike[kind], alone=len(alike) == 1)) for kind, each in found.items())
    return tuple(named), tuple(
        Gap(node=snapshot.node, part="pods", why=f"{count} pods' addresses were left out after {after}")
        for count, after in left_out
        if count > 0
    )


def _of_node(identity: str, view: NodeView, packet: Packet) -> Subject:
    source = Target(kind="node", name=view.node, node=view.node, socket=Socket(packet.five_tuple.source, 0))
    return Subject(
        asked=Asked(id=identity, source=source),
        view=view,
        packet=packet,
        translators=translators(view.model, packet),
        addresses=(),
    )


def _whose(view: NodeView, addresses: list[Address], *, alone: bool) -> str:
    """A pod by its name where others of the node meet other rules."""
    return "" if alone or len(addresses) > 1 else words_of_pod(view, addresses[0])


def words_of_pod(view: NodeView, address: Address) -> str:
    """`shop/cart of ip-192-168-1-29`, also by an address that egress-cni gave it, which leads to the same veth; empty where no
    pod is known by it.
    """
    link = view.veth(address)
    known = (view.pods.get(each) for each in (address, *(link.pod_addresses if link else ())))
    pod = next((each for each in known if each is not None), None)
    return f"{pod.key} of {view.node}" if pod else ""


def _packet(asked: Asked, view: NodeView) -> Packet:
    question = asked.question
    if question is not None:
        first = first_packet(question)
        # Any protocol was meant, of which TCP stands for all until connections show others.
        flow = first if asked.protocol or first.protocol not in ICMP else _over_tcp(first)
        return Packet.opening(flow, veth_of(question, view.snapshot))
    return _outward(view, asked.source.socket.address)


def _over_tcp(flow: FiveTuple) -> FiveTuple:
    return replace(flow, protocol=Protocol.TCP, source_port=CLIENT_PORT, destination_port=HTTPS)


def _outward(view: NodeView, source: Address) -> Packet:
    """To what is translated where anything is; else to what is excluded, as everything is."""
    return view.opening(source, view.far_from(source) or FAR_AWAY[0])


def _sources(view: NodeView) -> tuple[Address, ...]:
    """Every pod, one of each ENI first, and all of egress-cni; of a node without pods what the node itself sends."""
    own = tuple(each.ip for each in view.primary.addresses if not each.is_link_local) if view.primary else ()
    wired = (each for each in sorted(view.pods, key=int) if view.veth(each) and not view.has_branch_eni(each))
    pods = (*view.samples, *(each for each in wired if each.version == 4), *view.second_ways_out)
    return tuple(dict.fromkeys(pods)) or own[:1]
