"""What a worker has to send: packets, losses and answers, in order and bounded in bytes. Knows no socket and no process.

Captures put packets in from their own threads and never wait; one thread takes frames out. What there is no room for is
counted, packet by packet; answers and losses always fit, there are few of them.
"""

import threading
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby
from typing import TypeAlias

from pathtap import wire
from pathtap.agent.delivery import Packets
from pathtap.agent.frames import Frame, Kind
from pathtap.model.losses import Losses
from pathtap.model.packet import Lost, PacketObservation
from pathtap.model.rows import ROW, PacketRows
from pathtap.v1 import agent_pb2 as pb

# Of packets, in one frame.
BATCH = 128 << 10
# In seconds, after a frame's first packet.
FLUSH_AFTER = 0.02
# What is held in memory beside the rows of one hand-over, and for a packet that fits no row; in bytes, rather too many.
HAND_OVER_BYTES = 256
OBSERVATION_BYTES = 1536

_Item: TypeAlias = PacketRows | PacketObservation | Frame


class Spool:
    """Safe to use from any thread. `limit` is in bytes, of packets as they are held in memory."""

    def __init__(self, node: str, limit: int) -> None:
        self._node = node
        self._limit = limit
        self._changed = threading.Condition()
        self._items: deque[_Item] = deque()
        self._bytes = 0
        self._replies = 0
        # What is to be told, and how many packets were told as lost, by stage.
        self._lost = Losses()
        # Each capture's interfaces, once: every hand-over brings a tuple of its own.
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._taken = False
        self._closed = False
        self._ever_lost: Counter[str] = Counter()

    def deliver(self, packets: Packets) -> None:
        """Keeps what there is room for, and counts the rest."""
        with self._changed:
            before = self._urgency
            for rows in packets.rows:
                self._keep_rows(rows)
            for observation in packets.observations:
                if self._bytes + OBSERVATION_BYTES <= self._limit:
                    self._keep(observation)
                else:
                    self._overflow(observation.capture, observation.interface, 1)
            for loss in packets.lost:
                self._lost.add(loss)
            if self._urgency > before:
                self._changed.notify_all()

    def reply(self, frame: Frame) -> None:
        """The frame leaves after everything that was added before it."""
        with self._changed:
            self._items.append(frame)
            self._replies += 1
            self._changed.notify_all()

    def forget_answers(self) -> None:
        """Those who asked are gone with their stream; their numbers would answer somebody else's questions."""
        with self._changed:
            self._items = deque(item for item in self._items if not (isinstance(item, Frame) and _answers(item)))
            self._replies = sum(isinstance(item, Frame) for item in self._items)

    def take(self) -> Frame | None:
        """Waits for what is due and takes it: at once where it is a whole batch or an answer, else FLUSH_AFTER seconds after
        the first packet. None once the spool is closed. What was taken before counts as sent.
        """
        with self._changed:
            self._taken = False
            self._changed.wait_for(lambda: self._closed or self._urgency > 0)
            self._changed.wait_for(lambda: self._closed or self._urgency > 1, FLUSH_AFTER)
            if self._closed:
                return None
            self._taken = True
            packets = self._leading_packets()
            if not packets and not self._lost:
                self._replies -= 1
                reply = self._items.popleft()
                assert isinstance(reply, Frame)  # noqa: S101 - the packets before it are taken
                return reply
            lost, self._lost = self._lost.all, Losses()
            for each in lost:
                self._ever_lost[each.where] += each.count
        # Outside of the lock: captures must not wait for it.
        return _batch(packets, lost)

    def counted(self) -> tuple[dict[str, int], int]:
        """How many packets were ever told as lost, by stage, and how many bytes of packets wait."""
        with self._changed:
            return dict(self._ever_lost), self._bytes

    @property
    def empty(self) -> bool:
        """Whether all that was ever added is sent."""
        with self._changed:
            return not (self._taken or self._items or self._lost)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def _urgency(self) -> int:
        """0: nothing to send; 1: what may wait for company; 2: a full batch, or somebody waits for an answer."""
        if self._replies or self._bytes >= BATCH:
            return 2
        return 1 if self._items or self._lost else 0

    def _keep(self, item: PacketRows | PacketObservation) -> None:
        self._items.append(item)
        self._bytes += _size(item)

    def _keep_rows(self, rows: PacketRows) -> None:
        """The first of them that there is room for; the others are counted by their interfaces."""
        room = max(0, (self._limit - self._bytes - HAND_OVER_BYTES) // ROW.size)
        kept, left = _cut(rows, room * ROW.size)
        if len(kept):
            self._keep(replace(kept, interfaces=self._names.setdefault(kept.interfaces, kept.interfaces)))
        # A row's last byte is its interface's number.
        numbers = left.rows[ROW.size - 1 :: ROW.size]
        for number in set(numbers):
            self._overflow(rows.capture, rows.interfaces[number], numbers.count(number))

    def _leading_packets(self) -> list[PacketRows | PacketObservation]:
        """Of at most BATCH bytes, but one at least where there is one."""
        taken: list[PacketRows | PacketObservation] = []
        room = BATCH
        while self._items and room > 0 and not isinstance(item := self._items[0], Frame):
            self._items.popleft()
            self._bytes -= _size(item)
            if isinstance(item, PacketRows):
                item, left = _cut(item, max(room, ROW.size) // ROW.size * ROW.size)
                if len(left):
                    self._items.appendleft(left)
                    self._bytes += _size(left)
            taken.append(item)
            room -= _size(item)
        return taken

    def _overflow(self, capture: str, interface: str, count: int) -> None:
        why = f"more than {self._limit} bytes of packets waited to be sent to the collector"
        self._lost.add(Lost(node=self._node, where="spool", count=count, capture=capture, interface=interface, why=why))


def _answers(frame: Frame) -> bool:
    return frame.kind in (Kind.ANSWER, Kind.FAILURE)


def _size(item: PacketRows | PacketObservation) -> int:
    return OBSERVATION_BYTES if isinstance(item, PacketObservation) else len(item.rows) + HAND_OVER_BYTES


def _cut(rows: PacketRows, size: int) -> tuple[PacketRows, PacketRows]:
    """The first `size` bytes of rows, and the others."""
    if size >= len(rows.rows):
        return rows, replace(rows, rows=b"")
    return replace(rows, rows=rows.rows[:size]), replace(rows, rows=rows.rows[size:])


def _batch(packets: Iterable[PacketRows | PacketObservation], lost: Iterable[Lost]) -> Frame:
    """Rows of one capture that follow each other become one: their capture and interfaces are named once."""
    rows: list[PacketRows] = []
    observations: list[PacketObservation] = []
    for kind, group in groupby(packets, _belonging):
        if kind is None:
            observations.extend(each for each in group if isinstance(each, PacketObservation))
            continue
        parts = [each for each in group if isinstance(each, PacketRows)]
        rows.append(parts[0] if len(parts) == 1 else replace(parts[0], rows=b"".join(each.rows for each in parts)))
    message = pb.ConnectRequest(batch=wire.batch_to_wire(observations, lost, rows))
    return Frame(Kind.BATCH, message.SerializeToString(), len(observations) + sum(map(len, rows)))


def _belonging(packet: PacketRows | PacketObservation) -> tuple[str, tuple[str, ...]] | None:
    """What packets must share to stand in one PacketRows; None for one that fits no row."""
    return None if isinstance(packet, PacketObservation) else (packet.capture, packet.interfaces)
