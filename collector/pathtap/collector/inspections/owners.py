"""Who writes a rule, told by the names of its chain and table, which are the writer's alone. Pure.

Knows no rule's meaning. Whoever is not listed is called by the chain's own name: a name is all that there is of them.
"""

import re

from pathtap.model.netfilter import Backend
from pathtap.model.trace import RuleReference

VPC_CNI, EGRESS_CNI, KUBE_PROXY = "VPC CNI", "egress-cni", "kube-proxy"
# Of a rule that stands in POSTROUTING itself: any script may have put it there.
UNKNOWN = "unknown writer"
POSTROUTING = "POSTROUTING"
# Chains of iptables tables. The egress plugin's: cni/egress-cni/snat; portmap's and the ipMasq of bridge and ptp:
# containernetworking/plugins; the hex digits are a hash of the network and the container.
CHAINS = tuple(
    (re.compile(pattern), owner)
    for pattern, owner in (
        (r"AWS-(SNAT|CONNMARK)-CHAIN", VPC_CNI),
        (r"CNI-E[46]-", EGRESS_CNI),
        (r"KUBE-", KUBE_PROXY),
        (r"cali-", "Calico"),
        (r"IP-MASQ", "ip-masq-agent"),
        (r"CNI-(HOSTPORT|DN|SN)-", "portmap"),
        (r"CNI-[0-9a-f]{24}\Z", "ipMasq"),
        (r"(OLD_)?CILIUM_", "Cilium"),
        (r"DOCKER", "Docker"),
        (r"FLANNEL-", "flannel"),
        (r"WEAVE", "Weave Net"),
        (r"ANTREA-", "Antrea"),
        (r"ISTIO_", "Istio"),
        (r"LIBVIRT_", "libvirt"),
    )
)
# Tables of nftables' own: one writer each.
TABLES = {
    "aws-cni": VPC_CNI,
    "kube-proxy": KUBE_PROXY,
    "calico": "Calico",
    "ip-masq-agent": "ip-masq-agent",
    "cni_hostport": "portmap",
    "cni_plugins_masquerade": "ipMasq",
    "firewalld": "firewalld",
    "docker-bridges": "Docker",
}
# Before it had chains of its own (v1.3) the VPC CNI wrote its one rule into POSTROUTING, with such a comment.
_OF_THE_CNI = re.compile(r'--comment "AWS,? SNAT')


def owner_of_chain(rule: RuleReference) -> str:
    """`VPC CNI`, `kube-proxy`, `Calico` …; `unknown writer` where it is in no chain of its own; else the
    chain's name as written.
    """
    known = _known_writer(rule)
    if known:
        return known
    on_its_own = rule.chain == POSTROUTING and rule.backend is not Backend.NFTABLES
    return UNKNOWN if on_its_own else rule.chain


def is_of_another_program(rule: RuleReference) -> bool:
    """Whether a program wrote it that translates by settings of its own, not the VPC CNI's."""
    return _known_writer(rule) not in ("", VPC_CNI)


def _known_writer(rule: RuleReference) -> str:
    """Empty for what anybody may have written."""
    if rule.backend is Backend.NFTABLES and rule.table in TABLES:
        return TABLES[rule.table]
    writer = next((owner for pattern, owner in CHAINS if pattern.match(rule.chain)), "")
    if not writer and rule.chain == POSTROUTING and _OF_THE_CNI.search(rule.text):
        return VPC_CNI
    return writer
