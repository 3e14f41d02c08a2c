import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from pathtap.v1 import node_pb2 as _node_pb2
from pathtap.v1 import snat_pb2 as _snat_pb2
from pathtap.v1 import trace_pb2 as _trace_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TraceRequest(_message.Message):
    __slots__ = ("source", "destination", "namespace", "protocol", "port", "live", "count", "timeout_ms", "size")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    source: str
    destination: str
    namespace: str
    protocol: int
    port: int
    live: bool
    count: int
    timeout_ms: int
    size: int
    def __init__(self, source: _Optional[str] = ..., destination: _Optional[str] = ..., namespace: _Optional[str] = ..., protocol: _Optional[int] = ..., port: _Optional[int] = ..., live: _Optional[bool] = ..., count: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., size: _Optional[int] = ...) -> None: ...

class TraceResponse(_message.Message):
    __slots__ = ("progress", "trace")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    progress: str
    trace: _trace_pb2.Trace
    def __init__(self, progress: _Optional[str] = ..., trace: _Optional[_Union[_trace_pb2.Trace, _Mapping]] = ...) -> None: ...

class CheckRequest(_message.Message):
    __slots__ = ("nodes",)
    NODES_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, nodes: _Optional[_Iterable[str]] = ...) -> None: ...

class CheckResponse(_message.Message):
    __slots__ = ("progress", "check")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    CHECK_FIELD_NUMBER: _ClassVar[int]
    progress: str
    check: _trace_pb2.Check
    def __init__(self, progress: _Optional[str] = ..., check: _Optional[_Union[_trace_pb2.Check, _Mapping]] = ...) -> None: ...

class SnatRequest(_message.Message):
    __slots__ = ("source", "destination", "namespace", "protocol", "port", "connections", "live", "timeout_ms", "all")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    source: str
    destination: str
    namespace: str
    protocol: int
    port: int
    connections: int
    live: bool
    timeout_ms: int
    all: bool
    def __init__(self, source: _Optional[str] = ..., destination: _Optional[str] = ..., namespace: _Optional[str] = ..., protocol: _Optional[int] = ..., port: _Optional[int] = ..., connections: _Optional[int] = ..., live: _Optional[bool] = ..., timeout_ms: _Optional[int] = ..., all: _Optional[bool] = ...) -> None: ...

class SnatResponse(_message.Message):
    __slots__ = ("progress", "snat", "table")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    SNAT_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    progress: str
    snat: _snat_pb2.Snat
    table: _snat_pb2.SnatTable
    def __init__(self, progress: _Optional[str] = ..., snat: _Optional[_Union[_snat_pb2.Snat, _Mapping]] = ..., table: _Optional[_Union[_snat_pb2.SnatTable, _Mapping]] = ...) -> None: ...

class ListFlowsRequest(_message.Message):
    __slots__ = ("source", "namespace", "timeout_ms")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    source: str
    namespace: str
    timeout_ms: int
    def __init__(self, source: _Optional[str] = ..., namespace: _Optional[str] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class ListFlowsResponse(_message.Message):
    __slots__ = ("progress", "flows")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    FLOWS_FIELD_NUMBER: _ClassVar[int]
    progress: str
    flows: _trace_pb2.Flows
    def __init__(self, progress: _Optional[str] = ..., flows: _Optional[_Union[_trace_pb2.Flows, _Mapping]] = ...) -> None: ...

class ListNodesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListNodesResponse(_message.Message):
    __slots__ = ("nodes", "unread")
    NODES_FIELD_NUMBER: _ClassVar[int]
    UNREAD_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[NodeStatus]
    unread: _containers.RepeatedCompositeFieldContainer[_node_pb2.Unread]
    def __init__(self, nodes: _Optional[_Iterable[_Union[NodeStatus, _Mapping]]] = ..., unread: _Optional[_Iterable[_Union[_node_pb2.Unread, _Mapping]]] = ...) -> None: ...

class NodeStatus(_message.Message):
    __slots__ = ("node", "connected", "version", "kernel", "connected_at", "interfaces", "unread", "losses", "in_inventory", "rules", "accepted", "delivered")
    class NodeInterface(_message.Message):
        __slots__ = ("name", "role", "eni_id", "addresses")
        NAME_FIELD_NUMBER: _ClassVar[int]
        ROLE_FIELD_NUMBER: _ClassVar[int]
        ENI_ID_FIELD_NUMBER: _ClassVar[int]
        ADDRESSES_FIELD_NUMBER: _ClassVar[int]
        name: str
        role: str
        eni_id: str
        addresses: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, name: _Optional[str] = ..., role: _Optional[str] = ..., eni_id: _Optional[str] = ..., addresses: _Optional[_Iterable[str]] = ...) -> None: ...
    class Loss(_message.Message):
        __slots__ = ("where", "count")
        WHERE_FIELD_NUMBER: _ClassVar[int]
        COUNT_FIELD_NUMBER: _ClassVar[int]
        where: str
        count: int
        def __init__(self, where: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...
    NODE_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_AT_FIELD_NUMBER: _ClassVar[int]
    INTERFACES_FIELD_NUMBER: _ClassVar[int]
    UNREAD_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    IN_INVENTORY_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    node: str
    connected: bool
    version: str
    kernel: str
    connected_at: _timestamp_pb2.Timestamp
    interfaces: _containers.RepeatedCompositeFieldContainer[NodeStatus.NodeInterface]
    unread: _containers.RepeatedCompositeFieldContainer[_node_pb2.Unread]
    losses: _containers.RepeatedCompositeFieldContainer[NodeStatus.Loss]
    in_inventory: bool
    rules: _containers.RepeatedCompositeFieldContainer[RulesRead]
    accepted: int
    delivered: int
    def __init__(self, node: _Optional[str] = ..., connected: _Optional[bool] = ..., version: _Optional[str] = ..., kernel: _Optional[str] = ..., connected_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., interfaces: _Optional[_Iterable[_Union[NodeStatus.NodeInterface, _Mapping]]] = ..., unread: _Optional[_Iterable[_Union[_node_pb2.Unread, _Mapping]]] = ..., losses: _Optional[_Iterable[_Union[NodeStatus.Loss, _Mapping]]] = ..., in_inventory: _Optional[bool] = ..., rules: _Optional[_Iterable[_Union[RulesRead, _Mapping]]] = ..., accepted: _Optional[int] = ..., delivered: _Optional[int] = ...) -> None: ...

class RulesRead(_message.Message):
    __slots__ = ("table", "read_by", "rules")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    READ_BY_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    table: str
    read_by: str
    rules: int
    def __init__(self, table: _Optional[str] = ..., read_by: _Optional[str] = ..., rules: _Optional[int] = ...) -> None: ...

class ListNamesRequest(_message.Message):
    __slots__ = ("prefix", "namespace")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    namespace: str
    def __init__(self, prefix: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class ListNamesResponse(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...
