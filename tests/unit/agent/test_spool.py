"""Order, bounds and account of what waits to be sent."""

import threading
import tracemalloc
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathtap import wire
from pathtap.agent.delivery import Packets
from pathtap.agent.frames import Frame, Kind
from pathtap.agent.spool import BATCH, HAND_OVER_BYTES, OBSERVATION_BYTES, Spool
from pathtap.model.address import FiveTuple
from pathtap.model.packet import Direction, Headers, IcmpHeader, Lost, PacketObservation
from pathtap.model.rows import ROW, PacketRows, row_of
from pathtap.v1 import agent_pb2 as pb

NODE = "node-a"
INTERFACES = ("eth0", "eth1")
LARGE = 1 << 30
TUPLE = FiveTuple(
    protocol=17,
    source=IPv4Address("192.0.2.1"),
    source_port=1,
    destination=IPv4Address("192.0.2.2"),
    destination_port=2,
)
HEADERS = Headers(five_tuple=TUPLE, ttl=64, length=28)
QUOTING = replace(HEADERS, icmp=IcmpHeader(type=3, code=3, quoted=TUPLE))


def seen(sequence: int, interface: str = "eth0", headers: Headers = HEADERS, capture: str = "c") -> PacketObservation:
    return PacketObservation(
        node=NODE,
        sequence=sequence,
        capture=capture,
        captured_at=sequence,
        interface=interface,
        direction=Direction.IN,
        headers=headers,
    )


def rows(*sequences: int, interface: str = "eth0", capture: str = "c") -> PacketRows:
    number = INTERFACES.index(interface)
    packed = b"".join(row_of(seen(sequence, interface, capture=capture), number) for sequence in sequences)
    return PacketRows(node=NODE, capture=capture, interfaces=INTERFACES, rows=packed)


def as_rows(*sequences: int, interface: str = "eth0", capture: str = "c") -> Packets:
    return Packets(rows=(rows(*sequences, interface=interface, capture=capture),))


def quoting(*sequences: int) -> Packets:
    return Packets(observations=tuple(seen(sequence, headers=QUOTING) for sequence in sequences))


def lost(count: int, where: str = "kernel") -> Lost:
    return Lost(node=NODE, where=where, count=count, capture="c", interface="eth0")


def batch(frame: Frame | None) -> Packets:
    assert frame is not None
    assert frame.kind is Kind.BATCH
    message = pb.ConnectRequest.FromString(frame.body)
    observations, losses, parts = wire.batch_from_wire(message.batch, NODE)
    return Packets(rows=parts, observations=observations, lost=losses)


def sequences(frame: Frame | None) -> list[int]:
    packets = batch(frame)
    both = [*packets.observations, *(each for part in packets.rows for each in part.observations())]
    return sorted(each.sequence for each in both)


def answer(number: int) -> Frame:
    return Frame(Kind.ANSWER, b"", number)


def test_a_new_one_is_empty_and_a_closed_one_gives_nothing() -> None:
    spool = Spool(NODE, LARGE)
    assert spool.empty
    spool.close()
    assert spool.take() is None


def test_it_is_empty_when_what_was_taken_is_sent() -> None:
    spool = Spool(NODE, LARGE)
    spool.deliver(as_rows(1))
    assert not spool.empty
    spool.take()
    assert not spool.empty
    spool.reply(answer(1))
    spool.take()
    threading.Timer(0.05, spool.close).start()
    assert spool.take() is None
    spool = Spool(NODE, LARGE)
    spool.deliver(Packets())
    assert spool.empty


def test_batches_are_bounded_and_in_order() -> None:
    spool = Spool(NODE, LARGE)
    count = 3 * BATCH // ROW.size
    spool.deliver(as_rows(*range(count // 2)))
    spool.deliver(as_rows(*range(count // 2, count)))
    found: list[int] = []
    while len(found) < count:
        frame = spool.take()
        assert frame is not None
        assert len(frame.body) <= BATCH + 1024
        found += sequences(frame)
    assert found == list(range(count))
    assert not spool._items


def test_rows_of_one_capture_travel_together_beside_what_fits_none() -> None:
    spool = Spool(NODE, LARGE)
    for packets in (as_rows(1), as_rows(2, 3), quoting(4), as_rows(5), as_rows(6, capture="d")):
        spool.deliver(packets)
    packets = batch(spool.take())
    assert [[each.sequence for each in part.observations()] for part in packets.rows] == [[1, 2, 3], [5], [6]]
    assert [part.capture for part in packets.rows] == ["c", "c", "d"]
    assert packets.observations == (seen(4, headers=QUOTING),)


def test_an_answer_never_overtakes_what_came_before_it() -> None:
    spool = Spool(NODE, LARGE)
    spool.deliver(as_rows(1))
    spool.deliver(Packets(lost=(lost(4),)))
    spool.reply(answer(7))
    spool.deliver(quoting(2))
    spool.reply(answer(8))
    first = batch(spool.take())
    assert (len(first), first.lost) == (1, (lost(4),))
    assert spool.take() == answer(7)
    assert sequences(spool.take()) == [2]
    assert spool.take() == answer(8)


def test_a_loss_without_packets_goes_before_the_answer() -> None:
    spool = Spool(NODE, LARGE)
    spool.reply(answer(7))
    spool.deliver(Packets(lost=(lost(1),)))
    assert batch(spool.take()) == Packets(lost=(lost(1),))
    assert spool.take() == answer(7)


def test_losses_of_one_kind_add_up() -> None:
    spool = Spool(NODE, LARGE)
    for loss in (lost(2), lost(3), lost(1, where="parse")):
        spool.deliver(Packets(lost=(loss,)))
    assert batch(spool.take()).lost == (lost(5), lost(1, where="parse"))


def test_whoever_chooses_the_reasons_does_not_choose_how_many_losses_there_are() -> None:
    """A parser's reason names what a stranger wrote into a header."""
    spool = Spool(NODE, LARGE)
    for number in range(500):
        for interface in INTERFACES:
            reason = f"the IPv4 total length is {number}"
            spool.deliver(Packets(lost=(replace(lost(2, "parse"), interface=interface, why=reason),)))
        spool.deliver(Packets(lost=(lost(1, "kernel"),)))
    told = batch(spool.take()).lost
    assert len(told) == 2 * 9 + 1
    assert sum(each.count for each in told if (each.where, each.interface) == ("parse", "eth1")) == 1000
    assert [each.count for each in told if each.why == "for other reasons"] == [2 * 492] * 2
    assert lost(500, "kernel") in told


def test_what_is_not_kept_is_counted_by_its_interface() -> None:
    limit = HAND_OVER_BYTES + 10 * ROW.size
    spool = Spool(NODE, limit)
    both = rows(*range(8)).rows + rows(*range(8, 20), interface="eth1").rows + rows(*range(20, 25)).rows
    spool.deliver(Packets(rows=(replace(rows(), rows=both),)))
    spool.deliver(quoting(25))
    spool.reply(answer(1))
    frame = spool.take()
    assert sequences(frame) == list(range(10))
    losses = {loss.interface: (loss.where, loss.capture, loss.count) for loss in batch(frame).lost}
    assert losses == {"eth0": ("spool", "c", 6), "eth1": ("spool", "c", 10)}
    why = f"more than {limit} bytes of packets waited to be sent to the collector"
    assert {loss.why for loss in batch(frame).lost} == {why}
    assert spool.take() == answer(1)


def test_what_is_left_of_a_hand_over_of_which_a_part_was_taken_keeps_its_room() -> None:
    count = 3 * BATCH // ROW.size
    spool = Spool(NODE, HAND_OVER_BYTES + count * ROW.size)
    spool.deliver(as_rows(*range(count)))
    sent = len(sequences(spool.take()))
    spool.deliver(as_rows(*range(count, 2 * count)))
    waiting = sum(len(item.rows) for item in spool._items if isinstance(item, PacketRows))
    assert waiting + len(spool._items) * HAND_OVER_BYTES <= HAND_OVER_BYTES + count * ROW.size
    left = -(-HAND_OVER_BYTES // ROW.size)
    assert [each.count for each in batch(spool.take()).lost] == [count - sent + left]


def test_memory_is_bounded_also_where_each_hand_over_names_many_interfaces() -> None:
    limit, names = 1 << 20, [f"eni{number}" for number in range(256)]
    spool = Spool(NODE, limit)
    tracemalloc.start()
    try:
        for number in range(limit // (HAND_OVER_BYTES + ROW.size)):
            one = replace(rows(), rows=bytes(bytearray(row_of(seen(number), 0))), interfaces=tuple(names))
            spool.deliver(Packets(rows=(one,)))
        assert tracemalloc.get_traced_memory()[0] < limit
    finally:
        tracemalloc.stop()
    assert len(spool._items) > 1000


@pytest.mark.parametrize(
    ("one", "size"), [(as_rows, HAND_OVER_BYTES + ROW.size), (quoting, OBSERVATION_BYTES)], ids=["row", "observation"]
)
def test_room_comes_back(one: object, size: int) -> None:
    assert callable(one)
    spool = Spool(NODE, 2 * size)
    for number in range(3):
        spool.deliver(one(number))
    assert sequences(spool.take()) == [0, 1]
    spool.deliver(one(9))
    assert sequences(spool.take()) == [9]


def test_answers_of_a_stream_that_ended_are_forgotten_and_nothing_else() -> None:
    spool = Spool(NODE, LARGE)
    spool.deliver(as_rows(1))
    spool.reply(answer(7))
    spool.reply(Frame(Kind.FAILURE, b"", 8))
    spool.reply(Frame(Kind.ENDED))
    spool.deliver(as_rows(2))
    spool.forget_answers()
    assert sequences(spool.take()) == [1]
    assert spool.take() == Frame(Kind.ENDED)
    assert sequences(spool.take()) == [2]


def test_a_few_wait_for_company_and_a_full_batch_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(NODE, LARGE)
    spool.deliver(as_rows(1))
    assert sequences(spool.take()) == [1]
    monkeypatch.setattr("pathtap.agent.spool.FLUSH_AFTER", 3600)
    spool.deliver(as_rows(*range(BATCH // ROW.size)))
    assert len(sequences(spool.take())) > 1000
    while not spool._items:
        spool.deliver(as_rows(1))

    def add() -> None:
        spool.deliver(as_rows(2))
        spool.reply(answer(1))

    threading.Timer(0.05, add).start()
    assert sequences(spool.take())[-1] == 2
    assert spool.take() == answer(1)


def hand_over(number: int) -> Packets:
    """20 packets over both interfaces, one of which fits no row."""
    first = rows(*range(number, number + 12)).rows + rows(*range(number + 12, number + 19), interface="eth1").rows
    return Packets(
        rows=(replace(rows(), rows=first),), observations=(seen(number + 19, headers=QUOTING),), lost=(lost(1),)
    )


@given(limit=st.integers(0, 20_000), script=st.lists(st.sampled_from("drt"), max_size=60))
def test_every_packet_is_sent_or_counted(limit: int, script: list[str]) -> None:
    """Whatever is delivered, answered and taken, in any order: nothing is there twice, nothing is missing, all of it in order."""
    spool = Spool(NODE, limit)
    delivered, kernel, counted, found = 0, 0, 0, []
    for step in [*script, *"t" * 200]:
        if step == "d":
            spool.deliver(hand_over(delivered))
            delivered, kernel = delivered + 20, kernel + 1
        elif step == "r":
            spool.reply(answer(delivered))
        elif not spool.empty:
            frame = spool.take()
            assert frame is not None
            if frame.kind is Kind.BATCH:
                found += sequences(frame)
                counted += sum(loss.count for loss in batch(frame).lost if loss.where == "spool")
                kernel -= sum(loss.count for loss in batch(frame).lost if loss.where == "kernel")
            # What was taken is sent.
            spool._taken = False
        assert spool._bytes <= limit
    assert found == sorted(set(found))
    assert (len(found) + counted, kernel, spool._bytes) == (delivered, 0, 0)


def test_every_packet_is_sent_or_counted_under_threads() -> None:
    spool = Spool(NODE, 64 << 10)

    def fill() -> None:
        for number in range(500):
            spool.deliver(hand_over(number))

    threads = [threading.Thread(target=fill) for _ in range(4)]
    for thread in threads:
        thread.start()
    sent = counted = 0
    while any(thread.is_alive() for thread in threads) or not spool.empty:
        if (frame := None if spool.empty else spool.take()) is not None:
            sent += len(batch(frame))
            counted += sum(loss.count for loss in batch(frame).lost if loss.where == "spool")
            spool._taken = False
    for thread in threads:
        thread.join()
    assert sent + counted == 4 * 500 * 20
    assert sent >= 500
