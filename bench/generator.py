"""Sends frames of one flow, as fast as the kernel takes them or at a rate, bounded in count and in time.

`python -m bench.generator INTERFACE …` builds its frames, says `ready`, waits for a line on its standard input, sends, and prints
{"sent", "refused", "seconds", "rate"} as JSON. The TCP sequence numbers rise by one with each frame. With `--by injection` the
frames arrive on INTERFACE (`bench.injection`); else they are sent by it, with AF_PACKET: sendmmsg(2) takes 1,024 prepared frames
with one call, past the queueing discipline (PACKET_QDISC_BYPASS), so that Python is not what limits it.
"""

import ctypes
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import click
import numpy as np

from bench.frames import SEQUENCE_OFFSET, SIZE, matching, other
from bench.injection import Injector

# UIO_MAXIOV of linux/uio.h, which sendmmsg holds its messages to.
MOST_AT_ONCE = 1024
FRAMES = 8 * MOST_AT_ONCE
# At a rate, so many bursts a second at most: the kernel's timers wake a sleeper some 60 µs late.
BURSTS = 500
# linux/if_packet.h; protocol 0, so that the socket hears nothing.
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20


class _Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr: a header, and how much of its message was sent."""

    _fields_ = (("header", _Header), ("sent", ctypes.c_uint))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """At most `packets`, at most `seconds`; `rate` is in frames/s, 0 for as fast as possible."""

    packets: int
    seconds: float
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """`sent` frames, and how often the kernel `refused` one, which was then tried again; `rate` is in frames/s."""

    sent: int
    refused: int
    seconds: float
    rate: float


class Frames:
    """FRAMES copies of a frame, ready for sendmmsg; each pass counts their sequence numbers on."""

    def __init__(self, frame: bytes) -> None:
        self._bytes = np.frombuffer(bytearray(frame * FRAMES), dtype=np.uint8)
        base = self._bytes.ctypes.data
        self._vectors = (_Vector * FRAMES)(*(_Vector(base + index * SIZE, SIZE) for index in range(FRAMES)))
        first, step = ctypes.addressof(self._vectors), ctypes.sizeof(_Vector)
        self._messages = (_Message * FRAMES)()
        for index, message in enumerate(self._messages):
            message.header.vectors, message.header.vector_count = first + index * step, 1
        self._numbers = np.ndarray(
            (FRAMES,), dtype=">u4", buffer=self._bytes.data, offset=SEQUENCE_OFFSET, strides=(SIZE,)
        )
        self._numbers[:] = np.arange(FRAMES)
        self._at = 0

    def send(self, descriptor: int, most: int) -> int:
        """Sends the next frames, at most so many, with one system call; how many the kernel took. Raises OSError."""
        count = min(most, MOST_AT_ONCE, FRAMES - self._at)
        taken: int = _sendmmsg(descriptor, ctypes.byref(self._messages, self._at * ctypes.sizeof(_Message)), count, 0)
        if taken < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._at += taken
        if self._at == FRAMES:
            self._numbers += FRAMES
            self._at = 0
        return taken


_sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg


def send(
    descriptor: int, frames: Frames, limits: Limits, *, now: Callable[[], float], sleep: Callable[[float], None]
) -> Sent:
    """Raises OSError."""
    sent = refused = 0
    began = now()
    while sent < limits.packets and (passed := now() - began) < limits.seconds:
        due = int(passed * limits.rate) - sent if limits.rate else limits.packets
        if due <= 0:
            sleep(max(1 / BURSTS, (1 - due) / limits.rate))
            continue
        try:
            sent += frames.send(descriptor, min(due, limits.packets - sent))
        except OSError as error:
            # The receiving queue was full.
            if error.errno != errno.ENOBUFS:
                raise
            refused += 1
    took = now() - began
    return Sent(sent=sent, refused=refused, seconds=took, rate=sent / took if took else 0.0)


def open_sender(interface: str) -> socket.socket:
    """Hears nothing. Raises OSError."""
    sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sender.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    sender.bind((interface, 0))
    return sender


@click.command()
@click.argument("interface")
@click.option("--packets", type=click.IntRange(min=1), default=1 << 31, help="At most so many.")
@click.option("--seconds", type=click.FloatRange(0, 120), required=True, help="At most so long.")
@click.option("--rate", type=click.FloatRange(min=0), default=0.0, help="Frames a second; 0 for a flood.")
@click.option("--flow", type=click.Choice(("traced", "other")), default="traced")
@click.option("--by", type=click.Choice(("sending", "injection")), default="sending")
@click.option("--cpu", type=int, default=0, help="The processor to send from.")
def main(interface: str, packets: int, seconds: float, rate: float, flow: str, by: str, cpu: int) -> None:
    os.sched_setaffinity(0, {cpu})
    frame = matching() if flow == "traced" else other()
    limits = Limits(packets=packets, seconds=seconds, rate=rate)
    sent = _inject(frame, interface, limits) if by == "injection" else _send(frame, interface, limits)
    if sent is not None:
        print(json.dumps(asdict(sent)), flush=True)


def _inject(frame: bytes, interface: str, limits: Limits) -> Sent | None:
    """None where nobody says when to begin."""
    injector = Injector(frame, interface)
    if not _told_to_begin():
        return None
    done = injector.run(packets=limits.packets, seconds=limits.seconds, rate=limits.rate)
    return Sent(sent=done.sent, refused=0, seconds=done.seconds, rate=done.sent / done.seconds)


def _send(frame: bytes, interface: str, limits: Limits) -> Sent | None:
    """None where nobody says when to begin."""
    frames = Frames(frame)
    with open_sender(interface) as sender:
        if not _told_to_begin():
            return None
        return send(sender.fileno(), frames, limits, now=time.monotonic, sleep=time.sleep)


def _told_to_begin() -> bool:
    print("ready", flush=True)
    return bool(sys.stdin.readline())


if __name__ == "__main__":
    main()
