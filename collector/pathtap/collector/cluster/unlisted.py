"""Asks the source's node for an address that the inventory does not have: a pod's way out by the other family than its own.

The VPC CNI's egress-cni plugin gives every pod such an address (169.254.172.0/22 in an IPv6 cluster, fd00::ac:00/118 in an IPv4
one), of which Kubernetes knows nothing; so it is with the IPv4 address of an IPv6 cluster's nodes.
"""

from collections.abc import Iterable

from pathtap.collector.agents import Agents
from pathtap.collector.asking import Asking
from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.resolve import NotListed, NotTraceable, Question, Request, resolve, resolve_source
from pathtap.model.address import Address
from pathtap.model.node import MAIN_TABLE, Interface, NodeSnapshot, Role, Route
from pathtap.model.trace import Target

# Seconds for an agent that is silent.
_PATIENCE = 2.0


async def question_of(request: Request, inventory: Inventory, agents: Agents) -> Question:
    """`resolve`, which asks the source's node where the inventory is not enough. Raises what that raises."""
    try:
        return resolve(request, inventory)
    except NotListed as refusal:
        source = refusal.source
        if not source.node:
            raise
        asking = Asking(agents=agents)
        has_namespace = source.kind == "pod" and not source.host_network
        snapshot = await asking.snapshot(source.node, _PATIENCE, (source.socket.address,) if has_namespace else ())
        if snapshot is None:
            raise NotTraceable(f"{refusal}, as far as the inventory knows; {asking.gaps[0].why}") from refusal
        return resolve(request, inventory, unlisted_addresses(source, snapshot))


async def source_of(request: Request, inventory: Inventory, agents: Agents) -> Target:
    """The source alone, by the IPv4 address that it goes out by, where it has one: of IPv6 a VPC CNI node translates nothing.

    The request's destination is any IPv4 address. Raises what `resolve` raises for a source.
    """
    try:
        return (await question_of(request, inventory, agents)).source
    except NotTraceable:
        return resolve_source(request.source, request.namespace, inventory, live=request.live)


def unlisted_addresses(source: Target, snapshot: NodeSnapshot) -> tuple[Address, ...]:
    """Those of the interfaces by which the source's default routes lead, of either family: its node's primary ENI, or what a
    pod has inside. Empty where the pod was not looked into.
    """
    if source.kind == "pod" and not source.host_network:
        inside = next((each for each in snapshot.interiors if each.address == source.socket.address), None)
        return _leading_out(inside.interfaces, inside.routes) if inside else ()
    primary = tuple(each for each in snapshot.interfaces if each.role is Role.PRIMARY_ENI)
    return _leading_out(primary, snapshot.routes)


def _leading_out(interfaces: Iterable[Interface], routes: Iterable[Route]) -> tuple[Address, ...]:
    """A link-local address of IPv6 reaches nothing beyond its link; one of IPv4 is what egress-cni gives."""
    default = {
        (hop.interface, route.family)
        for route in routes
        if route.table == MAIN_TABLE and not route.destination.prefixlen
        for hop in route.next_hops
    }
    return tuple(
        own.ip
        for interface in interfaces
        for own in interface.addresses
        if (interface.name, own.version) in default and not (own.version == 6 and own.ip.is_link_local)
    )
