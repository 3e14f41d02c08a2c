"""What a collector asks of an agent and what comes back, message by message, both ways. Knows no stream."""

from pathtap.model.address import Socket
from pathtap.model.request import (
    MAX_PROBE_SIZE,
    CaptureArmed,
    CaptureEnded,
    CaptureRequest,
    CaptureStats,
    LookupReport,
    LookupRequest,
    ProbeOutcome,
    ProbeReport,
    ProbeRequest,
    ReadSnapshot,
    RouteQuestion,
)
from pathtap.v1 import agent_pb2 as pb
from pathtap.wire.addresses import (
    MAX_PORT,
    MAX_PROTOCOL,
    address_from_wire,
    address_to_wire,
    five_tuple_from_wire,
    five_tuple_to_wire,
    timestamp_from_wire,
    timestamp_to_wire,
)
from pathtap.wire.errors import EnumTable, bounded
from pathtap.wire.node import (
    conntrack_entry_from_wire,
    conntrack_entry_to_wire,
    route_answer_from_wire,
    route_answer_to_wire,
    unread_from_wire,
    unread_to_wire,
)

OUTCOMES = EnumTable(
    "probe's outcome",
    {
        ProbeOutcome.ANSWERED: pb.ProbeReport.ANSWERED,
        ProbeOutcome.REFUSED: pb.ProbeReport.REFUSED,
        ProbeOutcome.UNREACHABLE: pb.ProbeReport.UNREACHABLE,
        ProbeOutcome.SILENT: pb.ProbeReport.SILENT,
        ProbeOutcome.FAILED: pb.ProbeReport.FAILED,
    },
)
MILLISECONDS = 1000


def read_snapshot_to_wire(request: ReadSnapshot) -> pb.ReadSnapshot:
    return pb.ReadSnapshot(interiors=[address_to_wire(address) for address in request.interiors])


def read_snapshot_from_wire(message: pb.ReadSnapshot) -> ReadSnapshot:
    return ReadSnapshot(interiors=tuple(address_from_wire(packed) for packed in message.interiors))


def capture_request_to_wire(request: CaptureRequest) -> pb.ArmCapture:
    return pb.ArmCapture(
        id=request.id,
        protocol=request.protocol,
        near=[address_to_wire(address) for address in request.near],
        far=[address_to_wire(address) for address in request.far],
        ports=request.ports,
        pods=[address_to_wire(address) for address in request.pods],
        limit=request.limit,
    )


def capture_request_from_wire(message: pb.ArmCapture) -> CaptureRequest:
    return CaptureRequest(
        id=message.id,
        protocol=bounded(message.protocol, MAX_PROTOCOL, "protocol"),
        near=tuple(address_from_wire(packed) for packed in message.near),
        far=tuple(address_from_wire(packed) for packed in message.far),
        ports=tuple(bounded(port, MAX_PORT, "port") for port in message.ports),
        pods=tuple(address_from_wire(packed) for packed in message.pods),
        limit=message.limit,
    )


def capture_armed_to_wire(armed: CaptureArmed) -> pb.CaptureArmed:
    return pb.CaptureArmed(
        id=armed.id, interfaces=armed.interfaces, unread=[unread_to_wire(unread) for unread in armed.unread]
    )


def capture_armed_from_wire(message: pb.CaptureArmed) -> CaptureArmed:
    return CaptureArmed(
        id=message.id,
        interfaces=tuple(message.interfaces),
        unread=tuple(unread_from_wire(unread) for unread in message.unread),
    )


def capture_ended_to_wire(ended: CaptureEnded) -> pb.CaptureEnded:
    return pb.CaptureEnded(
        id=ended.id,
        stats=[
            pb.CaptureEnded.Stats(interface=stats.interface, received=stats.received, dropped=stats.dropped)
            for stats in ended.stats
        ],
    )


def capture_ended_from_wire(message: pb.CaptureEnded) -> CaptureEnded:
    return CaptureEnded(
        id=message.id,
        stats=tuple(
            CaptureStats(interface=stats.interface, received=stats.received, dropped=stats.dropped)
            for stats in message.stats
        ),
    )


def probe_request_to_wire(request: ProbeRequest) -> pb.SendProbe:
    """The time-out is sent in whole milliseconds, and never as none at all."""
    return pb.SendProbe(
        protocol=request.protocol,
        source=None if request.source is None else address_to_wire(request.source),
        destination=address_to_wire(request.destination.address),
        port=request.destination.port,
        count=request.count,
        timeout_ms=max(1, round(request.timeout * MILLISECONDS)),
        size=request.size,
    )


def probe_request_from_wire(message: pb.SendProbe) -> ProbeRequest:
    return ProbeRequest(
        protocol=bounded(message.protocol, MAX_PROTOCOL, "protocol"),
        source=address_from_wire(message.source) if message.HasField("source") else None,
        destination=Socket(address_from_wire(message.destination), bounded(message.port, MAX_PORT, "port")),
        count=message.count,
        timeout=message.timeout_ms / MILLISECONDS,
        size=bounded(message.size, MAX_PROBE_SIZE, "probe's size"),
    )


def probe_report_to_wire(report: ProbeReport) -> pb.ProbeReport:
    """A probe that was never sent has no time: `sent_at` 0 is absent on the wire."""
    return pb.ProbeReport(
        outcome=OUTCOMES.to_wire(report.outcome),
        five_tuple=None if report.five_tuple is None else five_tuple_to_wire(report.five_tuple),
        sent_at=timestamp_to_wire(report.sent_at) if report.sent_at else None,
        round_trip_ns=report.round_trip,
        detail=report.detail,
    )


def probe_report_from_wire(message: pb.ProbeReport) -> ProbeReport:
    has = message.HasField
    return ProbeReport(
        outcome=OUTCOMES.from_wire(message.outcome),
        five_tuple=five_tuple_from_wire(message.five_tuple) if has("five_tuple") else None,
        sent_at=timestamp_from_wire(message.sent_at) if has("sent_at") else 0,
        round_trip=message.round_trip_ns if has("round_trip_ns") else None,
        detail=message.detail,
    )


def probe_reports_to_wire(reports: tuple[ProbeReport, ...]) -> pb.ProbeReports:
    return pb.ProbeReports(reports=[probe_report_to_wire(report) for report in reports])


def probe_reports_from_wire(message: pb.ProbeReports) -> tuple[ProbeReport, ...]:
    return tuple(probe_report_from_wire(report) for report in message.reports)


def route_question_to_wire(question: RouteQuestion) -> pb.RouteQuestion:
    return pb.RouteQuestion(
        destination=address_to_wire(question.destination),
        source=None if question.source is None else address_to_wire(question.source),
        in_interface=question.in_interface,
        mark=question.mark,
    )


def route_question_from_wire(message: pb.RouteQuestion) -> RouteQuestion:
    return RouteQuestion(
        destination=address_from_wire(message.destination),
        source=address_from_wire(message.source) if message.HasField("source") else None,
        in_interface=message.in_interface,
        mark=message.mark,
    )


def lookup_request_to_wire(request: LookupRequest) -> pb.Lookup:
    return pb.Lookup(
        tuples=[five_tuple_to_wire(five_tuple) for five_tuple in request.tuples],
        addresses=[address_to_wire(address) for address in request.addresses],
        routes=[route_question_to_wire(question) for question in request.routes],
    )


def lookup_request_from_wire(message: pb.Lookup) -> LookupRequest:
    return LookupRequest(
        tuples=tuple(five_tuple_from_wire(five_tuple) for five_tuple in message.tuples),
        addresses=tuple(address_from_wire(packed) for packed in message.addresses),
        routes=tuple(route_question_from_wire(question) for question in message.routes),
    )


def lookup_report_to_wire(report: LookupReport) -> pb.LookupReport:
    return pb.LookupReport(
        entries=[conntrack_entry_to_wire(entry) for entry in report.entries],
        routes=[route_answer_to_wire(answer) for answer in report.routes],
        unread=[unread_to_wire(unread) for unread in report.unread],
    )


def lookup_report_from_wire(message: pb.LookupReport, node: str) -> LookupReport:
    return LookupReport(
        entries=tuple(conntrack_entry_from_wire(entry, node) for entry in message.entries),
        routes=tuple(route_answer_from_wire(answer) for answer in message.routes),
        unread=tuple(unread_from_wire(unread) for unread in message.unread),
    )
