"""Is a node wired as the VPC CNI wires it? Structure alone: one module for each family of defects, each of which says what
it found and which flows that can hurt. Pure; sends nothing, reads nothing.

What an older or a newer CNI writes otherwise is no defect, nor is what nobody told: without settings or ENIs' addresses less is
said.
"""

from pathtap.collector.inspections import (
    kernel,
    links,
    marks,
    neighbours,
    node_rules,
    pod_routes,
    pod_rules,
    stores,
    translation,
)
from pathtap.collector.inspections.cluster import inspect_cluster
from pathtap.collector.inspections.defect import Defect, Traffic, relevant
from pathtap.collector.inspections.view import NodeView, own_pods, view_of

__all__ = ["Defect", "NodeView", "Traffic", "inspect", "inspect_cluster", "own_pods", "relevant", "view_of"]

FAMILIES = (node_rules, pod_rules, pod_routes, links, neighbours, marks, translation, stores, kernel)


def inspect(view: NodeView) -> tuple[Defect, ...]:
    """Every defect of one node, each once."""
    found = (defect for family in FAMILIES for defect in family.inspect(view))
    return tuple(dict.fromkeys(found))
