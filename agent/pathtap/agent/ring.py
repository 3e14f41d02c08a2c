"""One memory-mapped AF_PACKET ring on one interface (TPACKET_V3): opened deaf, then armed. Knows frames, no headers.

The kernel writes frames one behind the other into a block, and hands the block over once it is full, or once it has been open
for its time and holds any. Layouts: linux/if_packet.h; behaviour: net/packet/af_packet.c. One thread at a time uses a ring.
"""

import ctypes
import errno
import mmap
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pathtap.agent.bpf import NOTHING, Program, encode
from pathtap.agent.captured import NO_VLAN, Column, Frames

# asm-generic/socket.h, linux/if_packet.h, linux/if_ether.h: names that Python's socket module lacks.
SO_ATTACH_FILTER = 26
SOL_PACKET, PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION = 263, 5, 6, 10
TPACKET_V3 = 2
ETH_P_ALL = 0x0003
TP_STATUS_KERNEL, TP_STATUS_USER, TP_STATUS_VLAN_VALID = 0, 1, 1 << 4

# struct tpacket_block_desc, in words of 4 bytes: where its status, its number of packets and its first packet's place stand.
STATUS, PACKETS, FIRST = 2, 3, 4
# struct tpacket3_hdr, 48 bytes, and the packet type in the struct sockaddr_ll behind it.
FRAME = np.dtype(
    {
        "names": ["seconds", "nanoseconds", "captured", "status", "mac", "vlan", "kind"],
        "formats": ["<u4", "<u4", "<u4", "<u4", "<u2", "<u4", "u1"],
        "offsets": [4, 8, 12, 20, 24, 32, 58],
        "itemsize": 64,
    }
)
# Frames begin at multiples of it (V3_ALIGNMENT).
ALIGNMENT = 8
# Frames are tried for one size so many at once, and so many are followed one by one where they are not.
RUN, STEPS = 1024, 64

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
    """`block_bytes` is a power of two and a multiple of the page's size; a block is handed over after `retire` milliseconds."""

    blocks: int
    block_bytes: int
    retire: int

    @property
    def bytes(self) -> int:
        return self.blocks * self.block_bytes


@dataclass(frozen=True, slots=True)
class Statistics:
    """Since the last reading: packets that the filter accepted, and those of them that found no room."""

    accepted: int
    dropped: int


class Ring:
    """Hears nothing until `arm`, and never a frame that came before it.

    The socket is made with protocol 0, for which the kernel calls no hook; it is bound to all protocols only once a
    filter that accepts nothing and the ring are in place. Raises OSError.
    """

    def __init__(self, interface: str, size: RingSize) -> None:
        self.interface = interface
        self.size = size
        # How many blocks were taken last.
        self.taken = 0
        self._next = 0
        self._held: list[int] = []
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
        self._socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
        # struct tpacket_req3. Of the size of frames the kernel wants to know that it divides a block; V3 does not keep to it.
        frame = 2048
        described = (size.block_bytes, size.blocks, frame, size.bytes // frame, size.retire, 0, 0)
        _set_waiting(self._socket, PACKET_RX_RING, struct.pack("=7I", *described))
        memory = mmap.mmap(self._socket.fileno(), size.bytes, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        # The mapping goes with the last of these that looks into it.
        self._words = memoryview(memory).cast("I")
        self._memory = np.frombuffer(memory, np.uint8)
        self._socket.bind((self.interface, ETH_P_ALL))
        # bind(2) succeeds on an interface that is down; the socket's error says so.
        error = self.error()
        if error is not None:
            raise error
        # Nothing can be here; were it otherwise, it would be no packet of this capture.
        while self.take(size.blocks) is not None:
            self.release()
        self.statistics()

    def arm(self, program: Program) -> None:
        self._attach(program)

    def disarm(self) -> None:
        """From here on nothing new enters; what the ring holds can still be read once its block is handed over."""
        self._attach(NOTHING)

    def fileno(self) -> int:
        """To poll: readable while a block waits to be taken, or not all that were taken are released."""
        return self._socket.fileno()

    def take(self, most: int) -> Frames | None:
        """The frames of at most so many of the blocks that the kernel handed over, in order; None where there is none.

        They lie in the ring, and are valid until `release`. A block's status is read before what it covers; in between the
        interpreter does more than any processor, also one of weak ordering, holds in flight.
        """
        words, per_block = self._words, self.size.block_bytes // 4
        while len(self._held) < min(most, self.size.blocks):
            block = (self._next + len(self._held)) % self.size.blocks
            if not words[block * per_block + STATUS] & TP_STATUS_USER:
                break
            self._held.append(block)
        self.taken = len(self._held)
        return self._frames([block * per_block for block in self._held]) if self._held else None

    def release(self) -> None:
        """Gives the blocks that were taken back to the kernel."""
        for block in self._held:
            self._words[block * (self.size.block_bytes // 4) + STATUS] = TP_STATUS_KERNEL
        self._next = (self._next + len(self._held)) % self.size.blocks
        self._held.clear()

    def statistics(self) -> Statistics:
        """PACKET_STATISTICS (struct tpacket_stats_v3); the kernel starts all counters anew at each reading."""
        accepted, dropped, _ = struct.unpack("=III", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12))
        return Statistics(accepted=accepted, dropped=dropped)

    def error(self) -> OSError | None:
        """What the kernel noted since the last time, such as ENETDOWN, told once."""
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return OSError(number, os.strerror(number)) if number else None

    def close(self) -> None:
        """Nothing that `take` returned may be read any more."""
        self._words, self._memory = memoryview(b"").cast("I"), np.zeros(0, np.uint8)
        self._socket.close()

    def _attach(self, program: Program) -> None:
        instructions = ctypes.create_string_buffer(encode(program))
        # struct sock_fprog of linux/filter.h.
        described = struct.pack("@HP", len(program), ctypes.addressof(instructions))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)

    def _frames(self, blocks: Sequence[int]) -> Frames:
        words = self._words
        places = [follow(words, 4 * block + words[block + FIRST], words[block + PACKETS]) for block in blocks]
        return framed(self._memory, places[0] if len(places) == 1 else np.concatenate(places))


def _set_waiting(packet_socket: socket.socket, option: int, value: bytes) -> None:
    """setsockopt(2) that lets other threads run meanwhile: Python's own holds the interpreter while the kernel waits."""
    setting = ctypes.CDLL(None, use_errno=True).setsockopt
    if setting(packet_socket.fileno(), SOL_PACKET, option, value, len(value)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def follow(words: memoryview, first: int, count: int) -> Column:
    """Where `count` frames begin, in bytes, of which the first begins at `first`: each says how far it is to the next.

    Frames of one flow are mostly of one size, and a run of such is found at once.
    """
    places = np.empty(count, np.int64)
    column = np.frombuffer(words, np.uint32)
    done, at = 0, first
    while done < count:
        stride = words[at >> 2]
        if stride and done + 1 < count:
            strides = column[at >> 2 :: stride >> 2][: min(count - done, RUN)]
            same = strides == stride
            run = len(same) if same.all() else int(same.argmin())
            places[done : done + run] = np.arange(at, at + run * stride, stride)
            done, at = done + run, at + run * stride
        for number in range(done, min(done + STEPS, count)):
            places[number] = at
            at += words[at >> 2]
        done = min(done + STEPS, count)
    return places


def framed(memory: Column, places: Column) -> Frames:
    """The frames whose headers (struct tpacket3_hdr) begin at `places`."""
    everywhere: Column = np.ndarray(
        ((len(memory) - FRAME.itemsize) // ALIGNMENT + 1,), f"V{FRAME.itemsize}", memory.data, 0, (ALIGNMENT,)
    )
    header: Any = everywhere[places >> 3].view(FRAME)
    tagged = header["status"] & TP_STATUS_VLAN_VALID != 0
    vlan = np.where(tagged, header["vlan"] & 0x0FFF, NO_VLAN) if tagged.any() else np.full(len(places), NO_VLAN)
    return Frames(
        memory=memory,
        start=places + header["mac"],
        room=header["captured"].astype(np.int64),
        captured_at=header["seconds"].astype(np.uint64) * 1_000_000_000 + header["nanoseconds"],
        kind=header["kind"],
        vlan=vlan.astype(np.int32),
    )
