"""Wires a cluster's namespaces: links, addresses, routes, ip rules, neighbours, sysctls, netfilter. Starts no process.

Nodes are wired as the VPC CNI wires them (amazon-vpc-cni-k8s cmd/routed-eni-cni-plugin/driver and pkg/networkutils).
"""

from pathtap.lab import wiring_ipv6
from pathtap.lab.aws_rules import has_mark_rule
from pathtap.lab.kernel import MAIN_TABLE, Netlink, VethPeer, command_inside, write_sysctls
from pathtap.lab.metadata import IMDS_ADDRESS
from pathtap.lab.rules import native_rules, node_rules, vpc_rules
from pathtap.lab.topology import MTU, OUTSIDE, POD_GATEWAY, Cluster, Eni, Node, OutsideHost, Pod

TO_POD, FROM_POD = 512, 1536
_FROM_MARK, _FROM_ENI = 1024, 32765
_CONNMARK = 0x80

NODE_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/tcp_early_demux": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/netfilter/nf_conntrack_acct": "1",
}
_QUIET = {"net/ipv6/conf/all/disable_ipv6": "1", "net/ipv6/conf/default/disable_ipv6": "1"}
_VPC_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    # A real VPC never tells a sender of a better router.
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
}


def wire(cluster: Cluster) -> None:
    """Every namespace of `cluster` must exist and be empty."""
    _begin_vpc(cluster)
    for node in cluster.nodes:
        _begin_node(cluster, node)
        with Netlink(cluster.vpc_namespace) as vpc:
            for eni in node.enis:
                _attach(vpc, node, eni)
        _wire_node(cluster, node)
        for pod in node.pods:
            wire_pod(pod)
        write_sysctls(node.network_namespace, _link_sysctls(node))
        for version in (4, 6):
            _restore(cluster, node.network_namespace, node_rules(cluster, node, version), version)
        if native := native_rules(cluster, node):
            command_inside(node.network_namespace, ["nft", "-f", "-"], stdin=native, mark=cluster.options.prefix)
    for node in cluster.nodes:
        _deliver(cluster, node)


def _restore(cluster: Cluster, namespace: str, text: str, version: int) -> None:
    if not text:
        return
    program = "iptables" if version == 4 else "ip6tables"
    backend = cluster.options.backend
    # Every legacy writer of the machine waits for one lock, whatever its namespace.
    wait = ["-w", "10"] if backend == "legacy" else []
    command_inside(namespace, [f"{program}-{backend}-restore", *wait], stdin=text, mark=cluster.options.prefix)


def _begin_vpc(cluster: Cluster) -> None:
    write_sysctls(cluster.vpc_namespace, _VPC_SYSCTLS | (wiring_ipv6.ROUTER if cluster.options.ipv6 else _QUIET))
    with Netlink(cluster.vpc_namespace) as vpc:
        vpc.up("lo")
        for host in OUTSIDE:
            _attach_outside(cluster, vpc, host)
    for version in (4, 6):
        _restore(cluster, cluster.vpc_namespace, vpc_rules(cluster, version), version)


def _attach_outside(cluster: Cluster, vpc: Netlink, host: OutsideHost) -> None:
    """A host that routes the VPC's addresses, pods' included: with external SNAT nothing translates on its way."""
    namespace = cluster.outside_namespace(host)
    write_sysctls(namespace, wiring_ipv6.AT_ONCE if cluster.options.ipv6 else _QUIET)
    vpc.add_veth(host.name, host.port_mac, MTU, VethPeer(namespace=namespace, name="eth0", mac=host.mac))
    vpc.up(host.name)
    vpc.add_address(host.name, host.router, host.network.prefixlen)
    with Netlink(namespace) as outside:
        outside.up("lo")
        outside.up("eth0")
        outside.add_address("eth0", host.address, host.network.prefixlen)
        for network in cluster.vpc_networks:
            outside.add_route(network, "eth0", via=host.router)
        if cluster.options.ipv6:
            wiring_ipv6.attach_outside(vpc, outside, host)


def _begin_node(cluster: Cluster, node: Node) -> None:
    write_sysctls(node.network_namespace, NODE_SYSCTLS | (wiring_ipv6.ROUTER if cluster.options.ipv6 else {}))
    if cluster.options.ipv6:
        for pod in node.pods:
            write_sysctls(pod.network_namespace, wiring_ipv6.AT_ONCE)


def _attach(vpc: Netlink, node: Node, eni: Eni) -> None:
    vpc.add_veth(
        eni.port, eni.port_mac, MTU, VethPeer(namespace=node.network_namespace, name=eni.interface, mac=eni.mac)
    )
    vpc.up(eni.port)


def _deliver(cluster: Cluster, node: Node) -> None:
    """By address to the owning ENI. The pods' routes go *via* the ENI's address: nothing answers ARP for a pod."""
    with Netlink(cluster.vpc_namespace) as vpc:
        for gateway in dict.fromkeys(eni.gateway for eni in node.enis):
            vpc.add_address("lo", gateway, 32)
        for eni in node.enis:
            vpc.add_route(eni.address, eni.port)
            for network in eni.delegated:
                vpc.add_route(network, eni.port, via=eni.address)
            wiring_ipv6.deliver(vpc, eni)
    answers = {}
    for eni in node.enis:
        answers[f"net/ipv4/conf/{eni.port}/proxy_arp"] = "1"
        # The kernel answers a proxied ARP request after a random delay of up to 0.8 s.
        answers[f"net/ipv4/neigh/{eni.port}/proxy_delay"] = "0"
    write_sysctls(cluster.vpc_namespace, answers)


def _wire_node(cluster: Cluster, node: Node) -> None:
    primary, secondary = node.enis
    with Netlink(node.network_namespace) as link:
        link.up("lo")
        if cluster.options.metadata:
            link.add_address("lo", IMDS_ADDRESS, 32, for_the_host_alone=True)
        for eni in node.enis:
            link.up(eni.interface)
            link.add_address(eni.interface, eni.address, eni.subnet.prefixlen)
        link.add_route(None, primary.interface, via=primary.gateway)
        # The CNI removes a secondary ENI's subnet from main: what goes there takes the primary, or table 2.
        link.delete_subnet_route(secondary.subnet, secondary.interface)
        link.add_route(secondary.gateway, secondary.interface, table=secondary.table)
        link.add_route(None, secondary.interface, via=secondary.gateway, table=secondary.table)
        if cluster.options.ipv6:
            wiring_ipv6.wire_node(link, cluster.options, node)
        elif has_mark_rule(cluster.options):
            link.add_rule(_FROM_MARK, MAIN_TABLE, mark=_CONNMARK)
        link.add_rule(_FROM_ENI, secondary.table, source=secondary.address)
        for pod in node.pods:
            add_pod(link, node, pod)


def add_pod(link: Netlink, node: Node, pod: Pod) -> None:
    """The node's side of a pod; `link` is of the node's namespace."""
    link.add_veth(pod.veth, pod.host_mac, MTU, VethPeer(namespace=pod.network_namespace, name="eth0", mac=pod.mac))
    link.up(pod.veth)
    link.add_route(pod.address, pod.veth)
    link.add_rule(TO_POD, MAIN_TABLE, destination=pod.address)
    if pod.device:
        link.add_rule(FROM_POD, node.eni_of(pod).table, source=pod.address)
    if pod.egress:
        wiring_ipv6.add_egress(link, pod, pod.egress)


def wire_pod(pod: Pod) -> None:
    """The inside of a pod, once `add_pod` has made its eth0."""
    with Netlink(pod.network_namespace) as link:
        link.up("lo")
        link.up("eth0")
        if pod.address.version == 6:
            wiring_ipv6.wire_pod(link, pod)
            return
        link.add_address("eth0", pod.address, 32)
        link.add_route(POD_GATEWAY, "eth0")
        link.add_route(None, "eth0", via=POD_GATEWAY)
        link.add_permanent_neighbour("eth0", POD_GATEWAY, pod.host_mac)


def _link_sysctls(node: Node) -> dict[str, str]:
    values = {f"net/ipv4/conf/{node.primary.interface}/rp_filter": "2"}
    for pod in node.pods:
        values |= pod_sysctls(pod)
    return values | (wiring_ipv6.link_sysctls(node) if node.primary.ipv6 else {})


def pod_sysctls(pod: Pod) -> dict[str, str]:
    """Of the node's end of its veth."""
    veth = f"net/ipv6/conf/{pod.veth}"
    return {f"{veth}/accept_ra": "0", f"{veth}/accept_redirects": "1", f"{veth}/forwarding": "0"}
