import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Trace(_message.Message):
    __slots__ = ("id", "started_at", "finished_at", "source", "destination", "protocol", "live", "five_tuple", "verdict", "egress", "snat", "dnat", "forward", "reply", "round_trip_us", "expected_forward", "expected_reply", "accounts")
    ID_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    FIVE_TUPLE_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    EGRESS_FIELD_NUMBER: _ClassVar[int]
    SNAT_FIELD_NUMBER: _ClassVar[int]
    DNAT_FIELD_NUMBER: _ClassVar[int]
    FORWARD_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    ROUND_TRIP_US_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FORWARD_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REPLY_FIELD_NUMBER: _ClassVar[int]
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    started_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    source: Target
    destination: Target
    protocol: str
    live: bool
    five_tuple: Tuple
    verdict: Verdict
    egress: Egress
    snat: SourceNat
    dnat: DestinationNat
    forward: Path
    reply: Path
    round_trip_us: float
    expected_forward: Path
    expected_reply: Path
    accounts: _containers.RepeatedCompositeFieldContainer[Account]
    def __init__(self, id: _Optional[str] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., source: _Optional[_Union[Target, _Mapping]] = ..., destination: _Optional[_Union[Target, _Mapping]] = ..., protocol: _Optional[str] = ..., live: _Optional[bool] = ..., five_tuple: _Optional[_Union[Tuple, _Mapping]] = ..., verdict: _Optional[_Union[Verdict, _Mapping]] = ..., egress: _Optional[_Union[Egress, _Mapping]] = ..., snat: _Optional[_Union[SourceNat, _Mapping]] = ..., dnat: _Optional[_Union[DestinationNat, _Mapping]] = ..., forward: _Optional[_Union[Path, _Mapping]] = ..., reply: _Optional[_Union[Path, _Mapping]] = ..., round_trip_us: _Optional[float] = ..., expected_forward: _Optional[_Union[Path, _Mapping]] = ..., expected_reply: _Optional[_Union[Path, _Mapping]] = ..., accounts: _Optional[_Iterable[_Union[Account, _Mapping]]] = ...) -> None: ...

class Account(_message.Message):
    __slots__ = ("node", "interface", "accepted", "delivered", "lost")
    class Loss(_message.Message):
        __slots__ = ("where", "count")
        WHERE_FIELD_NUMBER: _ClassVar[int]
        COUNT_FIELD_NUMBER: _ClassVar[int]
        where: str
        count: int
        def __init__(self, where: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...
    NODE_FIELD_NUMBER: _ClassVar[int]
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    node: str
    interface: str
    accepted: int
    delivered: int
    lost: _containers.RepeatedCompositeFieldContainer[Account.Loss]
    def __init__(self, node: _Optional[str] = ..., interface: _Optional[str] = ..., accepted: _Optional[int] = ..., delivered: _Optional[int] = ..., lost: _Optional[_Iterable[_Union[Account.Loss, _Mapping]]] = ...) -> None: ...

class Socket(_message.Message):
    __slots__ = ("address", "port")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    address: str
    port: int
    def __init__(self, address: _Optional[str] = ..., port: _Optional[int] = ...) -> None: ...

class Tuple(_message.Message):
    __slots__ = ("protocol", "source", "destination")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    protocol: str
    source: Socket
    destination: Socket
    def __init__(self, protocol: _Optional[str] = ..., source: _Optional[_Union[Socket, _Mapping]] = ..., destination: _Optional[_Union[Socket, _Mapping]] = ...) -> None: ...

class Target(_message.Message):
    __slots__ = ("kind", "name", "node", "address", "port", "host_network")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Target.Kind]
        POD: _ClassVar[Target.Kind]
        NODE: _ClassVar[Target.Kind]
        SERVICE: _ClassVar[Target.Kind]
        ADDRESS: _ClassVar[Target.Kind]
    KIND_UNSPECIFIED: Target.Kind
    POD: Target.Kind
    NODE: Target.Kind
    SERVICE: Target.Kind
    ADDRESS: Target.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    HOST_NETWORK_FIELD_NUMBER: _ClassVar[int]
    kind: Target.Kind
    name: str
    node: str
    address: str
    port: int
    host_network: bool
    def __init__(self, kind: _Optional[_Union[Target.Kind, str]] = ..., name: _Optional[str] = ..., node: _Optional[str] = ..., address: _Optional[str] = ..., port: _Optional[int] = ..., host_network: _Optional[bool] = ...) -> None: ...

class Evidence(_message.Message):
    __slots__ = ("witness", "claim", "source", "at")
    WITNESS_FIELD_NUMBER: _ClassVar[int]
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    witness: Step.Witness
    claim: str
    source: str
    at: _timestamp_pb2.Timestamp
    def __init__(self, witness: _Optional[_Union[Step.Witness, str]] = ..., claim: _Optional[str] = ..., source: _Optional[str] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Cause(_message.Message):
    __slots__ = ("kind", "text")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Cause.Kind]
        PACKET: _ClassVar[Cause.Kind]
        IP_RULE: _ClassVar[Cause.Kind]
        ROUTE: _ClassVar[Cause.Kind]
        NETFILTER_RULE: _ClassVar[Cause.Kind]
        CONNTRACK: _ClassVar[Cause.Kind]
        FABRIC: _ClassVar[Cause.Kind]
    KIND_UNSPECIFIED: Cause.Kind
    PACKET: Cause.Kind
    IP_RULE: Cause.Kind
    ROUTE: Cause.Kind
    NETFILTER_RULE: Cause.Kind
    CONNTRACK: Cause.Kind
    FABRIC: Cause.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    kind: Cause.Kind
    text: str
    def __init__(self, kind: _Optional[_Union[Cause.Kind, str]] = ..., text: _Optional[str] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("action", "before", "after", "cause", "witnesses", "evidence", "interface", "at", "packet")
    class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ACTION_UNSPECIFIED: _ClassVar[Step.Action]
        RECEIVED: _ClassVar[Step.Action]
        SENT: _ClassVar[Step.Action]
        MARKED: _ClassVar[Step.Action]
        ROUTED: _ClassVar[Step.Action]
        TRANSLATED: _ClassVar[Step.Action]
        FORWARDED: _ClassVar[Step.Action]
        DELIVERED: _ClassVar[Step.Action]
        DROPPED: _ClassVar[Step.Action]
        REJECTED: _ClassVar[Step.Action]
        TRACKED: _ClassVar[Step.Action]
    ACTION_UNSPECIFIED: Step.Action
    RECEIVED: Step.Action
    SENT: Step.Action
    MARKED: Step.Action
    ROUTED: Step.Action
    TRANSLATED: Step.Action
    FORWARDED: Step.Action
    DELIVERED: Step.Action
    DROPPED: Step.Action
    REJECTED: Step.Action
    TRACKED: Step.Action
    class Witness(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        WITNESS_UNSPECIFIED: _ClassVar[Step.Witness]
        EXPECTED: _ClassVar[Step.Witness]
        OBSERVED: _ClassVar[Step.Witness]
        RECORDED: _ClassVar[Step.Witness]
        ASSUMED: _ClassVar[Step.Witness]
    WITNESS_UNSPECIFIED: Step.Witness
    EXPECTED: Step.Witness
    OBSERVED: Step.Witness
    RECORDED: Step.Witness
    ASSUMED: Step.Witness
    ACTION_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    WITNESSES_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    PACKET_FIELD_NUMBER: _ClassVar[int]
    action: Step.Action
    before: Tuple
    after: Tuple
    cause: Cause
    witnesses: _containers.RepeatedScalarFieldContainer[Step.Witness]
    evidence: _containers.RepeatedCompositeFieldContainer[Evidence]
    interface: str
    at: _timestamp_pb2.Timestamp
    packet: str
    def __init__(self, action: _Optional[_Union[Step.Action, str]] = ..., before: _Optional[_Union[Tuple, _Mapping]] = ..., after: _Optional[_Union[Tuple, _Mapping]] = ..., cause: _Optional[_Union[Cause, _Mapping]] = ..., witnesses: _Optional[_Iterable[_Union[Step.Witness, str]]] = ..., evidence: _Optional[_Iterable[_Union[Evidence, _Mapping]]] = ..., interface: _Optional[str] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., packet: _Optional[str] = ...) -> None: ...

class Hop(_message.Message):
    __slots__ = ("node", "ingress", "egress", "steps")
    NODE_FIELD_NUMBER: _ClassVar[int]
    INGRESS_FIELD_NUMBER: _ClassVar[int]
    EGRESS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    node: str
    ingress: str
    egress: str
    steps: _containers.RepeatedCompositeFieldContainer[Step]
    def __init__(self, node: _Optional[str] = ..., ingress: _Optional[str] = ..., egress: _Optional[str] = ..., steps: _Optional[_Iterable[_Union[Step, _Mapping]]] = ...) -> None: ...

class Path(_message.Message):
    __slots__ = ("hops",)
    HOPS_FIELD_NUMBER: _ClassVar[int]
    hops: _containers.RepeatedCompositeFieldContainer[Hop]
    def __init__(self, hops: _Optional[_Iterable[_Union[Hop, _Mapping]]] = ...) -> None: ...

class Egress(_message.Message):
    __slots__ = ("node", "interface", "eni_id", "table", "rule", "route")
    NODE_FIELD_NUMBER: _ClassVar[int]
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    ENI_ID_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    node: str
    interface: str
    eni_id: str
    table: str
    rule: str
    route: str
    def __init__(self, node: _Optional[str] = ..., interface: _Optional[str] = ..., eni_id: _Optional[str] = ..., table: _Optional[str] = ..., rule: _Optional[str] = ..., route: _Optional[str] = ...) -> None: ...

class RuleReference(_message.Message):
    __slots__ = ("backend", "table", "chain", "position", "text", "random")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    RANDOM_FIELD_NUMBER: _ClassVar[int]
    backend: str
    table: str
    chain: str
    position: int
    text: str
    random: str
    def __init__(self, backend: _Optional[str] = ..., table: _Optional[str] = ..., chain: _Optional[str] = ..., position: _Optional[int] = ..., text: _Optional[str] = ..., random: _Optional[str] = ...) -> None: ...

class SourceNat(_message.Message):
    __slots__ = ("applied", "original", "translated", "rule", "conntrack")
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_FIELD_NUMBER: _ClassVar[int]
    TRANSLATED_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    CONNTRACK_FIELD_NUMBER: _ClassVar[int]
    applied: bool
    original: Socket
    translated: Socket
    rule: RuleReference
    conntrack: str
    def __init__(self, applied: _Optional[bool] = ..., original: _Optional[_Union[Socket, _Mapping]] = ..., translated: _Optional[_Union[Socket, _Mapping]] = ..., rule: _Optional[_Union[RuleReference, _Mapping]] = ..., conntrack: _Optional[str] = ...) -> None: ...

class DestinationNat(_message.Message):
    __slots__ = ("applied", "original", "translated", "service", "backend_pod", "rule", "conntrack")
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_FIELD_NUMBER: _ClassVar[int]
    TRANSLATED_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    BACKEND_POD_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    CONNTRACK_FIELD_NUMBER: _ClassVar[int]
    applied: bool
    original: Socket
    translated: Socket
    service: str
    backend_pod: str
    rule: RuleReference
    conntrack: str
    def __init__(self, applied: _Optional[bool] = ..., original: _Optional[_Union[Socket, _Mapping]] = ..., translated: _Optional[_Union[Socket, _Mapping]] = ..., service: _Optional[str] = ..., backend_pod: _Optional[str] = ..., rule: _Optional[_Union[RuleReference, _Mapping]] = ..., conntrack: _Optional[str] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("code", "severity", "node", "text", "fix", "evidence")
    class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        severity_unspecified: _ClassVar[Finding.Severity]
        error: _ClassVar[Finding.Severity]
        warning: _ClassVar[Finding.Severity]
        note: _ClassVar[Finding.Severity]
    severity_unspecified: Finding.Severity
    error: Finding.Severity
    warning: Finding.Severity
    note: Finding.Severity
    CODE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    code: str
    severity: Finding.Severity
    node: str
    text: str
    fix: str
    evidence: _containers.RepeatedCompositeFieldContainer[Evidence]
    def __init__(self, code: _Optional[str] = ..., severity: _Optional[_Union[Finding.Severity, str]] = ..., node: _Optional[str] = ..., text: _Optional[str] = ..., fix: _Optional[str] = ..., evidence: _Optional[_Iterable[_Union[Evidence, _Mapping]]] = ...) -> None: ...

class Gap(_message.Message):
    __slots__ = ("node", "part", "why", "decisive")
    NODE_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    DECISIVE_FIELD_NUMBER: _ClassVar[int]
    node: str
    part: str
    why: str
    decisive: bool
    def __init__(self, node: _Optional[str] = ..., part: _Optional[str] = ..., why: _Optional[str] = ..., decisive: _Optional[bool] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("disposition", "reply", "summary", "findings", "gaps")
    class Disposition(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        DISPOSITION_UNSPECIFIED: _ClassVar[Verdict.Disposition]
        DELIVERED: _ClassVar[Verdict.Disposition]
        LEFT_CLUSTER: _ClassVar[Verdict.Disposition]
        DROPPED: _ClassVar[Verdict.Disposition]
        NO_ROUTE: _ClassVar[Verdict.Disposition]
        LOOPED: _ClassVar[Verdict.Disposition]
        REJECTED: _ClassVar[Verdict.Disposition]
        INSUFFICIENT_EVIDENCE: _ClassVar[Verdict.Disposition]
    DISPOSITION_UNSPECIFIED: Verdict.Disposition
    DELIVERED: Verdict.Disposition
    LEFT_CLUSTER: Verdict.Disposition
    DROPPED: Verdict.Disposition
    NO_ROUTE: Verdict.Disposition
    LOOPED: Verdict.Disposition
    REJECTED: Verdict.Disposition
    INSUFFICIENT_EVIDENCE: Verdict.Disposition
    class Reply(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REPLY_UNSPECIFIED: _ClassVar[Verdict.Reply]
        ANSWERED: _ClassVar[Verdict.Reply]
        UNANSWERED: _ClassVar[Verdict.Reply]
        LOST: _ClassVar[Verdict.Reply]
        NOT_SEEN: _ClassVar[Verdict.Reply]
    REPLY_UNSPECIFIED: Verdict.Reply
    ANSWERED: Verdict.Reply
    UNANSWERED: Verdict.Reply
    LOST: Verdict.Reply
    NOT_SEEN: Verdict.Reply
    DISPOSITION_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    disposition: Verdict.Disposition
    reply: Verdict.Reply
    summary: str
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    gaps: _containers.RepeatedCompositeFieldContainer[Gap]
    def __init__(self, disposition: _Optional[_Union[Verdict.Disposition, str]] = ..., reply: _Optional[_Union[Verdict.Reply, str]] = ..., summary: _Optional[str] = ..., findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., gaps: _Optional[_Iterable[_Union[Gap, _Mapping]]] = ...) -> None: ...

class Flow(_message.Message):
    __slots__ = ("five_tuple", "source", "destination", "initiated", "first_seen", "last_seen", "packets_forward", "packets_reply", "egress", "snat", "dnat", "nodes", "evidence")
    FIVE_TUPLE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    INITIATED_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEEN_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_FIELD_NUMBER: _ClassVar[int]
    PACKETS_FORWARD_FIELD_NUMBER: _ClassVar[int]
    PACKETS_REPLY_FIELD_NUMBER: _ClassVar[int]
    EGRESS_FIELD_NUMBER: _ClassVar[int]
    SNAT_FIELD_NUMBER: _ClassVar[int]
    DNAT_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    five_tuple: Tuple
    source: Target
    destination: Target
    initiated: bool
    first_seen: _timestamp_pb2.Timestamp
    last_seen: _timestamp_pb2.Timestamp
    packets_forward: int
    packets_reply: int
    egress: Egress
    snat: SourceNat
    dnat: DestinationNat
    nodes: _containers.RepeatedScalarFieldContainer[str]
    evidence: _containers.RepeatedCompositeFieldContainer[Evidence]
    def __init__(self, five_tuple: _Optional[_Union[Tuple, _Mapping]] = ..., source: _Optional[_Union[Target, _Mapping]] = ..., destination: _Optional[_Union[Target, _Mapping]] = ..., initiated: _Optional[bool] = ..., first_seen: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_seen: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., packets_forward: _Optional[int] = ..., packets_reply: _Optional[int] = ..., egress: _Optional[_Union[Egress, _Mapping]] = ..., snat: _Optional[_Union[SourceNat, _Mapping]] = ..., dnat: _Optional[_Union[DestinationNat, _Mapping]] = ..., nodes: _Optional[_Iterable[str]] = ..., evidence: _Optional[_Iterable[_Union[Evidence, _Mapping]]] = ...) -> None: ...

class Flows(_message.Message):
    __slots__ = ("source", "started_at", "finished_at", "flows", "gaps")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    FLOWS_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    source: Target
    started_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    flows: _containers.RepeatedCompositeFieldContainer[Flow]
    gaps: _containers.RepeatedCompositeFieldContainer[Gap]
    def __init__(self, source: _Optional[_Union[Target, _Mapping]] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., flows: _Optional[_Iterable[_Union[Flow, _Mapping]]] = ..., gaps: _Optional[_Iterable[_Union[Gap, _Mapping]]] = ...) -> None: ...

class Check(_message.Message):
    __slots__ = ("started_at", "finished_at", "nodes", "findings", "gaps")
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    started_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    nodes: _containers.RepeatedCompositeFieldContainer[CheckedNode]
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    gaps: _containers.RepeatedCompositeFieldContainer[Gap]
    def __init__(self, started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., nodes: _Optional[_Iterable[_Union[CheckedNode, _Mapping]]] = ..., findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., gaps: _Optional[_Iterable[_Union[Gap, _Mapping]]] = ...) -> None: ...

class CheckedNode(_message.Message):
    __slots__ = ("node", "read", "pods", "predictions")
    NODE_FIELD_NUMBER: _ClassVar[int]
    READ_FIELD_NUMBER: _ClassVar[int]
    PODS_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    node: str
    read: bool
    pods: int
    predictions: int
    def __init__(self, node: _Optional[str] = ..., read: _Optional[bool] = ..., pods: _Optional[int] = ..., predictions: _Optional[int] = ...) -> None: ...
