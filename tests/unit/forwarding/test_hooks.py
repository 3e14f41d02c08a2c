"""Which hooks a packet meets, and in which order: interfaces' own hooks, equal priorities, registrations."""

import json
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address

import pytest

from pathtap.forwarding import NodeModel, Outcome, Packet, Prediction, Shown, predict
from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.netfilter import Backend, Chain, NetfilterRule, RuleSet
from pathtap.model.node import Unread
from tests.unit.forwarding.nodes import interface, iptables, route, rule, snapshot

RULES = [
    rule("0: from all lookup local"),
    rule("1024: from all fwmark 0x80/0x80 lookup 2"),
    rule("9999: from all lookup main"),
]
ROUTES = [
    route("default via 192.168.1.1 dev eth0"),
    route("default via 192.168.2.1 dev eth1", table="2"),
    route("local 192.168.1.29 dev eth0", table="local"),
]
INTERFACES = [
    interface(1, "lo", "127.0.0.1/8"),
    interface(2, "eth0", "192.168.1.29/24"),
    interface(3, "eth1"),
    interface(4, "eniaaa"),
]
DROP = {"drop": None}


def table(name: str, family: str, *chains: Chain) -> RuleSet:
    return RuleSet(backend=Backend.NFTABLES, family=family, table=name, chains=chains)


def chain(hook: str, *statements: Mapping[str, object], **fields: object) -> Chain:
    rules = (NetfilterRule(position=1, text="rule", expression=json.dumps(statements)),)
    given: dict[str, object] = {"name": f"{hook}-{fields}", "kind": "filter", "policy": "ACCEPT"} | fields
    return Chain(rules=rules, hook=hook, **given)  # type: ignore[arg-type]


def walked(
    *rule_sets: RuleSet,
    destination: str = "198.51.100.8",
    unread: tuple[Unread, ...] = (),
    shown: Shown | None = None,
    **changes: object,
) -> Prediction:
    flow = FiveTuple(
        protocol=Protocol.TCP,
        source=ip_address("192.168.1.50"),
        source_port=40000,
        destination=ip_address(destination),
        destination_port=443,
    )
    packet = replace(Packet.opening(flow, "eniaaa"), **changes)  # type: ignore[arg-type]
    return predict(NodeModel(snapshot(RULES, ROUTES, rule_sets, INTERFACES, unread)), packet, shown=shown)


def mark(value: int) -> dict[str, object]:
    return {"mangle": {"key": {"meta": {"key": "mark"}}, "value": value}}


def has_mark(value: int) -> dict[str, object]:
    return {"match": {"op": "==", "left": {"meta": {"key": "mark"}}, "right": value}}


def way(prediction: Prediction) -> str:
    return prediction.routing.interface if prediction.routing else ""


@pytest.mark.parametrize("family", ["netdev", "inet"])
def test_ingress_comes_before_routing_and_only_on_its_own_interface(family: str) -> None:
    dropped = walked(table("t", family, chain("ingress", DROP, device="eniaaa")))
    assert (dropped.outcome, dropped.routing) == (Outcome.DROPPED, None)
    assert walked(table("t", family, chain("ingress", DROP, device="eth0"))).outcome is Outcome.FORWARDED
    assert way(walked(table("t", family, chain("ingress", mark(0x80), device="eniaaa")))) == "eth1"


def test_at_ingress_there_is_no_conntrack_entry_yet() -> None:
    asked = {"match": {"op": "==", "left": {"ct": {"key": "mark"}}, "right": 0}}
    assert walked(table("t", "netdev", chain("ingress", asked, DROP, device="eniaaa"))).outcome is Outcome.FORWARDED


def test_egress_comes_last_on_the_interface_that_was_chosen() -> None:
    dropped = walked(table("t", "netdev", chain("egress", DROP, device="eth0")))
    assert (dropped.outcome, way(dropped)) == (Outcome.DROPPED, "eth0")
    assert walked(table("t", "netdev", chain("egress", DROP, device="eth1"))).outcome is Outcome.FORWARDED
    local = walked(table("t", "netdev", chain("egress", DROP, device="eth0")), destination="192.168.1.29")
    assert local.outcome is Outcome.LOCAL
    own = walked(table("t", "netdev", chain("egress", DROP, device="eth0")), in_interface="")
    assert own.outcome is Outcome.DROPPED


def test_a_hook_whose_interface_was_not_read_is_unknown() -> None:
    found = walked(table("t", "netdev", chain("ingress", DROP, name="guard")))
    assert (found.outcome, found.unknown) == (Outcome.UNKNOWN, ("the interface of t guard was not read",))
    unread = walked(unread=(Unread(part="netdev guard (nftables)", reason="no permission"),))
    assert unread.outcome is Outcome.UNKNOWN
    assert walked(unread=(Unread(part="bridge filter (nftables)", reason="no permission"),)).unknown == ()


def test_what_was_registered_last_runs_first() -> None:
    def pair(first: int, second: int) -> list[RuleSet]:
        early = chain("prerouting", mark(0x80), priority=5, registration=first, name="sets")
        late = chain("prerouting", has_mark(0x80), DROP, priority=5, registration=second, name="asks")
        return [table("one", "ip", early), table("two", "ip", late)]

    assert walked(*pair(2, 1)).outcome is Outcome.DROPPED
    after = walked(*pair(1, 2))
    assert (after.outcome, way(after), after.unknown) == (Outcome.FORWARDED, "eth1", ())
    assert walked(*pair(0, 0)).outcome is Outcome.UNKNOWN
    assert walked(*pair(0, 3)).outcome is Outcome.UNKNOWN


def test_nat_chains_of_one_priority_too() -> None:
    def pair(first: int, second: int) -> list[RuleSet]:
        chains = [
            chain(
                "prerouting",
                {"dnat": {"addr": f"10.0.0.{number}"}},
                kind="nat",
                priority=-100,
                registration=order,
                name=str(number),
            )
            for number, order in ((1, first), (2, second))
        ]
        return [table(each.name, "ip", each) for each in chains]

    def destination(*rule_sets: RuleSet) -> str:
        return str(walked(*rule_sets).packet.five_tuple.destination)

    assert (destination(*pair(1, 2)), destination(*pair(2, 1))) == ("10.0.0.2", "10.0.0.1")
    assert walked(*pair(1, 2)).unknown == ()


def marking(pod_is_marked_first: int = 0, services_first: int = 0) -> list[RuleSet]:
    """iptables-nft's chain that marks connections with all but 10.0.0.0/8, and kube-proxy's, which leads there."""
    outside = {"match": {"op": "!=", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": "10.0.0.1"}}
    connmark = {"mangle": {"key": {"ct": {"key": "mark"}}, "value": 0x80}}
    hook: dict[str, object] = {"kind": "nat", "priority": -100}
    marks = chain("prerouting", outside, connmark, name="marks", registration=pod_is_marked_first, **hook)
    serves = chain("prerouting", {"dnat": {"addr": "10.0.0.1"}}, name="serves", registration=services_first, **hook)
    restored = {"mangle": {"key": {"meta": {"key": "mark"}}, "value": {"ct": {"key": "mark"}}}}
    restores = chain("prerouting", restored, name="restores", priority=-90)
    return [table("aws", "ip", marks, restores), table("kube", "ip", serves)]


ORDER = "the order of nftables aws marks and nftables kube serves is not readable"


def test_an_order_that_nobody_can_read_is_named_once() -> None:
    found = walked(*marking())
    assert (found.unknown, way(found)) == ((ORDER,), "")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (Shown(connmark=0x80), "eth1"),
        (Shown(connmark=0), "eth0"),
        (Shown(interface="eth1"), "eth1"),
        (Shown(interface="eth0", source=ip_address("192.168.1.50")), "eth0"),
    ],
    ids=["marked", "not marked", "left by eth1", "left by eth0"],
)
def test_packets_and_conntrack_decide_which_order_it_was(shown: Shown, expected: str) -> None:
    found = walked(*marking(), shown=shown)
    assert (way(found), found.unknown, found.outcome) == (expected, (), Outcome.FORWARDED)
    assert way(walked(*marking(1, 2), shown=shown)) == way(walked(*marking(1, 2)))


@pytest.mark.parametrize(
    "shown", [Shown(), Shown(connmark=7), Shown(interface="eth9"), Shown(connmark=0, interface="eth1")]
)
def test_what_no_order_explains_decides_none(shown: Shown) -> None:
    assert walked(*marking(), shown=shown).unknown == (ORDER,)


def test_what_is_shown_decides_orders_alone() -> None:
    limited = iptables("*filter\n-A FORWARD -m limit --limit 3/min -j ACCEPT\n-A FORWARD -p tcp -j DROP\nCOMMIT\n")
    found = walked(*limited, *marking(), shown=Shown(connmark=0x80, interface="eth1"))
    assert found.outcome is Outcome.UNKNOWN
    assert "-m limit --limit 3/min -j ACCEPT" in found.unknown[0]


def test_the_order_of_many_chains_is_not_guessed() -> None:
    many = [table(str(n), "ip", chain("prerouting", mark(n), priority=5, name=str(n))) for n in range(5)]
    found = walked(*many)
    assert found.outcome is Outcome.UNKNOWN
    assert found.unknown[0].startswith("the order of nftables 0 0 and nftables 1 1 and ")


def test_a_changed_tos_routes_a_packet_of_the_node_again() -> None:
    by_tos = rule("500: from all tos 0x10 lookup 2")
    text = "*mangle\n-A OUTPUT -j TOS --set-tos 0x10/0x3f\nCOMMIT\n"
    flow = FiveTuple(
        protocol=Protocol.UDP,
        source=ip_address("192.168.1.29"),
        source_port=1,
        destination=ip_address("198.51.100.8"),
        destination_port=2,
    )
    node = NodeModel(snapshot([*RULES, by_tos], ROUTES, iptables(text), INTERFACES))
    assert way(predict(node, Packet.opening(flow))) == "eth1"


def test_what_the_kernel_counts_is_named_where_it_decides() -> None:
    limited = iptables("*filter\n-A FORWARD -m limit --limit 3/min -j ACCEPT\n-A FORWARD -p tcp -j DROP\nCOMMIT\n")
    found = walked(*limited)
    assert found.outcome is Outcome.UNKNOWN
    assert "-m limit --limit 3/min -j ACCEPT" in found.unknown[0]


def test_in_long_chains_the_rule_that_matches_is_still_found() -> None:
    comment = '-m comment --comment "a \\"b\\" -m tcp --dport 443"'
    others = [f"-A KUBE-NODEPORTS -p tcp {comment} -m tcp --dport {port} -j DROP" for port in range(30000, 30100)]
    hosts = [f"-A KUBE-NODEPORTS -d 10.0.0.{number}/32 -j DROP" for number in range(100)]

    def outcome(*last: str) -> Outcome:
        lines = ["*mangle", "-A PREROUTING -j KUBE-NODEPORTS", *others, *hosts, *last, "COMMIT"]
        return walked(*iptables("\n".join(lines) + "\n")).outcome

    assert outcome() is Outcome.FORWARDED
    assert outcome("-A KUBE-NODEPORTS -p tcp -m tcp --dport 443 -j DROP") is Outcome.DROPPED
    assert outcome(f"-A KUBE-NODEPORTS -p tcp {comment} -m tcp --dport 443 -j DROP") is Outcome.DROPPED
    assert outcome("-A KUBE-NODEPORTS -p tcp -m tcp --dport 400:500 -j DROP") is Outcome.DROPPED
    assert outcome("-A KUBE-NODEPORTS -p tcp -m tcp ! --dport 80 -j DROP") is Outcome.DROPPED
    assert outcome("-A KUBE-NODEPORTS -d 198.51.100.8/32 -j DROP") is Outcome.DROPPED
    assert outcome("-A KUBE-NODEPORTS -p udp -m udp --dport 443 -j DROP") is Outcome.FORWARDED


@pytest.mark.parametrize(
    "expression",
    [
        *(
            "{",
            "null",
            "5",
            "[null]",
            "[[]]",
            "[{}]",
            "[5]",
            "[" * 5000,
            '[{"match": []}, {"drop": null}]',
            '[{"xt": null}]',
        ),
        *('[{"jump": {"target": ["c"]}}]', '[{"vmap": {"key": {"numgen": {"mode": "random"}}, "data": {"set": []}}}]'),
        *('[{"dnat": {"addr": {"range": ["10.0.0.9", "10.0.0.1"]}}}]', '[{"dnat": {"port": {"range": [9, 1]}}}]'),
        '[{"snat": {"addr": {"map": {"key": {"jhash": 1}, "data": {"set": []}}}}}]',
    ],
)
def test_what_no_nft_prints_is_unknown(expression: str) -> None:
    rules = (NetfilterRule(position=1, text="rule", expression=expression),)
    hostile = Chain(name="c", rules=rules, hook="prerouting", kind="nat", priority=-100, policy="ACCEPT")
    found = walked(table("t", "ip", hostile))
    assert found.outcome is Outcome.UNKNOWN
    assert found.unknown


def test_a_source_from_nowhere_is_not_told() -> None:
    nowhere = {"snat": {"addr": {"range": ["10.0.0.9", "10.0.0.1"]}}}
    found = walked(table("t", "ip", chain("postrouting", nowhere, kind="nat", priority=100)))
    assert found.snat
    assert found.snat.address is None


def test_chains_that_lead_back_to_themselves_come_to_an_end() -> None:
    unknown = {"match": {"op": "==", "left": {"nobody": "knows"}, "right": 1}}
    again = [unknown, {"jump": {"target": "c"}}]
    rules = tuple(NetfilterRule(position=n, text="rule", expression=json.dumps(again)) for n in (1, 2, 3))
    found = walked(table("t", "ip", Chain(name="c", rules=rules, hook="forward", kind="filter", policy="ACCEPT")))
    assert (found.outcome, len(found.unknown)) == (Outcome.UNKNOWN, 1)
