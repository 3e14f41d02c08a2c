"""Wires what an IPv6 cluster has besides: IPv6 of ENIs, pods, the VPC and the hosts outside, and the pods' way out by IPv4.

As the VPC CNI does it with ENABLE_IPv6 (cmd/routed-eni-cni-plugin/driver, pkg/networkutils, cmd/egress-cni-plugin). Addresses
are used at once: nobody else could have them, so nothing waits for duplicate address detection (accept_dad).
"""

from pathtap.lab.aws_rules import has_mark_rule
from pathtap.lab.cluster import EGRESS_NETWORK, Egress, Eni, Node, OutsideHost, Pod
from pathtap.lab.kernel import MAIN_TABLE, Netlink, VethPeer
from pathtap.lab.options import LabOptions
from pathtap.lab.topology import EGRESS_GATEWAY, MTU, POD_GATEWAY_IPV6, VPC_GATEWAY_IPV6, VPC_IPV6

TO_POD, FROM_MARK, FROM_ENI = 512, 1024, 32765
CONNMARK = 0x80
POD_LINK, EGRESS_LINK = "eth0", "v4if0"

AT_ONCE = {"net/ipv6/conf/all/accept_dad": "0", "net/ipv6/conf/default/accept_dad": "0"}
ROUTER = AT_ONCE | {"net/ipv6/conf/all/forwarding": "1", "net/ipv6/conf/default/forwarding": "1"}


def attach_outside(vpc: Netlink, outside: Netlink, host: OutsideHost) -> None:
    vpc.add_address(host.name, host.router_ipv6, host.network_ipv6.prefixlen)
    outside.add_address("eth0", host.address_ipv6, host.network_ipv6.prefixlen)
    outside.add_route(VPC_IPV6, "eth0", via=host.router_ipv6)


def deliver(vpc: Netlink, eni: Eni) -> None:
    """By address to the owning ENI. The prefixes' routes go *via* the ENI's address: nobody is asked for a pod's MAC."""
    if eni.ipv6 is None:
        return
    vpc.add_address(eni.port, VPC_GATEWAY_IPV6, 128)
    vpc.add_route(eni.ipv6.address, eni.port)
    for prefix in eni.ipv6.prefixes:
        vpc.add_route(prefix, eni.port, via=eni.ipv6.address)


def wire_node(link: Netlink, options: LabOptions, node: Node) -> None:
    """Its links are up. An ENI has its address alone; the subnet and the default route are what the router advertises."""
    for eni in node.enis:
        if eni.ipv6 is not None:
            link.add_address(eni.interface, eni.ipv6.address, 128)
    primary, secondary = node.enis
    if primary.ipv6 is None or secondary.ipv6 is None:
        return
    link.add_route(primary.ipv6.subnet, primary.interface)
    link.add_route(None, primary.interface, via=VPC_GATEWAY_IPV6)
    link.add_route(VPC_GATEWAY_IPV6, secondary.interface, table=secondary.table)
    link.add_route(None, secondary.interface, via=VPC_GATEWAY_IPV6, table=secondary.table)
    link.add_rule(FROM_ENI, secondary.table, source=secondary.ipv6.address)
    if has_mark_rule(options):
        link.add_rule(FROM_MARK, MAIN_TABLE, mark=CONNMARK, version=6)


def add_egress(link: Netlink, pod: Pod, egress: Egress) -> None:
    """The host's end. Every one of them has the gateway's address."""
    peer = VethPeer(namespace=pod.network_namespace, name=EGRESS_LINK, mac=egress.mac)
    link.add_veth(egress.veth, egress.host_mac, MTU, peer)
    link.up(egress.veth)
    link.add_address(egress.veth, EGRESS_GATEWAY, 32, for_the_link_alone=True)
    link.add_route(egress.address, egress.veth)


def wire_pod(link: Netlink, pod: Pod) -> None:
    link.add_address(POD_LINK, pod.address, 128)
    link.add_route(POD_GATEWAY_IPV6, POD_LINK)
    link.add_route(None, POD_LINK, via=POD_GATEWAY_IPV6)
    link.add_permanent_neighbour(POD_LINK, POD_GATEWAY_IPV6, pod.host_mac)
    if pod.egress is None:
        return
    link.up(EGRESS_LINK)
    link.add_address(EGRESS_LINK, pod.egress.address, EGRESS_NETWORK.prefixlen)
    # As the ptp plugin leaves it: even what is on the same network goes by the gateway.
    link.delete_subnet_route(EGRESS_NETWORK, EGRESS_LINK)
    link.add_route(EGRESS_GATEWAY, EGRESS_LINK, source=pod.egress.address)
    link.add_route(EGRESS_NETWORK, EGRESS_LINK, via=EGRESS_GATEWAY, source=pod.egress.address)
    link.add_route(None, EGRESS_LINK, via=EGRESS_GATEWAY)


def link_sysctls(node: Node) -> dict[str, str]:
    """The node is a router, and takes its own router's advertisements nonetheless."""
    return {f"net/ipv6/conf/{node.primary.interface}/accept_ra": "2"}
