"""The VPC CNI's iptables rules as text, word for word what `iptables -S` prints. Pure; runs nothing.

Source: amazon-vpc-cni-k8s pkg/networkutils/network.go, v1.16.2 to v1.22 (RETURN form) and v1.8 to v1.16.0 (jump form).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from pathtap.lab.options import ChainForm, LabOptions
from pathtap.lab.topology import VPC, Node

_RANDOM_FLAG = {"prng": " --random-fully", "hashrandom": " --random", "none": ""}
_SNAT = "AWS-SNAT-CHAIN"
_CONNMARK = "AWS-CONNMARK-CHAIN"
_RESTORE = "-j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80"
_SET = "-j CONNMARK --set-xmark 0x80/0x80"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRules:
    """One table's part by one owner: user chains, and `-A …` lines in order."""

    chains: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()


def aws_nat(options: LabOptions, node: Node) -> TableRules:
    # With external SNAT the chain exists, empty, and nothing jumps to it.
    if options.external_snat:
        return TableRules(chains=(f"{_SNAT}-0",))
    snat = _snat(node.address, _RANDOM_FLAG[options.randomize])
    bodies = (
        _chain(
            options.chains, _CONNMARK, "AWS CONNMARK CHAIN, VPC CIDR", f'-m comment --comment "AWS, CONNMARK" {_SET}'
        ),
        _chain(options.chains, _SNAT, "AWS SNAT CHAIN", snat),
    )
    return TableRules(
        chains=tuple(chain for body in bodies for chain in body.chains),
        rules=(
            f'-A PREROUTING -i eni+ -m comment --comment "AWS, outbound connections" -j {_CONNMARK}-0',
            f'-A PREROUTING -m comment --comment "AWS, CONNMARK" {_RESTORE}',
            f'-A POSTROUTING -m comment --comment "AWS SNAT CHAIN" -j {_SNAT}-0',
            *(rule for body in bodies for rule in body.rules),
        ),
    )


def aws_mangle(node: Node) -> TableRules:
    comment = '-m comment --comment "AWS, primary ENI"'
    local = "-m addrtype --dst-type LOCAL --limit-iface-in"
    return TableRules(
        rules=(
            f"-A PREROUTING -i {node.primary.interface} {comment} {local} {_SET}",
            f"-A PREROUTING -i eni+ {comment} {_RESTORE}",
            f"-A PREROUTING -i vlan+ {comment} {_RESTORE}",
        )
    )


def _snat(address: IPv4Address, flag: str) -> str:
    return f'! -o vlan+ -m comment --comment "AWS, SNAT" -m addrtype ! --dst-type LOCAL -j SNAT --to-source {address}{flag}'


def _chain(form: ChainForm, name: str, comment: str, last: str, cidrs: Sequence[IPv4Network] = (VPC,)) -> TableRules:
    """The chain or chains that do `last` to what goes outside of `cidrs`."""
    about = f'-m comment --comment "{comment}"'
    if form == "return":
        # The CNI inserts each CIDR at position 1, so they stand in reverse order.
        returns = [f"-A {name}-0 -d {cidr} {about} -j RETURN" for cidr in reversed(cidrs)]
        return TableRules(chains=(f"{name}-0",), rules=(*returns, f"-A {name}-0 {last}"))
    jumps = [f"-A {name}-{i} ! -d {cidr} {about} -j {name}-{i + 1}" for i, cidr in enumerate(cidrs)]
    chains = tuple(f"{name}-{i}" for i in range(len(cidrs) + 1))
    return TableRules(chains=chains, rules=(*jumps, f"-A {chains[-1]} {last}"))
