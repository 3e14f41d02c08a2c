"""Routes, links, neighbours, conntrack and addresses of the cluster: what hurts a pod, and what only looks like it."""

from dataclasses import replace
from ipaddress import ip_address

import pytest
from wired_node import CART, NODE, ORDERS, SEARCH, found, inventory, mac, snapshot, veth, with_interior, with_link

from pathtap.collector.inspections import Traffic, inspect_cluster, relevant
from pathtap.model.inventory import Pod
from pathtap.model.node import Neighbour, NodeSnapshot, Unread
from pathtap.model.trace import Severity
from tests.unit.forwarding.nodes import route

GATEWAY = ip_address("169.254.1.1")


def without_route(node: NodeSnapshot, text: str, table: int = 254) -> NodeSnapshot:
    return replace(node, routes=tuple(r for r in node.routes if not (r.text.startswith(text) and r.table == table)))


def test_a_pod_without_route_is_missed() -> None:
    defects = found(without_route(snapshot(), str(CART)))
    assert set(defects) == {"POD_ROUTE_MISSING"}
    assert defects["POD_ROUTE_MISSING"].concerns == {CART}
    assert "eth0 instead" in defects["POD_ROUTE_MISSING"].finding.text


def test_a_route_to_another_pods_veth_is_named_with_both() -> None:
    node = without_route(snapshot(), str(CART))
    wrong = replace(node, routes=(*node.routes, route(f"{CART} dev {veth('orders')} scope link")))
    finding = found(wrong)["POD_ROUTE_WRONG_VETH"].finding
    assert veth("orders") in finding.text
    assert f"dev {veth('cart')}" in finding.fix


def test_a_veth_that_another_plugin_named_is_no_other_pods() -> None:
    node = snapshot()
    links = tuple(replace(i, name="lxc1234") if i.name == veth("cart") else i for i in node.interfaces)
    routes = tuple(r for r in node.routes if not r.text.startswith(str(CART)))
    renamed = replace(node, interfaces=links, routes=(*routes, route(f"{CART} dev lxc1234 scope link")))
    assert found(renamed) == {}


def test_tables_without_default_route_are_named() -> None:
    assert set(found(without_route(snapshot(), "default"))) == {"NO_ROUTE_TO_DESTINATION"}
    table = found(without_route(snapshot(), "default", table=2))
    assert table["ENI_TABLE_WITHOUT_DEFAULT_ROUTE"].concerns == {SEARCH, ORDERS}


def test_an_eni_that_is_down_is_named_alone() -> None:
    node = without_route(without_route(with_link(snapshot(), "eth1", up=False), "default", 2), "192.168.1.1", 2)
    defects = found(node)
    assert set(defects) == {"LINK_DOWN"}
    assert defects["LINK_DOWN"].concerns == {SEARCH, ORDERS}


def test_an_eni_without_pods_may_be_down() -> None:
    node = snapshot()
    spare = replace(node.interfaces[2], index=4, name="eth2", up=False, addresses=(), eni_addresses=())
    assert found(replace(node, interfaces=(*node.interfaces, spare))) == {}


def test_a_veth_that_is_down_is_named_alone() -> None:
    node = without_route(with_link(snapshot(), veth("cart"), up=False, pod_addresses=()), str(CART))
    defects = found(node)
    assert set(defects) == {"LINK_DOWN"}
    assert defects["LINK_DOWN"].concerns == {CART}


@pytest.mark.parametrize(("name", "hurt"), [("eth0", {CART, SEARCH, ORDERS}), ("eth1", {SEARCH, ORDERS})])
def test_an_enis_mtu_below_its_pods_is_named(name: str, hurt: set[object]) -> None:
    defects = found(with_link(snapshot(), name, mtu=1300))
    assert set(defects) == {"MTU_TOO_SMALL"}
    assert defects["MTU_TOO_SMALL"].concerns == hurt


def test_pods_may_have_smaller_mtus_than_their_enis() -> None:
    node = snapshot()
    for interior in node.interiors:
        node = with_interior(node, interior.address, interfaces=(replace(interior.interfaces[0], mtu=1500),))
    assert found(node) == {}


@pytest.mark.parametrize(
    "entries",
    [
        (),
        (Neighbour(interface="eth0", address=GATEWAY, mac=mac(77), state="permanent"),),
        (Neighbour(interface="eth0", address=GATEWAY, mac=None, state="failed"),),
    ],
    ids=["missing", "another MAC", "failed"],
)
def test_a_gateway_that_is_not_the_veth_is_named(entries: tuple[Neighbour, ...]) -> None:
    defects = found(with_interior(snapshot(), CART, neighbours=entries))
    assert set(defects) == {"GATEWAY_NEIGHBOUR_STALE"}
    assert mac(10) in defects["GATEWAY_NEIGHBOUR_STALE"].finding.fix


def test_of_a_pod_that_was_not_looked_into_nothing_is_said() -> None:
    unread = (Unread(part="interior", reason="gone"),)
    assert found(with_interior(snapshot(), CART, neighbours=(), interfaces=(), unread=unread)) == {}


def test_another_networks_gateway_needs_no_static_neighbour() -> None:
    routes = (route("default via 10.0.0.1 dev eth0"),)
    assert found(with_interior(snapshot(), CART, routes=routes, neighbours=())) == {}


def test_the_nodes_entry_for_a_pod_must_have_its_mac() -> None:
    node = snapshot()
    first = replace(node.neighbours[0], mac=mac(66))
    assert set(found(replace(node, neighbours=(first, *node.neighbours[1:])))) == {"POD_NEIGHBOUR_STALE"}
    assert found(replace(node, neighbours=())) == {}
    unresolved = replace(first, state="failed")
    assert found(replace(node, neighbours=(unresolved, *node.neighbours[1:]))) == {}


@pytest.mark.parametrize(
    ("count", "most", "severity"),
    [
        ("949", "1000", None),
        ("950", "1000", Severity.WARNING),
        ("1000", "1000", Severity.ERROR),
        ("5", "0", None),
        ("?", "1", None),
    ],
)
def test_a_conntrack_table_fills(count: str, most: str, severity: Severity | None) -> None:
    node = snapshot()
    sysctls = {"net.netfilter.nf_conntrack_count": count, "net.netfilter.nf_conntrack_max": most}
    defect = found(replace(node, sysctls={**node.sysctls, **sysctls})).get("CONNTRACK_TABLE_FULL")
    assert (defect.finding.severity if defect else None) is severity


def test_an_address_of_two_pods_is_named_once() -> None:
    cluster, node = inventory(), snapshot()
    twin = Pod(namespace="shop", name="twin", uid="t", node="node-2", phase="Running", addresses=(CART,))
    two = replace(cluster, pods={**cluster.pods, twin.key: twin})
    links = tuple(replace(i, pod_addresses=(CART,)) for i in node.interfaces if i.name == veth("cart"))
    other = replace(node, node="node-2", interfaces=links)
    (defect,) = inspect_cluster((node, other), two)
    assert (defect.finding.code, defect.concerns) == ("POD_ADDRESS_DUPLICATED", frozenset({CART}))
    (routed,) = inspect_cluster((node, other), cluster)
    assert "node-2" in routed.finding.text


@pytest.mark.parametrize(
    "twin",
    [
        Pod(namespace="shop", name="t", uid="t", node=NODE, phase="Succeeded", addresses=(CART,)),
        Pod(namespace="shop", name="t", uid="t", node=NODE, phase="Running", addresses=(CART,), deleting=True),
        Pod(namespace="shop", name="t", uid="t", node=NODE, phase="Running", addresses=(CART,), host_network=True),
    ],
    ids=["finished", "going", "host network"],
)
def test_a_former_holder_is_no_second_one(twin: Pod) -> None:
    cluster = inventory()
    two = replace(cluster, pods={twin.key: twin, **cluster.pods})
    assert inspect_cluster((snapshot(),), two) == ()
    assert found(snapshot(), two) == {}


def test_of_a_nodes_defects_a_flow_is_told_those_that_can_hurt_it() -> None:
    defects = tuple(found(without_route(snapshot(), str(CART))).values())
    assert relevant(defects, (CART,), leaves_vpc=True, to_service=False) == defects
    assert relevant(defects, (SEARCH,), leaves_vpc=True, to_service=False) == ()
    inside = tuple(replace(each, traffic=Traffic.INSIDE, concerns=frozenset()) for each in defects)
    assert relevant(inside, (SEARCH,), leaves_vpc=False, to_service=False) == inside
    assert relevant(inside, (SEARCH,), leaves_vpc=True, to_service=False) == ()
    service = tuple(replace(each, traffic=Traffic.SERVICE, concerns=frozenset()) for each in defects)
    assert relevant(service, (SEARCH,), leaves_vpc=False, to_service=True) == service
    assert relevant(service, (SEARCH,), leaves_vpc=False, to_service=False) == ()
