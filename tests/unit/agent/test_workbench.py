"""A worker over its pair of sockets: what it says of its captures and counts, in which order, and when it leaves."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from agent_stage import HERE, NODE, SmallCapture, SmallNode

from pathtap import wire
from pathtap.agent.config import Limits
from pathtap.agent.counts import Counts, from_bytes
from pathtap.agent.delivery import Deliver, Packets
from pathtap.agent.frames import Frame, Kind, receive, send
from pathtap.agent.spool import Spool
from pathtap.agent.workbench import Workbench
from pathtap.model.packet import Lost
from pathtap.model.request import (
    Answer,
    CaptureArmed,
    CaptureEnded,
    CaptureRequest,
    CaptureStats,
    Command,
    EndCapture,
    Failure,
)
from pathtap.v1 import agent_pb2 as pb

CAPTURE = CaptureRequest(id="a", protocol=0, near=(HERE,), limit=10)


class CountedCapture(SmallCapture):
    """Sees 10 packets on arming and 10 at its end, and 3 that the kernel dropped: 23 that its filter accepted."""

    def end(self) -> CaptureEnded:
        stats = (CaptureStats(interface="eth0", received=23, dropped=3),)
        return replace(super().end(), stats=stats)


class CountingNode(SmallNode):
    def open_capture(self, request: CaptureRequest, deliver: Deliver) -> CountedCapture:
        return CountedCapture(request, deliver, self.ended.append)


class Talk:
    """The agent's end of the connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.frames: list[Frame] = []
        self._asked = 0

    def ask(self, command: Command) -> Answer:
        self._asked += 1
        body = wire.command_to_wire(self._asked, command).SerializeToString()
        send(self.connection, Frame(Kind.COMMAND, body, self._asked))
        while (frame := self.take()).kind not in (Kind.ANSWER, Kind.FAILURE):
            pass
        return wire.answer_from_wire(pb.ConnectRequest.FromString(frame.body).answer, NODE)

    def take(self) -> Frame:
        frame = receive(self.connection)
        assert frame is not None
        self.frames.append(frame)
        return frame

    def until(self, kind: Kind) -> Frame:
        while (frame := self.take()).kind is not kind:
            pass
        return frame

    @property
    def counts(self) -> Counts:
        """The last that were told."""
        return from_bytes(next(each.body for each in reversed(self.frames) if each.kind is Kind.COUNTS))

    def lost(self) -> list[tuple[str, str]]:
        return [(loss.where, loss.why) for loss in self.told_lost()]

    def losses(self, where: str) -> list[int]:
        return [loss.count for loss in self.told_lost() if loss.where == where]

    def told_lost(self) -> list[pb.Lost]:
        batches = [pb.ConnectRequest.FromString(each.body).batch for each in self.frames if each.kind is Kind.BATCH]
        return [loss for batch in batches for loss in batch.lost]


@contextmanager
def bench(node: SmallNode, idle: float = 60.0, **limits: float) -> Iterator[Talk]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(10)
        work = Workbench(theirs, node, NODE, Spool(NODE, 1 << 20), idle, Limits(**limits))  # type: ignore[arg-type]
        thread = threading.Thread(target=work.run)
        thread.start()
        try:
            yield Talk(ours)
        finally:
            ours.shutdown(socket.SHUT_RDWR)
            thread.join(10)
    assert not thread.is_alive()


def test_whoever_takes_the_end_of_a_capture_has_all_that_was_counted() -> None:
    with bench(CountingNode()) as talk:
        assert isinstance(talk.ask(CAPTURE), CaptureArmed)
        assert talk.counts.captures == 1
        assert isinstance(talk.ask(EndCapture(id="a")), CaptureEnded)
        assert talk.counts == Counts(accepted=23, lost={"kernel": 3})


class LosingCapture(CountedCapture):
    """Loses packets while it runs, twice."""

    def __init__(self, request: CaptureRequest, deliver: Deliver, ended: Callable[[str], None]) -> None:
        super().__init__(request, deliver, ended)
        self._again = threading.Thread(target=self._lose, args=(deliver,))
        self._again.start()

    def _lose(self, deliver: Deliver) -> None:
        for count in (5, 6):
            time.sleep(0.15)
            deliver(Packets(lost=(Lost(node=NODE, where="kernel", count=count, capture="a", interface="eth0"),)))

    def end(self) -> CaptureEnded:
        self._again.join()
        return super().end()


class LosingNode(SmallNode):
    def open_capture(self, request: CaptureRequest, deliver: Deliver) -> LosingCapture:
        return LosingCapture(request, deliver, self.ended.append)


def test_losses_are_counted_before_they_are_told() -> None:
    """A worker that is killed afterwards has told all of them: metrics and trace agree."""
    with bench(LosingNode()) as talk:
        talk.ask(CAPTURE)
        while len(talk.lost()) < 2:
            talk.until(Kind.BATCH)
            assert talk.counts.lost.get("kernel", 0) == sum(talk.losses("kernel"))
        assert talk.counts.lost["kernel"] == 11


def test_captures_that_their_stream_outlived_are_lost_by_their_names() -> None:
    node = CountingNode()
    with bench(node) as talk:
        for identity in ("a", "b"):
            talk.ask(replace(CAPTURE, id=identity))
        send(talk.connection, Frame(Kind.END_CAPTURES, b"the collector went away"))
        talk.until(Kind.ENDED)
        assert sorted(node.ended) == ["a", "b"]
        why = "the capture was ended before its time: the collector went away"
        told = [loss for loss in talk.told_lost() if loss.where == "stream"]
        assert [(loss.capture, loss.count, loss.why) for loss in told] == [("a", 0, why), ("b", 0, why)]
        assert talk.counts == Counts(accepted=46, lost={"kernel": 6, "stream": 0})


def test_a_capture_that_the_agent_ends_is_counted_then_and_not_when_somebody_asks() -> None:
    node = CountingNode()
    with bench(node, seconds=0.05) as talk:
        talk.ask(CAPTURE)
        while not node.ended or talk.counts.captures:
            talk.until(Kind.COUNTS)
        assert talk.counts.accepted == 23
        # Nothing that it counted is missing from the last word, though nobody asked for anything.
        assert talk.counts == Counts(accepted=23, lost={"kernel": 3, "limit": 0})
        while not any(where == "limit" for where, _ in talk.lost()):
            talk.until(Kind.BATCH)
        assert ("limit", "the agent ends a capture after 0.05 s (--max-seconds)") in talk.lost()
        ended = talk.ask(EndCapture(id="a"))
        assert isinstance(ended, CaptureEnded)
        assert ended.stats[0].received == 23
        assert talk.counts.accepted == 23


def test_a_worker_whose_capture_ended_by_itself_stays_for_who_may_still_ask() -> None:
    with bench(CountingNode(), idle=0.1, seconds=0.05) as talk:
        talk.ask(CAPTURE)
        time.sleep(0.5)
        assert isinstance(talk.ask(EndCapture(id="a")), CaptureEnded)
        talk.until(Kind.IDLE)


def test_a_capture_too_many_is_refused_and_one_that_has_ended_makes_room() -> None:
    with bench(CountingNode(), captures=1) as talk:
        talk.ask(CAPTURE)
        refusal = talk.ask(replace(CAPTURE, id="b"))
        assert refusal == Failure(
            reason="The agent has 1 captures armed and may have no more (--max-captures): try again later."
        )
        talk.ask(EndCapture(id="a"))
        assert isinstance(talk.ask(replace(CAPTURE, id="b")), CaptureArmed)
        talk.ask(EndCapture(id="b"))
        assert talk.counts == Counts(accepted=46, lost={"kernel": 6})
