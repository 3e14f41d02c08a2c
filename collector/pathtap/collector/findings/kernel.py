"""What the rule sets and the kernel's own state say of a node: marks, SNAT, two stores at once, a full conntrack table."""

from pathtap.collector.findings.making import Proof, deletion, error, warning
from pathtap.collector.inspections.owners import EGRESS_CNI, UNKNOWN, VPC_CNI
from pathtap.collector.telling import words
from pathtap.model.netfilter import Random
from pathtap.model.trace import Finding, RuleReference


def connmark_rules_missing(node: str, lacks: str, proof: Proof) -> Finding:
    text = (
        f"{node} lacks {lacks}: packets of secondary ENIs' pods that need the primary ENI leave by their own instead, and the VPC"
        " drops what that does not own"
    )
    fix = f"restart aws-node on {node}: it writes its rules when it starts, and never again"
    return error("CONNMARK_RULES_MISSING", node, text, fix, proof)


def connmark_rules_shadowed(node: str, rule: RuleReference, family: str, proof: Proof) -> Finding:
    text = (
        f"a rule on {node} keeps packets from the mark of the VPC CNI's connmark rules: {words.netfilter_words(rule)}; unmarked,"
        " they leave by the pod's own ENI with the primary one's address"
    )
    fix = f"on {node}: {deletion(rule, family)}; or let it RETURN (Calico: IptablesMangleAllowAction=Return)"
    return error("CONNMARK_RULES_SHADOWED", node, text, fix, proof)


def connmark_before_dnat(node: str, marking: str, serving: str, certain: bool, proof: Proof) -> Finding:
    """`marking` and `serving` name the two chains. Where `certain` is false their order cannot be read."""
    runs = (
        "runs before"
        if certain
        else "may run before (of equal priorities the one registered last runs first, and nobody can read that)"
    )
    text = (
        f"on {node} {marking}, which marks what leaves the VPC, {runs} {serving}, which translates Services: then packets of"
        " secondary ENIs' pods to a Service leave by the primary ENI, and the VPC drops them"
    )
    fix = (
        f"upgrade the VPC CNI to v1.23 or later, whose chain has a priority of its own; until then restart kube-proxy on {node}"
        " after aws-node, so that its chain is registered last"
    )
    return (error if certain else warning)("CONNMARK_BEFORE_DNAT", node, text, fix, proof)


def snat_missing(node: str, proof: Proof) -> Finding:
    text = (
        f"{node} does not SNAT what its pods send out of the VPC, and its VPC CNI is told to: unless a router beyond translates"
        " it, no answer finds the way back"
    )
    fix = f"restart aws-node on {node}; iptables -t nat -S POSTROUTING must jump to AWS-SNAT-CHAIN-0"
    return error("SNAT_MISSING", node, text, fix, proof)


def snat_despite_external(node: str, rule: str, proof: Proof) -> Finding:
    text = (
        f"{node} SNATs what its pods send out of the VPC, though AWS_VPC_K8S_CNI_EXTERNALSNAT is true: {rule}; a NAT gateway or a"
        " firewall sees the node's address instead of the pod's"
    )
    fix = f"restart aws-node on {node}; where the rule stays, delete the jump to AWS-SNAT-CHAIN-0 from nat POSTROUTING"
    return error("SNAT_DESPITE_EXTERNAL", node, text, fix, proof)


def snat_random_not_in_effect(node: str, says: str, rule: str, owner: str, random: Random, proof: Proof) -> Finding:
    """`says` is the setting and its value; `rule`, of `owner`, translates first and chooses ports by `random`."""
    does = {
        Random.NONE: "keeps the source port, so that two pods with equal ones can collide",
        Random.RANDOM: "asks for random ports, not for fully random ones (which is the same only from Linux 5.0 on)",
    }
    text = f"on {node} {says}, and the rule that translates first what pods send out of the VPC {does[random]}: {rule}"
    mends = {
        VPC_CNI: f"restart aws-node on {node}: it writes its rule anew",
        EGRESS_CNI: f"start the pods of {node} anew: egress-cni writes a pod's rule when that starts",
    }
    writer = "whoever wrote that rule" if owner == UNKNOWN else owner
    others = (
        f"have {writer} ask for fully random ports (--random-fully), or leave to the VPC CNI what goes out of the VPC"
    )
    fix = mends.get(owner, others)
    if owner in mends and random is Random.RANDOM:
        fix += (
            "; if the flag stays, upgrade the VPC CNI, whose iptables knows no --random-fully: it is older than 1.6.2"
        )
    return warning("SNAT_RANDOM_NOT_IN_EFFECT", node, text, fix, proof)


def stale_rule_set(node: str, writer: str, stores: str, proof: Proof) -> Finding:
    text = (
        f"rules of {writer} live in {stores} on {node}: the kernel runs both, the first to translate a packet wins, and which"
        " comes first cannot be read"
    )
    fix = (
        f"find out which store {writer} writes now (iptables --version inside its container), and delete its chains from the"
        f" other on {node}: iptables-legacy-save, iptables-nft-save and nft list tables show them"
    )
    return warning("STALE_RULE_SET", node, text, fix, proof)


def conntrack_table_full(node: str, count: int, most: int, full: bool, proof: Proof) -> Finding:
    effect = "new connections are dropped" if full else "soon new connections will be dropped"
    text = f"connection tracking on {node} has {count} entries of {most}: {effect}"
    fix = f"on {node}: sysctl -w net.netfilter.nf_conntrack_max={2 * most}; conntrack -L shows who fills it"
    return (error if full else warning)("CONNTRACK_TABLE_FULL", node, text, fix, proof)
