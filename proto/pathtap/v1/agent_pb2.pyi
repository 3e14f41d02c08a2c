import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from pathtap.v1 import node_pb2 as _node_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConnectRequest(_message.Message):
    __slots__ = ("node", "boot_id", "sequence", "hello", "batch", "answer")
    NODE_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    node: str
    boot_id: str
    sequence: int
    hello: Hello
    batch: Batch
    answer: Answer
    def __init__(self, node: _Optional[str] = ..., boot_id: _Optional[str] = ..., sequence: _Optional[int] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., batch: _Optional[_Union[Batch, _Mapping]] = ..., answer: _Optional[_Union[Answer, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("version", "kernel", "packets")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    PACKETS_FIELD_NUMBER: _ClassVar[int]
    version: str
    kernel: str
    packets: int
    def __init__(self, version: _Optional[str] = ..., kernel: _Optional[str] = ..., packets: _Optional[int] = ...) -> None: ...

class Batch(_message.Message):
    __slots__ = ("observations", "lost", "rows")
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    observations: _containers.RepeatedCompositeFieldContainer[PacketObservation]
    lost: _containers.RepeatedCompositeFieldContainer[Lost]
    rows: _containers.RepeatedCompositeFieldContainer[PacketRows]
    def __init__(self, observations: _Optional[_Iterable[_Union[PacketObservation, _Mapping]]] = ..., lost: _Optional[_Iterable[_Union[Lost, _Mapping]]] = ..., rows: _Optional[_Iterable[_Union[PacketRows, _Mapping]]] = ...) -> None: ...

class PacketRows(_message.Message):
    __slots__ = ("capture", "interfaces", "rows")
    CAPTURE_FIELD_NUMBER: _ClassVar[int]
    INTERFACES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    capture: str
    interfaces: _containers.RepeatedScalarFieldContainer[str]
    rows: bytes
    def __init__(self, capture: _Optional[str] = ..., interfaces: _Optional[_Iterable[str]] = ..., rows: _Optional[bytes] = ...) -> None: ...

class PacketObservation(_message.Message):
    __slots__ = ("sequence", "capture", "captured_at_ns", "interface", "direction", "headers", "for_another")
    class Direction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        DIRECTION_UNSPECIFIED: _ClassVar[PacketObservation.Direction]
        IN: _ClassVar[PacketObservation.Direction]
        OUT: _ClassVar[PacketObservation.Direction]
    DIRECTION_UNSPECIFIED: PacketObservation.Direction
    IN: PacketObservation.Direction
    OUT: PacketObservation.Direction
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_AT_NS_FIELD_NUMBER: _ClassVar[int]
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    FOR_ANOTHER_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    capture: str
    captured_at_ns: int
    interface: str
    direction: PacketObservation.Direction
    headers: Headers
    for_another: bool
    def __init__(self, sequence: _Optional[int] = ..., capture: _Optional[str] = ..., captured_at_ns: _Optional[int] = ..., interface: _Optional[str] = ..., direction: _Optional[_Union[PacketObservation.Direction, str]] = ..., headers: _Optional[_Union[Headers, _Mapping]] = ..., for_another: _Optional[bool] = ...) -> None: ...

class Headers(_message.Message):
    __slots__ = ("five_tuple", "ttl", "length", "ip_id", "vlan", "tcp", "icmp", "fragment", "truncated")
    FIVE_TUPLE_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    IP_ID_FIELD_NUMBER: _ClassVar[int]
    VLAN_FIELD_NUMBER: _ClassVar[int]
    TCP_FIELD_NUMBER: _ClassVar[int]
    ICMP_FIELD_NUMBER: _ClassVar[int]
    FRAGMENT_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    five_tuple: _node_pb2.FiveTuple
    ttl: int
    length: int
    ip_id: int
    vlan: int
    tcp: TcpHeader
    icmp: IcmpHeader
    fragment: bool
    truncated: bool
    def __init__(self, five_tuple: _Optional[_Union[_node_pb2.FiveTuple, _Mapping]] = ..., ttl: _Optional[int] = ..., length: _Optional[int] = ..., ip_id: _Optional[int] = ..., vlan: _Optional[int] = ..., tcp: _Optional[_Union[TcpHeader, _Mapping]] = ..., icmp: _Optional[_Union[IcmpHeader, _Mapping]] = ..., fragment: _Optional[bool] = ..., truncated: _Optional[bool] = ...) -> None: ...

class TcpHeader(_message.Message):
    __slots__ = ("flags", "sequence", "acknowledgment")
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGMENT_FIELD_NUMBER: _ClassVar[int]
    flags: int
    sequence: int
    acknowledgment: int
    def __init__(self, flags: _Optional[int] = ..., sequence: _Optional[int] = ..., acknowledgment: _Optional[int] = ...) -> None: ...

class IcmpHeader(_message.Message):
    __slots__ = ("type", "code", "sequence", "mtu", "quoted")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    MTU_FIELD_NUMBER: _ClassVar[int]
    QUOTED_FIELD_NUMBER: _ClassVar[int]
    type: int
    code: int
    sequence: int
    mtu: int
    quoted: _node_pb2.FiveTuple
    def __init__(self, type: _Optional[int] = ..., code: _Optional[int] = ..., sequence: _Optional[int] = ..., mtu: _Optional[int] = ..., quoted: _Optional[_Union[_node_pb2.FiveTuple, _Mapping]] = ...) -> None: ...

class Lost(_message.Message):
    __slots__ = ("where", "count", "capture", "interface", "why")
    WHERE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_FIELD_NUMBER: _ClassVar[int]
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    where: str
    count: int
    capture: str
    interface: str
    why: str
    def __init__(self, where: _Optional[str] = ..., count: _Optional[int] = ..., capture: _Optional[str] = ..., interface: _Optional[str] = ..., why: _Optional[str] = ...) -> None: ...

class ConnectResponse(_message.Message):
    __slots__ = ("command", "read_snapshot", "arm_capture", "end_capture", "send_probe", "lookup", "open_connections", "survey")
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    READ_SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    ARM_CAPTURE_FIELD_NUMBER: _ClassVar[int]
    END_CAPTURE_FIELD_NUMBER: _ClassVar[int]
    SEND_PROBE_FIELD_NUMBER: _ClassVar[int]
    LOOKUP_FIELD_NUMBER: _ClassVar[int]
    OPEN_CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    SURVEY_FIELD_NUMBER: _ClassVar[int]
    command: int
    read_snapshot: ReadSnapshot
    arm_capture: ArmCapture
    end_capture: EndCapture
    send_probe: SendProbe
    lookup: Lookup
    open_connections: OpenConnections
    survey: Survey
    def __init__(self, command: _Optional[int] = ..., read_snapshot: _Optional[_Union[ReadSnapshot, _Mapping]] = ..., arm_capture: _Optional[_Union[ArmCapture, _Mapping]] = ..., end_capture: _Optional[_Union[EndCapture, _Mapping]] = ..., send_probe: _Optional[_Union[SendProbe, _Mapping]] = ..., lookup: _Optional[_Union[Lookup, _Mapping]] = ..., open_connections: _Optional[_Union[OpenConnections, _Mapping]] = ..., survey: _Optional[_Union[Survey, _Mapping]] = ...) -> None: ...

class ReadSnapshot(_message.Message):
    __slots__ = ("interiors",)
    INTERIORS_FIELD_NUMBER: _ClassVar[int]
    interiors: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, interiors: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ArmCapture(_message.Message):
    __slots__ = ("id", "protocol", "near", "far", "ports", "pods", "limit")
    ID_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    NEAR_FIELD_NUMBER: _ClassVar[int]
    FAR_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    PODS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    id: str
    protocol: int
    near: _containers.RepeatedScalarFieldContainer[bytes]
    far: _containers.RepeatedScalarFieldContainer[bytes]
    ports: _containers.RepeatedScalarFieldContainer[int]
    pods: _containers.RepeatedScalarFieldContainer[bytes]
    limit: int
    def __init__(self, id: _Optional[str] = ..., protocol: _Optional[int] = ..., near: _Optional[_Iterable[bytes]] = ..., far: _Optional[_Iterable[bytes]] = ..., ports: _Optional[_Iterable[int]] = ..., pods: _Optional[_Iterable[bytes]] = ..., limit: _Optional[int] = ...) -> None: ...

class EndCapture(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class SendProbe(_message.Message):
    __slots__ = ("protocol", "source", "destination", "port", "count", "timeout_ms", "size")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    source: bytes
    destination: bytes
    port: int
    count: int
    timeout_ms: int
    size: int
    def __init__(self, protocol: _Optional[int] = ..., source: _Optional[bytes] = ..., destination: _Optional[bytes] = ..., port: _Optional[int] = ..., count: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., size: _Optional[int] = ...) -> None: ...

class Lookup(_message.Message):
    __slots__ = ("tuples", "addresses", "routes")
    TUPLES_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    tuples: _containers.RepeatedCompositeFieldContainer[_node_pb2.FiveTuple]
    addresses: _containers.RepeatedScalarFieldContainer[bytes]
    routes: _containers.RepeatedCompositeFieldContainer[RouteQuestion]
    def __init__(self, tuples: _Optional[_Iterable[_Union[_node_pb2.FiveTuple, _Mapping]]] = ..., addresses: _Optional[_Iterable[bytes]] = ..., routes: _Optional[_Iterable[_Union[RouteQuestion, _Mapping]]] = ...) -> None: ...

class OpenConnections(_message.Message):
    __slots__ = ("protocol", "source", "destination", "port", "count", "rate", "timeout_ms")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    source: bytes
    destination: bytes
    port: int
    count: int
    rate: int
    timeout_ms: int
    def __init__(self, protocol: _Optional[int] = ..., source: _Optional[bytes] = ..., destination: _Optional[bytes] = ..., port: _Optional[int] = ..., count: _Optional[int] = ..., rate: _Optional[int] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class Survey(_message.Message):
    __slots__ = ("sources", "protocol", "destination", "port", "follow_ms", "limit")
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_MS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    sources: _containers.RepeatedScalarFieldContainer[bytes]
    protocol: int
    destination: bytes
    port: int
    follow_ms: int
    limit: int
    def __init__(self, sources: _Optional[_Iterable[bytes]] = ..., protocol: _Optional[int] = ..., destination: _Optional[bytes] = ..., port: _Optional[int] = ..., follow_ms: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class RouteQuestion(_message.Message):
    __slots__ = ("destination", "source", "in_interface", "mark")
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    IN_INTERFACE_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    destination: bytes
    source: bytes
    in_interface: str
    mark: int
    def __init__(self, destination: _Optional[bytes] = ..., source: _Optional[bytes] = ..., in_interface: _Optional[str] = ..., mark: _Optional[int] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("command", "snapshot", "armed", "ended", "probes", "lookup", "connections", "survey", "failure")
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    ARMED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    PROBES_FIELD_NUMBER: _ClassVar[int]
    LOOKUP_FIELD_NUMBER: _ClassVar[int]
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    SURVEY_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    command: int
    snapshot: _node_pb2.NodeSnapshot
    armed: CaptureArmed
    ended: CaptureEnded
    probes: ProbeReports
    lookup: LookupReport
    connections: ConnectionsReport
    survey: SurveyReport
    failure: str
    def __init__(self, command: _Optional[int] = ..., snapshot: _Optional[_Union[_node_pb2.NodeSnapshot, _Mapping]] = ..., armed: _Optional[_Union[CaptureArmed, _Mapping]] = ..., ended: _Optional[_Union[CaptureEnded, _Mapping]] = ..., probes: _Optional[_Union[ProbeReports, _Mapping]] = ..., lookup: _Optional[_Union[LookupReport, _Mapping]] = ..., connections: _Optional[_Union[ConnectionsReport, _Mapping]] = ..., survey: _Optional[_Union[SurveyReport, _Mapping]] = ..., failure: _Optional[str] = ...) -> None: ...

class CaptureArmed(_message.Message):
    __slots__ = ("id", "interfaces", "unread")
    ID_FIELD_NUMBER: _ClassVar[int]
    INTERFACES_FIELD_NUMBER: _ClassVar[int]
    UNREAD_FIELD_NUMBER: _ClassVar[int]
    id: str
    interfaces: _containers.RepeatedScalarFieldContainer[str]
    unread: _containers.RepeatedCompositeFieldContainer[_node_pb2.Unread]
    def __init__(self, id: _Optional[str] = ..., interfaces: _Optional[_Iterable[str]] = ..., unread: _Optional[_Iterable[_Union[_node_pb2.Unread, _Mapping]]] = ...) -> None: ...

class CaptureEnded(_message.Message):
    __slots__ = ("id", "stats")
    class Stats(_message.Message):
        __slots__ = ("interface", "received", "dropped")
        INTERFACE_FIELD_NUMBER: _ClassVar[int]
        RECEIVED_FIELD_NUMBER: _ClassVar[int]
        DROPPED_FIELD_NUMBER: _ClassVar[int]
        interface: str
        received: int
        dropped: int
        def __init__(self, interface: _Optional[str] = ..., received: _Optional[int] = ..., dropped: _Optional[int] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    id: str
    stats: _containers.RepeatedCompositeFieldContainer[CaptureEnded.Stats]
    def __init__(self, id: _Optional[str] = ..., stats: _Optional[_Iterable[_Union[CaptureEnded.Stats, _Mapping]]] = ...) -> None: ...

class ProbeReports(_message.Message):
    __slots__ = ("reports",)
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    reports: _containers.RepeatedCompositeFieldContainer[ProbeReport]
    def __init__(self, reports: _Optional[_Iterable[_Union[ProbeReport, _Mapping]]] = ...) -> None: ...

class ProbeReport(_message.Message):
    __slots__ = ("outcome", "five_tuple", "sent_at", "round_trip_ns", "detail")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OUTCOME_UNSPECIFIED: _ClassVar[ProbeReport.Outcome]
        ANSWERED: _ClassVar[ProbeReport.Outcome]
        REFUSED: _ClassVar[ProbeReport.Outcome]
        UNREACHABLE: _ClassVar[ProbeReport.Outcome]
        SILENT: _ClassVar[ProbeReport.Outcome]
        FAILED: _ClassVar[ProbeReport.Outcome]
    OUTCOME_UNSPECIFIED: ProbeReport.Outcome
    ANSWERED: ProbeReport.Outcome
    REFUSED: ProbeReport.Outcome
    UNREACHABLE: ProbeReport.Outcome
    SILENT: ProbeReport.Outcome
    FAILED: ProbeReport.Outcome
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    FIVE_TUPLE_FIELD_NUMBER: _ClassVar[int]
    SENT_AT_FIELD_NUMBER: _ClassVar[int]
    ROUND_TRIP_NS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    outcome: ProbeReport.Outcome
    five_tuple: _node_pb2.FiveTuple
    sent_at: _timestamp_pb2.Timestamp
    round_trip_ns: int
    detail: str
    def __init__(self, outcome: _Optional[_Union[ProbeReport.Outcome, str]] = ..., five_tuple: _Optional[_Union[_node_pb2.FiveTuple, _Mapping]] = ..., sent_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., round_trip_ns: _Optional[int] = ..., detail: _Optional[str] = ...) -> None: ...

class LookupReport(_message.Message):
    __slots__ = ("entries", "routes", "unread")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    UNREAD_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[_node_pb2.ConntrackEntry]
    routes: _containers.RepeatedCompositeFieldContainer[_node_pb2.RouteAnswer]
    unread: _containers.RepeatedCompositeFieldContainer[_node_pb2.Unread]
    def __init__(self, entries: _Optional[_Iterable[_Union[_node_pb2.ConntrackEntry, _Mapping]]] = ..., routes: _Optional[_Iterable[_Union[_node_pb2.RouteAnswer, _Mapping]]] = ..., unread: _Optional[_Iterable[_Union[_node_pb2.Unread, _Mapping]]] = ...) -> None: ...

class ConnectionsReport(_message.Message):
    __slots__ = ("connections", "unread")
    class Connection(_message.Message):
        __slots__ = ("outcome", "five_tuple", "entry", "detail")
        OUTCOME_FIELD_NUMBER: _ClassVar[int]
        FIVE_TUPLE_FIELD_NUMBER: _ClassVar[int]
        ENTRY_FIELD_NUMBER: _ClassVar[int]
        DETAIL_FIELD_NUMBER: _ClassVar[int]
        outcome: ProbeReport.Outcome
        five_tuple: _node_pb2.FiveTuple
        entry: _node_pb2.ConntrackEntry
        detail: str
        def __init__(self, outcome: _Optional[_Union[ProbeReport.Outcome, str]] = ..., five_tuple: _Optional[_Union[_node_pb2.FiveTuple, _Mapping]] = ..., entry: _Optional[_Union[_node_pb2.ConntrackEntry, _Mapping]] = ..., detail: _Optional[str] = ...) -> None: ...
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    UNREAD_FIELD_NUMBER: _ClassVar[int]
    connections: _containers.RepeatedCompositeFieldContainer[ConnectionsReport.Connection]
    unread: _containers.RepeatedCompositeFieldContainer[_node_pb2.Unread]
    def __init__(self, connections: _Optional[_Iterable[_Union[ConnectionsReport.Connection, _Mapping]]] = ..., unread: _Optional[_Iterable[_Union[_node_pb2.Unread, _Mapping]]] = ...) -> None: ...

class SurveyReport(_message.Message):
    __slots__ = ("entries", "left_off", "missed", "usage", "cpus", "count", "most", "unread", "fresh")
    class PortUsage(_message.Message):
        __slots__ = ("protocol", "destination", "destination_port", "translated", "source", "ports")
        PROTOCOL_FIELD_NUMBER: _ClassVar[int]
        DESTINATION_FIELD_NUMBER: _ClassVar[int]
        DESTINATION_PORT_FIELD_NUMBER: _ClassVar[int]
        TRANSLATED_FIELD_NUMBER: _ClassVar[int]
        SOURCE_FIELD_NUMBER: _ClassVar[int]
        PORTS_FIELD_NUMBER: _ClassVar[int]
        protocol: int
        destination: bytes
        destination_port: int
        translated: bytes
        source: bytes
        ports: _containers.RepeatedScalarFieldContainer[int]
        def __init__(self, protocol: _Optional[int] = ..., destination: _Optional[bytes] = ..., destination_port: _Optional[int] = ..., translated: _Optional[bytes] = ..., source: _Optional[bytes] = ..., ports: _Optional[_Iterable[int]] = ...) -> None: ...
    class CpuCounters(_message.Message):
        __slots__ = ("cpu", "counters")
        class CountersEntry(_message.Message):
            __slots__ = ("key", "value")
            KEY_FIELD_NUMBER: _ClassVar[int]
            VALUE_FIELD_NUMBER: _ClassVar[int]
            key: str
            value: int
            def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
        CPU_FIELD_NUMBER: _ClassVar[int]
        COUNTERS_FIELD_NUMBER: _ClassVar[int]
        cpu: int
        counters: _containers.ScalarMap[str, int]
        def __init__(self, cpu: _Optional[int] = ..., counters: _Optional[_Mapping[str, int]] = ...) -> None: ...
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    LEFT_OFF_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    CPUS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    MOST_FIELD_NUMBER: _ClassVar[int]
    UNREAD_FIELD_NUMBER: _ClassVar[int]
    FRESH_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[_node_pb2.ConntrackEntry]
    left_off: int
    missed: bool
    usage: _containers.RepeatedCompositeFieldContainer[SurveyReport.PortUsage]
    cpus: _containers.RepeatedCompositeFieldContainer[SurveyReport.CpuCounters]
    count: int
    most: int
    unread: _containers.RepeatedCompositeFieldContainer[_node_pb2.Unread]
    fresh: int
    def __init__(self, entries: _Optional[_Iterable[_Union[_node_pb2.ConntrackEntry, _Mapping]]] = ..., left_off: _Optional[int] = ..., missed: _Optional[bool] = ..., usage: _Optional[_Iterable[_Union[SurveyReport.PortUsage, _Mapping]]] = ..., cpus: _Optional[_Iterable[_Union[SurveyReport.CpuCounters, _Mapping]]] = ..., count: _Optional[int] = ..., most: _Optional[int] = ..., unread: _Optional[_Iterable[_Union[_node_pb2.Unread, _Mapping]]] = ..., fresh: _Optional[int] = ...) -> None: ...
