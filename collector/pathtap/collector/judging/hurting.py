"""Which of the nodes' defects can hurt one flow. Pure; the inspections find them."""

from collections.abc import Iterable
from dataclasses import replace

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.inspections import Defect, inspect, inspect_cluster, relevant, view_of
from pathtap.forwarding.fabric import Fabric
from pathtap.model.address import Address
from pathtap.model.trace import Finding, Severity

IDLE = ("FOREIGN_IP_RULE", Severity.WARNING)


def hurting(
    nodes: Iterable[str],
    ends: frozenset[Address],
    towards: Address,
    fabric: Fabric,
    inventory: Inventory,
    *,
    to_service: bool,
) -> tuple[Defect, ...]:
    """`ends` are all addresses that the packet has on its way there and back, `towards` where it goes after DNAT."""
    inside = fabric.is_inside(towards) or fabric.owner(towards) is not None
    defects = [*inspect_cluster([model.snapshot for model in fabric.models.values()], inventory)]
    for node in dict.fromkeys(nodes):
        if (model := fabric.models.get(node)) is not None:
            view = view_of(model.snapshot, inventory, model)
            defects.extend(inspect(replace(view, pods={a: pod for a, pod in view.pods.items() if a in ends})))
    # What changes nobody's way hurts nobody; that was asked of the flow's own pods alone.
    harmful = [each for each in defects if (each.finding.code, each.finding.severity) != IDLE]
    return relevant(harmful, ends, leaves_vpc=not inside, to_service=to_service)


def without_chance(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Those that remain of a packet that came through: an order that nobody can read has done it no harm."""
    return tuple(f for f in found if (f.code, f.severity) != ("CONNMARK_BEFORE_DNAT", Severity.WARNING))
