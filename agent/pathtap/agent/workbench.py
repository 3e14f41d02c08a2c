"""The worker's own work: commands in, each in a thread of its own; answers and packets out. Knows no stream and no collector.

It lives until the other end of its connection is gone. When it has had nothing to do for a while it says so; the agent
then lets it go, or has just asked for something else.
"""

import logging
import select
import socket
import threading
import time

from pathtap import wire
from pathtap.agent.captures import Capture, Captures
from pathtap.agent.config import Limits
from pathtap.agent.counts import Counts, to_bytes
from pathtap.agent.delivery import Deliver, Packets
from pathtap.agent.frames import Frame, Kind, receive, send
from pathtap.agent.limits import Limiter
from pathtap.agent.performer import Node, perform
from pathtap.agent.spool import Spool
from pathtap.agent.tally import Tally
from pathtap.agent.worker import begin
from pathtap.model.packet import Lost
from pathtap.model.request import CaptureRequest, Command, Failure
from pathtap.v1 import agent_pb2 as pb

log = logging.getLogger(__name__)

# In seconds: how often it is looked whether there is still something to do.
_LOOK = 1.0


class Workbench:
    """`run` it once, in the thread that reads. `idle` is in seconds: so long without a command it says that it is idle."""

    def __init__(
        self, connection: socket.socket, node: Node, name: str, spool: Spool, idle: float, limits: Limits
    ) -> None:
        self._connection = connection
        self._node = node
        self._name = name
        self._spool = spool
        self._tally = Tally(spool)
        self._limiter = Limiter(name, limits)
        self._idle = idle
        self._captures = Captures(self._open_capture)
        self._lock = threading.Lock()
        # Answers to questions of an earlier conversation are nobody's.
        self._conversation = 0
        self._under_way = 0
        self._last = time.monotonic()
        self._said = False
        # The counts that the agent has, and whether it will be told others soon.
        self._told = Counts()
        self._telling = False

    def run(self) -> None:
        """Returns once the agent is gone, or has no more use for this worker; no capture is open then."""
        writer = threading.Thread(target=self._write, name="writer", daemon=True)
        writer.start()
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        try:
            while True:
                if not poll.poll(min(_LOOK, self._idle / 4) * 1000):
                    self._perhaps_tell()
                    self._perhaps_say_idle()
                elif (frame := receive(self._connection)) is None:
                    return
                elif frame.kind is Kind.END_CAPTURES:
                    self._end_captures(frame.body.decode())
                else:
                    self._command(frame)
        finally:
            self._captures.close()
            self._spool.close()

    def _write(self) -> None:
        told = time.monotonic()
        try:
            while (frame := self._spool.take()) is not None:
                self._telling = self._telling and frame.kind is not Kind.COUNTS
                counts = self._tally.counts()
                # Before the frame: whoever sees a capture's end, or that packets were lost, has seen it counted.
                if frame.kind is not Kind.BATCH or counts.lost != self._told.lost or time.monotonic() - told >= _LOOK:
                    send(self._connection, Frame(Kind.COUNTS, to_bytes(counts)))
                    self._told, told = counts, time.monotonic()
                if frame.kind is not Kind.COUNTS:
                    send(self._connection, frame)
        except OSError as error:
            # The reader sees that end too.
            log.debug("the agent takes nothing more: %s", error)

    def _command(self, frame: Frame) -> None:
        self._said = False
        message = pb.ConnectResponse.FromString(frame.body)
        number, token, conversation = message.command, frame.token, self._conversation
        try:
            command = wire.command_from_wire(message)
        except wire.WireError as error:
            self._spool.reply(_answer(token, wire.answer_to_wire(number, Failure(reason=str(error)))))
            return
        if isinstance(command, CaptureRequest):
            self._captures.announce(command.id)
        with self._lock:
            self._under_way += 1
        captures = self._captures
        try:
            begin(lambda: self._perform(captures, number, command, token, conversation))
        except RuntimeError as error:
            # The kernel grants no more threads (pids.max), as it may again in a moment.
            reason = f"The agent cannot begin anything at present: {error}."
            self._spool.reply(_answer(token, wire.answer_to_wire(number, Failure(reason=reason))))
            self._done()

    def _perform(self, captures: Captures, number: int, command: Command, token: int, conversation: int) -> None:
        try:
            answer = perform(self._node, captures, number, command)
            frame = _answer(token, answer)
            with self._lock:
                if conversation == self._conversation:
                    self._spool.reply(frame)
        finally:
            self._done()

    def _done(self) -> None:
        with self._lock:
            self._under_way -= 1
            self._last = time.monotonic()

    def _end_captures(self, reason: str) -> None:
        """The commands under way belong to the conversation that ended: their answers would reach others' questions."""
        with self._lock:
            self._conversation += 1
            self._spool.forget_answers()
        ended = self._captures.close()
        self._captures = Captures(self._open_capture)
        why = f"the capture was ended before its time: {reason}"
        # How many packets they would have seen is not known, hence 0.
        losses = (Lost(node=self._name, where="stream", count=0, capture=identity, why=why) for identity in ended)
        self._spool.deliver(Packets(lost=tuple(losses)))
        self._spool.reply(Frame(Kind.ENDED))

    def _perhaps_tell(self) -> None:
        """What changed behind the last frame's back: a capture that ended by itself, a spool that is empty now."""
        if not self._telling and self._tally.counts() != self._told:
            self._telling = True
            self._spool.reply(Frame(Kind.COUNTS))

    def _perhaps_say_idle(self) -> None:
        with self._lock:
            rests = not self._under_way and time.monotonic() - self._last >= self._idle
        busy = self._captures.coming or self._limiter.wanted or not self._spool.empty
        if rests and not self._said and not busy:
            self._said = True
            self._spool.reply(Frame(Kind.IDLE))

    def _open_capture(self, request: CaptureRequest) -> Capture:
        return self._limiter.open(request, self._spool.deliver, self._watched)

    def _watched(self, request: CaptureRequest, deliver: Deliver) -> Capture:
        return self._tally.watched(self._node.open_capture(request, deliver))


def _answer(token: int, answer: pb.Answer) -> Frame:
    kind = Kind.FAILURE if answer.HasField("failure") else Kind.ANSWER
    return Frame(kind, pb.ConnectRequest(answer=answer).SerializeToString(), token)
