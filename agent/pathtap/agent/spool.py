"""What waits to be sent: observations, losses and answers, in order and bounded. Knows no stream and no event loop.

Captures put observations in from their own threads, the stream takes parcels out. When it is full, the newest
observations are counted instead of kept; answers and losses always fit, there are few of them.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TypeAlias

from pathtap.model.packet import Lost, PacketObservation
from pathtap.v1 import agent_pb2 as pb

BATCH = 256
# Of about 1 KiB each in memory: 64 MiB at most, and nothing while no trace runs.
LIMIT = 65_536


@dataclass(frozen=True, slots=True)
class Packets:
    """At most BATCH observations in the order in which they came, and what was lost until then."""

    observations: tuple[PacketObservation, ...]
    lost: tuple[Lost, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a command, as it will be sent: whoever made it found out in its own thread whether it can be."""

    answer: pb.Answer


Parcel: TypeAlias = Packets | Reply


class Pending(Enum):
    """NOTHING to send; SOME that may wait for company; DUE at once: a full batch, or somebody waits for an answer."""

    NOTHING = auto()
    SOME = auto()
    DUE = auto()


class Spool:
    """Safe to use from any thread. `wake` is called, from the thread that adds, whenever `pending` rises."""

    def __init__(self, node: str, wake: Callable[[], object], limit: int = LIMIT) -> None:
        self._node = node
        self._wake = wake
        self._limit = limit
        self._lock = threading.Lock()
        self._items: deque[PacketObservation | Reply] = deque()
        self._replies = 0
        self._lost: dict[Lost, int] = {}

    def deliver(self, observations: Sequence[PacketObservation], lost: Sequence[Lost] = ()) -> None:
        """Keeps the observations that there is room for. Losses that differ by their count alone become one."""
        with self._lock:
            before = self._pending()
            room = max(0, self._limit - len(self._items) + self._replies)
            self._items.extend(observations[:room])
            for observation in observations[room:]:
                self._count(self._overflow(observation), 1)
            for loss in lost:
                self._count(loss, loss.count)
            risen = self._pending() is not before
        if risen:
            self._wake()

    def reply(self, answer: pb.Answer) -> None:
        """The answer leaves after everything that was added before it."""
        with self._lock:
            self._items.append(Reply(answer))
            self._replies += 1
        self._wake()

    def forget_replies(self) -> None:
        """Those who asked are gone with their stream; their numbers would answer somebody else's questions."""
        with self._lock:
            self._items = deque(item for item in self._items if not isinstance(item, Reply))
            self._replies = 0

    def pending(self) -> Pending:
        with self._lock:
            return self._pending()

    def take(self) -> Parcel | None:
        """The next parcel, None where there is nothing."""
        with self._lock:
            observations = tuple(self._leading_observations())
            if observations or self._lost:
                lost, self._lost = self._lost, {}
                return Packets(observations, tuple(replace(kind, count=count) for kind, count in lost.items()))
            if not self._items:
                return None
            self._replies -= 1
            reply = self._items.popleft()
            assert isinstance(reply, Reply)  # noqa: S101 - the observations before it are taken
            return reply

    def _leading_observations(self) -> list[PacketObservation]:
        taken: list[PacketObservation] = []
        while self._items and len(taken) < BATCH and isinstance(item := self._items[0], PacketObservation):
            taken.append(item)
            self._items.popleft()
        return taken

    def _pending(self) -> Pending:
        if self._replies or len(self._items) >= BATCH:
            return Pending.DUE
        return Pending.SOME if self._items or self._lost else Pending.NOTHING

    def _count(self, kind: Lost, count: int) -> None:
        key = replace(kind, count=0)
        self._lost[key] = self._lost.get(key, 0) + count

    def _overflow(self, observation: PacketObservation) -> Lost:
        return Lost(
            node=self._node,
            where="spool",
            count=0,
            capture=observation.capture,
            interface=observation.interface,
            why=f"more than {self._limit} packets waited to be sent to the collector",
        )
