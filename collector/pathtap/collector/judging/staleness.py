"""Conntrack entries that are older than the rules: the translation on record against the one that a new flow would get. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from pathtap.collector import findings
from pathtap.collector.joining.expect import ExpectedPassage
from pathtap.collector.telling import words
from pathtap.forwarding.node import NodeModel
from pathtap.forwarding.packet import Packet
from pathtap.forwarding.predict import predict
from pathtap.forwarding.prediction import Outcome, Prediction
from pathtap.model.address import FiveTuple, protocol_name
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.trace import Evidence, Finding, Witness


def stale_entries(passages: Sequence[ExpectedPassage], models: Mapping[str, NodeModel]) -> Iterator[Finding]:
    """`passages` of the way there, of a flow that was under way already. Nothing is said where the rules leave it open."""
    for expected in passages:
        entry, model = expected.passage.entry, models.get(expected.passage.node)
        if entry is None or model is None or entry.original != expected.passage.before:
            continue
        today = predict(model, Packet.opening(entry.original, expected.came_by))
        if today.unknown or today.outcome not in (Outcome.FORWARDED, Outcome.LOCAL):
            continue
        if (difference := _difference(entry, today)) is not None:
            yield _finding(expected.passage.node, entry, today, *difference)


def _difference(entry: ConntrackEntry, today: Prediction) -> tuple[str, str] | None:
    """What the entry does, and what the rules do now; None where they agree as far as the rules decide."""
    recorded, original = entry.destination_translation, entry.original
    choices = today.dnat.alternatives if today.dnat else (original.destination_socket,)
    now_to = recorded.after if recorded else original.destination_socket
    if now_to not in choices:
        says = " or ".join(map(str, choices))
        return (
            f"leads to {now_to}" if recorded else "translates no destination",
            f"lead to {says}" if today.dnat else "translate no destination",
        )
    source, expected = entry.source_translation, today.snat.address if today.snat else original.source
    now_from = source.after.address if source else original.source
    if expected is None or now_from == expected:
        return None
    return (
        f"makes its source {now_from}" if source else "translates no source",
        f"make it {expected}" if today.snat else "translate no source",
    )


def _finding(node: str, entry: ConntrackEntry, today: Prediction, recorded: str, expected: str) -> Finding:
    proof = [Evidence(witness=Witness.RECORDED, claim=words.conntrack_words(entry), source=f"{node} conntrack")]
    for rule in (today.dnat.rule if today.dnat else None, today.snat.rule if today.snat else None):
        if rule is not None:
            claim = words.netfilter_words(rule)
            proof.append(Evidence(witness=Witness.EXPECTED, claim=claim, source=f"{node} {rule.backend.value}"))
    return findings.entry_stale(node, recorded, expected, f"on {node}: {_delete(entry.original)}", proof)


def _delete(original: FiveTuple) -> str:
    protocol = protocol_name(original.protocol)
    words_ = f"conntrack -D -p {protocol} -s {original.source} -d {original.destination}"
    if protocol in ("tcp", "udp"):
        words_ += f" --sport {original.source_port} --dport {original.destination_port}"
    return words_
