"""Applies a NAT target to a packet: the address and, for DNAT, the port that it gets. Knows no chains.

Ports that the kernel chooses for a source are not predicted (nf_nat_core.c draws them).
"""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address

from pathtap.forwarding.chains import OUTPUT, PREROUTING
from pathtap.forwarding.node import NodeModel
from pathtap.forwarding.prediction import Outcome
from pathtap.forwarding.targets import Dnat, Masquerade, Netmap, Redirect, Snat
from pathtap.forwarding.world import Binding, World
from pathtap.model.address import Address, Network, Socket
from pathtap.model.netfilter import Random
from pathtap.model.trace import RuleReference

# A range with more members than this is not spelled out.
ENUMERABLE = 64


def translate(
    target: Snat | Masquerade | Dnat | Redirect | Netmap, rule: RuleReference, world: World, model: NodeModel, hook: str
) -> Iterator[World]:
    """The worlds after the rule: one for each address or port among which the kernel may choose."""
    match target:
        case Dnat(addresses):
            yield from _destinations(addresses, target, rule, world)
        case Netmap(network) if hook in (PREROUTING, OUTPUT):
            moved = _mapped(world.packet.five_tuple.destination, network)
            yield from _destinations((moved, moved), Dnat(None), rule, world)
        case Netmap(network):
            moved = _mapped(world.packet.five_tuple.source, network)
            yield from _sources([moved], Binding(rule=rule, socket=None), world)
        case Redirect(ports, random):
            address = _own_address(world, model, hook)
            if address is None:
                yield world.ended(Outcome.DROPPED, f"{rule.text}: {world.packet.in_interface} has no address", rule)
            else:
                yield from _destinations((address, address), Dnat(None, ports, random), rule, world)
        case Snat(addresses, ports, random):
            binding = Binding(rule=rule, socket=None, ports=ports, random=random)
            current = world.packet.five_tuple.source
            yield from _sources(_members(addresses) if addresses else [current], binding, world)
        case Masquerade(ports, random):
            binding = Binding(rule=rule, socket=None, ports=ports, random=random)
            found = model.masquerade_address(world.packet.out_interface, _towards(world))
            yield from _sources([found] if found else None, binding, world)


def still_bound(world: World, model: NodeModel) -> Iterator[World]:
    """A packet of a connection whose source is translated, at POSTROUTING.

    What MASQUERADE has bound to an interface is dropped when it leaves by another (nf_nat_oif_changed of nf_nat_core.c). No
    entry tells that interface, nor that it was MASQUERADE: where the source is not what MASQUERADE takes here, both are possible.
    """
    packet = world.packet
    source, continues = packet.five_tuple.source, packet.tracked and packet.snated and not packet.reply
    if continues and model.masquerade_address(packet.out_interface, _towards(world)) != source:
        why = f"if MASQUERADE gave it {source}, the kernel drops what leaves by {packet.out_interface}"
        yield world.assuming(why, 0).ended(Outcome.DROPPED, why)
        world = world.assuming(why, 1)
    yield world


def _towards(world: World) -> Address:
    """What MASQUERADE chooses its address for: the next hop, but by IPv6 the destination itself (nf_nat_masquerade.c)."""
    destination = world.packet.five_tuple.destination
    gateway = world.routing.gateway if world.routing else None
    return gateway if gateway and destination.version == 4 else destination


def _members(addresses: tuple[Address, Address]) -> list[Address] | None:
    """The range's members, or None where they are too many to spell out."""
    first, last = addresses
    size = int(last) - int(first) + 1
    return [first + offset for offset in range(size)] if size <= ENUMERABLE else None


def _sources(addresses: list[Address] | None, binding: Binding, world: World) -> Iterator[World]:
    if not addresses:
        yield replace(world, snat=binding, source_bound=True)
        return
    port = world.packet.five_tuple.source_port
    for choice, address in enumerate(addresses):
        chosen = (
            world if len(addresses) == 1 else world.assuming(f"address of {binding.rule.text}", choice, chance=True)
        )
        socket = Socket(address, port)
        packet = world.packet.coming_from(socket)
        yield replace(chosen, packet=packet, snat=replace(binding, socket=socket), source_bound=True)


def _destinations(
    addresses: tuple[Address, Address] | None, target: Dnat, rule: RuleReference, world: World
) -> Iterator[World]:
    current = world.packet.five_tuple.destination_socket
    hosts = _members(addresses) if addresses else [current.address]
    numbers = _ports(target, current.port)
    if hosts is None or numbers is None or not 0 < len(hosts) * len(numbers) <= ENUMERABLE:
        yield world.ended(Outcome.UNKNOWN, f"{rule.text}: the kernel chooses among too many destinations", rule)
        return
    sockets = [Socket(host, number) for host in hosts for number in numbers]
    for choice, socket in enumerate(sockets):
        chosen = world if len(sockets) == 1 else world.assuming(f"destination of {rule.text}", choice, chance=True)
        binding = Binding(rule=rule, socket=socket, ports=target.ports)
        yield replace(chosen, packet=world.packet.to(socket), dnat=binding, destination_bound=True)


def _mapped(address: Address, network: Network) -> Address:
    """xt_NETMAP.c."""
    return ip_address((int(address) & int(network.hostmask)) | int(network.network_address))


def _ports(target: Dnat, current: int) -> list[int] | None:
    """A port within the range stays as it is, unless a random flag forbids (get_unique_tuple of nf_nat_core.c). A shifted range
    keeps the distance from its base (NF_NAT_RANGE_PROTO_OFFSET, nf_nat_l4proto_unique_tuple).
    """
    ports = target.ports
    if ports is None:
        return [current]
    if target.base is not None:
        return [ports.first + ((current - target.base) & 0xFFFF) % (ports.last - ports.first + 1)]
    if current in ports and target.random is Random.NONE:
        return [current]
    return list(range(ports.first, ports.last + 1)) if ports.last - ports.first < ENUMERABLE else None


def _own_address(world: World, model: NodeModel, hook: str) -> Address | None:
    """nf_nat_redirect_ipv4: the in-interface's first address, or loopback for locally generated packets.

    None where that interface has none: the kernel then drops the packet.
    """
    packet = world.packet
    if hook != PREROUTING:
        loopback = packet.five_tuple.destination.__class__
        return loopback("127.0.0.1" if packet.family == 4 else "::1")
    return model.first_address(packet.in_interface, packet.family)
