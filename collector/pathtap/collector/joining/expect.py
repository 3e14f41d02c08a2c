"""What each node's configuration says of a passage, and what to ask that node's kernel to check it.

Pure: a snapshot and a passage in, an expectation out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pathtap.collector.joining.correlate import Passage
from pathtap.forwarding.node import NodeModel
from pathtap.forwarding.packet import Packet
from pathtap.forwarding.predict import predict
from pathtap.forwarding.prediction import Prediction, Shown
from pathtap.model.node import MAIN_TABLE, CniSettings, NodeSnapshot, Role, RouteAnswer
from pathtap.model.request import RouteQuestion


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """`packet` is what was predicted for, as it entered the node.

    `question` is the kernel's own lookup that should agree with the prediction; `answer` what it said, once asked.
    """

    prediction: Prediction
    packet: Packet
    question: RouteQuestion | None = None
    answer: RouteAnswer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedPassage:
    """`expectation` is None where the node could not be read."""

    passage: Passage
    reply: bool
    snapshot: NodeSnapshot | None = None
    expectation: Expectation | None = None

    @property
    def prediction(self) -> Prediction | None:
        return self.expectation.prediction if self.expectation else None

    @property
    def came_by(self) -> str:
        """The interface by which the packet came in, empty where it did not or nobody knows."""
        return self.expectation.packet.in_interface if self.expectation else ""

    @property
    def is_marked_in_vain(self) -> bool:
        """It bears the mark of what the CNI sends by the primary ENI, and no ip rule heeds it: its way is not that of `main`."""
        prediction = self.prediction
        if prediction is None or prediction.routed is None or prediction.routing is None or self.snapshot is None:
            return False
        mark = (self.snapshot.settings or CniSettings()).connmark
        route = prediction.routing.route
        elsewhere = route is not None and not prediction.routing.local and route.table != MAIN_TABLE
        return elsewhere and bool(prediction.routed.mark & mark)

    @property
    def is_unseen(self) -> bool:
        """What the node itself sent, and no capture saw."""
        return self.passage.arrival is None and self.passage.departure is None


def models_of(snapshots: Mapping[str, NodeSnapshot]) -> dict[str, NodeModel]:
    """Each node's snapshot, indexed once for all its passages."""
    return {node: NodeModel(snapshot) for node, snapshot in snapshots.items()}


def expect(passages: Iterable[Passage], models: Mapping[str, NodeModel], *, reply: bool) -> tuple[ExpectedPassage, ...]:
    """`reply` tells the way back, whose NAT is undone by conntrack, from the way there, whose NAT is made by rules."""
    return tuple(_expected(passage, models.get(passage.node), reply) for passage in passages)


def _expected(passage: Passage, model: NodeModel | None, reply: bool) -> ExpectedPassage:
    if model is None:
        return ExpectedPassage(passage=passage, reply=reply)
    expectation = _expectation(passage, model, reply)
    return ExpectedPassage(passage=passage, reply=reply, snapshot=model.snapshot, expectation=expectation)


def with_answers(
    passages: Iterable[ExpectedPassage], answers: Mapping[tuple[str, RouteQuestion], RouteAnswer]
) -> tuple[ExpectedPassage, ...]:
    """The same passages with what each node's kernel said."""
    told = []
    for expected in passages:
        expectation = expected.expectation
        if expectation is not None and expectation.question is not None:
            answer = answers.get((expected.passage.node, expectation.question))
            expected = replace(expected, expectation=replace(expectation, answer=answer))
        told.append(expected)
    return tuple(told)


def _expectation(passage: Passage, model: NodeModel, reply: bool) -> Expectation:
    packet = _packet(passage, model.snapshot, reply)
    # What both conntrack and the packets leave open stays open: only a sighting or an entry settles where DNAT led.
    known = passage.departure is not None or passage.entry is not None
    chosen = passage.after.destination_socket if known and not reply else None
    prediction = predict(model, packet, chosen, _shown(passage))
    # Without the interface by which it came the kernel takes a packet for the node's own, and refuses another's source.
    can_ask = packet.in_interface or passage.before.source in model.snapshot.addresses()
    question = question_of(passage, packet, prediction) if can_ask else None
    return Expectation(prediction=prediction, packet=packet, question=question)


def _shown(passage: Passage) -> Shown:
    departure, entry = passage.departure, passage.entry
    return Shown(
        source=passage.after.source if departure or entry else None,
        connmark=entry.mark if entry else None,
        interface=departure.interface if departure else "",
    )


def _packet(passage: Passage, snapshot: NodeSnapshot, reply: bool) -> Packet:
    came_by = _came_by(passage, snapshot)
    if not reply:
        return Packet.opening(passage.before, came_by)
    connmark = passage.entry.mark if passage.entry else 0
    return Packet.replying(passage.before, passage.after, came_by, connmark)


def _came_by(passage: Passage, snapshot: NodeSnapshot) -> str:
    """Where it was seen coming in. What a capture lost and was seen leaving came by the veth of the pod that has its source."""
    if passage.arrival is not None:
        return passage.arrival.interface
    if passage.departure is None:
        return ""
    veths = (each for each in snapshot.interfaces if each.role is Role.POD_VETH)
    return next((each.name for each in veths if passage.before.source in each.pod_addresses), "")


def question_of(passage: Passage, packet: Packet, prediction: Prediction) -> RouteQuestion | None:
    """The FIB is asked with what it is asked by a packet: the destination after DNAT, the source before SNAT, the mark."""
    if prediction.routing is None or prediction.routed is None:
        return None
    return RouteQuestion(
        destination=passage.after.destination,
        source=passage.before.source,
        in_interface=packet.in_interface,
        mark=prediction.routed.mark,
    )
