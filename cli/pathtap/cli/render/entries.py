"""A trace's paths as a flat list of what to print: headings, numbered sightings, explanations. Knows no widths."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from pathtap.cli.render.notes import Note, evidence_notes, nat_notes, notes
from pathtap.cli.render.words import nanoseconds, since, step_witnesses, tuple_text, witness_text
from pathtap.v1 import trace_pb2

_A = trace_pb2.Step.Action
_D = trace_pb2.Verdict.Disposition
# Whatever else the packet was expected to do, it came to its end.
_ARRIVED = frozenset({_D.DELIVERED, _D.LEFT_CLUSTER, _D.INSUFFICIENT_EVIDENCE})
_SIGHTINGS = frozenset({_A.RECEIVED, _A.SENT, _A.FORWARDED, _A.DELIVERED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    node: str
    reply: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """The packet on an interface. `about` is its role and ENI id as far as known, where told before the id alone."""

    number: int
    interface: str
    about: str
    tuple_: str
    packet: str
    time: str
    witnesses: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """What happens between nodes: the VPC, the outside."""

    text: str
    witnesses: str
    broken: bool


Entry: TypeAlias = Heading | Sighting | Between | Note


def entries(trace: trace_pb2.Trace, *, every_statement: bool = False) -> list[Entry]:
    """Forward, then reply numbered on. With `every_statement` each witness's claim follows, with where it was read."""
    return list(_Walk(trace, every_statement).walk())


def is_sighting(step: trace_pb2.Step) -> bool:
    return bool(step.interface) and step.action in _SIGHTINGS


class _Walk:
    """One pass over both paths; remembers the number, the first time, the roles told and the NAT explained."""

    def __init__(self, trace: trace_pb2.Trace, every_statement: bool) -> None:
        self._trace = trace
        self._every_statement = every_statement
        self._number = 0
        self._first = _first_time(trace)
        self._told: set[tuple[str, str]] = set()
        self._seen: set[tuple[str, str, int, str, str, bool]] = set()
        self._nat_told: set[str] = set()

    def walk(self) -> Iterator[Entry]:
        for path, reply in ((self._trace.forward, False), (self._trace.reply, True)):
            node = ""
            for hop in path.hops:
                if hop.node and hop.node != node:
                    node = hop.node
                    yield Heading(node=node, reply=reply)
                for step in hop.steps:
                    yield from self._step(hop.node, step, reply)
            if not reply:
                yield from _unseen(self._trace)
        yield from self._what_no_step_told()

    def _step(self, node: str, step: trace_pb2.Step, reply: bool) -> Iterator[Entry]:
        if sighted := is_sighting(step) and not self._is_seen(node, step, reply):
            yield self._sighting(node, step)
        if step.cause.kind == trace_pb2.Cause.FABRIC:
            broken = step.action in (_A.DROPPED, _A.REJECTED)
            yield Between(text=step.cause.text, witnesses=witness_text(step_witnesses(step)), broken=broken)
        elif step.action == _A.TRANSLATED:
            nat = nat_notes(step, self._trace, reply=reply)
            self._nat_told.update(nat.told)
            yield from nat.notes
        else:
            yield from notes(step, sighted=sighted)
        if self._every_statement:
            yield from evidence_notes(step.evidence)

    def _is_seen(self, node: str, step: trace_pb2.Step, reply: bool) -> bool:
        """The same packet on the same interface again: a delivery to the node itself has no second interface."""
        seen = (node, step.interface, nanoseconds(step.at), step.packet, tuple_text(step.after), reply)
        known = seen in self._seen
        self._seen.add(seen)
        return known

    def _sighting(self, node: str, step: trace_pb2.Step) -> Sighting:
        self._number += 1
        seen = step.after if step.HasField("after") else step.before
        return Sighting(
            number=self._number,
            interface=step.interface,
            about=self._about(node, step),
            tuple_=tuple_text(seen) if step.HasField("after") or step.HasField("before") else "",
            packet=step.packet,
            time=since(step.at, self._first) if self._first and step.HasField("at") else "",
            witnesses=witness_text(step_witnesses(step)),
        )

    def _about(self, node: str, step: trace_pb2.Step) -> str:
        """A sighting's PACKET cause says what the interface is: `eni-0a1f primary ENI`, `pod veth`."""
        where = (node, step.interface)
        about = step.cause.text if step.cause.kind == trace_pb2.Cause.PACKET else ""
        egress = self._trace.egress
        if not about and where == (egress.node, egress.interface):
            about = egress.eni_id
        if where in self._told:
            return " ".join(word for word in about.split() if word.startswith("eni-"))
        self._told.add(where)
        return about

    def _what_no_step_told(self) -> Iterator[Note]:
        """NAT and egress of the trace that none of its steps carries: nothing that is known goes unsaid."""
        if self._trace.snat.applied and "snat" not in self._nat_told:
            yield from nat_notes(_as_step(self._trace.snat, source=True), self._trace, reply=False).notes
        if self._trace.dnat.applied and "dnat" not in self._nat_told:
            yield from nat_notes(_as_step(self._trace.dnat, source=False), self._trace, reply=False).notes
        routed = any(step.action == _A.ROUTED for hop in self._trace.forward.hops for step in hop.steps)
        egress = self._trace.egress
        if egress.interface and not routed:
            table = f"table {egress.table}" if egress.table else ""
            parts = (egress.interface, egress.eni_id, table, egress.rule, egress.route)
            yield Note(label="egress", text=", ".join(part for part in parts if part))


def _unseen(trace: trace_pb2.Trace) -> Iterator[Between]:
    """Where the packet was to go on from the place where it was last seen, by the configuration."""
    seen, expected = list(trace.forward.hops), list(trace.expected_forward.hops)
    if trace.verdict.disposition in _ARRIVED or len(expected) < len(seen):
        return
    agreed = [(hop.node, hop.egress) for hop in seen]
    if seen and not seen[-1].egress:
        # It came to that node and did not leave it.
        agreed[-1] = (seen[-1].node, expected[len(seen) - 1].egress)
    if agreed != [(hop.node, hop.egress) for hop in expected[: len(seen)]]:
        return
    if seen and not seen[-1].egress and agreed[-1][1]:
        yield _expected_on(f"{agreed[-1][0]} out of {agreed[-1][1]}")
    for hop in expected[len(seen) :]:
        yield _expected_on(f"{hop.node} {' '.join(_ways(hop))}")


def _expected_on(where: str) -> Between:
    return Between(text=f"expected on, not seen: {where}", witnesses="expected", broken=False)


def _ways(hop: trace_pb2.Hop) -> Iterator[str]:
    if hop.ingress:
        yield f"in by {hop.ingress},"
    yield f"out of {hop.egress}" if hop.egress else "and no further"


def _as_step(nat: trace_pb2.SourceNat | trace_pb2.DestinationNat, *, source: bool) -> trace_pb2.Step:
    step = trace_pb2.Step(action=_A.TRANSLATED)
    for end, socket in ((step.before, nat.original), (step.after, nat.translated)):
        (end.source if source else end.destination).CopyFrom(socket)
    return step


def _first_time(trace: trace_pb2.Trace) -> Timestamp | None:
    for path in (trace.forward, trace.reply):
        for hop in path.hops:
            for step in hop.steps:
                if is_sighting(step) and step.HasField("at"):
                    return step.at
    return None
