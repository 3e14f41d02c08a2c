"""What a person wrote, turned into the ends of a trace: names against the inventory, addresses to what owns them.

Pure. Knows no agents. Every refusal is one of three kinds, and each becomes one gRPC status and one exit code.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TypeVar

from pathtap.collector.inventory import FINISHED, Inventory
from pathtap.model.address import Address, Protocol, Socket, protocol_name
from pathtap.model.inventory import Backend, Pod, Service
from pathtap.model.trace import Target

Item = TypeVar("Item")


class UnusableRequest(Exception):  # noqa: N818 - it names the request, not the program's failure
    """The request itself is wrong: INVALID_ARGUMENT, exit 2."""


class UnknownName(Exception):  # noqa: N818
    """Nothing of that name: NOT_FOUND, exit 1."""


class NotTraceable(Exception):  # noqa: N818
    """It exists but cannot be traced now: FAILED_PRECONDITION, exit 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A trace, resolved. `backends` are what a service's or a node port's DNAT may choose; `protocol` is an IANA number.

    A source without a node is a bare address of no pod or node. `source.socket.port` is always 0.
    """

    source: Target
    destination: Target
    protocol: int
    live: bool
    backends: tuple[Backend, ...] = ()

    @property
    def source_has_namespace(self) -> bool:
        """Whether the source is a pod with a network namespace of its own, behind a veth."""
        return self.source.kind == "pod" and not self.source.host_network


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A trace as it was asked for. `port` 0 and `protocol` 0 mean not given."""

    source: str
    destination: str
    namespace: str = ""
    protocol: int = 0
    port: int = 0
    live: bool = False


def resolve(request: Request, inventory: Inventory) -> Question:
    """Raises UnusableRequest, UnknownName or NotTraceable with the sentence for the person."""
    source = resolve_source(request.source, request.namespace, inventory, live=request.live)
    destination, backends = _destination(request, source.socket.address.version, inventory)
    protocol = _protocol(request, destination)
    if protocol in (Protocol.TCP, Protocol.UDP) and not destination.socket.port and not request.live:
        raise UnusableRequest("a TCP or UDP trace needs the port of the destination: add --port N")
    backends = tuple(backend for backend in backends if backend.protocol == protocol)
    return Question(source=source, destination=destination, protocol=protocol, live=request.live, backends=backends)


def _protocol(request: Request, destination: Target) -> int:
    """TCP where a port is given or a service's only port was meant, else ICMP of the destination's family."""
    protocol = request.protocol or (Protocol.TCP if destination.socket.port else Protocol.ICMP)
    return Protocol.ICMPV6 if protocol == Protocol.ICMP and destination.socket.address.version == 6 else protocol


def resolve_source(text: str, namespace: str, inventory: Inventory, *, live: bool) -> Target:
    kind, _, rest = text.partition("/")
    if kind in ("svc", "service"):
        raise UnusableRequest(f"{text} cannot be a source: a service sends nothing; name one of its pods")
    if kind == "node" and rest:
        return _node(rest, inventory)
    address = _address(text)
    if address is None:
        pod = find_pod(text.removeprefix("pod/"), namespace, inventory)
        return _pod_target(pod)
    if not live:
        raise UnusableRequest(f"{text} is an address; a probe needs a pod or a node to send it (or use --live)")
    return owner_of(address, 0, inventory)


def owner_of(address: Address, port: int, inventory: Inventory) -> Target:
    """The pod, node or service that holds this address, or the bare address."""
    socket = Socket(address, port)
    if pod := inventory.pod_at(address):
        return Target(kind="pod", name=pod.key, node=pod.node, socket=socket)
    if node := inventory.node_at(address):
        return Target(kind="node", name=node.name, node=node.name, socket=socket)
    if service := inventory.service_at(address):
        return Target(kind="service", name=service.key, node="", socket=socket)
    return Target(kind="address", name="", node="", socket=socket)


def find_pod(name: str, namespace: str, inventory: Inventory) -> Pod:
    return _find("pod", name, namespace, inventory.pods)


def _find(kind: str, name: str, namespace: str, items: Mapping[str, Item]) -> Item:
    """`NAME` in `namespace`, or unique across the inventory where that is empty; or `NAMESPACE/NAME`."""
    if "/" in name:
        keys = [name]
    elif namespace:
        keys = [f"{namespace}/{name}"]
    else:
        keys = sorted(key for key in items if key.rsplit("/", 1)[-1] == name)
    found = [items[key] for key in keys if key in items]
    if len(found) > 1:
        raise UnusableRequest(f"{name} is the name of several {kind}s: {', '.join(keys)}; say which, or use -n")
    if not found:
        wanted = f"{namespace}/{name}" if namespace and "/" not in name else name
        raise UnknownName(f"there is no {kind} {wanted}{_nearest(name, items)}")
    return found[0]


def _destination(request: Request, family: int, inventory: Inventory) -> tuple[Target, tuple[Backend, ...]]:
    text = request.destination
    kind, _, rest = text.partition("/")
    if kind in ("svc", "service") and rest:
        return _service_target(_find("service", rest, request.namespace, inventory.services), request, family)
    if kind == "node" and rest:
        target = _node(rest, inventory, request.port)
    elif (address := _address(text)) is not None:
        target = owner_of(address, request.port, inventory)
        if target.kind == "service":
            return _service_target(inventory.services[target.name], request, family)
    elif "." in text and "/" not in text:
        raise UnusableRequest(f"{text} looks like a DNS name; give the address it stands for: names are not looked up")
    else:
        pod = find_pod(text.removeprefix("pod/"), request.namespace, inventory)
        target = _pod_target(pod, request.port, family)
    return target, _node_port_backends(target, inventory)


def _pod_target(pod: Pod, port: int = 0, family: int | None = None) -> Target:
    if pod.phase in FINISHED:
        raise NotTraceable(f"pod {pod.key} has finished ({pod.phase}); it has no network any more")
    if not pod.addresses or not pod.node:
        raise NotTraceable(f"pod {pod.key} has no address yet: it is {pod.phase}")
    address = next((a for a in pod.addresses if family in (None, a.version)), None)
    if address is None:
        raise NotTraceable(f"pod {pod.key} has no IPv{family} address, and the source has no other")
    socket = Socket(address, port)
    return Target(kind="pod", name=pod.key, node=pod.node, socket=socket, host_network=pod.host_network)


def _node(name: str, inventory: Inventory, port: int = 0) -> Target:
    node = inventory.nodes.get(name)
    if node is None:
        raise UnknownName(f"there is no node {name}{_nearest(name, inventory.nodes)}")
    if not node.addresses:
        raise NotTraceable(f"node {name} has no address in the inventory")
    return Target(kind="node", name=name, node=name, socket=Socket(node.addresses[0], port))


def _service_target(service: Service, request: Request, family: int) -> tuple[Target, tuple[Backend, ...]]:
    """Without a port and a protocol, a service's only port is meant; ICMP to a service must be asked for by name."""
    address = next((a for a in service.cluster_addresses if a.version == family), None)
    if address is None:
        raise NotTraceable(
            f"service {service.key} has no IPv{family} cluster address: trace to one of its pods instead"
        )
    if request.protocol == Protocol.ICMP:
        return Target(kind="service", name=service.key, node="", socket=Socket(address, 0)), ()
    offered = [p for p in service.ports if p.protocol == (request.protocol or Protocol.TCP)]
    chosen = [p for p in offered if p.port == request.port or not request.port]
    if len(chosen) != 1:
        ports = ", ".join(f"{p.port}/{protocol_name(p.protocol)}" for p in service.ports) or "none"
        raise UnusableRequest(f"say which port of service {service.key} by --port; it offers {ports}")
    backends = tuple(b for b in service.backends if b.port_name == chosen[0].name)
    return Target(kind="service", name=service.key, node="", socket=Socket(address, chosen[0].port)), backends


def _node_port_backends(target: Target, inventory: Inventory) -> tuple[Backend, ...]:
    if target.kind != "node" or not target.socket.port:
        return ()
    return tuple(
        backend
        for service in inventory.services.values()
        for port in service.ports
        if port.node_port == target.socket.port
        for backend in service.backends
        if backend.port_name == port.name
    )


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _nearest(name: str, keys: Iterable[str]) -> str:
    """`; did you mean shop/cart or shop/card?`, comparing whole keys and bare names."""
    names = list(keys)
    by_short = {key.rsplit("/", 1)[-1]: key for key in names}
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    close += [by_short[s] for s in difflib.get_close_matches(name.rsplit("/", 1)[-1], list(by_short), n=3, cutoff=0.5)]
    close = list(dict.fromkeys(close))[:3]
    return f"; did you mean {' or '.join(close)}?" if close else ""
