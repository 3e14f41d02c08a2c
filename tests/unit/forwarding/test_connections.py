"""Packets of a connection that conntrack holds, and packets of which it holds nothing. Measured on 6.18."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from pathtap.forwarding import NodeModel, Outcome, Packet, Prediction, State, predict
from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.packet import TcpFlag
from tests.unit.forwarding.nodes import interface, iptables, route, rule, snapshot

RULES = [rule("0: from all lookup local"), rule("9999: from all lookup main")]
ROUTES = [
    route("default via 192.168.1.1 dev eth0"),
    route("192.168.1.50 dev eniaaa"),
    route("192.168.1.117 dev eniccc"),
    route("local 192.168.1.29 dev eth0", table="local"),
]
INTERFACES = [interface(2, "eth0", "192.168.1.29/24"), interface(4, "eniaaa")]
SYN, ACK, FIN, RST = TcpFlag.SYN, TcpFlag.ACK, TcpFlag.FIN, TcpFlag.RST


def tuples(source: str, port: int, destination: str, to: int, protocol: Protocol = Protocol.TCP) -> FiveTuple:
    return FiveTuple(
        protocol=protocol,
        source=ip_address(source),
        source_port=port,
        destination=ip_address(destination),
        destination_port=to,
    )


# To a Service, masqueraded on the way out.
ENTRY = ConntrackEntry(
    node="node-1",
    original=tuples("192.168.1.50", 40000, "10.100.0.10", 80),
    reply=tuples("198.51.100.7", 8080, "192.168.1.29", 51000),
    mark=0x80,
)


def walked(packet: Packet, text: str = "") -> Prediction:
    return predict(NodeModel(snapshot(RULES, ROUTES, iptables(text), INTERFACES)), packet)


OTHER_WAY = """*nat
-A PREROUTING -d 10.100.0.10/32 -j DNAT --to-destination 203.0.113.1
-A POSTROUTING -j SNAT --to-source 203.0.113.2
COMMIT
"""


@pytest.mark.parametrize("state", [State.ESTABLISHED, State.NEW])
def test_the_entry_translates_and_the_rules_are_not_asked(state: State) -> None:
    found = walked(Packet.continuing(*ENTRY.forward_tuples, "eniaaa", ENTRY.mark, state=state), OTHER_WAY)
    assert str(found.packet.five_tuple) == "tcp 192.168.1.29:51000 → 198.51.100.7:8080"
    assert (found.outcome, found.dnat, found.snat, found.unknown) == (Outcome.FORWARDED, None, None, ())


def test_the_answer_is_translated_back() -> None:
    found = walked(Packet.replying(*ENTRY.reply_tuples, "eth0", ENTRY.mark), OTHER_WAY)
    assert str(found.packet.five_tuple) == "tcp 10.100.0.10:80 → 192.168.1.50:40000"
    assert found.routing is not None
    assert found.routing.interface == "eniaaa"


@pytest.mark.parametrize(
    "asked",
    [
        "--ctstate DNAT",
        "--ctstate SNAT",
        "--ctstatus SEEN_REPLY",
        "--ctorigsrc 192.168.1.50/32 --ctorigdst 10.100.0.10/32 --ctorigdstport 80",
        "--ctreplsrc 198.51.100.0/24 --ctrepldst 192.168.1.29/32 --ctrepldstport 51000",
    ],
)
def test_both_directions_know_their_entry(asked: str) -> None:
    text = f"*filter\n-A FORWARD -m conntrack {asked} -j DROP\nCOMMIT\n"
    forward = Packet.continuing(*ENTRY.forward_tuples, "eniaaa")
    for packet in (forward, Packet.replying(*ENTRY.reply_tuples, "eth0")):
        assert walked(packet, text).outcome is Outcome.DROPPED
    untranslated = tuples("192.168.1.50", 1, "198.51.100.8", 2)
    assert walked(Packet.opening(untranslated, "eniaaa"), text).outcome is Outcome.FORWARDED


def test_an_opening_packet_is_asked_by_the_tuple_it_came_with() -> None:
    nat = "*nat\n-A PREROUTING -d 10.100.0.10/32 -j DNAT --to-destination 192.168.1.117\nCOMMIT\n"
    asked = "-m conntrack --ctorigdst 10.100.0.10/32 --ctreplsrc 192.168.1.117/32 -m mark --mark 0x0"
    text = f"{nat}*filter\n-A FORWARD -d 192.168.1.117/32 {asked} -j DROP\nCOMMIT\n"
    assert walked(Packet.opening(ENTRY.original, "eniaaa"), text).outcome is Outcome.DROPPED


def test_connmarks_are_saved_and_restored_under_their_masks() -> None:
    text = """*mangle
-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xff --ctmask 0x80
-A POSTROUTING -j MARK --set-xmark 0x3/0xf
-A POSTROUTING -j CONNMARK --save-mark --nfmask 0xf --ctmask 0xf0
COMMIT
"""
    packet = replace(Packet.continuing(*ENTRY.forward_tuples, "eniaaa", 0xFF), mark=0x1234)
    found = walked(packet, text)
    changes = [(change.kind, change.before, change.after) for change in found.marks]
    assert changes == [("fwmark", 0x1234, 0x1280), ("fwmark", 0x1280, 0x1283), ("connmark", 0xFF, 0xC)]


@pytest.mark.parametrize(
    ("flags", "loose", "expected"),
    [
        (SYN, True, State.NEW),
        (SYN | ACK, True, State.INVALID),
        (ACK, True, State.NEW),
        (ACK, False, State.INVALID),
        (FIN | ACK, True, State.INVALID),
        (RST, True, State.INVALID),
        (RST | ACK, True, State.INVALID),
    ],
)
def test_tcp_without_an_entry(flags: TcpFlag, loose: bool, expected: State) -> None:
    assert Packet.without_entry(ENTRY.original, "eniaaa", tcp_flags=flags, loose=loose).state is expected


@pytest.mark.parametrize(
    ("protocol", "icmp_type", "expected"),
    [
        (Protocol.ICMP, 8, State.NEW),
        (Protocol.ICMP, 0, State.INVALID),
        (Protocol.ICMP, 3, State.INVALID),
        (Protocol.ICMPV6, 128, State.NEW),
        (Protocol.ICMPV6, 129, State.INVALID),
        (Protocol.UDP, None, State.NEW),
    ],
)
def test_icmp_and_udp_without_an_entry(protocol: Protocol, icmp_type: int | None, expected: State) -> None:
    ends = ("fd00::1", "fd00::2") if protocol is Protocol.ICMPV6 else ("192.168.1.50", "198.51.100.8")
    flow = tuples(ends[0], 1, ends[1], 0, protocol)
    assert Packet.without_entry(flow, "eniaaa", icmp_type=icmp_type).state is expected


def test_invalid_packets_meet_kube_proxys_drop_and_no_nat() -> None:
    text = OTHER_WAY + "*filter\n-A FORWARD -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n"
    found = walked(Packet.without_entry(ENTRY.original, "eniaaa", tcp_flags=SYN | ACK), text)
    assert (found.outcome, str(found.packet.five_tuple.destination)) == (Outcome.DROPPED, "10.100.0.10")


def test_an_error_about_a_connection_is_related() -> None:
    flow = tuples("198.51.100.1", 0, "192.168.1.50", 0, Protocol.ICMP)
    error = Packet.related(flow, "eth0", 0x80, icmp_type=3, icmp_code=4)
    text = "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\nCOMMIT\n"
    assert walked(error, text).outcome is Outcome.FORWARDED
    assert walked(error, OTHER_WAY).packet.five_tuple.source == flow.source


@pytest.mark.parametrize(
    ("target", "port", "expected"),
    [
        ("DNAT --to-destination 198.51.100.9:80-90/8080", 8083, ["198.51.100.9:83"]),
        ("DNAT --to-destination 198.51.100.9:80-82", 81, ["198.51.100.9:81"]),
        (
            "DNAT --to-destination 198.51.100.9:80-82 --random",
            81,
            ["198.51.100.9:80", "198.51.100.9:81", "198.51.100.9:82"],
        ),
        ("NETMAP --to 198.51.100.0/24", 80, ["198.51.100.10:80"]),
    ],
)
def test_destinations_that_are_computed(target: str, port: int, expected: list[str]) -> None:
    text = f"*nat\n-A PREROUTING -p tcp -j {target}\nCOMMIT\n"
    found = walked(Packet.opening(tuples("192.168.1.50", 1, "10.100.0.10", port), "eniaaa"), text)
    assert found.dnat is not None
    assert sorted(str(each) for each in found.dnat.alternatives) == expected


def test_netmap_of_a_source_keeps_the_host_part() -> None:
    text = "*nat\n-A POSTROUTING -s 192.168.1.0/24 -j NETMAP --to 203.0.113.0/24\nCOMMIT\n"
    found = walked(Packet.opening(tuples("192.168.1.50", 1, "198.51.100.8", 80), "eniaaa"), text)
    assert found.snat is not None
    assert str(found.snat.address) == "203.0.113.50"
