"""What a capture's thread makes of rings that do as they are told: numbering, turns and the account, without a kernel."""

import errno
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address
from typing import Any, cast

import pytest
from scapy.layers.inet import ICMP, IP, UDP, IPerror
from scapy.layers.l2 import Ether

from pathtap.agent import listener
from pathtap.agent.captured import Frames, frames_of
from pathtap.agent.delivery import Packets
from pathtap.agent.gathering import Gathering
from pathtap.agent.listener import Listener
from pathtap.agent.ring import Ring, RingSize, Statistics
from pathtap.model.packet import PacketObservation
from pathtap.model.request import CaptureEnded, CaptureRequest

PLAIN = bytes(Ether() / IP(src="192.0.2.1", dst="198.51.100.2") / UDP(sport=1, dport=2))
QUOTING = bytes(
    Ether()
    / IP(src="198.51.100.2", dst="192.0.2.1")
    / ICMP(type=3, code=1)
    / IPerror(src="192.0.2.1", dst="198.51.100.2")
    / UDP(sport=1, dport=2)
)
ABSURD = PLAIN[:20]


class Tap:
    """Offers what a `Ring` does; each take gives the next of `turns`, and `counted` is what the kernel says beside them."""

    size = RingSize(blocks=64, block_bytes=4096, retire=4)
    taken = 1

    def __init__(self, interface: str, turns: Sequence[Sequence[bytes]], counted: int = 0, refused: int = 0) -> None:
        self.interface = interface
        self._turns = [list(turn) for turn in turns]
        self._statistics = Statistics(accepted=sum(map(len, turns)) + counted + refused, dropped=refused)
        self._readable = os.eventfd(len(self._turns), os.EFD_SEMAPHORE)
        self.errors: list[OSError] = []
        self.disarmed = self.closed = False

    def fileno(self) -> int:
        return self._readable

    def take(self, most: int) -> Frames | None:
        if not self._turns:
            return None
        os.eventfd_read(self._readable)
        turn = self._turns.pop(0)
        return frames_of(turn, range(len(turn)), [0] * len(turn), [None] * len(turn))

    def release(self) -> None:
        pass

    def statistics(self) -> Statistics:
        told, self._statistics = self._statistics, Statistics(0, 0)
        return told

    def error(self) -> OSError | None:
        return self.errors.pop() if self.errors else None

    def disarm(self) -> None:
        self.disarmed = True

    def close(self) -> None:
        self.closed = True
        os.close(self._readable)


class Outcome:
    """All that was delivered, and the end."""

    def __init__(self) -> None:
        self.packets: list[Packets] = []
        self.ended: CaptureEnded | None = None

    @property
    def seen(self) -> list[PacketObservation]:
        rows = [seen for packets in self.packets for rows in packets.rows for seen in rows.observations()]
        return sorted([*rows, *(seen for packets in self.packets for seen in packets.observations)], key=sequence)

    def lost(self, where: str) -> int:
        return sum(lost.count for packets in self.packets for lost in packets.lost if lost.where == where)


def sequence(observation: PacketObservation) -> int:
    return observation.sequence


def listened(taps: Sequence[Tap], limit: int = 10_000, until: Callable[[Outcome], bool] = lambda _: True) -> Outcome:
    """Runs a listener until that holds, and ends it."""
    outcome, enough = Outcome(), threading.Event()

    def deliver(packets: Packets) -> None:
        outcome.packets.append(packets)
        if until(outcome):
            enough.set()

    asked = CaptureRequest(id="c1", protocol=0, near=(IPv4Address("192.0.2.1"),), limit=limit)
    listening = Listener("node-1", asked, cast(Any, taps), deliver)
    with woken(listening, outcome) as wake:
        assert enough.wait(10)
        os.eventfd_write(wake, 1)
    return outcome


@contextmanager
def woken(listening: Listener, outcome: Outcome) -> Iterator[int]:
    wake = os.eventfd(0)

    def run() -> None:
        outcome.ended = listening.run(wake)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield wake
    finally:
        thread.join(10)
        listening.close()
        os.close(wake)
    assert not thread.is_alive()


def test_more_interfaces_than_a_row_can_number() -> None:
    taps = [Tap(f"veth{number}", [[PLAIN] * (1 + number % 3)]) for number in range(600)]
    outcome = listened(taps, until=lambda so_far: len(so_far.seen) == 1200)
    expected = Counter({tap.interface: 1 + number % 3 for number, tap in enumerate(taps)})
    assert Counter(seen.interface for seen in outcome.seen) == expected
    assert [seen.sequence for seen in outcome.seen] == list(range(1, 1201))
    assert all(len(rows.interfaces) <= 256 for packets in outcome.packets for rows in packets.rows)
    assert all(tap.disarmed and tap.closed for tap in taps)


def test_rows_and_observations_share_their_numbers() -> None:
    outcome = listened([Tap("eth0", [[PLAIN, QUOTING, ABSURD, PLAIN]]), Tap("eth1", [[QUOTING] * 20])])
    assert [seen.sequence for seen in outcome.seen] == list(range(1, 24))
    quoting = [seen.headers.icmp is not None for seen in outcome.seen if seen.interface == "eth0"]
    assert quoting == [False, True, False]
    assert outcome.lost("parse") == 1
    assert outcome.ended is not None
    assert [stats.received for stats in outcome.ended.stats] == [4, 20]


def test_what_the_kernel_refused_is_lost_in_it_and_at_the_limit_by_it() -> None:
    below = listened([Tap("eth0", [[PLAIN] * 5], refused=7)])
    assert (below.lost("kernel"), below.lost("limit"), len(below.seen)) == (7, 0, 5)
    beyond = listened([Tap("eth0", [[PLAIN] * 5], refused=7)], limit=3)
    assert (beyond.lost("kernel"), beyond.lost("limit"), len(beyond.seen)) == (0, 9, 3)
    assert [outcome.ended.stats[0].dropped for outcome in (below, beyond) if outcome.ended] == [7, 0]


def test_what_is_counted_and_never_handed_over_is_a_loss_and_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "PATIENCE", 1)
    outcome = listened([Tap("eth0", [[PLAIN]], counted=4)])
    assert outcome.lost("kernel") == 4
    assert outcome.ended is not None
    assert (outcome.ended.stats[0].received, outcome.ended.stats[0].dropped) == (5, 4)


def test_an_error_of_one_ring_is_told_once_and_the_rest_is_read() -> None:
    down = Tap("eth0", [[PLAIN], [PLAIN]])
    down.errors.append(OSError(errno.ENETDOWN, "Network is down"))
    outcome = listened([down, Tap("eth1", [[PLAIN]])], until=lambda so_far: len(so_far.seen) == 3)
    told = [lost for packets in outcome.packets for lost in packets.lost]
    assert [(lost.interface, lost.count, lost.why) for lost in told] == [
        ("eth0", 0, "the interface is down: packets may be missing from here on")
    ]


def test_a_ring_offers_what_is_pretended_here() -> None:
    assert {name for name in vars(Tap) if not name.startswith("_")} - {"size", "taken"} <= set(dir(Ring))


@pytest.mark.parametrize("taken", [1, 8])
def test_the_pace_is_told_what_each_turn_decoded_and_whether_more_may_be_there(
    taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, bool]] = []

    class Told(Gathering):
        def turned(self, frames: int, *, full: bool) -> None:
            told.append((frames, full))

    monkeypatch.setattr(listener, "Gathering", Told)
    taps = [Tap("eth0", [[PLAIN] * 3, [PLAIN]]), Tap("veth1", [[PLAIN] * 2])]
    for tap in taps:
        tap.taken = taken
    listened(taps, until=lambda so_far: len(so_far.seen) == 6)
    # Of eight blocks that a turn takes at most.
    assert told == [(5, taken == 8), (1, taken == 8)]
