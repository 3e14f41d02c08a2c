"""The lab's nouns: pods, ENIs, nodes, services, and the cluster that they make. Builds nothing, chooses no address.

`pathtap.lab.topology` makes them of options.
"""

import hashlib
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from pathtap.lab.options import LabOptions
from pathtap.model.address import Address, Network

VPC = IPv4Network("192.168.0.0/16")
# From RFC 6598's shared space, as is usual for a second CIDR that holds nothing but pods.
SECOND_VPC_CIDR = IPv4Network("100.64.0.0/16")
# A /56 is what a VPC gets, a /64 of it each subnet.
VPC_IPV6 = IPv6Network("2001:db8:64:100::/56")
# Of egress-cni's host-local addresses, the same on every node.
EGRESS_NETWORK = IPv4Network("169.254.172.0/22")


def vpc_networks(options: LabOptions) -> tuple[IPv4Network, ...]:
    """The CIDRs of the VPC, its first one first. Custom networking takes its subnets from the second one."""
    return (VPC, SECOND_VPC_CIDR) if options.vpc_cidrs == 2 or options.custom_networking else (VPC,)


def digest(*parts: object) -> str:
    """40 hex digits that the same parts always give."""
    return hashlib.sha1("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def mac_of(first: str, *parts: object) -> str:
    """A locally administered unicast MAC; `first` is its first octet."""
    octets = digest("mac", *parts)
    return ":".join([first, *(octets[i : i + 2] for i in range(0, 10, 2))])


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """A pod's way out by the other family than its own (egress-cni): a second veth, whose end in the pod is `v4if0`.

    `veth` is the host's end, which the kernel named; `address` means something on its node alone.
    """

    veth: str
    host_mac: str
    mac: str
    address: IPv4Address
    container: str

    @property
    def chain(self) -> str:
        """`CNI-E4-` and 21 hex digits of sha512, as cmd/egress-cni-plugin names it."""
        return "CNI-E4-" + hashlib.sha512(f"aws-cni{self.container}".encode()).hexdigest()[:21]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod with a network namespace of its own. `device` is the device number of the ENI that owns its address.

    `egress` it has in an IPv6 cluster.
    """

    namespace: str
    name: str
    address: Address
    device: int
    tcp_ports: tuple[int, ...]
    network_namespace: str
    egress: Egress | None = None

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
        return mac_of("0a", self.key, "host")

    @property
    def mac(self) -> str:
        return mac_of("0e", self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class EniIpv6:
    """What an ENI of an IPv6 cluster has besides its IPv4: an address of its own, and prefixes (/80) for pods."""

    address: IPv6Address
    subnet: IPv6Network
    prefixes: tuple[IPv6Network, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Eni:
    """An elastic network interface. `warm` addresses belong to it and to no pod; `port` is its other end in the VPC.

    With `prefixes` (/28) the pods' addresses are taken from those, and nothing but them is delegated.
    """

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
    prefixes: tuple[IPv4Network, ...] = ()
    ipv6: EniIpv6 | None = None

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
        """Its own first, then those that are or may be given to pods one by one; of prefixes only the used ones."""
        return (self.address, *self.pod_addresses, *self.warm)

    @property
    def delegated(self) -> tuple[IPv4Network, ...]:
        """What the VPC delivers here for pods: the prefixes, or single addresses."""
        return self.prefixes or tuple(IPv4Network(address) for address in (*self.pod_addresses, *self.warm))

    @property
    def owned(self) -> tuple[Network, ...]:
        """All that the VPC delivers here and accepts from here: of IPv4 its own address first, of IPv6 too."""
        further = (IPv6Network(self.ipv6.address), *self.ipv6.prefixes) if self.ipv6 else ()
        return (IPv4Network(self.address), *self.delegated, *further)


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
    def cluster_address(self) -> Address:
        """The one that Kubernetes knows it by."""
        return self.primary.ipv6.address if self.primary.ipv6 else self.address

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Of its primary ENI, in every family it has."""
        return tuple(dict.fromkeys((self.cluster_address, self.address)))

    @property
    def enis(self) -> tuple[Eni, Eni]:
        return self.primary, self.secondary

    def eni_of(self, pod: Pod) -> Eni:
        return self.enis[pod.device]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One TCP port, unnamed. `backends` are pods and the port they serve; `node_port` 0 where there is none."""

    namespace: str
    name: str
    address: Address
    port: int
    target_port: int
    backends: tuple[tuple[Pod, int], ...] = ()
    node_port: int = 0

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideHost:
    """The one host of a network outside of the VPC, whose router is the VPC. `name` is also its port there."""

    name: str
    network: IPv4Network
    address: IPv4Address
    network_ipv6: IPv6Network
    address_ipv6: IPv6Address

    @property
    def router(self) -> IPv4Address:
        return self.network[1]

    @property
    def router_ipv6(self) -> IPv6Address:
        return self.network_ipv6[1]

    def addresses(self, options: LabOptions) -> tuple[Address, ...]:
        return (self.address, self.address_ipv6) if options.ipv6 else (self.address,)

    @property
    def mac(self) -> str:
        return mac_of("06", self.name, "host")

    @property
    def port_mac(self) -> str:
        return mac_of("06", self.name)


INTERNET = OutsideHost(
    name="internet",
    network=IPv4Network("198.51.100.0/24"),
    address=IPv4Address("198.51.100.8"),
    network_ipv6=IPv6Network("2001:db8:100::/64"),
    address_ipv6=IPv6Address("2001:db8:100::8"),
)
# Another VPC, behind a peering connection: what AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS is for.
PEER = OutsideHost(
    name="peer",
    network=IPv4Network("203.0.113.0/24"),
    address=IPv4Address("203.0.113.8"),
    network_ipv6=IPv6Network("2001:db8:200::/64"),
    address_ipv6=IPv6Address("2001:db8:200::8"),
)
OUTSIDE = (INTERNET, PEER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    options: LabOptions
    nodes: tuple[Node, ...]
    services: tuple[Service, ...]

    @property
    def vpc_networks(self) -> tuple[IPv4Network, ...]:
        return vpc_networks(self.options)

    @property
    def vpc_namespace(self) -> str:
        return f"{self.options.prefix}-vpc"

    @property
    def internet_namespace(self) -> str:
        return self.outside_namespace(INTERNET)

    def outside_namespace(self, host: OutsideHost) -> str:
        return f"{self.options.prefix}-{host.name}"

    @property
    def control_namespace(self) -> str:
        """Where the control plane of a real Kubernetes is: attached to the VPC, on no node."""
        return f"{self.options.prefix}-control"

    @property
    def pods(self) -> tuple[Pod, ...]:
        return tuple(pod for node in self.nodes for pod in node.pods)

    @property
    def network_namespaces(self) -> tuple[str, ...]:
        inside = [name for node in self.nodes for name in (node.network_namespace, *_of(node.pods))]
        control = (self.control_namespace,) if self.options.kube else ()
        return (self.vpc_namespace, *map(self.outside_namespace, OUTSIDE), *control, *inside)

    def pod(self, key: str) -> Pod:
        """The pod `namespace/name`; KeyError where there is none."""
        return {pod.key: pod for pod in self.pods}[key]

    def node_of(self, pod: Pod) -> Node:
        return next(node for node in self.nodes if pod in node.pods)


def _of(pods: tuple[Pod, ...]) -> tuple[str, ...]:
    return tuple(pod.network_namespace for pod in pods)
