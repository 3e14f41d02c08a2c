"""Waits for real traffic that answers a question: looks at each packet once, at most of them by the bytes of their rows alone.

Belongs to one log and one question. Knows no clock.
"""

from collections.abc import Iterator

from pathtap.collector.capture_log import CaptureLog, Position
from pathtap.collector.cluster.resolve import Question
from pathtap.collector.joining.sifting import Key, key_of, layout, one
from pathtap.collector.plan import live_flow
from pathtap.model.address import FiveTuple
from pathtap.model.packet import PacketObservation, TcpFlag
from pathtap.model.rows import ICMP_LAYER, TCP_LAYER, Mark, PacketRows

_PACKET = layout(
    ("source", "destination"),
    ("source_port", "source_port"),
    ("destination_port", "destination_port"),
    ("marks", "marks"),
    ("tcp_flags", "tcp_flags"),
    ("layer", "layer"),
)
_FLOW = layout(("source", "destination_port"), ("protocol", "protocol"))
OPENING = TcpFlag.SYN | TcpFlag.ACK
# Of packets that may tell no ports.
PORTLESS = Mark.FRAGMENT | Mark.TRUNCATED


class LiveTraffic:
    """`look` at the log whenever it changed."""

    def __init__(self, question: Question, log: CaptureLog) -> None:
        self._question = question
        self._log = log
        self._read = Position()
        self._read_for_answer = Position()
        self._under_way: FiveTuple | None = None
        self._opened: FiveTuple | None = None
        self._asked: FiveTuple | None = None
        self._answered = False

    @property
    def flow(self) -> FiveTuple | None:
        """A flow that was seen to begin, else one that was under way already."""
        return self._opened or self._under_way

    @property
    def opened(self) -> bool:
        return self._opened is not None

    def look(self) -> None:
        if self._opened is not None:
            return
        rows, observations, self._read = self._log.news(self._read)
        for each in (*observations, *(seen for chunk in rows for seen in self._candidates(chunk))):
            self._under_way = self._under_way or live_flow(self._question, [each], opening=False)
            self._opened = self._opened or live_flow(self._question, [each], opening=True)

    def answered(self) -> bool:
        """Whether an answer has come back to the source's node; also where there is no flow to be answered."""
        self.look()
        if self.flow is None:
            return True
        if self.flow != self._asked:
            self._asked, self._answered, self._read_for_answer = self.flow, False, Position()
        if not self._answered:
            rows, observations, self._read_for_answer = self._log.news(self._read_for_answer)
            back, node = self.flow.reversed, self._question.source.node
            self._answered = any(_holds(chunk, key_of(back)) for chunk in rows if chunk.node == (node or chunk.node))
            self._answered |= any(
                each.headers.five_tuple == back and each.node == (node or each.node) for each in observations
            )
        return self._answered

    def _candidates(self, chunk: PacketRows) -> Iterator[PacketObservation]:
        """The first packet of this chunk from the one end to the other, and the first that can begin a flow."""
        source, destination = self._question.source, self._question.destination
        ends = source.socket.address.packed.ljust(16, b"\0") + destination.socket.address.packed.ljust(16, b"\0")
        # Most chunks of a busy node have none: a search through all of their bytes at once tells.
        if chunk.node != (source.node or chunk.node) or ends not in chunk.rows:
            return
        known = False
        for number, (seen, from_port, to_port, marks, flags, layer) in enumerate(_PACKET.iter_unpack(chunk.rows)):
            if seen != ends or destination.socket.port not in (0, to_port):
                continue
            if not from_port and (layer == ICMP_LAYER or marks & PORTLESS):
                continue
            opens = layer != TCP_LAYER or flags & OPENING == TcpFlag.SYN
            if opens or not known:
                known = True
                yield from one(chunk, number).observations()
            if opens:
                return


def _holds(chunk: PacketRows, key: Key) -> bool:
    return key[0] in chunk.rows and key in _FLOW.iter_unpack(chunk.rows)
