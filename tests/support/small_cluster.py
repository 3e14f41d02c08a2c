"""A small cluster for the collector's tests: what the API prints of it, and what its nodes' agents would read.

Two nodes as the VPC CNI wires them: shop/cart, shop/web and shop/search on node 1, shop/redis and shop/orders on node 2; search
and orders are on the secondary ENIs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.kube_objects import decode
from pathtap.model.netfilter import Backend, Chain, NetfilterRule, RuleSet
from pathtap.model.node import Interface, NextHop, NodeSnapshot, Role, Route, RouteKind, Rule

NODE_1, NODE_2, NODE_3 = "ip-192-168-1-29", "ip-192-168-2-29", "ip-192-168-3-29"
NODES = {"1": NODE_1, "2": NODE_2, "3": NODE_3}
HOST_1, HOST_2 = "192.168.1.29", "192.168.2.29"
CART, WEB, SEARCH = "192.168.1.41", "192.168.1.42", "192.168.1.116"
REDIS, ORDERS = "192.168.2.41", "192.168.2.116"
SERVICE, HOLLOW = "10.100.0.20", "10.100.0.30"
INTERNET = "198.51.100.8"
NOON = 1_700_000_000_000_000_000


# What the API prints.


def pod_item(key: str, node: str = NODE_1, *addresses: str, **changes: Any) -> dict[str, Any]:
    """`changes`: phase, host_network, deleting."""
    namespace, name = key.split("/")
    metadata: dict[str, Any] = {"namespace": namespace, "name": name, "uid": f"uid-{name}"}
    if changes.get("deleting"):
        metadata["deletionTimestamp"] = "2024-05-01T00:00:00Z"
    status: dict[str, Any] = {"phase": changes.get("phase", "Running")}
    if addresses:
        status |= {"podIP": addresses[0], "podIPs": [{"ip": address} for address in addresses]}
    spec = {"nodeName": node, **({"hostNetwork": True} if changes.get("host_network") else {})}
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def node_item(name: str, *addresses: str) -> dict[str, Any]:
    listed = [{"type": "InternalIP", "address": address} for address in addresses]
    return {"kind": "Node", "metadata": {"name": name}, "status": {"addresses": listed}}


def service_item(key: str, address: str, *ports: Mapping[str, Any]) -> dict[str, Any]:
    namespace, name = key.split("/")
    addresses = [address] if address else []
    spec = {"clusterIP": address or "None", "clusterIPs": addresses or ["None"], "ports": list(ports)}
    return {"kind": "Service", "metadata": {"namespace": namespace, "name": name}, "spec": spec}


def endpoints_item(key: str, port: Mapping[str, Any], *addresses: str) -> dict[str, Any]:
    namespace, name = key.split("/")
    subsets = [{"addresses": [{"ip": address} for address in addresses], "ports": [port]}] if addresses else None
    return {
        "kind": "Endpoints",
        "metadata": {"namespace": namespace, "name": name},
        **({"subsets": subsets} if subsets else {}),
    }


def inventory_of(*items: Mapping[str, Any]) -> Inventory:
    return decode({"kind": "List", "items": list(items)})


def cluster_items() -> list[dict[str, Any]]:
    http = {"name": "http", "protocol": "TCP", "port": 80}
    behind = {"name": "http", "protocol": "TCP", "port": 8080}
    return [
        node_item(NODE_1, HOST_1),
        node_item(NODE_2, HOST_2),
        pod_item("shop/cart", NODE_1, CART),
        pod_item("shop/web", NODE_1, WEB),
        pod_item("shop/search", NODE_1, SEARCH),
        pod_item("shop/redis", NODE_2, REDIS),
        pod_item("shop/orders", NODE_2, ORDERS),
        pod_item("kube-system/exporter-1", NODE_1, HOST_1, host_network=True),
        pod_item("kube-system/exporter-2", NODE_2, HOST_2, host_network=True),
        service_item("shop/web", SERVICE, http),
        endpoints_item("shop/web", behind, WEB, ORDERS),
        service_item("shop/hollow", HOLLOW, http),
        endpoints_item("shop/hollow", behind),
    ]


def cluster() -> Inventory:
    return inventory_of(*cluster_items())


# What an agent reads.

# As on a node of EKS: loose on the primary ENI (aws-vpc-cni-init), off elsewhere.
RP_FILTER = {
    f"net.ipv4.conf.{name}.rp_filter": "2" if name == "eth0" else "0"
    for name in ("all", "eth0", "eth1", "enicart", "eniweb", "enisearch", "eniredis", "eniorders")
}


def rule(line: str, **fields: Any) -> Rule:
    """`rule("512 from all to 192.168.1.41 lookup main", destination=…, table=254)`: the text, and what it means."""
    priority, text = line.split(" ", 1)
    return Rule(family=4, priority=int(priority), text=text, **fields)


def route(destination: str, device: str = "", gateway: str = "", table: int = 254, kind: str = "unicast") -> Route:
    via = f" via {gateway}" if gateway else ""
    head = "" if kind == "unicast" else f"{kind} "
    text = f"{head}{'default' if destination in ('0.0.0.0/0', '::/0') else destination}{via}{f' dev {device}' if device else ''}"
    hops = (NextHop(interface=device, gateway=ip_address(gateway) if gateway else None),) if device else ()
    return Route(
        family=ip_network(destination).version,
        table=table,
        destination=ip_network(destination),
        kind=RouteKind(kind),
        next_hops=hops,
        text=text,
    )


def chain(name: str, *texts: str, hook: str = "", priority: int = 0, kind: str = "filter") -> Chain:
    rules = tuple(NetfilterRule(position=number, text=text) for number, text in enumerate(texts, 1))
    if not hook:
        return Chain(name=name, rules=rules)
    return Chain(name=name, rules=rules, hook=hook, priority=priority, kind=kind, policy="ACCEPT")


def filter_table(hook: str, *texts: str) -> RuleSet:
    """A filter table with rules at one hook: forward, input or output."""
    return RuleSet(backend=Backend.NFT, family="ip", table="filter", chains=(chain(hook.upper(), *texts, hook=hook),))


def nat_table(host: str) -> RuleSet:
    """The CNI's connmark and SNAT chains, and kube-proxy's of shop/web."""
    return RuleSet(
        backend=Backend.NFT,
        family="ip",
        table="nat",
        chains=(
            chain(
                "PREROUTING",
                "-j KUBE-SERVICES",
                "-i eni+ -j AWS-CONNMARK-CHAIN-0",
                "-j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80",
                hook="prerouting",
                priority=-100,
                kind="nat",
            ),
            chain("OUTPUT", "-j KUBE-SERVICES", hook="output", priority=-100, kind="nat"),
            chain(
                "POSTROUTING",
                "-j KUBE-POSTROUTING",
                "-j AWS-SNAT-CHAIN-0",
                hook="postrouting",
                priority=100,
                kind="nat",
            ),
            chain("KUBE-SERVICES", f"-d {SERVICE}/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-WEB"),
            chain(
                "KUBE-SVC-WEB",
                "-m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-1",
                "-j KUBE-SEP-2",
            ),
            chain(
                "KUBE-SEP-1",
                f"-s {WEB}/32 -j KUBE-MARK-MASQ",
                f"-p tcp -m tcp -j DNAT --to-destination {WEB}:8080",
            ),
            chain(
                "KUBE-SEP-2",
                f"-s {ORDERS}/32 -j KUBE-MARK-MASQ",
                f"-p tcp -m tcp -j DNAT --to-destination {ORDERS}:8080",
            ),
            chain("KUBE-MARK-MASQ", "-j MARK --set-xmark 0x4000/0x4000"),
            chain(
                "KUBE-POSTROUTING",
                "-m mark ! --mark 0x4000/0x4000 -j RETURN",
                "-j MARK --set-xmark 0x4000/0x0",
                "-j MASQUERADE --random-fully",
            ),
            chain("AWS-CONNMARK-CHAIN-0", "-d 192.168.0.0/16 -j RETURN", "-j CONNMARK --set-xmark 0x80/0x80"),
            chain(
                "AWS-SNAT-CHAIN-0",
                "-d 192.168.0.0/16 -j RETURN",
                f"! -o vlan+ -m addrtype ! --dst-type LOCAL -j SNAT --to-source {host} --random-fully",
            ),
        ),
    )


def mangle_table() -> RuleSet:
    """The CNI's rules that give a connection's mark to each of its packets; nat sees the first one alone."""
    set_it = "-i eth0 -m addrtype --dst-type LOCAL --limit-iface-in -j CONNMARK --set-xmark 0x80/0x80"
    restore = "-i eni+ -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80"
    prerouting = chain("PREROUTING", set_it, restore, hook="prerouting", priority=-150)
    return RuleSet(backend=Backend.NFT, family="ip", table="mangle", chains=(prerouting,))


def node_snapshot(number: int, primary: Mapping[str, str], secondary: Mapping[str, str]) -> NodeSnapshot:
    """`primary` and `secondary`: the pods' veths and addresses on each ENI."""
    host, second, router = f"192.168.{number}.29", f"192.168.{number}.87", f"192.168.{number}.1"
    pods = {**primary, **secondary}
    every = ip_network("0.0.0.0/0")
    return NodeSnapshot(
        node=NODES[str(number)],
        boot_id=f"boot-{number}",
        taken_at=NOON,
        interfaces=(
            _link(1, "lo", Role.LOOPBACK, "127.0.0.1/8"),
            _eni(2, "eth0", Role.PRIMARY_ENI, f"eni-{number}p", host, primary.values()),
            _eni(3, "eth1", Role.SECONDARY_ENI, f"eni-{number}s", second, secondary.values()),
            *(_veth(10 + index, name, address) for index, (name, address) in enumerate(pods.items())),
        ),
        rules=(
            rule("0 from all lookup local", table=255),
            *(
                rule(f"512 from all to {pod} lookup main", destination=ip_network(pod), table=254)
                for pod in pods.values()
            ),
            rule("1024 from all fwmark 0x80/0x80 lookup main", mark=0x80, mask=0x80, table=254),
            *(rule(f"1536 from {pod} lookup 2", source=ip_network(pod), table=2) for pod in secondary.values()),
            rule("32766 from all lookup main", table=254),
            rule("32767 from all lookup default", table=253),
        ),
        routes=(
            route(str(every), "eth0", router),
            route(f"192.168.{number}.0/24", "eth0"),
            *(route(f"{pod}/32", veth) for veth, pod in pods.items()),
            route(str(every), "eth1", router, table=2),
            *(route(address, "eth0", table=255, kind="local") for address in (host, second)),
            route("127.0.0.0/8", "lo", table=255, kind="local"),
        ),
        sysctls={"net.ipv4.ip_forward": "1", **RP_FILTER},
        rule_sets=(mangle_table(), nat_table(host)),
    )


def node_1() -> NodeSnapshot:
    return node_snapshot(1, {"enicart": CART, "eniweb": WEB}, {"enisearch": SEARCH})


def node_2() -> NodeSnapshot:
    return node_snapshot(2, {"eniredis": REDIS}, {"eniorders": ORDERS})


def filtering(snapshot: NodeSnapshot, hook: str, *texts: str) -> NodeSnapshot:
    return replace(snapshot, rule_sets=(*snapshot.rule_sets, filter_table(hook, *texts)))


def without_routes(snapshot: NodeSnapshot, text: str) -> NodeSnapshot:
    """Without every route whose text holds `text`."""
    return replace(snapshot, routes=tuple(route for route in snapshot.routes if text not in route.text))


def without_rules(snapshot: NodeSnapshot, text: str) -> NodeSnapshot:
    return replace(snapshot, rules=tuple(rule for rule in snapshot.rules if text not in rule.text))


def with_routes(snapshot: NodeSnapshot, *routes: Route) -> NodeSnapshot:
    return replace(snapshot, routes=(*snapshot.routes, *routes))


def _link(index: int, name: str, role: Role, address: str) -> Interface:
    return Interface(index=index, name=name, role=role, mac="", mtu=9001, up=True, addresses=(ip_interface(address),))


def _eni(index: int, name: str, role: Role, eni_id: str, own: str, pods: Iterable[str]) -> Interface:
    link = _link(index, name, role, f"{own}/24")
    return replace(link, eni_id=eni_id, eni_addresses=tuple(ip_network(address) for address in (own, *pods)))


def _veth(index: int, name: str, pod: str) -> Interface:
    return Interface(
        index=index,
        name=name,
        role=Role.POD_VETH,
        mac="",
        mtu=9001,
        up=True,
        pod_addresses=(ip_address(pod),),
    )
