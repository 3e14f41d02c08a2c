"""A packet's whole way and its answer's, over the small cluster's two nodes."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network

from journeys import flow
from small_cluster import (
    CART,
    HOST_1,
    HOST_2,
    INTERNET,
    NODE_1,
    NODE_2,
    ORDERS,
    REDIS,
    SEARCH,
    SERVICE,
    WEB,
    filtering,
    node_1,
    node_2,
    route,
    rule,
    with_routes,
    without_routes,
    without_rules,
)

from pathtap.forwarding.fabric import Fabric, Whereto
from pathtap.forwarding.journey import Arrival, Leg, Walk, walk
from pathtap.forwarding.node import NodeModel
from pathtap.forwarding.packet import Packet, State
from pathtap.model.address import FiveTuple, Protocol, Socket
from pathtap.model.node import NodeSnapshot

VETHS = {CART: "enicart", WEB: "eniweb", SEARCH: "enisearch"}


def way(
    of: FiveTuple, *snapshots: NodeSnapshot, translated_to: Socket | None = None, came_by: str | None = None
) -> Walk:
    models = {each.node: NodeModel(each) for each in snapshots or (node_1(), node_2())}
    entered = VETHS.get(str(of.source), "") if came_by is None else came_by
    return walk(Fabric(models), NODE_1, Packet.opening(of, entered), translated_to=translated_to)


def places(legs: Sequence[Leg]) -> list[tuple[str, str, str]]:
    """Node, where it came in, where it went out."""
    ways = [leg.prediction.routing for leg in legs]
    return [(leg.node, leg.packet.in_interface, w.interface if w else "") for leg, w in zip(legs, ways, strict=True)]


def test_between_pods_of_two_nodes_there_and_back() -> None:
    found = way(flow(CART, REDIS))
    assert (found.arrival, found.reply_arrival, found.unknown) == (Arrival.DELIVERED, Arrival.DELIVERED, ())
    assert places(found.forward) == [(NODE_1, "enicart", "eth0"), (NODE_2, "eth0", "eniredis")]
    assert places(found.reply) == [(NODE_2, "eniredis", "eth0"), (NODE_1, "eth0", "enicart")]


def test_each_secondary_pod_uses_its_own_eni() -> None:
    found = way(flow(SEARCH, ORDERS))
    assert places(found.forward) == [(NODE_1, "enisearch", "eth1"), (NODE_2, "eth1", "eniorders")]
    assert places(found.reply) == [(NODE_2, "eniorders", "eth1"), (NODE_1, "eth1", "enisearch")]


def test_on_one_node_it_never_leaves() -> None:
    found = way(flow(CART, SEARCH))
    assert places(found.forward) == [(NODE_1, "enicart", "enisearch")]
    assert found.reply_arrival is Arrival.DELIVERED


def test_to_the_internet_the_answer_it_goes_as_the_node_and_comes_back_with_the_connmark() -> None:
    found = way(flow(SEARCH, INTERNET, 443))
    assert (found.arrival, found.reply_arrival) == (Arrival.OUTSIDE, Arrival.DELIVERED)
    assert found.forward[-1].after == flow(HOST_1, INTERNET, 443)
    assert places(found.reply) == [(NODE_1, "eth0", "enisearch")]
    answer = found.reply[0].packet
    assert (answer.state, answer.connmark) == (State.ESTABLISHED, 0x80)
    assert found.reply[0].after == flow(SEARCH, INTERNET, 443).reversed


def test_a_service_is_followed_to_the_backend_that_was_chosen_and_answers_as_the_service() -> None:
    sockets = (Socket(ip_address(WEB), 8080), Socket(ip_address(ORDERS), 8080))
    found = way(flow(CART, SERVICE, 80), translated_to=sockets[1])
    assert places(found.forward) == [(NODE_1, "enicart", "eth0"), (NODE_2, "eth1", "eniorders")]
    assert found.forward[0].alternatives == sockets
    assert found.reply[-1].after == flow(CART, SERVICE, 80).reversed
    assert found.reply_arrival is Arrival.DELIVERED
    first = way(flow(CART, SERVICE, 80))
    assert first.forward[-1].after.destination_socket == sockets[0]
    assert first.unknown == ()


def test_a_pod_reaches_itself_by_its_service_as_the_node() -> None:
    found = way(flow(WEB, SERVICE, 80), translated_to=Socket(ip_address(WEB), 8080))
    assert places(found.forward) == [(NODE_1, "eniweb", "eniweb")]
    assert found.forward[0].after.source != ip_address(WEB)
    assert found.reply_arrival is Arrival.DELIVERED


def test_a_node_asks_and_a_node_answers() -> None:
    found = way(flow(HOST_1, HOST_2, 10250))
    assert places(found.forward) == [(NODE_1, "", "eth0"), (NODE_2, "eth0", "lo")]
    assert places(found.reply) == [(NODE_2, "", "eth0"), (NODE_1, "eth0", "lo")]
    assert (found.arrival, found.reply_arrival) == (Arrival.DELIVERED, Arrival.DELIVERED)


def test_one_from_outside_is_answered_to_the_outside() -> None:
    found = way(flow(INTERNET, CART, 8080), came_by="eth0")
    assert places(found.forward) == [(NODE_1, "eth0", "enicart")]
    assert found.reply_arrival is Arrival.OUTSIDE


def test_a_filter_stops_the_packet_or_its_answer() -> None:
    dropping = filtering(node_2(), "forward", "-i eth0 -p tcp -m tcp --dport 6379 -j DROP")
    found = way(flow(CART, REDIS), node_1(), dropping)
    assert (found.arrival, found.reply_arrival, len(found.forward)) == (Arrival.DROPPED, None, 2)
    rejecting = filtering(node_2(), "forward", "-i eni+ -p tcp -m tcp --sport 6379 -j REJECT")
    found = way(flow(CART, REDIS), node_1(), rejecting)
    assert (found.arrival, found.reply_arrival) == (Arrival.DELIVERED, Arrival.REJECTED)


def test_the_source_check_is_where_a_pod_ends_that_lost_its_from_rule() -> None:
    found = way(flow(SEARCH, REDIS), without_rules(node_1(), f"from {SEARCH}"), node_2())
    last = found.forward[-1]
    assert found.arrival is Arrival.DROPPED
    assert last.carried is not None
    assert last.carried.whereto is Whereto.REFUSED


def test_no_route() -> None:
    found = way(flow(CART, INTERNET), without_routes(node_1(), "default"), node_2())
    assert found.arrival is Arrival.NO_ROUTE


def test_two_nodes_that_send_it_to_each_other_are_a_loop() -> None:
    """Pod routes of redis that are gone, on a node that may send as cart: back to its own ENI, for ever."""
    lost = without_routes(node_2(), REDIS)
    anyone = tuple(
        replace(each, eni_addresses=(*each.eni_addresses, ip_network(CART))) if each.name == "eth0" else each
        for each in lost.interfaces
    )
    found = way(flow(CART, REDIS), node_1(), replace(lost, interfaces=anyone))
    assert found.arrival is Arrival.LOOPED


def test_what_cannot_be_evaluated_is_said_and_ends_the_way() -> None:
    found = way(flow(CART, REDIS), filtering(node_1(), "forward", "-m fancy --thing 1 -j DROP"), node_2())
    assert found.arrival is Arrival.UNKNOWN
    assert any("fancy" in why for why in found.unknown)


def test_a_blackhole_takes_the_answer() -> None:
    found = way(
        flow(SEARCH, ORDERS), node_1(), with_routes(node_2(), route("192.168.1.0/24", kind="blackhole", table=2))
    )
    assert (found.arrival, found.reply_arrival) == (Arrival.DELIVERED, Arrival.DROPPED)


def test_an_echo_keeps_its_identifier() -> None:
    ping = flow(CART, REDIS, 0, 77, Protocol.ICMP)
    found = way(ping)
    assert found.reply[-1].after == ping.reversed
    assert found.reply[0].packet.icmp_type == 0


def test_a_foreign_rule_sends_the_answer_by_another_eni_and_the_source_check_takes_it() -> None:
    foreign = rule("1000 from all iif eniorders lookup main", in_interface="eniorders", table=254)
    found = way(flow(SEARCH, ORDERS), node_1(), replace(node_2(), rules=(*node_2().rules, foreign)))
    assert places(found.reply) == [(NODE_2, "eniorders", "eth0")]
    assert found.reply_arrival is Arrival.DROPPED
