"""Faults of how SNAT chooses ports: a rule's flag is not what ipamd was set to, or another's rule translates first. Pure."""

import shlex

from pathtap.lab.aws_rules import RANDOM_FLAG
from pathtap.lab.cluster import vpc_networks
from pathtap.lab.faults.changes import Change, CommandChange
from pathtap.lab.faults.fault import Changes, Fault, Trace
from pathtap.lab.faults.making import insert, search, snat_rule
from pathtap.lab.options import LabOptions
from pathtap.lab.topology import INTERNET_HOST, Cluster

_OUT = Trace(source="shop/search", destination=str(INTERNET_HOST), port=443)
_FOUND = ("SNAT_RANDOM_NOT_IN_EFFECT",)
_NOT_IN_EFFECT = "NOT_IN_EFFECT"
# Pods whose sources Calico translates, and what it takes for inside: the pools of its IPAM (felix, rules/nat.go).
_MASQUERADED, _INSIDE = "cali40masq-ipam-pools", "cali40all-ipam-pools"
_CHAINS = ("cali-POSTROUTING", "cali-fip-snat", "cali-nat-outgoing")
_JUMP = 'POSTROUTING -m comment --comment "cali:O3lYWMrLQYEMJtB5" -j cali-POSTROUTING'
_RULES = (
    'cali-POSTROUTING -m comment --comment "cali:Z-c7XtVd2Bq7s_hA" -j cali-fip-snat',
    'cali-POSTROUTING -m comment --comment "cali:nYKhEzDlr11Jccal" -j cali-nat-outgoing',
    'cali-nat-outgoing -m comment --comment "cali:flqWnvo8yq4ULQLa"'
    f" -m set --match-set {_MASQUERADED} src -m set ! --match-set {_INSIDE} dst -j MASQUERADE",
)


def _needs_random_snat(options: LabOptions) -> str:
    if options.external_snat:
        return "A lab with external SNAT has no SNAT rules whose ports could be chosen otherwise."
    if not options.metadata:
        return "A lab without metadata has no ipamd that could tell how ports are to be chosen."
    return "The lab's CNI is set to no random ports: no rule is less random." if options.randomize == "none" else ""


def _needs_fully_random_snat(options: LabOptions) -> str:
    if options.randomize == "hashrandom":
        return "The lab's CNI is set to --random, which is what an old iptables falls back to."
    return _needs_random_snat(options)


def _flag(flag: str) -> Changes:
    """The CNI's own SNAT rule has `flag` in place of its own."""

    def changes(cluster: Cluster) -> tuple[Change, ...]:
        node = search(cluster)[1]
        _, position, rule = snat_rule(cluster, node)
        other = rule.removesuffix(RANDOM_FLAG[cluster.options.randomize]) + flag
        first = insert(cluster, node.network_namespace, "nat", other, position=position)
        own = insert(cluster, node.network_namespace, "nat", rule, position=position)
        # Its own goes, the other comes in its place; back the other way.
        return (CommandChange(namespace=node.network_namespace, broken=own.healed, healed=own.broken), first)

    return changes


def _masquerade_before_snat(cluster: Cluster) -> tuple[Change, ...]:
    """Calico's chain for what leaves its pools, which hold the whole VPC: felix puts its jump first in nat POSTROUTING."""
    namespace = search(cluster)[1].network_namespace
    networks = [*map(str, vpc_networks(cluster.options))]
    sets = (_MASQUERADED, _INSIDE)
    created = [f"create {name} hash:net family inet" for name in sets]
    added = [f"add {name} {network}" for name in sets for network in networks]
    chains = [f":{chain} - [0:0]" for chain in _CHAINS]
    _, *jump = shlex.split(_JUMP)
    written = [f"-I POSTROUTING 1 {shlex.join(jump)}", *(f"-A {rule}" for rule in _RULES)]
    deleted = [*(f"-D {rule}" for rule in (_JUMP, *_RULES)), *(f"-X {chain}" for chain in _CHAINS)]
    wait = ("-w", "10") if cluster.options.backend == "legacy" else ()
    restore = (f"iptables-{cluster.options.backend}-restore", "--noflush", *wait)
    return (
        CommandChange(
            namespace=namespace,
            broken=("ipset", "restore"),
            healed=("ipset", "restore"),
            broken_input=_lines(*created, *added),
            healed_input=_lines(*(f"destroy {name}" for name in sets)),
        ),
        CommandChange(
            namespace=namespace,
            broken=restore,
            healed=restore,
            broken_input=_lines("*nat", *chains, *written, "COMMIT"),
            healed_input=_lines("*nat", *deleted, "COMMIT"),
        ),
    )


def _lines(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


FAULTS = (
    Fault(
        name="snat-random-fallback",
        breaks="The SNAT rule of search's node says --random, as of an old iptables, and ipamd is set to prng.",
        trace=_OUT,
        changes=_flag(RANDOM_FLAG["hashrandom"]),
        traced_as=_FOUND,
        checked_as=_FOUND,
        impossible=_needs_fully_random_snat,
        proved_as=_NOT_IN_EFFECT,
    ),
    Fault(
        name="snat-not-random",
        breaks="The SNAT rule of search's node is an older CNI's and keeps ports, and ipamd is set to random ones.",
        trace=_OUT,
        changes=_flag(RANDOM_FLAG["none"]),
        traced_as=_FOUND,
        checked_as=_FOUND,
        impossible=_needs_random_snat,
        proved_as=_NOT_IN_EFFECT,
    ),
    Fault(
        name="masquerade-before-snat",
        breaks="Calico's MASQUERADE stands before the CNI's SNAT on search's node, and keeps ports.",
        trace=_OUT,
        changes=_masquerade_before_snat,
        traced_as=_FOUND,
        checked_as=_FOUND,
        impossible=_needs_random_snat,
        proved_as=_NOT_IN_EFFECT,
    ),
)
