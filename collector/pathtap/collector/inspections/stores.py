"""One writer's rules in two stores at once, and connection marks that come before the Services' DNAT. Pure."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from pathtap.collector import findings
from pathtap.collector.inspections.defect import Defect, Traffic
from pathtap.collector.inspections.marks import secondary_pods
from pathtap.collector.inspections.netfilter import (
    CONNMARK_CHAIN,
    KUBE_PROXY_TABLE,
    SERVICES,
    SNAT_CHAIN,
    base_chains,
    chains_named,
    is_cni_table,
    jumps_to,
    sets_connmark,
    translates_services,
)
from pathtap.collector.inspections.view import NodeView, expected
from pathtap.forwarding.chains import CompiledChain
from pathtap.model.netfilter import Backend, Chain, RuleSet


@dataclass(frozen=True, slots=True)
class Duty:
    """What one writer does with chains of one name; `native` is its own nftables table where it may do so there."""

    writer: str
    prefix: str
    native: str = ""


DUTIES = (
    Duty("the VPC CNI", SNAT_CHAIN),
    Duty("the VPC CNI", CONNMARK_CHAIN, "aws-cni"),
    Duty("kube-proxy", SERVICES, KUBE_PROXY_TABLE),
)


def inspect(view: NodeView) -> Iterator[Defect]:
    stale = tuple(_stale(view))
    yield from stale
    # Of two rule sets the order is open anyhow: that is said once.
    if view.netfilter_was_read and not stale:
        yield from _order(view)


def _stale(view: NodeView) -> Iterator[Defect]:
    """Live at one hook in two stores: a packet meets both."""
    told: set[str] = set()
    for duty in DUTIES:
        hooks: dict[Backend, tuple[RuleSet, frozenset[str]]] = {}
        for of in view.snapshot.rule_sets:
            if of.family == "ip" and (live := _hooks(of, duty)):
                hooks[of.backend] = (of, live)
        counts = Counter(hook for _, live in hooks.values() for hook in live)
        shared = {hook for hook, count in counts.items() if count > 1}
        stores = {backend: of for backend, (of, live) in hooks.items() if live & shared}
        if not stores or duty.writer in told:
            continue
        told.add(duty.writer)
        names = [backend.value for backend in sorted(stores, key=lambda backend: backend.value)]
        proof = [
            expected(f"{of.table}: {', '.join(_chains(of, duty))}", f"{view.node} {backend.value}")
            for backend, of in stores.items()
        ]
        yield Defect(finding=findings.stale_rule_set(view.node, duty.writer, " and ".join(names), proof))


def _hooks(of: RuleSet, duty: Duty) -> frozenset[str]:
    """Where packets come to such a chain that has rules: those that a writer keeps empty say nothing."""
    if of.backend is Backend.NFTABLES:
        live = [chain for chain in of.base_chains() if of.table == duty.native and chain.rules]
    else:
        live = [chain for chain in of.base_chains() if of.table == "nat" and _enters(of, chain, duty.prefix)]
    return frozenset(chain.hook for chain in live)


def _enters(of: RuleSet, base: Chain, prefix: str) -> bool:
    if jumps_to(base, prefix) is None:
        return False
    return any(chain.rules for chain in chains_named(of, prefix))


def _chains(of: RuleSet, duty: Duty) -> list[str]:
    if of.backend is Backend.NFTABLES:
        return [chain.name for chain in of.base_chains()]
    return [chain.name for chain in chains_named(of, duty.prefix) if chain.rules]


def _order(view: NodeView) -> Iterator[Defect]:
    """A packet to a Service whose connection is marked before its DNAT leaves by the primary ENI, which does not own it."""
    concerns = secondary_pods(view)
    if not concerns or not _has_services_outside(view):
        return
    chains = [chain for chain in base_chains(view) if chain.chain.kind == "nat"]
    marking = [(chain, index) for chain in chains if (index := sets_connmark(chain, view.connmark)) is not None]
    serving = [(chain, index) for chain in chains if (index := translates_services(chain)) is not None]
    for marks in marking:
        for serves in serving:
            certain = _comes_first(marks, serves)
            if certain is not False:
                first, second = _words(marks[0]), _words(serves[0])
                proof = (expected(f"{first}; {second}", f"{view.node} netfilter"),)
                finding = findings.connmark_before_dnat(view.node, first, second, certain is True, proof)
                yield Defect(finding=finding, concerns=concerns, traffic=Traffic.SERVICE)
                return


def _has_services_outside(view: NodeView) -> bool:
    """Whether a Service has an address that is marked at all: most clusters' are no part of the VPC's networks."""
    addresses = [a for service in view.inventory.services.values() for a in service.cluster_addresses if a.version == 4]
    return any(not any(address in network for network in view.snapshot.vpc_networks) for address in addresses)


def _comes_first(marks: tuple[CompiledChain, int], serves: tuple[CompiledChain, int]) -> bool | None:
    """None where the order of two chains of one priority is not known: the one that was registered last runs first."""
    one, other = marks[0].chain, serves[0].chain
    if marks[0] is serves[0]:
        return marks[1] < serves[1]
    if one.priority != other.priority:
        return one.priority < other.priority
    if one.registration and other.registration:
        return one.registration > other.registration
    return None


def _words(chain: CompiledChain) -> str:
    of = chain.table.rule_set
    table = "aws-cni" if is_cni_table(of) else of.table
    return f"{of.backend.value} {table} {chain.chain.name} (priority {chain.chain.priority})"
