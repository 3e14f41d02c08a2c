import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Prefix(_message.Message):
    __slots__ = ("address", "length")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    address: bytes
    length: int
    def __init__(self, address: _Optional[bytes] = ..., length: _Optional[int] = ...) -> None: ...

class FiveTuple(_message.Message):
    __slots__ = ("protocol", "source", "source_port", "destination", "destination_port")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_PORT_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_PORT_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    def __init__(self, protocol: _Optional[int] = ..., source: _Optional[bytes] = ..., source_port: _Optional[int] = ..., destination: _Optional[bytes] = ..., destination_port: _Optional[int] = ...) -> None: ...

class Interface(_message.Message):
    __slots__ = ("index", "name", "role", "mac", "mtu", "up", "addresses", "pod_addresses", "eni_id", "eni_addresses")
    class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ROLE_UNSPECIFIED: _ClassVar[Interface.Role]
        PRIMARY_ENI: _ClassVar[Interface.Role]
        SECONDARY_ENI: _ClassVar[Interface.Role]
        BRANCH_ENI: _ClassVar[Interface.Role]
        POD_VETH: _ClassVar[Interface.Role]
        LOOPBACK: _ClassVar[Interface.Role]
        OTHER: _ClassVar[Interface.Role]
    ROLE_UNSPECIFIED: Interface.Role
    PRIMARY_ENI: Interface.Role
    SECONDARY_ENI: Interface.Role
    BRANCH_ENI: Interface.Role
    POD_VETH: Interface.Role
    LOOPBACK: Interface.Role
    OTHER: Interface.Role
    INDEX_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    MTU_FIELD_NUMBER: _ClassVar[int]
    UP_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    POD_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    ENI_ID_FIELD_NUMBER: _ClassVar[int]
    ENI_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    index: int
    name: str
    role: Interface.Role
    mac: str
    mtu: int
    up: bool
    addresses: _containers.RepeatedCompositeFieldContainer[Prefix]
    pod_addresses: _containers.RepeatedScalarFieldContainer[bytes]
    eni_id: str
    eni_addresses: _containers.RepeatedCompositeFieldContainer[Prefix]
    def __init__(self, index: _Optional[int] = ..., name: _Optional[str] = ..., role: _Optional[_Union[Interface.Role, str]] = ..., mac: _Optional[str] = ..., mtu: _Optional[int] = ..., up: _Optional[bool] = ..., addresses: _Optional[_Iterable[_Union[Prefix, _Mapping]]] = ..., pod_addresses: _Optional[_Iterable[bytes]] = ..., eni_id: _Optional[str] = ..., eni_addresses: _Optional[_Iterable[_Union[Prefix, _Mapping]]] = ...) -> None: ...

class PortRange(_message.Message):
    __slots__ = ("first", "last")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    first: int
    last: int
    def __init__(self, first: _Optional[int] = ..., last: _Optional[int] = ...) -> None: ...

class Rule(_message.Message):
    __slots__ = ("family", "priority", "source", "destination", "in_interface", "out_interface", "mark", "mask", "tos", "ip_protocol", "source_ports", "destination_ports", "inverted", "action", "table", "goto", "suppress_prefix_length", "unmodelled", "text")
    class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ACTION_UNSPECIFIED: _ClassVar[Rule.Action]
        LOOKUP: _ClassVar[Rule.Action]
        GOTO: _ClassVar[Rule.Action]
        NOP: _ClassVar[Rule.Action]
        BLACKHOLE: _ClassVar[Rule.Action]
        UNREACHABLE: _ClassVar[Rule.Action]
        PROHIBIT: _ClassVar[Rule.Action]
    ACTION_UNSPECIFIED: Rule.Action
    LOOKUP: Rule.Action
    GOTO: Rule.Action
    NOP: Rule.Action
    BLACKHOLE: Rule.Action
    UNREACHABLE: Rule.Action
    PROHIBIT: Rule.Action
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    IN_INTERFACE_FIELD_NUMBER: _ClassVar[int]
    OUT_INTERFACE_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    TOS_FIELD_NUMBER: _ClassVar[int]
    IP_PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_PORTS_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_PORTS_FIELD_NUMBER: _ClassVar[int]
    INVERTED_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    GOTO_FIELD_NUMBER: _ClassVar[int]
    SUPPRESS_PREFIX_LENGTH_FIELD_NUMBER: _ClassVar[int]
    UNMODELLED_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    family: int
    priority: int
    source: Prefix
    destination: Prefix
    in_interface: str
    out_interface: str
    mark: int
    mask: int
    tos: int
    ip_protocol: int
    source_ports: PortRange
    destination_ports: PortRange
    inverted: bool
    action: Rule.Action
    table: int
    goto: int
    suppress_prefix_length: int
    unmodelled: _containers.RepeatedScalarFieldContainer[str]
    text: str
    def __init__(self, family: _Optional[int] = ..., priority: _Optional[int] = ..., source: _Optional[_Union[Prefix, _Mapping]] = ..., destination: _Optional[_Union[Prefix, _Mapping]] = ..., in_interface: _Optional[str] = ..., out_interface: _Optional[str] = ..., mark: _Optional[int] = ..., mask: _Optional[int] = ..., tos: _Optional[int] = ..., ip_protocol: _Optional[int] = ..., source_ports: _Optional[_Union[PortRange, _Mapping]] = ..., destination_ports: _Optional[_Union[PortRange, _Mapping]] = ..., inverted: _Optional[bool] = ..., action: _Optional[_Union[Rule.Action, str]] = ..., table: _Optional[int] = ..., goto: _Optional[int] = ..., suppress_prefix_length: _Optional[int] = ..., unmodelled: _Optional[_Iterable[str]] = ..., text: _Optional[str] = ...) -> None: ...

class NextHop(_message.Message):
    __slots__ = ("interface", "gateway", "weight")
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    interface: str
    gateway: bytes
    weight: int
    def __init__(self, interface: _Optional[str] = ..., gateway: _Optional[bytes] = ..., weight: _Optional[int] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("table", "destination", "kind", "scope", "metric", "tos", "preferred_source", "next_hops", "text")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Route.Kind]
        UNICAST: _ClassVar[Route.Kind]
        LOCAL: _ClassVar[Route.Kind]
        BROADCAST: _ClassVar[Route.Kind]
        ANYCAST: _ClassVar[Route.Kind]
        MULTICAST: _ClassVar[Route.Kind]
        BLACKHOLE: _ClassVar[Route.Kind]
        UNREACHABLE: _ClassVar[Route.Kind]
        PROHIBIT: _ClassVar[Route.Kind]
        THROW: _ClassVar[Route.Kind]
        OTHER: _ClassVar[Route.Kind]
    KIND_UNSPECIFIED: Route.Kind
    UNICAST: Route.Kind
    LOCAL: Route.Kind
    BROADCAST: Route.Kind
    ANYCAST: Route.Kind
    MULTICAST: Route.Kind
    BLACKHOLE: Route.Kind
    UNREACHABLE: Route.Kind
    PROHIBIT: Route.Kind
    THROW: Route.Kind
    OTHER: Route.Kind
    TABLE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    TOS_FIELD_NUMBER: _ClassVar[int]
    PREFERRED_SOURCE_FIELD_NUMBER: _ClassVar[int]
    NEXT_HOPS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    table: int
    destination: Prefix
    kind: Route.Kind
    scope: int
    metric: int
    tos: int
    preferred_source: bytes
    next_hops: _containers.RepeatedCompositeFieldContainer[NextHop]
    text: str
    def __init__(self, table: _Optional[int] = ..., destination: _Optional[_Union[Prefix, _Mapping]] = ..., kind: _Optional[_Union[Route.Kind, str]] = ..., scope: _Optional[int] = ..., metric: _Optional[int] = ..., tos: _Optional[int] = ..., preferred_source: _Optional[bytes] = ..., next_hops: _Optional[_Iterable[_Union[NextHop, _Mapping]]] = ..., text: _Optional[str] = ...) -> None: ...

class Neighbour(_message.Message):
    __slots__ = ("interface", "address", "mac", "state")
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    interface: str
    address: bytes
    mac: str
    state: str
    def __init__(self, interface: _Optional[str] = ..., address: _Optional[bytes] = ..., mac: _Optional[str] = ..., state: _Optional[str] = ...) -> None: ...

class NetfilterRule(_message.Message):
    __slots__ = ("position", "text", "expression", "packets", "bytes")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    EXPRESSION_FIELD_NUMBER: _ClassVar[int]
    PACKETS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    position: int
    text: str
    expression: str
    packets: int
    bytes: int
    def __init__(self, position: _Optional[int] = ..., text: _Optional[str] = ..., expression: _Optional[str] = ..., packets: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class Chain(_message.Message):
    __slots__ = ("name", "rules", "hook", "kind", "priority", "policy", "device")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    HOOK_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    name: str
    rules: _containers.RepeatedCompositeFieldContainer[NetfilterRule]
    hook: str
    kind: str
    priority: int
    policy: str
    device: str
    def __init__(self, name: _Optional[str] = ..., rules: _Optional[_Iterable[_Union[NetfilterRule, _Mapping]]] = ..., hook: _Optional[str] = ..., kind: _Optional[str] = ..., priority: _Optional[int] = ..., policy: _Optional[str] = ..., device: _Optional[str] = ...) -> None: ...

class RuleSet(_message.Message):
    __slots__ = ("backend", "family", "table", "chains", "objects", "read_by", "saved")
    class Backend(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        BACKEND_UNSPECIFIED: _ClassVar[RuleSet.Backend]
        LEGACY: _ClassVar[RuleSet.Backend]
        NFT: _ClassVar[RuleSet.Backend]
        NFTABLES: _ClassVar[RuleSet.Backend]
    BACKEND_UNSPECIFIED: RuleSet.Backend
    LEGACY: RuleSet.Backend
    NFT: RuleSet.Backend
    NFTABLES: RuleSet.Backend
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    CHAINS_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    READ_BY_FIELD_NUMBER: _ClassVar[int]
    SAVED_FIELD_NUMBER: _ClassVar[int]
    backend: RuleSet.Backend
    family: str
    table: str
    chains: _containers.RepeatedCompositeFieldContainer[Chain]
    objects: str
    read_by: str
    saved: str
    def __init__(self, backend: _Optional[_Union[RuleSet.Backend, str]] = ..., family: _Optional[str] = ..., table: _Optional[str] = ..., chains: _Optional[_Iterable[_Union[Chain, _Mapping]]] = ..., objects: _Optional[str] = ..., read_by: _Optional[str] = ..., saved: _Optional[str] = ...) -> None: ...

class Unread(_message.Message):
    __slots__ = ("part", "reason")
    PART_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    part: str
    reason: str
    def __init__(self, part: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class NodeSnapshot(_message.Message):
    __slots__ = ("node", "boot_id", "taken_at", "kernel", "interfaces", "rules", "routes", "neighbours", "sysctls", "rule_sets", "unread", "ip_sets", "programs", "counters", "interiors", "settings", "vpc_networks", "egress_plugin")
    class SysctlsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class CountersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NODE_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    TAKEN_AT_FIELD_NUMBER: _ClassVar[int]
    KERNEL_FIELD_NUMBER: _ClassVar[int]
    INTERFACES_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    SYSCTLS_FIELD_NUMBER: _ClassVar[int]
    RULE_SETS_FIELD_NUMBER: _ClassVar[int]
    UNREAD_FIELD_NUMBER: _ClassVar[int]
    IP_SETS_FIELD_NUMBER: _ClassVar[int]
    PROGRAMS_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    INTERIORS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    VPC_NETWORKS_FIELD_NUMBER: _ClassVar[int]
    EGRESS_PLUGIN_FIELD_NUMBER: _ClassVar[int]
    node: str
    boot_id: str
    taken_at: _timestamp_pb2.Timestamp
    kernel: str
    interfaces: _containers.RepeatedCompositeFieldContainer[Interface]
    rules: _containers.RepeatedCompositeFieldContainer[Rule]
    routes: _containers.RepeatedCompositeFieldContainer[Route]
    neighbours: _containers.RepeatedCompositeFieldContainer[Neighbour]
    sysctls: _containers.ScalarMap[str, str]
    rule_sets: _containers.RepeatedCompositeFieldContainer[RuleSet]
    unread: _containers.RepeatedCompositeFieldContainer[Unread]
    ip_sets: _containers.RepeatedCompositeFieldContainer[IpSet]
    programs: _containers.RepeatedCompositeFieldContainer[TcProgram]
    counters: _containers.ScalarMap[str, int]
    interiors: _containers.RepeatedCompositeFieldContainer[PodInterior]
    settings: CniSettings
    vpc_networks: _containers.RepeatedCompositeFieldContainer[Prefix]
    egress_plugin: EgressPlugin
    def __init__(self, node: _Optional[str] = ..., boot_id: _Optional[str] = ..., taken_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., kernel: _Optional[str] = ..., interfaces: _Optional[_Iterable[_Union[Interface, _Mapping]]] = ..., rules: _Optional[_Iterable[_Union[Rule, _Mapping]]] = ..., routes: _Optional[_Iterable[_Union[Route, _Mapping]]] = ..., neighbours: _Optional[_Iterable[_Union[Neighbour, _Mapping]]] = ..., sysctls: _Optional[_Mapping[str, str]] = ..., rule_sets: _Optional[_Iterable[_Union[RuleSet, _Mapping]]] = ..., unread: _Optional[_Iterable[_Union[Unread, _Mapping]]] = ..., ip_sets: _Optional[_Iterable[_Union[IpSet, _Mapping]]] = ..., programs: _Optional[_Iterable[_Union[TcProgram, _Mapping]]] = ..., counters: _Optional[_Mapping[str, int]] = ..., interiors: _Optional[_Iterable[_Union[PodInterior, _Mapping]]] = ..., settings: _Optional[_Union[CniSettings, _Mapping]] = ..., vpc_networks: _Optional[_Iterable[_Union[Prefix, _Mapping]]] = ..., egress_plugin: _Optional[_Union[EgressPlugin, _Mapping]] = ...) -> None: ...

class IpSet(_message.Message):
    __slots__ = ("name", "kind", "family", "elements", "too_large")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    ELEMENTS_FIELD_NUMBER: _ClassVar[int]
    TOO_LARGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    family: int
    elements: _containers.RepeatedScalarFieldContainer[str]
    too_large: bool
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., family: _Optional[int] = ..., elements: _Optional[_Iterable[str]] = ..., too_large: _Optional[bool] = ...) -> None: ...

class TcProgram(_message.Message):
    __slots__ = ("interface", "hook", "kind", "name", "id")
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    HOOK_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    interface: str
    hook: str
    kind: str
    name: str
    id: int
    def __init__(self, interface: _Optional[str] = ..., hook: _Optional[str] = ..., kind: _Optional[str] = ..., name: _Optional[str] = ..., id: _Optional[int] = ...) -> None: ...

class PodInterior(_message.Message):
    __slots__ = ("address", "interfaces", "routes", "neighbours", "unread")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    INTERFACES_FIELD_NUMBER: _ClassVar[int]
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOURS_FIELD_NUMBER: _ClassVar[int]
    UNREAD_FIELD_NUMBER: _ClassVar[int]
    address: bytes
    interfaces: _containers.RepeatedCompositeFieldContainer[Interface]
    routes: _containers.RepeatedCompositeFieldContainer[Route]
    neighbours: _containers.RepeatedCompositeFieldContainer[Neighbour]
    unread: _containers.RepeatedCompositeFieldContainer[Unread]
    def __init__(self, address: _Optional[bytes] = ..., interfaces: _Optional[_Iterable[_Union[Interface, _Mapping]]] = ..., routes: _Optional[_Iterable[_Union[Route, _Mapping]]] = ..., neighbours: _Optional[_Iterable[_Union[Neighbour, _Mapping]]] = ..., unread: _Optional[_Iterable[_Union[Unread, _Mapping]]] = ...) -> None: ...

class CniSettings(_message.Message):
    __slots__ = ("external_snat", "node_port_support", "connmark", "randomize", "excluded_networks", "veth_prefix")
    EXTERNAL_SNAT_FIELD_NUMBER: _ClassVar[int]
    NODE_PORT_SUPPORT_FIELD_NUMBER: _ClassVar[int]
    CONNMARK_FIELD_NUMBER: _ClassVar[int]
    RANDOMIZE_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_NETWORKS_FIELD_NUMBER: _ClassVar[int]
    VETH_PREFIX_FIELD_NUMBER: _ClassVar[int]
    external_snat: bool
    node_port_support: bool
    connmark: int
    randomize: int
    excluded_networks: _containers.RepeatedCompositeFieldContainer[Prefix]
    veth_prefix: str
    def __init__(self, external_snat: _Optional[bool] = ..., node_port_support: _Optional[bool] = ..., connmark: _Optional[int] = ..., randomize: _Optional[int] = ..., excluded_networks: _Optional[_Iterable[_Union[Prefix, _Mapping]]] = ..., veth_prefix: _Optional[str] = ...) -> None: ...

class EgressPlugin(_message.Message):
    __slots__ = ("enabled", "randomize", "path")
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    RANDOMIZE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    randomize: int
    path: str
    def __init__(self, enabled: _Optional[bool] = ..., randomize: _Optional[int] = ..., path: _Optional[str] = ...) -> None: ...

class ConntrackEntry(_message.Message):
    __slots__ = ("original", "reply", "zone", "mark", "status", "tcp_state", "timeout")
    ORIGINAL_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TCP_STATE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    original: FiveTuple
    reply: FiveTuple
    zone: int
    mark: int
    status: _containers.RepeatedScalarFieldContainer[str]
    tcp_state: str
    timeout: int
    def __init__(self, original: _Optional[_Union[FiveTuple, _Mapping]] = ..., reply: _Optional[_Union[FiveTuple, _Mapping]] = ..., zone: _Optional[int] = ..., mark: _Optional[int] = ..., status: _Optional[_Iterable[str]] = ..., tcp_state: _Optional[str] = ..., timeout: _Optional[int] = ...) -> None: ...

class RouteAnswer(_message.Message):
    __slots__ = ("table", "interface", "gateway", "route", "error")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    INTERFACE_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    ROUTE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    table: int
    interface: str
    gateway: bytes
    route: str
    error: str
    def __init__(self, table: _Optional[int] = ..., interface: _Optional[str] = ..., gateway: _Optional[bytes] = ..., route: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...
