"""SNAT and its ports as the CNI was told, against what becomes of a pod's packet to what is outside. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from pathtap.collector import findings
from pathtap.collector.inspections.defect import Defect, Traffic
from pathtap.collector.inspections.intent import intent_of
from pathtap.collector.inspections.netfilter import (
    CONNMARK_CHAIN,
    SNAT_CHAIN,
    base_chains,
    chains_named,
    is_cni_table,
    jumps_to,
)
from pathtap.collector.inspections.owners import is_of_another_program, owner_of_chain
from pathtap.collector.inspections.view import NodeView, expected
from pathtap.collector.telling import words
from pathtap.forwarding.chains import PREROUTING
from pathtap.forwarding.packet import Packet
from pathtap.forwarding.predict import predict
from pathtap.forwarding.prediction import Outcome, Prediction
from pathtap.model.address import Address
from pathtap.model.netfilter import Random

# Each is more random than the one before.
RANDOMNESS = (Random.NONE, Random.RANDOM, Random.FULLY)
MOST_SECOND_WAYS = 16


def inspect(view: NodeView) -> Iterator[Defect]:
    if not view.netfilter_was_read or not view.was_read("rules", "routes"):
        return
    ways = tuple(_ways_out(view, view.samples))
    yield from _first(_defect(view, packet, prediction) for packet, prediction in ways)
    yield from _first(_ports(view, packet, prediction) for packet, prediction in ways)
    # Of these each has a chain of its own, written when its pod began.
    second = _ways_out(view, view.second_ways_out[:MOST_SECOND_WAYS])
    found = {packet.five_tuple.source: _ports(view, packet, prediction) for packet, prediction in second}
    less_random = frozenset(source for source, defect in found.items() if defect is not None)
    yield from (replace(defect, concerns=less_random) for defect in _first(found.values()))


def _ways_out(view: NodeView, sources: Iterable[Address]) -> Iterator[tuple[Packet, Prediction]]:
    """Of each source what it opens to what is outside, where it is certain what becomes of that."""
    for source in sources:
        outside = view.far_from(source)
        if outside is None:
            continue
        packet = view.opening(source, outside)
        prediction = predict(view.model, packet)
        if prediction.outcome is Outcome.FORWARDED and not prediction.unknown:
            yield packet, prediction


def _first(defects: Iterable[Defect | None]) -> tuple[Defect, ...]:
    """What holds of one pod holds of its node: it is said once."""
    found = next((defect for defect in defects if defect is not None), None)
    return () if found is None else (found,)


def _defect(view: NodeView, packet: Packet, prediction: Prediction) -> Defect | None:
    intended, told = is_snat_intended(view), view.settings is not None
    intent = "AWS_VPC_K8S_CNI_EXTERNALSNAT is {} (ipamd)".format("false" if intended else "true")
    says = expected(intent if told else "the CNI's connmark rules are there", f"{view.node} settings")
    snat = prediction.snat
    if snat is None:
        if not intended:
            return None
        proof = (says, expected(f"{packet.five_tuple} leaves untranslated", f"{view.node} netfilter"))
        return Defect(finding=findings.snat_missing(view.node, proof), traffic=Traffic.OUTSIDE)
    if intended or not told or (snat.rule is not None and is_of_another_program(snat.rule)):
        return None
    rule = words.netfilter_words(snat.rule) if snat.rule else "a rule that cannot be told"
    proof = (says, expected(rule, f"{view.node} netfilter"))
    return Defect(finding=findings.snat_despite_external(view.node, rule, proof), traffic=Traffic.OUTSIDE)


def _ports(view: NodeView, packet: Packet, prediction: Prediction) -> Defect | None:
    """A rule of whoever it is that chooses ports less randomly than the CNI, or its egress-cni plugin, was told to."""
    snat, ends = prediction.snat, packet.five_tuple
    if snat is None or snat.rule is None:
        return None
    owner = owner_of_chain(snat.rule)
    intent = intent_of(view.snapshot, ends.source, ends.destination, owner)
    if intent is None or not intent.translated or RANDOMNESS.index(snat.random) >= RANDOMNESS.index(intent.random):
        return None
    rule = words.netfilter_words(snat.rule)
    proof = (
        expected(intent.says, intent.source),
        expected(f"{ends} is translated first by {rule}", f"{view.node} netfilter"),
    )
    finding = findings.snat_random_not_in_effect(view.node, intent.says, rule, owner, snat.random, proof)
    return Defect(finding=finding, traffic=Traffic.OUTSIDE)


def is_snat_intended(view: NodeView) -> bool:
    """What ipamd says; where it said nothing, whether the node has the CNI's rules for it: it writes all or none."""
    if view.settings is not None:
        return not view.settings.external_snat
    marks = any(
        is_cni_table(chain.table.rule_set) or jumps_to(chain.chain, CONNMARK_CHAIN) is not None
        for chain in base_chains(view, PREROUTING)
    )
    translates = any(
        "-j SNAT" in rule.text
        for rule_set in view.snapshot.rule_sets
        if rule_set.family == "ip"
        for chain in chains_named(rule_set, SNAT_CHAIN)
        for rule in chain.rules
    )
    return marks or translates
