"""`ip rule`s and routes, both ways. Knows nothing of what they decide."""

from pathtap.model.node import NextHop, PortRange, Route, RouteKind, Rule, RuleAction
from pathtap.v1 import node_pb2 as pb
from pathtap.wire.addresses import (
    network_from_wire,
    network_to_wire,
    optional_address_from_wire,
    optional_address_to_wire,
)
from pathtap.wire.errors import EnumTable, WireError, require

ACTIONS = EnumTable(
    "rule's action",
    {
        RuleAction.LOOKUP: pb.Rule.LOOKUP,
        RuleAction.GOTO: pb.Rule.GOTO,
        RuleAction.NOP: pb.Rule.NOP,
        RuleAction.BLACKHOLE: pb.Rule.BLACKHOLE,
        RuleAction.UNREACHABLE: pb.Rule.UNREACHABLE,
        RuleAction.PROHIBIT: pb.Rule.PROHIBIT,
    },
)
KINDS = EnumTable(
    "route's kind",
    {
        RouteKind.UNICAST: pb.Route.UNICAST,
        RouteKind.LOCAL: pb.Route.LOCAL,
        RouteKind.BROADCAST: pb.Route.BROADCAST,
        RouteKind.ANYCAST: pb.Route.ANYCAST,
        RouteKind.MULTICAST: pb.Route.MULTICAST,
        RouteKind.BLACKHOLE: pb.Route.BLACKHOLE,
        RouteKind.UNREACHABLE: pb.Route.UNREACHABLE,
        RouteKind.PROHIBIT: pb.Route.PROHIBIT,
        RouteKind.THROW: pb.Route.THROW,
        RouteKind.OTHER: pb.Route.OTHER,
    },
)


def rule_to_wire(rule: Rule) -> pb.Rule:
    return pb.Rule(
        family=rule.family,
        priority=rule.priority,
        source=None if rule.source is None else network_to_wire(rule.source),
        destination=None if rule.destination is None else network_to_wire(rule.destination),
        in_interface=rule.in_interface,
        out_interface=rule.out_interface,
        mark=rule.mark,
        mask=rule.mask,
        tos=rule.tos,
        ip_protocol=rule.ip_protocol,
        source_ports=_ports_to_wire(rule.source_ports),
        destination_ports=_ports_to_wire(rule.destination_ports),
        inverted=rule.inverted,
        action=ACTIONS.to_wire(rule.action),
        table=rule.table,
        goto=rule.goto,
        suppress_prefix_length=rule.suppress_prefix_length,
        unmodelled=rule.unmodelled,
        text=rule.text,
    )


def rule_from_wire(message: pb.Rule) -> Rule:
    """Raises WireError for a family that is neither 4 nor 6."""
    if message.family not in (4, 6):
        raise WireError(f"A rule's family is 4 or 6, not {message.family}.")
    has = message.HasField
    return Rule(
        family=message.family,
        priority=message.priority,
        source=network_from_wire(message.source) if has("source") else None,
        destination=network_from_wire(message.destination) if has("destination") else None,
        in_interface=message.in_interface if has("in_interface") else None,
        out_interface=message.out_interface if has("out_interface") else None,
        mark=message.mark if has("mark") else None,
        mask=message.mask,
        tos=message.tos,
        ip_protocol=message.ip_protocol if has("ip_protocol") else None,
        source_ports=_ports_from_wire(message.source_ports) if has("source_ports") else None,
        destination_ports=_ports_from_wire(message.destination_ports) if has("destination_ports") else None,
        inverted=message.inverted,
        action=ACTIONS.from_wire(message.action),
        table=message.table,
        goto=message.goto if has("goto") else None,
        suppress_prefix_length=message.suppress_prefix_length if has("suppress_prefix_length") else None,
        unmodelled=tuple(message.unmodelled),
        text=message.text,
    )


def route_to_wire(route: Route) -> pb.Route:
    """The family is not sent: the destination has it."""
    return pb.Route(
        table=route.table,
        destination=network_to_wire(route.destination),
        kind=KINDS.to_wire(route.kind),
        scope=route.scope,
        metric=route.metric,
        tos=route.tos,
        preferred_source=optional_address_to_wire(route.preferred_source),
        next_hops=[
            pb.NextHop(interface=hop.interface, gateway=optional_address_to_wire(hop.gateway), weight=hop.weight)
            for hop in route.next_hops
        ],
        text=route.text,
    )


def route_from_wire(message: pb.Route) -> Route:
    require(message, "destination")
    destination = network_from_wire(message.destination)
    return Route(
        family=destination.version,
        table=message.table,
        destination=destination,
        kind=KINDS.from_wire(message.kind),
        scope=message.scope,
        metric=message.metric,
        tos=message.tos,
        preferred_source=optional_address_from_wire(message.preferred_source),
        next_hops=tuple(
            NextHop(interface=hop.interface, gateway=optional_address_from_wire(hop.gateway), weight=hop.weight)
            for hop in message.next_hops
        ),
        text=message.text,
    )


def _ports_to_wire(ports: PortRange | None) -> pb.PortRange | None:
    return None if ports is None else pb.PortRange(first=ports.first, last=ports.last)


def _ports_from_wire(message: pb.PortRange) -> PortRange:
    return PortRange(first=message.first, last=message.last)
