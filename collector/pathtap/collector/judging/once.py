"""Says each cause once, where packets, foresight and inspections came upon it by several names. Pure."""

from dataclasses import replace

from pathtap.collector.findings import GIVEN_BY
from pathtap.model.trace import Finding, Severity

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
# How a node is wired: packets that go astray by it are its consequence.
ASTRAY_BY = frozenset(
    {
        "CONNMARK_BEFORE_DNAT",
        "CONNMARK_RULES_MISSING",
        "CONNMARK_RULES_SHADOWED",
        "ENI_TABLE_WITHOUT_DEFAULT_ROUTE",
        "FOREIGN_IP_RULE",
        "FROM_POD_RULE_DUPLICATED",
        "FROM_POD_RULE_MISSING",
        "FROM_POD_RULE_STALE",
        "FWMARK_RULE_MISSING",
        "LINK_DOWN",
        "SNAT_MISSING",
        "TO_POD_RULE_MISSING",
        "TO_POD_RULE_OVERRULED",
    }
)
# The CNI's chain that marks what leaves the VPC.
CNI_MARKS = "AWS-CONNMARK-CHAIN-"
CONSEQUENCES = frozenset({"SOURCE_NOT_OWNED_BY_ENI", "WRONG_ENI", "ROUTING_LOOP"})
REFUSALS_BY_ROUTE = ("BLACKHOLE_ROUTE", "UNREACHABLE_ROUTE", "PROHIBIT_ROUTE", "NO_ROUTE_TO_DESTINATION")


def told_once(
    seen: tuple[Finding, ...],
    configured_: tuple[Finding, ...],
    *,
    answered: bool = False,
    marked_in_vain: bool = False,
) -> tuple[Finding, ...]:
    """What packets show first; of what configuration adds only what is new, and instead of what it explains.

    `answered` says that the packet gets there and its answer back, `marked_in_vain` that it went astray all the same: no ip
    rule heeded the CNI's mark on it.
    """
    harmless = OF_THE_WAY - {"FWMARK_RULE_MISSING"} if marked_in_vain else OF_THE_WAY
    added = tuple(
        finding
        for finding in configured_
        if not any(_says_already(other, finding) for other in seen) and not (answered and finding.code in harmless)
    )
    codes = {finding.code for finding in (*seen, *added)}
    mended = tuple(_mended(finding, configured_) for finding in seen)
    kept = tuple(
        finding
        for finding in mended
        if not codes & EXPLAINED_BY.get(finding.code, frozenset())
        and not any(_explains(other, finding) for other in (*seen, *added))
    )
    return causes_first((*kept, *added))


def causes_first(found: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Each consequence behind what it comes of, and without a mend of its own; the rest as it was."""
    ordered: list[Finding] = []
    for finding in found:
        causes = [other for other in found if _leads_astray(other, finding)]
        ordered += [cause for cause in causes if cause not in ordered]
        if causes:
            codes = " and ".join(dict.fromkeys(cause.code for cause in causes))
            finding = replace(finding, fix=f"none of its own: it goes away with {codes} above")
        ordered += [finding] if finding not in ordered else []
    return tuple(ordered)


def _leads_astray(cause: Finding, astray: Finding) -> bool:
    if (cause.code, cause.node, astray.code) == ("CONNMARK_BEFORE_DNAT", astray.node, "WRONG_ENI"):
        # Be it a warning: where the CNI's own rule marked what stays inside, its chain has run before the Service's.
        return CNI_MARKS in astray.text
    if (cause.node, cause.severity) != (astray.node, Severity.ERROR) or cause.code not in ASTRAY_BY:
        return False
    if astray.code == "WRONG_ENI":
        # It names the rule that sent the packet there: another rule is another cause.
        return any(evidence.claim in astray.text for evidence in cause.evidence)
    # Of what NAT gives a wrong source the NAT rule is the cause, and named there.
    return astray.code in CONSEQUENCES and GIVEN_BY not in astray.text


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
