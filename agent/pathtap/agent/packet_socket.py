"""One AF_PACKET socket on one interface: opened deaf, then armed. Knows frames and their stamps, no headers, no flow.

A memory-mapped ring can take this module's place: a capture only asks for what `PacketSocket` offers.
"""

import ctypes
import errno
import os
import socket
import struct
from dataclasses import dataclass

from pathtap.agent.bpf import NOTHING, Program, encode
from pathtap.agent.scapy_parts import open_deaf

# asm-generic/socket.h, linux/if_packet.h, linux/if_ether.h: names that Python's socket module lacks.
SO_ATTACH_FILTER, SO_RCVBUFFORCE, SO_TIMESTAMPNS = 26, 33, 35
SOL_PACKET, PACKET_STATISTICS, PACKET_AUXDATA = 263, 6, 8
ETH_P_ALL = 0x0003
TP_STATUS_VLAN_VALID = 1 << 4

# More than the headers of any frame that is not made of options alone; what is cut is dissected as truncated.
FRAME_BYTES = 1024
TIMESPEC = struct.Struct("@qq")
# struct tpacket_auxdata: status, len, snaplen, mac, net, vlan_tci, vlan_tpid.
AUXDATA = struct.Struct("=IIIHHHH")
ANCILLARY_BYTES = socket.CMSG_SPACE(TIMESPEC.size) + socket.CMSG_SPACE(AUXDATA.size)

WHY = {
    errno.EPERM: "opening a packet socket needs CAP_NET_RAW",
    errno.ENODEV: "the interface is gone",
    errno.ENETDOWN: "the interface is down",
    errno.ENOMEM: "the kernel has no option memory for the filter: raise net.core.optmem_max or trace fewer addresses",
}


def why(error: OSError) -> str:
    """What an error of a packet socket means, as a sentence without its full stop."""
    return WHY.get(error.errno or 0, os.strerror(error.errno) if error.errno else str(error))


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame's headers. `captured_at` is the kernel's, in nanoseconds; `vlan` the tag that the kernel took off.

    `for_another`: it came in with the MAC of another than the interface (PACKET_OTHERHOST), and IP will not look at it.
    """

    data: bytes
    captured_at: int
    outgoing: bool
    vlan: int | None
    for_another: bool = False


@dataclass(frozen=True, slots=True)
class Statistics:
    """Since the last reading: packets that the filter accepted, and those of them that found no room."""

    accepted: int
    dropped: int


class PacketSocket:
    """Hears nothing until `arm`, and never a frame that came before it.

    scapy builds the socket with protocol 0, for which the kernel calls no hook; it is bound to all protocols only once a
    filter that accepts nothing is in place. Raises OSError.
    """

    def __init__(self, interface: str, receive_buffer: int) -> None:
        self.interface = interface
        self._noted: OSError | None = None
        self._socket = open_deaf(interface)
        try:
            self._prepare(receive_buffer)
        except BaseException:
            self._socket.close()
            raise

    def _prepare(self, receive_buffer: int) -> None:
        self._socket.setblocking(False)
        self._attach(NOTHING)
        self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.resize(receive_buffer)
        self._socket.bind((self.interface, ETH_P_ALL))
        # Nothing can be here; were it otherwise, it would be no packet of this capture.
        while self._receive() is not None:
            pass
        self.statistics()

    def arm(self, program: Program) -> None:
        self._attach(program)

    def disarm(self) -> None:
        """From here on nothing new enters; what the socket holds can still be read."""
        self._attach(NOTHING)

    def resize(self, receive_buffer: int) -> None:
        """Bytes, as SO_RCVBUF counts them; beyond net.core.rmem_max only with CAP_NET_ADMIN."""
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, receive_buffer)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self, most: int) -> list[Frame]:
        """What the socket holds, at most so many frames; empty where it holds none. Raises OSError once for each error
        that the kernel noted, such as ENETDOWN."""
        if self._noted is not None:
            noted, self._noted = self._noted, None
            raise noted
        frames: list[Frame] = []
        while len(frames) < most:
            try:
                frame = self._receive()
            except OSError as error:
                # The kernel tells it once: it waits until the frames before it are handed over.
                if not frames:
                    raise
                self._noted = error
                break
            if frame is None:
                break
            frames.append(frame)
        return frames

    def statistics(self) -> Statistics:
        """PACKET_STATISTICS (struct tpacket_stats); the kernel starts both counters anew at each reading."""
        data = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        accepted, dropped = struct.unpack("=II", data)
        return Statistics(accepted=accepted, dropped=dropped)

    def close(self) -> None:
        self._socket.close()

    def _attach(self, program: Program) -> None:
        instructions = ctypes.create_string_buffer(encode(program))
        # struct sock_fprog of linux/filter.h.
        described = struct.pack("@HP", len(program), ctypes.addressof(instructions))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, described)

    def _receive(self) -> Frame | None:
        try:
            data, ancillary, _, address = self._socket.recvmsg(FRAME_BYTES, ANCILLARY_BYTES)
        except BlockingIOError:
            return None
        captured_at, vlan = 0, None
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                seconds, nanoseconds = TIMESPEC.unpack_from(content)
                captured_at = seconds * 1_000_000_000 + nanoseconds
            elif level == SOL_PACKET and kind == PACKET_AUXDATA:
                status, *_, tag, _ = AUXDATA.unpack_from(content)
                vlan = tag & 0x0FFF if status & TP_STATUS_VLAN_VALID else None
        kind = address[2]
        return Frame(data, captured_at, kind == socket.PACKET_OUTGOING, vlan, kind == socket.PACKET_OTHERHOST)
