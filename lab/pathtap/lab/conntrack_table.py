"""A namespace's connection tracking table over ctnetlink: fills it, takes the filling out again, forgets flows, lists some.

The kernel counts entries by namespace and limits them by nf_conntrack_max, which is one number for the whole machine and is
not touched. Messages: linux/netfilter/nfnetlink_conntrack.h. Everything here acts on the calling thread's namespace.
"""

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from pathtap.lab.errors import LabError

# RFC 5737, TEST-NET-1: no packet of the lab has such an address.
_FILLING = IPv4Network("192.0.2.0/24")
_FILLING_MARK = 0x70617468
_FILLING_SECONDS = 3600
_DISCARD = 9
# 14 addresses' ports; a machine that allows more entries would take its time and memory for them.
MOST_ENTRIES = 14 * 65_536
_AT_ONCE = 8192
_SEND_BUFFER = 4 << 20

_NETLINK_NETFILTER = 12
_SO_SNDBUFFORCE = 32
_NEW, _GET, _DELETE = 0x100, 0x101, 0x102
_REQUEST, _ACK, _EXCLUSIVE, _CREATE = 0x1, 0x4, 0x200, 0x400
_DUMP = 0x300
_NESTED = 0x8000
_ORIGINAL, _REPLY, _STATUS, _TIMEOUT, _MARK, _MARK_MASK = 1, 2, 3, 7, 8, 21
_IP, _PROTO = 1, 2
_SOURCE, _DESTINATION = 1, 2
_PROTO_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
# SEEN_REPLY, ASSURED, CONFIRMED: what is assured is not dropped early to make room.
_ASSURED = 0x2 | 0x4 | 0x8
_NETLINK_ERROR, _NETLINK_DONE = 2, 3
_HEADERS = 16 + 4

_LIMIT = Path("/proc/sys/net/netfilter/nf_conntrack_max")
_COUNT = Path("/proc/sys/net/netfilter/nf_conntrack_count")


def fill() -> None:
    """As many entries as the kernel allows, each for an hour. LabError where it allows too many to be filled.

    What is in the table already is forgotten first: it would end early, and make room.
    """
    limit = int(_LIMIT.read_text())
    if not 0 < limit <= MOST_ENTRIES:
        raise LabError(f"The kernel allows {limit} conntrack entries (nf_conntrack_max), more than a lab fills.")
    flush()
    with _netlink() as wire:
        for block in _fillings():
            if int(_COUNT.read_text()) >= limit:
                return
            wire.send(block)
    if (count := int(_COUNT.read_text())) < limit:
        drain()
        raise LabError(f"The conntrack table took {count} entries of {limit}.")


def drain() -> None:
    """Takes out what `fill` put in, and nothing else."""
    mark = _attribute(_MARK, struct.pack("!I", _FILLING_MARK)) + _attribute(_MARK_MASK, b"\xff" * 4)
    with _netlink() as wire:
        _ask(wire, _message(_DELETE, _REQUEST | _ACK, mark))


def flush() -> None:
    """Deletes all entries."""
    with _netlink() as wire:
        _ask(wire, _message(_DELETE, _REQUEST | _ACK, b""))


def forget(protocol: int, source: tuple[IPv4Address, int], destination: tuple[IPv4Address, int]) -> None:
    """Deletes the entry that has this tuple as its original or its reply direction, if there is one."""
    with _netlink() as wire:
        for direction in (_ORIGINAL, _REPLY):
            tuple_ = _tuple(direction, protocol, source, destination)
            _ask(wire, _message(_DELETE, _REQUEST | _ACK, tuple_), allowed=errno.ENOENT)


@dataclass(frozen=True, slots=True)
class Held:
    """What one entry holds: `port` of the address `translated`, for the original source."""

    source: IPv4Address
    translated: IPv4Address
    port: int


def held_towards(protocol: int, destination: tuple[IPv4Address, int]) -> list[Held]:
    """Of each entry whose original direction goes to `destination`: who holds which port there, after SNAT."""
    found = []
    with _netlink() as wire:
        wire.send(_message(_GET, _REQUEST | _DUMP, b""))
        for kind, body in _messages(wire):
            if kind == _NETLINK_ERROR:
                raise LabError("The kernel does not list the conntrack table.")
            entry = _attributes(body)
            source, *towards = _ends(entry[_ORIGINAL])
            if towards == [protocol, *destination]:
                *_, translated, port = _ends(entry[_REPLY])
                found.append(Held(source, translated, port))
    return found


def _ends(tuple_: bytes) -> tuple[IPv4Address, int, IPv4Address, int]:
    """Source, protocol, destination, destination port; 0 for a protocol without ports."""
    parts = _attributes(tuple_)
    addresses, proto = _attributes(parts[_IP]), _attributes(parts[_PROTO])
    port = proto.get(_DESTINATION_PORT, b"\0\0")
    source, destination = IPv4Address(addresses[_SOURCE]), IPv4Address(addresses[_DESTINATION])
    return source, proto[_PROTO_NUMBER][0], destination, int.from_bytes(port)


def _messages(wire: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Kind and body of each message of a dump, to its end."""
    while True:
        block, at = wire.recv(1 << 18), 0
        while at < len(block):
            length, kind = struct.unpack_from("=IH", block, at)
            if kind == _NETLINK_DONE:
                return
            yield kind, block[at + _HEADERS : at + length]
            at += length + -length % 4


def _attributes(body: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at < len(body):
        length, kind = struct.unpack_from("=HH", body, at)
        found[kind & ~_NESTED] = body[at + 4 : at + length]
        at += length + -length % 4
    return found


def _netlink() -> socket.socket:
    wire = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    wire.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BUFFER)
    return wire


def _ask(wire: socket.socket, message: bytes, *, allowed: int = 0) -> None:
    """Sends one message and waits for its acknowledgement. LabError where it is another error than `allowed`."""
    wire.send(message)
    answer = wire.recv(65_536)
    _, kind, *_, code = struct.unpack_from("=IHHIIi", answer)
    if kind != _NETLINK_ERROR or -code not in (0, allowed):
        raise LabError(f"The kernel refuses a change of the conntrack table: {errno.errorcode.get(-code, code)}.")


def _attribute(kind: int, body: bytes) -> bytes:
    length = 4 + len(body)
    return struct.pack("=HH", length, kind) + body + b"\0" * (-length % 4)


def _tuple(
    direction: int, protocol: int, source: tuple[IPv4Address, int], destination: tuple[IPv4Address, int]
) -> bytes:
    addresses = _attribute(_SOURCE, source[0].packed) + _attribute(_DESTINATION, destination[0].packed)
    here, there = struct.pack("!H", source[1]), struct.pack("!H", destination[1])
    proto = (
        _attribute(_PROTO_NUMBER, bytes([protocol]))
        + _attribute(_SOURCE_PORT, here)
        + _attribute(_DESTINATION_PORT, there)
    )
    return _attribute(direction | _NESTED, _attribute(_IP | _NESTED, addresses) + _attribute(_PROTO | _NESTED, proto))


def _message(kind: int, flags: int, body: bytes) -> bytes:
    generic = struct.pack("=BBH", socket.AF_INET, 0, 0)
    return struct.pack("=IHHII", 16 + len(generic) + len(body), kind, flags, 0, 0) + generic + body


def _filling(address: IPv4Address, port: int) -> bytes:
    """One assured UDP flow from `port` of `address`."""
    here, there = (address, port), (_FILLING[-2], _DISCARD)
    tuples = _tuple(_ORIGINAL, socket.IPPROTO_UDP, here, there) + _tuple(_REPLY, socket.IPPROTO_UDP, there, here)
    values = ((_STATUS, _ASSURED), (_TIMEOUT, _FILLING_SECONDS), (_MARK, _FILLING_MARK))
    about = b"".join(_attribute(kind, struct.pack("!I", value)) for kind, value in values)
    return _message(_NEW, _REQUEST | _CREATE | _EXCLUSIVE, tuples + about)


def _fillings() -> Iterator[memoryview]:
    """Messages of `_AT_ONCE` flows each; a flow's message differs from the next one's in the two octets of a port, twice."""
    pattern = _filling(_FILLING[1], 0x0102)
    varying = [at for at, octet in enumerate(_filling(_FILLING[1], 0x0304)) if octet != pattern[at]]
    size = len(pattern)
    octets = [bytes(port >> shift & 0xFF for port in range(65_536)) for shift in (8, 0)] * 2
    for host in range(1, 1 + MOST_ENTRIES // 65_536):
        flows = bytearray(_filling(_FILLING[host], 0) * 65_536)
        for at, values in zip(varying, octets, strict=True):
            flows[at::size] = values
        for first in range(0, 65_536, _AT_ONCE):
            yield memoryview(flows)[first * size : (first + _AT_ONCE) * size]
