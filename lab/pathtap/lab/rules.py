"""Whole rule sets: a node's and the VPC's in iptables-restore's format, a node's in nft's. Pure; runs nothing."""

from collections.abc import Iterator

from pathtap.lab.aws_nft_rules import aws_table
from pathtap.lab.aws_rules import TableRules, aws_mangle, aws_nat
from pathtap.lab.kube_nft_rules import kube_table
from pathtap.lab.kube_rules import kube_filter, kube_mangle, kube_nat, kubelet_rules
from pathtap.lab.topology import Cluster, Node

_HOOKS = {
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
}


def node_rules(cluster: Cluster, node: Node) -> str:
    aws = {"mangle": aws_mangle(cluster.options, node), "nat": aws_nat(cluster.options, node), "filter": TableRules()}
    # kube-proxy first: it prepends its jumps, so they stand before the CNI's in each chain.
    return "".join(part for name, kube in _kube(cluster).items() for part in _table(name, kube, aws[name]))


def native_rules(cluster: Cluster, node: Node) -> str:
    """The node's tables in nftables' own language, for `nft -f`; empty where there are none.

    kube-proxy's nat chain has the priority of iptables-nft's. Of two the one registered last runs first, so this
    belongs after the iptables rules: a service's address is translated before the CNI looks at it.
    """
    kube = kube_table(cluster.services, node) if cluster.options.kube_proxy == "nftables" else ""
    return aws_table(cluster.options) + kube


def _kube(cluster: Cluster) -> dict[str, TableRules]:
    if cluster.options.kube_proxy == "nftables":
        return kubelet_rules()
    return {"mangle": kube_mangle(), "nat": kube_nat(cluster.services), "filter": kube_filter(cluster.services)}


def vpc_rules(cluster: Cluster) -> str:
    """The source check of every ENI, and a router that costs no TTL: the VPC is no hop that a packet can notice."""
    enis = [eni for node in cluster.nodes for eni in node.enis]
    owned = [f"-A SOURCE-CHECK -i {eni.port} -s {network} -j RETURN" for eni in enis for network in eni.owned]
    rules = TableRules(
        chains=("SOURCE-CHECK",),
        rules=(
            "-A PREROUTING -j SOURCE-CHECK",
            "-A PREROUTING -j TTL --ttl-inc 1",
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
