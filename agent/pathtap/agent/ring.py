"""One memory-mapped AF_PACKET ring on one interface (TPACKET_V2): opened deaf, then armed. Knows frames, no headers.

Every frame has a slot of its own, and a word in it says whose it is: the kernel's, to write, or the reader's. The kernel goes
round them in order, wakes whoever polls at once, and keeps no timer (docs/decisions/0009-a-ring-without-a-timer.md).
Layouts: linux/if_packet.h; behaviour: net/packet/af_packet.c. One thread at a time uses a ring.
"""

import ctypes
import errno
import mmap
import os
import socket
import struct
from dataclasses import dataclass

import numpy as np

from pathtap.agent.bpf import NOTHING, Program, encode
from pathtap.agent.captured import FRAME_BYTES, NO_VLAN, Column, Frames

# asm-generic/socket.h, linux/if_packet.h, linux/if_ether.h: names that Python's socket module lacks.
SO_ATTACH_FILTER = 26
SOL_PACKET, PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION = 263, 5, 6, 10
TPACKET_V2 = 1
ETH_P_ALL = 0x0003
# Other bits may stand beside TP_STATUS_USER.
TP_STATUS_KERNEL, TP_STATUS_USER, TP_STATUS_VLAN_VALID = 0, 1, 1 << 4

# struct tpacket2_hdr, 32 bytes, and the packet type in the struct sockaddr_ll behind it.
HEADER = np.dtype(
    {
        "names": ["status", "captured", "mac", "seconds", "nanoseconds", "vlan", "kind"],
        "formats": ["<u4", "<u4", "<u2", "<u4", "<u4", "<u2", "u1"],
        "offsets": [0, 8, 12, 16, 20, 24, 42],
        "itemsize": 52,
    }
)
# An Ethernet frame begins at byte 66 (tpacket_rcv): the IP header behind it is aligned to 16. One with a tag begins before that.
SLOT = 66 + FRAME_BYTES
# What the kernel allocates in one piece.
BLOCK_BYTES = 1 << 16
# So many slots are looked at first; while all of them are the reader's, four times as many.
FIRST_LOOK = 32
NONE: Column = np.zeros(0, np.int64)

WHY = {
    errno.EPERM: "opening a packet socket needs CAP_NET_RAW",
    errno.ENODEV: "the interface is gone",
    errno.ENETDOWN: "the interface is down",
    errno.ENOMEM: "the kernel has no memory for the capture: for its ring, or, where net.core.optmem_max is low, for its filter",
}


def why(error: OSError) -> str:
    """What an error of a packet socket means, as a sentence without its full stop."""
    return WHY.get(error.errno or 0, os.strerror(error.errno) if error.errno else str(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class RingSize:
    """`slots` is a power of two, and so many fill whole pages."""

    slots: int

    @property
    def bytes(self) -> int:
        return self.slots * SLOT


@dataclass(frozen=True, slots=True)
class Statistics:
    """Since the last reading: packets that the filter accepted, and those of them that found no room."""

    accepted: int
    dropped: int


class Ring:
    """Hears nothing until `arm`, and never a frame that came before it.

    The socket is made with protocol 0, for which the kernel calls no hook; it is bound to all protocols only once a filter that
    accepts nothing and the ring are in place. Raises OSError.
    """

    def __init__(self, interface: str, size: RingSize) -> None:
        self.interface = interface
        self.size = size
        # How many frames were taken last.
        self.taken = 0
        self._next = 0
        self._held = NONE
        # Not scapy's: it asks for SO_TIMESTAMPNS, for which the kernel stamps every packet of every namespace from then on.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            self._prepare()
        except BaseException:
            self._socket.close()
            raise

    def _prepare(self) -> None:
        size = self.size
        self._attach(NOTHING)
        self._socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
        # struct tpacket_req.
        block = max(mmap.PAGESIZE, min(BLOCK_BYTES, size.bytes))
        _set_waiting(self._socket, PACKET_RX_RING, struct.pack("=4I", block, size.bytes // block, SLOT, size.slots))
        memory = mmap.mmap(self._socket.fileno(), size.bytes, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        # The mapping goes with the last of these that looks into it.
        self._memory = np.frombuffer(memory, np.uint8)
        self._status: Column = np.ndarray((size.slots,), "<u4", self._memory.data, 0, (SLOT,))
        self._socket.bind((self.interface, ETH_P_ALL))
        # bind(2) succeeds on an interface that is down; the socket's error says so.
        error = self.error()
        if error is not None:
            raise error
        # Nothing can be here; were it otherwise, it would be no packet of this capture.
        while self.take(size.slots) is not None:
            self.release()
        self.statistics()

    def arm(self, program: Program) -> None:
        self._attach(program)

    def disarm(self) -> None:
        """From here on nothing new enters; what the ring holds can still be read."""
        self._attach(NOTHING)

    def fileno(self) -> int:
        """To poll: readable while the slot that the kernel gave out last is not released."""
        return self._socket.fileno()

    def take(self, most: int) -> Frames | None:
        """At most so many of the frames that wait, in the order in which they came; None where there is none.

        They lie in the ring, and are valid until `release`. Processors write at once: behind a slot that is still being written
        others may be ready, and wait for it. A slot's status is read before what it covers; in between the interpreter does
        more than any processor, also one of weak ordering, holds in flight.
        """
        self._held = waiting(self._status, self._next, most)
        self.taken = len(self._held)
        return framed(self._memory, self._held) if self.taken else None

    def release(self) -> None:
        """Gives the slots that were taken back to the kernel."""
        self._status[self._held] = TP_STATUS_KERNEL
        self._next = (self._next + len(self._held)) & (self.size.slots - 1)
        self._held = NONE

    def statistics(self) -> Statistics:
        """PACKET_STATISTICS (struct tpacket_stats); the kernel starts all counters anew at each reading."""
        accepted, dropped = struct.unpack("=II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        return Statistics(accepted=accepted, dropped=dropped)

    def error(self) -> OSError | None:
        """What the kernel noted since the last time, such as ENETDOWN, told once."""
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return OSError(number, os.strerror(number)) if number else None

    def close(self) -> None:
        """Nothing that `take` returned may be read any more."""
        self._memory, self._status = np.zeros(0, np.uint8), np.zeros(0, np.uint32)
        self._socket.close()

    def _attach(self, program: Program) -> None:
        instructions = ctypes.create_string_buffer(encode(program))
        # struct sock_fprog of linux/filter.h.
        described = struct.pack("@HP", len(program), ctypes.addressof(instructions))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)


def _set_waiting(packet_socket: socket.socket, option: int, value: bytes) -> None:
    """setsockopt(2) that lets other threads run meanwhile: Python's own holds the interpreter while the kernel waits."""
    setting = ctypes.CDLL(None, use_errno=True).setsockopt
    if setting(packet_socket.fileno(), SOL_PACKET, option, value, len(value)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def waiting(status: Column, first: int, most: int) -> Column:
    """Of a ring's slots, a power of two, those from `first` on that are the reader's: up to one that is not, and at most `most`.

    `status` is each slot's word.
    """
    around, found, look = len(status) - 1, 0, FIRST_LOOK
    most = min(most, len(status))
    while found < most:
        slots = (first + np.arange(found, min(found + look, most))) & around
        mine = status[slots] & TP_STATUS_USER != 0
        if not mine.all():
            found += int(mine.argmin())
            break
        found, look = found + len(slots), 4 * look
    return (first + np.arange(found)) & around


def framed(memory: Column, slots: Column) -> Frames:
    """The frames in these slots of a ring."""
    everywhere: Column = np.ndarray((len(memory) // SLOT,), f"V{HEADER.itemsize}", memory.data, 0, (SLOT,))
    header: Column = everywhere[slots].view(HEADER)
    tagged = header["status"] & TP_STATUS_VLAN_VALID != 0
    vlan = np.full(len(slots), NO_VLAN, np.int32)
    if tagged.any():
        vlan[tagged] = header["vlan"][tagged] & 0x0FFF
    return Frames(
        memory=memory,
        start=slots * SLOT + header["mac"],
        room=header["captured"].astype(np.int64),
        captured_at=header["seconds"].astype(np.uint64) * 1_000_000_000 + header["nanoseconds"],
        kind=header["kind"],
        vlan=vlan,
    )
