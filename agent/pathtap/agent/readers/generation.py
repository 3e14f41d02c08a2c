"""Which state nf_tables is in: a number that every transaction in a network namespace changes. Reads no table.

NFT_MSG_GETGEN (Linux 3.17, net/netfilter/nf_tables_api.c: nf_tables_getgen). Packets change counters and dynamic sets
without a transaction.
"""

import os
import struct
from dataclasses import dataclass
from socket import AF_NETLINK, AF_UNSPEC, SO_RCVTIMEO, SOCK_RAW, SOL_SOCKET, htons, socket

_NETLINK_NETFILTER = 12
# linux/netfilter/nfnetlink.h and nf_tables.h: NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, NFT_MSG_NEWGEN.
_GETGEN = 10 << 8 | 16
_NEWGEN = 10 << 8 | 15
_NLM_F_REQUEST = 1
_NFTA_GEN_ID = 1
# struct nlmsghdr, struct nfgenmsg, struct nlattr.
_HEADER = struct.Struct("=IHHII")
_FAMILY = struct.Struct("=BBH")
_ATTRIBUTE = struct.Struct("=HH")
_SECONDS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """`namespace` is the inode of the network namespace: each counts for itself."""

    namespace: int
    number: int


def read() -> Generation:
    """Of the calling thread's network namespace. Raises OSError, also where the kernel has no nf_tables."""
    with socket(AF_NETLINK, SOCK_RAW, _NETLINK_NETFILTER) as asking:
        asking.setsockopt(SOL_SOCKET, SO_RCVTIMEO, struct.pack("@ll", _SECONDS, 0))
        body = _FAMILY.pack(AF_UNSPEC, 0, htons(0))
        asking.send(_HEADER.pack(_HEADER.size + len(body), _GETGEN, _NLM_F_REQUEST, 1, 0) + body)
        answer = asking.recv(4096)
    return Generation(namespace=os.stat("/proc/thread-self/ns/net").st_ino, number=decode(answer))


def decode(answer: bytes) -> int:
    """The number in the kernel's answer. Raises OSError where it refuses or says something else."""
    length, kind, *_ = _HEADER.unpack_from(answer)
    if kind != _NEWGEN:
        raise OSError(f"nf_tables tells no generation: the kernel answered with message {kind:#x}")
    at = _HEADER.size + _FAMILY.size
    while at + _ATTRIBUTE.size <= length:
        size, name = _ATTRIBUTE.unpack_from(answer, at)
        if name == _NFTA_GEN_ID:
            return int.from_bytes(answer[at + _ATTRIBUTE.size : at + size], "big")
        at += max(size + 3 & ~3, _ATTRIBUTE.size)
    raise OSError("nf_tables tells no generation: its answer has no number")
