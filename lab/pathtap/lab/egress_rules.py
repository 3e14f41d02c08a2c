"""The rules of the egress-cni plugin as text, word for word what `iptables -S` prints. Pure; runs nothing.

Source: amazon-vpc-cni-k8s cmd/egress-cni-plugin (v1.13 and later). It gives a pod of an IPv6 cluster an IPv4 address that means
something on its node alone, and translates it to the node's: one chain, and one jump, for each pod.
"""

from pathtap.lab.aws_rules import RANDOM_FLAG, TableRules
from pathtap.lab.cluster import EGRESS_NETWORK, Node
from pathtap.lab.options import LabOptions

_MULTICAST = "224.0.0.0/4"


def egress_nat(options: LabOptions, node: Node) -> TableRules:
    """Its conflist carries AWS_VPC_K8S_CNI_RANDOMIZESNAT, of which the flag is made. Empty where no pod has such an address."""
    chains, jumps, rules = [], [], []
    for egress in (pod.egress for pod in node.pods if pod.egress):
        comment = rf'-m comment --comment "name: \"aws-cni\" id: \"{egress.container}\""'
        snat = f"SNAT --to-source {node.address}{RANDOM_FLAG[options.randomize]}"
        chains.append(egress.chain)
        jumps.append(f"-A POSTROUTING -s {egress.address}/32 {comment} -j {egress.chain}")
        rules.append(f"-A {egress.chain} -d {_MULTICAST} {comment} -j ACCEPT")
        rules.append(f"-A {egress.chain} {comment} -j {snat}")
    return TableRules(chains=tuple(chains), rules=(*jumps, *rules))


def egress_filter(node: Node) -> TableRules:
    """Pods are not to reach each other by these addresses."""
    if not any(pod.egress for pod in node.pods):
        return TableRules()
    comment = '-m comment --comment "Block Node Local Pod access via IPv4"'
    new = "-m conntrack --ctstate NEW"
    rule = f"-A FORWARD -d {EGRESS_NETWORK} {new} {comment} -j REJECT --reject-with icmp-port-unreachable"
    return TableRules(rules=(rule,))
