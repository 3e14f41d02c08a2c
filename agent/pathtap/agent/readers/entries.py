"""A legacy table as the kernel holds it: how many entries, and a fingerprint that changes when any of them does.

The kernel keeps no generation number for these tables, so the fingerprint is a hash of all entries without their
counters. Knows no rule. Opens no table that does not exist: the kernel would create it (xt_request_find_table_lock).
"""

import ctypes
import hashlib
import mmap
import os
import socket
import struct
from dataclasses import dataclass

# linux/netfilter_ipv4/ip_tables.h and linux/netfilter_ipv6/ip6_tables.h: the numbers are the same in both.
_GET_INFO = 64
_GET_ENTRIES = 65
# struct ipt_getinfo: name, valid_hooks, hook_entry[5], underflow[5], num_entries, size.
_INFO = struct.Struct("=32s11I2I")
# struct ipt_get_entries: name, size, and padding in front of the entries.
_HEAD = struct.Struct("=32sI4x")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """`next_offset` and `counters` are offsets within struct ipt_entry or ip6t_entry."""

    domain: int
    level: int
    next_offset: int
    counters: int


_LAYOUTS = {
    "ip": _Layout(domain=socket.AF_INET, level=socket.IPPROTO_IP, next_offset=90, counters=96),
    "ip6": _Layout(domain=socket.AF_INET6, level=socket.IPPROTO_IPV6, next_offset=142, counters=152),
}


def count(family: str, table: str) -> int:
    """The entries of an existing table: rules, one of each policy, one or two of each user chain. Raises OSError."""
    with _socket(family) as asking:
        return _info(asking, family, table)[0]


def fetch(family: str, table: str) -> mmap.mmap:
    """All entries of an existing table, as the kernel holds them. Raises OSError, also where the table changes meanwhile."""
    with _socket(family) as asking:
        size = _info(asking, family, table)[1]
        # Pages of its own, which the system has back at once: 30 MB for 50,000 rules, which malloc would keep for its thread.
        answer = mmap.mmap(-1, _HEAD.size + size)
        _HEAD.pack_into(answer, 0, table.encode(), size)
        _ask(asking, _LAYOUTS[family].level, _GET_ENTRIES, answer)
    return answer


def fingerprint(family: str, fetched: bytearray | mmap.mmap) -> bytes:
    """Equal for the same rules in the same chains, whatever they have counted. Overwrites the counters in `fetched`."""
    entries = memoryview(fetched)[_HEAD.size :]
    _clear_counters(entries, _LAYOUTS[family])
    return hashlib.sha256(entries).digest()


def _clear_counters(entries: memoryview, layout: _Layout) -> None:
    """In place. Entries are aligned to 8 octets (XT_ALIGN of linux/netfilter/x_tables.h). Raises ValueError for anything else."""
    halves, words = entries.cast("H"), entries.cast("Q")
    counters, next_offset = layout.counters // 8, layout.next_offset // 2
    at, end = 0, len(words)
    while at < end:
        words[at + counters] = words[at + counters + 1] = 0
        length = halves[4 * at + next_offset]
        if length < layout.counters or length % 8:
            raise ValueError("the kernel's entries do not follow one another")
        at += length // 8


def _socket(family: str) -> socket.socket:
    return socket.socket(_LAYOUTS[family].domain, socket.SOCK_RAW, socket.IPPROTO_RAW)


def _info(asking: socket.socket, family: str, table: str) -> tuple[int, int]:
    """(number of entries, their size in octets)."""
    answer = bytearray(_INFO.pack(table.encode(), *([0] * 13)))
    _ask(asking, _LAYOUTS[family].level, _GET_INFO, answer)
    *_, entries, size = _INFO.unpack(answer)
    return entries, size


def _ask(asking: socket.socket, level: int, option: int, buffer: bytearray | mmap.mmap) -> None:
    """getsockopt(2) with the question in its buffer, and answers beyond the 1,024 octets that Python's own allows."""
    size = ctypes.c_uint32(len(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    octets = (ctypes.c_char * len(buffer)).from_buffer(buffer)
    if libc.getsockopt(asking.fileno(), level, option, octets, ctypes.byref(size)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
