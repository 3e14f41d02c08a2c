"""The cluster as a value: nodes, ENIs, pods, services and the addresses between them. Builds nothing, reads nothing.

The same options always give the same cluster, so that nothing but the options needs to be kept.
"""

import hashlib
import uuid
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from pathtap.lab.options import LabOptions

VPC = IPv4Network("192.168.0.0/16")
INTERNET = IPv4Network("198.51.100.0/24")
INTERNET_ROUTER = IPv4Address("198.51.100.1")
INTERNET_HOST = IPv4Address("198.51.100.8")
POD_GATEWAY = IPv4Address("169.254.1.1")
# RFC 862. Every pod, node and the internet host send a datagram to this port back.
UDP_ECHO_PORT = 7
NODE_EXPORTER_PORT = 9100
MTU = 9001

_PRIMARY, _SECONDARY = 0, 1
_ENI_HOST = (29, 87)
_FIRST_POD_HOST = (41, 116)
_FIRST_WARM_HOST = (200, 220)
_WARM = 2


def _digest(*parts: object) -> str:
    return hashlib.sha1("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def _mac(first: str, *parts: object) -> str:
    """A locally administered unicast MAC; `first` is its first octet."""
    digest = _digest("mac", *parts)
    return ":".join([first, *(digest[i : i + 2] for i in range(0, 10, 2))])


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod with a network namespace of its own. `device` is the device number of the ENI that owns its address."""

    namespace: str
    name: str
    address: IPv4Address
    device: int
    tcp_ports: tuple[int, ...]
    network_namespace: str

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def veth(self) -> str:
        """The host side's name, as the CNI makes it: `eni` and 11 hex digits of sha1("namespace.name")."""
        name = f"{self.namespace}.{self.name}".encode()
        return "eni" + hashlib.sha1(name, usedforsecurity=False).hexdigest()[:11]

    @property
    def host_mac(self) -> str:
        return _mac("0a", self.key, "host")

    @property
    def mac(self) -> str:
        return _mac("0e", self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Eni:
    """An elastic network interface. `warm` addresses belong to it and to no pod; `port` is its other end in the VPC."""

    id: str
    device: int
    interface: str
    mac: str
    port: str
    port_mac: str
    address: IPv4Address
    subnet: IPv4Network
    pod_addresses: tuple[IPv4Address, ...]
    warm: tuple[IPv4Address, ...]

    @property
    def gateway(self) -> IPv4Address:
        """The subnet's router: its first address."""
        return self.subnet[1]

    @property
    def table(self) -> int:
        """The CNI's route table of a secondary ENI on network card 0: the device number + 1."""
        return self.device + 1

    @property
    def addresses(self) -> tuple[IPv4Address, ...]:
        """All that the VPC delivers here and accepts from here, its own first."""
        return (self.address, *self.pod_addresses, *self.warm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    index: int
    name: str
    network_namespace: str
    primary: Eni
    secondary: Eni
    pods: tuple[Pod, ...]

    @property
    def address(self) -> IPv4Address:
        return self.primary.address

    @property
    def enis(self) -> tuple[Eni, Eni]:
        return self.primary, self.secondary

    def eni_of(self, pod: Pod) -> Eni:
        return self.enis[pod.device]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One TCP port, unnamed. `backends` are pods and the port they serve."""

    namespace: str
    name: str
    address: IPv4Address
    port: int
    target_port: int
    backends: tuple[tuple[Pod, int], ...] = ()

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    options: LabOptions
    nodes: tuple[Node, ...]
    services: tuple[Service, ...]

    @property
    def vpc_namespace(self) -> str:
        return f"{self.options.prefix}-vpc"

    @property
    def internet_namespace(self) -> str:
        return f"{self.options.prefix}-internet"

    @property
    def pods(self) -> tuple[Pod, ...]:
        return tuple(pod for node in self.nodes for pod in node.pods)

    @property
    def network_namespaces(self) -> tuple[str, ...]:
        inside = [name for node in self.nodes for name in (node.network_namespace, *_of(node.pods))]
        return (self.vpc_namespace, self.internet_namespace, *inside)

    def pod(self, key: str) -> Pod:
        """The pod `namespace/name`; KeyError where there is none."""
        return {pod.key: pod for pod in self.pods}[key]

    def node_of(self, pod: Pod) -> Node:
        return next(node for node in self.nodes if pod in node.pods)


def _of(pods: tuple[Pod, ...]) -> tuple[str, ...]:
    return tuple(pod.network_namespace for pod in pods)


# Per node: namespace, name, device number of its ENI, TCP ports.
_Plan = tuple[tuple[str, str, int, tuple[int, ...]], ...]
_PLANS: dict[int, _Plan] = {
    1: (
        ("shop", "cart", _PRIMARY, ()),
        ("shop", "web", _PRIMARY, (8080,)),
        ("shop", "search", _SECONDARY, (9200,)),
    ),
    2: (
        ("shop", "redis", _PRIMARY, (6379,)),
        ("shop", "orders", _SECONDARY, (8080,)),
        ("staging", "redis", _SECONDARY, (6379,)),
    ),
}


def _plan(index: int) -> _Plan:
    further: _Plan = (
        ("shop", f"cart-{index}", _PRIMARY, (8080,)),
        ("shop", f"search-{index}", _SECONDARY, (9200,)),
    )
    return _PLANS.get(index, further)


def _pods(options: LabOptions, index: int) -> tuple[Pod, ...]:
    subnet = _subnet(index)
    pods: list[Pod] = []
    for namespace, name, device, ports in _plan(index):
        before = sum(pod.device == device for pod in pods)
        identity = uuid.uuid5(uuid.NAMESPACE_OID, f"{options.prefix}/{namespace}/{name}")
        pods.append(
            Pod(
                namespace=namespace,
                name=name,
                address=subnet[_FIRST_POD_HOST[device] + before],
                device=device,
                tcp_ports=ports,
                network_namespace=f"{options.prefix}-cni-{identity}",
            )
        )
    return tuple(pods)


def _subnet(index: int) -> IPv4Network:
    return IPv4Network((int(VPC.network_address) + index * 256, 24))


def _eni(options: LabOptions, index: int, device: int, pods: tuple[Pod, ...]) -> Eni:
    subnet = _subnet(index)
    eni_id = "eni-0" + _digest("eni", index, device)[:16]
    return Eni(
        id=eni_id,
        device=device,
        interface=("eth0", "eth1")[device] if options.names == "eth" else ("ens5", "ens6")[device],
        mac=_mac("02", index, device),
        port="eni-" + eni_id[-11:],
        port_mac=_mac("06", index, device),
        address=subnet[_ENI_HOST[device]],
        subnet=subnet,
        pod_addresses=tuple(pod.address for pod in pods if pod.device == device),
        warm=tuple(subnet[_FIRST_WARM_HOST[device] + i] for i in range(_WARM)),
    )


def _node(options: LabOptions, index: int) -> Node:
    pods = _pods(options, index)
    primary = _eni(options, index, _PRIMARY, pods)
    name = f"ip-{str(primary.address).replace('.', '-')}"
    return Node(
        index=index,
        name=name,
        network_namespace=f"{options.prefix}-{name}",
        primary=primary,
        secondary=_eni(options, index, _SECONDARY, pods),
        pods=pods,
    )


def _service(name: str, last: int, port: int, target_port: int, backends: tuple[Pod, ...]) -> Service:
    return Service(
        namespace="shop",
        name=name,
        address=IPv4Address(f"10.100.0.{last}"),
        port=port,
        target_port=target_port,
        backends=tuple((pod, target_port) for pod in backends),
    )


def make_cluster(options: LabOptions) -> Cluster:
    nodes = tuple(_node(options, index) for index in range(1, options.nodes + 1))
    by_key = {pod.key: pod for node in nodes for pod in node.pods}
    services = (
        _service("redis", 10, 6379, 6379, (by_key["shop/redis"],)),
        _service("web", 20, 80, 8080, (by_key["shop/web"], by_key["shop/orders"])),
        _service("hollow", 30, 80, 8080, ()),
    )
    return Cluster(options=options, nodes=nodes, services=services)
