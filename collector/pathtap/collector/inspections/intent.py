"""What somebody set for this traffic: whether its source is to be translated, and how the ports are to be chosen. Pure.

Knows what was set, never what the rules do. What nobody told is None.
"""

from collections.abc import Iterator

from pathtap.collector.inspections.owners import EGRESS_CNI, POSTROUTING, VPC_CNI
from pathtap.model.address import EGRESS_CNI as EGRESS_NETWORKS
from pathtap.model.address import Address
from pathtap.model.netfilter import Backend, Random
from pathtap.model.node import NodeSnapshot
from pathtap.model.saved import SavedRules
from pathtap.model.snat import Intent

# As AWS_VPC_K8S_CNI_RANDOMIZESNAT and randomizeSNAT count: their names, and the flag that each asks for.
RANDOMIZED = {
    0: ("none", Random.NONE),
    1: ("hashrandom", Random.RANDOM),
    2: ("prng", Random.FULLY),
}
# The CNI's own word for what no setting changes.
BY_DESIGN = "VPC CNI"
INVENTORY = "inventory"
BRANCH_VETH, BRANCH_ENI = "vlan", "vlan.eth."


def intent_of(
    snapshot: NodeSnapshot, source: Address, destination: Address, translating: str, named: str = ""
) -> Intent | None:
    """`destination` is where the packet goes after DNAT, `translating` the owner of the rule that translates first, empty where
    none does. `named` is the pod or node of the cluster that has the destination, `pod shop/redis`, by the inventory; empty
    where none has. None where nobody told, and where the CNI exempts what another one translates all the same: that is then the
    other's to set, and `exempted_from` says what was exempt.
    """
    if is_from_egress_plugin(snapshot, source):
        return _of_egress_plugin(snapshot, destination, translating)
    exempt = next(_exemptions(snapshot, source, destination, named), None)
    if exempt is not None:
        says, where = exempt
        others = _is_anothers(translating)
        return None if others else Intent(translated=False, random=Random.NONE, says=says, source=where)
    # Without the VPC's CIDRs nobody can say that this is outside of it; where the CNI's own rule translates it, the CNI does.
    if snapshot.settings is None or not (snapshot.vpc_networks or translating == VPC_CNI):
        return None
    name, random = _randomized(snapshot.settings.randomize)
    says = f"AWS_VPC_K8S_CNI_RANDOMIZESNAT is {name}"
    return Intent(translated=True, random=random, says=says, source=f"{snapshot.node} ipamd")


def exempted_from(
    snapshot: NodeSnapshot, source: Address, destination: Address, translating: str, named: str = ""
) -> str:
    """A sentence on what the VPC CNI exempts and another one translates all the same; empty where that is not so. The parameters
    are those of `intent_of`.
    """
    if not _is_anothers(translating) or is_from_egress_plugin(snapshot, source):
        return ""
    exempt = next(_exemptions(snapshot, source, destination, named), None)
    if exempt is None:
        return ""
    says, where = exempt
    return f"{says} ({where}), and {translating} translates it all the same: nobody tells what that is set to"


def _is_anothers(translating: str) -> bool:
    """Whether it is an owner whose settings are not the CNI's."""
    return translating not in ("", VPC_CNI, EGRESS_CNI)


def is_from_egress_plugin(snapshot: NodeSnapshot, address: Address) -> bool:
    """Whether a pod has the address from egress-cni: it is of its usual networks, or has a chain of the plugin's."""
    if any(address in network for network in EGRESS_NETWORKS):
        return True
    begins, version = f"-s {address}/{address.max_prefixlen} ", address.version
    return any(text.startswith(begins) and f" CNI-E{version}-" in text for text in _postrouting(snapshot, version))


def _postrouting(snapshot: NodeSnapshot, version: int) -> Iterator[str]:
    """The texts of all rules of nat POSTROUTING itself."""
    family = "ip" if version == 4 else "ip6"
    for rule_set in snapshot.rule_sets:
        if (rule_set.table, rule_set.family) == ("nat", family) and rule_set.backend is not Backend.NFTABLES:
            chain = rule_set.chain(POSTROUTING)
            rules = chain.rules if chain is not None else ()
            yield from rules.texts() if isinstance(rules, SavedRules) else (rule.text for rule in rules)


def _of_egress_plugin(snapshot: NodeSnapshot, destination: Address, translating: str) -> Intent | None:
    plugin = snapshot.egress_plugin
    if plugin is None or not plugin.enabled:
        return None
    where = f"{snapshot.node} {plugin.path}"
    if destination.is_multicast:
        # cni/egress-cni/snat accepts multicast before its SNAT.
        others = _is_anothers(translating)
        says = "the egress-cni plugin translates no multicast"
        return None if others else Intent(translated=False, random=Random.NONE, says=says, source=where)
    name, random = _randomized(plugin.randomize)
    return Intent(translated=True, random=random, says=f"randomizeSNAT is {name}", source=where)


def _exemptions(snapshot: NodeSnapshot, source: Address, destination: Address, named: str) -> Iterator[tuple[str, str]]:
    """Why the VPC CNI leaves this source as it is, each with where that was read: pkg/networkutils/network.go."""
    settings = snapshot.settings
    if source.version == 6:
        yield "the VPC CNI translates no IPv6", BY_DESIGN
    elif _is_ipv6_cluster(snapshot):
        yield "the VPC CNI translates nothing in an IPv6 cluster", BY_DESIGN
    for network in snapshot.vpc_networks:
        if destination in network:
            yield f"{network} is a CIDR of the VPC", f"{snapshot.node} imds"
    if named and not snapshot.vpc_networks:
        # Its pods and nodes have addresses of the VPC; hybrid nodes, which have none, are told by the VPC's CIDRs alone.
        yield f"{destination} is {named} of the cluster", INVENTORY
    for network in settings.excluded_networks if settings else ():
        if destination in network:
            yield f"AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS has {network}", f"{snapshot.node} ipamd"
    if settings is not None and settings.external_snat:
        yield "AWS_VPC_K8S_CNI_EXTERNALSNAT is true", f"{snapshot.node} ipamd"
    if destination in snapshot.addresses():
        yield f"the VPC CNI translates nothing to the node's own address {destination}", BY_DESIGN
    if _has_branch_eni(snapshot, source):
        yield "the VPC CNI translates nothing that leaves by a branch ENI", BY_DESIGN


def _is_ipv6_cluster(snapshot: NodeSnapshot) -> bool:
    """Whether a pod has an IPv6 address of the VPC's own: clusters have one family."""
    pods = (address for each in snapshot.interfaces for address in each.pod_addresses if address.version == 6)
    return any(address not in EGRESS_NETWORKS[1] for address in pods)


def _has_branch_eni(snapshot: NodeSnapshot, source: Address) -> bool:
    """Whether the pod has a branch ENI that all its traffic leaves by: its veth's name then begins with `vlan` (security
    groups for pods, strict mode). In standard mode what leaves the VPC goes by the primary ENI, translated.
    """
    return any(
        hop.interface.startswith(BRANCH_VETH) and not hop.interface.startswith(BRANCH_ENI)
        for route in snapshot.routes
        if route.destination.network_address == source and route.destination.prefixlen == source.max_prefixlen
        for hop in route.next_hops
    )


def _randomized(setting: int) -> tuple[str, Random]:
    """The CNI takes whatever it does not know for prng."""
    return RANDOMIZED.get(setting, RANDOMIZED[2])
