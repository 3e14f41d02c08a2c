"""Whole rule sets in iptables-restore's format: a node's, and the VPC's. Pure; runs nothing."""

from collections.abc import Iterator

from pathtap.lab.aws_rules import TableRules, aws_mangle, aws_nat
from pathtap.lab.kube_rules import kube_filter, kube_mangle, kube_nat
from pathtap.lab.topology import Cluster, Node

_HOOKS = {
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
}


def node_rules(cluster: Cluster, node: Node) -> str:
    # kube-proxy first: it prepends its jumps, so they stand before the CNI's in each chain.
    return "".join(
        (
            *_table("mangle", kube_mangle(), aws_mangle(cluster.options, node)),
            *_table("nat", kube_nat(cluster.services), aws_nat(cluster.options, node)),
            *_table("filter", kube_filter(cluster.services)),
        )
    )


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
