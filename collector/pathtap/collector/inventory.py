"""Pods, nodes and services, indexed by name and by address. Decodes what the Kubernetes API prints; reads no file.

Knows no agents and no packets. Field names are those of the core/v1 API.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address
from typing import Any

from pathtap.model.address import Address, Protocol
from pathtap.model.inventory import Backend, Node, Pod, Service, ServicePort

FINISHED = ("Succeeded", "Failed")


class InventoryError(ValueError):
    """An item that is not what the API prints. `path` leads to it: ("items", 3, "metadata", "name")."""

    def __init__(self, path: tuple[str | int, ...], reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason


@dataclass(frozen=True)
class Inventory:
    pods: Mapping[str, Pod] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)
    services: Mapping[str, Service] = field(default_factory=dict)

    def pod_at(self, address: Address) -> Pod | None:
        """The running pod that owns this address alone; pods on the host network share their node's and are not named."""
        return self._pods_by_address.get(address)

    def node_at(self, address: Address) -> Node | None:
        return next((node for node in self.nodes.values() if address in node.addresses), None)

    def service_at(self, address: Address) -> Service | None:
        return next((service for service in self.services.values() if address in service.cluster_addresses), None)

    @cached_property
    def _pods_by_address(self) -> Mapping[Address, Pod]:
        return {
            address: pod
            for pod in self.pods.values()
            if not pod.host_network and pod.phase not in FINISHED
            for address in pod.addresses
        }


def decode(document: object) -> Inventory:
    """The inventory of a decoded `kubectl get nodes,pods,services,endpoints -A -o json`.

    Raises InventoryError for a document that is no list of API objects. Kinds it does not need are passed over.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("items"), list):
        raise InventoryError((), "this is no list of Kubernetes objects: it has no `items`")
    objects = list(_objects(document["items"]))
    endpoints = {_key(item, at): item for at, item in objects if item["kind"] == "Endpoints"}
    pods = [_pod(item, at) for at, item in objects if item["kind"] == "Pod"]
    nodes = [_node(item, at) for at, item in objects if item["kind"] == "Node"]
    services = [
        _service(item, at, _backends(endpoints.get(_key(item, at))))
        for at, item in objects
        if item["kind"] == "Service"
    ]
    return Inventory(
        pods={pod.key: pod for pod in pods},
        nodes={node.name: node for node in nodes},
        services={service.key: service for service in services},
    )


def _objects(items: list[object]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for at, item in enumerate(items):
        if not isinstance(item, Mapping) or not isinstance(item.get("kind"), str):
            raise InventoryError(("items", at), "an object without a `kind`")
        metadata = item.get("metadata")
        if not isinstance(metadata, Mapping) or not isinstance(metadata.get("name"), str):
            raise InventoryError(("items", at), f"a {item['kind']} without metadata.name")
        yield at, item


def _key(item: Mapping[str, Any], at: int) -> str:
    namespace = item["metadata"].get("namespace")
    if not isinstance(namespace, str):
        raise InventoryError(("items", at, "metadata"), f"{item['kind']} {item['metadata']['name']} has no namespace")
    return f"{namespace}/{item['metadata']['name']}"


def _addresses(texts: Iterable[object], path: tuple[str | int, ...]) -> tuple[Address, ...]:
    found: dict[Address, None] = {}
    for text in texts:
        if text in (None, "", "None"):
            continue
        try:
            found[ip_address(str(text))] = None
        except ValueError:
            raise InventoryError(path, f"{text!r} is no IP address") from None
    return tuple(found)


def _pod(item: Mapping[str, Any], at: int) -> Pod:
    namespace, name = _key(item, at).split("/", 1)
    spec, status = item.get("spec") or {}, item.get("status") or {}
    texts = [status.get("podIP"), *(entry.get("ip") for entry in status.get("podIPs") or ())]
    return Pod(
        namespace=namespace,
        name=name,
        uid=str(item["metadata"].get("uid", "")),
        node=str(spec.get("nodeName") or ""),
        phase=str(status.get("phase") or "Unknown"),
        addresses=_addresses(texts, ("items", at, "status")),
        host_network=bool(spec.get("hostNetwork")),
        deleting=bool(item["metadata"].get("deletionTimestamp")),
    )


def _node(item: Mapping[str, Any], at: int) -> Node:
    addresses = (item.get("status") or {}).get("addresses") or ()
    internal = (entry.get("address") for entry in addresses if entry.get("type") in ("InternalIP", "ExternalIP"))
    return Node(name=item["metadata"]["name"], addresses=_addresses(internal, ("items", at, "status")))


def _service(item: Mapping[str, Any], at: int, backends: tuple[Backend, ...]) -> Service:
    namespace, name = _key(item, at).split("/", 1)
    spec = item.get("spec") or {}
    texts = [spec.get("clusterIP"), *(spec.get("clusterIPs") or ())]
    ports = tuple(
        ServicePort(
            name=str(port.get("name") or ""),
            protocol=_protocol(port.get("protocol"), ("items", at, "spec", "ports")),
            port=int(port["port"]),
            node_port=int(port.get("nodePort") or 0),
        )
        for port in spec.get("ports") or ()
    )
    return Service(
        namespace=namespace,
        name=name,
        cluster_addresses=_addresses(texts, ("items", at, "spec")),
        ports=ports,
        backends=backends,
    )


def _backends(item: Mapping[str, Any] | None) -> tuple[Backend, ...]:
    return tuple(
        Backend(
            port_name=str(port.get("name") or ""),
            protocol=_protocol(port.get("protocol"), ("items",)),
            address=ip_address(str(entry["ip"])),
            port=int(port["port"]),
        )
        for subset in (item or {}).get("subsets") or ()
        for entry in subset.get("addresses") or ()
        for port in subset.get("ports") or ()
    )


def _protocol(name: object, path: tuple[str | int, ...]) -> int:
    """TCP, UDP; SCTP is 132 (IANA), which pathtap names but does not trace."""
    known = {"TCP": int(Protocol.TCP), "UDP": int(Protocol.UDP), "SCTP": 132}
    try:
        return known[str(name or "TCP")]
    except KeyError:
        raise InventoryError(path, f"{name!r} is no protocol of a service port") from None
