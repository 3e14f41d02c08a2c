"""Addresses, prefixes, five-tuples and times. Knows no node, no packet, no trace.

Addresses travel as their packed bytes, 4 or 16; where a message allows it, no bytes at all mean None.
"""

from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from google.protobuf.timestamp_pb2 import Timestamp

from pathtap.model.address import Address, FiveTuple, InterfaceAddress, Network
from pathtap.v1 import node_pb2 as pb
from pathtap.wire.errors import WireError, bounded

NANOSECONDS = 1_000_000_000
MAX_PROTOCOL = 255
MAX_PORT = 65_535


def address_to_wire(address: Address) -> bytes:
    return address.packed


def address_from_wire(packed: bytes) -> Address:
    """Raises WireError unless `packed` has 4 or 16 bytes."""
    match len(packed):
        case 4:
            return IPv4Address(packed)
        case 16:
            return IPv6Address(packed)
        case length:
            raise WireError(f"An address has 4 or 16 bytes, not {length}.")


def optional_address_to_wire(address: Address | None) -> bytes:
    return b"" if address is None else address.packed


def optional_address_from_wire(packed: bytes) -> Address | None:
    return address_from_wire(packed) if packed else None


def network_to_wire(network: Network) -> pb.Prefix:
    return pb.Prefix(address=network.network_address.packed, length=network.prefixlen)


def network_from_wire(prefix: pb.Prefix) -> Network:
    """Raises WireError where bits are set beyond the prefix's length."""
    interface = interface_address_from_wire(prefix)
    if interface.ip != interface.network.network_address:
        raise WireError(f"The prefix {interface} has bits set beyond its length.")
    return interface.network


def interface_address_to_wire(address: InterfaceAddress) -> pb.Prefix:
    return pb.Prefix(address=address.packed, length=address.network.prefixlen)


def interface_address_from_wire(prefix: pb.Prefix) -> InterfaceAddress:
    """Keeps the host bits: 192.168.1.29/24."""
    address = address_from_wire(prefix.address)
    length = bounded(prefix.length, address.max_prefixlen, "prefix length")
    if isinstance(address, IPv4Address):
        return IPv4Interface((address, length))
    return IPv6Interface((address, length))


def five_tuple_to_wire(five_tuple: FiveTuple) -> pb.FiveTuple:
    return pb.FiveTuple(
        protocol=five_tuple.protocol,
        source=five_tuple.source.packed,
        source_port=five_tuple.source_port,
        destination=five_tuple.destination.packed,
        destination_port=five_tuple.destination_port,
    )


def five_tuple_from_wire(message: pb.FiveTuple) -> FiveTuple:
    """Raises WireError for two families in one tuple, and for numbers that no header can hold."""
    if len(message.source) != len(message.destination):
        raise WireError("A five-tuple mixes an IPv4 and an IPv6 address.")
    return FiveTuple(
        protocol=bounded(message.protocol, MAX_PROTOCOL, "protocol"),
        source=address_from_wire(message.source),
        source_port=bounded(message.source_port, MAX_PORT, "port"),
        destination=address_from_wire(message.destination),
        destination_port=bounded(message.destination_port, MAX_PORT, "port"),
    )


def timestamp_to_wire(nanoseconds: int) -> Timestamp:
    seconds, nanos = divmod(nanoseconds, NANOSECONDS)
    return Timestamp(seconds=seconds, nanos=nanos)


def timestamp_from_wire(timestamp: Timestamp) -> int:
    """Nanoseconds since the Unix epoch."""
    return timestamp.seconds * NANOSECONDS + timestamp.nanos
