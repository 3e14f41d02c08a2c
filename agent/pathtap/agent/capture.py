"""One capture: a socket per interface, one thread that reads them all, and an account of every packet.

Knows no stream and no trace. What it reads goes to `deliver`, from its own thread, in batches of what one wake-up found;
`deliver` must not block. For each interface, at the end:

    received = observations delivered + Lost(kernel) + Lost(parse) + Lost(limit)
"""

import os
import select
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing
from typing import TypeAlias

from pathtap.agent.bpf import Program
from pathtap.agent.dissect import Unparsed, dissect
from pathtap.agent.filter import header_program
from pathtap.agent.packet_socket import Frame, PacketSocket, why
from pathtap.model.node import Interface, Role, Unread
from pathtap.model.packet import Direction, Lost, PacketObservation
from pathtap.model.request import CaptureArmed, CaptureEnded, CaptureRequest, CaptureStats

Deliver: TypeAlias = Callable[[Sequence[PacketObservation], Sequence[Lost]], None]

# A few thousand packets wait here while the reader is held up; the kernel charges a frame's whole buffer, not its headers.
RECEIVE_BUFFER = 8 * 1024 * 1024
# One busy interface must not keep the others waiting.
FRAMES_PER_READ = 256


def choose_interfaces(interfaces: Sequence[Interface], request: CaptureRequest) -> tuple[str, ...]:
    """Every ENI that is up, and the veths of the request's pods: one that is down is opened too, and said to be down."""
    pods = set(request.pods)
    return tuple(
        interface.name
        for interface in interfaces
        if (interface.role.is_eni and interface.up)
        or (interface.role is Role.POD_VETH and not pods.isdisjoint(interface.pod_addresses))
    )


def open_capture(
    node: str,
    request: CaptureRequest,
    interfaces: Sequence[str],
    deliver: Deliver,
    receive_buffer: int = RECEIVE_BUFFER,
) -> "Capture":
    """Opens, arms and starts to read, in the calling thread's network namespace.

    An interface that cannot be opened is in `armed.unread`, its part named `capture (eth1)`. Raises FilterError.
    """
    program = header_program(request)
    sockets: list[PacketSocket] = []
    unread: list[Unread] = []
    with ExitStack() as on_failure:
        for name in interfaces:
            try:
                sockets.append(on_failure.enter_context(closing(PacketSocket(name, receive_buffer))))
            except OSError as error:
                unread.append(_unread(name, error))
        # All are open before the first is armed, so that they begin to hear as nearly together as can be.
        armed = [tap for tap in sockets if _armed(tap, program, unread)]
        capture = Capture(node, request, armed, unread, deliver)
        on_failure.pop_all()
    return capture


class Capture:
    """A running capture; `end` it once, whatever happens, or its sockets stay open."""

    def __init__(
        self,
        node: str,
        request: CaptureRequest,
        sockets: Sequence[PacketSocket],
        unread: Sequence[Unread],
        deliver: Deliver,
    ) -> None:
        self.armed = CaptureArmed(
            id=request.id, interfaces=tuple(tap.interface for tap in sockets), unread=tuple(unread)
        )
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._reader = _Reader(node, request, sockets, deliver)
        self._ended: Future[CaptureEnded] = Future()
        self._thread = threading.Thread(target=self._run, name=f"capture {request.id}", daemon=True)
        try:
            self._thread.start()
        except BaseException:
            os.close(self._wake)
            raise

    def end(self) -> CaptureEnded:
        """Delivers what the sockets still hold, closes them, then returns. Raises what `deliver` raised, if it did."""
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        os.close(self._wake)
        return self._ended.result()

    def _run(self) -> None:
        try:
            try:
                ended = self._reader.run(self._wake)
            finally:
                self._reader.close()
        except BaseException as error:  # noqa: BLE001 - raised again by `end`
            self._ended.set_exception(error)
        else:
            self._ended.set_result(ended)


class _Account:
    """One socket's counts: packets that the filter accepted, frames read, packets the kernel had no room for (`refused`),
    and those of them that are lost for that reason alone and not for the limit (`dropped`)."""

    def __init__(self, tap: PacketSocket) -> None:
        self.tap = tap
        self.read = 0
        self.accepted = 0
        self.refused = 0
        self.dropped = 0

    def refresh(self) -> int:
        """Takes the kernel's counters over and returns how many packets it refused since the last time."""
        statistics = self.tap.statistics()
        self.accepted += statistics.accepted
        self.refused += statistics.dropped
        return statistics.dropped

    @property
    def outstanding(self) -> int:
        return self.accepted - self.refused - self.read


class _Reader:
    """What the capture's thread does. Nothing of it is touched from another thread."""

    def __init__(self, node: str, request: CaptureRequest, sockets: Sequence[PacketSocket], deliver: Deliver) -> None:
        self._node = node
        self._request = request
        self._deliver = deliver
        self._accounts = {tap.fileno(): _Account(tap) for tap in sockets}
        self._sequence = 0
        self._full = False
        self._observations: list[PacketObservation] = []
        self._lost: list[Lost] = []

    def run(self, wake: int) -> CaptureEnded:
        retired = False
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        for descriptor in self._accounts:
            poll.register(descriptor, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll()}
        while wake not in ready:
            for descriptor in ready:
                self._read(self._accounts[descriptor])
            self._hand_over()
            if self._full and not retired:
                retired = self._retire(poll)
            ready = {descriptor for descriptor, _ in poll.poll()}
        return self._finish()

    def _retire(self, poll: select.poll) -> bool:
        """At the limit: from here on the kernel counts what comes and keeps next to nothing of it."""
        for descriptor, account in self._accounts.items():
            poll.unregister(descriptor)
            account.tap.resize(0)
        return True

    def close(self) -> None:
        for account in self._accounts.values():
            account.tap.close()

    def _finish(self) -> CaptureEnded:
        for account in self._accounts.values():
            account.tap.disarm()
        for account in self._accounts.values():
            # A packet that another processor is just queueing is counted a moment before it can be read.
            while self._read(account) or account.outstanding > 0:
                self._hand_over()
        self._hand_over()
        return CaptureEnded(
            id=self._request.id,
            stats=tuple(
                CaptureStats(interface=account.tap.interface, received=account.accepted, dropped=account.dropped)
                for account in self._accounts.values()
            ),
        )

    def _read(self, account: _Account) -> int:
        """One turn of one socket: how many frames it held."""
        try:
            frames = account.tap.read(FRAMES_PER_READ)
        except OSError as error:
            # What it holds besides can still be read: the account is refreshed all the same.
            self._lose(account, "kernel", 0, f"{why(error)}: packets may be missing from here on")
            frames = []
        account.read += len(frames)
        beyond = self._sort(account, frames)
        dropped = account.refresh()
        if self._full:
            beyond += dropped
        elif dropped:
            account.dropped += dropped
            self._lose(account, "kernel", dropped, "the socket's buffer was full")
        if beyond:
            self._lose(account, "limit", beyond, f"the capture stops at {self._request.limit} packets")
        return len(frames)

    def _sort(self, account: _Account, frames: Sequence[Frame]) -> int:
        """Each frame becomes an observation or is counted as unparsed; returns how many the limit left over."""
        unparsed: dict[str, int] = {}
        beyond = 0
        for frame in frames:
            if self._sequence >= self._request.limit:
                beyond += 1
                continue
            headers = dissect(frame.data, frame.vlan)
            if isinstance(headers, Unparsed):
                unparsed[headers.reason] = unparsed.get(headers.reason, 0) + 1
                continue
            self._sequence += 1
            self._observations.append(
                PacketObservation(
                    node=self._node,
                    sequence=self._sequence,
                    capture=self._request.id,
                    captured_at=frame.captured_at,
                    interface=account.tap.interface,
                    direction=Direction.OUT if frame.outgoing else Direction.IN,
                    headers=headers,
                    for_another=frame.for_another,
                )
            )
        for reason, count in unparsed.items():
            self._lose(account, "parse", count, reason)
        self._full = self._full or beyond > 0
        return beyond

    def _lose(self, account: _Account, where: str, count: int, reason: str) -> None:
        self._lost.append(
            Lost(
                node=self._node,
                where=where,
                count=count,
                capture=self._request.id,
                interface=account.tap.interface,
                why=reason,
            )
        )

    def _hand_over(self) -> None:
        if self._observations or self._lost:
            self._deliver(tuple(self._observations), tuple(self._lost))
            self._observations.clear()
            self._lost.clear()


def _armed(tap: PacketSocket, program: Program, unread: list[Unread]) -> bool:
    try:
        tap.arm(program)
    except OSError as error:
        tap.close()
        unread.append(_unread(tap.interface, error))
        return False
    return True


def _unread(interface: str, error: OSError) -> Unread:
    return Unread(part=f"capture ({interface})", reason=f"{interface} is not captured: {why(error)}.")
