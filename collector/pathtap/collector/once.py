"""Says each cause once, where packets, foresight and inspections came upon it by several names. Pure."""

from pathtap.model.trace import Finding

# What says only that a packet was lost gives way to the defect that must have lost it.
EXPLAINED_BY = {
    "DROPPED_UNEXPLAINED": frozenset({"LINK_DOWN", "CONNTRACK_TABLE_FULL", "GATEWAY_NEIGHBOUR_STALE"}),
    "NEVER_LEFT_POD": frozenset({"LINK_DOWN", "GATEWAY_NEIGHBOUR_STALE"}),
    "NEVER_LEFT_NODE": frozenset({"LINK_DOWN", "CONNTRACK_TABLE_FULL"}),
    "LOST_IN_VPC": frozenset({"LINK_DOWN", "POD_ADDRESS_DUPLICATED"}),
    "NO_ANSWER": frozenset({"POD_NEIGHBOUR_STALE", "POD_ROUTE_WRONG_VETH", "LINK_DOWN", "POD_ADDRESS_DUPLICATED"}),
    "NO_ANSWER_FROM_OUTSIDE": frozenset({"SERVICE_BACKEND_GONE"}),
    "NEIGHBOUR_FAILED": frozenset({"POD_NEIGHBOUR_STALE", "POD_ROUTE_WRONG_VETH", "LINK_DOWN", "SERVICE_BACKEND_GONE"}),
}
REFUSALS_BY_ROUTE = ("BLACKHOLE_ROUTE", "UNREACHABLE_ROUTE", "PROHIBIT_ROUTE", "NO_ROUTE_TO_DESTINATION")


def told_once(seen: tuple[Finding, ...], configured_: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """What packets show first; of what configuration adds only what is new, and instead of what it explains."""
    added = tuple(finding for finding in configured_ if not any(_says_already(other, finding) for other in seen))
    codes = {finding.code for finding in added}
    kept = tuple(finding for finding in seen if not codes & EXPLAINED_BY.get(finding.code, frozenset()))
    return (*kept, *added)


def _says_already(seen: Finding, other: Finding) -> bool:
    """Whether `other`, of configuration, is what packets have shown by its own name."""
    if seen.node != other.node:
        return False
    if seen.code in REFUSALS_BY_ROUTE and other.code == "POD_ROUTE_MISSING":
        # The route that takes a pod's packets is why there is none that leads to the pod.
        return True
    if seen.code in REFUSALS_BY_ROUTE and other.code == "FOREIGN_IP_RULE":
        return any(evidence.claim in seen.text for evidence in other.evidence)
    return seen.code == other.code
