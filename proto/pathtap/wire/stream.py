"""Commands, answers and batches: what travels on the stream between agent and collector, both ways.

Knows no sequence numbers and no connection: the envelope around these is the stream's own.
"""

from collections.abc import Iterable
from typing import assert_never

from pathtap.model.node import NodeSnapshot
from pathtap.model.packet import Lost, PacketObservation
from pathtap.model.request import (
    Answer,
    CaptureArmed,
    CaptureEnded,
    CaptureRequest,
    Command,
    ConnectionsReport,
    EndCapture,
    Failure,
    LookupReport,
    LookupRequest,
    OpenConnections,
    ProbeRequest,
    ReadSnapshot,
)
from pathtap.model.rows import PacketRows
from pathtap.model.survey import SurveyReport, SurveyRequest
from pathtap.v1 import agent_pb2 as pb
from pathtap.wire.errors import WireError
from pathtap.wire.node import snapshot_from_wire, snapshot_to_wire
from pathtap.wire.packet import (
    lost_from_wire,
    lost_to_wire,
    observation_from_wire,
    observation_to_wire,
    rows_from_wire,
    rows_to_wire,
)
from pathtap.wire.request import (
    capture_armed_from_wire,
    capture_armed_to_wire,
    capture_ended_from_wire,
    capture_ended_to_wire,
    capture_request_from_wire,
    capture_request_to_wire,
    lookup_report_from_wire,
    lookup_report_to_wire,
    lookup_request_from_wire,
    lookup_request_to_wire,
    probe_reports_from_wire,
    probe_reports_to_wire,
    probe_request_from_wire,
    probe_request_to_wire,
    read_snapshot_from_wire,
    read_snapshot_to_wire,
)
from pathtap.wire.survey import (
    connections_report_from_wire,
    connections_report_to_wire,
    open_connections_from_wire,
    open_connections_to_wire,
    survey_report_from_wire,
    survey_report_to_wire,
    survey_request_from_wire,
    survey_request_to_wire,
)


def command_to_wire(number: int, command: Command) -> pb.ConnectResponse:
    """`number` is what the answer will carry."""
    match command:
        case ReadSnapshot():
            return pb.ConnectResponse(command=number, read_snapshot=read_snapshot_to_wire(command))
        case CaptureRequest():
            return pb.ConnectResponse(command=number, arm_capture=capture_request_to_wire(command))
        case EndCapture():
            return pb.ConnectResponse(command=number, end_capture=pb.EndCapture(id=command.id))
        case ProbeRequest():
            return pb.ConnectResponse(command=number, send_probe=probe_request_to_wire(command))
        case LookupRequest():
            return pb.ConnectResponse(command=number, lookup=lookup_request_to_wire(command))
        case OpenConnections():
            return pb.ConnectResponse(command=number, open_connections=open_connections_to_wire(command))
        case SurveyRequest():
            return pb.ConnectResponse(command=number, survey=survey_request_to_wire(command))
        case _:
            assert_never(command)


def command_from_wire(message: pb.ConnectResponse) -> Command:
    """The command alone; its number is `message.command`, which is there to be answered where this raises WireError."""
    match message.WhichOneof("body"):
        case "read_snapshot":
            return read_snapshot_from_wire(message.read_snapshot)
        case "arm_capture":
            return capture_request_from_wire(message.arm_capture)
        case "end_capture":
            return EndCapture(id=message.end_capture.id)
        case "send_probe":
            return probe_request_from_wire(message.send_probe)
        case "lookup":
            return lookup_request_from_wire(message.lookup)
        case "open_connections":
            return open_connections_from_wire(message.open_connections)
        case "survey":
            return survey_request_from_wire(message.survey)
        case _:
            raise WireError("A command came that this version does not know.")


def answer_to_wire(number: int, answer: Answer) -> pb.Answer:
    """`number` is the command's."""
    match answer:
        case NodeSnapshot():
            return pb.Answer(command=number, snapshot=snapshot_to_wire(answer))
        case CaptureArmed():
            return pb.Answer(command=number, armed=capture_armed_to_wire(answer))
        case CaptureEnded():
            return pb.Answer(command=number, ended=capture_ended_to_wire(answer))
        case tuple():
            return pb.Answer(command=number, probes=probe_reports_to_wire(answer))
        case LookupReport():
            return pb.Answer(command=number, lookup=lookup_report_to_wire(answer))
        case ConnectionsReport():
            return pb.Answer(command=number, connections=connections_report_to_wire(answer))
        case SurveyReport():
            return pb.Answer(command=number, survey=survey_report_to_wire(answer))
        case Failure():
            return pb.Answer(command=number, failure=answer.reason)
        case _:
            assert_never(answer)


def answer_from_wire(message: pb.Answer, node: str) -> Answer:
    """The answer alone; `message.command` says to what. Raises WireError where there is none that is known here."""
    match message.WhichOneof("body"):
        case "snapshot":
            return snapshot_from_wire(message.snapshot)
        case "armed":
            return capture_armed_from_wire(message.armed)
        case "ended":
            return capture_ended_from_wire(message.ended)
        case "probes":
            return probe_reports_from_wire(message.probes)
        case "lookup":
            return lookup_report_from_wire(message.lookup, node)
        case "connections":
            return connections_report_from_wire(message.connections, node)
        case "survey":
            return survey_report_from_wire(message.survey, node)
        case "failure":
            return Failure(reason=message.failure)
        case _:
            raise WireError(f"The agent of {node} answered with nothing that this version knows.")


def batch_to_wire(
    observations: Iterable[PacketObservation], lost: Iterable[Lost], rows: Iterable[PacketRows] = ()
) -> pb.Batch:
    return pb.Batch(
        observations=[observation_to_wire(observation) for observation in observations],
        lost=[lost_to_wire(loss) for loss in lost],
        rows=[rows_to_wire(each) for each in rows],
    )


def batch_from_wire(
    message: pb.Batch, node: str
) -> tuple[tuple[PacketObservation, ...], tuple[Lost, ...], tuple[PacketRows, ...]]:
    """Each in the order in which the agent read them; `sequence` orders packets over both kinds."""
    return (
        tuple(observation_from_wire(observation, node) for observation in message.observations),
        tuple(lost_from_wire(lost, node) for lost in message.lost),
        tuple(rows_from_wire(rows, node) for rows in message.rows),
    )
