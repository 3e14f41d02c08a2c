"""Many connections at once and the survey of a node's connection tracking, message by message, both ways."""

from pathtap.model.address import Socket
from pathtap.model.request import MOST_CONNECTIONS, Connection, ConnectionsReport, OpenConnections
from pathtap.model.survey import CpuCounters, PortUsage, SurveyReport, SurveyRequest
from pathtap.v1 import agent_pb2 as pb
from pathtap.wire.addresses import (
    MAX_PORT,
    MAX_PROTOCOL,
    address_from_wire,
    address_to_wire,
    five_tuple_from_wire,
    five_tuple_to_wire,
)
from pathtap.wire.errors import bounded
from pathtap.wire.node import conntrack_entry_from_wire, conntrack_entry_to_wire, unread_from_wire, unread_to_wire
from pathtap.wire.request import MILLISECONDS, OUTCOMES

# What a rate and a time may be at most: more than any agent takes.
MAX_RATE = 100_000
MAX_MILLISECONDS = 3_600_000


def open_connections_to_wire(request: OpenConnections) -> pb.OpenConnections:
    """The time-out is sent in whole milliseconds, and never as none at all."""
    return pb.OpenConnections(
        protocol=request.protocol,
        source=None if request.source is None else address_to_wire(request.source),
        destination=address_to_wire(request.destination.address),
        port=request.destination.port,
        count=request.count,
        rate=request.rate,
        timeout_ms=max(1, round(request.timeout * MILLISECONDS)),
    )


def open_connections_from_wire(message: pb.OpenConnections) -> OpenConnections:
    return OpenConnections(
        protocol=bounded(message.protocol, MAX_PROTOCOL, "protocol"),
        source=address_from_wire(message.source) if message.HasField("source") else None,
        destination=_socket(message.destination, message.port),
        count=bounded(message.count, MOST_CONNECTIONS, "number of connections"),
        rate=bounded(message.rate, MAX_RATE, "rate"),
        timeout=bounded(message.timeout_ms, MAX_MILLISECONDS, "time-out") / MILLISECONDS,
    )


def connections_report_to_wire(report: ConnectionsReport) -> pb.ConnectionsReport:
    return pb.ConnectionsReport(
        connections=[_connection_to_wire(connection) for connection in report.connections],
        unread=[unread_to_wire(unread) for unread in report.unread],
    )


def connections_report_from_wire(message: pb.ConnectionsReport, node: str) -> ConnectionsReport:
    return ConnectionsReport(
        connections=tuple(_connection_from_wire(connection, node) for connection in message.connections),
        unread=tuple(unread_from_wire(unread) for unread in message.unread),
    )


def _connection_to_wire(connection: Connection) -> pb.ConnectionsReport.Connection:
    return pb.ConnectionsReport.Connection(
        outcome=OUTCOMES.to_wire(connection.outcome),
        five_tuple=None if connection.five_tuple is None else five_tuple_to_wire(connection.five_tuple),
        entry=None if connection.entry is None else conntrack_entry_to_wire(connection.entry),
        detail=connection.detail,
    )


def _connection_from_wire(message: pb.ConnectionsReport.Connection, node: str) -> Connection:
    has = message.HasField
    return Connection(
        outcome=OUTCOMES.from_wire(message.outcome),
        five_tuple=five_tuple_from_wire(message.five_tuple) if has("five_tuple") else None,
        entry=conntrack_entry_from_wire(message.entry, node) if has("entry") else None,
        detail=message.detail,
    )


def survey_request_to_wire(request: SurveyRequest) -> pb.Survey:
    destination = request.destination
    return pb.Survey(
        sources=[address_to_wire(address) for address in request.sources],
        protocol=request.protocol,
        destination=None if destination is None else address_to_wire(destination.address),
        port=0 if destination is None else destination.port,
        follow_ms=round(request.follow * MILLISECONDS),
        limit=request.limit,
    )


def survey_request_from_wire(message: pb.Survey) -> SurveyRequest:
    return SurveyRequest(
        sources=tuple(address_from_wire(packed) for packed in message.sources),
        protocol=bounded(message.protocol, MAX_PROTOCOL, "protocol"),
        destination=_socket(message.destination, message.port) if message.HasField("destination") else None,
        follow=bounded(message.follow_ms, MAX_MILLISECONDS, "time to follow") / MILLISECONDS,
        limit=message.limit,
    )


def survey_report_to_wire(report: SurveyReport) -> pb.SurveyReport:
    return pb.SurveyReport(
        entries=[conntrack_entry_to_wire(entry) for entry in report.entries],
        fresh=report.fresh,
        left_off=report.left_off,
        missed=report.missed,
        usage=[_usage_to_wire(usage) for usage in report.usage],
        cpus=[pb.SurveyReport.CpuCounters(cpu=cpu.cpu, counters=cpu.counters) for cpu in report.cpus],
        count=report.count,
        most=report.most,
        unread=[unread_to_wire(unread) for unread in report.unread],
    )


def survey_report_from_wire(message: pb.SurveyReport, node: str) -> SurveyReport:
    return SurveyReport(
        entries=tuple(conntrack_entry_from_wire(entry, node) for entry in message.entries),
        fresh=message.fresh,
        left_off=message.left_off,
        missed=message.missed,
        usage=tuple(_usage_from_wire(usage) for usage in message.usage),
        cpus=tuple(CpuCounters(cpu=cpu.cpu, counters=dict(cpu.counters)) for cpu in message.cpus),
        count=message.count if message.HasField("count") else None,
        most=message.most if message.HasField("most") else None,
        unread=tuple(unread_from_wire(unread) for unread in message.unread),
    )


def _usage_to_wire(usage: PortUsage) -> pb.SurveyReport.PortUsage:
    return pb.SurveyReport.PortUsage(
        protocol=usage.protocol,
        destination=address_to_wire(usage.destination.address),
        destination_port=usage.destination.port,
        translated=address_to_wire(usage.translated),
        source=address_to_wire(usage.source),
        ports=usage.ports,
    )


def _usage_from_wire(message: pb.SurveyReport.PortUsage) -> PortUsage:
    return PortUsage(
        protocol=bounded(message.protocol, MAX_PROTOCOL, "protocol"),
        destination=_socket(message.destination, message.destination_port),
        translated=address_from_wire(message.translated),
        source=address_from_wire(message.source),
        ports=tuple(bounded(port, MAX_PORT, "port") for port in message.ports),
    )


def _socket(packed: bytes, port: int) -> Socket:
    return Socket(address_from_wire(packed), bounded(port, MAX_PORT, "port"))
