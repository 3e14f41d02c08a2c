"""Faults of Services and of what the inventory says: no endpoints, a backend that is gone, one address twice. Pure."""

import uuid
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

from pathtap.lab.faults.changes import Change, CommandChange, InventoryChange
from pathtap.lab.faults.fault import Fault, Trace
from pathtap.lab.faults.making import append, batch, command, iptables, redis, remove, rules_of, search
from pathtap.lab.faults.rewriting import rewrite
from pathtap.lab.kube_nft_rules import kube_table
from pathtap.lab.kube_rules import chain_name, kube_filter
from pathtap.lab.options import LabOptions
from pathtap.lab.rules import node_rules
from pathtap.lab.topology import MTU, POD_GATEWAY, Cluster, Node, Pod, Service

_SERVICE = "shop/redis"
_NATIVE = "kube-proxy"
_RESTORE = ("iptables-nft-restore", "--noflush")


def _service(cluster: Cluster) -> Service:
    return next(service for service in cluster.services if service.key == _SERVICE)


def _without_endpoints(inventory: dict[str, Any]) -> dict[str, Any]:
    def edited(item: dict[str, Any]) -> dict[str, Any]:
        metadata = item["metadata"]
        own = item["kind"] == "Endpoints" and f"{metadata.get('namespace')}/{metadata['name']}" == _SERVICE
        return {key: value for key, value in item.items() if key != "subsets"} if own else item

    return inventory | {"items": [edited(item) for item in inventory["items"]]}


def _no_endpoints(cluster: Cluster) -> tuple[Change, ...]:
    service = _service(cluster)
    *_, refusal = kube_filter((replace(service, backends=()),)).rules
    portal = chain_name("KUBE-SVC-", service.key)
    changes: list[Change] = [InventoryChange(edit=_without_endpoints)]
    for node in cluster.nodes:
        changes += remove(cluster, node, "nat", "KUBE-SERVICES", lambda rule: rule.endswith(f"-j {portal}"))
        changes.append(append(cluster, node.network_namespace, "filter", refusal.removeprefix("-A ")))
    return tuple(changes)


def _backend_gone(cluster: Cluster) -> tuple[Change, ...]:
    pod, _ = redis(cluster)
    node, service = cluster.nodes[0], _service(cluster)
    endpoint = f"{pod.address}:{service.target_port}"
    chain = chain_name("KUBE-SEP-", service.key, endpoint)
    position, rule = next(
        (position, rule)
        for position, rule in enumerate(rules_of(cluster, node, "nat", chain), start=1)
        if rule.endswith(endpoint)
    )
    own = append(cluster, node.network_namespace, "nat", rule).broken
    former = rule.removesuffix(endpoint) + f"{_unused(cluster)}:{service.target_port}"
    other = append(cluster, node.network_namespace, "nat", former).broken
    table = iptables(cluster.options, "nat")
    at = (*table, "-R", chain, str(position))
    matches = len(table) + 2
    return (
        CommandChange(namespace=node.network_namespace, broken=(*at, *other[matches:]), healed=(*at, *own[matches:])),
    )


def _unused(cluster: Cluster) -> IPv4Address:
    """An address that node 2 keeps for a pod to come: the former backend's."""
    return cluster.nodes[1].eni_of(cluster.pod(_SERVICE)).subnet[200]


def _needs_iptables_services(options: LabOptions) -> str:
    if options.kube_proxy == "iptables":
        return ""
    return "The fault is one of kube-proxy's rules in iptables, and this lab's kube-proxy is in nftables mode."


def _needs_nft(options: LabOptions) -> str:
    if options.kube_proxy == "nftables":
        return "The fault takes kube-proxy over to nftables mode, in which this lab's is already."
    if options.external_snat or options.chains == "native":
        return "In this lab the CNI has no connmark rules in iptables that could run before another's DNAT."
    if options.backend == "nft":
        return ""
    return "connmark-before-dnat is a matter of two nat chains in nftables: build the lab with --backend nft."


def _connmark_before_dnat(cluster: Cluster) -> tuple[Change, ...]:
    """kube-proxy goes over to nftables mode on node 1, where iptables' nat chains are registered after its own."""
    _, node = search(cluster)
    native = replace(cluster, options=replace(cluster.options, kube_proxy="nftables"))
    former, present = node_rules(cluster, node), node_rules(native, node)
    return (
        CommandChange(
            namespace=node.network_namespace,
            broken=_RESTORE,
            healed=_RESTORE,
            broken_input=rewrite(former, present),
            healed_input=rewrite(present, former),
        ),
        _nft(node, kube_table(cluster.services, node), f"delete table ip {_NATIVE}\n"),
        # Of nat chains with one priority the kernel runs the last registered first; waking a table registers its chains.
        _nft(node, "add table ip nat { flags dormant; }\n", "add table ip nat\n"),
        _nft(node, "add table ip nat\n", ""),
    )


def _nft(node: Node, broken: str, healed: str) -> CommandChange:
    nft = ("nft", "-f", "-")
    return CommandChange(
        namespace=node.network_namespace,
        broken=nft,
        healed=nft if healed else (),
        broken_input=broken,
        healed_input=healed,
    )


def _copy_of_redis(cluster: Cluster) -> Pod:
    """A pod of node 1 that has the address of shop/redis: ipamd gave it out twice."""
    pod, _ = redis(cluster)
    identity = uuid.uuid5(uuid.NAMESPACE_OID, f"{cluster.options.prefix}/shop/redis-copy")
    return replace(
        pod, name="redis-copy", device=0, tcp_ports=(), network_namespace=f"{cluster.options.prefix}-cni-{identity}"
    )


def _duplicate_address(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = _copy_of_redis(cluster), cluster.nodes[0]

    def with_copy(inventory: dict[str, Any]) -> dict[str, Any]:
        return inventory | {"items": [*inventory["items"], _like_redis(inventory, pod, node)]}

    peer = f"peer name eth0 address {pod.mac} mtu {MTU} netns {pod.network_namespace}"
    wired = (
        f"link add name {pod.veth} address {pod.host_mac} mtu {MTU} type veth {peer}",
        f"link set {pod.veth} up",
        f"route add {pod.address}/32 dev {pod.veth} scope link",
        f"rule add priority 512 to {pod.address} lookup main",
    )
    # The route goes with its link, the link with its peer's namespace.
    unwired = (f"rule del priority 512 to {pod.address} lookup main", f"link del {pod.veth}")
    inside = (
        "link set lo up",
        "link set eth0 up",
        f"address add {pod.address}/32 dev eth0",
        f"route add {POD_GATEWAY} dev eth0 scope link",
        f"route add default via {POD_GATEWAY} dev eth0",
        f"neigh add {POD_GATEWAY} lladdr {pod.host_mac} nud permanent dev eth0",
    )
    netns = f"ip netns {{}} {pod.network_namespace}"
    return (
        command(node.network_namespace, netns.format("add"), netns.format("del")),
        batch(node.network_namespace, wired, unwired),
        replace(batch(pod.network_namespace, inside, ()), healed=()),
        InventoryChange(edit=with_copy),
    )


def _like_redis(inventory: dict[str, Any], pod: Pod, node: Node) -> dict[str, Any]:
    """The inventory's own shop/redis as the pod `pod` of `node`."""
    original: dict[str, Any] = next(
        item
        for item in inventory["items"]
        if item["kind"] == "Pod" and (item["metadata"]["namespace"], item["metadata"]["name"]) == ("shop", "redis")
    )
    uid = str(uuid.uuid5(uuid.NAMESPACE_OID, f"Pod/{pod.key}"))
    return original | {
        "metadata": original["metadata"] | {"name": pod.name, "uid": uid, "labels": {"app": pod.name}},
        "spec": original["spec"] | {"nodeName": node.name},
        "status": original["status"] | {"hostIP": str(node.address)},
    }


_CART_TO_SERVICE = Trace(source="shop/cart", destination=f"svc/{_SERVICE}", port=6379)

FAULTS = (
    Fault(
        name="no-endpoints",
        breaks="No pod of the Service shop/redis is ready: it has no endpoints, and kube-proxy refuses its connections.",
        trace=_CART_TO_SERVICE,
        changes=_no_endpoints,
        traced_as=("SERVICE_WITHOUT_ENDPOINTS",),
        impossible=_needs_iptables_services,
    ),
    Fault(
        name="backend-gone",
        breaks="kube-proxy of cart's node still translates the Service shop/redis to an address that no pod has.",
        trace=_CART_TO_SERVICE,
        changes=_backend_gone,
        traced_as=("SERVICE_BACKEND_GONE",),
        checked_as=("SERVICE_BACKEND_GONE",),
        impossible=_needs_iptables_services,
    ),
    Fault(
        name="connmark-before-dnat",
        breaks="kube-proxy is in nftables mode and its nat chain runs after the CNI's: what is for a Service is marked.",
        trace=Trace(source="shop/search", destination=f"svc/{_SERVICE}", port=6379),
        changes=_connmark_before_dnat,
        traced_as=("CONNMARK_BEFORE_DNAT",),
        checked_as=("CONNMARK_BEFORE_DNAT",),
        impossible=_needs_nft,
    ),
    Fault(
        name="duplicate-address",
        breaks="A pod redis-copy on cart's node has the address of shop/redis too, and takes what its neighbours send.",
        trace=Trace(source="shop/cart", destination="shop/redis", port=6379),
        changes=_duplicate_address,
        traced_as=("POD_ADDRESS_DUPLICATED",),
        checked_as=("POD_ADDRESS_DUPLICATED",),
    ),
)
