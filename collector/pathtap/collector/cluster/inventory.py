"""Pods, nodes and services, found by name and by address. Knows no file, no API, no agents and no packets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

from pathtap.model.address import Address
from pathtap.model.inventory import Backend, Node, Pod, Service
from pathtap.model.trace import Gap

FINISHED = ("Succeeded", "Failed")


class InventoryUnread(Exception):  # noqa: N818 - it names the state, not the program's failure
    """Nobody has read it yet, as a sentence that says why. What it does not hold is then not known to be absent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staleness:
    """Nobody has confirmed it since `since` (nanoseconds since 1970; 0: ever), for the reason in the sentence `why`."""

    since: int
    why: str

    @property
    def at(self) -> str:
        """`since` for a person, in UTC."""
        return datetime.fromtimestamp(self.since // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


@dataclass(frozen=True)
class Inventory:
    """`pods` and `services` by `namespace/name`, `nodes` by name. `stale` is None while its source confirms it."""

    pods: Mapping[str, Pod] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)
    stale: Staleness | None = None

    def pod_at(self, address: Address) -> Pod | None:
        """The running pod that owns this address alone; pods on the host network share their node's and are not named."""
        return self._pods_by_address.get(address)

    def node_at(self, address: Address) -> Node | None:
        return self._nodes_by_address.get(address)

    def service_at(self, address: Address) -> Service | None:
        return self._services_by_address.get(address)

    @cached_property
    def _pods_by_address(self) -> Mapping[Address, Pod]:
        """Of two pods the one that is not being deleted, then the one that began later: an address is given again once the
        former holder has let it go, though what the API says of that one may not know yet."""
        owners = [pod for pod in self.pods.values() if not pod.host_network and pod.phase not in FINISHED]
        owners.sort(key=lambda pod: (not pod.deleting, pod.started_at, pod.uid))
        return {address: pod for pod in owners for address in pod.addresses}

    def backends_of_node_port(self, number: int) -> tuple[Backend, ...]:
        """Of every service that has this node port, of whatever protocol."""
        return tuple(
            backend
            for service in self.services.values()
            for port in service.ports
            if port.node_port == number
            for backend in service.backends
            if backend.port_name == port.name
        )

    @cached_property
    def pods_by_workload(self) -> Mapping[str, Mapping[str, tuple[Pod, ...]]]:
        """By kind, then by `namespace/name`: {"deployment": {"shop/cart": …}}. The pods in the order of their names."""
        found: dict[str, dict[str, list[Pod]]] = {}
        for pod in sorted(self.pods.values(), key=lambda pod: pod.key):
            for workload in pod.workloads:
                kind, _, name = workload.partition("/")
                found.setdefault(kind, {}).setdefault(f"{pod.namespace}/{name}", []).append(pod)
        return {kind: {key: tuple(pods) for key, pods in named.items()} for kind, named in found.items()}

    @cached_property
    def _nodes_by_address(self) -> Mapping[Address, Node]:
        return {address: node for node in self.nodes.values() for address in node.addresses}

    @cached_property
    def _services_by_address(self) -> Mapping[Address, Service]:
        return {address: service for service in self.services.values() for address in service.cluster_addresses}


def inventory_gaps(inventory: Inventory) -> tuple[Gap, ...]:
    """What is not known for want of a present inventory: names, and who has which address now."""
    if inventory.stale is None:
        return ()
    why = f"it is as of {inventory.stale.at}, and what has changed since is not known: {inventory.stale.why}"
    return (Gap(node="", part="inventory", why=why),)
