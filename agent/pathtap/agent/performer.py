"""Carries out one command in the thread that calls it, and puts its answer into the wire's shape. Knows no stream.

This is the edge where whatever a reader raises becomes an answer: a command that fails must not take the captures of
other traces with it.
"""

import logging
from collections.abc import Callable
from typing import Protocol, assert_never

from pathtap import wire
from pathtap.agent.captures import Capture, Captures, CommandError
from pathtap.agent.delivery import Deliver
from pathtap.model.node import NodeSnapshot
from pathtap.model.request import (
    Answer,
    CaptureRequest,
    Command,
    ConnectionsReport,
    EndCapture,
    Failure,
    LookupReport,
    LookupRequest,
    OpenConnections,
    ProbeReport,
    ProbeRequest,
    ReadSnapshot,
)
from pathtap.model.survey import SurveyReport, SurveyRequest
from pathtap.v1 import agent_pb2 as pb

log = logging.getLogger(__name__)

# In bytes. Both ends let 64 MiB pass (docs/wire.md); a message above that would end the stream, and every capture with it.
LARGEST_ANSWER = 60 << 20


class Node(Protocol):
    """What the agent can do on its node; every method blocks, and may be called from several threads at once."""

    def read_snapshot(self, request: ReadSnapshot) -> NodeSnapshot: ...

    def open_capture(self, request: CaptureRequest, deliver: Deliver) -> Capture: ...

    def send_probe(self, request: ProbeRequest) -> tuple[ProbeReport, ...]: ...

    def look_up(self, request: LookupRequest) -> LookupReport: ...

    def open_connections(self, request: OpenConnections, over: Callable[[], bool]) -> ConnectionsReport:
        """`over` tells that nobody wants the answer any more; so for `survey`."""

    def survey(self, request: SurveyRequest, over: Callable[[], bool]) -> SurveyReport: ...


def perform(node: Node, captures: Captures, number: int, command: Command) -> pb.Answer:
    """Never raises: what goes wrong is the answer, as a sentence; what is a mistake of ours goes to the log as well."""
    try:
        answer = wire.answer_to_wire(number, _carry_out(node, captures, command))
        if (size := answer.ByteSize()) <= LARGEST_ANSWER:
            return answer
        reason = f"The answer has {size >> 20} MiB, and a collector takes no more than {LARGEST_ANSWER >> 20}."
        log.warning("%s failed: %s", type(command).__name__, reason)
    except (CommandError, OSError, ValueError) as error:
        reason = str(error) or type(error).__name__
        log.warning("%s failed: %s", type(command).__name__, reason)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        log.exception("%s failed", type(command).__name__)
    return wire.answer_to_wire(number, Failure(reason=reason))


def _carry_out(node: Node, captures: Captures, command: Command) -> Answer:
    match command:
        case ReadSnapshot():
            return node.read_snapshot(command)
        case CaptureRequest():
            return captures.arm(command)
        case EndCapture(id=identity):
            return captures.end(identity)
        case ProbeRequest():
            return node.send_probe(command)
        case LookupRequest():
            return node.look_up(command)
        case OpenConnections():
            return node.open_connections(command, captures.over)
        case SurveyRequest():
            return node.survey(command, captures.over)
        case _:
            assert_never(command)
