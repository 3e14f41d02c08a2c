"""Links that are down and MTUs that do not fit, on the node and inside its pods. Pure."""

from collections.abc import Iterator

from pathtap.collector import findings
from pathtap.collector.inspections.defect import Defect
from pathtap.collector.inspections.view import FROM_ENI, NodeView, from_pod_rules, recorded
from pathtap.model.address import Address
from pathtap.model.node import Interface, PodInterior, Role


def inspect(view: NodeView) -> Iterator[Defect]:
    if not view.was_read("links", "routes", "rules"):
        return
    for eni in _enis_in_use(view):
        if not eni.up:
            users = frozenset(_pods_of(view, eni))
            proof = (recorded(f"{eni.name} is down", f"{view.node} links"),)
            primary = view.primary is not None and eni.name == view.primary.name
            what = "the primary ENI" if primary else "an ENI that has pods"
            finding = findings.link_down(view.node, eni.name, what, "", proof)
            yield Defect(finding=finding, concerns=frozenset() if primary else users)
        yield from _small(view, eni)
    for address, pod in view.pods.items():
        link = view.veth(address) or view.snapshot.interface(view.named_veth(pod))
        inside = interface_of(view.interior(address), address)
        # What is down on one end has no carrier on the other. Only where the host's was taken down its route went with it.
        down = inside if inside is not None and not inside.up and view.veth(address) is not None else link
        if down is not None and link is not None and not link.up:
            where = f"inside {pod.key}" if down is inside else f"the host's end of the veth of {pod.key}"
            proof = (recorded(f"{down.name} is down, {where}", f"{view.node} links"),)
            of = pod.key if down is inside else ""
            finding = findings.link_down(view.node, link.name, f"the veth of {pod.key} {address}", of, proof)
            yield Defect(finding=finding, concerns=frozenset({address}), severs=True)


def down_links(view: NodeView) -> tuple[Interface, ...]:
    """ENIs with pods and pods' veths that are down: their routes are gone with them."""
    veths = (view.veth(a) or view.snapshot.interface(view.named_veth(pod)) for a, pod in view.pods.items())
    return tuple(each for each in (*_enis_in_use(view), *veths) if each is not None and not each.up)


def interface_of(interior: PodInterior | None, address: Address) -> Interface | None:
    """The pod's own interface of that address."""
    interfaces = interior.interfaces if interior else ()
    return next((each for each in interfaces if any(own.ip == address for own in each.addresses)), None)


def _enis_in_use(view: NodeView) -> tuple[Interface, ...]:
    """The primary ENI, and those that have pods: others may be down, and nobody's concern."""
    primary = view.primary
    found = [each for each in view.snapshot.interfaces if _pods_of(view, each)]
    return tuple(dict.fromkeys([*([primary] if primary else []), *found]))


def _pods_of(view: NodeView, eni: Interface) -> list[Address]:
    """By the word of IMDS or ipamd; else those whose ip rule names the table that the ENI's own address has."""
    if eni.role is Role.LOOPBACK or eni.role is Role.POD_VETH:
        return []
    own = {each.ip for each in eni.addresses}
    tables = {
        rule.table
        for rule in view.rules
        if rule.priority == FROM_ENI and rule.source and rule.source.network_address in own
    }
    found = []
    for address in view.pods:
        owner = view.owner(address)
        by_rule = any(rule.table in tables for rule in from_pod_rules(view.rules, address))
        if owner == eni or (owner is None and by_rule):
            found.append(address)
    return found


def _small(view: NodeView, eni: Interface) -> Iterator[Defect]:
    """An ENI whose MTU is less than its pods': what they send in full size does not fit."""
    users = _pods_of(view, eni)
    primary = view.primary
    if primary is not None and eni.name == primary.name:
        # What is SNATed leaves by it, whosever pod it is.
        users = list(view.pods)
    sizes = {address: _mtu(view, address) for address in users}
    largest = max(sizes.values(), default=0)
    if largest <= eni.mtu:
        return
    pods = [address for address, size in sizes.items() if size > eni.mtu]
    name = view.pods[pods[0]].key
    proof = (recorded(f"{eni.name} has mtu {eni.mtu}, {name} has {sizes[pods[0]]}", f"{view.node} links"),)
    finding = findings.mtu_too_small(view.node, eni.name, eni.mtu, len(pods), largest, proof)
    yield Defect(finding=finding, concerns=frozenset(pods))


def _mtu(view: NodeView, address: Address) -> int:
    inside, link = interface_of(view.interior(address), address), view.veth(address)
    return inside.mtu if inside else link.mtu if link else 0
