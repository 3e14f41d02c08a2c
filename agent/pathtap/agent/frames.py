"""What the agent and its worker say to each other over a pair of sockets: frames, each with its length in front.

    length of the body (4 bytes) | kind (1) | token (8) | body            little-endian

A body is a message of `pathtap.v1` as it goes over the wire, so that the agent sends what its worker wrote without reading it.
Knows no process and no event loop.
"""

import socket
import struct
from dataclasses import dataclass
from enum import IntEnum, unique

HEADER = struct.Struct("<IBQ")


@unique
class Kind(IntEnum):
    """Down: COMMAND (a ConnectResponse), END_CAPTURES (the reason, UTF-8). All others go up.

    BATCH, ANSWER and FAILURE carry a ConnectRequest of which the body alone is set; FAILURE answers a command that could not be
    carried out. ENDED follows all that the captures saw which END_CAPTURES ended. IDLE: nothing was asked for long, no
    capture is armed and nothing waits to be sent. COUNTS: what the worker has counted since it began (`counts.to_bytes`).
    """

    COMMAND = 1
    END_CAPTURES = 2
    BATCH = 3
    ANSWER = 4
    FAILURE = 5
    ENDED = 6
    IDLE = 7
    COUNTS = 8


@dataclass(frozen=True, slots=True)
class Frame:
    """`token` is the agent's own number of a command, and of its answer; of a BATCH how many packets it holds; else 0."""

    kind: Kind
    body: bytes = b""
    token: int = 0

    @property
    def header(self) -> bytes:
        return HEADER.pack(len(self.body), self.kind, self.token)


def send(connection: socket.socket, frame: Frame) -> None:
    """Blocks until the other end has room for all of it. Raises OSError where that end is gone."""
    # Both at once, as far as there is room: the other end need not be woken twice.
    sent = connection.sendmsg((frame.header, frame.body))
    for part in (frame.header, frame.body):
        connection.sendall(memoryview(part)[sent:])
        sent = max(0, sent - len(part))


def receive(connection: socket.socket) -> Frame | None:
    """Blocks until a frame is whole; None where the other end is gone."""
    header = _exactly(connection, HEADER.size)
    if header is None:
        return None
    length, kind, token = HEADER.unpack(header)
    body = _exactly(connection, length)
    return None if body is None else Frame(Kind(kind), body, token)


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    buffer = bytearray(size)
    rest = memoryview(buffer)
    while rest:
        try:
            count = connection.recv_into(rest)
        except ConnectionResetError:
            return None
        if not count:
            return None
        rest = rest[count:]
    return bytes(buffer)
