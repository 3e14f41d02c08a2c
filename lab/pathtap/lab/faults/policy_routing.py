"""Faults of a node's ip rules: one is missing, one too many, or one of somebody else's comes first. Pure."""

from pathtap.lab.aws_rules import has_mark_rule
from pathtap.lab.faults.changes import Change
from pathtap.lab.faults.fault import Fault, Trace, needs_primary_pods
from pathtap.lab.faults.making import batch, cart, command, ip_rule, no_ip_rule, redis, search
from pathtap.lab.options import LabOptions
from pathtap.lab.topology import INTERNET_HOST, Cluster

_CART_TO_REDIS = Trace(source="shop/cart", destination="shop/redis", port=6379)
_SEARCH_TO_REDIS = Trace(source="shop/search", destination="shop/redis", port=6379)
_FOREIGN_TABLE = 100


def _needs_mark_rule(options: LabOptions) -> str:
    return "" if has_mark_rule(options) else "A lab without SNAT and without node ports has no ip rule 1024."


def _no_fwmark_rule(cluster: Cluster) -> tuple[Change, ...]:
    return (no_ip_rule(cluster.nodes[0], "priority 1024 fwmark 0x80/0x80 lookup main"),)


def _no_from_pod_rule(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = search(cluster)
    return (no_ip_rule(node, f"priority 1536 from {pod.address} lookup {node.eni_of(pod).table}"),)


def _no_to_pod_rule(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = cart(cluster)
    return (no_ip_rule(node, f"priority 512 to {pod.address} lookup main"),)


def _overruled_to_pod_rule(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = redis(cluster)
    return (ip_rule(node, f"priority 500 to {pod.address} lookup {node.secondary.table}"),)


def _duplicate_from_pod_rule(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = search(cluster)
    own = f"priority 1536 from {pod.address} lookup {node.eni_of(pod).table}"
    other = f"priority 1536 from {pod.address} lookup main"
    # Of two rules with one priority the kernel asks the older one first, and puts a new one behind it.
    broken = (f"rule del {own}", f"rule add {other}", f"rule add {own}")
    return (batch(node.network_namespace, broken, (f"rule del {other}",)),)


def _stale_from_pod_rule(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = cart(cluster)
    return (ip_rule(node, f"priority 1536 from {pod.address} lookup {node.secondary.table}"),)


def _foreign_rule(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = search(cluster)
    route = f"default via {node.primary.gateway} dev {node.primary.interface} table {_FOREIGN_TABLE}"
    return (
        command(node.network_namespace, f"ip route add {route}", f"ip route del {route}"),
        ip_rule(node, f"priority 1000 from {pod.address} lookup {_FOREIGN_TABLE}"),
    )


def _asymmetric_reply(cluster: Cluster) -> tuple[Change, ...]:
    orders = cluster.pod("shop/orders")
    return (ip_rule(cluster.node_of(orders), f"priority 1400 from {orders.address} lookup main"),)


FAULTS = (
    Fault(
        name="no-fwmark-rule",
        breaks="ip rule 1024 is gone: what is SNATed to the primary ENI's address leaves by the secondary ENI.",
        trace=Trace(source="shop/search", destination=str(INTERNET_HOST), port=443),
        changes=_no_fwmark_rule,
        traced_as=("FWMARK_RULE_MISSING", "SOURCE_NOT_OWNED_BY_ENI"),
        checked_as=("FWMARK_RULE_MISSING",),
        impossible=_needs_mark_rule,
    ),
    Fault(
        name="no-from-pod-rule",
        breaks="search's ip rule 1536 is gone: its packets leave by the primary ENI, which does not own their source.",
        trace=_SEARCH_TO_REDIS,
        changes=_no_from_pod_rule,
        traced_as=("FROM_POD_RULE_MISSING", "SOURCE_NOT_OWNED_BY_ENI"),
        checked_as=("FROM_POD_RULE_MISSING",),
    ),
    Fault(
        name="no-to-pod-rule",
        breaks="cart's ip rule 512 is gone: what search sends to it leaves the node by search's own ENI.",
        trace=Trace(source="shop/search", destination="shop/cart"),
        changes=_no_to_pod_rule,
        traced_as=("TO_POD_RULE_MISSING",),
        checked_as=("TO_POD_RULE_MISSING",),
    ),
    Fault(
        name="overruled-to-pod-rule",
        breaks="An ip rule 500 on redis' node sends what comes for it to the secondary ENI's table, before rule 512.",
        trace=_CART_TO_REDIS,
        changes=_overruled_to_pod_rule,
        traced_as=("TO_POD_RULE_OVERRULED",),
        checked_as=("TO_POD_RULE_OVERRULED",),
    ),
    Fault(
        name="duplicate-from-pod-rule",
        breaks="search has two ip rules 1536, and the first leads to main: its packets leave by the primary ENI.",
        trace=_SEARCH_TO_REDIS,
        changes=_duplicate_from_pod_rule,
        traced_as=("FROM_POD_RULE_DUPLICATED",),
        checked_as=("FROM_POD_RULE_DUPLICATED",),
    ),
    Fault(
        name="stale-from-pod-rule",
        breaks="A former pod's ip rule 1536 has cart's address: its packets leave by the secondary ENI.",
        trace=_CART_TO_REDIS,
        changes=_stale_from_pod_rule,
        traced_as=("FROM_POD_RULE_STALE",),
        checked_as=("FROM_POD_RULE_STALE",),
        impossible=needs_primary_pods,
    ),
    Fault(
        name="foreign-rule",
        breaks="An ip rule 1000, as cloud-setup tools write it, sends what search says out of the primary ENI.",
        trace=_SEARCH_TO_REDIS,
        changes=_foreign_rule,
        traced_as=("WRONG_ENI", "FOREIGN_IP_RULE"),
        checked_as=("FOREIGN_IP_RULE",),
    ),
    Fault(
        name="asymmetric-reply",
        breaks="An ip rule 1400 on orders' node sends its answers out of the primary ENI; requests come by the secondary.",
        trace=Trace(source="shop/cart", destination="shop/orders", port=8080),
        changes=_asymmetric_reply,
        traced_as=("ASYMMETRIC_REPLY",),
        checked_as=("FOREIGN_IP_RULE",),
    ),
)
