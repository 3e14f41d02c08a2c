"""One node as its inspections see it: the snapshot, its model, its own pods and what follows from them.

Knows what the VPC CNI writes where; judges nothing. What nobody told is None or empty, and the inspections then say less.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address, ip_network

from pathtap.collector.cluster.inventory import FINISHED, Inventory
from pathtap.forwarding.node import NodeModel
from pathtap.forwarding.packet import Packet
from pathtap.model.address import EGRESS_CNI, Address, FiveTuple, Network, Protocol
from pathtap.model.inventory import Pod
from pathtap.model.node import (
    DEFAULT_TABLE,
    LOCAL_TABLE,
    MAIN_TABLE,
    CniSettings,
    Interface,
    NodeSnapshot,
    PodInterior,
    Role,
    Route,
    RouteKind,
    Rule,
    RuleAction,
)
from pathtap.model.trace import Evidence, Witness

# Priorities of the VPC CNI's ip rules (pkg/networkutils/network.go, cmd/routed-eni-cni-plugin/driver).
TO_POD, FROM_MARK, EXTERNAL_SERVICES, FROM_POD, FROM_ENI = 512, 1024, 1535, 1536, 32765
# Branch ENIs' tables are 100 + VLAN id (security groups for pods).
BRANCH_TABLES = range(101, 100 + 4095)
KERNELS_TABLES = (MAIN_TABLE, LOCAL_TABLE, DEFAULT_TABLE)
BRANCH_VETH = "vlan"
HASH_LENGTH = 11
# Addresses that lie in nobody's VPC (RFC 5737), and two of the internet for nodes that exclude those from SNAT.
FAR_AWAY = tuple(map(ip_address, ("198.51.100.8", "203.0.113.8", "192.0.2.8", "1.1.1.1", "9.9.9.9")))
# Pods have IPv6 addresses of the VPC's own, which are never translated.
FAR_AWAY_IPV6 = ip_address("2606:4700:4700::1111")
CLIENT_PORT, HTTPS = 50_000, 443
NETFILTER_PART = re.compile(r"legacy|nft")


@dataclass(frozen=True)
class NodeView:
    """`pods` are the node's own that run and have a network of their own, by address; those on their way in or out are not."""

    snapshot: NodeSnapshot
    model: NodeModel
    inventory: Inventory
    pods: Mapping[Address, Pod] = field(default_factory=dict)

    @property
    def node(self) -> str:
        return self.snapshot.node

    @property
    def settings(self) -> CniSettings | None:
        return self.snapshot.settings

    def was_read(self, *parts: str) -> bool:
        return all(self.snapshot.could_not_read(part) is None for part in parts)

    @cached_property
    def netfilter_was_read(self) -> bool:
        return not any(NETFILTER_PART.search(unread.part) for unread in self.snapshot.unread)

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        return self.snapshot.rules

    @cached_property
    def primary(self) -> Interface | None:
        """By its role, else the one that holds the node's own address, whatever its routes have become."""
        known = next((each for each in self.snapshot.interfaces if each.role is Role.PRIMARY_ENI), None)
        node = self.inventory.nodes.get(self.node)
        own = node.addresses if node else ()
        return known or next((i for i in self.snapshot.interfaces if any(a.ip in own for a in i.addresses)), None)

    @cached_property
    def connmark(self) -> int:
        """The CNI's mark: its setting, else that of an ip rule 1024, else the default."""
        if self.settings is not None:
            return self.settings.connmark
        marks = (rule.mark for rule in self.rules if rule.priority == FROM_MARK and rule.mark)
        return next(marks, None) or CniSettings().connmark

    def owner(self, address: Address) -> Interface | None:
        """The ENI that has the address by the word of IMDS or ipamd; None where neither told."""
        return next(
            (each for each in self.snapshot.interfaces if any(address in network for network in each.eni_addresses)),
            None,
        )

    @cached_property
    def veths(self) -> Mapping[Address, tuple[Interface, ...]]:
        """The links that each single address is routed to without a gateway, by any table."""
        found: dict[Address, list[Interface]] = {}
        for route in self.snapshot.routes:
            single = route.kind is RouteKind.UNICAST and route.destination.prefixlen == route.destination.max_prefixlen
            for hop in route.next_hops if single else ():
                link = self.snapshot.interface(hop.interface)
                if hop.gateway is None and link is not None and not link.role.is_eni:
                    found.setdefault(route.destination.network_address, []).append(link)
        return {address: tuple(dict.fromkeys(links)) for address, links in found.items()}

    def veth(self, address: Address) -> Interface | None:
        return next(iter(self.veths.get(address, ())), None)

    def table_of(self, eni: Interface, family: int) -> int:
        """The table whose default route leads out of a secondary ENI; 0 where there is none."""
        tables = {route.table for route in self.snapshot.routes if route.table not in KERNELS_TABLES}
        return next((t for t in sorted(tables) if self._leads_out(t, family, eni)), 0)

    def _leads_out(self, table: int, family: int, eni: Interface) -> bool:
        return any(hop.interface == eni.name for r in self.default_routes(table, family) for hop in r.next_hops)

    def has_branch_eni(self, address: Address) -> bool:
        """Whether a pod has a branch ENI of its own (security groups for pods): other rules and tables are then right."""
        if any(each.name.startswith(BRANCH_VETH) for each in self.veths.get(address, ())):
            return True
        tables = {rule.table for rule in from_pod_rules(self.rules, address)}
        return any(table in BRANCH_TABLES and table not in KERNELS_TABLES for table in tables)

    def named_veth(self, pod: Pod) -> str:
        """The name that the CNI gives to the host's end: a prefix and sha1 of `namespace.name` (driver.go)."""
        prefix = self.settings.veth_prefix if self.settings else CniSettings().veth_prefix
        return prefix + hashed(pod)

    def interior(self, address: Address) -> PodInterior | None:
        """The pod's own end; None where it was not looked into."""
        found = (each for each in self.snapshot.interiors if each.address == address and not each.unread)
        return next(found, None)

    def default_routes(self, table: int, family: int) -> tuple[Route, ...]:
        return tuple(
            route
            for route in self.snapshot.routes
            if route.table == table and route.family == family and not route.destination.prefixlen
        )

    @cached_property
    def outside(self) -> Address | None:
        """An address that is SNATed to where the CNI is told to; None where all are excluded."""
        excluded: tuple[Network, ...] = self.snapshot.vpc_networks
        excluded += self.settings.excluded_networks if self.settings else ()
        return next((address for address in FAR_AWAY if not any(address in network for network in excluded)), None)

    def far_from(self, source: Address) -> Address | None:
        """What is outside, in the family of `source`."""
        return self.outside if source.version == 4 else FAR_AWAY_IPV6

    def opening(self, source: Address, destination: Address, port: int = HTTPS) -> Packet:
        """A pod's SYN as it comes out of its veth."""
        flow = FiveTuple(
            protocol=Protocol.TCP,
            source=source,
            source_port=CLIENT_PORT,
            destination=destination,
            destination_port=port,
        )
        link = self.veth(source)
        return Packet.opening(flow, link.name if link else "")

    @cached_property
    def samples(self) -> tuple[Address, ...]:
        """One IPv4 pod of each ENI, as far as these can be told apart, the secondary ones first: what is SNATed."""
        found: dict[str, Address] = {}
        for address in sorted(self.pods, key=int):
            if address.version == 4 and self.veth(address) is not None and not self.has_branch_eni(address):
                found.setdefault(self._way_out(address), address)
        return tuple(address for _, address in sorted(found.items(), reverse=True))

    @cached_property
    def second_ways_out(self) -> tuple[Address, ...]:
        """What egress-cni gave to pods, for what is outside alone: it leads to no pod and to no Service."""
        return tuple(sorted((a for a in self.veths if any(a in network for network in EGRESS_CNI)), key=int))

    def _way_out(self, address: Address) -> str:
        """Sorts the pods of one ENI together: by its name, else by the table of their ip rule."""
        owner = self.owner(address)
        if owner is not None:
            return f"{owner.role is Role.SECONDARY_ENI:d} {owner.name}"
        tables = sorted(rule.table for rule in from_pod_rules(self.rules, address))
        return f"1 {tables[0]:010d}" if tables else "0"


def router_of(eni: Interface) -> Address | None:
    """The VPC's router, the first address of every IPv4 subnet; None where the ENI has none of its own."""
    own = (each.network for each in eni.addresses if each.version == 4 and each.network.prefixlen < 31)
    return next((network.network_address + 1 for network in own), None)


def view_of(snapshot: NodeSnapshot, inventory: Inventory, model: NodeModel | None = None) -> NodeView:
    pods = {address: pod for pod in own_pods(snapshot.node, inventory) for address in pod.addresses}
    return NodeView(snapshot=snapshot, model=model or NodeModel(snapshot), inventory=inventory, pods=pods)


def own_pods(node: str, inventory: Inventory) -> Iterator[Pod]:
    """Those that must be wired there now."""
    for pod in inventory.pods.values():
        if pod.node == node and pod.phase == "Running" and not pod.host_network and not pod.deleting:
            yield pod


def known_addresses(node: str, inventory: Inventory) -> frozenset[Address]:
    """What a rule or route of the node may be for: pods that come and go included."""
    pods = (pod for pod in inventory.pods.values() if pod.node == node and pod.phase not in FINISHED)
    return frozenset(address for pod in pods if not pod.host_network for address in pod.addresses)


def hashed(pod: Pod) -> str:
    digest = hashlib.sha1(f"{pod.namespace}.{pod.name}".encode(), usedforsecurity=False)
    return digest.hexdigest()[:HASH_LENGTH]


def from_pod_rules(rules: Iterable[Rule], address: Address) -> tuple[Rule, ...]:
    """`1536 from POD [to CIDR] lookup TABLE`."""
    own = ip_network(address)
    return tuple(
        rule
        for rule in rules
        if rule.priority == FROM_POD and rule.source == own and not rule.inverted and rule.action is RuleAction.LOOKUP
    )


def without(snapshot_rules: Iterable[Rule], *gone: Rule) -> tuple[Rule, ...]:
    return tuple(rule for rule in snapshot_rules if rule not in gone)


def expected(claim: str, source: str) -> Evidence:
    return Evidence(witness=Witness.EXPECTED, claim=claim, source=source)


def recorded(claim: str, source: str) -> Evidence:
    return Evidence(witness=Witness.RECORDED, claim=claim, source=source)
