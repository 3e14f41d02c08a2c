"""Faults of connection tracking, of who listens, and of what lies outside the cluster. Pure."""

from ipaddress import IPv4Address

from pathtap.lab.faults.changes import (
    Change,
    EarlierChange,
    ForgottenFlowChange,
    FullConntrackChange,
    ListenerChange,
    ProcessChange,
    SysctlChange,
)
from pathtap.lab.faults.fault import Fault, Trace
from pathtap.lab.faults.making import cart, command, insert, redis, search
from pathtap.lab.options import LabOptions
from pathtap.lab.topology import INTERNET_HOST, UDP_ECHO_PORT, Cluster

_TCP, _UDP = 6, 17
_HTTPS = 443
_ONLY_PORT = 40_000
_STALE_PORT = 45_000
# Of a flow that a fault keeps alive; after that the fault is in force without it.
_MOST_SECONDS = 3600
_LASTING = "pathtap.lab.lasting"


def _conntrack_full(cluster: Cluster) -> tuple[Change, ...]:
    return (FullConntrackChange(namespace=cluster.nodes[0].network_namespace),)


def _port_exhaustion(cluster: Cluster) -> tuple[Change, ...]:
    """cart has the one port there is; what search begins finds none, and is dropped when its entry is to be inserted."""
    pod, node = cart(cluster)
    namespace = node.network_namespace
    rule = f"POSTROUTING -p tcp -d {INTERNET_HOST}/32 -m tcp --dport {_HTTPS} -j SNAT --to-source {node.address}"
    peer = f"tcp:{INTERNET_HOST}:{_HTTPS}"
    return (
        ForgottenFlowChange(
            namespace=namespace,
            protocol=_TCP,
            source=INTERNET_HOST,
            source_port=_HTTPS,
            destination=node.address,
            destination_port=_ONLY_PORT,
        ),
        # The far end says its line and closes; cart keeps its own end open.
        SysctlChange(
            namespace=namespace,
            path="net/netfilter/nf_conntrack_tcp_timeout_close_wait",
            broken=str(_MOST_SECONDS),
            healed="60",
        ),
        insert(cluster, namespace, "nat", f"{rule}:{_ONLY_PORT}-{_ONLY_PORT}"),
        ProcessChange(namespace=pod.network_namespace, arguments=(_LASTING, str(_MOST_SECONDS), peer)),
    )


def _stale_conntrack(cluster: Cluster) -> tuple[Change, ...]:
    """The flow begins while nothing translates it, and the kernel asks the rules for a flow's first packet alone."""
    pod, node = search(cluster)
    earlier = f"POSTROUTING -s {pod.address}/32 -p udp -m udp --sport {_STALE_PORT} -j ACCEPT"
    peer = f"udp:{INTERNET_HOST}:{UDP_ECHO_PORT}"
    return (
        ForgottenFlowChange(
            namespace=node.network_namespace,
            protocol=_UDP,
            source=IPv4Address(pod.address),
            source_port=_STALE_PORT,
            destination=INTERNET_HOST,
            destination_port=UDP_ECHO_PORT,
        ),
        EarlierChange(
            meanwhile=insert(cluster, node.network_namespace, "nat", earlier),
            made=ProcessChange(
                namespace=pod.network_namespace,
                arguments=(_LASTING, "--from", str(_STALE_PORT), str(_MOST_SECONDS), peer),
            ),
        ),
    )


def _nothing_listens(cluster: Cluster) -> tuple[Change, ...]:
    pod, _ = redis(cluster)
    return (ListenerChange(namespace=pod.network_namespace, address=pod.address, port=6379),)


def _host_unreachable(cluster: Cluster) -> tuple[Change, ...]:
    route = f"unreachable {INTERNET_HOST}/32"
    return (command(cluster.vpc_namespace, f"ip route add {route}", f"ip route del {route}"),)


def _needs_snat(options: LabOptions) -> str:
    return (
        "A lab with external SNAT translates nothing that a stale entry could contradict."
        if options.external_snat
        else ""
    )


FAULTS = (
    Fault(
        name="conntrack-full",
        breaks="The connection tracking table of cart's node is full: no new flow gets through.",
        trace=Trace(source="shop/cart", destination="shop/redis", port=6379),
        changes=_conntrack_full,
        traced_as=("CONNTRACK_TABLE_FULL",),
        checked_as=("CONNTRACK_TABLE_FULL",),
    ),
    Fault(
        name="port-exhaustion",
        breaks="search's node has one port for SNAT to 198.51.100.8:443, and cart has a connection that holds it.",
        trace=Trace(source="shop/search", destination=str(INTERNET_HOST), port=_HTTPS),
        changes=_port_exhaustion,
        traced_as=("CONNTRACK_INSERT_FAILED",),
    ),
    Fault(
        name="stale-conntrack",
        breaks="search keeps a UDP flow alive that is older than the SNAT rules: its entry translates nothing.",
        trace=Trace(
            source="shop/search", destination=str(INTERNET_HOST), port=UDP_ECHO_PORT, protocol="udp", live=True
        ),
        changes=_stale_conntrack,
        traced_as=("CONNTRACK_ENTRY_STALE",),
        impossible=_needs_snat,
    ),
    Fault(
        name="nothing-listens",
        breaks="Nothing listens on redis' port 6379: the pod itself refuses connections.",
        trace=Trace(source="shop/cart", destination="shop/redis", port=6379),
        changes=_nothing_listens,
        traced_as=("CONNECTION_REFUSED",),
    ),
    Fault(
        name="host-unreachable",
        breaks="The router before 198.51.100.8 answers that the host is unreachable.",
        trace=Trace(source="shop/search", destination=str(INTERNET_HOST), port=_HTTPS),
        changes=_host_unreachable,
        traced_as=("UNREACHABLE_OUTSIDE",),
    ),
)
