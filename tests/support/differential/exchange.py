"""Sends a configuration's packets in waves and says what the kernel did to each: openings, answers to them, what follows.

An answer is made of what left the node, turned around; the model is asked about it with the entry that conntrack then held.
"""

import errno
import socket
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from differential.bed import Bed, Caught
from differential.frames import build, transport
from differential.logged import Logged
from differential.packets import Sent, flags
from pathtap.forwarding import NodeModel, Outcome, Packet, Prediction, predict
from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.conntrack import ConntrackEntry

RAW = {4: socket.IPPROTO_IP, 6: socket.IPPROTO_IPV6}
DROPPED_AT_OUTPUT = errno.EPERM


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What the kernel did. `fate` is forwarded, delivered or stopped; `interface` and `tuple` are of what left or arrived.

    `mark` and `connmark` are those at that moment, the latter None where conntrack does not track it. `refused` says that an ICMP
    error or RST came back for what was stopped.
    """

    fate: str
    interface: str = ""
    tuple: FiveTuple | None = None
    mark: int = 0
    connmark: int | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    sent: Sent
    prediction: Prediction
    sight: Sight


class Exchange:
    """One configuration's packets. The bed must have been configured, and listen."""

    def __init__(self, bed: Bed, model: NodeModel) -> None:
        self._bed = bed
        self._model = model
        self._sockets = ExitStack()
        self._opened: dict[FiveTuple, socket.socket] = {}

    def run(self, openings: Sequence[Sent], first: int) -> list[Experience]:
        """As many packets as there are openings: the `first` of them, answers, what follows those, and openings again."""
        most = len(openings)
        with self._sockets:
            found = self._wave(openings[:first])
            entries = {entry.original: entry for entry in self._bed.entries()}
            replies = [reply for each in found if (reply := _reply(each, entries))][: most - len(found)]
            answered = self._wave(replies)
            began = {each.sent.token: each for each in found}
            following = [
                sent
                for each in answered
                if each.sight.fate != "stopped" and (sent := _next(each, began[each.sent.token - 1], entries))
            ]
            found += [*answered, *self._wave(following[: most - len(found) - len(answered)])]
            return [*found, *self._wave(openings[first : first + most - len(found)])]

    def _wave(self, sent: Sequence[Sent]) -> list[Experience]:
        if not sent:
            return []
        predictions = {each.token: predict(self._model, each.packet) for each in sent}
        for each in sent:
            self._send(each)
        expected = {token: prediction.outcome for token, prediction in predictions.items() if not prediction.unknown}
        caught, told = self._bed.collect(
            frozenset(token for token, outcome in expected.items() if outcome is Outcome.FORWARDED),
            frozenset(token for token, outcome in expected.items() if outcome is Outcome.LOCAL),
        )
        sights = {each.token: see(each.token, caught, told, self._bed.indexes) for each in sent}
        return [
            Experience(
                sent=each,
                sight=sights[each.token],
                prediction=settled(self._model, each.packet, predictions[each.token], sights[each.token]),
            )
            for each in sent
        ]

    def _send(self, sent: Sent) -> None:
        packet = sent.packet
        if packet.in_interface:
            self._bed.inject(packet.in_interface, build(packet.five_tuple, sent.token, *flags(sent), tos=packet.tos))
            return
        flow = packet.five_tuple
        if flow not in self._opened:
            self._opened[flow] = self._socket(flow)
        opened = self._opened[flow]
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, packet.mark)
        option = socket.IP_TOS if flow.family == 4 else socket.IPV6_TCLASS
        opened.setsockopt(RAW[flow.family], option, packet.tos)
        data = transport(flow, sent.token, *flags(sent))
        payload, port = (data[8:], flow.destination_port) if flow.protocol == Protocol.UDP else (data, 0)
        try:
            opened.sendto(payload, (str(flow.destination), port))
        except OSError as error:
            # What is not sent is seen nowhere; which error it is depends on the route's kind, and is no question here.
            if error.errno in (errno.ENOBUFS, errno.EMSGSIZE):
                raise

    def _socket(self, flow: FiveTuple) -> socket.socket:
        family = socket.AF_INET if flow.family == 4 else socket.AF_INET6
        kind = socket.SOCK_DGRAM if flow.protocol == Protocol.UDP else socket.SOCK_RAW
        opened = self._sockets.enter_context(socket.socket(family, kind, flow.protocol))
        opened.bind((str(flow.source), flow.source_port if flow.protocol == Protocol.UDP else 0))
        return opened


def settled(model: NodeModel, packet: Packet, prediction: Prediction, sight: Sight) -> Prediction:
    """Of several backends the one that the kernel chose, as packets show it."""
    if prediction.dnat is None or len(prediction.dnat.alternatives) < 2 or sight.tuple is None:
        return prediction
    return predict(model, packet, translated_to=sight.tuple.destination_socket)


def see(token: int, caught: Iterable[Caught], told: Iterable[Logged], indexes: dict[int, str]) -> Sight:
    left = next((each for each in caught if each.packet.token == token and not each.packet.refused), None)
    mine = [each for each in told if each.packet.token == token and not each.packet.refused]
    arrived = next((each for each in mine if each.hook == "in" and not each.connmark), None)
    refused = any(each.packet.token == token and each.packet.refused for each in caught)
    hook = "out" if left else "in"
    marks = {each.connmark: each.mark for each in mine if each.hook == hook}
    if left is None and arrived is None:
        return Sight(fate="stopped", refused=refused)
    return Sight(
        fate="forwarded" if left else "delivered",
        interface=left.interface if left else indexes[arrived.interface] if arrived else "",
        tuple=(left or arrived).packet.five_tuple if left or arrived else None,  # type: ignore[union-attr]
        mark=marks.get(False, 0),
        connmark=marks.get(True),
        refused=refused,
    )


def _reply(each: Experience, entries: dict[FiveTuple, ConntrackEntry]) -> Sent | None:
    """The answer to what left by an interface, as the far end gives it."""
    sight, packet = each.sight, each.sent.packet
    if sight.fate != "forwarded" or sight.tuple is None:
        return None
    flow, token = sight.tuple.reversed, each.sent.token + 1
    entry = entries.get(packet.five_tuple)
    if sight.connmark is None or entry is None or entry.reply != flow:
        return None
    answer = Packet.replying(*entry.reply_tuples, sight.interface, sight.connmark)
    return Sent(token=token, packet=answer, kind="reply")


def _next(reply: Experience, began: Experience, entries: dict[FiveTuple, ConntrackEntry]) -> Sent | None:
    """The originator's packet after the answer; a raw socket's TCP has been reset by the node by then."""
    packet = began.sent.packet
    if not packet.in_interface and packet.five_tuple.protocol == Protocol.TCP:
        return None
    if reply.sight.connmark is None:
        return None
    entry = entries[packet.five_tuple]
    made = Packet.continuing(*entry.forward_tuples, packet.in_interface, reply.sight.connmark)
    return Sent(token=reply.sent.token + 1, packet=replace(made, tos=packet.tos, mark=packet.mark), kind="next")
