import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from pathtap.v1 import trace_pb2 as _trace_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Snat(_message.Message):
    __slots__ = ("id", "started_at", "finished_at", "source", "destination", "protocol", "live", "verdict", "as_intended", "summary", "intent", "rule", "rules", "translated_to", "egress", "pairs", "preserved", "connections", "statistics", "opened", "insert_failed", "insert_failed_total", "cpus", "ports_in_use", "conntrack_entries", "conntrack_most", "findings", "gaps", "settings")
    class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        VERDICT_UNSPECIFIED: _ClassVar[Snat.Verdict]
        FULLY_RANDOM: _ClassVar[Snat.Verdict]
        RANDOM_NOT_FULLY: _ClassVar[Snat.Verdict]
        NOT_RANDOM: _ClassVar[Snat.Verdict]
        NOT_TRANSLATED: _ClassVar[Snat.Verdict]
        NOT_IN_EFFECT: _ClassVar[Snat.Verdict]
        CONTRADICTORY: _ClassVar[Snat.Verdict]
        INCONCLUSIVE: _ClassVar[Snat.Verdict]
    VERDICT_UNSPECIFIED: Snat.Verdict
    FULLY_RANDOM: Snat.Verdict
    RANDOM_NOT_FULLY: Snat.Verdict
    NOT_RANDOM: Snat.Verdict
    NOT_TRANSLATED: Snat.Verdict
    NOT_IN_EFFECT: Snat.Verdict
    CONTRADICTORY: Snat.Verdict
    INCONCLUSIVE: Snat.Verdict
    class Intent(_message.Message):
        __slots__ = ("translated", "random", "says", "source")
        TRANSLATED_FIELD_NUMBER: _ClassVar[int]
        RANDOM_FIELD_NUMBER: _ClassVar[int]
        SAYS_FIELD_NUMBER: _ClassVar[int]
        SOURCE_FIELD_NUMBER: _ClassVar[int]
        translated: bool
        random: str
        says: str
        source: str
        def __init__(self, translated: _Optional[bool] = ..., random: _Optional[str] = ..., says: _Optional[str] = ..., source: _Optional[str] = ...) -> None: ...
    class Setting(_message.Message):
        __slots__ = ("name", "value", "source")
        NAME_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        SOURCE_FIELD_NUMBER: _ClassVar[int]
        name: str
        value: str
        source: str
        def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ..., source: _Optional[str] = ...) -> None: ...
    class Rule(_message.Message):
        __slots__ = ("owner", "rule", "standing")
        class Standing(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            STANDING_UNSPECIFIED: _ClassVar[Snat.Rule.Standing]
            FIRST: _ClassVar[Snat.Rule.Standing]
            BEHIND: _ClassVar[Snat.Rule.Standing]
            PASSED_BY: _ClassVar[Snat.Rule.Standing]
            UNDECIDED: _ClassVar[Snat.Rule.Standing]
        STANDING_UNSPECIFIED: Snat.Rule.Standing
        FIRST: Snat.Rule.Standing
        BEHIND: Snat.Rule.Standing
        PASSED_BY: Snat.Rule.Standing
        UNDECIDED: Snat.Rule.Standing
        OWNER_FIELD_NUMBER: _ClassVar[int]
        RULE_FIELD_NUMBER: _ClassVar[int]
        STANDING_FIELD_NUMBER: _ClassVar[int]
        owner: str
        rule: _trace_pb2.RuleReference
        standing: Snat.Rule.Standing
        def __init__(self, owner: _Optional[str] = ..., rule: _Optional[_Union[_trace_pb2.RuleReference, _Mapping]] = ..., standing: _Optional[_Union[Snat.Rule.Standing, str]] = ...) -> None: ...
    class Pair(_message.Message):
        __slots__ = ("protocol", "original", "translated", "destination", "witnesses", "interface", "discounted")
        PROTOCOL_FIELD_NUMBER: _ClassVar[int]
        ORIGINAL_FIELD_NUMBER: _ClassVar[int]
        TRANSLATED_FIELD_NUMBER: _ClassVar[int]
        DESTINATION_FIELD_NUMBER: _ClassVar[int]
        WITNESSES_FIELD_NUMBER: _ClassVar[int]
        INTERFACE_FIELD_NUMBER: _ClassVar[int]
        DISCOUNTED_FIELD_NUMBER: _ClassVar[int]
        protocol: str
        original: _trace_pb2.Socket
        translated: _trace_pb2.Socket
        destination: _trace_pb2.Socket
        witnesses: _containers.RepeatedScalarFieldContainer[_trace_pb2.Step.Witness]
        interface: str
        discounted: str
        def __init__(self, protocol: _Optional[str] = ..., original: _Optional[_Union[_trace_pb2.Socket, _Mapping]] = ..., translated: _Optional[_Union[_trace_pb2.Socket, _Mapping]] = ..., destination: _Optional[_Union[_trace_pb2.Socket, _Mapping]] = ..., witnesses: _Optional[_Iterable[_Union[_trace_pb2.Step.Witness, str]]] = ..., interface: _Optional[str] = ..., discounted: _Optional[str] = ...) -> None: ...
    class Statistics(_message.Message):
        __slots__ = ("counted", "preserved", "needed", "first", "last", "lowest", "highest", "distance", "distance_limit", "successive", "successive_limit", "false_alarm")
        COUNTED_FIELD_NUMBER: _ClassVar[int]
        PRESERVED_FIELD_NUMBER: _ClassVar[int]
        NEEDED_FIELD_NUMBER: _ClassVar[int]
        FIRST_FIELD_NUMBER: _ClassVar[int]
        LAST_FIELD_NUMBER: _ClassVar[int]
        LOWEST_FIELD_NUMBER: _ClassVar[int]
        HIGHEST_FIELD_NUMBER: _ClassVar[int]
        DISTANCE_FIELD_NUMBER: _ClassVar[int]
        DISTANCE_LIMIT_FIELD_NUMBER: _ClassVar[int]
        SUCCESSIVE_FIELD_NUMBER: _ClassVar[int]
        SUCCESSIVE_LIMIT_FIELD_NUMBER: _ClassVar[int]
        FALSE_ALARM_FIELD_NUMBER: _ClassVar[int]
        counted: int
        preserved: int
        needed: int
        first: int
        last: int
        lowest: int
        highest: int
        distance: float
        distance_limit: float
        successive: int
        successive_limit: int
        false_alarm: float
        def __init__(self, counted: _Optional[int] = ..., preserved: _Optional[int] = ..., needed: _Optional[int] = ..., first: _Optional[int] = ..., last: _Optional[int] = ..., lowest: _Optional[int] = ..., highest: _Optional[int] = ..., distance: _Optional[float] = ..., distance_limit: _Optional[float] = ..., successive: _Optional[int] = ..., successive_limit: _Optional[int] = ..., false_alarm: _Optional[float] = ...) -> None: ...
    class Opened(_message.Message):
        __slots__ = ("answered", "refused", "unreachable", "silent", "failed", "failure")
        ANSWERED_FIELD_NUMBER: _ClassVar[int]
        REFUSED_FIELD_NUMBER: _ClassVar[int]
        UNREACHABLE_FIELD_NUMBER: _ClassVar[int]
        SILENT_FIELD_NUMBER: _ClassVar[int]
        FAILED_FIELD_NUMBER: _ClassVar[int]
        FAILURE_FIELD_NUMBER: _ClassVar[int]
        answered: int
        refused: int
        unreachable: int
        silent: int
        failed: int
        failure: str
        def __init__(self, answered: _Optional[int] = ..., refused: _Optional[int] = ..., unreachable: _Optional[int] = ..., silent: _Optional[int] = ..., failed: _Optional[int] = ..., failure: _Optional[str] = ...) -> None: ...
    class Cpu(_message.Message):
        __slots__ = ("cpu", "before", "after")
        class Counters(_message.Message):
            __slots__ = ("insert_failed", "drop", "early_drop", "clash_resolve", "search_restart")
            INSERT_FAILED_FIELD_NUMBER: _ClassVar[int]
            DROP_FIELD_NUMBER: _ClassVar[int]
            EARLY_DROP_FIELD_NUMBER: _ClassVar[int]
            CLASH_RESOLVE_FIELD_NUMBER: _ClassVar[int]
            SEARCH_RESTART_FIELD_NUMBER: _ClassVar[int]
            insert_failed: int
            drop: int
            early_drop: int
            clash_resolve: int
            search_restart: int
            def __init__(self, insert_failed: _Optional[int] = ..., drop: _Optional[int] = ..., early_drop: _Optional[int] = ..., clash_resolve: _Optional[int] = ..., search_restart: _Optional[int] = ...) -> None: ...
        CPU_FIELD_NUMBER: _ClassVar[int]
        BEFORE_FIELD_NUMBER: _ClassVar[int]
        AFTER_FIELD_NUMBER: _ClassVar[int]
        cpu: int
        before: Snat.Cpu.Counters
        after: Snat.Cpu.Counters
        def __init__(self, cpu: _Optional[int] = ..., before: _Optional[_Union[Snat.Cpu.Counters, _Mapping]] = ..., after: _Optional[_Union[Snat.Cpu.Counters, _Mapping]] = ...) -> None: ...
    class PortsInUse(_message.Message):
        __slots__ = ("protocol", "destination", "translated", "in_use", "capacity", "users")
        class User(_message.Message):
            __slots__ = ("name", "ports")
            NAME_FIELD_NUMBER: _ClassVar[int]
            PORTS_FIELD_NUMBER: _ClassVar[int]
            name: str
            ports: int
            def __init__(self, name: _Optional[str] = ..., ports: _Optional[int] = ...) -> None: ...
        PROTOCOL_FIELD_NUMBER: _ClassVar[int]
        DESTINATION_FIELD_NUMBER: _ClassVar[int]
        TRANSLATED_FIELD_NUMBER: _ClassVar[int]
        IN_USE_FIELD_NUMBER: _ClassVar[int]
        CAPACITY_FIELD_NUMBER: _ClassVar[int]
        USERS_FIELD_NUMBER: _ClassVar[int]
        protocol: str
        destination: _trace_pb2.Socket
        translated: str
        in_use: int
        capacity: int
        users: _containers.RepeatedCompositeFieldContainer[Snat.PortsInUse.User]
        def __init__(self, protocol: _Optional[str] = ..., destination: _Optional[_Union[_trace_pb2.Socket, _Mapping]] = ..., translated: _Optional[str] = ..., in_use: _Optional[int] = ..., capacity: _Optional[int] = ..., users: _Optional[_Iterable[_Union[Snat.PortsInUse.User, _Mapping]]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    AS_INTENDED_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    INTENT_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    TRANSLATED_TO_FIELD_NUMBER: _ClassVar[int]
    EGRESS_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    PRESERVED_FIELD_NUMBER: _ClassVar[int]
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    INSERT_FAILED_FIELD_NUMBER: _ClassVar[int]
    INSERT_FAILED_TOTAL_FIELD_NUMBER: _ClassVar[int]
    CPUS_FIELD_NUMBER: _ClassVar[int]
    PORTS_IN_USE_FIELD_NUMBER: _ClassVar[int]
    CONNTRACK_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    CONNTRACK_MOST_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    id: str
    started_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    source: _trace_pb2.Target
    destination: _trace_pb2.Target
    protocol: str
    live: bool
    verdict: Snat.Verdict
    as_intended: bool
    summary: str
    intent: Snat.Intent
    rule: _trace_pb2.RuleReference
    rules: _containers.RepeatedCompositeFieldContainer[Snat.Rule]
    translated_to: str
    egress: _trace_pb2.Egress
    pairs: _containers.RepeatedCompositeFieldContainer[Snat.Pair]
    preserved: int
    connections: int
    statistics: Snat.Statistics
    opened: Snat.Opened
    insert_failed: int
    insert_failed_total: int
    cpus: _containers.RepeatedCompositeFieldContainer[Snat.Cpu]
    ports_in_use: _containers.RepeatedCompositeFieldContainer[Snat.PortsInUse]
    conntrack_entries: int
    conntrack_most: int
    findings: _containers.RepeatedCompositeFieldContainer[_trace_pb2.Finding]
    gaps: _containers.RepeatedCompositeFieldContainer[_trace_pb2.Gap]
    settings: _containers.RepeatedCompositeFieldContainer[Snat.Setting]
    def __init__(self, id: _Optional[str] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., source: _Optional[_Union[_trace_pb2.Target, _Mapping]] = ..., destination: _Optional[_Union[_trace_pb2.Target, _Mapping]] = ..., protocol: _Optional[str] = ..., live: _Optional[bool] = ..., verdict: _Optional[_Union[Snat.Verdict, str]] = ..., as_intended: _Optional[bool] = ..., summary: _Optional[str] = ..., intent: _Optional[_Union[Snat.Intent, _Mapping]] = ..., rule: _Optional[_Union[_trace_pb2.RuleReference, _Mapping]] = ..., rules: _Optional[_Iterable[_Union[Snat.Rule, _Mapping]]] = ..., translated_to: _Optional[str] = ..., egress: _Optional[_Union[_trace_pb2.Egress, _Mapping]] = ..., pairs: _Optional[_Iterable[_Union[Snat.Pair, _Mapping]]] = ..., preserved: _Optional[int] = ..., connections: _Optional[int] = ..., statistics: _Optional[_Union[Snat.Statistics, _Mapping]] = ..., opened: _Optional[_Union[Snat.Opened, _Mapping]] = ..., insert_failed: _Optional[int] = ..., insert_failed_total: _Optional[int] = ..., cpus: _Optional[_Iterable[_Union[Snat.Cpu, _Mapping]]] = ..., ports_in_use: _Optional[_Iterable[_Union[Snat.PortsInUse, _Mapping]]] = ..., conntrack_entries: _Optional[int] = ..., conntrack_most: _Optional[int] = ..., findings: _Optional[_Iterable[_Union[_trace_pb2.Finding, _Mapping]]] = ..., gaps: _Optional[_Iterable[_Union[_trace_pb2.Gap, _Mapping]]] = ..., settings: _Optional[_Iterable[_Union[Snat.Setting, _Mapping]]] = ...) -> None: ...

class SnatTable(_message.Message):
    __slots__ = ("started_at", "finished_at", "nodes", "gaps")
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    started_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    nodes: _containers.RepeatedCompositeFieldContainer[Snat]
    gaps: _containers.RepeatedCompositeFieldContainer[_trace_pb2.Gap]
    def __init__(self, started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., nodes: _Optional[_Iterable[_Union[Snat, _Mapping]]] = ..., gaps: _Optional[_Iterable[_Union[_trace_pb2.Gap, _Mapping]]] = ...) -> None: ...
