"""The VPC CNI's iptables rules as text, word for word what `iptables -S` prints. Pure; runs nothing.

Source: amazon-vpc-cni-k8s pkg/networkutils/network.go, v1.16.2 to v1.22 (RETURN form) and v1.8 to v1.16.0 (jump form),
the switches as of v1.12.1. Of v1.23 on an nft node (native form) the connmark part is `pathtap.lab.aws_nft_rules`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from pathtap.lab.cluster import Node, vpc_networks
from pathtap.lab.options import LabOptions

RANDOM_FLAG = {"prng": " --random-fully", "hashrandom": " --random", "none": ""}
_SNAT = "AWS-SNAT-CHAIN"
_CONNMARK = "AWS-CONNMARK-CHAIN"
_RESTORE = "-j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80"
_SET = "-j CONNMARK --set-xmark 0x80/0x80"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRules:
    """One table's part by one owner: user chains, and `-A …` lines in order."""

    chains: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()

    def __add__(self, other: "TableRules") -> "TableRules":
        return TableRules(chains=self.chains + other.chains, rules=self.rules + other.rules)


def aws_nat(options: LabOptions, node: Node) -> TableRules:
    # With external SNAT the chain exists, empty, and nothing jumps to it.
    if options.external_snat:
        return TableRules(chains=(f"{_SNAT}-0",))
    to_snat = TableRules(rules=(f'-A POSTROUTING -m comment --comment "AWS SNAT CHAIN" -j {_SNAT}-0',))
    snat = _snat(node.address, RANDOM_FLAG[options.randomize])
    outside = _chains(options, _SNAT, ("AWS SNAT CHAIN", "AWS SNAT CHAIN EXCLUSION"), snat)
    if options.chains == "native":
        return to_snat + outside
    jumps = TableRules(
        rules=(
            f'-A PREROUTING -i eni+ -m comment --comment "AWS, outbound connections" -j {_CONNMARK}-0',
            f'-A PREROUTING -m comment --comment "AWS, CONNMARK" {_RESTORE}',
        )
    )
    comments = ("AWS CONNMARK CHAIN, VPC CIDR", "AWS CONNMARK CHAIN, EXCLUDED CIDR")
    marking = _chains(options, _CONNMARK, comments, f'-m comment --comment "AWS, CONNMARK" {_SET}')
    return jumps + to_snat + marking + outside


def aws_mangle(options: LabOptions, node: Node) -> TableRules:
    comment = '-m comment --comment "AWS, primary ENI"'
    local = "-m addrtype --dst-type LOCAL --limit-iface-in"
    mark = f"-A PREROUTING -i {node.primary.interface} {comment} {local} {_SET}"
    restore = f"-A PREROUTING -i eni+ {comment} {_RESTORE}"
    if options.node_port:
        return TableRules(rules=(mark, restore, f"-A PREROUTING -i vlan+ {comment} {_RESTORE}"))
    return TableRules() if options.external_snat else TableRules(rules=(restore,))


def has_mark_rule(options: LabOptions) -> bool:
    """Whether there is an ip rule 1024: node ports and the node's own SNAT both lead answers by the primary ENI."""
    return options.node_port or not options.external_snat


def _snat(address: IPv4Address, flag: str) -> str:
    return f'! -o vlan+ -m comment --comment "AWS, SNAT" -m addrtype ! --dst-type LOCAL -j SNAT --to-source {address}{flag}'


def _exempt(options: LabOptions, comments: tuple[str, str]) -> Iterator[tuple[IPv4Network, str]]:
    """The VPC's CIDRs, then those excluded by AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS, each with its match on a comment."""
    for networks, comment in zip((vpc_networks(options), options.excluded_networks), comments, strict=True):
        yield from ((network, f'-m comment --comment "{comment}"') for network in networks)


def _chains(options: LabOptions, name: str, comments: tuple[str, str], last: str) -> TableRules:
    """The chain or chains that do `last` to what goes outside of all exempt CIDRs."""
    exempt = list(_exempt(options, comments))
    if options.chains != "jump":
        # The CNI inserts each CIDR at position 1, so they stand in reverse order.
        returns = [f"-A {name}-0 -d {cidr} {about} -j RETURN" for cidr, about in reversed(exempt)]
        return TableRules(chains=(f"{name}-0",), rules=(*returns, f"-A {name}-0 {last}"))
    jumps = [f"-A {name}-{i} ! -d {cidr} {about} -j {name}-{i + 1}" for i, (cidr, about) in enumerate(exempt)]
    chains = tuple(f"{name}-{i}" for i in range(len(exempt) + 1))
    return TableRules(chains=chains, rules=(*jumps, f"-A {chains[-1]} {last}"))
