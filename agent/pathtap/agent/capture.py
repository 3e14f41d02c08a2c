"""One capture: a ring per interface, one thread that reads them all, and an account of every packet.

Knows no stream and no trace. What it reads goes to `deliver`, from its own thread, in batches of what one wake-up found;
`deliver` must not block. For each interface, at the end:

    received = packets delivered + Lost(kernel) + Lost(parse) + Lost(limit)
"""

import mmap
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack

from pathtap.agent.bpf import Program
from pathtap.agent.delivery import Deliver
from pathtap.agent.filter import header_program
from pathtap.agent.listener import Listener
from pathtap.agent.ring import Ring, RingSize, why
from pathtap.agent.rings import close_rings, open_rings
from pathtap.model.node import Interface, Role, Unread
from pathtap.model.request import CaptureArmed, CaptureEnded, CaptureRequest

# All rings of one capture, at most.
RINGS_BYTES = 32 << 20
# A block is handed over when its time is up, however little is in it: so many that the reader may be held up for a while.
BLOCKS, FEWEST_BLOCKS = 256, 8
# In milliseconds: what a packet of a quiet flow waits at most, twice that where it comes as a block's time ends. The kernel's
# timer fires that often for each ring though nothing comes: docs/decisions/0009-a-long-block-time-out.md.
RETIRE = 60


def ring_size(rings: int) -> RingSize:
    """What each of so many rings may take: a power of two, so that blocks are whole pages of one size."""
    share = RINGS_BYTES // max(1, rings)
    share = max(1 << (share.bit_length() - 1), FEWEST_BLOCKS * mmap.PAGESIZE)
    block_bytes = max(share // BLOCKS, mmap.PAGESIZE)
    return RingSize(blocks=share // block_bytes, block_bytes=block_bytes, retire=RETIRE)


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
    node: str, request: CaptureRequest, interfaces: Sequence[str], deliver: Deliver, size: RingSize | None = None
) -> "Capture":
    """Opens, arms and starts to read, in the calling thread's network namespace. `size` is each ring's.

    An interface that cannot be opened is in `armed.unread`, its part named `capture (eth1)`. Raises FilterError.
    """
    program = header_program(request)
    opened = open_rings(interfaces, size or ring_size(len(interfaces)))
    rings = [each for each in opened if isinstance(each, Ring)]
    unread = {
        name: _unread(name, each) for name, each in zip(interfaces, opened, strict=True) if isinstance(each, OSError)
    }
    with ExitStack() as on_failure:
        on_failure.callback(close_rings, rings)
        # All are open before the first is armed, so that they begin to hear as nearly together as can be.
        refused = {ring.interface: error for ring in rings if (error := _armed(ring, program)) is not None}
        unread |= {name: _unread(name, error) for name, error in refused.items()}
        close_rings([ring for ring in rings if ring.interface in refused])
        armed = [ring for ring in rings if ring.interface not in refused]
        capture = Capture(node, request, armed, [unread[name] for name in interfaces if name in unread], deliver)
        on_failure.pop_all()
    return capture


class Capture:
    """A running capture; `end` it once, whatever happens, or its sockets stay open."""

    def __init__(
        self,
        node: str,
        request: CaptureRequest,
        rings: Sequence[Ring],
        unread: Sequence[Unread],
        deliver: Deliver,
    ) -> None:
        self.armed = CaptureArmed(
            id=request.id, interfaces=tuple(ring.interface for ring in rings), unread=tuple(unread)
        )
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._listener = Listener(node, request, rings, deliver)
        self._ended: Future[CaptureEnded] = Future()
        self._thread = threading.Thread(target=self._run, name=f"capture {request.id}", daemon=True)
        try:
            self._thread.start()
        except BaseException:
            os.close(self._wake)
            raise

    def end(self) -> CaptureEnded:
        """Delivers what the rings still hold, closes them, then returns. Raises what `deliver` raised, if it did."""
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        os.close(self._wake)
        return self._ended.result()

    def _run(self) -> None:
        try:
            try:
                ended = self._listener.run(self._wake)
            finally:
                self._listener.close()
        except BaseException as error:  # noqa: BLE001 - raised again by `end`
            self._ended.set_exception(error)
        else:
            self._ended.set_result(ended)


def _armed(ring: Ring, program: Program) -> OSError | None:
    """Why it cannot be armed."""
    try:
        ring.arm(program)
    except OSError as error:
        return error
    return None


def _unread(interface: str, error: OSError) -> Unread:
    return Unread(part=f"capture ({interface})", reason=f"{interface} is not captured: {why(error)}.")
