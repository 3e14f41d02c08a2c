"""Faults of a node's routes and of its reverse path filter. Pure."""

from pathtap.lab.faults.changes import Change, SysctlChange
from pathtap.lab.faults.fault import Changes, Fault, Trace, needs_primary_pods
from pathtap.lab.faults.making import batch, command, redis
from pathtap.lab.topology import INTERNET_HOST, Cluster

_CART_TO_REDIS = Trace(source="shop/cart", destination="shop/redis", port=6379)


def _no_pod_route(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = redis(cluster)
    route = f"{pod.address}/32 dev {pod.veth} scope link"
    return (command(node.network_namespace, f"ip route del {route}", f"ip route add {route}"),)


def _pod_route_to_another_veth(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = redis(cluster)
    own = f"route add {pod.address}/32 dev {pod.veth} scope link"
    other = f"route add {pod.address}/32 dev {cluster.pod('shop/orders').veth} scope link"
    gone = f"route del {pod.address}/32"
    return (batch(node.network_namespace, (gone, other), (gone, own)),)


def _no_default_route(cluster: Cluster) -> tuple[Change, ...]:
    primary = cluster.nodes[0].primary
    route = f"default via {primary.gateway} dev {primary.interface}"
    return (command(cluster.nodes[0].network_namespace, f"ip route del {route}", f"ip route add {route}"),)


def _refusing(kind: str) -> Changes:
    def changes(cluster: Cluster) -> tuple[Change, ...]:
        pod, _ = redis(cluster)
        node = cluster.nodes[0]
        routes = (f"{kind} {pod.address}/32 table {table}" for table in ("main", node.secondary.table))
        return tuple(
            command(node.network_namespace, f"ip route add {route}", f"ip route del {route}") for route in routes
        )

    return changes


def _strict_rp_filter(cluster: Cluster) -> tuple[Change, ...]:
    node = cluster.nodes[0]
    conf = "net/ipv4/conf"
    # The kernel takes the greater of `all` and the interface's own, and 2 (loose) is greater than 1 (strict).
    return (
        SysctlChange(namespace=node.network_namespace, path=f"{conf}/all/rp_filter", broken="1", healed="0"),
        SysctlChange(
            namespace=node.network_namespace,
            path=f"{conf}/{node.primary.interface}/rp_filter",
            broken="1",
            healed="2",
        ),
    )


FAULTS = (
    Fault(
        name="no-pod-route",
        breaks="redis' node has no route to its veth: the node sends the packets back to the VPC.",
        trace=_CART_TO_REDIS,
        changes=_no_pod_route,
        traced_as=("POD_ROUTE_MISSING",),
        checked_as=("POD_ROUTE_MISSING",),
    ),
    Fault(
        name="pod-route-to-another-veth",
        breaks="redis' node has its address on the veth of another pod, which does not answer to it.",
        trace=_CART_TO_REDIS,
        changes=_pod_route_to_another_veth,
        traced_as=("POD_ROUTE_WRONG_VETH",),
        checked_as=("POD_ROUTE_WRONG_VETH",),
    ),
    Fault(
        name="no-default-route",
        breaks="cart's node has no default route in main: nothing of the primary ENI's pods leaves it.",
        trace=_CART_TO_REDIS,
        changes=_no_default_route,
        traced_as=("NO_ROUTE_TO_DESTINATION",),
        checked_as=("NO_ROUTE_TO_DESTINATION",),
        impossible=needs_primary_pods,
    ),
    Fault(
        name="blackhole-route",
        breaks="cart's node has a blackhole route for redis' address, in main and in the secondary ENI's table.",
        trace=_CART_TO_REDIS,
        changes=_refusing("blackhole"),
        traced_as=("BLACKHOLE_ROUTE",),
        checked_as=("BLACKHOLE_ROUTE",),
    ),
    Fault(
        name="unreachable-route",
        breaks="cart's node has an unreachable route for redis' address: it answers that the host is unreachable.",
        trace=_CART_TO_REDIS,
        changes=_refusing("unreachable"),
        traced_as=("UNREACHABLE_ROUTE",),
        checked_as=("UNREACHABLE_ROUTE",),
    ),
    Fault(
        name="prohibit-route",
        breaks="cart's node has a prohibit route for redis' address: it answers that this is prohibited.",
        trace=_CART_TO_REDIS,
        changes=_refusing("prohibit"),
        traced_as=("PROHIBIT_ROUTE",),
        checked_as=("PROHIBIT_ROUTE",),
    ),
    Fault(
        name="strict-rp-filter",
        breaks="rp_filter is strict: an answer to search comes by the primary ENI, and rule 1536 says the secondary.",
        trace=Trace(source="shop/search", destination=str(INTERNET_HOST), port=443),
        changes=_strict_rp_filter,
        traced_as=("RP_FILTER_DROP",),
        checked_as=("RP_FILTER_DROP",),
    ),
)
