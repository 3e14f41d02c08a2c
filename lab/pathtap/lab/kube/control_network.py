"""The control plane's place in the lab's network: a namespace that is attached to the VPC, as EKS attaches its own by ENIs
in your subnets. Starts nothing.
"""

from ipaddress import IPv4Address, IPv4Network

from pathtap.lab.cluster import Cluster, mac_of
from pathtap.lab.kernel import Netlink, VethPeer, write_sysctls
from pathtap.lab.topology import MTU

SUBNET = IPv4Network("192.168.0.0/24")
ADDRESS = IPv4Address("192.168.0.10")
PORT = 6443
_LINK = "control"


def attach(cluster: Cluster) -> None:
    """The namespaces of the VPC and of the control plane must exist, the latter empty."""
    namespace, router = cluster.control_namespace, SUBNET[1]
    write_sysctls(namespace, {"net/ipv6/conf/all/disable_ipv6": "1", "net/ipv6/conf/default/disable_ipv6": "1"})
    with Netlink(cluster.vpc_namespace) as vpc:
        end = VethPeer(namespace=namespace, name="eth0", mac=mac_of("02", "control"))
        vpc.add_veth(_LINK, mac_of("06", "control"), MTU, end)
        vpc.up(_LINK)
        vpc.add_address("lo", router, 32)
        vpc.add_route(ADDRESS, _LINK)
    # The router answers for itself and for everybody.
    answers = {f"net/ipv4/conf/{_LINK}/proxy_arp": "1", f"net/ipv4/neigh/{_LINK}/proxy_delay": "0"}
    write_sysctls(cluster.vpc_namespace, answers)
    with Netlink(namespace) as control:
        control.up("lo")
        control.up("eth0")
        control.add_address("eth0", ADDRESS, SUBNET.prefixlen)
        control.add_route(None, "eth0", via=router)
