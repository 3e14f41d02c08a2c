"""Real traffic that answers a question, found among packets of which nobody makes objects."""

from dataclasses import replace

import pytest
from journeys import CART_REDIS
from small_cluster import NODE_1, NODE_2

from pathtap.collector.capture_log import CaptureLog
from pathtap.collector.cluster.resolve import Question
from pathtap.collector.live import LiveTraffic
from pathtap.model.address import FiveTuple, Protocol, Socket
from pathtap.model.packet import Direction, Headers, IcmpHeader, PacketObservation, TcpFlag, TcpHeader
from pathtap.model.rows import PacketRows, row_of
from pathtap.model.trace import Target

SYN, ACK = TcpFlag.SYN, TcpFlag.ACK


def question(port: int = CART_REDIS.destination_port, node: str = NODE_1, protocol: int = 6) -> Question:
    source = Target(kind="pod", name="shop/cart", node=node, socket=Socket(CART_REDIS.source, 0))
    target = Target(kind="pod", name="shop/redis", node=NODE_2, socket=Socket(CART_REDIS.destination, port))
    return Question(source=source, destination=target, protocol=protocol, live=True)


def tcp(flow: FiveTuple, flags: TcpFlag) -> Headers:
    return Headers(
        five_tuple=flow, ttl=64, length=60, tcp=TcpHeader(flags=flags, sequence=1, acknowledgment=0), ip_id=1
    )


def come(log: CaptureLog, *packets: Headers, node: str = NODE_1) -> None:
    seen = [
        PacketObservation(
            node=node,
            sequence=number,
            capture="c",
            captured_at=number,
            interface="eth0",
            direction=Direction.IN,
            headers=headers,
        )
        for number, headers in enumerate(packets)
    ]
    log.take(PacketRows(node=node, capture="c", interfaces=("eth0",), rows=b"".join(row_of(each, 0) for each in seen)))


def traffic(*packets: Headers, asked: Question | None = None, node: str = NODE_1) -> LiveTraffic:
    log = CaptureLog()
    found = LiveTraffic(asked or question(), log)
    come(log, *packets, node=node)
    found.look()
    return found


def test_a_flow_under_way_gives_way_to_one_that_is_seen_to_begin() -> None:
    log, second = CaptureLog(), replace(CART_REDIS, source_port=5)
    found = LiveTraffic(question(), log)
    come(log, tcp(CART_REDIS, ACK), tcp(second, ACK))
    found.look()
    assert (found.flow, found.opened) == (CART_REDIS, False)
    come(log, tcp(second, SYN | ACK), tcp(second, SYN), tcp(CART_REDIS, SYN))
    found.look()
    assert (found.flow, found.opened) == (second, True)


def test_an_answer_counts_once_the_flow_is_known_even_if_it_came_before() -> None:
    log, second = CaptureLog(), replace(CART_REDIS, source_port=5)
    found = LiveTraffic(question(), log)
    assert found.answered()
    come(log, tcp(second.reversed, ACK), tcp(CART_REDIS, ACK))
    assert not found.answered()
    come(log, tcp(CART_REDIS.reversed, ACK))
    assert found.answered()
    come(log, tcp(second, SYN))
    assert (found.answered(), found.flow) == (True, second)


def test_an_answer_that_another_node_saw_has_not_come_home() -> None:
    log = CaptureLog()
    found = LiveTraffic(question(), log)
    come(log, tcp(CART_REDIS, SYN))
    come(log, tcp(CART_REDIS.reversed, SYN | ACK), node=NODE_2)
    assert not found.answered()


@pytest.mark.parametrize(
    "packet",
    [
        tcp(CART_REDIS.reversed, SYN),
        tcp(replace(CART_REDIS, destination_port=80), SYN),
        tcp(replace(CART_REDIS, source=CART_REDIS.destination), SYN),
    ],
)
def test_what_does_not_answer_the_question_is_no_flow_of_it(packet: Headers) -> None:
    assert traffic(packet).flow is None


def test_of_another_node_nothing_has_set_out_unless_the_sources_is_not_known() -> None:
    assert traffic(tcp(CART_REDIS, SYN), node=NODE_2).flow is None
    assert traffic(tcp(CART_REDIS, SYN), node=NODE_2, asked=question(node="")).flow == CART_REDIS
    assert traffic(tcp(CART_REDIS, SYN), asked=question(port=0)).flow == CART_REDIS


def test_an_echo_reply_begins_no_flow_and_a_request_does() -> None:
    request = replace(CART_REDIS, protocol=Protocol.ICMP, source_port=77, destination_port=0)
    reply = replace(request, source_port=0, destination_port=77)
    asked = question(port=0, protocol=Protocol.ICMP)
    echo = [Headers(five_tuple=each, ttl=64, length=84, icmp=IcmpHeader(type=8, code=0)) for each in (reply, request)]
    assert traffic(echo[0], asked=asked).flow is None
    assert traffic(*echo, asked=asked).flow == request


@pytest.mark.parametrize("protocol", [Protocol.ICMP, Protocol.UDP, Protocol.TCP])
@pytest.mark.parametrize("cut", ["fragment", "truncated"])
def test_a_packet_that_tells_no_ports_is_no_flow_and_hides_none(protocol: Protocol, cut: str) -> None:
    flow = replace(CART_REDIS, protocol=protocol, destination_port=0 if protocol is Protocol.ICMP else 53)
    asked = question(port=0, protocol=protocol)
    bare = Headers(five_tuple=replace(flow, source_port=0, destination_port=0), ttl=64, length=1500)
    without = replace(bare, fragment=cut == "fragment", truncated=cut == "truncated")
    icmp = IcmpHeader(type=8, code=0) if protocol is Protocol.ICMP else None
    whole = tcp(flow, SYN) if protocol is Protocol.TCP else Headers(five_tuple=flow, ttl=64, length=1500, icmp=icmp)
    assert traffic(without, asked=asked).flow is None
    found = traffic(without, whole, asked=asked)
    assert (found.flow, found.opened) == (flow, True)


def test_packets_before_a_clearing_are_passed_over() -> None:
    log = CaptureLog()
    found = LiveTraffic(question(), log)
    come(log, tcp(CART_REDIS, SYN))
    log.clear()
    found.look()
    assert found.flow is None
    come(log, tcp(CART_REDIS, ACK))
    found.look()
    assert found.flow == CART_REDIS
