"""What a request needs: the right to `create` `traces.pathtap.dev`, in which namespaces, or in the whole cluster. Pure.

First by the words alone, before any name is looked up; then by what holds the addresses; at last by what was resolved, so
that no way of writing a name goes round the rules.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pathtap.collector.cluster.inventory import FINISHED, Inventory
from pathtap.collector.cluster.resolve import Question, address_in
from pathtap.collector.cluster.workloads import workload_kind
from pathtap.model.address import Address
from pathtap.model.inventory import Service
from pathtap.model.trace import Target

# What may stand before a name, beside words for workloads; pathtap.collector.cluster.resolve reads them.
KINDS = frozenset({"pod", "svc", "service"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """`because` is what somebody wrote that turned out to need this: a refusal then names it, and no namespace."""

    namespaces: frozenset[str] = frozenset()
    cluster: bool = False
    because: str = ""

    def __bool__(self) -> bool:
        return self.cluster or bool(self.namespaces)


CLUSTER = Needs(cluster=True)


def together(every: Iterable[Needs]) -> Needs:
    """Of several, without what they are because of."""
    found = list(every)
    return Needs(
        namespaces=frozenset(name for each in found for name in each.namespaces),
        cluster=any(each.cluster for each in found),
    )


def of_words(text: str, namespace: str) -> Needs:
    """Of SRC or DST as it was written; of an address nothing, yet. `namespace` is that of bare names.

    Raises UnusableRequest for an address in a disguise.
    """
    if not text or address_in(text) is not None:
        return Needs()
    kind, _, rest = text.partition("/")
    if kind == "node" and rest:
        return CLUSTER
    name = rest if rest and (kind in KINDS or workload_kind(kind)) else text
    return Needs(namespaces=frozenset({name.partition("/")[0] if "/" in name else namespace}))


def of_text(text: str, inventory: Inventory) -> Needs:
    """What an address that was written turns out to need; nothing for what is no address."""
    address = address_in(text)
    found = of_address(address, inventory) if address is not None else Needs()
    return Needs(namespaces=found.namespaces, cluster=found.cluster, because=text)


def of_address(address: Address, inventory: Inventory) -> Needs:
    """A pod's needs its namespace, a node's the cluster, a service's also its backends'; one outside of the cluster nothing."""
    if (pod := inventory.pod_at(address)) is not None:
        return Needs(namespaces=frozenset({pod.namespace}))
    if inventory.node_at(address) is not None:
        return CLUSTER
    if (service := inventory.service_at(address)) is not None:
        return of_service(service, inventory)
    return Needs()


def of_service(service: Service, inventory: Inventory) -> Needs:
    """Its own namespace and those of the pods behind it: endpoints can be written by hand, and lead anywhere."""
    own = Needs(namespaces=frozenset({service.namespace}))
    addresses = {backend.address for backend in service.backends}
    shared = _of_own_host_pods(service, inventory)
    return together([own, *(of_address(address, inventory) for address in addresses - shared)])


def of_question(question: Question, inventory: Inventory) -> Needs:
    ends = (of_target(question.source, inventory), of_target(question.destination, inventory))
    backends = together(of_address(backend.address, inventory) for backend in question.backends)
    # Those of a service are in `of_target`, which knows of pods that share a node's address.
    return together([*ends, *([] if question.destination.kind == "service" else [backends])])


def of_target(target: Target, inventory: Inventory) -> Needs:
    match target.kind:
        case "pod":
            own = Needs(namespaces=frozenset({target.name.partition("/")[0]}))
            # What is being deleted may have lost its address to another pod already.
            return own if target.host_network else together([own, of_address(target.socket.address, inventory)])
        case "node":
            return CLUSTER
        case "service":
            return of_service(inventory.services[target.name], inventory)
        case _:
            return of_address(target.socket.address, inventory)


def _of_own_host_pods(service: Service, inventory: Inventory) -> set[Address]:
    """Addresses of nodes that pods of the service's own namespace share."""
    return {
        address
        for pod in inventory.pods.values()
        if pod.host_network and pod.namespace == service.namespace and pod.phase not in FINISHED
        for address in pod.addresses
    }
