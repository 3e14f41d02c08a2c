"""What a person may choose about a lab; refuses values that cannot be built and knows nothing of how they are."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Literal, get_args

from pathtap.lab.errors import LabError

Backend = Literal["nft", "legacy"]
InterfaceNames = Literal["eth", "ens"]
ChainForm = Literal["return", "jump", "native"]
KubeProxy = Literal["iptables", "nftables"]
Randomize = Literal["prng", "hashrandom", "none"]
Family = Literal["ipv4", "ipv6"]

_CHOICES = {
    "backend": Backend,
    "names": InterfaceNames,
    "chains": ChainForm,
    "randomize": Randomize,
    "kube_proxy": KubeProxy,
    "family": Family,
}
# No hyphen: every namespace is PREFIX-something, so that one lab's prefix is never the beginning of another's.
_PREFIX = re.compile(r"[a-z][a-z0-9]{0,15}")
MOST_NODES = 200


def check_prefix(prefix: str) -> None:
    if not _PREFIX.fullmatch(prefix):
        raise LabError(f"The prefix {prefix!r} must be 1 to 16 lower-case letters and digits, a letter first.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOptions:
    """`names` eth means eth0 and eth1, ens means ens5 and ens6. `chains` is the form of the AWS chains: `return` as of
    CNI v1.16.2, `jump` as of v1.8, `native` as of v1.23 on a node of iptables-nft (connmark in a table of its own).

    `randomize`, `external_snat`, `node_port`, `exclude_cidrs` are the CNI's AWS_VPC_K8S_CNI_RANDOMIZESNAT,
    _EXTERNALSNAT, AWS_VPC_CNI_NODE_PORT_SUPPORT and AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS; `prefix_mode` is
    ENABLE_PREFIX_DELEGATION; `custom_networking` is AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG, and needs a second VPC CIDR,
    which it brings. `kube_proxy` is its mode. `family` is that of pods and services, the CNI's
    ENABLE_IPv6: with ipv6 pods have their IPv4 from the egress-cni plugin, and of the CNI's rules there are no others;
    `external_snat`, `exclude_cidrs` and `chains` then change nothing, and `prefix_mode` is a matter of course. With `kube`
    pods, services and kube-proxy's rules are a real Kubernetes's, and the lab brings none of its own. Raises LabError
    where a value is none of these, or two of them cannot be had together.
    """

    prefix: str = "lab"
    nodes: int = 2
    backend: Backend = "nft"
    names: InterfaceNames = "eth"
    chains: ChainForm = "return"
    metadata: bool = True
    external_snat: bool = False
    randomize: Randomize = "prng"
    node_port: bool = True
    exclude_cidrs: tuple[str, ...] = ()
    vpc_cidrs: int = 1
    custom_networking: bool = False
    prefix_mode: bool = False
    kube_proxy: KubeProxy = "iptables"
    family: Family = "ipv4"
    kube: bool = False

    def __post_init__(self) -> None:
        check_prefix(self.prefix)
        if not 2 <= self.nodes <= MOST_NODES:
            raise LabError(f"A lab has 2 to {MOST_NODES} nodes, not {self.nodes}.")
        if self.vpc_cidrs not in (1, 2):
            raise LabError(f"A lab's VPC has 1 or 2 CIDRs, not {self.vpc_cidrs}.")
        for name, literal in _CHOICES.items():
            value, allowed = getattr(self, name), get_args(literal)
            if value not in allowed:
                raise LabError(f"{name} is one of {', '.join(allowed)}, not {value!r}.")
        if self.chains == "native" and self.backend != "nft":
            raise LabError(
                "Native chains are what the CNI writes on a node of iptables-nft: they need the backend nft."
            )
        if self.kube_proxy == "nftables" and self.backend != "nft":
            raise LabError(
                "kube-proxy's nftables mode needs a node newer than those of legacy iptables: the backend nft."
            )
        if self.family == "ipv6" and self.custom_networking:
            # ipamd refuses to start with both (pkg/ipamd/ipamd.go, isConfigValid).
            raise LabError("Custom networking is IPv4's alone: an IPv6 cluster's pods are on their node's primary ENI.")
        if self.kube and (self.ipv6 or self.kube_proxy == "nftables"):
            raise LabError("A real Kubernetes is had in labs of IPv4 alone, with kube-proxy in its mode iptables.")
        # Read again from JSON it is a list; written by a person it may have host bits, which ipamd takes away.
        object.__setattr__(self, "exclude_cidrs", tuple(str(_network(text)) for text in self.exclude_cidrs))

    @property
    def ipv6(self) -> bool:
        return self.family == "ipv6"

    @property
    def excluded_networks(self) -> tuple[IPv4Network, ...]:
        return tuple(map(IPv4Network, self.exclude_cidrs))


def _network(text: str) -> IPv4Network:
    try:
        network = IPv4Network(text, strict=False)
    except ValueError:
        raise LabError(f"{text!r} is no IPv4 CIDR to exclude from SNAT.") from None
    if not network.prefixlen:
        raise LabError("Excluding 0.0.0.0/0 from SNAT would exclude everything: ask for external SNAT instead.")
    return network
