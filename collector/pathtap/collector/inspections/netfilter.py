"""What the inspections of marks and NAT ask of a node's rule sets: who wrote a chain, what a base chain's rules do. Pure.

Owners are told by the names of their chains and tables, which are theirs alone.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from pathtap.collector.inspections.view import NodeView
from pathtap.forwarding import iptables
from pathtap.forwarding.chains import PREROUTING, CompiledChain
from pathtap.forwarding.targets import SetConnmark, SetMark, Target
from pathtap.model.netfilter import Backend, Chain, RuleSet
from pathtap.model.node import NodeSnapshot
from pathtap.model.trace import RuleReference

CONNMARK_CHAIN, SNAT_CHAIN, SERVICES = "AWS-CONNMARK-CHAIN-", "AWS-SNAT-CHAIN-", "KUBE-SERVICES"
CNI_TABLE, KUBE_PROXY_TABLE = "aws-cni", "kube-proxy"
CNI_COMMENT = re.compile(r'--comment "AWS')


def base_chains(view: NodeView, hook: str = PREROUTING) -> Iterator[CompiledChain]:
    """The base chains of IPv4, in the kernel's order as far as it is known."""
    for stage in view.model.stages(4, hook):
        yield from (chain for group in stage.groups for chain in group)


def targets_of(chain: CompiledChain, index: int) -> Iterator[Target]:
    yield from (clause.target for clause in chain.clauses(index, 4))


def has_restore_rule(view: NodeView) -> bool:
    """Whether a rule of PREROUTING gives packets the CNI's mark of their connection."""
    return any(
        isinstance(target, SetMark) and target.value.connmark & view.connmark
        for chain in base_chains(view)
        for index in range(len(chain.chain.rules))
        for target in targets_of(chain, index)
    )


def serves_node_ports(view: NodeView) -> bool:
    """AWS_VPC_CNI_NODE_PORT_SUPPORT; where ipamd did not tell, whether what comes in for the node is marked."""
    if view.settings is not None:
        return view.settings.node_port_support
    return any(
        isinstance(target, SetConnmark) and target.value.constant & view.connmark
        for chain in base_chains(view)
        if chain.chain.kind != "nat"
        for index in range(len(chain.chain.rules))
        for target in targets_of(chain, index)
    )


def jumps_to(chain: Chain, prefix: str) -> int | None:
    """The index of the base chain's first jump into a chain of that name."""
    wanted = re.compile(rf"-[jg] {re.escape(prefix)}")
    return next((index for index, rule in enumerate(chain.rules) if wanted.search(rule.text)), None)


def is_cni_table(rule_set: RuleSet) -> bool:
    return rule_set.backend is Backend.NFTABLES and rule_set.table == CNI_TABLE


def sets_connmark(chain: CompiledChain, mark: int) -> int | None:
    """The index of the base chain's rule by which the CNI marks what pods send out of the VPC."""
    found = jumps_to(chain.chain, CONNMARK_CHAIN)
    if found is not None and _marks(chain, mark):
        return found
    if not is_cni_table(chain.table.rule_set):
        return None
    return next((i for i, rule in enumerate(chain.chain.rules) if "jump snat-mark" in rule.text), None)


def _marks(chain: CompiledChain, mark: int) -> bool:
    """Whether one of the CNI's connmark chains still has the rule at its end."""
    for named in chains_named(chain.table.rule_set, CONNMARK_CHAIN):
        for rule in named.rules:
            for clause in iptables.decode(rule.text, 4):
                if isinstance(clause.target, SetConnmark) and clause.target.value.constant & mark:
                    return True
    return False


def chains_named(rule_set: RuleSet, prefix: str) -> Iterator[Chain]:
    """PREFIX0, PREFIX1 … as the CNI numbers its chains; else the one of just that name."""
    for name in (f"{prefix}{number}" for number in count()) if prefix.endswith("-") else (prefix,):
        chain = rule_set.chain(name)
        if chain is None:
            return
        yield chain


def translates_services(chain: CompiledChain) -> int | None:
    """The index of the base chain's rule by which kube-proxy's DNAT begins."""
    rule_set = chain.table.rule_set
    if rule_set.backend is Backend.NFTABLES:
        return 0 if rule_set.table == KUBE_PROXY_TABLE and chain.chain.rules else None
    found = jumps_to(chain.chain, SERVICES)
    services = rule_set.chain(SERVICES)
    return found if services is not None and services.rules else None


def pruned(snapshot: NodeSnapshot, chain: CompiledChain, index: int) -> NodeSnapshot:
    """The same node without one rule."""
    less = replace(chain.chain, rules=tuple(rule for i, rule in enumerate(chain.chain.rules) if i != index))
    of = chain.table.rule_set
    changed = replace(of, chains=tuple(less if each.name == less.name else each for each in of.chains))
    return replace(snapshot, rule_sets=tuple(changed if each is of else each for each in snapshot.rule_sets))


def is_cnis(rule: RuleReference) -> bool:
    return bool(CNI_COMMENT.search(rule.text)) or rule.table == CNI_TABLE
