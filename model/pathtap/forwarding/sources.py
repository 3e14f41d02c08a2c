"""Source validation of a packet that came in by an interface: martian addresses and the reverse path filter. IPv4 has both,
IPv6 only addresses that no interface may bring in.

Knows no neighbours and no sockets: a packet to an established socket of the node skips the lookup (tcp_early_demux), and so
does what loops through `lo`. Follows ip_route_input_slow (net/ipv4/route.c), fib_validate_source and __fib_validate_source
(net/ipv4/fib_frontend.c), ip6_rcv_core and ip6_forward (net/ipv6). Measured on 6.18: the reverse lookup swaps the addresses
and the ports, which it knows where some ip rule asks for any; it has iif = the way out of a forwarded packet and `lo` for a
local one, and mark 0 unless src_valid_mark; loose mode refuses like strict mode on an interface without IPv4 address;
0.0.0.0/8 passes but for 0.0.0.0 itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from pathtap.forwarding.node import NodeModel
from pathtap.forwarding.packet import Packet
from pathtap.forwarding.prediction import ReversePath
from pathtap.forwarding.routing import LOOPBACK, RoutingDecision
from pathtap.model.node import RouteKind

OFF, STRICT, LOOSE = 0, 1, 2
MODES = {STRICT: "strict", LOOSE: "loose"}
ANY = IPv4Address(0)
LIMITED_BROADCAST = IPv4Address(0xFFFFFFFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """`reverse_path` is None for a martian, which no mode of the filter lets pass."""

    reason: str
    reverse_path: ReversePath | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What may happen: `passes`, `refusals`. With both, `unknown` says why it is not known which."""

    passes: bool
    refusals: tuple[Refusal, ...] = ()
    unknown: str = ""


PASSED = Validation(passes=True)


def unwelcome(packet: Packet) -> str:
    """Why the addresses of an IPv6 packet are refused before PREROUTING, which may still change them (ip6_rcv_core)."""
    flow, interface = packet.five_tuple, packet.in_interface
    if interface in ("", LOOPBACK) or packet.family == 4:
        return ""
    inner = [each for each in (flow.source, flow.destination) if each.is_loopback]
    return f"{inner[0]} must not come in by {interface}" if inner else ""


def martian(model: NodeModel, packet: Packet) -> str:
    """Why the addresses of an IPv4 packet, after PREROUTING, are refused before any route is looked up; empty if they are not."""
    flow, interface = packet.five_tuple, packet.in_interface
    if interface in ("", LOOPBACK) or packet.family == 6:
        return ""
    if flow.source.is_multicast or flow.source in (LIMITED_BROADCAST, ANY):
        return f"the source {flow.source} is martian"
    if flow.destination == ANY:
        return f"the destination {flow.destination} is martian"
    inner = [each for each in (flow.destination, flow.source) if each.is_loopback]
    if inner and not model.either_switch(interface, "route_localnet"):
        return f"{inner[0]} must not come in by {interface} while route_localnet is 0"
    return ""


def validate(model: NodeModel, packet: Packet, decision: RoutingDecision) -> Validation:
    """What becomes of the source, once `decision` said where the packet goes."""
    flow, interface = packet.five_tuple, packet.in_interface
    if interface in ("", LOOPBACK) or flow.destination.is_multicast:
        return PASSED
    if packet.family == 6:
        return _forwarded_ipv6(packet, decision)
    modes = model.reverse_path_modes(interface)
    if modes == (OFF,) and not model.validates_fully:
        own = flow.source in model.addresses and not model.either_switch(interface, "accept_local")
        return Validation(passes=False, refusals=(_own_source(packet),)) if own else PASSED
    ways = tuple(_ways_back(model, packet, decision))
    found = [_judge(model, packet, mode, way) for mode in modes for way in ways]
    refusals = tuple(dict.fromkeys(each for each in found if each))
    if len(refusals) and None in found:
        unread = f"rp_filter of {interface} was not read, and it decides whether {flow.source} may come in there"
        doubts = dict.fromkeys(why for way in ways for why in way.unknown)
        return Validation(passes=True, refusals=refusals, unknown="; ".join(doubts) or unread)
    return Validation(passes=not refusals, refusals=refusals[:1])


def _forwarded_ipv6(packet: Packet, decision: RoutingDecision) -> Validation:
    source = packet.five_tuple.source
    if decision.local or not (source.is_multicast or source.is_unspecified or source.is_link_local):
        return PASSED
    return Validation(passes=False, refusals=(Refusal(reason=f"the source {source} must not be forwarded"),))


def _own_source(packet: Packet) -> Refusal:
    source = packet.five_tuple.source
    return Refusal(reason=f"the source {source} is the node's own: a martian where accept_local is 0")


def _ways_back(model: NodeModel, packet: Packet, decision: RoutingDecision) -> Iterator[RoutingDecision]:
    """Each possible answer of the reverse lookup; several paths of one route count as one."""
    back = packet.five_tuple.reversed
    if decision.route is not None and decision.route.kind is RouteKind.BROADCAST:
        back = replace(back, source=ANY)
    if not model.tables.dissects:
        back = replace(back, protocol=0, source_port=0, destination_port=0)
    asked = replace(
        packet,
        five_tuple=back,
        in_interface="" if decision.local else decision.interface,
        out_interface="",
        mark=packet.mark if model.either_switch(packet.in_interface, "src_valid_mark") else 0,
    )
    found = model.tables.possibilities(asked)
    if len({(way.rule, way.route) for way in found}) == 1 and found[0].route is not None:
        yield replace(found[0], unknown=())
    else:
        yield from found


def _judge(model: NodeModel, packet: Packet, mode: int, way: RoutingDecision) -> Refusal | None:
    """One mode and one way back."""
    interface, route = packet.in_interface, way.route
    if way.refused or route is None:
        return _filtered(packet, mode, way) if mode else None
    if route.kind is RouteKind.LOCAL and not model.either_switch(interface, "accept_local"):
        return _own_source(packet)
    if route.kind not in (RouteKind.UNICAST, RouteKind.LOCAL):
        return Refusal(reason=f"the source {packet.five_tuple.source} is martian: route {route.text}")
    if any(hop.interface == interface for hop in route.next_hops) or mode == OFF:
        return None
    if mode == STRICT or not model.has_address(interface, 4):
        return _filtered(packet, mode, way)
    return None


def _filtered(packet: Packet, mode: int, way: RoutingDecision) -> Refusal:
    name, source = MODES.get(mode, "loose"), packet.five_tuple.source
    lead = f"leads by {way.interface} ({way.text})" if way.interface else f"does not exist ({way.text})"
    reason = f"reverse path filter, {name}, of {packet.in_interface}: the way back to {source} {lead}"
    return Refusal(reason=reason, reverse_path=ReversePath(mode=name, decision=replace(way, unknown=())))
