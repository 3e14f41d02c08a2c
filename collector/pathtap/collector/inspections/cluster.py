"""What no node shows alone: an address that two pods have. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from pathtap.collector import findings
from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.inspections.defect import Defect
from pathtap.collector.inspections.view import expected, recorded
from pathtap.model.address import Address
from pathtap.model.inventory import Pod
from pathtap.model.node import NodeSnapshot, Role


def inspect_cluster(snapshots: Iterable[NodeSnapshot], inventory: Inventory) -> tuple[Defect, ...]:
    """The finding is the first node's of those that are in question."""
    read = tuple(snapshots)
    return tuple(_by_inventory(read, inventory)) + tuple(_by_routes(read, inventory))


def _holders(inventory: Inventory) -> Mapping[Address, list[Pod]]:
    found: dict[Address, list[Pod]] = {}
    for pod in inventory.pods.values():
        if pod.phase == "Running" and not pod.host_network and not pod.deleting:
            for address in pod.addresses:
                found.setdefault(address, []).append(pod)
    return found


def _by_inventory(read: tuple[NodeSnapshot, ...], inventory: Inventory) -> Iterator[Defect]:
    nodes = {snapshot.node for snapshot in read}
    for address, pods in _holders(inventory).items():
        if len(pods) > 1 and any(pod.node in nodes for pod in pods):
            names = [f"{pod.key} on {pod.node}" for pod in sorted(pods, key=lambda pod: pod.key)]
            proof = (recorded(f"{address}: {', '.join(names)}", "inventory"),)
            finding = findings.pod_address_duplicated(pods[0].node, str(address), " and ".join(names), proof)
            yield Defect(finding=finding, concerns=frozenset({address}))


def _by_routes(read: tuple[NodeSnapshot, ...], inventory: Inventory) -> Iterator[Defect]:
    """Two nodes that lead one address to a veth, where the inventory has one pod or none."""
    routed: dict[Address, list[tuple[str, str]]] = {}
    for snapshot in read:
        for interface in snapshot.interfaces:
            for address in interface.pod_addresses if interface.role is Role.POD_VETH else ():
                # Every node has the same ones for itself alone: link-local, and the egress plugin's (169.254.172.0/22).
                if not address.is_link_local and not address.is_unspecified and _is_clusters(address, inventory):
                    routed.setdefault(address, []).append((snapshot.node, interface.name))
    twice = {pods[0] for pods in _holders(inventory).items() if len(pods[1]) > 1}
    for address, places in routed.items():
        if len({node for node, _ in places}) > 1 and address not in twice:
            names = " and ".join(f"{name} on {node}" for node, name in places)
            proof = tuple(expected(f"{address} dev {name}", f"{node} ip route") for node, name in places)
            finding = findings.pod_address_duplicated(places[0][0], str(address), names, proof)
            yield Defect(finding=finding, concerns=frozenset({address}))


def _is_clusters(address: Address, inventory: Inventory) -> bool:
    """Whether a pod of the inventory has it: what egress plugins give out (fd00::ac:00/118) is each node's own."""
    return inventory.pod_at(address) is not None
