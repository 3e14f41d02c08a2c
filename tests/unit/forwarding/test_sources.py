"""Martians and the reverse path filter. What the kernel does was measured on 6.18, with these very configurations."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, ip_address

import pytest

from pathtap.forwarding import NodeModel, Outcome, Packet, Prediction, predict
from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.node import Rule
from tests.unit.forwarding.nodes import interface, iptables, route, rule, snapshot

RULES = [
    rule("0: from all lookup local"),
    rule("32766: from all lookup main"),
    rule("32767: from all lookup default"),
]
FOREIGN = rule("900: from 203.0.113.77 lookup 77")
ROUTES = [
    route("10.0.0.0/24 dev x0"),
    route("10.9.0.0/24 dev x1"),
    route("198.51.100.0/24 dev d0"),
    route("local 10.0.0.1 dev x0", "local"),
    route("local 10.9.0.1 dev x1", "local"),
    route("broadcast 10.0.0.255 dev x0", "local"),
    route("local 127.0.0.0/8 dev lo", "local"),
    route("10.0.0.0/24 dev x1", "55"),
    route("blackhole 192.0.2.0/24"),
]
INTERFACES = [interface(2, "x0", "10.0.0.1/24"), interface(3, "x1", "10.9.0.1/24"), interface(4, "d0")]
BARE = [INTERFACES[0], interface(3, "x1"), INTERFACES[2]]
OUT, ELSEWHERE, HERE = "198.51.100.5", "10.0.0.9", "10.9.0.9"


def settings(x1: int | None, **switches: int) -> dict[str, str]:
    given = {"net.ipv4.conf.all.rp_filter": "0"} | {f"net.ipv4.conf.all.{k}": str(v) for k, v in switches.items()}
    return given if x1 is None else given | {"net.ipv4.conf.x1.rp_filter": str(x1)}


def arriving(
    source: str,
    destination: str = OUT,
    mode: int | None = 0,
    *more: Rule,
    bare: bool = False,
    tables: str = "",
    sysctls: dict[str, str] | None = None,
    **changes: object,
) -> Prediction:
    flow = FiveTuple(
        protocol=Protocol.UDP,
        source=ip_address(source),
        source_port=1000,
        destination=ip_address(destination),
        destination_port=2000,
    )
    node = snapshot(
        [*RULES, *more],
        ROUTES,
        iptables(tables),
        BARE if bare else INTERFACES,
        sysctls=settings(mode) if sysctls is None else sysctls,
    )
    packet = replace(Packet.opening(flow, "x1"), **changes)  # type: ignore[arg-type]
    return predict(NodeModel(node), packet)


@pytest.mark.parametrize(
    ("source", "more", "expected"),
    [
        (ELSEWHERE, (), Outcome.FORWARDED),
        ("10.0.0.1", (), Outcome.DROPPED),
        ("10.0.0.255", (), Outcome.FORWARDED),
        ("203.0.113.4", (), Outcome.FORWARDED),
        ("10.0.0.1", (FOREIGN,), Outcome.DROPPED),
        ("10.0.0.255", (FOREIGN,), Outcome.DROPPED),
        ("203.0.113.4", (FOREIGN,), Outcome.FORWARDED),
        ("192.0.2.1", (FOREIGN,), Outcome.FORWARDED),
        ("127.0.0.5", (), Outcome.DROPPED),
        ("0.1.2.3", (), Outcome.FORWARDED),
        (str(IPv4Address(0)), (), Outcome.DROPPED),
        ("255.255.255.255", (), Outcome.DROPPED),
        ("224.1.1.1", (), Outcome.DROPPED),
        ("240.0.0.1", (), Outcome.FORWARDED),
    ],
)
def test_without_a_filter_only_martians_are_refused(source: str, more: Sequence[Rule], expected: Outcome) -> None:
    found = arriving(source, OUT, 0, *more)
    assert (found.outcome, found.reverse_path, found.unknown) == (expected, None, ())
    assert bool(found.reason) is (expected is Outcome.DROPPED)


@pytest.mark.parametrize(
    ("mode", "bare", "source", "destination", "dropped"),
    [
        (2, False, ELSEWHERE, OUT, False),
        (2, True, ELSEWHERE, OUT, True),
        (2, False, "192.0.2.1", OUT, True),
        (2, False, "203.0.114.4", OUT, True),
        (1, False, ELSEWHERE, OUT, True),
        (1, False, HERE, OUT, False),
        (1, False, HERE, "10.0.0.1", False),
        (1, False, ELSEWHERE, "10.0.0.1", True),
    ],
)
def test_loose_and_strict(mode: int, bare: bool, source: str, destination: str, dropped: bool) -> None:
    found = arriving(source, destination, mode, bare=bare)
    assert (found.outcome is Outcome.DROPPED, found.unknown) == (dropped, ())
    assert (found.reverse_path.mode if found.reverse_path else "") == (("", "strict", "loose")[mode] if dropped else "")


def test_the_reason_says_where_the_way_back_leads() -> None:
    found = arriving(ELSEWHERE, OUT, 1)
    assert found.reverse_path is not None
    assert found.reverse_path.decision.interface == "x0"
    assert found.reason == (
        "reverse path filter, strict, of x1: the way back to 10.0.0.9 leads by x0"
        " (rule 32766 from all lookup main, route 10.0.0.0/24 dev x0)"
    )


@pytest.mark.parametrize(
    ("selector", "destination", "passes"),
    [
        ("iif d0", OUT, True),
        ("iif lo", OUT, False),
        ("iif lo", "10.0.0.1", True),
        ("from all ipproto udp sport 2000", OUT, True),
        ("from all ipproto udp sport 1000", OUT, False),
        ("from 198.51.100.0/24", OUT, True),
        ("from all to 198.51.100.0/24", OUT, False),
        ("from all tos 0x10", OUT, True),
    ],
)
def test_the_reverse_lookup_asks_the_rules_for_an_answer_to_the_packet(
    selector: str, destination: str, passes: bool
) -> None:
    found = arriving(ELSEWHERE, destination, 1, rule(f"800: {selector} lookup 55"), tos=0x10)
    assert (found.outcome is not Outcome.DROPPED) is passes


def test_its_mark_is_that_of_the_packet_with_src_valid_mark_alone() -> None:
    marked = "*mangle\n-A PREROUTING -j MARK --set-xmark 0x5/0xffffffff\nCOMMIT\n"
    more = rule("800: from all fwmark 0x5 lookup 55")
    assert arriving(ELSEWHERE, OUT, 1, more, tables=marked).outcome is Outcome.DROPPED
    valid = settings(1, src_valid_mark=1)
    assert arriving(ELSEWHERE, OUT, 1, more, tables=marked, sysctls=valid).outcome is Outcome.FORWARDED


def test_own_sources_pass_with_accept_local_where_the_interface_is_right() -> None:
    accepting = settings(1, accept_local=1)
    assert arriving("10.9.0.1", sysctls=accepting).outcome is Outcome.FORWARDED
    assert arriving("10.0.0.1", sysctls=accepting).outcome is Outcome.DROPPED
    assert arriving("10.0.0.1", sysctls=settings(0, accept_local=1)).outcome is Outcome.FORWARDED


def test_loopback_addresses_need_route_localnet() -> None:
    to_loopback = "*nat\n-A PREROUTING -p udp -j DNAT --to-destination 127.0.0.1:53\nCOMMIT\n"
    dropped = arriving(HERE, "10.9.0.1", tables=to_loopback)
    assert (dropped.outcome, "127.0.0.1" in dropped.reason) == (Outcome.DROPPED, True)
    found = arriving(HERE, "10.9.0.1", tables=to_loopback, sysctls=settings(0, route_localnet=1))
    assert found.outcome is Outcome.LOCAL


def test_the_source_is_the_one_before_the_node_translates_it() -> None:
    snat = "*nat\n-A POSTROUTING -j SNAT --to-source 10.9.0.9\nCOMMIT\n"
    assert arriving(ELSEWHERE, OUT, 1, tables=snat).outcome is Outcome.DROPPED


def test_a_mode_that_was_not_read_is_unknown_where_it_matters() -> None:
    found = arriving(ELSEWHERE, mode=None)
    assert (found.outcome, found.routing.interface if found.routing else "") == (Outcome.UNKNOWN, "d0")
    assert found.unknown == ("rp_filter of x1 was not read, and it decides whether 10.0.0.9 may come in there",)
    assert arriving(HERE, mode=None).outcome is Outcome.FORWARDED
    loose = {"net.ipv4.conf.all.rp_filter": "2"}
    assert arriving(ELSEWHERE, sysctls=loose).outcome is Outcome.FORWARDED


def test_a_rule_that_cannot_be_evaluated_is_named() -> None:
    found = arriving(ELSEWHERE, OUT, 1, rule("800: from all tun_id 5 lookup 55", unmodelled=("tun_id 5",)))
    assert found.outcome is Outcome.UNKNOWN
    assert found.unknown == ("ip rule 800 from all tun_id 5 lookup 55: cannot evaluate tun_id 5",)


def test_an_answer_may_come_by_any_next_hop_of_its_route() -> None:
    both = route("198.51.100.128/25 nexthop via 10.0.0.2 dev x0 nexthop via 10.9.0.2 dev x1")
    flow = FiveTuple(
        protocol=Protocol.UDP,
        source=ip_address("198.51.100.200"),
        source_port=1,
        destination=ip_address(ELSEWHERE),
        destination_port=2,
    )
    node = snapshot(RULES, [*ROUTES, both], (), INTERFACES, sysctls=settings(1))
    assert predict(NodeModel(node), Packet.opening(flow, "x1")).outcome is Outcome.FORWARDED


@pytest.mark.parametrize(("source", "expected"), [("::1", "DROPPED"), ("fe80::5", "DROPPED"), ("fd00::5", "FORWARDED")])
def test_ipv6_has_no_filter_but_addresses_that_stay_where_they_are(source: str, expected: str) -> None:
    flow = FiveTuple(
        protocol=Protocol.UDP,
        source=ip_address(source),
        source_port=1,
        destination=ip_address("2001:db8::9"),
        destination_port=2,
    )
    rules = [rule("0: from all lookup local", 6), rule("32766: from all lookup main", 6)]
    node = snapshot(rules, [route("2001:db8::/32 dev d0")], (), INTERFACES, sysctls=settings(1))
    assert predict(NodeModel(node), Packet.opening(flow, "x1")).outcome is Outcome[expected]
