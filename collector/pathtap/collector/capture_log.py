"""What arrived of one capture, from all nodes: rows as they came, bounded in bytes, and a count of every packet.

A packet becomes an object when somebody looks at it, and not before. Knows no wire and no agent; belongs to one event loop.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from pathtap.collector.joining.sifting import flows_in, sift
from pathtap.model.address import FiveTuple
from pathtap.model.losses import Losses
from pathtap.model.packet import Lost, PacketObservation
from pathtap.model.rows import ROW, PacketRows

# Bytes of packets that one capture may keep, of all nodes together.
MOST_BYTES = 64 << 20
# And all captures that run at once.
MOST_TOGETHER = 256 << 20
# What the objects around some rows, and one observation, take in memory: a little more than was measured on CPython 3.11.
ROWS_OVERHEAD = 512
OBSERVATION_BYTES = 1536
# And the name of an interface; of the names that come with each batch one set is kept.
NAME_BYTES = 96


@dataclass(frozen=True, slots=True)
class Position:
    """How far somebody has read in a log; a log that was cleared since is read from its begin."""

    cleared: int = 0
    rows: int = 0
    observations: int = 0


@dataclass(slots=True)
class Room:
    """Bytes that are left of those that captures share."""

    most: int = MOST_TOGETHER
    left: int = MOST_TOGETHER


class CaptureLog:
    """`changed` wakes whoever waits for packets or losses. What comes beyond `most` bytes is counted, and lost at `collector`; so
    is what comes beyond the room that the captures that run at once have `together`."""

    def __init__(self, capture: str = "", most: int = MOST_BYTES, together: Room | None = None) -> None:
        self.changed = asyncio.Event()
        self._capture = capture
        self._most = most
        self._room = most
        self._together = together or Room()
        self._rows: list[PacketRows] = []
        self._observations: list[PacketObservation] = []
        self._lost = Losses()
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._delivered: Counter[tuple[str, str]] = Counter()
        self._cleared = 0

    def take(self, rows: PacketRows) -> int:
        """Returns how many of them were too many."""
        names = self._names.get(rows.interfaces)
        price = ROWS_OVERHEAD if names is not None else ROWS_OVERHEAD + NAME_BYTES * len(rows.interfaces)
        fit = max(0, self._left - price) // ROW.size * ROW.size
        kept = replace(rows, interfaces=names or rows.interfaces, rows=rows.rows[:fit])
        self._count(kept)
        if fit < len(rows.rows):
            self._lose(replace(rows, rows=rows.rows[fit:]))
        if len(kept):
            self._rows.append(kept)
            self._names[kept.interfaces] = kept.interfaces
            self._spend(len(kept.rows) + price)
        self.changed.set()
        return len(rows) - len(kept)

    def see(self, observation: PacketObservation) -> int:
        """Returns 1 where it was one too many."""
        fits = self._left >= OBSERVATION_BYTES
        if not fits:
            self._lost.add(self._beyond(observation.node, observation.interface, 1))
        else:
            self._delivered[observation.node, observation.interface] += 1
            self._observations.append(observation)
            self._spend(OBSERVATION_BYTES)
        self.changed.set()
        return not fits

    def lose(self, lost: Lost) -> None:
        self._lost.add(lost)
        self.changed.set()

    def clear(self) -> None:
        """Forgets the packets that came until now. They stay counted: they were delivered."""
        self._rows.clear()
        self._observations.clear()
        self._names.clear()
        self.release()
        self._cleared += 1

    def release(self) -> None:
        """Leaves its room to other captures: nothing more comes of this one."""
        self._together.left += self._most - self._room
        self._room = self._most

    @property
    def lost(self) -> tuple[Lost, ...]:
        """Added up where they differ by their count alone."""
        return self._lost.all

    @property
    def delivered(self) -> Mapping[tuple[str, str], int]:
        """How many packets came, by node and interface, those that were cleared included."""
        return dict(self._delivered)

    @property
    def observations(self) -> tuple[PacketObservation, ...]:
        """Every packet as an object, of ten microseconds and a kibibyte each; of one node in the order of `sequence`."""
        return in_order(self._rows, self._observations)

    def news(self, since: Position) -> tuple[Sequence[PacketRows], Sequence[PacketObservation], Position]:
        """What came since then, and where to go on."""
        rows, observations = (since.rows, since.observations) if since.cleared == self._cleared else (0, 0)
        reached = Position(cleared=self._cleared, rows=len(self._rows), observations=len(self._observations))
        return self._rows[rows:], self._observations[observations:], reached

    def flows(self, node: str, most: int) -> tuple[tuple[FiveTuple, ...], bool]:
        """The first `most` five-tuples that the node saw, and whether that is all."""
        found, all_of_them = flows_in([rows for rows in self._rows if rows.node == node], most)
        others = (each.headers.five_tuple for each in self._observations if each.node == node)
        every = tuple(dict.fromkeys([*found, *others]))
        return every[:most], all_of_them and len(every) <= most

    def about(self, flows: Set[FiveTuple]) -> tuple[PacketObservation, ...]:
        """What tells of these flows, both ways: some packets of each at every place, and whatever fits no row."""
        return in_order(sift(self._rows, flows), self._observations)

    @property
    def _left(self) -> int:
        return min(self._room, self._together.left)

    def _spend(self, count: int) -> None:
        self._room -= count
        self._together.left -= count

    def _count(self, rows: PacketRows) -> None:
        for interface, count in _by_interface(rows):
            self._delivered[rows.node, interface] += count

    def _lose(self, rows: PacketRows) -> None:
        for interface, count in _by_interface(rows):
            self._lost.add(self._beyond(rows.node, interface, count))

    def _beyond(self, node: str, interface: str, count: int) -> Lost:
        most, kept = (self._most, "one capture")
        if self._together.left < self._room:
            most, kept = (self._together.most, "all captures at once")
        why = f"of {kept} the collector keeps {most >> 20} MiB of packets"
        return Lost(node=node, where="collector", count=count, capture=self._capture, interface=interface, why=why)


def in_order(
    chunks: Iterable[PacketRows], observations: Iterable[PacketObservation] = ()
) -> tuple[PacketObservation, ...]:
    """Node by node as they first come, each node's in the order of `sequence`, over both kinds."""
    by_node: dict[str, list[PacketObservation]] = {}
    for seen in (*(each for rows in chunks for each in rows.observations()), *observations):
        by_node.setdefault(seen.node, []).append(seen)
    return tuple(seen for of_node in by_node.values() for seen in sorted(of_node, key=lambda each: each.sequence))


def _by_interface(rows: PacketRows) -> Iterator[tuple[str, int]]:
    """How many packets each interface saw; its number is the last byte of a row."""
    numbers = rows.rows[ROW.size - 1 :: ROW.size]
    for number, interface in enumerate(rows.interfaces):
        if count := numbers.count(number):
            yield interface, count
