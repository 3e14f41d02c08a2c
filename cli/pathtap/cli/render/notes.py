"""The explanations below a sighting: mark, rule, route, NAT, drop, each with who says so. Knows no widths."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from pathtap.cli.render.words import rule_text, socket_text, step_witnesses, tuple_text, witness_text
from pathtap.v1 import trace_pb2

_A = trace_pb2.Step.Action
_C = trace_pb2.Cause.Kind
_W = trace_pb2.Step.Witness
_NO_PUNCTUATION = str.maketrans("", "", "(),")
Witness: TypeAlias = trace_pb2.Step.Witness

_LABELS = {
    _A.RECEIVED: "came",
    _A.SENT: "sent",
    _A.MARKED: "mark",
    _A.ROUTED: "route",
    _A.FORWARDED: "passed",
    _A.DELIVERED: "arrive",
    _A.DROPPED: "drop",
    _A.REJECTED: "reject",
    _A.TRACKED: "entry",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """`label` has at most six letters and is empty where the text goes on under the label before."""

    text: str
    label: str = ""
    witnesses: str = ""
    broken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NatNotes:
    """`told` names which of the trace's `snat` and `dnat` these notes have explained."""

    notes: tuple[Note, ...]
    told: frozenset[str] = frozenset()


def notes(step: trace_pb2.Step, *, sighted: bool) -> Iterator[Note]:
    """What a step other than a translation says: its cause, then each witness whose own words add to that.

    A sighting's line has said the packet and who says that it is or would be there, so only conntrack's words follow it.
    """
    if sighted:
        yield from _claims(step.evidence, {step.cause.text}, {_W.OBSERVED, _W.EXPECTED, _W.ASSUMED})
        return
    # A capture says no more of a mark or of a route than the sightings do; of a drop it says where the packet ended.
    broken = step.action in (_A.DROPPED, _A.REJECTED)
    silent = set() if broken else {_W.OBSERVED}
    text = _main_text(step)
    said = {text, step.cause.text}
    if step.action == _A.MARKED and step.evidence and step.evidence[0].claim not in ("", text):
        said.add(step.evidence[0].claim)
        text = f"{step.evidence[0].claim} by {text}"
    witnesses = witness_text(_main_witnesses(step, said, silent))
    if agreed := _kernel_agrees(step):
        said.add(agreed)
        witnesses += ", kernel agrees"
    yield Note(label=_label(step), text=text, witnesses=witnesses, broken=broken)
    yield from _claims(step.evidence, said, silent)


def _main_text(step: trace_pb2.Step) -> str:
    """The cause; where there is none, or it only names an interface, the first witness's words; else the packet."""
    text = step.cause.text if step.cause.kind != _C.PACKET else ""
    text = text or next((evidence.claim for evidence in step.evidence if evidence.claim), "") or step.cause.text
    if not text and step.HasField("before"):
        text = tuple_text(step.before)
    return (
        f"{text} at {step.interface}".strip() if step.interface and step.action in (_A.DROPPED, _A.REJECTED) else text
    )


def _main_witnesses(step: trace_pb2.Step, said: set[str], silent: set[Witness]) -> list[Witness]:
    """Those who say what the main line says; who says something of its own has a line of its own."""
    if not step.evidence:
        return list(step.witnesses)
    return [e.witness for e in step.evidence if not e.claim or e.claim in said or e.witness in silent]


def _kernel_agrees(step: trace_pb2.Step) -> str:
    """The claim of the kernel's own route lookup where it is the step's text again, else empty."""
    wanted = step.cause.text.translate(_NO_PUNCTUATION)
    for evidence in step.evidence:
        if wanted and evidence.source.endswith("RTM_GETROUTE"):
            return evidence.claim if evidence.claim.translate(_NO_PUNCTUATION).endswith(f" {wanted}") else ""
    return ""


def _label(step: trace_pb2.Step) -> str:
    if step.action == _A.ROUTED and step.cause.kind == _C.IP_RULE:
        return "rule"
    return _LABELS.get(step.action, "step")


def nat_notes(step: trace_pb2.Step, trace: trace_pb2.Trace, *, reply: bool) -> NatNotes:
    """A translation: the sockets before and after, the rule that made it, the entry that keeps it.

    conntrack and the captures testify to the translation, never to the rule: the rule's witness is EXPECTED.
    """
    protocol = step.before.protocol or trace.five_tuple.protocol or trace.protocol
    witnesses = witness_text(_of_translation(step))
    lines: list[Note] = []
    told: set[str] = set()
    for side, name, block in (("destination", "dnat", trace.dnat), ("source", "snat", trace.snat)):
        before, after = getattr(step.before, side), getattr(step.after, side)
        if before == after:
            continue
        change = f"{socket_text(before, protocol)} → {socket_text(after, protocol)}"
        lines.append(Note(label=_nat_label(side, reply), text=change, witnesses=witnesses))
        if not reply and block.applied and block.translated == after:
            told.add(name)
            lines += _block_notes(block)
    if not lines and not reply and trace.snat.applied and trace.snat.translated == step.after.source:
        # Of one who translates to the own address, and of whom nothing was seen, only the rule is known, and no port.
        told.add("snat")
        ends = [socket_text(end.source, protocol) for end in (step.before, step.after)]
        change = f"{' → '.join(ends)}, another {'identifier' if protocol.startswith('icmp') else 'port'}"
        lines = [Note(label="snat", text=change, witnesses=witnesses), *_block_notes(trace.snat)]
    if not lines:
        lines.append(Note(label="nat", text="unchanged", witnesses=witnesses))
    said = {step.cause.text, trace.snat.conntrack, trace.dnat.conntrack}
    if not told and step.cause.text and step.cause.text not in (trace.snat.conntrack, trace.dnat.conntrack):
        lines.append(_cause_note(step.cause))
    return NatNotes(notes=(*lines, *_claims(step.evidence, said, {_W.OBSERVED})), told=frozenset(told))


def _cause_note(cause: trace_pb2.Cause) -> Note:
    if cause.kind == _C.NETFILTER_RULE:
        return Note(text=f"by {cause.text}", witnesses="expected")
    return (
        Note(text=_conntrack(cause.text), witnesses="recorded") if cause.kind == _C.CONNTRACK else Note(text=cause.text)
    )


def evidence_notes(evidence: Iterable[trace_pb2.Evidence]) -> Iterator[Note]:
    """Every statement with where it was read."""
    for statement in evidence:
        text = f"{statement.claim} [{statement.source}]" if statement.source else statement.claim
        yield Note(label="·", text=text, witnesses=witness_text([statement.witness]))


def _block_notes(block: trace_pb2.SourceNat | trace_pb2.DestinationNat) -> Iterator[Note]:
    if isinstance(block, trace_pb2.DestinationNat):
        whose = f"of service {block.service}" if block.service else ""
        to = f"to pod {block.backend_pod}" if block.backend_pod else ""
        if whose or to:
            yield Note(text=" ".join(part for part in (whose, to) if part))
    if block.HasField("rule"):
        where = rule_text(block.rule)
        yield Note(text=f"by {where}: {block.rule.text}" if block.rule.text else f"by {where}", witnesses="expected")
    if block.conntrack:
        yield Note(text=_conntrack(block.conntrack), witnesses="recorded")


def _conntrack(text: str) -> str:
    return text if text.startswith("conntrack") else f"conntrack {text}"


def _claims(evidence: Iterable[trace_pb2.Evidence], said: set[str], silent: set[Witness]) -> Iterator[Note]:
    """The witnesses' own words, each once, where they add to `said`."""
    told = set(said)
    for statement in evidence:
        if statement.claim and statement.claim not in told and statement.witness not in silent:
            told.add(statement.claim)
            yield Note(text=statement.claim, witnesses=witness_text([statement.witness]))


def _nat_label(side: str, reply: bool) -> str:
    """On the way back conntrack undoes what was done: a changed destination is the SNAT's, a source the DNAT's."""
    if reply:
        return "undnat" if side == "source" else "unsnat"
    return "snat" if side == "source" else "dnat"


def _of_translation(step: trace_pb2.Step) -> list[Witness]:
    witnesses = step_witnesses(step)
    return [w for w in witnesses if w != _W.EXPECTED] or witnesses
