"""Order, bounds and account of what waits to be sent."""

import threading
from ipaddress import IPv4Address

from pathtap.agent.spool import BATCH, Packets, Pending, Reply, Spool
from pathtap.model.address import FiveTuple
from pathtap.model.packet import Direction, Headers, Lost, PacketObservation
from pathtap.v1 import agent_pb2 as pb

NODE = "node-a"
HEADERS = Headers(
    five_tuple=FiveTuple(
        protocol=17,
        source=IPv4Address("192.0.2.1"),
        source_port=1,
        destination=IPv4Address("192.0.2.2"),
        destination_port=2,
    ),
    ttl=64,
    length=28,
)


def seen(sequence: int, capture: str = "c", interface: str = "eth0") -> PacketObservation:
    return PacketObservation(
        node=NODE,
        sequence=sequence,
        capture=capture,
        captured_at=sequence,
        interface=interface,
        direction=Direction.IN,
        headers=HEADERS,
    )


def lost(count: int, where: str = "kernel") -> Lost:
    return Lost(node=NODE, where=where, count=count, capture="c", interface="eth0")


class Wakes:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def spool(limit: int = 1000) -> Spool:
    return Spool(NODE, Wakes(), limit)


def sequences(parcel: object) -> list[int]:
    assert isinstance(parcel, Packets)
    return [observation.sequence for observation in parcel.observations]


def test_empty() -> None:
    empty = spool()
    assert (empty.take(), empty.pending()) == (None, Pending.NOTHING)


def test_batches_are_bounded_and_in_order() -> None:
    full = spool()
    for number in range(BATCH + 3):
        full.deliver([seen(number)])
    assert sequences(full.take()) == list(range(BATCH))
    assert sequences(full.take()) == [BATCH, BATCH + 1, BATCH + 2]
    assert full.take() is None


def test_an_answer_never_overtakes_what_came_before_it() -> None:
    mixed = spool()
    mixed.deliver([seen(1)])
    mixed.deliver((), [lost(4)])
    mixed.reply(pb.Answer(command=7))
    mixed.deliver([seen(2)])
    mixed.reply(pb.Answer(command=8))
    first = mixed.take()
    assert sequences(first) == [1]
    assert isinstance(first, Packets)
    assert first.lost == (lost(4),)
    assert mixed.take() == Reply(pb.Answer(command=7))
    assert sequences(mixed.take()) == [2]
    assert mixed.take() == Reply(pb.Answer(command=8))
    assert mixed.take() is None


def test_losses_alone_go_before_an_answer_too() -> None:
    losing = spool()
    losing.reply(pb.Answer(command=7))
    losing.deliver((), [lost(1)])
    assert losing.take() == Packets((), (lost(1),))
    assert losing.take() == Reply(pb.Answer(command=7))


def test_losses_of_one_kind_add_up() -> None:
    losing = spool()
    for loss in (lost(2), lost(3), lost(1, where="parse")):
        losing.deliver((), [loss])
    assert losing.take() == Packets((), (lost(5), lost(1, where="parse")))


def test_what_is_not_kept_is_counted() -> None:
    small = spool(limit=10)
    for number in range(25):
        small.deliver([seen(number, interface="eth0" if number < 20 else "eth1")])
    small.reply(pb.Answer(command=1))
    parcel = small.take()
    assert sequences(parcel) == list(range(10))
    assert isinstance(parcel, Packets)
    assert [(loss.where, loss.interface, loss.count) for loss in parcel.lost] == [
        ("spool", "eth0", 10),
        ("spool", "eth1", 5),
    ]
    assert parcel.lost[0].why == "more than 10 packets waited to be sent to the collector"
    assert small.take() == Reply(pb.Answer(command=1))


def test_room_comes_back() -> None:
    small = spool(limit=2)
    for number in range(3):
        small.deliver([seen(number)])
    small.take()
    small.deliver([seen(9)])
    assert sequences(small.take()) == [9]


def test_answers_of_a_stream_that_ended_are_forgotten_and_nothing_else() -> None:
    mixed = spool()
    mixed.deliver([seen(1)])
    mixed.reply(pb.Answer(command=7))
    mixed.deliver([seen(2)])
    mixed.forget_replies()
    assert (sequences(mixed.take()), mixed.take()) == ([1, 2], None)


def test_it_wakes_when_something_new_is_due() -> None:
    wakes = Wakes()
    watched = Spool(NODE, wakes)
    for number in range(BATCH - 1):
        watched.deliver([seen(number)])
    assert (wakes.count, watched.pending()) == (1, Pending.SOME)
    watched.deliver([seen(BATCH)])
    assert (wakes.count, watched.pending()) == (2, Pending.DUE)
    watched.reply(pb.Answer(command=1))
    assert wakes.count == 3


def test_every_packet_is_sent_or_counted_under_threads() -> None:
    shared = spool(limit=500)

    def fill() -> None:
        for number in range(5000):
            shared.deliver([seen(number)])

    threads = [threading.Thread(target=fill) for _ in range(4)]
    for thread in threads:
        thread.start()
    sent = counted = 0
    while any(thread.is_alive() for thread in threads) or shared.pending() is not Pending.NOTHING:
        parcel = shared.take()
        if isinstance(parcel, Packets):
            sent += len(parcel.observations)
            counted += sum(loss.count for loss in parcel.lost)
    for thread in threads:
        thread.join()
    assert sent + counted == 20_000
    assert sent >= 500
