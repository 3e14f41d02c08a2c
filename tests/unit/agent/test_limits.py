"""Limits of captures: what a collector may not have, and in which words it is told."""

import threading
import time
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

import pytest

from pathtap.agent.captures import CommandError
from pathtap.agent.config import Limits
from pathtap.agent.delivery import Deliver, Packets
from pathtap.agent.limits import Limiter
from pathtap.model.packet import Lost
from pathtap.model.request import CaptureArmed, CaptureEnded, CaptureRequest, CaptureStats

REQUEST = CaptureRequest(id="c", protocol=6, near=(ip_address("192.0.2.1"),), limit=1000)
BEYOND = Lost(node="n", where="limit", count=7, capture="c", interface="eth0", why="the capture stops")
FULL = Lost(node="n", where="kernel", count=3, capture="c", interface="eth0", why="the ring was full")


@dataclass
class Kernel:
    """Captures that see nothing; the requests that it was asked for, and how often one was ended."""

    asked: list[CaptureRequest] = field(default_factory=list)
    ended: int = 0
    deliver: Deliver = lambda _: None

    def open(self, request: CaptureRequest, deliver: Deliver) -> "Kernel":
        self.asked.append(request)
        self.deliver = deliver
        return self

    @property
    def armed(self) -> CaptureArmed:
        return CaptureArmed(id="c", interfaces=("eth0",))

    def end(self) -> CaptureEnded:
        self.ended += 1
        return CaptureEnded(id="c", stats=(CaptureStats(interface="eth0", received=self.ended, dropped=0),))


def told(limits: Limits, request: CaptureRequest = REQUEST) -> tuple[int, tuple[Lost, ...]]:
    """How many packets the kernel was asked for, and what becomes of the losses that it tells."""
    kernel, heard = Kernel(), list[Packets]()
    capture = Limiter("n", limits).open(request, heard.append, kernel.open)
    kernel.deliver(Packets(lost=(BEYOND, FULL)))
    capture.end()
    return kernel.asked[0].limit, heard[0].lost


def test_what_is_within_the_limits_is_as_it_was_asked_for() -> None:
    assert told(Limits()) == (1000, (BEYOND, FULL))


def test_the_agents_own_limits_are_named_by_their_flags() -> None:
    fewer, (beyond, full) = told(Limits(packets=10))
    assert (fewer, beyond.count, full) == (10, 7, FULL)
    assert beyond.why == "the agent takes 10 packets of one capture (--max-packets)"
    fewer, (beyond, full) = told(Limits(bytes=1600))
    assert (fewer, beyond.count, full) == (20, 7, FULL)
    assert beyond.why == "the agent takes 1600 bytes of one capture, 80 for each packet (--max-bytes)"


def test_one_capture_too_many_is_refused_until_another_has_ended() -> None:
    limiter, kernel = Limiter("n", Limits(captures=2)), Kernel()
    first, _second = (limiter.open(REQUEST, lambda _: None, kernel.open) for _ in range(2))
    with pytest.raises(CommandError, match="2 captures armed and may have no more"):
        limiter.open(REQUEST, lambda _: None, kernel.open)
    first.end()
    first.end()
    limiter.open(REQUEST, lambda _: None, kernel.open)
    with pytest.raises(CommandError, match="--max-captures"):
        limiter.open(REQUEST, lambda _: None, kernel.open)
    assert len(kernel.asked) == 3


def test_a_capture_that_cannot_be_opened_takes_no_place() -> None:
    def refuse(request: CaptureRequest, deliver: Deliver) -> Kernel:
        raise ValueError("no filter")

    limiter = Limiter("n", Limits(captures=1))
    with pytest.raises(ValueError, match="no filter"):
        limiter.open(REQUEST, lambda _: None, refuse)
    assert limiter.open(REQUEST, lambda _: None, Kernel().open).end().id == "c"


def test_a_capture_that_nobody_ends_is_ended_and_says_so_once() -> None:
    kernel, heard, came = Kernel(), list[Packets](), threading.Event()

    def hear(packets: Packets) -> None:
        heard.append(packets)
        came.set()

    limiter = Limiter("n", Limits(seconds=0.01, captures=1))
    capture = limiter.open(REQUEST, hear, kernel.open)
    assert came.wait(10)
    (expired,) = heard[0].lost
    assert expired == Lost(
        node="n", where="limit", count=0, capture="c", why="the agent ends a capture after 0.01 s (--max-seconds)"
    )
    assert kernel.ended == 1
    assert limiter.open(replace(REQUEST, id="d"), lambda _: None, Kernel().open).armed.id == "c"
    assert capture.end().stats[0].received == 1
    assert (kernel.ended, len(heard)) == (1, 1)


def test_a_capture_that_ends_in_time_says_nothing() -> None:
    kernel, heard = Kernel(), list[Packets]()
    Limiter("n", Limits(seconds=0.02)).open(REQUEST, heard.append, kernel.open).end()
    time.sleep(0.1)
    assert (kernel.ended, heard) == (1, [])


def test_what_an_end_raises_reaches_who_ends_it() -> None:
    class Broken(Kernel):
        def end(self) -> CaptureEnded:
            raise OSError("gone")

    limiter = Limiter("n", Limits(captures=1))
    capture = limiter.open(REQUEST, lambda _: None, Broken().open)
    with pytest.raises(OSError, match="gone"):
        capture.end()
    assert limiter.open(REQUEST, lambda _: None, Kernel().open).end().id == "c"


def test_a_capture_that_ended_by_itself_is_wanted_until_somebody_asks_or_nobody_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limiter = Limiter("n", Limits(seconds=0.01))
    assert not limiter.wanted
    kernel, came = Kernel(), threading.Event()

    def ended(_: Packets) -> None:
        came.set()

    capture = limiter.open(REQUEST, ended, kernel.open)
    assert limiter.wanted
    assert came.wait(10)
    assert limiter.wanted
    capture.end()
    assert not limiter.wanted
    monkeypatch.setattr("pathtap.agent.limits.REMEMBERED", 0.05)
    came.clear()
    limiter.open(REQUEST, ended, kernel.open)
    assert came.wait(10)
    for _ in range(1000):
        if not limiter.wanted:
            break
        time.sleep(0.01)
    assert not limiter.wanted
    assert kernel.ended == 2


def test_who_asks_for_the_end_of_a_capture_has_heard_why_it_ended() -> None:
    """The answer to EndCapture must not overtake the loss: docs/wire.md, Order."""
    heard: list[str] = []

    class Slow(Kernel):
        def end(self) -> CaptureEnded:
            time.sleep(0.1)
            return super().end()

    begun = threading.Event()

    def hear(packets: Packets) -> None:
        begun.set()
        time.sleep(0.05)
        heard.extend(each.where for each in packets.lost)

    capture = Limiter("n", Limits(seconds=0.01)).open(REQUEST, hear, Slow().open)
    assert begun.wait(10)
    capture.end()
    assert heard == ["limit"]
