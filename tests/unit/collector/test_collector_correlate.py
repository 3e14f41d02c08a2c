"""Packets are joined by what they are and where they were, never by the clocks that stamped them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journeys import (
    CART_REDIS,
    CART_TO_REDIS,
    MILLISECOND,
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
from small_cluster import CART, HOST_1, HOST_2, INTERNET, NODE_1, NODE_2, ORDERS, REDIS, SEARCH, SERVICE, WEB

from pathtap.collector.joining.correlate import Entries, Journey, Passage, join, packet_label
from pathtap.model.address import FiveTuple
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.packet import PacketObservation, TcpFlag

SNATTED = flow(HOST_1, INTERNET, 443, 50_712)
OUTWARD = flow(CART, INTERNET, 443)
PRIMARY_SNAT = entry("1", OUTWARD, source=f"{HOST_1}:50712")


def joined(
    sent: FiveTuple | Sequence[FiveTuple],
    observations: Iterable[PacketObservation],
    entries: Iterable[ConntrackEntry] = (),
) -> Journey:
    return join([sent] if isinstance(sent, FiveTuple) else sent, list(observations), Entries(entries))


def places(passages: Iterable[Passage]) -> list[tuple[str, str, str]]:
    """Node, way in, way out."""
    return [
        (
            passage.node,
            passage.arrival.interface if passage.arrival else "",
            passage.departure.interface if passage.departure else "",
        )
        for passage in passages
    ]


def through_snat(start: float = 0.0, ip_id: int = 7) -> list[PacketObservation]:
    out = travel(syn(OUTWARD, ip_id=ip_id), "1 enicart in", ("1 eth0 out", SNATTED), start=start)
    back = travel(syn_ack(SNATTED), "1 eth0 in", ("1 enicart out", OUTWARD.reversed), start=start + 1)
    return [*out, *back]


def test_there_and_back_between_two_nodes() -> None:
    journey = joined(CART_REDIS, handshake())
    assert places(journey.forward) == [(NODE_1, "enicart", "eth0"), (NODE_2, "eth0", "eniredis")]
    assert places(journey.reply) == [(NODE_2, "eniredis", "eth0"), (NODE_1, "eth0", "enicart")]
    assert journey.sent == CART_REDIS
    assert journey.errors == ()


def retransmitted() -> list[PacketObservation]:
    """The first SYN dies between the nodes, the second does not; its answer is sent twice and one of them is lost."""
    first = travel(syn(CART_REDIS, ip_id=1), *CART_TO_REDIS[:2], start=0)
    second = travel(syn(CART_REDIS, ip_id=2), *CART_TO_REDIS, start=1000)
    lost = travel(syn_ack(CART_REDIS), *REDIS_TO_CART[:2], start=1001)
    again = travel(syn_ack(CART_REDIS), *REDIS_TO_CART, start=2001)
    return [*first, *second, *lost, *again]


def node_port() -> tuple[list[PacketObservation], list[ConntrackEntry], FiveTuple]:
    """Cart asks node 2 for a port that leads back to node 1: translated at both ends on node 2."""
    asked, inner = flow(CART, HOST_2, 30080), flow(HOST_2, WEB, 8080, 60_001)
    out: list[str | tuple[str, FiveTuple]] = [
        "1 enicart in",
        "1 eth0 out",
        "2 eth0 in",
        ("2 eth0 out", inner),
        ("1 eth0 in", inner),
        ("1 eniweb out", inner),
    ]
    back: list[str | tuple[str, FiveTuple]] = [
        "1 eniweb in",
        "1 eth0 out",
        "2 eth0 in",
        ("2 eth0 out", asked.reversed),
        ("1 eth0 in", asked.reversed),
        ("1 enicart out", asked.reversed),
    ]
    entries = [
        entry("2", asked, source=f"{HOST_2}:60001", to=f"{WEB}:8080"),
        entry("1", asked),
        entry("1", inner),
    ]
    return [*travel(syn(asked), *out), *travel(syn_ack(inner), *back, start=1)], entries, asked


SCENES: dict[str, tuple[list[PacketObservation], list[ConntrackEntry], list[FiveTuple]]] = {
    "two nodes": (handshake(), [], [CART_REDIS]),
    "retransmitted": (retransmitted(), [], [CART_REDIS]),
    "snat": (through_snat(), [PRIMARY_SNAT], [OUTWARD]),
    "snat without conntrack": (through_snat(), [], [OUTWARD]),
    "node port": (*node_port()[:2], [node_port()[2]]),
    "halves of two": (
        [
            *travel(syn(CART_REDIS, ip_id=1), *CART_TO_REDIS[:2]),
            *travel(syn(CART_REDIS, ip_id=2), *CART_TO_REDIS[2:], start=10),
        ],
        [],
        [CART_REDIS],
    ),
    "several probes": (
        [
            *travel(syn(flow(CART, REDIS, source_port=1)), *CART_TO_REDIS[:3]),
            *handshake(5, flow(CART, REDIS, source_port=2)),
            *handshake(9, flow(CART, REDIS, source_port=3)),
        ],
        [],
        [flow(CART, REDIS, source_port=port) for port in (1, 2, 3)],
    ),
}


@pytest.mark.parametrize("scene", SCENES)
@given(data=st.data())
def test_neither_the_order_of_arrival_nor_a_nodes_clock_changes_the_paths(scene: str, data: st.DataObject) -> None:
    observations, entries, sent = SCENES[scene]
    five_seconds = st.integers(-5000 * MILLISECOND, 5000 * MILLISECOND)
    skews = {NODE_1: data.draw(five_seconds), NODE_2: data.draw(five_seconds)}
    # What comes of one capture of one node keeps its time stamps in order; what comes of two need not.
    late = data.draw(st.permutations(observations))
    skewed = [replace(seen, captured_at=seen.captured_at + skews[seen.node]) for seen in late]
    as_told, as_it_came = joined(sent, observations, entries), joined(sent, skewed, entries)
    for one, other in ((as_told.forward, as_it_came.forward), (as_told.reply, as_it_came.reply)):
        assert places(one) == places(other)
        assert [(p.before, p.after) for p in one] == [(p.before, p.after) for p in other]
        packets = [[seen and seen.headers for p in way for seen in (p.arrival, p.departure)] for way in (one, other)]
        assert packets[0] == packets[1]
    assert as_told.sent == as_it_came.sent


def test_conntrack_joins_what_snat_made_of_a_packet() -> None:
    journey = joined(OUTWARD, through_snat(ip_id=0), [PRIMARY_SNAT])
    (forward,), (reply,) = journey.forward, journey.reply
    assert (forward.before, forward.after, forward.entry) == (OUTWARD, SNATTED, PRIMARY_SNAT)
    assert (reply.before, reply.after, reply.entry) == (SNATTED.reversed, OUTWARD.reversed, PRIMARY_SNAT)


def test_conntrack_joins_datagrams_that_nothing_else_tells_apart() -> None:
    sent, after = flow(CART, INTERNET, 53, protocol=17), flow(HOST_1, INTERNET, 53, 50_712, protocol=17)
    observations = travel(datagram(sent), "1 enicart in", ("1 eth0 out", after))
    assert places(joined(sent, observations).forward) == [(NODE_1, "enicart", "")]
    entries = [entry("1", sent, source=f"{HOST_1}:50712")]
    assert places(joined(sent, observations, entries).forward) == [(NODE_1, "enicart", "eth0")]


def test_without_conntrack_a_tcp_segment_is_known_again_by_its_sequence() -> None:
    observations = through_snat(ip_id=0)
    journey = joined(OUTWARD, observations)
    assert places(journey.forward) == [(NODE_1, "enicart", "eth0")]
    assert places(journey.reply) == [(NODE_1, "eth0", "enicart")]
    assert journey.forward[0].after == SNATTED


def test_without_conntrack_a_datagram_is_known_again_by_its_ip_id() -> None:
    sent, after = flow(CART, INTERNET, 53, protocol=17), flow(HOST_1, INTERNET, 53, 50_712, protocol=17)
    other = flow(HOST_1, INTERNET, 53, 50_713, protocol=17)
    observations = [
        *travel(datagram(sent, ip_id=77), "1 enicart in", ("1 eth0 out", after)),
        *travel(datagram(other, ip_id=78), "1 eth0 out"),
    ]
    assert places(joined(sent, observations).forward) == [(NODE_1, "enicart", "eth0")]


def test_without_conntrack_an_echo_is_known_again_by_ip_id_and_sequence() -> None:
    sent, after = flow(CART, INTERNET, 0, 7, 1), flow(HOST_1, INTERNET, 0, 9_000, 1)
    observations = [
        *travel(echo(sent, sequence=1), "1 enicart in", ("1 eth0 out", after)),
        *travel(echo(flow(HOST_1, INTERNET, 0, 9_001, 1), sequence=2), "1 eth0 out"),
    ]
    journey = joined(sent, observations)
    assert places(journey.forward) == [(NODE_1, "enicart", "eth0")]
    assert journey.forward[0].after == after


def test_a_service_is_followed_to_its_backend() -> None:
    sent, inner = flow(CART, SERVICE, 80), flow(CART, ORDERS, 8080)
    out = travel(syn(sent), "1 enicart in", ("1 eth0 out", inner), ("2 eth0 in", inner), ("2 eniorders out", inner))
    back = travel(
        syn_ack(inner), "2 eniorders in", "2 eth1 out", "1 eth0 in", ("1 enicart out", sent.reversed), start=1
    )
    journey = joined(sent, [*out, *back], [entry("1", sent, to=f"{ORDERS}:8080"), entry("2", inner)])
    assert places(journey.forward) == [(NODE_1, "enicart", "eth0"), (NODE_2, "eth0", "eniorders")]
    assert places(journey.reply) == [(NODE_2, "eniorders", "eth1"), (NODE_1, "eth0", "enicart")]
    assert journey.forward[0].after == journey.forward[1].before == inner


def test_a_node_port_is_followed_through_both_translations_and_back_to_its_first_node() -> None:
    observations, entries, asked = node_port()
    journey = joined(asked, observations, entries)
    assert places(journey.forward) == [
        (NODE_1, "enicart", "eth0"),
        (NODE_2, "eth0", "eth0"),
        (NODE_1, "eth0", "eniweb"),
    ]
    assert places(journey.reply) == [
        (NODE_1, "eniweb", "eth0"),
        (NODE_2, "eth0", "eth0"),
        (NODE_1, "eth0", "enicart"),
    ]


def test_pods_of_one_node() -> None:
    sent = flow(CART, SEARCH, 9200)
    journey = joined(
        sent,
        [
            *travel(syn(sent), "1 enicart in", "1 enisearch out"),
            *travel(syn_ack(sent), "1 enisearch in", "1 enicart out", start=1),
        ],
    )
    assert places(journey.forward) == [(NODE_1, "enicart", "enisearch")]
    assert places(journey.reply) == [(NODE_1, "enisearch", "enicart")]


def test_a_pod_that_reaches_itself_through_its_service() -> None:
    sent, inner = flow(WEB, SERVICE, 80), flow(HOST_1, WEB, 8080, 60_001)
    observations = [
        *travel(syn(sent), "1 eniweb in", ("1 eniweb out", inner)),
        *travel(syn_ack(inner), "1 eniweb in", ("1 eniweb out", sent.reversed), start=1),
    ]
    journey = joined(sent, observations, [entry("1", sent, source=f"{HOST_1}:60001", to=f"{WEB}:8080")])
    assert places(journey.forward) == [(NODE_1, "eniweb", "eniweb")]
    assert places(journey.reply) == [(NODE_1, "eniweb", "eniweb")]
    assert (journey.forward[0].before, journey.forward[0].after) == (sent, inner)


def test_two_nodes_as_ends_have_no_veth_on_the_way() -> None:
    sent = flow(HOST_1, HOST_2, 9100)
    observations = [
        *travel(syn(sent), "1 eth0 out", "2 eth0 in"),
        *travel(syn_ack(sent), "2 eth0 out", "1 eth0 in", start=1),
    ]
    journey = joined(sent, observations)
    assert places(journey.forward) == [(NODE_1, "", "eth0"), (NODE_2, "eth0", "")]
    assert places(journey.reply) == [(NODE_2, "", "eth0"), (NODE_1, "eth0", "")]


def test_a_retransmission_that_gets_further_is_the_one_that_is_followed() -> None:
    journey = joined(CART_REDIS, retransmitted())
    assert places(journey.forward) == [(NODE_1, "enicart", "eth0"), (NODE_2, "eth0", "eniredis")]
    assert {seen.headers.ip_id for p in journey.forward for seen in (p.arrival, p.departure) if seen} == {2}


def test_an_answer_that_was_sent_again_without_an_ip_id_is_one_answer() -> None:
    """Linux sends SYN,ACK with IP id 0: nothing tells the second from the first."""
    journey = joined(CART_REDIS, retransmitted())
    assert places(journey.reply) == [(NODE_2, "eniredis", "eth0"), (NODE_1, "eth0", "enicart")]


def test_datagrams_of_several_probes_do_not_mix() -> None:
    """Answers of an unconnected socket carry IP id 0 and have equal lengths: the flow alone tells them apart."""
    flows = [flow(CART, REDIS, 7, port, protocol=17) for port in (40_001, 40_002)]
    observations = [
        seen
        for number, sent in enumerate(flows)
        for seen in (
            *travel(datagram(sent), *CART_TO_REDIS, start=number * 10),
            *travel(datagram(sent.reversed), *REDIS_TO_CART, start=number * 10 + 1),
        )
    ]
    journey = joined(flows, observations)
    assert journey.sent == flows[0]
    assert places(journey.forward) == [(NODE_1, "enicart", "eth0"), (NODE_2, "eth0", "eniredis")]
    assert places(journey.reply) == [(NODE_2, "eniredis", "eth0"), (NODE_1, "eth0", "enicart")]
    assert {seen.headers.five_tuple for p in journey.reply for seen in (p.arrival, p.departure) if seen} == {
        flows[0].reversed
    }


def test_of_several_probes_the_one_that_got_furthest_is_followed_both_ways() -> None:
    observations, entries, sent = SCENES["several probes"]
    journey = joined(sent, observations, entries)
    assert journey.sent == sent[1]
    assert journey.forward[0].before == sent[1]
    assert journey.reply[-1].after == sent[1].reversed


def test_the_first_packet_is_shown_and_not_a_later_one_of_the_same_connection() -> None:
    acknowledgment = travel(segment(CART_REDIS, TcpFlag.ACK, ip_id=8, sequence=1001), *CART_TO_REDIS, start=0.2)
    journey = joined(CART_REDIS, [*acknowledgment, *handshake()])
    labels = [packet_label(p.arrival.headers) for p in (journey.forward[0], journey.reply[0]) if p.arrival]
    assert labels == ["SYN", "SYN,ACK"]


def test_a_packet_that_was_missed_somewhere_leaves_a_passage_half_seen() -> None:
    without_arrival = [seen for seen in handshake() if (seen.node, seen.direction.value) != (NODE_2, "in")]
    journey = joined(CART_REDIS, without_arrival)
    assert places(journey.forward) == [(NODE_1, "enicart", "eth0"), (NODE_2, "", "eniredis")]


def test_a_loop_comes_to_the_same_interface_with_a_lower_ttl_each_time() -> None:
    rounds = ["1 enicart in", *["1 eth0 out", "2 eth0 in", "2 eth0 out", "1 eth0 in"] * 4]
    journey = joined(CART_REDIS, travel(syn(CART_REDIS), *rounds))
    assert places(journey.forward)[:3] == [
        (NODE_1, "enicart", "eth0"),
        (NODE_2, "eth0", "eth0"),
        (NODE_1, "eth0", "eth0"),
    ]
    assert sum(place == (NODE_2, "eth0", "eth0") for place in places(journey.forward)) == 4


def test_an_icmp_error_belongs_to_the_way_that_it_quotes() -> None:
    about_the_request = travel(icmp_error(HOST_2, CART_REDIS), "2 eth0 out")
    about_the_answer = travel(icmp_error(HOST_1, CART_REDIS.reversed), "1 eth0 out")
    about_another = travel(icmp_error(HOST_2, flow(CART, REDIS, 1)), "2 eth0 out")
    journey = joined(CART_REDIS, [*handshake(), *about_the_answer, *about_another, *about_the_request])
    assert journey.errors == tuple(about_the_request)


def test_an_icmp_error_from_beyond_a_translation_quotes_the_translated_packet() -> None:
    seen = travel(icmp_error("198.51.100.1", SNATTED), "1 eth0 in")
    journey = joined(OUTWARD, [*through_snat(), *seen], [PRIMARY_SNAT])
    assert journey.errors == tuple(seen)


def test_the_answering_side_of_a_connection_can_be_asked_about() -> None:
    """A live trace of a server's packets: conntrack's original direction is the way back."""
    asked = flow(CART, SERVICE, 80)
    inner = flow(CART, WEB, 8080)
    observations = travel(syn_ack(inner), "1 eniweb in", ("1 enicart out", asked.reversed))
    journey = joined(inner.reversed, observations, [entry("1", asked, to=f"{WEB}:8080")])
    assert places(journey.forward) == [(NODE_1, "eniweb", "enicart")]
    assert journey.forward[0].after == asked.reversed


def test_nothing_sent_or_nothing_seen() -> None:
    assert joined([], handshake()) == Journey(sent=None, forward=(), reply=(), errors=())
    assert joined(CART_REDIS, []) == Journey(sent=CART_REDIS, forward=(), reply=(), errors=())


@pytest.mark.parametrize(
    ("headers", "label"),
    [
        (syn(CART_REDIS), "SYN"),
        (syn_ack(CART_REDIS), "SYN,ACK"),
        (segment(CART_REDIS, TcpFlag(0)), "TCP"),
        (echo(flow(CART, REDIS, 0, 7, 1)), "echo request"),
        (echo(flow(CART, REDIS, 7, 0, 1)), "echo reply"),
        (echo(flow("2001:db8::1", "2001:db8::2", 0, 7, 58)), "echo request"),
        (echo(flow("2001:db8::1", "2001:db8::2", 7, 0, 58)), "echo reply"),
        (icmp_error(HOST_2, CART_REDIS, 3, 1), "host unreachable"),
        (icmp_error(HOST_2, CART_REDIS, 3, 4), "fragmentation needed"),
        (icmp_error(HOST_2, CART_REDIS, 3, 15), "ICMP type 3 code 15"),
        (datagram(flow(CART, REDIS, protocol=17)), "datagram"),
        (datagram(flow(CART, REDIS, protocol=47)), "packet"),
    ],
)
def test_packets_are_called_what_people_call_them(headers: object, label: str) -> None:
    assert packet_label(headers) == label  # type: ignore[arg-type]
