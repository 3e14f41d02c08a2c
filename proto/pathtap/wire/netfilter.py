"""Rule sets of the three stores, both ways. Knows no rule's meaning: texts and expressions pass as they are.

A chain's `registration` does not travel: no agent can read it.
"""

from collections.abc import Sequence

from pathtap.model.netfilter import Backend, Chain, NetfilterRule, RuleSet
from pathtap.model.saved import SavedChains, SavedTextError
from pathtap.v1 import node_pb2 as pb
from pathtap.wire.errors import EnumTable, WireError

BACKENDS = EnumTable(
    "rule set's backend",
    {
        Backend.LEGACY: pb.RuleSet.LEGACY,
        Backend.NFT: pb.RuleSet.NFT,
        Backend.NFTABLES: pb.RuleSet.NFTABLES,
    },
)


def rule_set_to_wire(rule_set: RuleSet) -> pb.RuleSet:
    saved = rule_set.chains.text if isinstance(rule_set.chains, SavedChains) else ""
    return pb.RuleSet(
        backend=BACKENDS.to_wire(rule_set.backend),
        family=rule_set.family,
        table=rule_set.table,
        chains=[] if saved else [_chain_to_wire(chain) for chain in rule_set.chains],
        saved=saved,
        objects=rule_set.objects,
        read_by=rule_set.read_by,
    )


def rule_set_from_wire(message: pb.RuleSet) -> RuleSet:
    return RuleSet(
        backend=BACKENDS.from_wire(message.backend),
        family=message.family,
        table=message.table,
        chains=_chains_from_wire(message),
        objects=message.objects,
        read_by=message.read_by,
    )


def _chains_from_wire(message: pb.RuleSet) -> Sequence[Chain]:
    if not message.saved:
        return tuple(_chain_from_wire(chain) for chain in message.chains)
    try:
        return SavedChains(message.table, message.saved)
    except SavedTextError as error:
        raise WireError(f"the text of table {message.table} is none: {error}") from error


def _chain_to_wire(chain: Chain) -> pb.Chain:
    return pb.Chain(
        name=chain.name,
        rules=[_rule_to_wire(rule) for rule in chain.rules],
        hook=chain.hook,
        kind=chain.kind,
        priority=chain.priority,
        policy=chain.policy,
        device=chain.device,
    )


def _chain_from_wire(message: pb.Chain) -> Chain:
    return Chain(
        name=message.name,
        rules=tuple(_rule_from_wire(rule) for rule in message.rules),
        hook=message.hook,
        kind=message.kind,
        priority=message.priority,
        policy=message.policy,
        device=message.device,
    )


def _rule_to_wire(rule: NetfilterRule) -> pb.NetfilterRule:
    return pb.NetfilterRule(
        position=rule.position,
        text=rule.text,
        expression=rule.expression,
        packets=rule.packets,
        bytes=rule.bytes,
    )


def _rule_from_wire(message: pb.NetfilterRule) -> NetfilterRule:
    return NetfilterRule(
        position=message.position,
        text=message.text,
        expression=message.expression,
        packets=message.packets if message.HasField("packets") else None,
        bytes=message.bytes if message.HasField("bytes") else None,
    )
