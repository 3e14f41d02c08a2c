"""Lets frames arrive on an interface without a sender: several times as many in a second as any socket can send.

bpf(2), BPF_PROG_TEST_RUN of an XDP program in live frames mode (Documentation/bpf/bpf_prog_run.rst, Linux 5.18 and later): the
kernel makes copies of a frame, asks the program about each, and what it passes goes up the stack like what a driver has received.
The program passes as many as are due by the clock, numbers them in their TCP sequence number, and drops the others. Needs root.
"""

import ctypes
import errno
import os
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.frames import SEQUENCE_OFFSET

# linux/bpf.h; the number of the system call is that of asm/unistd.h of the machine.
_CREATE_MAP, _LOOK_UP, _UPDATE, _LOAD, _RUN = 0, 1, 2, 5, 10
_ARRAY, _XDP, _LIVE_FRAMES = 2, 6, 1 << 1
_SYSTEM_CALLS = {"x86_64": 321, "aarch64": 280}
_BATCH = 64
# Ended by a signal long before.
_FRAMES = 0xFFFFFFFF
_NANOSECONDS = 1_000_000_000
# So many frames a second are always due; times 2³⁴ ns they still fit 64 bits.
FLOOD = _NANOSECONDS
LONGEST = 17.0
# start and last in ns, sent, rate in frames/s, most: what the program keeps count by.
_STATE = struct.Struct("=QQQQQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """`sent` frames within `seconds`."""

    sent: int
    seconds: float


class Injector:
    """A loaded program and its counts. Raises OSError where the kernel refuses: too old, or without privileges."""

    def __init__(self, frame: bytes, interface: str) -> None:
        self._frame = ctypes.create_string_buffer(frame, len(frame))
        self._index = socket.if_nametoindex(interface)
        self._map = _bpf(_CREATE_MAP, struct.pack("=IIII", _ARRAY, 4, _STATE.size, 1))
        self._program = _load(_program(self._map))

    def run(self, *, packets: int, seconds: float, rate: float) -> Injected:
        """Until the time is over; nothing more arrives once there were `packets`. `rate` 0 is a flood."""
        self._write(_STATE.pack(0, 0, 0, int(rate) or FLOOD, packets))
        size = len(self._frame)
        context = ctypes.create_string_buffer(struct.pack("=IIIIII", 0, size, 0, self._index, 0, 0))
        addresses = (ctypes.addressof(self._frame), ctypes.addressof(context))
        # union bpf_attr, test: program, result, sizes in and out, data in and out, repeat, duration, context, flags, CPU, batch.
        attributes = struct.pack(
            "=IIIIQQIIIIQQIII",
            *(self._program, 0, size, 0, addresses[0], 0, _FRAMES, 0, 24, 0, addresses[1], 0, _LIVE_FRAMES, 0, _BATCH),
        )
        with _interrupted_after(min(seconds, LONGEST)):
            try:
                _bpf(_RUN, attributes)
            except OSError as error:
                if error.errno != errno.EINTR:
                    raise
        start, last, sent, _, _ = self._read()
        return Injected(sent=sent, seconds=max(last - start, 1) / _NANOSECONDS)

    def _write(self, state: bytes) -> None:
        key, value = ctypes.create_string_buffer(4), ctypes.create_string_buffer(state, len(state))
        _bpf(_UPDATE, struct.pack("=IIQQQ", self._map, 0, ctypes.addressof(key), ctypes.addressof(value), 0))

    def _read(self) -> tuple[int, ...]:
        key, value = ctypes.create_string_buffer(4), ctypes.create_string_buffer(_STATE.size)
        _bpf(_LOOK_UP, struct.pack("=IIQQQ", self._map, 0, ctypes.addressof(key), ctypes.addressof(value), 0))
        return _STATE.unpack(value.raw)


@contextmanager
def _interrupted_after(seconds: float) -> Iterator[None]:
    """A signal that ends the system call and nothing else."""
    former = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def _bpf(command: int, attributes: bytes) -> int:
    """bpf(2). Raises OSError."""
    number = _SYSTEM_CALLS.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"bpf(2) is not known on {os.uname().machine}")
    # The kernel takes a shorter union for one that ends in zeros.
    buffer = ctypes.create_string_buffer(attributes.ljust(144, b"\0"), 144)
    result: int = ctypes.CDLL(None, use_errno=True).syscall(number, command, buffer, 144)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _load(program: bytes) -> int:
    """The program's descriptor. Raises OSError with the verifier's last words."""
    code, licence = ctypes.create_string_buffer(program, len(program)), ctypes.create_string_buffer(b"Apache-2.0")
    said = ctypes.create_string_buffer(65536)
    attributes = struct.pack(
        "=IIQQIIQ",
        *(
            _XDP,
            len(program) // 8,
            ctypes.addressof(code),
            ctypes.addressof(licence),
            1,
            len(said),
            ctypes.addressof(said),
        ),
    )
    try:
        return _bpf(_LOAD, attributes)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: {said.value.decode(errors='replace')[-200:]}") from None


def _instruction(code: int, destination: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    """struct bpf_insn."""
    return struct.pack("=BBhi", code, source << 4 | destination, offset, value)


def _program(counts: int) -> bytes:
    """r6 is the context, r8 the counts, r9 the time; places are counted from the first instruction. Passes (2) or drops (1)."""
    start, last, sent, rate, most, dropping = 0, 8, 16, 24, 32, 37
    each = _instruction
    return b"".join(
        (
            each(0xBF, 6, 1),  # 0: r6 = the context
            each(0x62, 10, 0, -4, 0),  # 1: the map's key, 0, on the stack
            each(0xBF, 2, 10),  # 2
            each(0x07, 2, 0, 0, -4),  # 3
            each(0x18, 1, 1, 0, counts) + each(0),  # 4: two places
            each(0x85, 0, 0, 0, 1),  # 6: bpf_map_lookup_elem
            each(0x15, 0, 0, dropping - 8, 0),  # 7
            each(0xBF, 8, 0),  # 8
            each(0x85, 0, 0, 0, 5),  # 9: bpf_ktime_get_ns
            each(0xBF, 9, 0),  # 10
            each(0x79, 1, 8, start),  # 11: the first frame starts the clock
            each(0x55, 1, 0, 2, 0),  # 12
            each(0x7B, 8, 9, start),  # 13
            each(0xBF, 1, 9),  # 14
            each(0xBF, 2, 9),  # 15: due = (now - start) * rate / 10⁹
            each(0x1F, 2, 1),  # 16
            each(0x79, 3, 8, rate),  # 17
            each(0x2F, 2, 3),  # 18
            each(0x37, 2, 0, 0, _NANOSECONDS),  # 19
            each(0x79, 4, 8, sent),  # 20
            each(0x3D, 4, 2, dropping - 22),  # 21: none is due
            each(0x79, 3, 8, most),  # 22
            each(0x3D, 4, 3, dropping - 24),  # 23: there were enough
            each(0xBF, 7, 4),  # 24
            each(0x07, 4, 0, 0, 1),  # 25
            each(0x7B, 8, 4, sent),  # 26
            each(0x7B, 8, 9, last),  # 27
            each(0xDC, 7, 0, 0, 32),  # 28: the number, in network order
            each(0x61, 2, 6, 0),  # 29: the frame's begin and end
            each(0x61, 3, 6, 4),  # 30
            each(0xBF, 4, 2),  # 31
            each(0x07, 4, 0, 0, SEQUENCE_OFFSET + 4),  # 32
            each(0x2D, 4, 3, dropping - 34),  # 33
            each(0x63, 2, 7, SEQUENCE_OFFSET),  # 34
            each(0xB7, 0, 0, 0, 2),  # 35: XDP_PASS
            each(0x95),  # 36
            each(0xB7, 0, 0, 0, 1),  # 37: XDP_DROP
            each(0x95),  # 38
        )
    )


def available() -> bool:
    """Whether this kernel takes such a program; asked of one that is loaded and thrown away."""
    try:
        counts = _bpf(_CREATE_MAP, struct.pack("=IIII", _ARRAY, 4, _STATE.size, 1))
        try:
            os.close(_load(_program(counts)))
        finally:
            os.close(counts)
    except OSError:
        return False
    return True
