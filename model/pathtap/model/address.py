"""Addresses, transport endpoints and the five-tuple that names one direction of a flow."""

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
InterfaceAddress: TypeAlias = IPv4Interface | IPv6Interface
Network: TypeAlias = IPv4Network | IPv6Network

# What the VPC CNI's egress-cni plugin gives pods as their way out by the other family: of an IPv6 cluster, and of an IPv4 one.
EGRESS_CNI = (IPv4Network("169.254.172.0/22"), IPv6Network("fd00::ac:0/118"))


def is_for_one_node(address: Address) -> bool:
    """Whether every node has this address for itself: link-local ones, and those of pods' way out by the other family."""
    return address.is_link_local or any(address in network for network in EGRESS_CNI)


class Protocol(IntEnum):
    """IANA protocol numbers of what pathtap traces."""

    ICMP = 1
    TCP = 6
    UDP = 17
    ICMPV6 = 58

    @property
    def is_icmp(self) -> bool:
        return self in (Protocol.ICMP, Protocol.ICMPV6)


def protocol_name(number: int) -> str:
    """`tcp`, `icmpv6`, or `protocol 47` for what has no name here."""
    try:
        return Protocol(number).name.lower()
    except ValueError:
        return f"protocol {number}"


@dataclass(frozen=True, slots=True, order=True)
class Socket:
    """One end of a flow. `port` is an ICMP identifier where the protocol is ICMP."""

    address: Address
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}" if self.port else str(self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class FiveTuple:
    """One direction of a flow.

    ICMP has no ports: the identifier stands at the end that asked, 0 at the end that answers. An echo request is
    (id, 0), its reply (0, id), so that `reversed` and NAT mean for ICMP what they mean for TCP and UDP.
    """

    protocol: int
    source: Address
    source_port: int
    destination: Address
    destination_port: int

    @property
    def reversed(self) -> "FiveTuple":
        return FiveTuple(
            protocol=self.protocol,
            source=self.destination,
            source_port=self.destination_port,
            destination=self.source,
            destination_port=self.source_port,
        )

    @property
    def source_socket(self) -> Socket:
        return Socket(self.source, self.source_port)

    @property
    def destination_socket(self) -> Socket:
        return Socket(self.destination, self.destination_port)

    @property
    def family(self) -> int:
        """4 or 6."""
        return self.source.version

    def __str__(self) -> str:
        if self.protocol in (Protocol.ICMP, Protocol.ICMPV6):
            identifier = self.source_port or self.destination_port
            named = f" id {identifier}" if identifier else ""
            return f"{protocol_name(self.protocol)} {self.source} → {self.destination}{named}"
        return f"{protocol_name(self.protocol)} {self.source_socket} → {self.destination_socket}"
