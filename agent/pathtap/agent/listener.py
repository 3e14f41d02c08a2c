"""What a capture's thread does: reads rings until it is woken, numbers packets, and keeps the account of each interface."""

import select
from collections.abc import Sequence
from itertools import groupby

from pathtap.agent.decoding import Place, decode
from pathtap.agent.delivery import Deliver, Packets
from pathtap.agent.gathering import LONGEST, Gathering
from pathtap.agent.ring import Ring, why
from pathtap.agent.rings import close_rings
from pathtap.model.packet import Lost, PacketObservation
from pathtap.model.request import CaptureEnded, CaptureRequest, CaptureStats
from pathtap.model.rows import PacketRows

# One busy interface must not keep the others waiting; and of frames that fit no row each is an object, a thousand bytes large.
BYTES_PER_READ = 1 << 20
# Packets never gather for longer than the smallest ring surely holds what comes: the bytes that a flood brings in a millisecond.
FLOOD_BYTES = 512 << 10
# A row numbers its interface with one byte.
INTERFACES_PER_ROWS = 256
# In milliseconds: the kernel's counters have 32 bits, which a flood fills in half an hour.
RECOUNT = 60_000
# In milliseconds, at the end: for a block that is not handed over, though its time is long up.
PATIENCE = 5_000


class _Account:
    """One ring's counts: packets that the filter accepted, frames read, packets the kernel had no room for (`refused`),
    and those of them that are lost for that reason alone and not for the limit (`dropped`)."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.read = 0
        self.accepted = 0
        self.refused = 0
        self.dropped = 0

    def refresh(self) -> int:
        """Takes the kernel's counters over and returns how many packets it refused since the last time."""
        statistics = self.ring.statistics()
        self.accepted += statistics.accepted
        self.refused += statistics.dropped
        return statistics.dropped

    @property
    def outstanding(self) -> int:
        return self.accepted - self.refused - self.read


class Listener:
    """Nothing of it is touched from another thread than the one that calls `run`."""

    def __init__(self, node: str, request: CaptureRequest, rings: Sequence[Ring], deliver: Deliver) -> None:
        self._node = node
        self._request = request
        self._deliver = deliver
        self._accounts = [_Account(ring) for ring in rings]
        self._sequence = 0
        self._full = False
        self._gathering = Gathering(min((ring.size.bytes // FLOOD_BYTES for ring in rings), default=LONGEST))
        # Since packets gathered last.
        self._frames = 0
        # Of each packet in a row, the number of its interface, and the rows.
        self._rows: list[tuple[int, bytes]] = []
        self._observations: list[PacketObservation] = []
        self._lost: list[Lost] = []

    def run(self, wake: int) -> CaptureEnded:
        """Until `wake` is readable; then all that the rings still hold."""
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        numbers = {account.ring.fileno(): number for number, account in enumerate(self._accounts)}
        for descriptor in numbers:
            poll.register(descriptor, select.POLLIN)
        woken = select.poll()
        woken.register(wake, select.POLLIN)
        listening = True
        ready = dict(poll.poll())
        while wake not in ready:
            for descriptor, events in ready.items():
                self._turn(numbers[descriptor], failed=bool(events & ~select.POLLIN))
            if self._full and listening:
                # From here on the kernel counts what comes, and keeps no more of it than the rings hold.
                for descriptor in numbers:
                    poll.unregister(descriptor)
                listening = False
            if not listening:
                self._recount()
            self._hand_over()
            if not self._pressed([self._accounts[numbers[descriptor]].ring for descriptor in ready]):
                woken.poll(self._gathering.milliseconds)
            ready = dict(poll.poll(None if listening else RECOUNT))
        return self._finish()

    def _pressed(self, rings: Sequence[Ring]) -> bool:
        """Whether one of those that were read may hold more than a turn took: then nothing need gather."""
        full = any(ring.taken >= _most(ring) for ring in rings)
        self._gathering.turned(self._frames, full=full)
        self._frames = 0
        return full

    def close(self) -> None:
        close_rings([account.ring for account in self._accounts])

    def _finish(self) -> CaptureEnded:
        for account in self._accounts:
            account.ring.disarm()
        for number, account in enumerate(self._accounts):
            self._drain(number, account)
        self._hand_over()
        return CaptureEnded(
            id=self._request.id,
            stats=tuple(
                CaptureStats(interface=account.ring.interface, received=account.accepted, dropped=account.dropped)
                for account in self._accounts
            ),
        )

    def _drain(self, number: int, account: _Account) -> None:
        """Reads until nothing is outstanding: the kernel hands the last block over when its time is up."""
        poll = select.poll()
        poll.register(account.ring.fileno(), select.POLLIN)
        self._turn(number, failed=True)
        while account.outstanding > 0:
            self._hand_over()
            if not poll.poll(PATIENCE):
                self._lose(number, "kernel", account.outstanding, "the kernel did not hand them over")
                account.dropped += account.outstanding
                return
            self._turn(number, failed=True)

    def _turn(self, number: int, failed: bool) -> None:
        """One turn of one ring. `failed`: the kernel may have noted an error; what the ring holds can still be read."""
        account = self._accounts[number]
        error = account.ring.error() if failed else None
        if error is not None:
            self._lose(number, "kernel", 0, f"{why(error)}: packets may be missing from here on")
        frames = account.ring.take(_most(account.ring))
        # After the blocks are taken: what is in them is in the kernel's count then.
        refused = account.refresh()
        beyond = 0
        if frames is not None:
            place = Place(
                node=self._node,
                capture=self._request.id,
                interface=account.ring.interface,
                number=number % INTERFACES_PER_ROWS,
            )
            decoded = decode(frames, place, self._sequence, self._request.limit)
            account.read += len(frames)
            self._frames += len(frames)
            account.ring.release()
            self._sequence = decoded.sequence
            if decoded.rows:
                self._rows.append((number, decoded.rows))
            self._observations += decoded.observations
            for reason, count in decoded.unparsed.items():
                self._lose(number, "parse", count, reason)
            beyond = decoded.beyond
        self._full = self._full or beyond > 0
        self._count(number, refused, beyond)

    def _recount(self) -> None:
        for number, account in enumerate(self._accounts):
            self._count(number, account.refresh(), 0)

    def _count(self, number: int, refused: int, beyond: int) -> None:
        """Packets for which the ring had no room, and packets beyond the limit, which those are too once it is reached."""
        if self._full:
            beyond += refused
        elif refused:
            self._accounts[number].dropped += refused
            self._lose(number, "kernel", refused, "the capture's ring was full")
        if beyond:
            self._lose(number, "limit", beyond, f"the capture stops at {self._request.limit} packets")

    def _lose(self, number: int, where: str, count: int, reason: str) -> None:
        self._lost.append(
            Lost(
                node=self._node,
                where=where,
                count=count,
                capture=self._request.id,
                interface=self._accounts[number].ring.interface,
                why=reason,
            )
        )

    def _hand_over(self) -> None:
        if not (self._rows or self._observations or self._lost):
            return
        rows = tuple(
            self._joined(first, [part for _, part in parts])
            for first, parts in groupby(self._rows, lambda part: part[0] - part[0] % INTERFACES_PER_ROWS)
        )
        packets = Packets(rows=rows, observations=tuple(self._observations), lost=tuple(self._lost))
        self._rows.clear()
        self._observations.clear()
        self._lost.clear()
        self._deliver(packets)

    def _joined(self, first: int, parts: Sequence[bytes]) -> PacketRows:
        """`first` is the number of the first interface that these rows may name."""
        named = self._accounts[first : first + INTERFACES_PER_ROWS]
        return PacketRows(
            node=self._node,
            capture=self._request.id,
            interfaces=tuple(account.ring.interface for account in named),
            rows=b"".join(parts),
        )


def _most(ring: Ring) -> int:
    """Blocks that one turn takes: an eighth of the ring, and no more than BYTES_PER_READ."""
    return max(1, min(BYTES_PER_READ // ring.size.block_bytes, ring.size.blocks // 8))
