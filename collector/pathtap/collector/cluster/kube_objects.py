"""Decodes what the Kubernetes API prints (core/v1) into an inventory. Reads no file; guesses at nothing that is malformed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, TypeAlias

from pathtap.collector.cluster.inventory import Inventory
from pathtap.model.address import Address, Protocol
from pathtap.model.inventory import Backend, Node, Pod, Service, ServicePort

Path: TypeAlias = tuple[str | int, ...]
# IANA numbers; SCTP is one that pathtap names but does not trace.
PROTOCOLS = {"TCP": int(Protocol.TCP), "UDP": int(Protocol.UDP), "SCTP": 132}


class InventoryError(ValueError):
    """An item that is not what the API prints. `path` leads to it: ("items", 3, "metadata", "name")."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason


def decode(document: object) -> Inventory:
    """The inventory of a decoded `kubectl get nodes,pods,services,endpoints -A -o json`.

    Raises InventoryError for a document that is no list of API objects. Kinds it does not need are passed over.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("items"), list):
        raise InventoryError((), "this is no list of Kubernetes objects: it has no `items`")
    objects = [_Object(item, ("items", at)) for at, item in enumerate(document["items"])]
    backends = {each.key: tuple(_backends(each)) for each in objects if each.kind == "Endpoints"}
    pods = [_pod(each) for each in objects if each.kind == "Pod"]
    nodes = [_node(each) for each in objects if each.kind == "Node"]
    services = [_service(each, backends.get(each.key, ())) for each in objects if each.kind == "Service"]
    return Inventory(
        pods={pod.key: pod for pod in pods},
        nodes={node.name: node for node in nodes},
        services={service.key: service for service in services},
    )


class _Object:
    """One API object: its kind and metadata are sound, its fields are checked as they are read."""

    def __init__(self, item: object, path: Path) -> None:
        if not isinstance(item, Mapping) or not isinstance(item.get("kind"), str):
            raise InventoryError(path, "an object without a `kind`")
        self.kind: str = item["kind"]
        self.path = path
        self._item = item
        metadata = item.get("metadata")
        if not isinstance(metadata, Mapping) or not isinstance(metadata.get("name"), str):
            raise InventoryError(path, f"a {self.kind} without metadata.name")
        self.metadata: Mapping[str, Any] = metadata
        self.name: str = metadata["name"]

    @property
    def namespace(self) -> str:
        namespace = self.metadata.get("namespace")
        if not isinstance(namespace, str):
            raise InventoryError((*self.path, "metadata"), f"{self.kind} {self.name} has no namespace")
        return namespace

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    def part(self, name: str) -> Mapping[str, Any]:
        """`spec` or `status`; empty where there is none."""
        return _mapping(self._item.get(name), (*self.path, name))

    def list_of(self, name: str) -> Iterator[Mapping[str, Any]]:
        return _mappings(self._item.get(name), (*self.path, name))


def _mapping(value: object, path: Path) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InventoryError(path, f"`{path[-1]}` is no object")
    return value


def _list(value: object, path: Path) -> Sequence[object]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InventoryError(path, f"`{path[-1]}` is no list")
    return value


def _mappings(value: object, path: Path) -> Iterator[Mapping[str, Any]]:
    for at, item in enumerate(_list(value, path)):
        if not isinstance(item, Mapping):
            raise InventoryError((*path, at), f"an entry of `{path[-1]}` is no object")
        yield item


def _number(value: object, path: Path) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65_535:
        raise InventoryError(path, f"{value!r} is no port number")
    return value


def _protocol(name: object, path: Path) -> int:
    known = PROTOCOLS.get(str(name or "TCP"))
    if known is None:
        raise InventoryError(path, f"{name!r} is no protocol of a service port")
    return known


def _address(text: object, path: Path) -> Address:
    try:
        return ip_address(str(text))
    except ValueError:
        raise InventoryError(path, f"{text!r} is no IP address") from None


def _addresses(texts: Iterable[object], path: Path) -> tuple[Address, ...]:
    """Each once, in their order; `None` is what a headless service has."""
    return tuple(dict.fromkeys(_address(text, path) for text in texts if text not in (None, "", "None")))


def _pod(item: _Object) -> Pod:
    spec, status = item.part("spec"), item.part("status")
    path = (*item.path, "status")
    several = (entry.get("ip") for entry in _mappings(status.get("podIPs"), (*path, "podIPs")))
    return Pod(
        namespace=item.namespace,
        name=item.name,
        uid=str(item.metadata.get("uid", "")),
        node=str(spec.get("nodeName") or ""),
        phase=str(status.get("phase") or "Unknown"),
        addresses=_addresses((status.get("podIP"), *several), path),
        host_network=spec.get("hostNetwork") is True,
        deleting=bool(item.metadata.get("deletionTimestamp")),
    )


def _node(item: _Object) -> Node:
    """Its own addresses first, then those that the Internet knows it by."""
    path = (*item.path, "status", "addresses")
    listed = list(_mappings(item.part("status").get("addresses"), path))
    texts = [
        entry.get("address") for kind in ("InternalIP", "ExternalIP") for entry in listed if entry.get("type") == kind
    ]
    return Node(name=item.name, addresses=_addresses(texts, path))


def _service(item: _Object, backends: tuple[Backend, ...]) -> Service:
    spec, path = item.part("spec"), (*item.path, "spec")
    several = _list(spec.get("clusterIPs"), (*path, "clusterIPs"))
    ports = (*path, "ports")
    return Service(
        namespace=item.namespace,
        name=item.name,
        cluster_addresses=_addresses((spec.get("clusterIP"), *several), path),
        ports=tuple(
            ServicePort(
                name=str(port.get("name") or ""),
                protocol=_protocol(port.get("protocol"), ports),
                port=_number(port.get("port"), ports),
                node_port=_number(port.get("nodePort") or 0, ports),
            )
            for port in _mappings(spec.get("ports"), ports)
        ),
        backends=backends,
    )


def _backends(item: _Object) -> Iterator[Backend]:
    """Ready addresses alone; an Endpoints object without subsets has none."""
    path = (*item.path, "subsets")
    for subset in item.list_of("subsets"):
        ports = list(_mappings(subset.get("ports"), (*path, "ports")))
        for entry in _mappings(subset.get("addresses"), (*path, "addresses")):
            address = _address(entry.get("ip"), path)
            for port in ports:
                yield Backend(
                    port_name=str(port.get("name") or ""),
                    protocol=_protocol(port.get("protocol"), path),
                    address=address,
                    port=_number(port.get("port"), path),
                )
