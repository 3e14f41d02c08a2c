"""Asks ctnetlink for the whole table, and listens for entries that come into being: bytes in, bytes out, nothing decoded.

A socket keeps the network namespace that it was opened in, whichever thread reads it later.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import closing

from pathtap.agent.readers.conntrack_messages import (
    FILTER,
    NESTED,
    NFGENMSG_BYTES,
    PROTO_NUM,
    TUPLE_ORIG,
    TUPLE_PROTO,
)
from pathtap.agent.readers.netlink import RefusedError

# linux/netlink.h, linux/netfilter/nfnetlink.h and nfnetlink_compat.h.
NETLINK_NETFILTER = 12
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP = 270, 1
SO_RCVBUFFORCE = 33
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NFNLGRP_CONNTRACK_NEW = 1
# NFNL_SUBSYS_CTNETLINK << 8, with IPCTNL_MSG_CT_NEW and IPCTNL_MSG_CT_GET.
CT_NEW, CT_GET = 0x100, 0x101
# enum ctattr_filter, and the bit of CTA_FILTER_FLAG_CTA_PROTO_NUM (net/netfilter/nf_conntrack_netlink.c).
FILTER_ORIG_FLAGS, FILTER_PROTO_NUM = 1, 1 << 3

# The kernel fills a dump's messages up to 32 KiB.
RECEIVE_BYTES = 1 << 16
# Of memory that the kernel may hold for events nobody has read yet, some thousands of them; it doubles the figure (socket(7)).
EVENT_BYTES = 2 << 20
_HEADER = struct.Struct("=IHHII")
# The kernel's answers to a filter that it does not know (before 5.8).
_NO_FILTER = frozenset({errno.EOPNOTSUPP, errno.EINVAL})


def dump(family: int, protocol: int = 0) -> Iterator[bytes]:
    """The body of each entry of `family`, of every zone; of `protocol` alone where that is not 0 and the kernel can filter.

    An entry may come twice or not at all while the table changes. Raises OSError, RefusedError among them.
    """
    try:
        yield from _dump(family, _protocol_filter(protocol) if protocol else b"")
    except RefusedError as refusal:
        if not protocol or refusal.errno not in _NO_FILTER:
            raise
        yield from _dump(family, b"")


class NewEntries:
    """A listener to the entries that come into being in the current network namespace from now on. Raises RefusedError.

    `missed` is True once the kernel has dropped events that nobody had read.
    """

    def __init__(self) -> None:
        self.missed = False
        self._socket = _opened()
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, EVENT_BYTES)
            self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_CONNTRACK_NEW)
            self._socket.setblocking(False)
        except OSError as error:
            self._socket.close()
            raise RefusedError(error.errno, error.strerror) from error
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def read(self, most: int = 10_000) -> Iterator[bytes]:
        """The bodies of those that have come by now, in their order; no more than about `most` at once."""
        for _ in range(most):
            try:
                data = self._socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.missed = True
                continue
            for kind, start, end in _messages(data):
                if kind == CT_NEW:
                    yield data[start:end]


def _opened() -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    try:
        opened.bind((0, 0))
    except BaseException:
        opened.close()
        raise
    return opened


def _dump(family: int, attributes: bytes) -> Iterator[bytes]:
    body = struct.pack("!BBH", family, 0, 0) + attributes
    with closing(_opened()) as opened:
        opened.send(_HEADER.pack(_HEADER.size + len(body), CT_GET, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + body)
        while True:
            data = opened.recv(RECEIVE_BYTES)
            for kind, start, end in _messages(data):
                if kind == CT_NEW:
                    yield data[start:end]
                elif kind in (NLMSG_ERROR, NLMSG_DONE):
                    _refuse(data[start:end])
                    return


def _messages(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Type, and where the body begins and ends: struct nlmsghdr has 16 octets, each begins at a multiple of four."""
    offset = 0
    while offset + _HEADER.size + NFGENMSG_BYTES <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size or offset + length > len(data):
            return
        yield kind, offset + _HEADER.size, offset + length
        offset += (length + 3) & ~3


def _refuse(body: bytes) -> None:
    """Both ends of a dump begin with 0 or a negative errno."""
    number = -struct.unpack_from("=i", body)[0]
    if number:
        raise RefusedError(number, os.strerror(number))


def _protocol_filter(protocol: int) -> bytes:
    number = _attribute(PROTO_NUM, bytes([protocol]))
    flags = _attribute(FILTER_ORIG_FLAGS, struct.pack("=I", FILTER_PROTO_NUM))
    wanted = _attribute(TUPLE_ORIG | NESTED, _attribute(TUPLE_PROTO | NESTED, number))
    return wanted + _attribute(FILTER | NESTED, flags)


def _attribute(kind: int, value: bytes) -> bytes:
    head = struct.pack("=HH", 4 + len(value), kind)
    return head + value + b"\0" * (-len(value) % 4)
