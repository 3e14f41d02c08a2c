"""Hears from the kernel's packet log (nfnetlink_log) what packets are when they leave the node or reach one of its sockets.

The rules that log run last at POSTROUTING and INPUT, in a table of the test's own that the model never sees. Each packet is
logged twice: with its mark, then with its connection's mark in its place; what conntrack does not track, only once. What the
node sends to itself is logged where it arrives, since its mark goes on with it. The format is that of
linux/netfilter/nfnetlink_log.h.
"""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from differential.frames import Parsed, parse

GROUP = 7
LAST = 2147483646
_SPEAK = f"log group {GROUP} snaplen 128 queue-threshold 1 prefix"
TABLE = f"""
table inet differential-log {{
  chain leaving {{
    type filter hook postrouting priority {LAST}; policy accept;
    oifname != "lo" {_SPEAK} "out"
    oifname != "lo" meta mark set ct mark {_SPEAK} "out connection"
  }}
  chain arriving {{
    type filter hook input priority {LAST}; policy accept;
    {_SPEAK} "in"
    meta mark set ct mark {_SPEAK} "in connection"
  }}
}}
"""
NETLINK_NETFILTER = 12
_ULOG = 4
_NEW, _CONFIG = _ULOG << 8, _ULOG << 8 | 1
_BIND, _COPY_PACKET = 1, 2
_COMMAND, _MODE = 1, 2
_MARK, _INDEV, _OUTDEV, _PAYLOAD, _PREFIX = 2, 4, 5, 9, 10
_PAGE = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """`hook` is `out` or `in`; `interface` is the index of that by which it left, or came. `connmark` says that `mark` is the
    connection's.
    """

    hook: str
    connmark: bool
    interface: int
    packet: Parsed
    mark: int


class Log:
    """A socket in the namespace in which it was made."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
        self.socket.bind((0, 0))
        self._configure(_COMMAND, struct.pack("B", _BIND))
        self._configure(_MODE, struct.pack("!IBx", 128, _COPY_PACKET))
        self.socket.setblocking(False)

    def close(self) -> None:
        self.socket.close()

    def read(self) -> Iterator[Logged]:
        """What has come by now, without waiting."""
        while True:
            try:
                data = self.socket.recv(_PAGE)
            except BlockingIOError:
                return
            for kind, body in _messages(data):
                if kind == _NEW and (found := _decode(body)) is not None:
                    yield found

    def _configure(self, attribute: int, value: bytes) -> None:
        body = struct.pack("!BBH", 0, 0, GROUP) + _attribute(attribute, value)
        self.socket.send(struct.pack("=IHHII", 16 + len(body), _CONFIG, 5, 1, 0) + body)
        (kind, answer) = next(_messages(self.socket.recv(_PAGE)))
        if kind != 2 or (error := struct.unpack_from("=i", answer)[0]):
            raise OSError(-error, "the packet log could not be bound")


def _attribute(number: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), number) + value + b"\0" * (-len(value) % 4)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        yield kind, data[16:length]
        data = data[length + (-length % 4) :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(data) >= 4:
        length, number = struct.unpack_from("=HH", data)
        found[number & 0x3FFF] = data[4:length]
        data = data[length + (-length % 4) :]
    return found


def _decode(body: bytes) -> Logged | None:
    """None for packets that are not the test's."""
    found = _attributes(body[4:])
    packet = parse(found.get(_PAYLOAD, b""))
    if packet is None:
        return None
    hook, _, connection = found[_PREFIX].rstrip(b"\0").decode().partition(" ")
    return Logged(
        hook=hook,
        connmark=bool(connection),
        interface=_number(found.get(_OUTDEV if hook == "out" else _INDEV)),
        packet=packet,
        mark=_number(found.get(_MARK)),
    )


def _number(value: bytes | None) -> int:
    return 0 if value is None else int.from_bytes(value, "big")
