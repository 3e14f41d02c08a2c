"""The ICMP errors that the kernel queues for a socket (IP_RECVERR, ip(7)): who sent which, about what; and what an errno
of the kernel's own may mean.

Without the queue a socket only has an errno, and ECONNREFUSED from a firewall's port-unreachable message looks like the
peer's own reset. Knows no probe.
"""

import os
import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address

from pathtap.model.address import Address

# linux/in.h, linux/in6.h, linux/errqueue.h.
IP_RECVERR, IPV6_RECVERR = 11, 25
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PMTUDISC_PROBE = 10, 23, 3
ORIGIN_ICMP, ORIGIN_ICMP6 = 2, 3
# Fragmentation needed (RFC 792, RFC 1191) and packet too big (RFC 4443): their ee_info is the next link's MTU.
TOO_BIG = frozenset({(ORIGIN_ICMP, 3, 4), (ORIGIN_ICMP6, 2, 0)})
# struct sock_extended_err: ee_errno, ee_origin, ee_type, ee_code, ee_pad, ee_info, ee_data.
EXTENDED_ERROR = struct.Struct("=IBBBBII")
QUOTED_BYTES = 128
ANCILLARY_BYTES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class IcmpError:
    """`sender` is None where the kernel does not know it; `quoted` is the packet from its transport header on.

    `mtu` is what a message of a packet too large names, in bytes; 0 for every other message.
    """

    errno: int
    type: int
    code: int
    sender: Address | None
    quoted: bytes
    mtu: int = 0

    def sentence(self) -> str:
        sender = f"{self.sender}" if self.sender else "an unknown address"
        limit = f", where the next link's MTU is {self.mtu}" if self.mtu else ""
        return f"{os.strerror(self.errno)}: ICMP type {self.type} code {self.code} from {sender}{limit}."


def is_broadcast(address: Address) -> bool:
    """As the routes of the current network namespace have it: only a socket that is allowed to broadcast connects to it.

    The kernel says EACCES of such an address over UDP and ICMP (ip4_datagram_connect), as it does where a route prohibits it,
    and ENETUNREACH over TCP (tcp_v4_connect). Sends nothing.
    """
    if address.version != 4:
        return False
    allowed = []
    for broadcast in (0, 1):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, broadcast)
            allowed.append(opened.connect_ex((str(address), 9)) == 0)
    return allowed == [False, True]


def forbid_fragments(opened: socket.socket) -> None:
    """Sets don't-fragment, with the interface's MTU as the only limit at home.

    IP_PMTUDISC_PROBE (ip(7)), not _DO: the latter would hold to a path MTU that was learned up to ten minutes ago, and say
    so without sending anything.
    """
    if opened.family == socket.AF_INET:
        opened.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
    else:
        opened.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DONTFRAG, 1)


def ask_for_errors(opened: socket.socket) -> None:
    """Lets the kernel queue ICMP errors for this IPv4 or IPv6 socket."""
    if opened.family == socket.AF_INET:
        opened.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    else:
        opened.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)


def read_error(opened: socket.socket) -> IcmpError | None:
    """The oldest error that an ICMP message brought, or None; errors of the kernel's own are passed over."""
    while True:
        try:
            quoted, ancillary, _, _ = opened.recvmsg(QUOTED_BYTES, ANCILLARY_BYTES, socket.MSG_ERRQUEUE)
        except OSError:
            # EAGAIN for an empty queue; an errno that waited on the socket itself is told by its owner's next call.
            return None
        for level, kind, content in ancillary:
            if (level, kind) in ((socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)):
                error = decode_error(content, quoted)
                if error is not None:
                    return error


def decode_error(content: bytes, quoted: bytes) -> IcmpError | None:
    """struct sock_extended_err, and behind it the sockaddr of SO_EE_OFFENDER. None for what no ICMP message brought."""
    if len(content) < EXTENDED_ERROR.size:
        return None
    number, origin, kind, code, _, information, _ = EXTENDED_ERROR.unpack_from(content)
    if origin not in (ORIGIN_ICMP, ORIGIN_ICMP6):
        return None
    sender = _sender(content[EXTENDED_ERROR.size :])
    mtu = information if (origin, kind, code) in TOO_BIG else 0
    return IcmpError(errno=number, type=kind, code=code, sender=sender, quoted=quoted, mtu=mtu)


def _sender(data: bytes) -> Address | None:
    """sockaddr_in has its address at byte 4, sockaddr_in6 at byte 8; an unknown sender is AF_UNSPEC."""
    if len(data) < 2:
        return None
    (family,) = struct.unpack_from("=H", data)
    if family == socket.AF_INET and len(data) >= 8:
        return ip_address(data[4:8])
    if family == socket.AF_INET6 and len(data) >= 24:
        return ip_address(data[8:24])
    return None
