"""Reads entries of the connection tracking table: one by its tuple, or all that hold an address. Changes none.

Entries of conntrack zone 0 are found by tuple; a dump shows those of every zone. No VPC CNI node uses another zone.
"""

from collections.abc import Iterator, Mapping
from errno import EINVAL, EOPNOTSUPP
from ipaddress import ip_address
from socket import AF_INET, AF_INET6
from typing import Any

from pathtap.agent.readers import netlink
from pathtap.agent.readers.netlink import Message, RefusedError
from pathtap.model.address import Address, FiveTuple, Protocol
from pathtap.model.conntrack import ConntrackEntry

# IPS_* by bit, of linux/netfilter/nf_conntrack_common.h.
_STATUS = (
    "EXPECTED",
    "SEEN_REPLY",
    "ASSURED",
    "CONFIRMED",
    "SRC_NAT",
    "DST_NAT",
    "SEQ_ADJUST",
    "SRC_NAT_DONE",
    "DST_NAT_DONE",
    "DYING",
    "FIXED_TIMEOUT",
    "TEMPLATE",
    "NAT_CLASH",
    "HELPER",
    "OFFLOAD",
    "HW_OFFLOAD",
)
# enum tcp_conntrack of linux/netfilter/nf_conntrack_tcp.h.
_TCP_STATES = (
    "NONE",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "SYN_SENT2",
)
# Types that ask, by RFC 792, RFC 950 and RFC 4443; nf_conntrack_proto_icmp.c and _icmpv6.c map each to its answer.
ASKING = {Protocol.ICMP: frozenset({8, 13, 15, 17}), Protocol.ICMPV6: frozenset({128, 139})}
_ECHO = {Protocol.ICMP: (8, 0), Protocol.ICMPV6: (128, 129)}
# The kernel's answers to a filter that it does not know (before 5.8).
_NO_FILTER = frozenset({EOPNOTSUPP, EINVAL})


def fetch_one(wanted: FiveTuple) -> Message | None:
    """The entry whose original or reply tuple is `wanted`, or None. Raises OSError."""
    family = AF_INET if wanted.family == 4 else AF_INET6
    with netlink.conntrack(family) as socket:
        return netlink.conntrack_get(socket, family, _selectors(wanted))


def fetch_all(address: Address) -> tuple[Message, ...]:
    """The entries that have `address` as one end of either tuple; possibly more, where the kernel cannot filter.

    Raises OSError.
    """
    family = AF_INET if address.version == 4 else AF_INET6
    with netlink.conntrack(family) as socket:
        try:
            return tuple(_filtered(socket, family, address))
        except RefusedError as refusal:
            if refusal.errno not in _NO_FILTER:
                raise
            return netlink.conntrack_dump(socket, family, {}, "original")


def decode(messages: tuple[Message, ...], node: str) -> tuple[ConntrackEntry, ...]:
    """In the order given; entries of families other than IPv4 and IPv6 are left out."""
    return tuple(_decode(message, node) for message in messages if message["nfgen_family"] in (AF_INET, AF_INET6))


def holds(entry: ConntrackEntry, address: Address) -> bool:
    ends = (entry.original.source, entry.original.destination, entry.reply.source, entry.reply.destination)
    return address in ends


def _filtered(socket: Any, family: int, address: Address) -> Iterator[Message]:
    for direction in ("original", "reply"):
        for end in ("saddr", "daddr"):
            yield from netlink.conntrack_dump(socket, family, {end: str(address)}, direction)


def _selectors(wanted: FiveTuple) -> Mapping[str, Any]:
    ends = {"saddr": str(wanted.source), "daddr": str(wanted.destination), "proto": wanted.protocol}
    if wanted.protocol in _ECHO:
        asks = wanted.source_port != 0 or wanted.destination_port == 0
        request, reply = _ECHO[Protocol(wanted.protocol)]
        identifier = wanted.source_port or wanted.destination_port
        return {**ends, "icmp_id": identifier, "icmp_type": request if asks else reply, "icmp_code": 0}
    return {**ends, "sport": wanted.source_port, "dport": wanted.destination_port}


def _decode(message: Message, node: str) -> ConntrackEntry:
    attributes = message["attrs"]
    tcp = attributes.get("CTA_PROTOINFO", {}).get("attrs", {}).get("CTA_PROTOINFO_TCP", {}).get("attrs", {})
    state = tcp.get("CTA_PROTOINFO_TCP_STATE")
    status = attributes.get("CTA_STATUS", 0)
    return ConntrackEntry(
        node=node,
        original=_tuple(attributes["CTA_TUPLE_ORIG"]),
        reply=_tuple(attributes["CTA_TUPLE_REPLY"]),
        zone=attributes.get("CTA_ZONE", 0),
        mark=attributes.get("CTA_MARK", 0),
        status=status_names(status),
        tcp_state="" if state is None else tcp_state_name(state),
        timeout=attributes.get("CTA_TIMEOUT", 0),
    )


def status_names(status: int) -> frozenset[str]:
    """The kernel's names of CTA_STATUS's bits."""
    return frozenset(name for bit, name in enumerate(_STATUS) if status >> bit & 1)


def tcp_state_name(number: int) -> str:
    """The kernel's name of CTA_PROTOINFO_TCP_STATE, the number for one without a name here."""
    return _TCP_STATES[number] if number < len(_TCP_STATES) else str(number)


def _tuple(message: Message) -> FiveTuple:
    addresses = message["attrs"]["CTA_TUPLE_IP"]["attrs"]
    protocol = message["attrs"]["CTA_TUPLE_PROTO"]["attrs"]
    version = "V6" if "CTA_IP_V6_SRC" in addresses else "V4"
    source_port, destination_port = _ports(protocol)
    return FiveTuple(
        protocol=protocol["CTA_PROTO_NUM"],
        source=ip_address(addresses[f"CTA_IP_{version}_SRC"]),
        source_port=source_port,
        destination=ip_address(addresses[f"CTA_IP_{version}_DST"]),
        destination_port=destination_port,
    )


def _ports(protocol: Mapping[str, Any]) -> tuple[int, int]:
    """An ICMP identifier stands at the end that asks. Protocols without ports have 0 at both."""
    for number, name in ((Protocol.ICMP, "ICMP"), (Protocol.ICMPV6, "ICMPV6")):
        if protocol["CTA_PROTO_NUM"] == number:
            identifier = protocol.get(f"CTA_PROTO_{name}_ID", 0)
            asks = protocol.get(f"CTA_PROTO_{name}_TYPE") in ASKING[number]
            return (identifier, 0) if asks else (0, identifier)
    return protocol.get("CTA_PROTO_SRC_PORT", 0), protocol.get("CTA_PROTO_DST_PORT", 0)
