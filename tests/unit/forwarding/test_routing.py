"""ip rules and tables, held against what the kernel documents and a slow, obvious longest-prefix search."""

from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathtap.forwarding import Packet
from pathtap.forwarding.routing import RoutingTables, Table
from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.node import NextHop, Route, Rule, Unread
from tests.unit.forwarding.nodes import route, rule, snapshot

LOCAL = rule("0: from all lookup local")
MAIN = rule("32766: from all lookup main")
DEFAULT = route("default via 192.168.1.1 dev eth0")
OTHER = route("default via 192.168.1.1 dev eth1", table="2")


def packet(destination: str = "198.51.100.8", source: str = "192.168.1.50", **changes: object) -> Packet:
    flow = FiveTuple(
        protocol=Protocol.TCP,
        source=ip_address(source),
        source_port=40000,
        destination=ip_address(destination),
        destination_port=443,
    )
    given_fields: dict[str, object] = {"five_tuple": flow, "in_interface": "eniaaa"} | changes
    return Packet(**given_fields)  # type: ignore[arg-type]


def way(rules: list[Rule], routes: list[Route], asked: Packet | None = None) -> tuple[int, str]:
    decision = RoutingTables(snapshot(rules, routes)).lookup(asked or packet())
    assert not decision.unknown
    return (decision.rule.priority if decision.rule else -1, decision.interface or decision.refused)


@pytest.mark.parametrize(
    ("selector", "applies"),
    [
        ("from all", True),
        ("from 192.168.1.50", True),
        ("from 192.168.1.51", False),
        ("from 192.168.0.0/16 to 198.51.100.0/24", True),
        ("from 192.168.0.0/16 to 203.0.113.0/24", False),
        ("not from 192.168.0.0/16 to 203.0.113.0/24", True),
        ("not from all", False),
        ("from all fwmark 0x80/0x80", True),
        ("from all fwmark 0x81", True),
        ("from all fwmark 0x80", False),
        ("not from all fwmark 0x80/0x80", False),
        ("from all fwmark 0x0/0x80", False),
        ("from all iif eniaaa", True),
        ("from all iif lo", False),
        ("from all oif eth1", False),
        ("from all ipproto tcp dport 400-500", True),
        ("from all ipproto udp", False),
        ("from all sport 1-1024", False),
        ("from all tos 0x10", False),
    ],
)
def test_selectors(selector: str, applies: bool) -> None:
    rules = [rule(f"100: {selector} lookup 2"), MAIN]
    assert way(rules, [DEFAULT, OTHER], packet(mark=0x81)) == ((100, "eth1") if applies else (32766, "eth0"))


def test_locally_generated_packets_come_from_lo() -> None:
    rules = [rule("100: from all iif lo lookup 2"), MAIN]
    assert way(rules, [DEFAULT, OTHER], packet(in_interface="")) == (100, "eth1")


def test_rules_run_by_priority_and_equal_ones_in_their_order() -> None:
    rules = [MAIN, rule("100: from all lookup 2"), rule("100: from all lookup 3")]
    assert way(rules, [DEFAULT, OTHER, route("default dev eth2", table="3")]) == (100, "eth1")


def test_a_table_without_a_match_falls_through() -> None:
    rules = [rule("100: from all lookup 2"), rule("200: from all lookup 77"), MAIN]
    assert way(rules, [DEFAULT, route("10.0.0.0/8 dev eth1", table="2")]) == (32766, "eth0")


def test_throw_goes_on_to_the_next_rule() -> None:
    assert way([rule("100: from all lookup 2"), MAIN], [DEFAULT, route("throw 198.51.100.0/24", table="2"), OTHER]) == (
        32766,
        "eth0",
    )


@pytest.mark.parametrize("kind", ["blackhole", "unreachable", "prohibit"])
def test_refusing_routes_and_rules(kind: str) -> None:
    assert way([MAIN], [DEFAULT, route(f"{kind} 198.51.100.0/24")]) == (32766, kind)
    assert way([rule(f"100: from all {kind}"), MAIN], [DEFAULT]) == (100, kind)


def test_no_route() -> None:
    assert way([MAIN], []) == (-1, "no route")


def test_suppressed_default_routes_are_not_taken() -> None:
    rules = [rule("100: from all lookup main suppress_prefixlength 0"), rule("200: from all lookup 2")]
    assert way(rules, [DEFAULT, OTHER]) == (200, "eth1")
    assert way(rules, [DEFAULT, OTHER, route("198.51.100.0/24 dev eth0")]) == (100, "eth0")


def test_goto_skips_and_a_missing_target_does_not() -> None:
    rules = [rule("100: from all goto 300"), rule("200: from all lookup 2"), rule("300: from all nop"), MAIN]
    assert way(rules, [DEFAULT, OTHER]) == (32766, "eth0")
    rules[0] = rule("100: from all goto 301")
    assert way(rules, [DEFAULT, OTHER]) == (200, "eth1")


def test_metric_and_tos_choose_among_equal_prefixes() -> None:
    routes = [
        route("default dev eth0 metric 20"),
        route("default dev eth1 metric 10"),
        route("default dev eth2 metric 30 tos 0x10"),
    ]
    assert way([MAIN], routes) == (32766, "eth1")
    assert way([MAIN], routes, packet(tos=0x10)) == (32766, "eth2")


def test_a_selector_that_cannot_be_evaluated_matters_only_where_the_ways_differ() -> None:
    doubtful = rule("100: from all lookup 2", unmodelled=("tun_id",))
    same = RoutingTables(snapshot([doubtful, MAIN], [DEFAULT, OTHER])).lookup(packet())
    assert same.interface == ""
    assert "tun_id" in same.unknown[0]
    harmless = RoutingTables(snapshot([doubtful, MAIN], [DEFAULT])).lookup(packet())
    assert (harmless.interface, harmless.unknown) == ("eth0", ())
    elsewhere = rule("100: from 10.0.0.1 lookup 2", unmodelled=("tun_id",))
    assert way([elsewhere, MAIN], [DEFAULT, OTHER]) == (32766, "eth0")


def test_multipath_is_a_choice_of_the_kernel() -> None:
    both = route("default nexthop via 192.168.1.1 dev eth0 nexthop via 192.168.2.1 dev eth1")
    tables = RoutingTables(snapshot([MAIN], [both]))
    assert [each.interface for each in tables.possibilities(packet())] == ["eth0", "eth1"]
    assert tables.lookup(packet()).unknown


def test_ipv6() -> None:
    routes = [
        route("::/0 via fe80::1 dev eth0", family=6),
        route("fd00::5/128 dev eniaaa"),
        route("local fd00::1/128 dev eth0", "local"),
    ]
    rules = [rule("0: from all lookup local", family=6), rule("32766: from all lookup main", family=6)]
    tables = RoutingTables(snapshot(rules, routes))
    asked = packet("2001:db8::1", "fd00::5")
    assert tables.lookup(asked).interface == "eth0"
    assert tables.lookup(packet("fd00::1", "fd00::5")).local
    assert tables.address_type(ip_address("fd00::1")) == "local"


def test_unread_rules_are_unknown_and_not_absent() -> None:
    decision = RoutingTables(snapshot([], [DEFAULT], unread=[Unread(part="rules", reason="no permission")])).lookup(
        packet()
    )
    assert decision.refused == ""
    assert "no permission" in decision.unknown[0]


def test_address_types() -> None:
    routes = [route("local 192.168.1.29 dev eth0", "local"), route("broadcast 192.168.1.255 dev eth0", "local")]
    tables = RoutingTables(snapshot([], routes))
    assert tables.address_type(IPv4Address("192.168.1.29")) == "local"
    assert tables.address_type(IPv4Address("192.168.1.29"), "eth1") == "unicast"
    assert tables.address_type(IPv4Address("192.168.1.29"), "eth0") == "local"
    assert tables.address_type(IPv4Address("192.168.1.255")) == "broadcast"
    assert tables.address_type(IPv4Address("8.8.8.8")) == "unicast"
    assert tables.address_type(IPv4Address("224.0.0.1")) == "multicast"
    assert RoutingTables(snapshot()).address_type(IPv4Address("8.8.8.8")) is None


networks = st.builds(
    lambda number, length: IPv4Network((number >> (32 - length) << (32 - length) if length else 0, length)),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)


@given(st.lists(networks, max_size=30, unique=True), st.integers(0, 2**32 - 1), st.integers(0, 60))
def test_longest_prefix(prefixes: list[IPv4Network], number: int, index: int) -> None:
    """Half of the addresses are drawn from within a prefix, which a free draw would seldom hit."""
    if index < len(prefixes):
        chosen = prefixes[index]
        number = int(chosen.network_address) + number % chosen.num_addresses
    address = IPv4Address(number)
    routes = [
        Route(family=4, table=254, destination=prefix, next_hops=(NextHop(interface="eth0"),), text=str(prefix))
        for prefix in prefixes
    ]
    found = Table(routes).lookup(address)
    covering = [prefix for prefix in prefixes if address in prefix]
    longest = max(covering, key=lambda prefix: prefix.prefixlen, default=None)
    assert (found.destination if found else None) == longest


def test_a_bound_interface_skips_routes_by_others() -> None:
    routes = [route("198.51.100.0/24 dev eth1"), DEFAULT]
    assert RoutingTables(snapshot([MAIN], routes)).lookup(packet(in_interface=""), "eth0").interface == "eth0"


def test_prefixes_of_every_length_fit() -> None:
    table = Table([route("0.0.0.0/0 dev eth0"), route("198.51.100.8/32 dev eth1")])
    found = table.lookup(IPv4Address("198.51.100.8"))
    assert found is not None
    assert found.destination == ip_network("198.51.100.8/32")


def ipv6(destination: str, in_interface: str = "eniaaa") -> Packet:
    flow = FiveTuple(
        protocol=Protocol.UDP,
        source=ip_address("fe80::1"),
        source_port=1,
        destination=ip_address(destination),
        destination_port=2,
    )
    return Packet(five_tuple=flow, in_interface=in_interface)


IPV6_RULES = [rule("0: from all lookup local", 6), rule("32766: from all lookup main", 6)]


def test_a_link_local_destination_stays_on_its_own_link() -> None:
    both = [route("fe80::/64 dev eth0 metric 256"), route("fe80::/64 dev eniaaa metric 256")]
    tables = RoutingTables(snapshot(IPV6_RULES, both))
    assert tables.lookup(ipv6("fe80::9")).interface == "eniaaa"
    assert tables.lookup(ipv6("fe80::9", "eth1")).refused == "no route"
    own = tables.lookup(ipv6("fe80::9", ""))
    assert (own.interface, len(own.unknown)) == ("", 1)


def test_ipv6_routers_of_one_metric_are_alternatives_and_a_better_metric_wins() -> None:
    def routers(metric: int) -> list[Route]:
        lines = ["via fe80::a dev eth0 metric 1024", f"via fe80::b dev eth1 metric {metric}"]
        return [route(f"::/0 {line}") for line in lines]

    equal = RoutingTables(snapshot(IPV6_RULES, routers(1024))).possibilities(ipv6("2001:db8::9"))
    assert [decision.interface for decision in equal] == ["eth0", "eth1"]
    better = RoutingTables(snapshot(IPV6_RULES, routers(100))).lookup(ipv6("2001:db8::9"))
    assert (better.interface, better.unknown) == ("eth1", ())


def test_the_subnet_router_anycast_address_is_the_nodes_own() -> None:
    tables = RoutingTables(snapshot(IPV6_RULES, [route("anycast 2001:db8:: dev eth0", "local")]))
    assert tables.lookup(ipv6("2001:db8::")).local


@pytest.mark.parametrize(("tos", "expected"), [(0x18, "eth1"), (0xB8, "eth1"), (0x1B, "eth1"), (0x10, "eth0")])
def test_the_tos_of_a_route_is_compared_under_its_mask(tos: int, expected: str) -> None:
    routes = [route("default via 192.168.1.1 dev eth0"), route("default via 192.168.2.1 dev eth1 tos 0x18")]
    assert RoutingTables(snapshot([MAIN], routes)).lookup(packet(tos=tos)).interface == expected
