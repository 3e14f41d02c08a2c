"""What a person may see of the inventory. Pure.

In one inventory names are looked up, and it has nothing of other namespaces; in the other, for judging, everything keeps its
place and its addresses, so that no claim becomes wrong, and the names of others are hidden.
"""

from collections.abc import Mapping

from pathtap.collector.cluster.inventory import Inventory
from pathtap.model.address import Address
from pathtap.model.inventory import Pod, Service

# No namespace can be called so (RFC 1123 labels).
HIDDEN = "(hidden)"


def shown(inventory: Inventory, visible: frozenset[str] | None) -> Inventory:
    """For looking names up: those of the `visible` namespaces; None is for who may see everything, nodes too."""
    if visible is None:
        return inventory
    pods = {key: pod for key, pod in inventory.pods.items() if pod.namespace in visible}
    services = {key: service for key, service in inventory.services.items() if service.namespace in visible}
    return Inventory(pods=pods, services=services, stale=inventory.stale)


def veiled(inventory: Inventory, visible: frozenset[str] | None) -> Inventory:
    """For judging: everything, and what is not visible under another name."""
    if visible is None:
        return inventory
    named = shown(inventory, visible)
    return Inventory(
        pods={**_hidden_pods(inventory, named.pods), **named.pods},
        nodes=inventory.nodes,
        services={**_hidden_services(inventory, named.services), **named.services},
        stale=inventory.stale,
    )


def _hidden_pods(inventory: Inventory, named: Mapping[str, Pod]) -> dict[str, Pod]:
    """Those that hold an address of their own, by which each goes: it is told of nothing but what the traffic itself shows."""
    hidden = {}
    for key, pod in inventory.pods.items():
        held = tuple(address for address in pod.addresses if inventory.pod_at(address) is pod)
        if held and key not in named:
            veiled = _hidden_pod(pod, held)
            hidden[veiled.key] = veiled
    return hidden


def _hidden_services(inventory: Inventory, named: Mapping[str, Service]) -> dict[str, Service]:
    others = (each for key, each in inventory.services.items() if key not in named and each.cluster_addresses)
    return {hidden.key: hidden for hidden in map(_hidden_service, others)}


def _hidden_pod(pod: Pod, held: tuple[Address, ...]) -> Pod:
    """Made anew rather than changed: what a pod comes to have one day stays hidden until somebody decides otherwise."""
    return Pod(
        namespace=HIDDEN,
        name=str(held[0]),
        uid="",
        node=pod.node,
        phase=pod.phase,
        addresses=held,
        deleting=pod.deleting,
        started_at=pod.started_at,
    )


def _hidden_service(service: Service) -> Service:
    return Service(
        namespace=HIDDEN,
        name=str(service.cluster_addresses[0]),
        cluster_addresses=service.cluster_addresses,
        ports=service.ports,
        backends=service.backends,
    )
