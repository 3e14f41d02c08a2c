"""Faults of a node's NAT and marks: the rules of the VPC CNI missing, shadowed, doubled or wrong. Pure."""

from dataclasses import replace

from pathtap.lab.aws_nft_rules import aws_table
from pathtap.lab.aws_rules import aws_nat
from pathtap.lab.faults.changes import Change, CommandChange, SettingsChange
from pathtap.lab.faults.fault import Fault, Trace, needs_mark_rule
from pathtap.lab.faults.making import insert, position_of, remove, search, snat_rule
from pathtap.lab.options import LabOptions
from pathtap.lab.topology import INTERNET_HOST, VPC, Cluster

_OUT = Trace(source="shop/search", destination=str(INTERNET_HOST), port=443)
_CONNMARK = "AWS-CONNMARK-CHAIN-0"


def _needs_snat(options: LabOptions) -> str:
    return "A lab with external SNAT has no SNAT rules to break." if options.external_snat else ""


def _needs_iptables_chains(options: LabOptions) -> str:
    if options.chains == "native":
        return "With native chains the CNI's connmark rules are in a table of their own, where no ACCEPT shadows them."
    return _needs_snat(options)


def _needs_settings(options: LabOptions) -> str:
    return "" if options.metadata else "A lab without metadata has no ipamd that could tell its settings."


def _snat_foreign_source(cluster: Cluster) -> tuple[Change, ...]:
    node = cluster.nodes[0]
    _, position, rule = snat_rule(cluster, node)
    wrong = rule.replace(f"--to-source {node.primary.address}", f"--to-source {node.secondary.address}")
    first = insert(cluster, node.network_namespace, "nat", wrong, position=position)
    own = insert(cluster, node.network_namespace, "nat", rule, position=position)
    # The right one goes, the wrong one comes in its place; back the other way.
    return (CommandChange(namespace=node.network_namespace, broken=own.healed, healed=own.broken), first)


def _no_connmark_rules(cluster: Cluster) -> tuple[Change, ...]:
    node = cluster.nodes[0]
    if table := aws_table(cluster.options):
        nft = ("nft", "-f", "-")
        gone = "delete table ip aws-cni\n"
        # Named before it is deleted, it may be there or not: who wrote it anew has it once nonetheless.
        anew = f"table ip aws-cni\n{gone}{table}"
        change = CommandChange(
            namespace=node.network_namespace, broken=nft, healed=nft, broken_input=gone, healed_input=anew
        )
        return (change,)
    return tuple(remove(cluster, node, "nat", "PREROUTING", lambda rule: '--comment "AWS, ' in rule))


def _shadowed_connmark_rules(cluster: Cluster) -> tuple[Change, ...]:
    node = cluster.nodes[0]
    position = position_of(cluster, node, "nat", "PREROUTING", _CONNMARK)
    rule = 'PREROUTING -i eni+ -m comment --comment "policy accepted" -j ACCEPT'
    return (insert(cluster, node.network_namespace, "nat", rule, position=position),)


def _wrong_mark(cluster: Cluster) -> tuple[Change, ...]:
    pod, node = search(cluster)
    # Before the CNI's rules, which make the packet's mark of the connection's.
    rule = f"PREROUTING -s {pod.address}/32 -d {VPC} -j CONNMARK --set-xmark 0x80/0x80"
    return (insert(cluster, node.network_namespace, "mangle", rule),)


def _stale_rule_set(cluster: Cluster) -> tuple[Change, ...]:
    node = cluster.nodes[0]
    old = aws_nat(
        replace(cluster.options, chains="jump", randomize="none", backend="legacy", kube_proxy="iptables"), node
    )
    chains = "".join(f":{chain} - [0:0]\n" for chain in old.chains)
    rules = "".join(f"{rule}\n" for rule in old.rules)
    broken = f"*nat\n{chains}{rules}COMMIT\n"
    deleted = "".join(f"-D {rule.removeprefix('-A ')}\n" for rule in reversed(old.rules))
    emptied = "".join(f"-X {chain}\n" for chain in old.chains)
    restore: tuple[str, ...] = ("iptables-legacy-restore", "--noflush", "-w", "10")
    healed, undo = restore, f"*nat\n{deleted}{emptied}COMMIT\n"
    if cluster.options.backend == "legacy":
        # iptables-nft keeps a table and its base chains, and nobody else has one of that name here.
        restore, healed, undo = ("iptables-nft-restore", "--noflush"), ("nft", "-f", "-"), "delete table ip nat\n"
    return (
        CommandChange(
            namespace=node.network_namespace, broken=restore, healed=healed, broken_input=broken, healed_input=undo
        ),
    )


def _unexpected_snat(_cluster: Cluster) -> tuple[Change, ...]:
    return (SettingsChange(values={"AWS_VPC_K8S_CNI_EXTERNALSNAT": True}),)


def _missing_snat(cluster: Cluster) -> tuple[Change, ...]:
    node = cluster.nodes[0]
    return tuple(remove(cluster, node, "nat", "POSTROUTING", lambda rule: "-j AWS-SNAT-CHAIN-0" in rule))


FAULTS = (
    Fault(
        name="snat-foreign-source",
        breaks="The SNAT rule of search's node translates to an address of the secondary ENI; the primary sends it.",
        trace=_OUT,
        changes=_snat_foreign_source,
        traced_as=("SOURCE_NOT_OWNED_BY_ENI",),
        checked_as=("SOURCE_NOT_OWNED_BY_ENI",),
        impossible=_needs_snat,
    ),
    Fault(
        name="wrong-mark",
        breaks="A rule in mangle marks what search sends inside the VPC with 0x80: it leaves by the primary ENI.",
        trace=Trace(source="shop/search", destination="shop/redis", port=6379),
        changes=_wrong_mark,
        traced_as=("WRONG_ENI",),
        checked_as=("WRONG_ENI",),
        impossible=needs_mark_rule,
    ),
    Fault(
        name="no-connmark-rules",
        breaks="The CNI's connmark rules are gone on search's node: what is SNATed leaves by the secondary ENI.",
        trace=_OUT,
        changes=_no_connmark_rules,
        traced_as=("CONNMARK_RULES_MISSING",),
        checked_as=("CONNMARK_RULES_MISSING",),
        impossible=_needs_snat,
    ),
    Fault(
        name="shadowed-connmark-rules",
        breaks="An ACCEPT stands before the CNI's connmark rules: what is SNATed leaves by the secondary ENI.",
        trace=_OUT,
        changes=_shadowed_connmark_rules,
        traced_as=("CONNMARK_RULES_SHADOWED",),
        checked_as=("CONNMARK_RULES_SHADOWED",),
        impossible=_needs_iptables_chains,
    ),
    Fault(
        name="stale-rule-set",
        breaks="The rules of an older CNI live in the other backend of iptables too: whose chain was registered last translates.",
        trace=_OUT,
        changes=_stale_rule_set,
        traced_as=("STALE_RULE_SET",),
        checked_as=("STALE_RULE_SET",),
        impossible=_needs_snat,
    ),
    Fault(
        name="unexpected-snat",
        breaks="The CNI is set to external SNAT, and its SNAT rules are still there.",
        trace=_OUT,
        changes=_unexpected_snat,
        traced_as=("SNAT_DESPITE_EXTERNAL",),
        checked_as=("SNAT_DESPITE_EXTERNAL",),
        impossible=lambda options: _needs_settings(options) or _needs_snat(options),
    ),
    Fault(
        name="missing-snat",
        breaks="Nothing leads to the SNAT rules on search's node, though ipamd is set to SNAT.",
        trace=_OUT,
        changes=_missing_snat,
        traced_as=("SNAT_MISSING",),
        checked_as=("SNAT_MISSING",),
        impossible=_needs_snat,
    ),
)
