"""A walk of the model laid out as passages, so that what is said of packets that were seen can be said of one that was not sent.

Pure. A port that nobody can know before is 0 here: the one that the source's kernel will choose, where none is given, and the one
that SNAT chooses, from the node that translates on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pathtap.collector.joining.correlate import Passage
from pathtap.collector.joining.expect import Expectation, ExpectedPassage, question_of, with_answers
from pathtap.forwarding.fabric import Fabric
from pathtap.forwarding.journey import Leg, Walk
from pathtap.model.address import FiveTuple
from pathtap.model.node import RouteAnswer
from pathtap.model.request import RouteQuestion


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One leg, and the same as a passage that nobody saw."""

    leg: Leg
    expected: ExpectedPassage


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    walk: Walk
    fabric: Fabric
    forward: tuple[Stretch, ...]
    reply: tuple[Stretch, ...]

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        return (*self.forward, *self.reply)

    @property
    def passages(self) -> tuple[ExpectedPassage, ...]:
        """Those of the way there."""
        return tuple(each.expected for each in self.forward)

    @property
    def questions(self) -> tuple[tuple[str, RouteQuestion], ...]:
        """What to ask which node's kernel."""
        asked = ((each.leg.node, each.expected.expectation) for each in self.stretches)
        return tuple(dict.fromkeys((node, e.question) for node, e in asked if e is not None and e.question is not None))


def prospect_of(walk: Walk, fabric: Fabric, *, port_known: bool) -> Prospect:
    """`port_known` says that the walk's packet has the source port that was really used."""
    there = tuple(_there(walk.forward, known=port_known))
    back = tuple(_back(walk.reply, walk.forward, there))
    return Prospect(
        walk=walk,
        fabric=fabric,
        forward=tuple(
            _stretch(leg, known, fabric, reply=False) for leg, known in zip(walk.forward, there, strict=True)
        ),
        reply=tuple(_stretch(leg, known, fabric, reply=True) for leg, known in zip(walk.reply, back, strict=True)),
    )


def answered(prospect: Prospect, answers: Mapping[tuple[str, RouteQuestion], RouteAnswer]) -> Prospect:
    """The same with what each node's kernel said."""

    def told(stretches: tuple[Stretch, ...]) -> tuple[Stretch, ...]:
        passages = with_answers([each.expected for each in stretches], answers)
        return tuple(replace(each, expected=passage) for each, passage in zip(stretches, passages, strict=True))

    return replace(prospect, forward=told(prospect.forward), reply=told(prospect.reply))


def _there(legs: Sequence[Leg], *, known: bool) -> Iterator[tuple[bool, bool]]:
    """Whether the client's port is known before and after each leg."""
    for leg in legs:
        before, known = known, known and leg.prediction.snat is None
        yield before, known


def _back(
    legs: Sequence[Leg], forward: Sequence[Leg], there: Sequence[tuple[bool, bool]]
) -> Iterator[tuple[bool, bool]]:
    """Where NAT is undone, the port is known again if it was before."""
    made = {(leg.node, leg.after.reversed): known for leg, known in zip(forward, there, strict=True)}
    known = there[-1][1]
    for leg in legs:
        before, known = known, made.get((leg.node, leg.before), (known, known))[0]
        yield before, known


def _stretch(leg: Leg, known: tuple[bool, bool], fabric: Fabric, *, reply: bool) -> Stretch:
    passage = Passage(
        node=leg.node,
        arrival=None,
        departure=None,
        entry=None,
        before=_shown(leg.before, known[0], reply=reply),
        after=_shown(leg.after, known[1], reply=reply),
    )
    expectation = Expectation(
        prediction=leg.prediction, packet=leg.packet, question=question_of(passage, leg.packet, leg.prediction)
    )
    snapshot = fabric.models[leg.node].snapshot
    return Stretch(
        leg=leg,
        expected=ExpectedPassage(passage=passage, reply=reply, snapshot=snapshot, expectation=expectation),
    )


def _shown(flow: FiveTuple, known: bool, *, reply: bool) -> FiveTuple:
    if known:
        return flow
    return replace(flow, destination_port=0) if reply else replace(flow, source_port=0)
