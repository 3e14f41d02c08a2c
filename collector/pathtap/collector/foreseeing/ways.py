"""The way that a question's packet has before it, over the nodes that were read. Pure; judges nothing."""

from collections.abc import Mapping

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.resolve import Question
from pathtap.collector.plan import veth_of
from pathtap.forwarding.fabric import Fabric
from pathtap.forwarding.journey import Arrival, Walk, walk
from pathtap.forwarding.node import NodeModel
from pathtap.forwarding.packet import Packet
from pathtap.model.address import Address, FiveTuple, Socket

STOPPED = (Arrival.DROPPED, Arrival.REJECTED, Arrival.NO_ROUTE, Arrival.LOOPED)


def fabric_of(models: Mapping[str, NodeModel], inventory: Inventory) -> Fabric:
    """Who owns which address, by the nodes' own state and by the cluster's API."""
    return Fabric(models, placed(inventory))


def placed(inventory: Inventory) -> dict[Address, str]:
    """The node of every pod and node address, as the cluster's API has it."""
    pods = {a: pod.node for pod in inventory.pods.values() for a in pod.addresses if inventory.pod_at(a) is pod}
    return pods | {address: node.name for node in inventory.nodes.values() for address in node.addresses}


def way(question: Question, fabric: Fabric, flow: FiveTuple, translated_to: Socket | None = None) -> Walk | None:
    """From its beginning. None where that is not known: the source's node was not read, or leads by no veth to the pod.
    None for a pod's own address, too: that way is inside the pod.
    """
    start = None if question.is_to_itself else _start(question, fabric)
    if start is None:
        return None
    node, interface = start
    return walk(fabric, node, Packet.opening(flow, interface), translated_to=translated_to)


def way_beyond(found: Walk, fabric: Fabric) -> Walk | None:
    """The rest of a way that ends before the destination's node, as if it did not: from the ENI that owns the destination on.

    None where it is not stopped, or by that node itself: one fault must not hide another behind it.
    """
    last = found.forward[-1]
    owner = fabric.owner(last.after.destination)
    if found.arrival not in STOPPED or owner is None or owner[0] == last.node or owner[0] not in fabric.models:
        return None
    node, interface = owner
    return walk(fabric, node, Packet.opening(last.after, interface)) if interface else None


def _start(question: Question, fabric: Fabric) -> tuple[str, str] | None:
    """The node that the packet enters, and by which interface: none for a node's own, the destination's ENI from outside."""
    model = fabric.models.get(question.source.node)
    if not question.source.node:
        owner = fabric.owner(question.destination.socket.address)
        return owner if owner and owner[1] else None
    if model is None:
        return None
    veth = veth_of(question, model.snapshot)
    return (question.source.node, veth) if veth or not question.source_has_namespace else None
