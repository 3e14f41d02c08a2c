"""Interfaces and neighbours, a node's or a pod's own, both ways. Knows no snapshot."""

from pathtap.model.node import Interface, Neighbour, Role
from pathtap.v1 import node_pb2 as pb
from pathtap.wire.addresses import (
    address_from_wire,
    address_to_wire,
    interface_address_from_wire,
    interface_address_to_wire,
    network_from_wire,
    network_to_wire,
)
from pathtap.wire.errors import EnumTable

ROLES = EnumTable(
    "interface's role",
    {
        Role.PRIMARY_ENI: pb.Interface.PRIMARY_ENI,
        Role.SECONDARY_ENI: pb.Interface.SECONDARY_ENI,
        Role.BRANCH_ENI: pb.Interface.BRANCH_ENI,
        Role.POD_VETH: pb.Interface.POD_VETH,
        Role.LOOPBACK: pb.Interface.LOOPBACK,
        Role.OTHER: pb.Interface.OTHER,
    },
)


def interface_to_wire(interface: Interface) -> pb.Interface:
    return pb.Interface(
        index=interface.index,
        name=interface.name,
        role=ROLES.to_wire(interface.role),
        mac=interface.mac,
        mtu=interface.mtu,
        up=interface.up,
        addresses=[interface_address_to_wire(address) for address in interface.addresses],
        pod_addresses=[address_to_wire(address) for address in interface.pod_addresses],
        eni_id=interface.eni_id,
        eni_addresses=[network_to_wire(network) for network in interface.eni_addresses],
    )


def interface_from_wire(message: pb.Interface) -> Interface:
    return Interface(
        index=message.index,
        name=message.name,
        role=ROLES.from_wire(message.role),
        mac=message.mac,
        mtu=message.mtu,
        up=message.up,
        addresses=tuple(interface_address_from_wire(prefix) for prefix in message.addresses),
        pod_addresses=tuple(address_from_wire(packed) for packed in message.pod_addresses),
        eni_id=message.eni_id,
        eni_addresses=tuple(network_from_wire(prefix) for prefix in message.eni_addresses),
    )


def neighbour_to_wire(neighbour: Neighbour) -> pb.Neighbour:
    return pb.Neighbour(
        interface=neighbour.interface,
        address=address_to_wire(neighbour.address),
        mac=neighbour.mac,
        state=neighbour.state,
    )


def neighbour_from_wire(message: pb.Neighbour) -> Neighbour:
    return Neighbour(
        interface=message.interface,
        address=address_from_wire(message.address),
        mac=message.mac if message.HasField("mac") else None,
        state=message.state,
    )
