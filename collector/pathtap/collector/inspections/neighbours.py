"""The static neighbour of each pod's gateway, and the node's own entry for the pod: whether the MAC addresses are right. Pure."""

from collections.abc import Iterator
from ipaddress import ip_network

from pathtap.collector import findings
from pathtap.collector.inspections.defect import Defect
from pathtap.collector.inspections.links import interface_of
from pathtap.collector.inspections.view import NodeView, recorded
from pathtap.model.address import Address
from pathtap.model.inventory import Pod
from pathtap.model.node import Interface, NextHop, PodInterior

# 169.254.1.1 of the first interface, 169.254.1.2 of the second (driver.go); fe80::1 in IPv6.
GATEWAYS = tuple(map(ip_network, ("169.254.1.0/24", "fe80::1/128")))
UNRESOLVED = ("failed", "incomplete")


def inspect(view: NodeView) -> Iterator[Defect]:
    if not view.was_read("links", "routes", "neighbours"):
        return
    for address, pod in view.pods.items():
        interior = view.interior(address)
        inside = interface_of(interior, address)
        veth = view.snapshot.interface(view.named_veth(pod)) or view.veth(address)
        if interior is None or inside is None or veth is None or not veth.mac:
            continue
        yield from _gateway(view, pod, interior, inside, veth)
        yield from _pod(view, address, pod, inside, veth)


def _gateway(view: NodeView, pod: Pod, interior: PodInterior, inside: Interface, veth: Interface) -> Iterator[Defect]:
    for hop in _gateways(interior, inside):
        entry = next(
            (n for n in interior.neighbours if n.address == hop.gateway and n.interface == hop.interface), None
        )
        if entry is not None and entry.mac == veth.mac and entry.state not in UNRESOLVED:
            continue
        has = f"{entry.mac or 'no MAC'} ({entry.state})" if entry else ""
        proof = (
            recorded(f"inside {pod.key}, neighbour {hop.gateway}: {has or 'no entry'}", f"{view.node} neighbours"),
        )
        gateway = str(hop.gateway)
        finding = findings.gateway_neighbour_stale(view.node, pod.key, gateway, has, f"{veth.name} {veth.mac}", proof)
        yield Defect(finding=finding, concerns=frozenset({interior.address}))


def _gateways(interior: PodInterior, inside: Interface) -> Iterator[NextHop]:
    family = interior.address.version
    for route in interior.routes:
        if route.family == family and not route.destination.prefixlen:
            for hop in route.next_hops:
                gateway = hop.gateway
                if gateway is not None and hop.interface == inside.name and any(gateway in each for each in GATEWAYS):
                    yield hop


def _pod(view: NodeView, address: Address, pod: Pod, inside: Interface, veth: Interface) -> Iterator[Defect]:
    """An entry that is not there yet is made when it is needed: the pod answers."""
    for entry in view.snapshot.neighbours:
        if entry.address != address or entry.interface != veth.name or entry.mac is None:
            continue
        if entry.mac != inside.mac and entry.state not in UNRESOLVED:
            has = f"{entry.mac} ({entry.state})"
            proof = (recorded(f"neighbour {address} on {veth.name}: {has}", f"{view.node} neighbours"),)
            finding = findings.pod_neighbour_stale(view.node, pod.key, str(address), veth.name, inside.mac, proof)
            yield Defect(finding=finding, concerns=frozenset({address}))
