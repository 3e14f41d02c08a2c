"""How chains are walked: order, returns, bindings, and what an unknown does and does not spoil."""

import json
from ipaddress import ip_address

import pytest

from pathtap.forwarding import NodeModel, Outcome, Packet, Prediction, State, predict
from pathtap.model.address import FiveTuple, Protocol, Socket
from pathtap.model.netfilter import Backend, Chain, NetfilterRule, RuleSet
from pathtap.model.node import Role, Unread
from tests.unit.forwarding.nodes import interface, iptables, native_table, route, rule, snapshot

RULES = [
    rule("0: from all lookup local"),
    rule("1024: from all fwmark 0x80/0x80 lookup 2"),
    rule("32766: from all lookup main"),
]
ROUTES = [
    route("default via 192.168.1.1 dev eth0"),
    route("default via 192.168.2.1 dev eth1", table="2"),
    route("local 192.168.1.29 dev eth0", table="local"),
]
INTERFACES = [
    interface(1, "lo", "127.0.0.1/8", role=Role.LOOPBACK),
    interface(2, "eth0", "192.168.3.9/24", "192.168.1.29/24"),
]


def walked(text: str, *more: RuleSet, unread: tuple[Unread, ...] = (), **changes: object) -> Prediction:
    flow = FiveTuple(
        protocol=Protocol.TCP,
        source=ip_address("192.168.1.50"),
        source_port=40000,
        destination=ip_address("198.51.100.8"),
        destination_port=443,
    )
    fields: dict[str, object] = {"five_tuple": flow, "in_interface": "eniaaa"} | changes
    packet = Packet(**fields)  # type: ignore[arg-type]
    node = snapshot(RULES, ROUTES, [*iptables(text), *more], INTERFACES, unread)
    return predict(NodeModel(node), packet)


def mangle(*rules: str) -> str:
    return "\n".join(["*mangle", *(f"-A {text}" for text in rules), "COMMIT\n"])


def nat(*rules: str) -> str:
    return "\n".join(["*nat", *(f"-A {text}" for text in rules), "COMMIT\n"])


def filter_(*rules: str, policy: str = "ACCEPT") -> str:
    return "\n".join(["*filter", f":FORWARD {policy} [0:0]", *(f"-A {text}" for text in rules), "COMMIT\n"])


def way(prediction: Prediction) -> str:
    return prediction.routing.interface if prediction.routing else ""


def test_return_goes_back_and_goto_does_not() -> None:
    after = "PREROUTING -j MARK --set-xmark 0x80/0x80"
    assert way(walked(mangle("PREROUTING -j A", "A -j RETURN", after))) == "eth1"
    assert way(walked(mangle("PREROUTING -g A", "A -p tcp -j LOG", after))) == "eth0"
    assert way(walked(mangle("PREROUTING -j A", "A -g B", "A -j ACCEPT", "B -p udp -j DROP", after))) == "eth1"


def test_an_accept_shadows_what_follows_in_its_base_chain_only() -> None:
    shadowed = walked(
        mangle("PREROUTING -j ACCEPT", "PREROUTING -j MARK --set-xmark 0x80/0x80")
        + nat("PREROUTING -j MARK --set-xmark 0x1/0x1")
    )
    assert [change.after for change in shadowed.marks] == [1]


def test_policy() -> None:
    dropped = walked(filter_(policy="DROP"))
    assert dropped.outcome is Outcome.DROPPED
    assert dropped.dropped_by is not None
    assert (dropped.dropped_by.position, dropped.dropped_by.text) == (0, "policy DROP")
    assert walked(filter_("FORWARD -m conntrack --ctstate NEW -j ACCEPT", policy="DROP")).outcome is Outcome.FORWARDED
    assert walked(filter_("FORWARD -j RETURN", policy="DROP")).outcome is Outcome.DROPPED


def test_an_unknown_match_without_effect_is_harmless() -> None:
    text = filter_("FORWARD -m set --match-set s src -j LOG", "FORWARD -m set --match-set s src -j ACCEPT")
    prediction = walked(text)
    assert (prediction.outcome, prediction.unknown) == (Outcome.FORWARDED, ())


def test_an_unknown_match_on_a_drop_makes_the_outcome_unknown_and_nothing_else() -> None:
    prediction = walked(
        filter_("FORWARD -m set --match-set s src -j DROP") + nat("POSTROUTING -j SNAT --to-source 192.168.1.29")
    )
    assert prediction.outcome is Outcome.UNKNOWN
    assert prediction.unknown == ("filter FORWARD #1 (iptables-nft): -m set --match-set s src -j DROP",)
    assert way(prediction) == "eth0"
    assert prediction.snat is not None
    assert prediction.snat.address == ip_address("192.168.1.29")


def test_an_unknown_match_on_a_mark_makes_the_way_unknown() -> None:
    prediction = walked(mangle("PREROUTING -m set --match-set s src -j MARK --set-xmark 0x80/0x80"))
    assert prediction.routing is not None
    assert (prediction.outcome, prediction.routing.interface, prediction.marks) == (Outcome.FORWARDED, "", ())
    assert len(prediction.unknown) == 1


def test_an_unknown_mark_that_leads_nowhere_else_does_not_spoil_the_way() -> None:
    prediction = walked(mangle("PREROUTING -m set --match-set s src -j MARK --set-xmark 0x1/0x1"))
    assert way(prediction) == "eth0"


@pytest.mark.parametrize("target", ["TPROXY --on-port 15001", "NFQUEUE", "CT --zone 3"])
def test_an_unmodelled_target_ends_what_can_be_said(target: str) -> None:
    prediction = walked(mangle(f"PREROUTING -p tcp -j {target}"))
    assert (prediction.outcome, prediction.routing) == (Outcome.UNKNOWN, None)
    assert target in prediction.unknown[0]
    assert walked(mangle(f"PREROUTING -p udp -j {target}")).outcome is Outcome.FORWARDED


def test_an_unread_table_is_unknown_and_not_empty() -> None:
    prediction = walked("", unread=(Unread(part="nat (iptables-legacy)", reason="no permission"),))
    assert prediction.outcome is Outcome.UNKNOWN
    assert "no permission" in prediction.unknown[0]
    other_family = walked("", unread=(Unread(part="ip6 nat (iptables-nft)", reason="no permission"),))
    assert (other_family.outcome, other_family.unknown) == (Outcome.FORWARDED, ())
    assert walked("", unread=(Unread(part="nftables", reason="no nft"),)).outcome is Outcome.UNKNOWN
    assert walked("", unread=(Unread(part="conntrack", reason="no matter"),)).unknown == ()


def test_tracked_packets_skip_the_nat_chains() -> None:
    text = nat("PREROUTING -j MARK --set-xmark 0x80/0x80", "POSTROUTING -j SNAT --to-source 192.168.1.29")
    prediction = walked(text, state=State.ESTABLISHED)
    assert (way(prediction), prediction.snat, prediction.marks) == ("eth0", None, ())


def test_notrack_takes_the_packet_from_connmark_and_nat() -> None:
    raw = "*raw\n-A PREROUTING -p tcp -j CT --notrack\nCOMMIT\n"
    text = (
        raw
        + mangle("PREROUTING -j CONNMARK --set-xmark 0x80/0x80")
        + nat("POSTROUTING -j SNAT --to-source 192.168.1.29")
    )
    prediction = walked(text)
    assert (prediction.packet.state, prediction.marks, prediction.snat) == (State.UNTRACKED, (), None)


def test_after_a_binding_the_later_nat_chains_are_skipped() -> None:
    dnat = nat("PREROUTING -p tcp -j DNAT --to-destination 198.51.100.9:443")
    late = native_table(
        "late", "nat", "prerouting", -90, [{"mangle": {"key": {"meta": {"key": "mark"}}, "value": 128}}]
    )
    assert way(walked(dnat, late)) == "eth0"
    assert way(walked(nat("PREROUTING -p udp -j DNAT --to-destination 198.51.100.9:443"), late)) == "eth1"


def test_a_native_nat_chain_runs_at_the_nat_hook_whatever_its_priority() -> None:
    """A filter chain at -95 comes after every nat chain, even one that is registered at -90."""
    mark = {"mangle": {"key": {"meta": {"key": "mark"}}, "value": 128}}
    matching = {"match": {"op": "==", "left": {"meta": {"key": "mark"}}, "right": 128}}
    setter = native_table("setter", "filter", "prerouting", -95, [mark])
    seen = native_table("seen", "nat", "prerouting", -90, [matching, {"drop": None}])
    assert walked("", setter, seen).outcome is Outcome.FORWARDED
    earlier = native_table("setter", "filter", "prerouting", -105, [mark])
    assert walked("", earlier, seen).outcome is Outcome.DROPPED


def test_nat_chains_of_equal_priority_have_no_readable_order() -> None:
    first = native_table("first", "nat", "prerouting", -100, [{"dnat": {"addr": "198.51.100.9"}}])
    second = native_table("second", "nat", "prerouting", -100, [{"dnat": {"addr": "198.51.100.10"}}])
    prediction = walked("", first, second)
    assert prediction.dnat is not None
    assert (prediction.dnat.rule, len(prediction.dnat.alternatives)) == (None, 2)
    assert "order of" in prediction.unknown[0]
    assert way(prediction) == "eth0"


def test_masquerade_takes_the_address_of_the_next_hops_subnet() -> None:
    prediction = walked(nat("POSTROUTING -j MASQUERADE --random-fully"))
    assert prediction.snat is not None
    assert prediction.snat.address == ip_address("192.168.1.29")


def test_masquerade_of_an_interface_without_address_takes_the_first_of_the_node() -> None:
    text = mangle("PREROUTING -j MARK --set-xmark 0x80/0x80") + nat("POSTROUTING -j MASQUERADE")
    prediction = walked(text)
    assert way(prediction) == "eth1"
    assert prediction.snat is not None
    assert prediction.snat.address == ip_address("192.168.3.9")


def test_redirect_is_local() -> None:
    prediction = walked(nat("PREROUTING -i eth0 -p tcp -j REDIRECT --to-ports 15001"), in_interface="eth0")
    assert prediction.dnat is not None
    assert prediction.dnat.alternatives == (Socket(ip_address("192.168.3.9"), 15001),)


def test_redirect_drops_what_came_in_where_the_node_has_no_address() -> None:
    """A pod's veth: nf_nat_redirect_ipv4 returns NF_DROP."""
    prediction = walked(nat("PREROUTING -p tcp -j REDIRECT --to-ports 15001"))
    assert prediction.outcome is Outcome.DROPPED
    assert prediction.dropped_by is not None
    assert prediction.dropped_by.text == "-p tcp -j REDIRECT --to-ports 15001"
    assert prediction.routing is None


def test_a_dnat_range_has_alternatives() -> None:
    prediction = walked(nat("PREROUTING -p tcp -j DNAT --to-destination 198.51.100.9-198.51.100.10"))
    assert prediction.dnat is not None
    assert len(prediction.dnat.alternatives) == 2
    assert (prediction.outcome, prediction.unknown) == (Outcome.FORWARDED, ())
    huge = walked(nat("PREROUTING -p tcp -j DNAT --to-destination 10.0.0.0-10.255.255.255"))
    assert huge.outcome is Outcome.UNKNOWN


def test_a_chain_that_jumps_to_itself_is_unknown_and_not_endless() -> None:
    assert walked(mangle("PREROUTING -j A", "A -j A")).outcome is Outcome.UNKNOWN


def test_too_many_possibilities_are_refused() -> None:
    rules = [
        f"PREROUTING -m set --match-set s{bit} src -j MARK --set-xmark {1 << bit:#x}/{1 << bit:#x}" for bit in range(14)
    ]
    prediction = walked(mangle(*rules))
    assert prediction.outcome is Outcome.UNKNOWN
    assert prediction.unknown


def test_long_chains_are_walked_as_if_they_were_not_indexed() -> None:
    filler = [f"PREROUTING -d 10.0.{number}.1/32 -j DROP" for number in range(60)]
    marked = "PREROUTING -s 192.168.1.50/32 -j MARK --set-xmark 0x80/0x80"
    prediction = walked(
        mangle(*filler, marked, "PREROUTING -p tcp -j LOG", "PREROUTING -d 198.51.100.8/32 -m mark --mark 0x80 -j DROP")
    )
    assert prediction.dropped_by is not None
    assert (prediction.outcome, prediction.dropped_by.position) == (Outcome.DROPPED, 63)


def test_a_service_of_kube_proxys_nftables_mode() -> None:
    key = [
        {"payload": {"protocol": "ip", "field": "daddr"}},
        {"meta": {"key": "l4proto"}},
        {"payload": {"protocol": "th", "field": "dport"}},
    ]
    services = [{"vmap": {"key": {"concat": key}, "data": "@service-ips"}}]
    backends = [[number, {"concat": [f"192.168.9.{number}", 8080]}] for number in range(2)]
    dice = {"map": {"key": {"numgen": {"mode": "random", "mod": 2, "offset": 0}}, "data": {"set": backends}}}
    table = RuleSet(
        backend=Backend.NFTABLES,
        family="ip",
        table="kube-proxy",
        objects=json.dumps(
            [
                {
                    "map": {
                        "name": "service-ips",
                        "elem": [[{"concat": ["198.51.100.8", "tcp", 443]}, {"goto": {"target": "web"}}]],
                    }
                }
            ]
        ),
        chains=(
            *native_table("kube-proxy", "nat", "prerouting", -100, services).chains,
            Chain(
                name="web",
                rules=(NetfilterRule(position=1, text="dnat", expression=json.dumps([{"dnat": {"addr": dice}}])),),
            ),
        ),
    )
    prediction = walked("", table)
    assert prediction.dnat is not None
    assert prediction.dnat.alternatives == tuple(Socket(ip_address(f"192.168.9.{number}"), 8080) for number in range(2))
    assert prediction.dnat.rule is not None
    assert (prediction.dnat.rule.chain, way(prediction), prediction.unknown) == ("web", "eth0", ())


def test_forwarding_switched_off() -> None:
    packet = walked("").packet
    node = snapshot(RULES, ROUTES, (), INTERFACES, sysctls={"net.ipv4.conf.eniaaa.forwarding": "0"})
    prediction = predict(NodeModel(node), Packet(five_tuple=packet.five_tuple, in_interface="eniaaa"))
    assert prediction.outcome is Outcome.DROPPED
    assert "forwarding" in prediction.reason


def test_a_mark_in_mangle_output_routes_again_and_one_in_filter_output_does_not() -> None:
    output = "OUTPUT -j MARK --set-xmark 0x80/0x80"
    assert way(walked(mangle(output), in_interface="")) == "eth1"
    assert way(walked(f"*filter\n-A {output}\nCOMMIT\n", in_interface="")) == "eth0"


def test_rules_of_the_other_family_do_not_concern_the_packet() -> None:
    six = iptables(filter_("FORWARD -j DROP"), Backend.NFT, "ip6")
    inet = RuleSet(
        backend=Backend.NFTABLES,
        family="inet",
        table="firewall",
        chains=(
            Chain(
                name="forward",
                hook="forward",
                kind="filter",
                policy="ACCEPT",
                rules=(NetfilterRule(position=1, text="drop", expression='[{"drop": null}]'),),
            ),
        ),
    )
    assert walked("", *six).outcome is Outcome.FORWARDED
    assert walked("", inet).outcome is Outcome.DROPPED
