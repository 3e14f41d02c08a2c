"""Makes the cluster of some options: which pods there are, and the addresses of everything. Builds nothing, reads nothing.

The same options always give the same cluster, so that nothing but the options needs to be kept.
"""

import hashlib
import uuid
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from pathtap.lab.cluster import (
    EGRESS_NETWORK,
    INTERNET,
    OUTSIDE,
    PEER,
    SECOND_VPC_CIDR,
    VPC,
    VPC_IPV6,
    Cluster,
    Egress,
    Eni,
    EniIpv6,
    Node,
    OutsideHost,
    Pod,
    Service,
    digest,
    mac_of,
    vpc_networks,
)
from pathtap.lab.options import LabOptions
from pathtap.model.address import Address

__all__ = [
    "EGRESS_GATEWAY",
    "INTERNET",
    "INTERNET_HOST",
    "MTU",
    "NODE_EXPORTER_PORT",
    "OUTSIDE",
    "PEER",
    "PEER_HOST",
    "POD_GATEWAY",
    "POD_GATEWAY_IPV6",
    "SECOND_VPC_CIDR",
    "UDP_ECHO_PORT",
    "VPC",
    "VPC_GATEWAY_IPV6",
    "VPC_IPV6",
    "WEB_NODE_PORT",
    "Cluster",
    "Egress",
    "Eni",
    "Node",
    "OutsideHost",
    "Pod",
    "Service",
    "make_cluster",
    "vpc_networks",
]

INTERNET_HOST, PEER_HOST = INTERNET.address, PEER.address
POD_GATEWAY = IPv4Address("169.254.1.1")
POD_GATEWAY_IPV6 = IPv6Address("fe80::1")
# Every subnet's router has this one; it is link-local.
VPC_GATEWAY_IPV6 = IPv6Address("fe80:ec2::1")
EGRESS_GATEWAY = EGRESS_NETWORK[1]
SERVICES = IPv4Network("10.100.0.0/16")
SERVICES_IPV6 = IPv6Network("fd2e:5e1f:ab1e::/108")
# RFC 862. Every pod, every node and the hosts outside send a datagram to this port back.
UDP_ECHO_PORT = 7
NODE_EXPORTER_PORT = 9100
WEB_NODE_PORT = 30080
MTU = 9001

_PRIMARY, _SECONDARY = 0, 1
_ENI_HOST = (29, 87)
# The same to the eye.
_ENI_HOST_IPV6 = (0x29, 0x87)
# Each first pod lies in another /28 than its ENI's own address, and each warm one in another than the pods.
_FIRST_POD_HOST = (41, 116)
_FIRST_WARM_HOST = (200, 220)
_WARM = 2
# Of an ENI of an m5.large: its ten addresses but its own. With a real Kubernetes they wait for its pods.
_WARM_FOR_KUBE = 9
# What EC2 delegates to an ENI at once.
_DELEGATED_PREFIX_LENGTH = 28
_DELEGATED_PREFIX_LENGTH_IPV6 = 80

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
    if options.kube:
        return ()
    pods: list[Pod] = []
    for namespace, name, planned, ports in _plan(index):
        # With custom networking ipamd leaves the primary ENI to the node.
        device = _SECONDARY if options.custom_networking else planned
        if options.ipv6:
            # ipamd gives an IPv6 prefix to the primary ENI alone.
            device = _PRIMARY
        before = sum(pod.device == device for pod in pods)
        identity = uuid.uuid5(uuid.NAMESPACE_OID, f"{options.prefix}/{namespace}/{name}")
        pods.append(
            Pod(
                namespace=namespace,
                name=name,
                address=_pod_address(options, index, device, before),
                device=device,
                tcp_ports=ports,
                network_namespace=f"{options.prefix}-cni-{identity}",
                egress=_egress(str(identity), before) if options.ipv6 else None,
            )
        )
    return tuple(pods)


def _pod_address(options: LabOptions, index: int, device: int, before: int) -> Address:
    """Of an IPv6 prefix the first addresses, the very first left out; of IPv4 those that ipamd happened to get."""
    if options.ipv6:
        return _prefix_ipv6(index)[1 + before]
    return _subnet(options, index, device)[_FIRST_POD_HOST[device] + before]


def _egress(identity: str, before: int) -> Egress:
    """host-local gives its addresses in their order, the gateway's being the first."""
    return Egress(
        veth=f"veth{digest('egress', identity)[:8]}",
        host_mac=mac_of("0a", identity, "egress", "host"),
        mac=mac_of("0e", identity, "egress"),
        address=EGRESS_NETWORK[2 + before],
        container=hashlib.sha256(identity.encode()).hexdigest(),
    )


def _subnet_ipv6(index: int) -> IPv6Network:
    return IPv6Network((int(VPC_IPV6.network_address) + (index << 64), 64))


def _prefix_ipv6(index: int) -> IPv6Network:
    """The subnet's one with the number 0xa."""
    subnet = _subnet_ipv6(index)
    return IPv6Network((int(subnet.network_address) + (0xA << 48), _DELEGATED_PREFIX_LENGTH_IPV6))


def _eni_ipv6(index: int, device: int) -> EniIpv6:
    subnet = _subnet_ipv6(index)
    return EniIpv6(
        address=subnet[_ENI_HOST_IPV6[device]],
        subnet=subnet,
        prefixes=(_prefix_ipv6(index),) if device == _PRIMARY else (),
    )


def _subnet(options: LabOptions, index: int, device: int) -> IPv4Network:
    """The node's own; with custom networking its ENIConfig gives the secondary ENI one of the second CIDR."""
    network = SECOND_VPC_CIDR if options.custom_networking and device == _SECONDARY else VPC
    return IPv4Network((int(network.network_address) + index * 256, 24))


def _eni(options: LabOptions, index: int, device: int, pods: tuple[Pod, ...]) -> Eni:
    subnet = _subnet(options, index, device)
    eni_id = "eni-0" + digest("eni", index, device)[:16]
    # In an IPv6 cluster no pod's address is of IPv4.
    own = tuple(pod.address for pod in pods if pod.device == device and isinstance(pod.address, IPv4Address))
    for_pods = not options.ipv6 and (device == _SECONDARY or not options.custom_networking)
    first, count = (_FIRST_POD_HOST, _WARM_FOR_KUBE) if options.kube else (_FIRST_WARM_HOST, _WARM)
    warm = tuple(subnet[first[device] + i] for i in range(count)) if for_pods else ()
    return Eni(
        id=eni_id,
        device=device,
        interface=("eth0", "eth1")[device] if options.names == "eth" else ("ens5", "ens6")[device],
        mac=mac_of("02", index, device),
        port="eni-" + eni_id[-11:],
        port_mac=mac_of("06", index, device),
        address=subnet[_ENI_HOST[device]],
        subnet=subnet,
        pod_addresses=own,
        warm=() if options.prefix_mode else warm,
        prefixes=_prefixes((*own, *warm)) if options.prefix_mode else (),
        ipv6=_eni_ipv6(index, device) if options.ipv6 else None,
    )


def _prefixes(addresses: tuple[IPv4Address, ...]) -> tuple[IPv4Network, ...]:
    """The prefixes that hold `addresses`, each once: one in use, and a warm one as WARM_PREFIX_TARGET=1 keeps it."""
    holding = (IPv4Network((address, _DELEGATED_PREFIX_LENGTH), strict=False) for address in addresses)
    return tuple(dict.fromkeys(holding))


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


def _service(
    options: LabOptions,
    name: str,
    last: int,
    port: int,
    target_port: int,
    backends: tuple[Pod, ...],
    node_port: int = 0,
) -> Service:
    return Service(
        namespace="shop",
        name=name,
        # `last` to the eye, in either family.
        address=SERVICES_IPV6[int(str(last), 16)] if options.ipv6 else SERVICES[last],
        port=port,
        target_port=target_port,
        backends=tuple((pod, target_port) for pod in backends),
        node_port=node_port,
    )


def make_cluster(options: LabOptions) -> Cluster:
    """With `kube` it has neither pods nor services: those are made with kubectl."""
    nodes = tuple(_node(options, index) for index in range(1, options.nodes + 1))
    if options.kube:
        return Cluster(options=options, nodes=nodes, services=())
    by_key = {pod.key: pod for node in nodes for pod in node.pods}
    services = (
        _service(options, "redis", 10, 6379, 6379, (by_key["shop/redis"],)),
        _service(options, "web", 20, 80, 8080, (by_key["shop/web"], by_key["shop/orders"]), WEB_NODE_PORT),
        _service(options, "hollow", 30, 80, 8080, ()),
    )
    return Cluster(options=options, nodes=nodes, services=services)
