"""Native rules in the JSON that nft 1.0.6 prints, against packets that do and do not match."""

import json
from ipaddress import ip_address
from typing import Any

import pytest

from pathtap.forwarding.answer import Answer, every
from pathtap.forwarding.evaluation import Knowledge, evaluate
from pathtap.forwarding.fields import Field
from pathtap.forwarding.matches import Chance, Unmodelled
from pathtap.forwarding.nftables import decode
from pathtap.forwarding.nftsets import Sets
from pathtap.forwarding.packet import Packet, State
from pathtap.forwarding.routing import RoutingTables
from pathtap.forwarding.targets import (
    Accept,
    Bits,
    Dnat,
    Drop,
    Jump,
    Lookup,
    Masquerade,
    NoEffect,
    OneOf,
    Reject,
    Return,
    SetConnmark,
    SetMark,
    SetTos,
    Snat,
)
from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.netfilter import Random
from pathtap.model.node import PortRange
from pathtap.model.packet import TcpFlag
from tests.unit.forwarding.nodes import route, rule, snapshot

ALL = 0xFFFFFFFF
ROUTES = [route("local 192.168.1.29 dev eth0", "local"), route("10.0.0.0/8 dev eni123")]
KNOWN = Knowledge(
    tables=RoutingTables(snapshot([rule("0: from all lookup local"), rule("9: from all lookup main")], ROUTES))
)
OBJECTS = [
    {
        "set": {
            "name": "cidrs",
            "type": "ipv4_addr",
            "flags": ["interval"],
            "elem": [{"range": ["10.1.0.5", "10.1.0.9"]}, {"prefix": {"addr": "10.96.0.0", "len": 16}}],
        }
    },
    {"set": {"name": "affinity", "type": "ipv4_addr", "flags": ["timeout"], "timeout": 10800}},
    {
        "set": {
            "name": "intervals",
            "flags": ["interval"],
            "elem": [
                {"concat": [{"prefix": {"addr": "10.0.0.0", "len": 8}}, {"range": [80, 90]}]},
                {"concat": ["10.1.1.1", 22]},
            ],
        }
    },
    {"set": {"name": "hairpin", "elem": [{"concat": ["10.96.0.10", "192.168.1.29", "tcp", 80]}]}},
    {
        "map": {
            "name": "service-ips",
            "map": "verdict",
            "elem": [
                [
                    {"elem": {"val": {"concat": ["192.168.1.29", "tcp", 80]}, "comment": "shop/web"}},
                    {"goto": {"target": "service-web"}},
                ]
            ],
        }
    },
]
SETS = Sets(json.dumps(OBJECTS))
DADDR = {"payload": {"protocol": "ip", "field": "daddr"}}
SADDR = {"payload": {"protocol": "ip", "field": "saddr"}}
L4PROTO, DPORT = {"meta": {"key": "l4proto"}}, {"payload": {"protocol": "th", "field": "dport"}}
MARK, CTMARK = {"meta": {"key": "mark"}}, {"ct": {"key": "mark"}}
STATE, STATUS = {"ct": {"key": "state"}}, {"ct": {"key": "status"}}
FLAGS = {"payload": {"protocol": "tcp", "field": "flags"}}


def packet(**changes: object) -> Packet:
    flow = FiveTuple(
        protocol=Protocol.TCP,
        source=ip_address("10.96.0.10"),
        source_port=2000,
        destination=ip_address("192.168.1.29"),
        destination_port=80,
    )
    fields: dict[str, object] = {
        "five_tuple": flow,
        "in_interface": "eni123",
        "out_interface": "eth0",
        "mark": 0x4080,
        "connmark": 0x81,
        "tcp_flags": TcpFlag.SYN,
        "tos": 0x28,
        "dnated": True,
    }
    return Packet(**(fields | changes))  # type: ignore[arg-type]


def answer(operator: str, left: Any, right: Any, asked: Packet | None = None) -> Answer:
    statements = [
        {"counter": {"packets": 1, "bytes": 1}},
        {"match": {"op": operator, "left": left, "right": right}},
        {"accept": None},
    ]
    (clause,) = decode(json.dumps(statements), SETS)
    assert clause.target == Accept()
    return every(evaluate(match, asked or packet(), KNOWN) for match in clause.matches)


@pytest.mark.parametrize(
    ("operator", "left", "right", "expected"),
    [
        ("==", DADDR, "192.168.1.29", "yes"),
        ("!=", DADDR, {"prefix": {"addr": "192.168.0.0", "len": 16}}, "no"),
        ("==", SADDR, "@cidrs", "yes"),
        ("!=", SADDR, "@cidrs", "no"),
        ("==", DADDR, {"set": [{"range": ["192.168.1.1", "192.168.1.28"]}, "10.0.0.1"]}, "no"),
        ("==", {"payload": {"protocol": "ip6", "field": "daddr"}}, "fd00::1", "no"),
        ("!=", {"payload": {"protocol": "ip6", "field": "daddr"}}, "fd00::1", "no"),
        ("==", {"meta": {"key": "iifname"}}, "eni*", "yes"),
        ("==", {"meta": {"key": "oifname"}}, {"set": ["eni*", "eth1"]}, "no"),
        ("!=", {"meta": {"key": "iif"}}, "lo", "yes"),
        ("==", L4PROTO, {"set": ["tcp", "udp"]}, "yes"),
        ("==", DPORT, {"range": [80, 90]}, "yes"),
        ("!=", {"payload": {"protocol": "udp", "field": "dport"}}, {"set": [53, {"range": [60, 70]}]}, "no"),
        ("==", {"&": [MARK, 0x80]}, 0x80, "yes"),
        ("!=", {"&": [MARK, 0x4000]}, 0, "yes"),
        ("==", {"&": [MARK, 0xFF]}, {"range": [128, 144]}, "yes"),
        (">", {"&": [MARK, 0xFF]}, 128, "no"),
        ("==", {"&": [CTMARK, 1]}, 1, "yes"),
        ("in", STATE, ["established", "related"], "no"),
        ("==", STATE, {"set": ["new", "untracked"]}, "yes"),
        ("!=", STATE, "new", "no"),
        ("in", STATUS, "dnat", "yes"),
        ("!", STATUS, "dnat", "no"),
        ("in", STATUS, ["assured"], "no"),
        ("in", STATUS, ["snat", "dnat"], "yes"),
        ("==", {"&": [STATUS, "dnat"]}, "dnat", "yes"),
        # Not the word `dnat` alone: other bits are set beside it.
        ("!=", STATUS, "dnat", "yes"),
        ("==", {"ct": {"key": "ip daddr", "dir": "original"}}, "192.168.1.29", "yes"),
        ("==", {"ct": {"key": "proto-dst", "dir": "original"}}, 81, "no"),
        ("==", {"ct": {"key": "zone"}}, 0, "yes"),
        ("==", {"payload": {"protocol": "ip", "field": "dscp"}}, "af11", "yes"),
        ("!=", {"payload": {"protocol": "ip6", "field": "dscp"}}, "af11", "no"),
        ("==", {"meta": {"key": "pkttype"}}, "multicast", "no"),
        ("!=", {"&": [{"payload": {"protocol": "ip", "field": "frag-off"}}, 8191]}, 0, "no"),
        ("==", {"concat": [SADDR, DPORT]}, "@intervals", "yes"),
        ("!=", {"concat": [SADDR, DADDR]}, {"set": [{"concat": ["10.96.0.10", "*"]}]}, "unknown"),
        ("==", {"fib": {"result": "oif", "flags": ["saddr", "iif"]}}, True, "yes"),
        ("==", {"fib": {"result": "oif", "flags": ["saddr"]}}, "eni123", "yes"),
        ("==", {"fib": {"result": "oif", "flags": ["saddr", "mark"]}}, "eth0", "no"),
        ("==", {"fib": {"result": "oif", "flags": ["daddr"]}}, False, "yes"),
        ("==", {"rt": {"key": "nexthop", "family": "ip"}}, "10.0.0.1", "unknown"),
        ("==", {"ct": {"key": "direction"}}, "original", "yes"),
        ("in", FLAGS, "syn", "yes"),
        ("==", {"&": [FLAGS, ["syn", "ack"]]}, "syn", "yes"),
        ("==", {"payload": {"protocol": "icmp", "field": "type"}}, "echo-request", "no"),
        ("==", {"fib": {"result": "type", "flags": ["daddr"]}}, "local", "yes"),
        ("!=", {"fib": {"result": "type", "flags": ["saddr"]}}, "local", "yes"),
        ("==", {"fib": {"result": "type", "flags": ["daddr", "iif"]}}, {"set": ["local", "broadcast"]}, "no"),
        ("==", {"fib": {"result": "oif", "flags": ["saddr", "iif"]}}, False, "no"),
        ("==", {"concat": [SADDR, DADDR, L4PROTO, DPORT]}, "@hairpin", "yes"),
        ("!=", {"concat": [SADDR, DADDR]}, {"set": [{"concat": ["1.1.1.1", "2.2.2.2"]}]}, "yes"),
        # What packets put into a set is not known afterwards.
        ("==", SADDR, "@affinity", "unknown"),
        ("==", SADDR, "@nowhere", "unknown"),
        ("==", {"meta": {"key": "skuid"}}, 1000, "no"),
    ],
)
def test_comparisons(operator: str, left: Any, right: Any, expected: str) -> None:
    assert answer(operator, left, right) is Answer(expected)


def test_untracked_packets_have_no_connmark() -> None:
    untracked = packet(state=State.UNTRACKED)
    assert answer("==", CTMARK, 0x81, untracked) is Answer.NO
    assert answer("!=", CTMARK, 0x81, untracked) is Answer.NO
    assert answer("!", STATUS, "dnat", untracked) is Answer.NO


def target(*statements: dict[str, Any]) -> object:
    clauses = decode(json.dumps(statements), SETS)
    return clauses[-1].target


HOST = (ip_address("10.0.0.1"), ip_address("10.0.0.1"))


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ({"mangle": {"key": MARK, "value": {"&": [CTMARK, 128]}}}, SetMark(Bits(connmark=128))),
        (
            {"mangle": {"key": CTMARK, "value": {"|": [CTMARK, 128]}}},
            SetConnmark(Bits(connmark=ALL & ~128, constant=128)),
        ),
        (
            {"mangle": {"key": MARK, "value": {"^": [{"&": [MARK, 0xFFFFBFFF]}, 0x8000]}}},
            SetMark(Bits(mark=0xFFFFBFFF, constant=0x8000)),
        ),
        ({"mangle": {"key": MARK, "value": 5}}, SetMark(Bits(constant=5))),
        ({"mangle": {"key": CTMARK, "value": MARK}}, SetConnmark(Bits(mark=ALL))),
        ({"mangle": {"key": {"meta": {"key": "nftrace"}}, "value": 1}}, NoEffect()),
        ({"jump": {"target": "x"}}, Jump("x")),
        ({"goto": {"target": "x"}}, Jump("x", goto=True)),
        ({"reject": None}, Reject()),
        ({"reject": {"type": "tcp reset"}}, Reject("tcp reset")),
        ({"masquerade": {"flags": "fully-random"}}, Masquerade(None, Random.FULLY)),
        ({"masquerade": None}, Masquerade()),
        ({"snat": {"addr": "10.0.0.1", "flags": ["random", "persistent"]}}, Snat(HOST, None, Random.RANDOM)),
        ({"dnat": {"addr": "10.0.0.1", "port": 8080}}, Dnat(HOST, PortRange(first=8080, last=8080))),
        ({"dnat": {"addr": {"range": ["10.0.0.1", "10.0.0.5"]}}}, Dnat((HOST[0], ip_address("10.0.0.5")))),
        (
            {"vmap": {"key": {"concat": [DADDR, L4PROTO, DPORT]}, "data": "@service-ips"}},
            Lookup(
                (Field.IP_DESTINATION, Field.PROTOCOL, Field.DESTINATION_PORT),
                {(0xC0A8011D, 6, 80): Jump("service-web", goto=True)},
            ),
        ),
        (
            {
                "dnat": {
                    "family": "ip",
                    "addr": {
                        "map": {
                            "key": {"numgen": {"mode": "random", "mod": 1, "offset": 0}},
                            "data": {"set": [[0, {"concat": ["10.0.0.1", 80]}]]},
                        }
                    },
                }
            },
            OneOf(Chance("numgen random"), (Dnat(HOST, PortRange(first=80, last=80)),)),
        ),
    ],
)
def test_targets(statement: dict[str, Any], expected: object) -> None:
    assert target(statement) == expected


@pytest.mark.parametrize(
    "statement",
    [
        {"tproxy": {"port": 1234}},
        {"queue": {"num": 1}},
        {"xt": {"type": "target", "name": "SNAT"}},
        {"fwd": {"dev": "lo"}},
        {"synproxy": {"mss": 1460}},
        {"mangle": {"key": {"payload": {"protocol": "ip", "field": "daddr"}}, "value": "10.0.0.1"}},
        {"dnat": {"addr": {"map": {"key": DADDR, "data": {"set": []}}}, "flags": "netmap", "type_flags": "prefix"}},
        {"mangle": {"key": MARK, "value": {"|": [MARK, CTMARK]}}},
        {"vmap": {"key": {"meta": {"key": "skuid"}}, "data": {"set": []}}},
        {"snat": {"addr": {"map": {"key": SADDR, "data": "@nowhere"}}}},
    ],
)
def test_statements_that_are_not_modelled_keep_their_words(statement: dict[str, Any]) -> None:
    found = target(statement)
    assert found == Unmodelled(json.dumps(statement))


def test_a_rule_may_match_again_after_it_did_something() -> None:
    statements = [
        {"match": {"op": "==", "left": DADDR, "right": "192.168.1.29"}},
        {"mangle": {"key": MARK, "value": 5}},
        {"match": {"op": "==", "left": SADDR, "right": "1.1.1.1"}},
        {"accept": None},
    ]
    assert [len(clause.matches) for clause in decode(json.dumps(statements), SETS)] == [1, 1]


def test_what_is_no_json_is_unmodelled() -> None:
    assert decode("{", SETS)[0].target == Unmodelled("{")


@pytest.mark.parametrize(
    "statement",
    [
        {"limit": {"rate": 5, "burst": 5, "per": "second"}},
        {"ct count": {"val": 5, "inv": True}},
        {"quota": {"val": 10, "val_unit": "mbytes", "inv": True}},
        {"match": {"op": "==", "left": SADDR, "right": "@affinity"}},
    ],
)
def test_what_the_kernel_counts_or_remembers_is_no_gap(statement: dict[str, Any]) -> None:
    (clause,) = decode(json.dumps([statement, {"drop": None}]), SETS)
    assert [type(match) for match in clause.matches] == [Chance]


def test_maps_with_ranges_prefixes_and_a_default() -> None:
    elements = [
        ["*", {"drop": None}],
        [{"prefix": {"addr": "10.0.0.0", "len": 8}}, {"accept": None}],
        ["10.1.1.1", {"return": None}],
    ]
    found = target({"vmap": {"key": DADDR, "data": {"set": elements}}})
    assert isinstance(found, Lookup)
    chosen = [found.chosen((int(ip_address(each)),)) for each in ("10.1.1.1", "10.1.1.2", "11.0.0.1")]
    assert chosen == [Return(), Accept(), Drop()]
    names = target({"vmap": {"key": {"meta": {"key": "iifname"}}, "data": {"set": [["eni*", {"accept": None}]]}}})
    assert isinstance(names, Lookup)
    assert (names.chosen(("eni1",)), names.chosen(("eth0",))) == (Accept(), None)


def test_dscp_and_what_forwarding_does_not_look_at() -> None:
    dscp = {"payload": {"protocol": "ip", "field": "dscp"}}
    assert target({"mangle": {"key": dscp, "value": "cs1"}}) == SetTos(0x20, 0xFC)
    assert target({"mangle": {"key": {"payload": {"protocol": "ip", "field": "ttl"}}, "value": 9}}) == NoEffect()
    statements = [{"flow": {"op": "add", "flowtable": "@ft"}}, {"dup": {"addr": "10.0.0.1"}}, {"accept": None}]
    assert [clause.target for clause in decode(json.dumps(statements), SETS)] == [Accept()]
