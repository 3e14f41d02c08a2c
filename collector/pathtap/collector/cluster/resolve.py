"""What a person wrote, turned into the ends of a trace: names against the inventory, addresses to what owns them.

Pure. Knows no agents. Every refusal is one of three kinds, and each becomes one gRPC status and one exit code.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TypeVar

from pathtap.collector.cluster.inventory import FINISHED, Inventory
from pathtap.collector.cluster.naming import nearest
from pathtap.collector.cluster.workloads import choose, condition, said, workload_kind
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


class NotListed(NotTraceable):
    """The inventory has no address of the destination's family for the source; its node may know one."""

    def __init__(self, sentence: str, source: "Target") -> None:
        super().__init__(sentence)
        self.source = source


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A trace, resolved. `backends` are what a service's or a node port's DNAT may choose; `protocol` is an IANA number.

    A source without a node is a bare address of no pod or node. `source.socket.port` is always 0. `chosen` says which pod
    stands for a workload that was named.
    """

    source: Target
    destination: Target
    protocol: int
    live: bool
    backends: tuple[Backend, ...] = ()
    chosen: tuple[str, ...] = ()

    @property
    def source_has_namespace(self) -> bool:
        """Whether the source is a pod with a network namespace of its own, behind a veth."""
        return self.source.kind == "pod" and not self.source.host_network

    @property
    def is_to_itself(self) -> bool:
        """Whether a pod asks for its own address: that goes by its lo and never comes to its node."""
        return self.source_has_namespace and self.source.socket.address == self.destination.socket.address


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A trace as it was asked for. `port` 0 and `protocol` 0 mean not given."""

    source: str
    destination: str
    namespace: str = ""
    protocol: int = 0
    port: int = 0
    live: bool = False


def resolve(request: Request, inventory: Inventory, unlisted: Iterable[Address] = ()) -> Question:
    """`unlisted` are addresses of the source that its node told, for want of one in the inventory.

    Raises UnusableRequest, UnknownName or NotTraceable with the sentence for the person.
    """
    _check(request)
    source = resolve_source(request.source, request.namespace, inventory, live=request.live)
    own = _addresses_of(source, inventory)
    destination, backends = _destination(request, _families(own), inventory, source)
    address = _choose((*own, *unlisted), (destination.socket.address.version,))
    if address is None:
        version = destination.socket.address.version
        sentence = f"{source.name or source.socket} has no IPv{version} address to reach {request.destination}"
        raise NotListed(sentence, source)
    source = replace(source, socket=Socket(address, source.socket.port))
    protocol = _protocol(request, destination)
    if protocol in (Protocol.TCP, Protocol.UDP) and not destination.socket.port and not request.live:
        raise UnusableRequest("a TCP or UDP trace needs the port of the destination: add --port N")
    backends = tuple(backend for backend in backends if backend.protocol == protocol)
    return Question(
        source=source,
        destination=destination,
        protocol=protocol,
        live=request.live,
        backends=backends,
        chosen=(*said(request.source, source.name, inventory), *said(request.destination, destination.name, inventory)),
    )


def _check(request: Request) -> None:
    if request.protocol not in (0, Protocol.ICMP, Protocol.TCP, Protocol.UDP):
        raise UnusableRequest(f"{protocol_name(request.protocol)} cannot be traced: choose icmp, tcp or udp")
    if not 0 <= request.port <= 65_535:
        raise UnusableRequest(f"{request.port} is no port: ports are 1 to 65535")
    if request.protocol == Protocol.ICMP and request.port:
        raise UnusableRequest("ICMP has no ports: leave out --port, or choose --protocol tcp or udp")


def _addresses_of(target: Target, inventory: Inventory) -> tuple[Address, ...]:
    """All that an end could use, the one it was given first."""
    if target.kind == "pod":
        return tuple(dict.fromkeys((target.socket.address, *inventory.pods[target.name].addresses)))
    if target.kind == "node":
        return tuple(dict.fromkeys((target.socket.address, *inventory.nodes[target.name].addresses)))
    return (target.socket.address,)


def _families(addresses: Iterable[Address]) -> tuple[int, ...]:
    """4 and 6, in the order of the addresses."""
    return tuple(dict.fromkeys(address.version for address in addresses))


def _choose(addresses: Iterable[Address], families: Iterable[int]) -> Address | None:
    """The first address of the first family that there is one of."""
    known = list(addresses)
    return next((address for family in families for address in known if address.version == family), None)


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
    address = address_in(text)
    if address is None:
        return _pod_target(_workload_pod(text, namespace, inventory) or _pod_by_name(text, namespace, inventory))
    if not live:
        raise UnusableRequest(f"{text} is an address; a probe needs a pod or a node to send it (or use --live)")
    owner = owner_of(address, 0, inventory)
    if owner.kind == "service":
        raise UnusableRequest(f"{text} is service {owner.name}: a service sends nothing; name one of its pods")
    return owner


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


def _pod_by_name(text: str, namespace: str, inventory: Inventory) -> Pod:
    return _find("pod", text.removeprefix("pod/"), namespace, inventory.pods)


def _workload_pod(text: str, namespace: str, inventory: Inventory, other_than: str = "") -> Pod | None:
    """The pod that stands for `deploy/cart`; None for what names no workload. `other_than` is the key of the other end."""
    word, _, name = text.partition("/")
    kind = workload_kind(word)
    if not kind or not name:
        return None
    pods = _find(kind, name, namespace, inventory.pods_by_workload.get(kind, {}), f"pod of {kind}")
    pod = choose(pods, other_than)
    if pod is None:
        raise NotTraceable(f"{text} has no pod that could be taken: {condition(pods)}")
    return pod


def _find(kind: str, name: str, namespace: str, items: Mapping[str, Item], what: str = "") -> Item:
    """`NAME` in `namespace`, or unique across the inventory where that is empty; or `NAMESPACE/NAME`.

    `what` there is none of is told in place of `kind`: of a workload its pods alone are known.
    """
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
        raise UnknownName(f"there is no {what or kind} {wanted}{nearest(name, items)}")
    return found[0]


def _destination(
    request: Request, families: Sequence[int], inventory: Inventory, source: Target
) -> tuple[Target, tuple[Backend, ...]]:
    """`families` are those that the source has addresses of, the preferred one first."""
    text = request.destination
    kind, _, rest = text.partition("/")
    if kind in ("svc", "service") and rest:
        return _service_target(_find("service", rest, request.namespace, inventory.services), request, families)
    if kind == "node" and rest:
        target = _node(rest, inventory, request.port, families)
    elif (address := address_in(text)) is not None:
        if address.is_loopback:
            raise UnusableRequest(f"{text} goes by lo and leaves nobody's network namespace: there is no way to trace")
        target = owner_of(address, request.port, inventory)
        if target.kind == "service":
            return _service_target(inventory.services[target.name], request, (address.version,))
    else:
        pod = _workload_pod(text, request.namespace, inventory, source.name)
        target = _pod_target(pod or _named_pod(text, request.namespace, inventory), request.port, families)
    port = target.socket.port if target.kind == "node" else 0
    return target, inventory.backends_of_node_port(port) if port else ()


def _named_pod(text: str, namespace: str, inventory: Inventory) -> Pod:
    """A pod's name may have dots too (a static pod carries its node's), so it is looked for first."""
    try:
        return _pod_by_name(text, namespace, inventory)
    except UnknownName:
        if "." not in text or "/" in text:
            raise
    raise UnusableRequest(f"{text} looks like a DNS name; give the address it stands for: names are not looked up")


def _pod_target(pod: Pod, port: int = 0, families: Sequence[int] = ()) -> Target:
    if pod.phase in FINISHED:
        raise NotTraceable(f"pod {pod.key} has finished ({pod.phase}); it has no network any more")
    if not pod.addresses or not pod.node:
        raise NotTraceable(f"pod {pod.key} has no address yet: it is {pod.phase}")
    address = _choose(pod.addresses, families or _families(pod.addresses))
    if address is None:
        raise NotTraceable(f"pod {pod.key} has no {_either(families)} address, and the source has no other")
    socket = Socket(address, port)
    return Target(kind="pod", name=pod.key, node=pod.node, socket=socket, host_network=pod.host_network)


def _node(name: str, inventory: Inventory, port: int = 0, families: Sequence[int] = ()) -> Target:
    node = inventory.nodes.get(name)
    if node is None:
        raise UnknownName(f"there is no node {name}{nearest(name, inventory.nodes)}")
    if not node.addresses:
        raise NotTraceable(f"node {name} has no address in the inventory")
    address = _choose(node.addresses, families or _families(node.addresses))
    if address is None:
        raise NotTraceable(f"node {name} has no {_either(families)} address, and the source has no other")
    return Target(kind="node", name=name, node=name, socket=Socket(address, port))


def _either(families: Iterable[int]) -> str:
    return " or ".join(f"IPv{family}" for family in families)


def _service_target(service: Service, request: Request, families: Sequence[int]) -> tuple[Target, tuple[Backend, ...]]:
    """Without a port and a protocol, a service's only port is meant; ICMP to a service must be asked for by name."""
    address = _choose(service.cluster_addresses, families)
    if address is None:
        raise NotTraceable(
            f"service {service.key} has no {_either(families)} cluster address: trace to one of its pods instead"
        )
    if request.protocol == Protocol.ICMP:
        return Target(kind="service", name=service.key, node="", socket=Socket(address, 0)), ()
    offered = [p for p in service.ports if p.protocol == (request.protocol or Protocol.TCP)]
    chosen = [p for p in offered if p.port == request.port or not request.port]
    if len(chosen) != 1:
        ports = ", ".join(f"{p.port}/{protocol_name(p.protocol)}" for p in service.ports) or "none"
        how = "--port" if all(p.protocol == Protocol.TCP for p in service.ports) else "--port and --protocol"
        asked = f"has no port {request.port}" if request.port and offered else f"wants its port said by {how}"
        raise UnusableRequest(f"service {service.key} {asked}; it offers {ports}")
    backends = tuple(b for b in service.backends if b.port_name == chosen[0].name)
    return Target(kind="service", name=service.key, node="", socket=Socket(address, chosen[0].port)), backends


def address_in(text: str) -> Address | None:
    """None for what is no address. Raises UnusableRequest for a second way to write one (IPv4 within IPv6, which the kernel
    sends as IPv4; a zone, which is not sent at all): it would be reached, and not be known for the pod's that it is.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if address.version == 6 and (address.ipv4_mapped is not None or address.scope_id is not None):
        raise UnusableRequest(f"{text} cannot be taken: write IPv4 as IPv4, and an address without its zone")
    return address
