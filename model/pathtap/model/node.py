"""What one node's kernel says of its own forwarding, at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from pathtap.model.address import Address, InterfaceAddress, Network
from pathtap.model.netfilter import RuleSet

MAIN_TABLE = 254
LOCAL_TABLE = 255
DEFAULT_TABLE = 253
TABLE_NAMES = {MAIN_TABLE: "main", LOCAL_TABLE: "local", DEFAULT_TABLE: "default"}


def table_name(table: int) -> str:
    """The name `ip rule` prints: `main`, `local`, `default`, else the number."""
    return TABLE_NAMES.get(table, str(table))


class Role(Enum):
    """What an interface is to the VPC CNI, found by ENI ownership, veth peer and address, never by its name alone."""

    PRIMARY_ENI = "primary ENI"
    SECONDARY_ENI = "secondary ENI"
    BRANCH_ENI = "branch ENI"
    POD_VETH = "pod veth"
    LOOPBACK = "loopback"
    OTHER = "other"

    @property
    def is_eni(self) -> bool:
        return self in (Role.PRIMARY_ENI, Role.SECONDARY_ENI, Role.BRANCH_ENI)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A link. `eni_id` is empty where it is no ENI or its id is unknown; `pod_addresses` are those routed to a pod veth."""

    index: int
    name: str
    role: Role
    mac: str
    mtu: int
    up: bool
    addresses: tuple[InterfaceAddress, ...] = ()
    pod_addresses: tuple[Address, ...] = ()
    eni_id: str = ""
    # Addresses the VPC delivers to this ENI (its own and its pods'), as IMDS or ipamd say; empty where neither answered.
    eni_addresses: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRange:
    first: int
    last: int

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last


class RuleAction(Enum):
    """FR_ACT_* of linux/fib_rules.h."""

    LOOKUP = "lookup"
    GOTO = "goto"
    NOP = "nop"
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"
    PROHIBIT = "prohibit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One `ip rule`. An absent selector is None and matches everything. `unmodelled` names selectors we cannot evaluate."""

    family: int
    priority: int
    source: Network | None = None
    destination: Network | None = None
    in_interface: str | None = None
    out_interface: str | None = None
    mark: int | None = None
    mask: int = 0xFFFFFFFF
    tos: int = 0
    ip_protocol: int | None = None
    source_ports: PortRange | None = None
    destination_ports: PortRange | None = None
    inverted: bool = False
    action: RuleAction = RuleAction.LOOKUP
    table: int = 0
    goto: int | None = None
    suppress_prefix_length: int | None = None
    unmodelled: tuple[str, ...] = ()
    # As `ip rule` prints it, without the priority: `from all fwmark 0x80/0x80 lookup main`.
    text: str


class RouteKind(Enum):
    """RTN_* of linux/rtnetlink.h."""

    UNICAST = "unicast"
    LOCAL = "local"
    BROADCAST = "broadcast"
    ANYCAST = "anycast"
    MULTICAST = "multicast"
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"
    PROHIBIT = "prohibit"
    THROW = "throw"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class NextHop:
    interface: str
    gateway: Address | None = None
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    family: int
    table: int
    destination: Network
    kind: RouteKind = RouteKind.UNICAST
    scope: int = 0
    metric: int = 0
    tos: int = 0
    preferred_source: Address | None = None
    next_hops: tuple[NextHop, ...] = ()
    # As `ip route` prints it: `default via 192.168.1.1 dev eth0`.
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """`state` is the kernel's word in lower case: permanent, reachable, stale, failed …"""

    interface: str
    address: Address
    mac: str | None
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteAnswer:
    """What the kernel's own FIB lookup says (RTM_GETROUTE with RTM_F_FIB_MATCH); it never names the ip rule.

    `error` holds the kernel's refusal (EINVAL, EXDEV, EHOSTUNREACH …) and is empty where a route was found.
    """

    table: int = 0
    interface: str = ""
    gateway: Address | None = None
    route: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CniSettings:
    """What the VPC CNI of this node was told to do (ipamd's networkutils-env-settings); the intent, not the effect.

    `randomize` is AWS_VPC_K8S_CNI_RANDOMIZESNAT as ipamd counts it: 0 none, 1 hashrandom, 2 prng.
    """

    external_snat: bool = False
    node_port_support: bool = True
    connmark: int = 0x80
    randomize: int = 2
    excluded_networks: tuple[Network, ...] = ()
    veth_prefix: str = "eni"


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressPlugin:
    """What the node's CNI configuration tells the egress-cni plugin, which gives pods addresses of the other IP version.

    `randomize` is its randomizeSNAT, counted as in CniSettings; `path` is the file that says so.
    """

    enabled: bool
    randomize: int = 2
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TcProgram:
    """What may take an interface's packets beside netfilter. `hook` is ingress or egress, as tc sees it (what leaves a pod
    is ingress on the host's end of its veth), or xdp. `kind` is a classifier's on the clsact qdisc (bpf, flower, u32 …), tcx,
    or xdp; `name` and `id` are a BPF program's, empty and 0 where it is none or the kernel did not tell.
    """

    interface: str
    hook: str
    kind: str
    name: str = ""
    id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IpSet:
    """A set of the ipset module, which `-m set` asks. `kind` is its type (`hash:net`, `hash:ip,port` …), `family` 4, 6 or,
    for a type of neither, 0; `elements` as `ipset save` prints them without options, but with ` nomatch` and ` wildcard`
    behind those that have it, ICMP as numbers (`icmp:8/0`) and a set's netmask as the prefix of each address; None where
    the set is too large to be read.
    """

    name: str
    kind: str
    family: int
    elements: tuple[str, ...] | None = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PodInterior:
    """A pod's own end, as seen from inside its network namespace: its interfaces, routes, rules and neighbours.

    `address` is the one it was asked for by. `unread` holds the reason where the namespace was not found or entered.
    """

    address: Address
    interfaces: tuple[Interface, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    unread: tuple["Unread", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A part of the node that could not be read, and why. `part` is the reader's name: rules, nat (iptables-legacy) …"""

    part: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSnapshot:
    """A node as its agent read it. `boot_id` is drawn at each start of the agent, not the kernel's."""

    node: str
    boot_id: str
    taken_at: int
    kernel: str = ""
    interfaces: tuple[Interface, ...] = ()
    rules: tuple[Rule, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    # By dotted name: `net.ipv4.conf.eth0.rp_filter` → `2`.
    sysctls: Mapping[str, str] = field(default_factory=dict)
    rule_sets: tuple[RuleSet, ...] = ()
    ip_sets: tuple[IpSet, ...] = ()
    programs: tuple[TcProgram, ...] = ()
    # Of the kernel since its start: `TcpExtIPReversePathFilter`, `conntrack.insert_failed` (the sum over CPUs) …
    counters: Mapping[str, int] = field(default_factory=dict)
    # The pods that were asked for; reading inside one takes milliseconds.
    interiors: tuple[PodInterior, ...] = ()
    # None where ipamd did not tell.
    settings: CniSettings | None = None
    # None where there is no such plugin, or nobody read whether: `unread` then says so.
    egress_plugin: EgressPlugin | None = None
    # The VPC's CIDR blocks, as IMDS says; empty where it did not tell.
    vpc_networks: tuple[Network, ...] = ()
    unread: tuple[Unread, ...] = ()

    def interface(self, name: str) -> Interface | None:
        return next((interface for interface in self.interfaces if interface.name == name), None)

    def addresses(self) -> frozenset[Address]:
        """Every address that is the node's own."""
        return frozenset(address.ip for interface in self.interfaces for address in interface.addresses)

    def could_not_read(self, part: str) -> str | None:
        """The reason why `part` was not read, or None."""
        return next((unread.reason for unread in self.unread if unread.part == part), None)
