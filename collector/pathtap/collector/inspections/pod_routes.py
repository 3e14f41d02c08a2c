"""Whether the node's routes lead each pod's address to the pod's own veth, and each ENI's table out of that ENI. Pure."""

from collections.abc import Iterator

from pathtap.collector import findings
from pathtap.collector.inspections.defect import Defect, Traffic
from pathtap.collector.inspections.links import down_links
from pathtap.collector.inspections.view import (
    NodeView,
    expected,
    from_pod_rules,
    hashed,
    known_addresses,
    router_of,
)
from pathtap.collector.telling import words
from pathtap.model.address import Address
from pathtap.model.inventory import Pod
from pathtap.model.node import MAIN_TABLE, Interface, Role


def inspect(view: NodeView) -> Iterator[Defect]:
    if not view.was_read("routes", "links", "rules"):
        return
    down = {each.name for each in down_links(view)}
    for address, pod in view.pods.items():
        link = view.snapshot.interface(view.named_veth(pod))
        if link is None or link.name not in down:
            yield from _of_pod(view, address, pod, link)
    yield from _main(view, down)
    yield from _tables(view, down)


def _of_pod(view: NodeView, address: Address, pod: Pod, named: Interface | None) -> Iterator[Defect]:
    routed = view.veths.get(address, ())
    concerns = frozenset({address})
    if not routed:
        decision = view.model.tables.lookup(view.opening(address, address))
        way = decision.interface or "nowhere"
        proof = (expected(decision.text or "no route", f"{view.node} ip route"),)
        veth = named.name if named else "VETH"
        finding = findings.pod_route_missing(view.node, pod.key, str(address), way, proof, veth)
        yield Defect(finding=finding, concerns=concerns)
        return
    wrong = next((link for link in routed if _is_anothers(view, link, pod)), None)
    if wrong is None:
        return
    route = next(
        route
        for route in view.snapshot.routes
        if route.destination.network_address == address and any(hop.interface == wrong.name for hop in route.next_hops)
    )
    proof = (expected(words.route_words(route), f"{view.node} ip route"),)
    own = named.name if named else view.named_veth(pod)
    finding = findings.pod_route_wrong_veth(view.node, pod.key, str(address), wrong.name, own, proof)
    yield Defect(finding=finding, concerns=concerns)


def _is_anothers(view: NodeView, link: Interface, pod: Pod) -> bool:
    """By name: every veth carries the hash of its pod's. Without such a name, as of other plugins, nothing is said."""
    digest = hashed(pod)
    if link.name.endswith(digest):
        return False
    others = {hashed(other) for other in view.inventory.pods.values() if other.node == view.node and other != pod}
    named = view.snapshot.interface(view.named_veth(pod))
    return named is not None or any(link.name.endswith(other) for other in others)


def _main(view: NodeView, down: set[str]) -> Iterator[Defect]:
    """Every node leaves its subnet by main's default route."""
    family = 6 if view.pods and all(pod.version == 6 for pod in view.pods) else 4
    primary = view.primary
    if view.default_routes(MAIN_TABLE, family) or primary is None or primary.name in down:
        return
    proof = (expected("no default route in table main", f"{view.node} ip route"),)
    router = router_of(primary) if family == 4 else None
    missing = f"default via {router} dev {primary.name}" if router else ""
    what = "anything outside its subnet: table main has no default route"
    finding = findings.no_route(view.node, what, proof, missing)
    yield Defect(finding=finding)


def _tables(view: NodeView, down: set[str]) -> Iterator[Defect]:
    """The table of a secondary ENI, to which its pods' ip rules lead."""
    known = known_addresses(view.node, view.inventory)
    pods = [address for address in view.pods if address in known and not view.has_branch_eni(address)]
    by_table: dict[tuple[int, int], list[Address]] = {}
    for address in pods:
        for rule in from_pod_rules(view.rules, address):
            by_table.setdefault((rule.table, rule.family), []).append(address)
    secondary = [each for each in view.snapshot.interfaces if each.role is Role.SECONDARY_ENI]
    for (table, family), addresses in sorted(by_table.items()):
        enis = {owner.name for address in addresses if (owner := view.owner(address)) is not None}
        # Where their ENI has another table, the rules are wrong, and that is told of each.
        elsewhere = any((eni := view.owner(a)) and view.table_of(eni, family) for a in addresses)
        if view.default_routes(table, family) or elsewhere or enis & down or (down and not secondary):
            continue
        proof = (expected(f"no default route in table {table}", f"{view.node} ip route"),)
        name = next(iter(sorted(enis)), "")
        eni = view.snapshot.interface(name)
        router = str((router_of(eni) if eni and family == 4 else None) or "")
        finding = findings.eni_table_without_default(view.node, table, name, router, len(addresses), proof)
        yield Defect(finding=finding, concerns=frozenset(addresses), traffic=Traffic.ANY)
