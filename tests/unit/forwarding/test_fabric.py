"""Whose address is whose over several nodes, and what the VPC makes of a packet: always assumed, so only from what nodes know."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from journeys import flow
from small_cluster import CART, HOST_1, INTERNET, NODE_1, NODE_2, ORDERS, REDIS, SEARCH, node_1, node_2, rule

from pathtap.forwarding.fabric import Carriage, Fabric, Whereto
from pathtap.forwarding.node import NodeModel
from pathtap.model.address import Address
from pathtap.model.node import Interface, NodeSnapshot, Role

VPC = ip_network("192.168.0.0/16")


def fabric(*snapshots: NodeSnapshot, placed: Mapping[Address, str] | None = None) -> Fabric:
    return Fabric({each.node: NodeModel(each) for each in snapshots or (node_1(), node_2())}, placed)


def untold(snapshot: NodeSnapshot) -> NodeSnapshot:
    """As where neither IMDS nor ipamd answer."""
    silent = tuple(replace(each, eni_addresses=()) for each in snapshot.interfaces)
    return replace(snapshot, interfaces=silent)


def with_interface(snapshot: NodeSnapshot, name: str, role: Role) -> NodeSnapshot:
    added = Interface(index=40, name=name, role=role, mac="", mtu=1500, up=True)
    return replace(snapshot, interfaces=(*snapshot.interfaces, added))


def carried(result: Carriage) -> tuple[Whereto, str, str]:
    return result.whereto, result.node, result.interface


def test_an_address_is_delivered_to_the_eni_that_owns_it() -> None:
    vpc = fabric()
    assert carried(vpc.carry(flow(CART, REDIS), NODE_1, "eth0")) == (Whereto.NODE, NODE_2, "eth0")
    assert carried(vpc.carry(flow(CART, ORDERS), NODE_1, "eth0")) == (Whereto.NODE, NODE_2, "eth1")
    assert carried(vpc.carry(flow(REDIS, HOST_1), NODE_2, "eth0")) == (Whereto.NODE, NODE_1, "eth0")


def test_without_imds_the_from_pod_rule_and_the_veths_tell_who_owns_a_pods_address() -> None:
    vpc = fabric(untold(node_1()), untold(node_2()))
    assert vpc.owner(ip_address(ORDERS)) == (NODE_2, "eth1")
    assert vpc.owner(ip_address(REDIS)) == (NODE_2, "eth0")


def test_a_prefix_that_an_eni_holds_covers_its_pods() -> None:
    snapshot = node_2()
    second = snapshot.interfaces[2]
    prefixed = replace(second, eni_addresses=(ip_network("192.168.2.112/28"),))
    interfaces = tuple(prefixed if each is second else each for each in snapshot.interfaces)
    vpc = fabric(node_1(), replace(snapshot, interfaces=interfaces))
    assert vpc.owner(ip_address("192.168.2.120")) == (NODE_2, "eth1")


def test_what_leaves_by_a_veth_is_at_its_pod() -> None:
    assert carried(fabric().carry(flow(REDIS, CART), NODE_1, "enicart")) == (Whereto.POD, NODE_1, "enicart")


def test_the_source_check_drops_what_the_eni_does_not_own_and_names_the_one_that_does() -> None:
    result = fabric().carry(flow(SEARCH, REDIS), NODE_1, "eth0")
    assert result.whereto is Whereto.REFUSED
    assert result.owner is not None
    assert result.owner.name == "eth1"
    assert fabric().carry(flow("192.168.1.200", REDIS), NODE_1, "eth0").whereto is Whereto.REFUSED


def test_the_source_check_refuses_nothing_where_nobody_told_what_the_eni_owns() -> None:
    vpc = fabric(untold(node_1()), node_2())
    assert vpc.carry(flow(CART, REDIS), NODE_1, "eth0").whereto is Whereto.NODE


def test_the_source_check_refuses_what_another_node_owns_even_there() -> None:
    vpc = fabric(untold(node_1()), untold(node_2()))
    assert vpc.carry(flow(REDIS, CART), NODE_1, "eth0").whereto is Whereto.REFUSED


def test_beside_the_cnis_own_rule_a_foreign_one_gives_the_pod_no_other_eni() -> None:
    foreign = rule(f"1000 from {SEARCH} lookup main", source=ip_network(SEARCH), table=254)
    snapshot = untold(node_1())
    vpc = fabric(replace(snapshot, rules=(*snapshot.rules, foreign)))
    assert vpc.owner(ip_address(SEARCH)) == (NODE_1, "eth1")


def test_outside_is_what_nobody_has_and_within_the_vpc_it_is_said() -> None:
    told = replace(node_1(), vpc_networks=(VPC,))
    vpc = fabric(told, node_2())
    beyond = vpc.carry(flow(HOST_1, INTERNET), NODE_1, "eth0", ip_address("192.168.1.1"))
    assert (beyond.whereto, beyond.inside) == (Whereto.OUTSIDE, False)
    nobody = vpc.carry(flow(HOST_1, "192.168.3.200"), NODE_1, "eth0")
    assert (nobody.whereto, nobody.inside) == (Whereto.OUTSIDE, True)
    assert fabric().carry(flow(HOST_1, INTERNET), NODE_1, "eth0").inside is None


def test_a_pod_whose_route_is_gone_is_still_where_the_inventory_places_it() -> None:
    bare = replace(untold(node_2()), interfaces=untold(node_2()).interfaces[:3])
    assert fabric(node_1(), bare).owner(ip_address(REDIS)) is None
    assert fabric(node_1(), bare, placed={ip_address(REDIS): NODE_2}).owner(ip_address(REDIS)) == (NODE_2, "eth0")


def test_a_node_that_was_not_read_is_where_the_way_ends() -> None:
    result = fabric(node_1(), placed={ip_address(REDIS): NODE_2}).carry(flow(CART, REDIS), NODE_1, "eth0")
    assert (result.whereto, result.node) == (Whereto.NOT_MODELLED, NODE_2)
    assert result.why == f"{REDIS} belongs to {NODE_2}, whose state was not read"


def test_other_interfaces_and_routers_inside_the_vpc_are_not_modelled() -> None:
    tunnel = fabric(with_interface(node_1(), "tun0", Role.OTHER), node_2())
    assert "tun0" in tunnel.carry(flow(HOST_1, REDIS), NODE_1, "tun0").why
    assert fabric().carry(flow(HOST_1, REDIS), NODE_1, "nowhere0").whereto is Whereto.NOT_MODELLED
    routed = fabric().carry(flow(HOST_1, INTERNET), NODE_1, "eth0", ip_address("192.168.2.29"))
    assert routed.whereto is Whereto.NOT_MODELLED
    assert NODE_2 in routed.why


@pytest.mark.parametrize("address", ["169.254.172.2", "fd00::ac:2"])
def test_what_every_node_has_for_itself_is_at_no_place_of_the_vpc(address: str) -> None:
    def with_egress(snapshot: NodeSnapshot) -> NodeSnapshot:
        veth = replace(snapshot.interfaces[-1], name="vethegress", pod_addresses=(ip_address(address),))
        return replace(snapshot, interfaces=(*snapshot.interfaces, veth))

    vpc = fabric(with_egress(node_1()), with_egress(node_2()))
    assert vpc.owner(ip_address(address)) is None
    # Out of its veth it is at its pod nonetheless, on whichever node it is.
    assert carried(vpc.carry(flow(INTERNET, address), NODE_2, "vethegress")) == (Whereto.POD, NODE_2, "vethegress")
