"""A node wired as the VPC CNI wires it, and what its agent would say of it: for inspections, which each test breaks a little.

Three pods: cart on the primary ENI; search and orders on the secondary one, eth1, whose table is 2.
"""

import hashlib
import sys
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.inspections import Defect, NodeView, inspect, view_of
from pathtap.model.address import Address
from pathtap.model.inventory import Node, Pod, Service, ServicePort
from pathtap.model.netfilter import Backend
from pathtap.model.node import CniSettings, Interface, Neighbour, NodeSnapshot, PodInterior, Role
from tests.unit.forwarding import eks
from tests.unit.forwarding.nodes import UNFILTERED, route, rule

NODE = "node-1"
CART, SEARCH, ORDERS = (ip_address(text) for text in (eks.PRIMARY_POD, eks.SECONDARY_POD, eks.NEIGHBOUR))
PODS: dict[str, Address] = {"cart": CART, "search": SEARCH, "orders": ORDERS}
OWN, SECOND = "192.168.1.29", "192.168.1.77"
RULES = (
    "0: from all lookup local",
    *(f"512: from all to {address} lookup main" for address in PODS.values()),
    "1024: from all fwmark 0x80/0x80 lookup main",
    f"1536: from {SEARCH} lookup 2",
    f"1536: from {ORDERS} lookup 2",
    f"32765: from {SECOND} lookup 2",
    "32766: from all lookup main",
    "32767: from all lookup default",
)


def veth(name: str) -> str:
    return "eni" + hashlib.sha1(f"shop.{name}".encode(), usedforsecurity=False).hexdigest()[:11]


def mac(number: int) -> str:
    return f"02:00:00:00:00:{number:02x}"


def inventory() -> Inventory:
    pods = [
        Pod(namespace="shop", name=name, uid=name, node=NODE, phase="Running", addresses=(address,))
        for name, address in PODS.items()
    ]
    service = Service(
        namespace="shop",
        name="web",
        cluster_addresses=(ip_address("10.100.0.10"),),
        ports=(ServicePort(name="http", protocol=6, port=80),),
    )
    return Inventory(
        pods={pod.key: pod for pod in pods},
        nodes={NODE: Node(name=NODE, addresses=(ip_address(OWN),))},
        services={service.key: service},
    )


def snapshot(form: str = "return", backend: Backend = Backend.NFT, *, metadata: bool = True) -> NodeSnapshot:
    routes = [
        route("default via 192.168.1.1 dev eth0"),
        route("192.168.1.0/24 dev eth0 scope link"),
        *(route(f"{address} dev {veth(name)} scope link") for name, address in PODS.items()),
        route("default via 192.168.1.1 dev eth1", table="2"),
        route("192.168.1.1 dev eth1 scope link", table="2"),
        route(f"local {OWN} dev eth0", table="local"),
        route(f"local {SECOND} dev eth1", table="local"),
        route("local 127.0.0.0/8 dev lo", table="local"),
    ]
    return NodeSnapshot(
        node=NODE,
        boot_id="1",
        taken_at=0,
        interfaces=_interfaces(metadata),
        rules=tuple(rule(line) for line in RULES),
        routes=tuple(routes),
        neighbours=tuple(
            Neighbour(interface=veth(name), address=address, mac=mac(100 + index), state="reachable")
            for index, (name, address) in enumerate(PODS.items())
        ),
        rule_sets=tuple(eks.rule_sets(form, backend)),
        sysctls=_sysctls(),
        interiors=tuple(_interior(index, address) for index, address in enumerate(PODS.values())),
        settings=CniSettings() if metadata else None,
        vpc_networks=(ip_network("192.168.0.0/16"),) if metadata else (),
    )


def _interfaces(metadata: bool) -> tuple[Interface, ...]:
    def eni(index: int, name: str, role: Role, address: str, *pods: Address) -> Interface:
        owned = tuple(ip_network(each) for each in (address, *pods)) if metadata else ()
        own = ip_interface(f"{address}/24")
        return Interface(
            index=index, name=name, role=role, mac=mac(index), mtu=9001, up=True, addresses=(own,), eni_addresses=owned
        )

    loopback = ip_interface("127.0.0.1/8")
    return (
        Interface(index=1, name="lo", role=Role.LOOPBACK, mac=mac(0), mtu=65536, up=True, addresses=(loopback,)),
        eni(2, "eth0", Role.PRIMARY_ENI, OWN, CART),
        eni(3, "eth1", Role.SECONDARY_ENI, SECOND, SEARCH, ORDERS),
        *(
            Interface(
                index=10 + index,
                name=veth(name),
                role=Role.POD_VETH,
                mac=mac(10 + index),
                mtu=9001,
                up=True,
                pod_addresses=(address,),
            )
            for index, (name, address) in enumerate(PODS.items())
        ),
    )


def _sysctls() -> dict[str, str]:
    names = ("all", "eth0", "eth1", *(veth(name) for name in PODS))
    return {
        **UNFILTERED,
        **{f"net.ipv4.conf.{name}.rp_filter": "0" for name in names},
        "net.ipv4.conf.eth0.rp_filter": "2",
        "net.ipv4.ip_forward": "1",
        "net.netfilter.nf_conntrack_count": "30",
        "net.netfilter.nf_conntrack_max": "1000",
    }


def _interior(index: int, address: Address) -> PodInterior:
    inside = Interface(
        index=2,
        name="eth0",
        role=Role.OTHER,
        mac=mac(100 + index),
        mtu=9001,
        up=True,
        addresses=(ip_interface(f"{address}/32"),),
    )
    gateway = ip_address("169.254.1.1")
    return PodInterior(
        address=address,
        interfaces=(inside,),
        routes=(route("default via 169.254.1.1 dev eth0"), route("169.254.1.1 dev eth0 scope link")),
        neighbours=(Neighbour(interface="eth0", address=gateway, mac=mac(10 + index), state="permanent"),),
    )


def with_rules(node: NodeSnapshot, *lines: str, less: str = "\n") -> NodeSnapshot:
    """With more ip rules, and without those that `less` is part of."""
    kept = [each for each in node.rules if less not in f"{each.priority}: {each.text}"]
    return replace(node, rules=(*(rule(line) for line in lines), *kept))


def with_link(node: NodeSnapshot, name: str, **changes: object) -> NodeSnapshot:
    links = (replace(each, **changes) if each.name == name else each for each in node.interfaces)  # type: ignore[arg-type]
    return replace(node, interfaces=tuple(links))


def with_interior(node: NodeSnapshot, address: Address, **changes: object) -> NodeSnapshot:
    inside = (replace(i, **changes) if i.address == address else i for i in node.interiors)  # type: ignore[arg-type]
    return replace(node, interiors=tuple(inside))


def view(node: NodeSnapshot, cluster: Inventory | None = None) -> NodeView:
    return view_of(node, cluster or inventory())


def found(node: NodeSnapshot, cluster: Inventory | None = None) -> dict[str, Defect]:
    """What the inspections find, by code."""
    return {defect.finding.code: defect for defect in inspect(view(node, cluster))}
