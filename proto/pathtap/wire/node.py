"""A node's snapshot and its parts, both ways. Knows no stream and no command."""

from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.node import Interface, Neighbour, NodeSnapshot, Role, RouteAnswer, Unread
from pathtap.v1 import node_pb2 as pb
from pathtap.wire.addresses import (
    address_from_wire,
    address_to_wire,
    five_tuple_from_wire,
    five_tuple_to_wire,
    interface_address_from_wire,
    interface_address_to_wire,
    network_from_wire,
    network_to_wire,
    optional_address_from_wire,
    optional_address_to_wire,
    timestamp_from_wire,
    timestamp_to_wire,
)
from pathtap.wire.errors import EnumTable, require
from pathtap.wire.netfilter import rule_set_from_wire, rule_set_to_wire
from pathtap.wire.routing import route_from_wire, route_to_wire, rule_from_wire, rule_to_wire

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


def snapshot_to_wire(snapshot: NodeSnapshot) -> pb.NodeSnapshot:
    return pb.NodeSnapshot(
        node=snapshot.node,
        boot_id=snapshot.boot_id,
        taken_at=timestamp_to_wire(snapshot.taken_at),
        kernel=snapshot.kernel,
        interfaces=[_interface_to_wire(interface) for interface in snapshot.interfaces],
        rules=[rule_to_wire(rule) for rule in snapshot.rules],
        routes=[route_to_wire(route) for route in snapshot.routes],
        neighbours=[_neighbour_to_wire(neighbour) for neighbour in snapshot.neighbours],
        sysctls=snapshot.sysctls,
        rule_sets=[rule_set_to_wire(rule_set) for rule_set in snapshot.rule_sets],
        unread=[unread_to_wire(unread) for unread in snapshot.unread],
    )


def snapshot_from_wire(message: pb.NodeSnapshot) -> NodeSnapshot:
    require(message, "taken_at")
    return NodeSnapshot(
        node=message.node,
        boot_id=message.boot_id,
        taken_at=timestamp_from_wire(message.taken_at),
        kernel=message.kernel,
        interfaces=tuple(_interface_from_wire(interface) for interface in message.interfaces),
        rules=tuple(rule_from_wire(rule) for rule in message.rules),
        routes=tuple(route_from_wire(route) for route in message.routes),
        neighbours=tuple(_neighbour_from_wire(neighbour) for neighbour in message.neighbours),
        sysctls=dict(message.sysctls),
        rule_sets=tuple(rule_set_from_wire(rule_set) for rule_set in message.rule_sets),
        unread=tuple(unread_from_wire(unread) for unread in message.unread),
    )


def unread_to_wire(unread: Unread) -> pb.Unread:
    return pb.Unread(part=unread.part, reason=unread.reason)


def unread_from_wire(message: pb.Unread) -> Unread:
    return Unread(part=message.part, reason=message.reason)


def route_answer_to_wire(answer: RouteAnswer) -> pb.RouteAnswer:
    return pb.RouteAnswer(
        table=answer.table,
        interface=answer.interface,
        gateway=optional_address_to_wire(answer.gateway),
        route=answer.route,
        error=answer.error,
    )


def route_answer_from_wire(message: pb.RouteAnswer) -> RouteAnswer:
    return RouteAnswer(
        table=message.table,
        interface=message.interface,
        gateway=optional_address_from_wire(message.gateway),
        route=message.route,
        error=message.error,
    )


def conntrack_entry_to_wire(entry: ConntrackEntry) -> pb.ConntrackEntry:
    """The node is not sent: the envelope has it."""
    return pb.ConntrackEntry(
        original=five_tuple_to_wire(entry.original),
        reply=five_tuple_to_wire(entry.reply),
        zone=entry.zone,
        mark=entry.mark,
        status=sorted(entry.status),
        tcp_state=entry.tcp_state,
        timeout=entry.timeout,
    )


def conntrack_entry_from_wire(message: pb.ConntrackEntry, node: str) -> ConntrackEntry:
    require(message, "original")
    require(message, "reply")
    return ConntrackEntry(
        node=node,
        original=five_tuple_from_wire(message.original),
        reply=five_tuple_from_wire(message.reply),
        zone=message.zone,
        mark=message.mark,
        status=frozenset(message.status),
        tcp_state=message.tcp_state,
        timeout=message.timeout,
    )


def _interface_to_wire(interface: Interface) -> pb.Interface:
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


def _interface_from_wire(message: pb.Interface) -> Interface:
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


def _neighbour_to_wire(neighbour: Neighbour) -> pb.Neighbour:
    return pb.Neighbour(
        interface=neighbour.interface,
        address=address_to_wire(neighbour.address),
        mac=neighbour.mac,
        state=neighbour.state,
    )


def _neighbour_from_wire(message: pb.Neighbour) -> Neighbour:
    return Neighbour(
        interface=message.interface,
        address=address_from_wire(message.address),
        mac=message.mac if message.HasField("mac") else None,
        state=message.state,
    )
