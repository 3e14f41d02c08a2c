"""Whole rule sets: a node's and the VPC's in iptables-restore's format, a node's in nft's. Pure; runs nothing."""

from collections.abc import Iterator

from pathtap.lab.aws_nft_rules import aws_table
from pathtap.lab.aws_rules import TableRules, aws_mangle, aws_nat
from pathtap.lab.egress_rules import egress_filter, egress_nat
from pathtap.lab.kube_nft_rules import kube_table
from pathtap.lab.kube_rules import kube_filter, kube_mangle, kube_nat, kubelet_rules
from pathtap.lab.options import LabOptions
from pathtap.lab.topology import Cluster, Node, Service

_HOOKS = {
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
}


def node_rules(cluster: Cluster, node: Node, version: int = 4) -> str:
    """For iptables-restore, or with `version` 6 for ip6tables-restore; empty where the cluster has nothing of that family."""
    options = cluster.options
    if version == 6 and not options.ipv6:
        return ""
    own = {name: TableRules() for name in _HOOKS}
    if version == 4 and options.ipv6:
        # Of the CNI itself there are none: UpdateHostSNATRules does nothing in an IPv6 cluster.
        own |= {"nat": egress_nat(options, node), "filter": egress_filter(node)}
    elif version == 4:
        own |= {"mangle": aws_mangle(options, node), "nat": aws_nat(options, node)}
    # kube-proxy first: it prepends its jumps, so they stand before the CNI's in each chain.
    return "".join(part for name, kube in _kube(cluster, version).items() for part in _table(name, kube, own[name]))


def native_rules(cluster: Cluster, node: Node) -> str:
    """The node's tables in nftables' own language, for `nft -f`; empty where there are none.

    kube-proxy's nat chain has the priority of iptables-nft's. Of two the one registered last runs first, so this
    belongs after the iptables rules: a service's address is translated before the CNI looks at it.
    """
    options = cluster.options
    aws = "" if options.ipv6 else aws_table(options)
    if options.kube_proxy != "nftables":
        return aws
    return aws + "".join(kube_table(_served(cluster, version), node, version) for version in _versions(options))


def _versions(options: LabOptions) -> tuple[int, ...]:
    """kube-proxy serves both families wherever the node has iptables for both; the lab has IPv6 where it is asked for."""
    return (4, 6) if options.ipv6 else (4,)


def _served(cluster: Cluster, version: int) -> tuple[Service, ...]:
    return tuple(service for service in cluster.services if service.address.version == version)


def _kube(cluster: Cluster, version: int) -> dict[str, TableRules]:
    """By table; nothing where a real kube-proxy and a real kubelet write their own."""
    if cluster.options.kube:
        return {name: TableRules() for name in _HOOKS}
    if cluster.options.kube_proxy == "nftables":
        return kubelet_rules(version)
    services = _served(cluster, version)
    return {"mangle": kube_mangle(), "nat": kube_nat(services), "filter": kube_filter(services, version)}


def vpc_rules(cluster: Cluster, version: int = 4) -> str:
    """The source check of every ENI, and a router that costs no TTL: the VPC is no hop that a packet can notice."""
    if version == 6 and not cluster.options.ipv6:
        return ""
    enis = [eni for node in cluster.nodes for eni in node.enis]
    owned = [
        f"-A SOURCE-CHECK -i {eni.port} -s {network} -j RETURN"
        for eni in enis
        for network in eni.owned
        if network.version == version
    ]
    # IPv6 finds its neighbours by its own packets.
    neighbours = ("-A SOURCE-CHECK -s fe80::/10 -j RETURN",) if version == 6 else ()
    rules = TableRules(
        chains=("SOURCE-CHECK",),
        rules=(
            "-A PREROUTING -j SOURCE-CHECK",
            "-A PREROUTING -j TTL --ttl-inc 1" if version == 4 else "-A PREROUTING -j HL --hl-inc 1",
            *neighbours,
            *owned,
            "-A SOURCE-CHECK -i eni-+ -j DROP",
        ),
    )
    return "".join(_table("mangle", rules))


def _table(name: str, *owners: TableRules) -> Iterator[str]:
    yield f"*{name}\n"
    yield from (f":{hook} ACCEPT [0:0]\n" for hook in _HOOKS[name])
    yield from (f":{chain} - [0:0]\n" for owner in owners for chain in owner.chains)
    yield from (f"{rule}\n" for owner in owners for rule in owner.rules)
    yield "COMMIT\n"
