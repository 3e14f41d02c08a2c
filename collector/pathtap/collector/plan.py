"""Which nodes a trace concerns and which packets they should report. Pure."""

from collections.abc import Sequence
from hashlib import sha1

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.resolve import Question, owner_of
from pathtap.forwarding.node import NodeModel
from pathtap.forwarding.packet import Packet
from pathtap.forwarding.predict import predict
from pathtap.forwarding.prediction import Prediction
from pathtap.model.address import Address, FiveTuple
from pathtap.model.node import NodeSnapshot
from pathtap.model.packet import Headers, PacketObservation, TcpFlag
from pathtap.model.request import CaptureRequest

# The port of a packet that has not been sent yet: any of the class that the kernel gives to clients.
UNKNOWN_PORT = 50_000


def concerned_nodes(question: Question, inventory: Inventory) -> tuple[str, ...]:
    """The source's node first, then the destination's and those of every backend that DNAT may choose."""
    backends = (owner_of(backend.address, 0, inventory).node for backend in question.backends)
    nodes = (question.source.node, question.destination.node, *backends)
    return tuple(dict.fromkeys(node for node in nodes if node))


def capture_request(identity: str, question: Question, source_node: NodeSnapshot | None) -> CaptureRequest:
    """The flow asked about, and what NAT may make of it.

    SNAT may put any address of the source's node in its place, or the one its rules name; DNAT any backend's.
    """
    source, destination = question.source.socket.address, question.destination.socket
    expected = expected_departure(question, source_node) if source_node else None
    near = [source, *_own_addresses(source_node, source.version)]
    if question.destination.kind == "node" and question.backends:
        # A node port of externalTrafficPolicy Cluster: that node masquerades what it sends on to the backend.
        near.append(destination.address)
    far = [destination.address, *(backend.address for backend in question.backends)]
    ports = [destination.port, *(backend.port for backend in question.backends)] if destination.port else []
    if expected is not None and expected.snat is not None and expected.snat.address is not None:
        near.append(expected.snat.address)
    if expected is not None and expected.dnat is not None:
        far.extend(choice.address for choice in expected.dnat.alternatives)
        ports.extend(choice.port for choice in expected.dnat.alternatives if ports)
    pods = [target.socket.address for target in (question.source, question.destination) if target.kind == "pod"]
    return CaptureRequest(
        id=identity,
        protocol=question.protocol,
        near=tuple(dict.fromkeys(near)),
        far=tuple(dict.fromkeys(far)),
        ports=tuple(dict.fromkeys(ports)),
        pods=tuple(dict.fromkeys([*pods, *far])),
    )


def expected_departure(question: Question, source_node: NodeSnapshot) -> Prediction:
    """What the source's node should do with the first packet, before one is sent."""
    model = NodeModel(source_node)
    return predict(model, Packet.opening(first_packet(question), veth_of(question, source_node)))


def veth_of(question: Question, source_node: NodeSnapshot) -> str:
    """The host end of the source pod's veth; empty for what the node itself sends, and where it cannot be found.

    It is known by the pod's route, and where that is gone by its name, which the VPC CNI makes of the pod's
    (GenerateHostVethNameSuffix, pkg/networkutils/generate.go).
    """
    address = question.source.socket.address
    if not question.source_has_namespace:
        return ""
    suffix = sha1(question.source.name.replace("/", ".", 1).encode(), usedforsecurity=False).hexdigest()[:11]
    routed = next((i.name for i in source_node.interfaces if address in i.pod_addresses), "")
    return routed or next((i.name for i in source_node.interfaces if i.name.endswith(suffix)), "")


def pods_to_enter(question: Question, inventory: Inventory, node: str) -> tuple[Address, ...]:
    """The pods of that node between which the packet goes, by address: their own ends are to be read too.

    The source's is the inventory's, which may be none that it sends from (`unlisted`).
    """
    source = inventory.pods.get(question.source.name) if question.source_has_namespace else None
    ends = (
        *(source.addresses[:1] if source else ()),
        question.source.socket.address,
        question.destination.socket.address,
        *(backend.address for backend in question.backends),
    )
    owners = [owner_of(address, 0, inventory) for address in dict.fromkeys(ends)]
    return tuple(owner.socket.address for owner in owners if owner.kind == "pod" and owner.node == node)


def live_flow(question: Question, observations: Sequence[PacketObservation], *, opening: bool) -> FiveTuple | None:
    """The first flow of real traffic that answers the question, in the direction that was asked for.

    Only the source's own node can tell that a packet set out: a far node may still report one from before all listened.
    With `opening` a flow counts from its first packet, by which a refusal can be told from the end of a conversation.
    """
    destination = question.destination.socket
    for observation in observations:
        seen = observation.headers.five_tuple
        if (
            seen.source == question.source.socket.address
            and seen.destination == destination.address
            and destination.port in (0, seen.destination_port)
            and (seen.source_port or not _portless(observation.headers))
            and observation.node == (question.source.node or observation.node)
            and (opens(observation.headers) or not opening)
        ):
            return seen
    return None


def _portless(headers: Headers) -> bool:
    """Whether port 0 says that none is told: what answers an echo, a later fragment, a packet that is cut off."""
    return bool(headers.icmp or headers.fragment or headers.truncated)


def opens(headers: Headers) -> bool:
    """Whether a packet can be the first of its flow: a SYN, or anything of a protocol that has none."""
    return headers.tcp is None or (TcpFlag.SYN in headers.tcp.flags and TcpFlag.ACK not in headers.tcp.flags)


def first_packet(question: Question) -> FiveTuple:
    """What the source would send first; its port is one of many (UNKNOWN_PORT)."""
    source, destination = question.source.socket, question.destination.socket
    return FiveTuple(
        protocol=question.protocol,
        source=source.address,
        source_port=UNKNOWN_PORT,
        destination=destination.address,
        destination_port=destination.port,
    )


def _own_addresses(snapshot: NodeSnapshot | None, family: int) -> list[Address]:
    if snapshot is None:
        return []
    enis = [interface for interface in snapshot.interfaces if interface.role.is_eni]
    return sorted({a.ip for eni in enis for a in eni.addresses if a.version == family and not a.is_link_local})
