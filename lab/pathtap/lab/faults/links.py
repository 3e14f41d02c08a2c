"""Faults of links and neighbours: an ENI that is down or too narrow, MACs that are no longer true. Pure."""

from pathtap.lab.faults.changes import Change
from pathtap.lab.faults.fault import Fault, Trace, needs_primary_pods
from pathtap.lab.faults.making import batch, cart, command, redis
from pathtap.lab.topology import MTU, POD_GATEWAY, Cluster

_CART_TO_REDIS = Trace(source="shop/cart", destination="shop/redis", port=6379)
# RFC 7042, 2.1.2: of the block for documentation.
_FORMER_MAC = "00:00:5e:00:53:01"
_NARROW_MTU = 1300


def _stale_gateway_neighbour(cluster: Cluster) -> tuple[Change, ...]:
    pod, _ = cart(cluster)
    entry = f"ip neigh replace {POD_GATEWAY} dev eth0 nud permanent lladdr"
    return (command(pod.network_namespace, f"{entry} {_FORMER_MAC}", f"{entry} {pod.host_mac}"),)


def _stale_pod_neighbour(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = redis(cluster)
    entry = f"{pod.address} dev {pod.veth}"
    broken = f"ip neigh replace {entry} nud permanent lladdr {_FORMER_MAC}"
    return (command(node.network_namespace, broken, f"ip neigh del {entry}"),)


def _link_down(cluster: Cluster) -> tuple[Change, ...]:
    node, eni = cluster.nodes[0], cluster.nodes[0].secondary
    link = f"link set {eni.interface}"
    # The kernel drops a link's routes when it goes down, and of its address makes one in main that the CNI removes.
    again = (
        f"{link} up",
        f"route del {eni.subnet} dev {eni.interface} proto kernel scope link",
        f"route add {eni.gateway} dev {eni.interface} scope link table {eni.table}",
        f"route add default via {eni.gateway} dev {eni.interface} table {eni.table}",
    )
    return (batch(node.network_namespace, (f"{link} down",), again),)


def _small_mtu(cluster: Cluster) -> tuple[Change, ...]:
    node = cluster.nodes[0]
    link = f"ip link set {node.primary.interface} mtu"
    # What was learned of the path outlives its cause by 10 minutes (net.ipv4.route.mtu_expires).
    forget = "ip route flush cache"
    inside = (node.network_namespace, *(pod.network_namespace for pod in node.pods))
    return (
        *(command(namespace, "", forget) for namespace in inside),
        command(node.network_namespace, f"{link} {_NARROW_MTU}", f"{link} {MTU}"),
    )


FAULTS = (
    Fault(
        name="stale-gateway-neighbour",
        breaks="cart's permanent entry for 169.254.1.1 has another MAC than its veth: the node takes none of its frames.",
        trace=_CART_TO_REDIS,
        changes=_stale_gateway_neighbour,
        traced_as=("GATEWAY_NEIGHBOUR_STALE",),
        checked_as=("GATEWAY_NEIGHBOUR_STALE",),
    ),
    Fault(
        name="stale-pod-neighbour",
        breaks="redis' node has a former MAC for its address: redis takes none of its frames.",
        trace=_CART_TO_REDIS,
        changes=_stale_pod_neighbour,
        traced_as=("POD_NEIGHBOUR_STALE",),
        checked_as=("POD_NEIGHBOUR_STALE",),
    ),
    Fault(
        name="link-down",
        breaks="search's secondary ENI is down, and the routes of its table are gone with it.",
        trace=Trace(source="shop/search", destination="shop/redis", port=6379),
        changes=_link_down,
        traced_as=("LINK_DOWN",),
        checked_as=("LINK_DOWN",),
    ),
    Fault(
        name="small-mtu",
        breaks="cart's primary ENI has an MTU of 1300: what is longer and may not be fragmented does not leave by it.",
        trace=Trace(source="shop/cart", destination="shop/redis", size=4000),
        changes=_small_mtu,
        traced_as=("MTU_TOO_SMALL",),
        checked_as=("MTU_TOO_SMALL",),
        impossible=needs_primary_pods,
    ),
)
