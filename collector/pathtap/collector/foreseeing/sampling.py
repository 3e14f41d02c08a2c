"""Walks sample packets over the nodes that were read, and tells what would go wrong with them. Pure.

From one pod of each ENI of a node to what is outside, to each Service's port and to every pod; and from outside to node ports. A
number of predictions bounds it, and what it cuts off is told.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.foreseeing.foresee import backends_gone, foresee
from pathtap.collector.inspections import Defect, NodeView, relevant
from pathtap.collector.inspections.netfilter import serves_node_ports
from pathtap.forwarding.fabric import Fabric
from pathtap.forwarding.journey import Walk, walk
from pathtap.forwarding.packet import Packet
from pathtap.model.address import Address, Protocol, Socket
from pathtap.model.inventory import Service
from pathtap.model.trace import Finding, Severity

# In all, and for each node of many.
MOST_PREDICTIONS, MOST_OF_NODE = 2000, 50
# A Service that nobody serves refuses everybody, by intent or by its pods' state: that is no node's wiring.
NO_WIRING = frozenset({"SERVICE_WITHOUT_ENDPOINTS"})
# What follows from a defect that an inspection has named already.
CONSEQUENCES = frozenset(
    {
        "SOURCE_NOT_OWNED_BY_ENI",
        "WRONG_ENI",
        "POD_ROUTE_MISSING",
        "NO_ROUTE_TO_DESTINATION",
        "ROUTING_LOOP",
        "RP_FILTER_DROP",
    }
)
# Named with one node alone.
OF_SEVERAL_NODES = frozenset({"POD_ADDRESS_DUPLICATED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """`unknown` are sentences: what could not be evaluated. `left_out` counts the walks that were not begun."""

    findings: tuple[Finding, ...] = ()
    unknown: tuple[str, ...] = ()
    predictions: int = 0
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """`backend` is followed where DNAT has several."""

    packet: Packet
    leaves_vpc: bool = False
    to_service: bool = False
    backend: Socket | None = None


def sample(view: NodeView, fabric: Fabric, inventory: Inventory, defects: Sequence[Defect], most: int) -> Sampled:
    """The packets that begin at this node; `defects` are those of every node, `most` bounds the predictions."""
    found: dict[Finding, None] = {}
    unknown: dict[str, None] = {}
    predictions = left_out = 0
    for each in _samples(view, fabric, inventory):
        if predictions >= most:
            left_out += 1
            continue
        way = walk(fabric, view.node, each.packet, translated_to=each.backend)
        predictions += len(way.forward) + len(way.reply)
        unknown.update(dict.fromkeys(way.unknown))
        leaves = each.leaves_vpc or _leaves(way, fabric)
        for finding in (*foresee(way, fabric, inventory), *backends_gone(way, inventory)):
            if finding.code not in NO_WIRING and not _follows(finding, replace(each, leaves_vpc=leaves), way, defects):
                found.setdefault(finding)
    return Sampled(findings=tuple(found), unknown=tuple(unknown), predictions=predictions, left_out=left_out)


def _leaves(way: Walk, fabric: Fabric) -> bool:
    """Whether it goes out of the VPC in the end: a Service's packet does where nothing translates it."""
    towards = way.forward[-1].after.destination
    return not fabric.is_inside(towards) and fabric.owner(towards) is None


def share(nodes: int) -> int:
    """How many predictions each of so many nodes may have."""
    return max(MOST_PREDICTIONS // max(nodes, 1), MOST_OF_NODE)


def _follows(finding: Finding, each: Sample, way: Walk, defects: Sequence[Defect]) -> bool:
    """Whether its cause is named elsewhere: by an inspection of any node that the packet passes, or by another sample."""
    if finding.code == "RP_FILTER_DROP" and _is_refused_back(way, finding.node):
        return True
    flows = [flow for leg in (*way.forward, *way.reply) for flow in (leg.before, leg.after)]
    addresses = {address for flow in flows for address in (flow.source, flow.destination)}
    hurting = relevant(defects, addresses, leaves_vpc=each.leaves_vpc, to_service=each.to_service)
    nodes = {leg.node for leg in (*way.forward, *way.reply)}
    errors = [
        defect.finding
        for defect in hurting
        if defect.finding.severity is Severity.ERROR
        and (defect.finding.node in nodes or defect.finding.code in OF_SEVERAL_NODES)
    ]
    if any(other.code == finding.code and other.node == finding.node for other in errors):
        return True
    # An answer whose request took another way is invalid to conntrack: that kube-proxy's rule drops it is no news.
    invalid = finding.code == "FILTER_DROP" and "--ctstate INVALID" in finding.text
    return (invalid or finding.code in CONSEQUENCES) and bool(errors)


def _is_refused_back(way: Walk, node: str) -> bool:
    """Whether a blackhole or its like is what the reverse path filter met: what is sent there meets it too."""
    paths = (leg.prediction.reverse_path for leg in (*way.forward, *way.reply) if leg.node == node)
    return any(path is not None and path.decision.refused and path.decision.route is not None for path in paths)


def _samples(view: NodeView, fabric: Fabric, inventory: Inventory) -> Iterator[Sample]:
    """What matters most first."""
    sources = (*view.samples, *_of_other_families(view))
    for source in (*sources, *view.second_ways_out[:1]):
        if (outside := view.far_from(source)) is not None:
            yield Sample(packet=view.opening(source, outside), leaves_vpc=True)
    yield from _to_node_ports(view, inventory)
    services = (
        each for service in inventory.services.values() for s in sources for each in _to_service(view, s, service)
    )
    pods = (Sample(packet=view.opening(s, pod)) for s in sources for pod in _pods(fabric, inventory, s))
    # By turns, so that thousands of the one leave something for the other.
    for pair in zip_longest(pods, services):
        yield from (each for each in pair if each is not None)


def _of_other_families(view: NodeView) -> tuple[Address, ...]:
    pods = sorted((a for a in view.pods if a.version == 6 and view.veth(a) is not None), key=int)
    return tuple(pods[:1])


def _to_service(view: NodeView, source: Address, service: Service) -> Iterator[Sample]:
    for port in service.ports:
        backends = [b for b in service.backends if b.port_name == port.name and b.protocol == port.protocol]
        for address in service.cluster_addresses:
            if address.version != source.version or not backends or port.protocol not in (Protocol.TCP, Protocol.UDP):
                continue
            packet = view.opening(source, address, port.port)
            flow = replace(packet.five_tuple, protocol=port.protocol)
            yield Sample(packet=Packet.opening(flow, packet.in_interface), to_service=True)


def _to_node_ports(view: NodeView, inventory: Inventory) -> Iterator[Sample]:
    """From outside, in by the primary ENI, to each backend; nothing where the CNI is told not to support that."""
    primary = view.primary
    own = next((a.ip for a in primary.addresses if a.version == 4), None) if primary else None
    if primary is None or own is None or view.outside is None or not serves_node_ports(view):
        return
    for service in inventory.services.values():
        for port in service.ports:
            backends = [b for b in service.backends if b.port_name == port.name and b.address.version == 4]
            if not port.node_port or port.protocol != Protocol.TCP:
                continue
            packet = replace(view.opening(view.outside, own, port.node_port), in_interface=primary.name)
            for backend in backends[:4]:
                socket = Socket(backend.address, backend.port)
                yield Sample(packet=packet, leaves_vpc=True, to_service=True, backend=socket)


def _pods(fabric: Fabric, inventory: Inventory, source: Address) -> Iterator[Address]:
    """Those whose node was read: where the others are led to cannot be told."""
    for pod in inventory.pods.values():
        if pod.node in fabric.models and pod.phase == "Running" and not pod.host_network and not pod.deleting:
            yield from (a for a in pod.addresses if a.version == source.version and a != source)
