"""What a capture's log keeps, counts and gives out: rows in, objects of what a question is about, within bounds."""

import tracemalloc
from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_address

from journeys import CART_REDIS, handshake
from small_cluster import NODE_1, NODE_2

from pathtap import wire
from pathtap.collector.capture_log import NAME_BYTES, OBSERVATION_BYTES, ROWS_OVERHEAD, CaptureLog, Position, Room
from pathtap.collector.joining.correlate import Entries, join
from pathtap.collector.joining.sifting import layout
from pathtap.model.address import FiveTuple
from pathtap.model.packet import Direction, Headers, IcmpHeader, Lost, PacketObservation, TcpFlag, TcpHeader
from pathtap.model.rows import FIELDS, ROW, PacketRows, row_of
from pathtap.v1 import agent_pb2 as pb

PLACES = ("eth0", "eni1")


def seen(number: int, flow: FiveTuple = CART_REDIS, node: str = NODE_1, place: str = "eth0") -> PacketObservation:
    """A TCP segment that is told from others by its number."""
    tcp = TcpHeader(flags=TcpFlag.ACK, sequence=number, acknowledgment=0)
    headers = Headers(five_tuple=flow, ttl=64, length=60, ip_id=number & 0xFFFF, tcp=tcp)
    return PacketObservation(
        node=node,
        sequence=number,
        capture="c",
        captured_at=number,
        interface=place,
        direction=Direction.IN,
        headers=headers,
    )


def rows(packets: Sequence[PacketObservation]) -> PacketRows:
    """Those of one node."""
    packed = b"".join(row_of(each, PLACES.index(each.interface)) for each in packets)
    return PacketRows(node=packets[0].node, capture="c", interfaces=PLACES, rows=packed)


def other(number: int) -> FiveTuple:
    return replace(CART_REDIS, source=ip_address("192.0.2.7"), source_port=number)


def filled(chunks: Iterable[PacketRows], most: int = 1 << 20) -> CaptureLog:
    log = CaptureLog("c", most)
    for chunk in chunks:
        log.take(chunk)
    return log


def test_a_layout_reads_the_fields_that_it_names() -> None:
    packet = seen(7, replace(CART_REDIS, source_port=4711))
    (read,) = layout(("source_port", "source_port"), ("protocol", "ttl"), ("interface", "interface")).iter_unpack(
        row_of(packet, 1)
    )
    assert read == (4711, bytes((6, 64)), 1)
    assert layout(("captured_at", FIELDS[-1][0])).unpack(row_of(packet, 1)) == (row_of(packet, 1),)


def test_packets_come_in_the_order_of_their_numbers_over_rows_and_observations_node_by_node() -> None:
    log = filled([rows([seen(1), seen(3)]), rows([seen(1, node=NODE_2)])])
    log.see(seen(2))
    assert log.observations == (seen(1), seen(2), seen(3), seen(1, node=NODE_2))


def test_what_comes_beyond_the_bound_is_counted_by_its_interface_and_not_kept() -> None:
    log = CaptureLog("c", ROWS_OVERHEAD + 2 * NAME_BYTES + 3 * ROW.size)
    assert log.take(rows([seen(1), seen(2, place="eni1"), seen(3), seen(4), seen(5, place="eni1")])) == 2
    assert log.take(rows([seen(6)])) == 1
    assert log.see(seen(7)) == 1
    assert log.observations == (seen(1), seen(2, place="eni1"), seen(3))
    assert log.delivered == {(NODE_1, "eth0"): 2, (NODE_1, "eni1"): 1}
    counts = {(each.where, each.capture, each.node, each.interface): each.count for each in log.lost}
    assert counts == {("collector", "c", NODE_1, "eth0"): 3, ("collector", "c", NODE_1, "eni1"): 1}


def test_packets_that_fit_no_row_weigh_what_they_take() -> None:
    log = CaptureLog("c", 2 * OBSERVATION_BYTES)
    assert [log.see(seen(number)) for number in (1, 2, 3)] == [0, 0, 1]
    assert len(log.observations) == 2


def test_captures_at_once_share_what_all_of_them_may_keep() -> None:
    together = Room(most=3 * OBSERVATION_BYTES, left=3 * OBSERVATION_BYTES)
    first, second = (CaptureLog(name, 1 << 20, together) for name in ("first", "second"))
    assert [first.see(seen(n)) for n in range(2)] == [0, 0]
    assert [second.see(seen(n)) for n in range(2)] == [0, 1]
    assert [(lost.capture, lost.count, lost.why) for lost in second.lost] == [
        ("second", 1, "of all captures at once the collector keeps 0 MiB of packets")
    ]
    first.release()
    assert len(first.observations) == 2
    assert [second.see(seen(n)) for n in range(3)] == [0, 0, 1]
    second.clear()
    assert together.left == together.most


def test_memory_is_bounded_also_where_each_batch_names_sixty_interfaces_for_a_single_packet() -> None:
    names = [f"eni0123456789{number:02d}" for number in range(60)]
    sent = pb.Batch(rows=[pb.PacketRows(capture="c", interfaces=names, rows=row_of(seen(1), 0))]).SerializeToString()
    most = 1 << 20
    log, came = CaptureLog("c", most), 0
    tracemalloc.start()
    try:
        while not log.lost:
            (chunk,) = wire.batch_from_wire(pb.Batch.FromString(sent), NODE_1)[2]
            log.take(chunk)
            came += 1
        assert tracemalloc.get_traced_memory()[0] < most
    finally:
        tracemalloc.stop()
    assert sum(log.delivered.values()) + log.lost[0].count == came > 1000


def test_names_that_differ_each_time_take_their_room_too() -> None:
    log, most = CaptureLog("c", 64 << 10), (64 << 10) // (ROWS_OVERHEAD + ROW.size + 50 * NAME_BYTES)
    packed = row_of(seen(1), 0)
    for number in range(2 * most):
        names = tuple(f"{number}-{each}" for each in range(50))
        log.take(PacketRows(node=NODE_1, capture="c", interfaces=names, rows=packed))
    assert sum(log.delivered.values()) == most
    assert sum(each.count for each in log.lost) == most


def test_losses_that_differ_by_their_count_alone_become_one() -> None:
    log, lost = CaptureLog(), Lost(node=NODE_1, where="kernel", count=2, capture="c", interface="eth0", why="full")
    log.lose(lost)
    log.lose(replace(lost, count=5))
    log.lose(replace(lost, where="parse", count=1))
    assert log.lost == (replace(lost, count=7), replace(lost, where="parse", count=1))


def test_news_are_read_once_and_after_a_clearing_from_the_begin() -> None:
    log = filled([rows([seen(1)])])
    fresh, _, reached = log.news(Position())
    assert [len(each) for each in fresh] == [1]
    log.see(seen(2))
    assert log.news(reached)[:2] == ([], [seen(2)])
    log.clear()
    log.take(rows([seen(3), seen(4)]))
    assert [len(each) for each in log.news(reached)[0]] == [2]
    assert log.observations == (seen(3), seen(4))
    assert log.delivered == {(NODE_1, "eth0"): 4}


def test_a_log_that_was_cleared_has_all_of_its_room_again() -> None:
    log = CaptureLog("c", ROWS_OVERHEAD + 2 * NAME_BYTES + ROW.size)
    for _ in range(3):
        assert log.take(rows([seen(1)])) == 0
        assert log.take(rows([seen(2)])) == 1
        log.clear()
    assert log.delivered == {(NODE_1, "eth0"): 3}


def test_flows_are_told_in_the_order_of_their_first_packets_and_said_to_be_all_or_not() -> None:
    log = filled([rows([seen(n, other(n % 5 + 1)) for n in range(1, 50)]), rows([seen(1, node=NODE_2)])])
    assert log.flows(NODE_1, 3) == ((other(2), other(3), other(4)), False)
    assert log.flows(NODE_1, 5) == ((other(2), other(3), other(4), other(5), other(1)), True)
    assert log.flows(NODE_2, 3) == ((CART_REDIS,), True)
    assert log.flows("another", 3) == ((), True)
    log.see(seen(50, other(9)))
    assert log.flows(NODE_1, 5)[1] is False


def test_of_a_million_packets_those_become_objects_that_tell_of_the_flow() -> None:
    noise = [rows([seen(n, other(n % 60_000)) for n in range(k, k + 100)]) for k in range(0, 2000, 100)]
    log = filled([*noise[:10], rows([seen(5000), seen(5001, CART_REDIS.reversed)]), *noise[10:]])
    assert log.about({CART_REDIS}) == (seen(5000), seen(5001, CART_REDIS.reversed))
    assert log.about(frozenset()) == ()


def test_a_packet_is_followed_under_the_tuple_that_nat_gave_it_and_so_is_its_answer() -> None:
    translated = replace(CART_REDIS, source=ip_address("198.51.100.9"), source_port=1024)
    there, beyond = seen(9), replace(seen(9, translated, place="eni1"), sequence=10)
    back = seen(11, translated.reversed, place="eni1")
    log = filled([rows([there, beyond, back, seen(12, other(3))])])
    assert log.about({CART_REDIS}) == (there, beyond, back)


def test_a_flood_of_the_flow_itself_is_told_by_its_first_packets_at_every_place() -> None:
    flood = [seen(n, place=place) for place in PLACES for n in range(1, 3001)]
    late = rows([seen(n, node=NODE_2) for n in range(400, 3001)])
    about = filled([rows(flood), late], 1 << 22).about({CART_REDIS})
    by_place = {(each.node, each.interface): 0 for each in about}
    for each in about:
        by_place[each.node, each.interface] += 1
    # The first 500 of the one node and of the other, which saw others first: 400 packets more.
    assert by_place == {(NODE_1, "eth0"): 899, (NODE_1, "eni1"): 899, (NODE_2, "eth0"): 500}


def test_what_fits_no_row_is_always_about_the_flow() -> None:
    log, error = CaptureLog(), seen(1)
    icmp = IcmpHeader(type=3, code=1, quoted=CART_REDIS)
    error = replace(error, headers=replace(error.headers, tcp=None, icmp=icmp))
    log.see(error)
    assert log.about({CART_REDIS}) == (error,)


def test_the_way_is_the_same_whether_all_packets_are_looked_at_or_those_about_the_flow() -> None:
    packets = [replace(each, capture="c") for each in handshake()]
    log = CaptureLog("c")
    for each in packets:
        names = tuple(dict.fromkeys([each.interface]))
        log.take(PacketRows(node=each.node, capture="c", interfaces=names, rows=row_of(each, 0)))
    whole = packets[0].headers.five_tuple
    assert join([whole], log.about({whole}), Entries(())) == join([whole], log.observations, Entries(()))
    assert join([whole], log.observations, Entries(())).forward
