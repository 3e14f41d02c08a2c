"""Policy routing over a node snapshot: ip rules by priority, tables by longest prefix.

Knows no netfilter and no neighbours. Follows fib_rules_lookup (net/core/fib_rules.c), fib_table_lookup (net/ipv4/fib_trie.c)
and fib4_rule_action, _suppress (net/ipv4/fib_rules.c); IPv6 (net/ipv6/fib6_rules.c) agrees in everything modelled here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pathtap.forwarding.answer import Answer
from pathtap.forwarding.packet import Packet
from pathtap.model.address import Address, Network
from pathtap.model.node import LOCAL_TABLE, NodeSnapshot, Route, RouteKind, Rule, RuleAction, table_name

DELIVERED = frozenset({RouteKind.LOCAL, RouteKind.BROADCAST, RouteKind.ANYCAST, RouteKind.MULTICAST})
REFUSING = frozenset({RouteKind.BLACKHOLE, RouteKind.UNREACHABLE, RouteKind.PROHIBIT})
REFUSING_ACTIONS = frozenset({RuleAction.BLACKHOLE, RuleAction.UNREACHABLE, RuleAction.PROHIBIT})
LOOPBACK = "lo"
# IPTOS_RT_MASK (net/route.h): what a route's or rule's `tos` is compared with in IPv4, whatever the packet's other bits are
# (fib_dscp_masked_match; measured on 6.18: 0xb8 takes the route with tos 0x18).
ROUTING_TOS = 0x1C


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingDecision:
    """Where the FIB sends a packet. `rule` and `route` are what decided, None where nothing did.

    `refused` is empty for a way out, else blackhole, unreachable, prohibit or `no route`. A decision with `unknown` is none:
    its other fields hold only what all possibilities agree on, and `unknown` says why they differ.
    """

    rule: Rule | None = None
    route: Route | None = None
    interface: str = ""
    gateway: Address | None = None
    local: bool = False
    refused: str = ""
    unknown: tuple[str, ...] = ()

    @property
    def decided(self) -> bool:
        return bool(self.interface or self.refused)

    @property
    def text(self) -> str:
        """`rule 1024 from all fwmark 0x80/0x80 lookup main, route default via 192.168.1.1 dev eth0`."""
        rule = f"rule {self.rule.priority} {self.rule.text}" if self.rule else ""
        route = f"route {self.route.text}" if self.route else ""
        return ", ".join(part for part in (rule, route) if part) or self.refused


def prefix_key(network: Network) -> int:
    return int(network.network_address) >> (network.max_prefixlen - network.prefixlen)


class Table:
    """The routes of one table: by prefix length, longest first, then by prefix."""

    def __init__(self, routes: Iterable[Route]) -> None:
        lengths: dict[int, dict[int, list[Route]]] = {}
        for route in routes:
            lengths.setdefault(route.destination.prefixlen, {}).setdefault(prefix_key(route.destination), []).append(
                route
            )
        for prefixes in lengths.values():
            for candidates in prefixes.values():
                # sorted() is stable: of equals the kernel too takes the one it lists first.
                candidates.sort(key=lambda route: (-route.tos, route.metric))
        self._lengths = sorted(lengths.items(), reverse=True)

    def lookup(self, address: Address, tos: int = 0, out_interface: str = "") -> Route | None:
        return next(iter(self.candidates(address, tos, out_interface)), None)

    def candidates(self, address: Address, tos: int = 0, out_interface: str = "") -> tuple[Route, ...]:
        """The route, or none. Several where the kernel chooses by what it knows of the routers (find_rr_leaf, net/ipv6/route.c):
        IPv6 routes of one prefix and metric.
        """
        number, bits = int(address), address.max_prefixlen
        for length, prefixes in self._lengths:
            found: list[Route] = []
            for route in prefixes.get(number >> (bits - length), ()):
                if route.tos and route.tos != tos & ROUTING_TOS:
                    continue
                if out_interface and route.next_hops and all(hop.interface != out_interface for hop in route.next_hops):
                    continue
                if bits == 32:
                    return (route,)
                if not found or route.metric == found[0].metric:
                    found.append(route)
            if found:
                return tuple(found)
        return ()


class RoutingTables:
    """Every table of a node, indexed once. Build one per snapshot and ask it for every packet."""

    def __init__(self, snapshot: NodeSnapshot) -> None:
        self._rules = {family: _in_order(snapshot.rules, family) for family in (4, 6)}
        grouped: dict[tuple[int, int], list[Route]] = {}
        for route in snapshot.routes:
            grouped.setdefault((route.family, route.table), []).append(route)
        self._tables = {key: Table(routes) for key, routes in grouped.items()}
        self._unread = tuple(
            f"{part} of {snapshot.node} could not be read: {reason}"
            for part in ("rules", "routes")
            if (reason := snapshot.could_not_read(part)) is not None
        )

    @property
    def dissects(self) -> bool:
        """Whether IPv4 lookups for packets that came in know their protocol and ports: only where some ip rule asks for them, and
        one with `iif lo` does not count (fib_rule_requires_fldissect, include/net/fib_rules.h; measured on 6.18).
        """
        return any(
            rule.in_interface != LOOPBACK
            and (rule.ip_protocol is not None or rule.source_ports is not None or rule.destination_ports is not None)
            for rule in self._rules[4]
        )

    def lookup(self, packet: Packet, out_interface: str = "") -> RoutingDecision:
        """The one decision, or what all possible ones agree on with the reasons why they differ."""
        return agree(self.possibilities(packet, out_interface))

    def possibilities(self, packet: Packet, out_interface: str = "") -> tuple[RoutingDecision, ...]:
        """More than one where a selector cannot be evaluated or the kernel picks a path by hash; each then says why."""
        if self._unread:
            return (RoutingDecision(unknown=self._unread),)
        found: list[RoutingDecision] = []
        for decision in self._decisions(packet, out_interface):
            if all(replace(decision, unknown=()) != replace(other, unknown=()) for other in found):
                found.append(decision)
        if len(found) == 1 and found[0].decided:
            return (replace(found[0], unknown=()),)
        return tuple(found)

    def asks_out_interface(self, family: int) -> bool:
        """Whether any ip rule has `oif`."""
        return any(rule.out_interface is not None for rule in self._rules[family])

    def address_type(self, address: Address, interface: str = "") -> str | None:
        """The RTN_* word of `inet_dev_addr_type` (net/ipv4/fib_frontend.c): local, broadcast, multicast, unicast …

        Only the local table is asked. With `interface`, what belongs to another one is unicast. None where that table
        was not read: it is never empty on a living node.
        """
        table = self._tables.get((address.version, LOCAL_TABLE))
        if address.is_multicast:
            return RouteKind.MULTICAST.value
        if address.is_unspecified or str(address) == "255.255.255.255":
            return RouteKind.BROADCAST.value
        if table is None or self._unread:
            return None
        route = table.lookup(address)
        if address.version == 6 and route is None and self._local_elsewhere(address):
            return None
        if route is None or (interface and all(hop.interface != interface for hop in route.next_hops[:1])):
            return RouteKind.UNICAST.value
        return route.kind.value

    def _local_elsewhere(self, address: Address) -> bool:
        """Whether another table has it as local: match_lookup_rt6 of xt_addrtype.c and nft_fib6_eval_type ask every ip rule."""
        found = (table.lookup(address) for (family, _), table in self._tables.items() if family == address.version)
        return any(route is not None and route.kind is RouteKind.LOCAL for route in found)

    def _decisions(self, packet: Packet, out_interface: str) -> Iterator[RoutingDecision]:
        """Every decision that is possible, the certain one last. `doubts` are the rules that may have decided before."""
        rules, index = self._rules[packet.family], 0
        doubts: tuple[str, ...] = ()
        while index < len(rules):
            rule = rules[index]
            index += 1
            answer = rule_matches(rule, packet, out_interface)
            if answer is Answer.NO or rule.action is RuleAction.NOP:
                continue
            if answer is Answer.UNKNOWN:
                doubts = (*doubts, f"ip rule {rule.priority} {rule.text}: cannot evaluate {', '.join(rule.unmodelled)}")
            if rule.action is RuleAction.GOTO:
                if answer is Answer.UNKNOWN:
                    yield RoutingDecision(unknown=doubts)
                    return
                index = _goto(rules, rule, index)
                continue
            decisions = tuple(self._apply(rule, packet, out_interface))
            yield from (replace(decision, unknown=(*doubts, *decision.unknown)) for decision in decisions)
            if decisions and answer is Answer.YES:
                return
        yield RoutingDecision(refused="no route", unknown=doubts)

    def _apply(self, rule: Rule, packet: Packet, out_interface: str) -> Iterator[RoutingDecision]:
        """What a matching rule decides; nothing where the kernel goes on to the next rule."""
        if rule.action in REFUSING_ACTIONS:
            yield RoutingDecision(rule=rule, refused=rule.action.value)
            return
        table = self._tables.get((packet.family, rule.table))
        device = out_interface or _strict_interface(packet)
        routes = table.candidates(packet.five_tuple.destination, packet.tos, device) if table else ()
        why = (
            (f"the kernel chooses among {len(routes)} routes of one metric: {routes[0].text}",)
            if len(routes) > 1
            else ()
        )
        for route in routes:
            for decision in _of_route(rule, route, device):
                yield replace(decision, unknown=(*why, *decision.unknown))


def _strict_interface(packet: Packet) -> str:
    """The interface by which a route must lead: the packet's own, for destinations of the link's own scope (rt6_need_strict)."""
    destination = packet.five_tuple.destination
    strict = destination.version == 6 and (
        destination.is_link_local or destination.is_multicast or destination.is_loopback
    )
    return packet.in_interface if strict and packet.in_interface != LOOPBACK else ""


def _of_route(rule: Rule, route: Route, out_interface: str) -> Iterator[RoutingDecision]:
    """What a route that was found decides; nothing where the kernel goes on to the next rule."""
    suppressed = rule.suppress_prefix_length
    if route.kind is RouteKind.THROW:
        return
    if route.kind in REFUSING:
        yield RoutingDecision(rule=rule, route=route, refused=route.kind.value)
    elif suppressed is not None and route.destination.prefixlen <= suppressed:
        return
    elif route.kind in DELIVERED:
        yield RoutingDecision(rule=rule, route=route, interface=LOOPBACK, local=True)
    elif route.kind is RouteKind.OTHER or not route.next_hops:
        why = f"route {route.text} in table {table_name(route.table)}: its kind or next hop is not modelled"
        yield RoutingDecision(rule=rule, route=route, unknown=(why,))
    else:
        yield from _paths(rule, route, out_interface)


def _paths(rule: Rule, route: Route, out_interface: str) -> Iterator[RoutingDecision]:
    hops = [hop for hop in route.next_hops if not out_interface or hop.interface == out_interface]
    why = (f"route {route.text}: the kernel chooses among {len(hops)} next hops by a hash",) if len(hops) > 1 else ()
    for hop in hops:
        yield RoutingDecision(rule=rule, route=route, interface=hop.interface, gateway=hop.gateway, unknown=why)


def _in_order(rules: Iterable[Rule], family: int) -> tuple[Rule, ...]:
    return tuple(sorted((rule for rule in rules if rule.family == family), key=lambda rule: rule.priority))


def _goto(rules: tuple[Rule, ...], rule: Rule, following: int) -> int:
    """The kernel goes to the first rule of exactly that priority, and on to the next rule where there is none."""
    return next((index for index, target in enumerate(rules) if target.priority == rule.goto), following)


def rule_matches(rule: Rule, packet: Packet, out_interface: str = "") -> Answer:
    """fib_rule_match: `not` inverts all selectors together. Locally generated packets come from `lo`."""
    known = _selectors_match(rule, packet, out_interface)
    if rule.unmodelled and known:
        return Answer.UNKNOWN
    return Answer.of(known is not rule.inverted)


def _selectors_match(rule: Rule, packet: Packet, out_interface: str) -> bool:
    flow = packet.five_tuple
    if rule.mark is not None and (rule.mark ^ packet.mark) & rule.mask:
        return False
    if rule.source is not None and not _within(flow.source, rule.source):
        return False
    if rule.destination is not None and not _within(flow.destination, rule.destination):
        return False
    return (
        (rule.in_interface is None or rule.in_interface == (packet.in_interface or LOOPBACK))
        and (rule.out_interface is None or rule.out_interface == out_interface)
        and (not rule.tos or rule.tos == packet.tos & (ROUTING_TOS if packet.family == 4 else 0xFC))
        and (rule.ip_protocol is None or rule.ip_protocol == flow.protocol)
        and (rule.source_ports is None or flow.source_port in rule.source_ports)
        and (rule.destination_ports is None or flow.destination_port in rule.destination_ports)
    )


def _within(address: Address, network: Network) -> bool:
    if network.prefixlen == network.max_prefixlen:
        return address == network.network_address
    return prefix_key(network) == int(address) >> (network.max_prefixlen - network.prefixlen)


def agree(decisions: tuple[RoutingDecision, ...]) -> RoutingDecision:
    """One decision of several: the fields that they share, and every reason why they are several."""
    first = decisions[0]
    if len(decisions) == 1:
        return first
    same_route = all(other.route == first.route for other in decisions)
    same_way = all(
        (o.interface, o.gateway, o.local) == (first.interface, first.gateway, first.local) for o in decisions
    )
    return RoutingDecision(
        rule=first.rule if all(other.rule == first.rule for other in decisions) else None,
        route=first.route if same_route else None,
        interface=first.interface if same_way else "",
        gateway=first.gateway if same_way else None,
        local=first.local and same_way,
        refused=first.refused if all(other.refused == first.refused for other in decisions) else "",
        unknown=tuple(dict.fromkeys(why for decision in decisions for why in decision.unknown)),
    )
