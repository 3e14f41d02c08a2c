"""All packets of one pod become its flows: each once, from whoever opened it, with what both nodes saw of it."""

import time
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address

import pytest
from journeys import (
    CART_REDIS,
    REDIS_TO_CART,
    datagram,
    echo,
    entry,
    flow,
    handshake,
    icmp_error,
    segment,
    syn,
    syn_ack,
    travel,
)
from small_cluster import (
    CART,
    HOST_1,
    HOST_2,
    INTERNET,
    NODE_1,
    NODE_2,
    NOON,
    ORDERS,
    REDIS,
    SEARCH,
    SERVICE,
    WEB,
    cluster,
    node_1,
    node_2,
)

from pathtap.collector.cluster.resolve import resolve_source
from pathtap.collector.joining.conversations import Sightings, flows_of
from pathtap.model.address import FiveTuple, Socket
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.packet import PacketObservation, TcpFlag
from pathtap.model.trace import Flow, Witness

POINTS = {"shop/cart": ["enicart"], "shop/search": ["enisearch"], "shop/web": ["eniweb"], "shop/redis": ["eniredis"]}


def flows(
    pod: str, observations: Sequence[PacketObservation], entries: Sequence[ConntrackEntry] = ()
) -> tuple[Flow, ...]:
    return flows_of(
        Sightings(
            source=resolve_source(pod, "", cluster(), live=False),
            points=frozenset(POINTS.get(pod, ["eth0", "eth1"])),
            inventory=cluster(),
            snapshots={NODE_1: node_1(), NODE_2: node_2()},
            observations=observations,
            entries=entries,
        )
    )


def only(found: Sequence[Flow]) -> Flow:
    (flow,) = found
    return flow


def test_an_outgoing_flow_joins_what_both_nodes_saw() -> None:
    entries = [entry("1", CART_REDIS), entry("2", CART_REDIS)]
    found = only(flows("shop/cart", handshake(), entries))
    assert found.five_tuple == CART_REDIS
    assert found.initiated
    assert (found.source.name, found.destination.name) == ("shop/cart", "shop/redis")
    assert (found.packets_forward, found.packets_reply) == (1, 1)
    assert found.nodes == (NODE_1, NODE_2)
    assert found.egress is not None
    assert (found.egress.node, found.egress.eni_id) == (NODE_1, "eni-1p")
    assert [evidence.witness for evidence in found.evidence].count(Witness.OBSERVED) == 8
    assert [evidence.source for evidence in found.evidence if evidence.witness is Witness.RECORDED] == [
        f"{NODE_1} conntrack",
        f"{NODE_2} conntrack",
    ]


def test_an_incoming_flow_begins_with_its_opener_and_leaves_by_the_pods_own_way_out() -> None:
    found = only(flows("shop/redis", handshake(), [entry("2", CART_REDIS)]))
    assert not found.initiated
    assert (found.five_tuple, found.source.name) == (CART_REDIS, "shop/cart")
    assert (found.packets_forward, found.packets_reply) == (1, 1)
    assert found.egress is not None
    assert (found.egress.node, found.egress.interface) == (NODE_2, "eth0")


def through_the_service() -> tuple[list[PacketObservation], list[ConntrackEntry], FiveTuple, FiveTuple]:
    asked, chosen = flow(CART, SERVICE, 80), flow(CART, WEB, 8080)
    observations = [
        *travel(syn(asked), "1 enicart in", ("1 eniweb out", chosen)),
        *travel(syn_ack(chosen), "1 eniweb in", ("1 enicart out", asked.reversed), start=1),
    ]
    return observations, [entry("1", asked, to=f"{WEB}:8080")], asked, chosen


def test_a_flow_to_a_service_names_the_service_and_the_backend() -> None:
    observations, entries, asked, chosen = through_the_service()
    found = only(flows("shop/cart", observations, entries))
    assert found.five_tuple == asked
    assert (found.destination.kind, found.destination.name) == ("service", "shop/web")
    assert (found.dnat.applied, found.dnat.service, found.dnat.backend_pod) == (True, "shop/web", "shop/web")
    assert found.dnat.translated == chosen.destination_socket
    assert (found.packets_forward, found.packets_reply) == (1, 1)


def test_the_backend_sees_the_same_flow_with_its_own_address() -> None:
    observations, entries, asked, chosen = through_the_service()
    found = only(flows("shop/web", observations, entries))
    assert (found.five_tuple, found.initiated) == (chosen, False)
    assert (found.packets_forward, found.packets_reply) == (1, 1)
    assert found.dnat.original == asked.destination_socket


def test_the_translation_of_the_openers_node_is_known_at_the_other() -> None:
    asked, chosen = flow(CART, SERVICE, 80), flow(CART, REDIS, 6379)
    out = travel(syn(asked), "1 enicart in", ("1 eth0 out", chosen), ("2 eth0 in", chosen), ("2 eniredis out", chosen))
    back = travel(syn_ack(chosen), *REDIS_TO_CART[:3], ("1 enicart out", asked.reversed), start=1)
    entries = [entry("2", chosen), entry("1", asked, to=f"{REDIS}:6379")]
    found = only(flows("shop/redis", [*out, *back], entries))
    assert (found.five_tuple, found.initiated) == (chosen, False)
    assert (found.dnat.applied, found.dnat.service) == (True, "shop/web")
    assert set(found.nodes) == {NODE_1, NODE_2}


def test_an_external_flow_has_its_source_translation_and_the_eni_it_left_by() -> None:
    of, after = flow(SEARCH, INTERNET, 443), flow(HOST_1, INTERNET, 443, 50_712)
    observations = [
        *travel(syn(of), "1 enisearch in", ("1 eth0 out", after)),
        *travel(syn_ack(after), "1 eth0 in", ("1 enisearch out", of.reversed), start=1),
    ]
    found = only(flows("shop/search", observations, [entry("1", of, source=f"{HOST_1}:50712", mark=0x80)]))
    assert found.destination.kind == "address"
    assert found.snat.applied
    assert found.snat.translated == Socket(ip_address(HOST_1), 50_712)
    assert found.snat.rule is not None
    assert found.egress is not None
    assert found.egress.eni_id == "eni-1p"
    assert found.nodes == (NODE_1,)


def test_echoes_are_a_flow_and_icmp_errors_are_none() -> None:
    of = flow(CART, REDIS, 0, 7, 1)
    observations = [
        *travel(echo(of, sequence=1), "1 enicart in", "1 eth0 out"),
        *travel(echo(of.reversed, sequence=1), "1 eth0 in", "1 enicart out", start=1),
        *travel(echo(of, sequence=2), "1 enicart in", "1 eth0 out", start=1000),
        *travel(icmp_error(HOST_2, of), "1 eth0 in", "1 enicart out", start=1001),
    ]
    found = only(flows("shop/cart", observations))
    assert (found.five_tuple, found.packets_forward, found.packets_reply) == (of, 2, 1)


def test_without_conntrack_whoever_showed_first_opened_it() -> None:
    of = flow(CART, REDIS, 53, protocol=17)
    observations = travel(datagram(of), "1 enicart in", "1 eth0 out")
    assert only(flows("shop/cart", observations)).five_tuple == of
    assert only(flows("shop/redis", travel(datagram(of), "2 eth0 in", "2 eniredis out"))).initiated is False


@pytest.mark.parametrize(
    "first",
    [
        syn_ack(flow(REDIS, CART, 80)),
        echo(flow(CART, REDIS, 7, 0, 1)),
    ],
)
def test_without_conntrack_an_answer_is_known_for_one(first: object) -> None:
    """The capture began in the middle of a handshake or an echo."""
    seen = travel(first, "1 enicart in", "1 eth0 out")  # type: ignore[arg-type]
    found = only(flows("shop/cart", seen))
    assert not found.initiated
    assert (found.source.name, found.packets_forward, found.packets_reply) == ("shop/redis", 0, 1)


def test_conntrack_tells_who_began_even_where_an_answer_showed_first() -> None:
    back = travel(segment(CART_REDIS.reversed, TcpFlag.ACK), *REDIS_TO_CART)
    found = only(flows("shop/cart", back, [entry("1", CART_REDIS)]))
    assert (found.initiated, found.packets_forward, found.packets_reply) == (True, 0, 1)


def test_a_pod_that_reaches_itself_is_counted_once_each_way() -> None:
    asked, inner = flow(WEB, SERVICE, 80), flow(HOST_1, WEB, 8080, 60_001)
    observations = [
        *travel(syn(asked), "1 eniweb in", ("1 eniweb out", inner)),
        *travel(syn_ack(inner), "1 eniweb in", ("1 eniweb out", asked.reversed), start=1),
    ]
    found = only(flows("shop/web", observations, [entry("1", asked, source=f"{HOST_1}:60001", to=f"{WEB}:8080")]))
    assert (found.five_tuple, found.packets_forward, found.packets_reply) == (asked, 1, 1)
    assert (found.snat.applied, found.dnat.applied) == (True, True)


def test_a_nodes_flows_are_not_those_of_its_pods() -> None:
    """Both leave by eth0 with the node's address."""
    pods, own = flow(SEARCH, INTERNET, 443), flow(HOST_1, INTERNET, 443, 33_333)
    pods_after, own_after = flow(HOST_1, INTERNET, 443, 50_712), flow(HOST_1, INTERNET, 443, 60_606)
    observations = [
        *travel(syn(pods), "1 enisearch in", ("1 eth0 out", pods_after)),
        *travel(syn(own_after), "1 eth0 out"),
        *travel(syn_ack(own_after), "1 eth0 in", start=1),
    ]
    entries = [entry("1", pods, source=f"{HOST_1}:50712"), entry("1", own, source=f"{HOST_1}:60606")]
    found = only(flows("kube-system/exporter-1", observations, entries))
    assert (found.five_tuple, found.initiated) == (own, True)
    assert (found.packets_forward, found.packets_reply) == (1, 1)
    assert found.snat.translated == own_after.source_socket


def test_flows_come_in_the_order_in_which_they_began() -> None:
    later, earlier = flow(CART, REDIS, source_port=1), flow(CART, REDIS, source_port=2)
    found = flows("shop/cart", [*handshake(50, later), *handshake(10, earlier)])
    assert [each.five_tuple for each in found] == [earlier, later]
    assert found[0].first_seen == NOON + 10_000_000
    assert found[0].first_seen < found[0].last_seen


def test_many_packets_of_a_flow_are_one_flow() -> None:
    more = [
        seen
        for number in range(20)
        for seen in (
            *travel(segment(CART_REDIS, TcpFlag.ACK, ip_id=100 + number), "1 enicart in", "1 eth0 out", start=number),
            *travel(
                segment(CART_REDIS.reversed, TcpFlag.ACK, ip_id=number), "1 eth0 in", "1 enicart out", start=number
            ),
        )
    ]
    found = only(flows("shop/cart", [*handshake(), *more], [entry("1", CART_REDIS)]))
    assert (found.packets_forward, found.packets_reply) == (21, 21)


def test_a_flow_that_only_conntrack_of_the_other_node_knows_names_that_node_too() -> None:
    seen = [each for each in handshake() if each.node == NODE_1]
    found = only(flows("shop/cart", seen, [entry("1", CART_REDIS), entry("2", CART_REDIS)]))
    assert found.nodes == (NODE_1, NODE_2)


def test_what_shows_elsewhere_alone_is_no_flow_of_the_pod() -> None:
    seen = [each for each in handshake() if each.interface == "eth0"]
    assert flows("shop/cart", seen) == ()
    assert flows("shop/cart", []) == ()


def busy(count: int) -> tuple[list[PacketObservation], list[ConntrackEntry]]:
    observations, entries = [], []
    for number in range(count):
        of = flow(SEARCH, INTERNET, 443, 1024 + number)
        after = replace(of, source=ip_address(HOST_1), source_port=30_000 + number)
        observations += travel(syn(of, sequence=number), "1 enisearch in", ("1 eth0 out", after), start=number)
        observations += travel(
            syn_ack(after, sequence=number), "1 eth0 in", ("1 enisearch out", of.reversed), start=number + 0.5
        )
        entries.append(entry("1", of, source=f"{HOST_1}:{30_000 + number}"))
    return observations, entries


def seconds(count: int) -> float:
    observations, entries = busy(count)
    began = time.process_time()
    assert len(flows("shop/search", observations, entries)) == count
    return time.process_time() - began


def test_ten_times_the_flows_take_about_ten_times_as_long() -> None:
    """A join that looked at every packet for every flow would take a hundred times as long."""
    seconds(20)
    assert seconds(400) < 30 * max(min(seconds(40) for _ in range(3)), 1e-3)


def test_orders_is_known_by_its_secondary_eni() -> None:
    of = flow(ORDERS, CART, 80)
    seen = [*travel(syn(of), "2 eniorders in", "2 eth1 out", "1 eth0 in", "1 enicart out")]
    found = only(flows("shop/cart", seen))
    assert (found.source.name, found.initiated) == ("shop/orders", False)
    assert found.egress is None
