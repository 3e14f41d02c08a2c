"""Says each cause once, where packets, foresight and inspections came upon it by several names. Pure."""

from dataclasses import replace

from pathtap.model.trace import Finding

# What says only that a packet was lost gives way to the defect that must have lost it.
EXPLAINED_BY = {
    "DROPPED_UNEXPLAINED": frozenset({"LINK_DOWN", "CONNTRACK_TABLE_FULL", "GATEWAY_NEIGHBOUR_STALE"}),
    "SOURCE_NOT_OWNED_BY_ENI": frozenset({"CONNTRACK_ENTRY_STALE"}),
    "ROUTING_LOOP": frozenset({"TO_POD_RULE_MISSING", "TO_POD_RULE_OVERRULED"}),
    "NEVER_LEFT_POD": frozenset({"LINK_DOWN", "GATEWAY_NEIGHBOUR_STALE"}),
    "NEVER_LEFT_NODE": frozenset({"LINK_DOWN", "CONNTRACK_TABLE_FULL"}),
    "LOST_IN_VPC": frozenset({"LINK_DOWN", "POD_ADDRESS_DUPLICATED"}),
    "NO_ANSWER": frozenset({"POD_NEIGHBOUR_STALE", "POD_ROUTE_WRONG_VETH", "LINK_DOWN", "POD_ADDRESS_DUPLICATED"}),
    "NO_ANSWER_FROM_OUTSIDE": frozenset({"SERVICE_BACKEND_GONE"}),
    "NEIGHBOUR_FAILED": frozenset({"POD_NEIGHBOUR_STALE", "POD_ROUTE_WRONG_VETH", "LINK_DOWN", "SERVICE_BACKEND_GONE"}),
}
# Of these an inspection knows the names that the mend needs; the packets showed the loss.
BETTER_MENDED = ("GATEWAY_NEIGHBOUR_STALE", "MTU_TOO_SMALL", "NO_ROUTE_TO_DESTINATION", "POD_ROUTE_MISSING")
# These lead packets another way, by routing alone: one that got there and back was not led astray by them.
OF_THE_WAY = frozenset(
    {
        "ENI_TABLE_WITHOUT_DEFAULT_ROUTE",
        "FOREIGN_IP_RULE",
        "FROM_POD_RULE_DUPLICATED",
        "FROM_POD_RULE_MISSING",
        "FROM_POD_RULE_STALE",
        "FWMARK_RULE_MISSING",
    }
)
# The same of one node alone.
EXPLAINED_THERE_BY = {
    "DROPPED_UNEXPLAINED": frozenset({"FILTER_DROP", "FILTER_REJECT"}),
    "UNREACHABLE_OUTSIDE": frozenset({"SERVICE_BACKEND_GONE"}),
}
REFUSALS_BY_ROUTE = ("BLACKHOLE_ROUTE", "UNREACHABLE_ROUTE", "PROHIBIT_ROUTE", "NO_ROUTE_TO_DESTINATION")


def told_once(
    seen: tuple[Finding, ...], configured_: tuple[Finding, ...], *, answered: bool = False
) -> tuple[Finding, ...]:
    """What packets show first; of what configuration adds only what is new, and instead of what it explains.

    `answered` says that the packet gets there and its answer back.
    """
    added = tuple(
        finding
        for finding in configured_
        if not any(_says_already(other, finding) for other in seen) and not (answered and finding.code in OF_THE_WAY)
    )
    codes = {finding.code for finding in (*seen, *added)}
    mended = tuple(_mended(finding, configured_) for finding in seen)
    kept = tuple(
        finding
        for finding in mended
        if not codes & EXPLAINED_BY.get(finding.code, frozenset())
        and not any(_explains(other, finding) for other in (*seen, *added))
    )
    return (*kept, *added)


def _explains(other: Finding, lost: Finding) -> bool:
    if other.node != lost.node:
        return False
    # A veth that is down has no route.
    veth_down = other.code == "LINK_DOWN" and ", the veth of" in other.text and lost.code == "POD_ROUTE_MISSING"
    return veth_down or other.code in EXPLAINED_THERE_BY.get(lost.code, frozenset())


def _mended(seen: Finding, configured_: tuple[Finding, ...]) -> Finding:
    """What packets show, with the mend of the inspection that found the same."""
    same = (each for each in configured_ if (each.code, each.node) == (seen.code, seen.node) and each.fix != seen.fix)
    found = next(same, None) if seen.code in BETTER_MENDED else None
    return replace(seen, fix=found.fix) if found else seen


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
