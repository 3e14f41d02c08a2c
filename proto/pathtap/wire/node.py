"""A node's snapshot and its parts, both ways. Knows no stream and no command."""

from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.node import (
    CniSettings,
    EgressPlugin,
    IpSet,
    NodeSnapshot,
    PodInterior,
    RouteAnswer,
    TcProgram,
    Unread,
)
from pathtap.v1 import node_pb2 as pb
from pathtap.wire.addresses import (
    address_from_wire,
    address_to_wire,
    five_tuple_from_wire,
    five_tuple_to_wire,
    network_from_wire,
    network_to_wire,
    optional_address_from_wire,
    optional_address_to_wire,
    timestamp_from_wire,
    timestamp_to_wire,
)
from pathtap.wire.errors import require
from pathtap.wire.links import interface_from_wire, interface_to_wire, neighbour_from_wire, neighbour_to_wire
from pathtap.wire.netfilter import rule_set_from_wire, rule_set_to_wire
from pathtap.wire.routing import route_from_wire, route_to_wire, rule_from_wire, rule_to_wire


def snapshot_to_wire(snapshot: NodeSnapshot) -> pb.NodeSnapshot:
    return pb.NodeSnapshot(
        node=snapshot.node,
        boot_id=snapshot.boot_id,
        taken_at=timestamp_to_wire(snapshot.taken_at),
        kernel=snapshot.kernel,
        interfaces=[interface_to_wire(interface) for interface in snapshot.interfaces],
        rules=[rule_to_wire(rule) for rule in snapshot.rules],
        routes=[route_to_wire(route) for route in snapshot.routes],
        neighbours=[neighbour_to_wire(neighbour) for neighbour in snapshot.neighbours],
        sysctls=snapshot.sysctls,
        rule_sets=[rule_set_to_wire(rule_set) for rule_set in snapshot.rule_sets],
        ip_sets=[_ip_set_to_wire(ip_set) for ip_set in snapshot.ip_sets],
        programs=[_program_to_wire(program) for program in snapshot.programs],
        counters=snapshot.counters,
        interiors=[_interior_to_wire(interior) for interior in snapshot.interiors],
        settings=None if snapshot.settings is None else _settings_to_wire(snapshot.settings),
        egress_plugin=None if snapshot.egress_plugin is None else _egress_plugin_to_wire(snapshot.egress_plugin),
        vpc_networks=[network_to_wire(network) for network in snapshot.vpc_networks],
        unread=[unread_to_wire(unread) for unread in snapshot.unread],
    )


def snapshot_from_wire(message: pb.NodeSnapshot) -> NodeSnapshot:
    require(message, "taken_at")
    return NodeSnapshot(
        node=message.node,
        boot_id=message.boot_id,
        taken_at=timestamp_from_wire(message.taken_at),
        kernel=message.kernel,
        interfaces=tuple(interface_from_wire(interface) for interface in message.interfaces),
        rules=tuple(rule_from_wire(rule) for rule in message.rules),
        routes=tuple(route_from_wire(route) for route in message.routes),
        neighbours=tuple(neighbour_from_wire(neighbour) for neighbour in message.neighbours),
        sysctls=dict(message.sysctls),
        rule_sets=tuple(rule_set_from_wire(rule_set) for rule_set in message.rule_sets),
        ip_sets=tuple(_ip_set_from_wire(ip_set) for ip_set in message.ip_sets),
        programs=tuple(_program_from_wire(program) for program in message.programs),
        counters=dict(message.counters),
        interiors=tuple(_interior_from_wire(interior) for interior in message.interiors),
        settings=_settings_from_wire(message.settings) if message.HasField("settings") else None,
        egress_plugin=_egress_plugin_from_wire(message.egress_plugin) if message.HasField("egress_plugin") else None,
        vpc_networks=tuple(network_from_wire(prefix) for prefix in message.vpc_networks),
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


def _ip_set_to_wire(ip_set: IpSet) -> pb.IpSet:
    return pb.IpSet(
        name=ip_set.name,
        kind=ip_set.kind,
        family=ip_set.family,
        elements=ip_set.elements or (),
        too_large=ip_set.elements is None,
    )


def _ip_set_from_wire(message: pb.IpSet) -> IpSet:
    return IpSet(
        name=message.name,
        kind=message.kind,
        family=message.family,
        elements=None if message.too_large else tuple(message.elements),
    )


def _program_to_wire(program: TcProgram) -> pb.TcProgram:
    return pb.TcProgram(
        interface=program.interface, hook=program.hook, kind=program.kind, name=program.name, id=program.id
    )


def _program_from_wire(message: pb.TcProgram) -> TcProgram:
    return TcProgram(
        interface=message.interface, hook=message.hook, kind=message.kind, name=message.name, id=message.id
    )


def _interior_to_wire(interior: PodInterior) -> pb.PodInterior:
    return pb.PodInterior(
        address=address_to_wire(interior.address),
        interfaces=[interface_to_wire(interface) for interface in interior.interfaces],
        routes=[route_to_wire(route) for route in interior.routes],
        neighbours=[neighbour_to_wire(neighbour) for neighbour in interior.neighbours],
        unread=[unread_to_wire(unread) for unread in interior.unread],
    )


def _interior_from_wire(message: pb.PodInterior) -> PodInterior:
    return PodInterior(
        address=address_from_wire(message.address),
        interfaces=tuple(interface_from_wire(interface) for interface in message.interfaces),
        routes=tuple(route_from_wire(route) for route in message.routes),
        neighbours=tuple(neighbour_from_wire(neighbour) for neighbour in message.neighbours),
        unread=tuple(unread_from_wire(unread) for unread in message.unread),
    )


def _settings_to_wire(settings: CniSettings) -> pb.CniSettings:
    return pb.CniSettings(
        external_snat=settings.external_snat,
        node_port_support=settings.node_port_support,
        connmark=settings.connmark,
        randomize=settings.randomize,
        excluded_networks=[network_to_wire(network) for network in settings.excluded_networks],
        veth_prefix=settings.veth_prefix,
    )


def _settings_from_wire(message: pb.CniSettings) -> CniSettings:
    return CniSettings(
        external_snat=message.external_snat,
        node_port_support=message.node_port_support,
        connmark=message.connmark,
        randomize=message.randomize,
        excluded_networks=tuple(network_from_wire(prefix) for prefix in message.excluded_networks),
        veth_prefix=message.veth_prefix,
    )


def _egress_plugin_to_wire(plugin: EgressPlugin) -> pb.EgressPlugin:
    return pb.EgressPlugin(enabled=plugin.enabled, randomize=plugin.randomize, path=plugin.path)


def _egress_plugin_from_wire(message: pb.EgressPlugin) -> EgressPlugin:
    return EgressPlugin(enabled=message.enabled, randomize=message.randomize, path=message.path)
