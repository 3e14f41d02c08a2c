"""The numbers of rtnetlink in the words that iproute2 prints for them. Reads no file: a node's own names are not ours."""

from socket import AF_INET

from pathtap.model.address import Protocol

PROTOCOL_KERNEL = 2
PROTOCOL_BOOT = 3

# linux/rtnetlink.h, with the names of iproute2's etc/iproute2/rt_protos.
_ROUTE_PROTOCOLS = {
    0: "unspec",
    1: "redirect",
    2: "kernel",
    3: "boot",
    4: "static",
    8: "gated",
    9: "ra",
    10: "mrt",
    11: "zebra",
    12: "bird",
    13: "dnrouted",
    14: "xorp",
    15: "ntk",
    16: "dhcp",
    18: "keepalived",
    42: "babel",
    186: "bgp",
    187: "isis",
    188: "ospf",
    189: "rip",
    192: "eigrp",
}
_SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
_IP_PROTOCOLS = {Protocol.ICMP: "icmp", Protocol.TCP: "tcp", Protocol.UDP: "udp", Protocol.ICMPV6: "ipv6-icmp"}


def version(family: int) -> int:
    """AF_INET and AF_INET6 as 4 and 6."""
    return 4 if family == AF_INET else 6


def host_length(family: int) -> int:
    return 32 if family == AF_INET else 128


def prefix(family: int, address: str, length: int) -> str:
    """`10.0.0.1` for a host, else `10.0.0.0/8`."""
    return address if length == host_length(family) else f"{address}/{length}"


def route_protocol(number: int) -> str:
    return _ROUTE_PROTOCOLS.get(number, str(number))


def scope(number: int) -> str:
    return _SCOPES.get(number, str(number))


def tos(number: int) -> str:
    return f"{number:#04x}"


def hexadecimal(number: int) -> str:
    """As C's %#x: no prefix for 0."""
    return f"{number:#x}" if number else "0"


def ip_protocol(number: int) -> str:
    return _IP_PROTOCOLS.get(Protocol(number), str(number)) if number in set(Protocol) else str(number)
