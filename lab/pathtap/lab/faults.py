"""Named ways to break a lab: what each changes, how that is undone, and which trace shows it. Pure; changes nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from pathtap.lab.topology import INTERNET_HOST, Cluster, Node, Pod


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandChange:
    """Two commands inside a network namespace, each the other's inverse."""

    namespace: str
    broken: tuple[str, ...]
    healed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SysctlChange:
    """`path` below /proc/sys."""

    namespace: str
    path: str
    broken: str
    healed: str


Change: TypeAlias = CommandChange | SysctlChange


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`breaks` is one line for a person; `source`, `destination` and `port` are of the trace that shows it."""

    name: str
    breaks: str
    source: str
    destination: str
    port: int
    changes: Callable[[Cluster], tuple[Change, ...]]

    @property
    def shown_by(self) -> str:
        return f"pathtap trace {self.source} to {self.destination} --port {self.port}"


def _command(namespace: str, broken: str, healed: str) -> CommandChange:
    return CommandChange(namespace=namespace, broken=tuple(broken.split()), healed=tuple(healed.split()))


def _insert(cluster: Cluster, namespace: str, table: str, rule: str) -> CommandChange:
    """`rule` is `CHAIN MATCHES`, put first in its chain."""
    iptables = f"iptables-{cluster.options.backend} -w 10 -t {table}"
    return _command(namespace, f"{iptables} -I {rule}", f"{iptables} -D {rule}")


def _search(cluster: Cluster) -> tuple[Pod, Node]:
    return cluster.pod("shop/search"), cluster.nodes[0]


def _redis(cluster: Cluster) -> tuple[Pod, Node]:
    return cluster.pod("shop/redis"), cluster.nodes[1]


def _no_fwmark_rule(cluster: Cluster) -> tuple[Change, ...]:
    rule = "priority 1024 fwmark 0x80/0x80 lookup main"
    node = cluster.nodes[0]
    return (_command(node.network_namespace, f"ip rule del {rule}", f"ip rule add {rule}"),)


def _no_from_pod_rule(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = _search(cluster)
    rule = f"priority 1536 from {pod.address} lookup {node.eni_of(pod).table}"
    return (_command(node.network_namespace, f"ip rule del {rule}", f"ip rule add {rule}"),)


def _no_pod_route(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = _redis(cluster)
    route = f"{pod.address}/32 dev {pod.veth} scope link"
    return (_command(node.network_namespace, f"ip route del {route}", f"ip route add {route}"),)


def _no_default_route(cluster: Cluster) -> tuple[Change, ...]:
    primary = cluster.nodes[0].primary
    route = f"default via {primary.gateway} dev {primary.interface}"
    return (_command(cluster.nodes[0].network_namespace, f"ip route del {route}", f"ip route add {route}"),)


def _forward(target: str) -> Callable[[Cluster], tuple[Change, ...]]:
    def changes(cluster: Cluster) -> tuple[Change, ...]:
        pod, node = _redis(cluster)
        return (_insert(cluster, node.network_namespace, "filter", f"FORWARD -d {pod.address}/32 -j {target}"),)

    return changes


def _blackhole(cluster: Cluster) -> tuple[Change, ...]:
    pod, _ = _redis(cluster)
    node = cluster.nodes[0]
    routes = (f"blackhole {pod.address}/32 table {table}" for table in ("main", node.secondary.table))
    return tuple(_command(node.network_namespace, f"ip route add {route}", f"ip route del {route}") for route in routes)


def _security_group(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = _redis(cluster)
    # A security group is stateful: answers to what the ENI itself began still come in.
    rule = f"FORWARD -o {node.eni_of(pod).port} -m conntrack --ctstate NEW -j DROP"
    return (_insert(cluster, cluster.vpc_namespace, "mangle", rule),)


def _security_group_reply(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = _redis(cluster)
    rule = f"FORWARD -i {node.eni_of(pod).port} -s {pod.address}/32 -m conntrack --ctdir REPLY -j DROP"
    return (_insert(cluster, cluster.vpc_namespace, "mangle", rule),)


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


def _fault(name: str, breaks: str, trace: str, changes: Callable[[Cluster], tuple[Change, ...]]) -> Fault:
    """`trace` is `SOURCE DESTINATION PORT`."""
    source, destination, port = trace.split()
    return Fault(name=name, breaks=breaks, source=source, destination=destination, port=int(port), changes=changes)


_CART_TO_REDIS = "shop/cart shop/redis 6379"
_SEARCH_TO_INTERNET = f"shop/search {INTERNET_HOST} 443"

FAULTS = tuple(
    _fault(*row)
    for row in (
        (
            "no-fwmark-rule",
            "ip rule 1024 is gone: what is SNATed to the primary ENI's address leaves by the secondary ENI.",
            _SEARCH_TO_INTERNET,
            _no_fwmark_rule,
        ),
        (
            "no-from-pod-rule",
            "search's ip rule 1536 is gone: its packets leave by the primary ENI, which does not own their source.",
            "shop/search shop/redis 6379",
            _no_from_pod_rule,
        ),
        (
            "no-pod-route",
            "redis' node has no route to its veth: the node sends the packets back to the VPC.",
            _CART_TO_REDIS,
            _no_pod_route,
        ),
        (
            "no-default-route",
            "cart's node has no default route in main: nothing of the primary ENI's pods leaves it.",
            _CART_TO_REDIS,
            _no_default_route,
        ),
        (
            "forward-drop",
            "redis' node drops what is forwarded to it, by a rule in filter FORWARD.",
            _CART_TO_REDIS,
            _forward("DROP"),
        ),
        (
            "forward-reject",
            "redis' node answers in its place with an ICMP error, by a rule in filter FORWARD.",
            _CART_TO_REDIS,
            _forward("REJECT"),
        ),
        (
            "blackhole-route",
            "cart's node has a blackhole route for redis' address, in main and in the secondary ENI's table.",
            _CART_TO_REDIS,
            _blackhole,
        ),
        (
            "security-group",
            "the VPC lets no new flow in to the ENI of redis: the request is lost between the nodes.",
            _CART_TO_REDIS,
            _security_group,
        ),
        (
            "security-group-reply",
            "the VPC loses what redis answers: the request arrives and its reply is lost between the nodes.",
            _CART_TO_REDIS,
            _security_group_reply,
        ),
        (
            "strict-rp-filter",
            "rp_filter is strict: an answer to search comes by the primary ENI, and rule 1536 says the secondary.",
            _SEARCH_TO_INTERNET,
            _strict_rp_filter,
        ),
    )
)
