"""What the configuration will do wrong to a packet that nobody has sent, over the small cluster's two nodes."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from journeys import flow
from small_cluster import (
    CART,
    HOLLOW,
    INTERNET,
    NODE_1,
    NODE_2,
    ORDERS,
    REDIS,
    SEARCH,
    SERVICE,
    chain,
    cluster,
    cluster_items,
    endpoints_item,
    filtering,
    inventory_of,
    node_1,
    node_2,
    node_snapshot,
    route,
    rule,
    with_routes,
    without_routes,
    without_rules,
)

from pathtap.collector.foreseeing.foresee import foresee
from pathtap.collector.foreseeing.ways import placed
from pathtap.forwarding.fabric import Fabric
from pathtap.forwarding.journey import walk
from pathtap.forwarding.node import NodeModel
from pathtap.forwarding.packet import Packet
from pathtap.model.address import FiveTuple, Socket
from pathtap.model.netfilter import Backend, RuleSet
from pathtap.model.node import NodeSnapshot
from pathtap.model.trace import Finding, Witness

VETHS = {CART: "enicart", SEARCH: "enisearch"}
TO_REDIS, TO_ORDERS, OUTWARD = flow(CART, REDIS), flow(SEARCH, ORDERS, 8080), flow(SEARCH, INTERNET, 443)
VPC = (ip_network("192.168.0.0/16"),)


def foreseen(
    of: FiveTuple, *snapshots: NodeSnapshot, inventory: object = None, translated_to: Socket | None = None
) -> tuple[Finding, ...]:
    """`snapshots` stand for the nodes of their names; the others are as the CNI wires them."""
    read = {each.node: each for each in (node_1(), node_2(), *snapshots)}
    known = inventory if inventory is not None else cluster()
    fabric = Fabric({name: NodeModel(each) for name, each in read.items()}, placed(known))  # type: ignore[arg-type]
    packet = Packet.opening(of, VETHS[str(of.source)])
    return foresee(walk(fabric, NODE_1, packet, translated_to=translated_to), fabric, known)  # type: ignore[arg-type]


def mangling(snapshot: NodeSnapshot, *texts: str) -> NodeSnapshot:
    table = RuleSet(
        backend=Backend.NFT,
        family="ip",
        table="mangle",
        chains=(chain("PREROUTING", *texts, hook="prerouting", priority=-150),),
    )
    return replace(snapshot, rule_sets=(*snapshot.rule_sets, table))


def with_rule(snapshot: NodeSnapshot, line: str, **fields: object) -> NodeSnapshot:
    return replace(snapshot, rules=(*snapshot.rules, rule(line, **fields)))


def sysctls(snapshot: NodeSnapshot, **changed: str) -> NodeSnapshot:
    dotted = {f"net.ipv4.{name.replace('__', '.')}": value for name, value in changed.items()}
    return replace(snapshot, sysctls={**snapshot.sysctls, **dotted})


@pytest.mark.parametrize("of", [TO_REDIS, TO_ORDERS, OUTWARD, flow(CART, SERVICE, 80), flow(CART, SEARCH, 8080)])
def test_nothing_is_foreseen_of_nodes_that_are_wired_as_the_cni_wires_them(of: FiveTuple) -> None:
    assert foreseen(of) == ()


@pytest.mark.parametrize(
    ("of", "snapshot", "code", "node"),
    [
        (TO_REDIS, filtering(node_2(), "forward", "-p tcp -m tcp --dport 6379 -j DROP"), "FILTER_DROP", NODE_2),
        (TO_REDIS, filtering(node_2(), "forward", "-p tcp -m tcp --sport 6379 -j DROP"), "FILTER_DROP", NODE_2),
        (TO_REDIS, filtering(node_1(), "forward", "-p tcp -m tcp --dport 6379 -j REJECT"), "FILTER_REJECT", NODE_1),
        (TO_REDIS, with_routes(node_1(), route(f"{REDIS}/32", kind="blackhole")), "BLACKHOLE_ROUTE", NODE_1),
        (TO_REDIS, with_routes(node_1(), route(f"{REDIS}/32", kind="unreachable")), "UNREACHABLE_ROUTE", NODE_1),
        (TO_REDIS, with_routes(node_1(), route(f"{REDIS}/32", kind="prohibit")), "PROHIBIT_ROUTE", NODE_1),
        (TO_REDIS, without_routes(node_1(), "default via 192.168.1.1 dev eth0"), "NO_ROUTE_TO_DESTINATION", NODE_1),
        (TO_REDIS, sysctls(node_1(), conf__enicart__forwarding="0"), "FORWARDING_DISABLED", NODE_1),
        (TO_REDIS, without_routes(node_2(), REDIS), "POD_ROUTE_MISSING", NODE_2),
        (OUTWARD, without_rules(node_1(), "fwmark"), "SOURCE_NOT_OWNED_BY_ENI", NODE_1),
        (TO_ORDERS, without_rules(node_1(), f"from {SEARCH}"), "SOURCE_NOT_OWNED_BY_ENI", NODE_1),
    ],
)
def test_one_cause_one_name(of: FiveTuple, snapshot: NodeSnapshot, code: str, node: str) -> None:
    found = foreseen(of, snapshot)
    assert [(each.code, each.node) for each in found] == [(code, node)]
    witnesses = {evidence.witness for evidence in found[0].evidence}
    assert witnesses
    assert witnesses <= {Witness.EXPECTED, Witness.ASSUMED}


def test_a_mark_that_leads_to_the_wrong_eni_is_named_with_the_rule_that_set_it() -> None:
    marking = mangling(node_1(), "-i enisearch -j MARK --set-xmark 0x10/0x10")
    leading = with_rule(marking, "900 from all fwmark 0x10/0x10 lookup main", mark=0x10, mask=0x10, table=254)
    (found,) = foreseen(TO_ORDERS, leading)
    assert found.code == "WRONG_ENI"
    assert f"{SEARCH}, an address of eth1, leaves by eth0" in found.text
    assert "ip rule 900 from all fwmark 0x10/0x10 lookup main" in found.text
    assert "mangle PREROUTING #1" in found.text
    assert "iptables-nft -t mangle -D PREROUTING -i enisearch -j MARK --set-xmark 0x10/0x10;" in found.fix


def test_a_foreign_rule_that_leads_to_the_wrong_eni_is_named_there_and_back() -> None:
    there = with_rule(node_1(), f"1000 from {SEARCH} lookup main", source=ip_network(SEARCH), table=254)
    (found,) = foreseen(TO_ORDERS, there)
    assert (found.code, found.node) == ("WRONG_ENI", NODE_1)
    assert f"ip rule del priority 1000 from {SEARCH} lookup main" in found.fix
    back = with_rule(node_2(), f"1000 from {ORDERS} lookup main", source=ip_network(ORDERS), table=254)
    (found,) = foreseen(TO_ORDERS, back)
    assert (found.code, found.node) == ("WRONG_ENI", NODE_2)


def test_what_is_sent_outside_untranslated_is_not_the_rules_fault() -> None:
    """By rule 1024, as the CNI has it; what is missing is the translation."""
    nat = next(each for each in node_1().rule_sets if each.table == "nat")
    chains = tuple(replace(c, rules=()) if c.name == "AWS-SNAT-CHAIN-0" else c for c in nat.chains)
    bare = replace(node_1(), rule_sets=(replace(nat, chains=chains),), vpc_networks=VPC)
    assert [each.code for each in foreseen(OUTWARD, bare)] == ["SOURCE_NOT_OWNED_BY_ENI"]


def test_a_route_that_an_ip_rule_overrules_is_not_missing() -> None:
    overruled = with_rule(node_2(), f"500 from all to {REDIS} lookup 2", destination=ip_network(REDIS), table=2)
    assert [each.code for each in foreseen(TO_REDIS, overruled)] == ["SOURCE_NOT_OWNED_BY_ENI"]


def test_two_faults_on_one_way_are_found_one_after_the_other_and_each_by_name() -> None:
    broken = filtering(node_1(), "forward", "-p tcp -m tcp --sport 6379 -j DROP")
    lost = without_routes(node_2(), REDIS)
    assert [each.code for each in foreseen(TO_REDIS, broken, lost)] == ["POD_ROUTE_MISSING"]
    assert [each.code for each in foreseen(TO_REDIS, broken)] == ["FILTER_DROP"]


def test_a_service_without_endpoints_goes_by_its_own_name() -> None:
    refusing = filtering(node_1(), "forward", f"-d {HOLLOW}/32 -p tcp -m tcp --dport 80 -j REJECT")
    (found,) = foreseen(flow(CART, HOLLOW, 80), refusing)
    assert found.code == "SERVICE_WITHOUT_ENDPOINTS"
    assert "shop/hollow" in found.text
    other = filtering(node_1(), "forward", f"-d {SERVICE}/32 -j REJECT", f"-d {ORDERS}/32 -j REJECT")
    assert [each.code for each in foreseen(flow(CART, SERVICE, 80), other, translated_to=BACKEND)] == ["FILTER_REJECT"]


BACKEND = Socket(ip_address(ORDERS), 8080)
WITHOUT_ORDERS = node_snapshot(2, {"eniredis": REDIS}, {})


def without_orders() -> list[dict[str, object]]:
    items = [each for each in cluster_items() if each["metadata"].get("name") != "orders"]
    return [each for each in items if each["kind"] != "Endpoints"]


def test_a_backend_that_is_gone_is_named_with_the_rule_that_still_leads_there() -> None:
    port = {"name": "http", "protocol": "TCP", "port": 8080}
    known = inventory_of(*without_orders(), endpoints_item("shop/web", port, "192.168.1.42"))
    (found,) = foreseen(flow(CART, SERVICE, 80), WITHOUT_ORDERS, inventory=known, translated_to=BACKEND)
    assert (found.code, found.node) == ("SERVICE_BACKEND_GONE", NODE_1)
    assert f"shop/web to {ORDERS}:8080" in found.text
    assert found.evidence[0].claim.startswith("nat KUBE-SEP-2 #2")


def test_an_endpoint_outside_the_cluster_is_not_gone() -> None:
    """An EndpointSlice may list what is no pod: a database."""
    port = {"name": "http", "protocol": "TCP", "port": 8080}
    known = inventory_of(*without_orders(), endpoints_item("shop/web", port, ORDERS))
    assert foreseen(flow(CART, SERVICE, 80), WITHOUT_ORDERS, inventory=known, translated_to=BACKEND) == ()


def test_two_routers_that_send_it_to_each_other() -> None:
    lost = without_routes(node_2(), "192.168.2.200")
    anyone = tuple(
        replace(each, eni_addresses=(*each.eni_addresses, ip_network(CART), ip_network("192.168.2.200")))
        if each.name == "eth0"
        else each
        for each in lost.interfaces
    )
    (found,) = foreseen(flow(CART, "192.168.2.200"), replace(lost, interfaces=anyone))
    assert (found.code, found.node) == ("ROUTING_LOOP", NODE_2)
