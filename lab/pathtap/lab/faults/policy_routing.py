"""Faults of a node's ip rules: one is missing, one too many, or one of somebody else's comes first. Pure."""

from pathtap.lab.faults.changes import Change
from pathtap.lab.faults.fault import Fault, Trace, needs_mark_rule, needs_primary_pods
from pathtap.lab.faults.making import batch, cart, command, ip_rule, no_ip_rule, redis, search
from pathtap.lab.topology import INTERNET_HOST, Cluster, Node

_CART_TO_REDIS = Trace(source="shop/cart", destination="shop/redis", port=6379)
_SEARCH_TO_REDIS = Trace(source="shop/search", destination="shop/redis", port=6379)
_FOREIGN_TABLE = 100


def _no_fwmark_rule(cluster: Cluster) -> tuple[Change, ...]:
    return (no_ip_rule(cluster.nodes[0], "priority 1024 fwmark 0x80/0x80 lookup main"),)


def _from_pod_rules(node: Node) -> list[str]:
    """As the CNI writes them, in the order of their making."""
    return [f"priority 1536 from {pod.address} lookup {node.eni_of(pod).table}" for pod in node.pods if pod.device]


def _to_pod_rules(node: Node) -> list[str]:
    return [f"priority 512 to {pod.address} lookup main" for pod in node.pods]


def _behind(rules: list[str], own: str) -> list[str]:
    """Puts those that stood behind `own` behind it again: of one priority, the kernel puts a new rule last."""
    return [line for rule in rules[rules.index(own) + 1 :] for line in (f"rule del {rule}", f"rule add {rule}")]


def _missing(node: Node, rules: list[str], words: str) -> tuple[Change, ...]:
    own = next(rule for rule in rules if words in rule)
    return (batch(node.network_namespace, (f"rule del {own}",), (f"rule add {own}", *_behind(rules, own))),)


def _no_from_pod_rule(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = search(cluster)
    return _missing(node, _from_pod_rules(node), f"from {pod.address} ")


def _no_to_pod_rule(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = cart(cluster)
    return _missing(node, _to_pod_rules(node), f"to {pod.address} ")


def _overruled_to_pod_rule(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = redis(cluster)
    return (ip_rule(node, f"priority 500 to {pod.address} lookup {node.secondary.table}"),)


def _duplicate_from_pod_rule(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = search(cluster)
    rules = _from_pod_rules(node)
    own = next(rule for rule in rules if f"from {pod.address} " in rule)
    other = f"priority 1536 from {pod.address} lookup main"
    # Of two rules with one priority the kernel asks the older one first.
    broken = (f"rule del {own}", f"rule add {other}", f"rule add {own}")
    return (batch(node.network_namespace, broken, (f"rule del {other}", *_behind(rules, own))),)


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
        impossible=needs_mark_rule,
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
