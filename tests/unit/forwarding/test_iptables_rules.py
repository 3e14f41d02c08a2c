"""Canonical rule texts, as iptables 1.8.9 prints them in both backends, against packets that do and do not match."""

from ipaddress import ip_address, ip_network

import pytest

from pathtap.forwarding.answer import Answer, every
from pathtap.forwarding.evaluation import Knowledge, evaluate
from pathtap.forwarding.ipsets import IpSets
from pathtap.forwarding.iptables import decode, words
from pathtap.forwarding.matches import Unmodelled
from pathtap.forwarding.packet import Packet, State
from pathtap.forwarding.routing import RoutingTables
from pathtap.forwarding.targets import (
    Accept,
    Bits,
    Dnat,
    Drop,
    Jump,
    Masquerade,
    Netmap,
    NoEffect,
    Redirect,
    Reject,
    Return,
    SetConnmark,
    SetMark,
    SetTos,
    Snat,
    Untrack,
)
from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.netfilter import Random
from pathtap.model.node import IpSet, PortRange
from pathtap.model.packet import TcpFlag
from tests.unit.forwarding.nodes import route, rule, snapshot

ROUTES = [route("local 192.168.1.29 dev eth0", "local"), route("10.0.0.0/8 dev eni123")]
KNOWN = Knowledge(
    tables=RoutingTables(snapshot([rule("0: from all lookup local"), rule("9: from all lookup main")], ROUTES)),
    sets=IpSets([IpSet(name="pods", kind="hash:ip", family=4, elements=("10.0.0.1", "10.0.0.3"))]),
)
ALL = 0xFFFFFFFF


def packet(protocol: int = Protocol.TCP, **changes: object) -> Packet:
    flow = FiveTuple(
        protocol=protocol,
        source=ip_address("10.0.0.1"),
        source_port=2000,
        destination=ip_address("192.168.1.29"),
        destination_port=85,
    )
    fields: dict[str, object] = {
        "five_tuple": flow,
        "in_interface": "eni123",
        "out_interface": "eth0",
        "mark": 0x84,
        "connmark": 0x13,
        "tcp_flags": TcpFlag.SYN,
        "icmp_type": 8,
        "tos": 0x28,
    }
    return Packet(**(fields | changes))  # type: ignore[arg-type]


def answer(text: str, asked: Packet) -> Answer:
    (clause,) = decode(f"{text} -j ACCEPT", 4)
    assert clause.target == Accept()
    return every(evaluate(match, asked, KNOWN) for match in clause.matches)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-s 10.0.0.0/8 -d 192.168.1.29/32",
        "! -s 10.0.0.2/32 ! -d 10.0.0.0/8 ! -i eth+",
        "-s 10.0.0.1/255.0.255.255",
        "-i eni+ -o eth0",
        "! -o vlan+",
        "! -p udp",
        "-p tcp -m tcp",
        "! -f",
        "-m physdev ! --physdev-is-bridged",
        "-m owner ! --uid-owner 0",
        "-m set --match-set pods src",
        "-m set --match-set pods src -m set ! --match-set pods dst",
        "-m conntrack --ctproto 6 --ctorigsrc 10.0.0.0/8 --ctorigdst 192.168.1.29/32",
        "-m conntrack --ctorigdstport 80:90 --ctorigsrcport 2000",
        "-m conntrack --ctreplsrc 192.168.1.29/32 --ctrepldst 10.0.0.1/32 --ctreplsrcport 85 --ctrepldstport 2000",
        "-m conntrack ! --ctstatus SEEN_REPLY",
        "-m dscp --dscp 0x0a",
        "-m tos --tos 0x28/0xff",
        "-m pkttype --pkt-type unicast",
        "-m rpfilter --loose",
        "-m rpfilter --validmark --accept-local",
        "-m recent --set --name x --mask 255.255.255.255 --rsource",
        "-p tcp -m tcp --sport 1024:65535 --dport 80:90",
        "-p tcp -m tcp ! --dport 80",
        "-p tcp -m multiport --dports 22,80:90",
        "-p tcp -m multiport ! --sports 80",
        "-p tcp -m multiport --ports 2000",
        "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN",
        "-m mark --mark 0x80/0xf0",
        "-m mark ! --mark 0x80",
        "-m connmark --mark 0x13",
        "-m state --state NEW,RELATED",
        "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT",
        "-m conntrack --ctstate NEW --ctdir ORIGINAL",
        "-m addrtype --dst-type LOCAL",
        "-m addrtype ! --src-type LOCAL",
        "-m iprange --src-range 10.0.0.0-10.0.0.5",
        '-m comment --comment "name: \\"aws-cni\\" id: \\"-m state\\"" -m mark --mark 0x84',
        "-m comment --comment -j -m mark --mark 0x84",
        "-m conntrack --ctstate NEW -m nfacct --nfacct-name  ct_state_invalid_dropped_pkts",
        "-p tcp -m recent --set --name KUBE-SEP-A --mask 255.255.255.255 --rsource",
    ],
)
def test_matches(text: str) -> None:
    assert answer(text, packet()) is Answer.YES


@pytest.mark.parametrize(
    "text",
    [
        "! -s 10.0.0.0/8",
        "-s 10.0.0.0/255.0.255.255 -p tcp",
        "-d 192.168.1.28/32",
        "-i eth+",
        "-o eth1",
        "-p 47",
        "-p gre",
        "-p tcp -m tcp --dport 443",
        "-p udp -m udp ! --dport 443",
        "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN",
        "-p icmp -m icmp --icmp-type 8",
        "-m mark --mark 0x80",
        "-m connmark ! --mark 0x13",
        "-m conntrack --ctstate RELATED,ESTABLISHED",
        "-m addrtype --dst-type LOCAL --limit-iface-in",
        "-f",
        "-m physdev --physdev-is-bridged",
        "-m physdev --physdev-in veth0",
        "-m owner --uid-owner 0",
        "-m cgroup ! --cgroup 5",
        "-m set ! --match-set pods src",
        "-m set --match-set pods dst",
        "-m conntrack --ctstatus SEEN_REPLY,CONFIRMED",
        "-m conntrack --ctproto 17",
        "-m conntrack ! --ctorigsrc 10.0.0.0/8",
        "-m dscp --dscp 0x0b",
        "-m tos ! --tos 0x28/0xfc",
        "-m pkttype --pkt-type multicast",
        "-m rpfilter --invert --loose",
        "-m recent ! --set --name x",
        # A rule that also asks for something unknown does not match all the same.
        "-d 10.9.9.9/32 -m set --match-set calico src",
    ],
)
def test_does_not_match(text: str) -> None:
    assert answer(text, packet()) is Answer.NO


@pytest.mark.parametrize(
    "text",
    [
        "-m set --match-set cali40all-ipam-pools dst",
        "-m set ! --match-set cali40all-ipam-pools dst",
        "-m statistic --mode random --probability 0.33333333349",
        "-m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-A --mask 255.255.255.255 --rsource",
        "-m limit --limit 3/min",
        "-m hashlimit --hashlimit-upto 5/sec --hashlimit-burst 5 --hashlimit-mode srcip --hashlimit-name x",
        "-m set --match-set pods src --packets-gt 3",
        "-m conntrack --ctexpire 10",
        "-m ttl --ttl-eq 64",
        "-m length --length 100:200",
        "-m policy --dir in --pol ipsec",
        '-m string --string "-j DROP" --algo bm',
        "-m u32 --u32 0x0",
        "-p nobody-knows",
        "-m mark --mark garbled",
        "-m socket",
        "-m frobnicate --knob 1",
    ],
)
def test_unknown(text: str) -> None:
    assert answer(text, packet()) is Answer.UNKNOWN


def test_icmp_type_and_code() -> None:
    echo = packet(Protocol.ICMP)
    assert answer("-p icmp -m icmp --icmp-type 8", echo) is Answer.YES
    assert answer("-p icmp -m icmp --icmp-type 8/0", echo) is Answer.YES
    assert answer("-p icmp -m icmp --icmp-type 8/1", echo) is Answer.NO
    assert answer("-p icmp -m icmp ! --icmp-type 8/1", echo) is Answer.YES
    assert answer("-p icmp -m icmp ! --icmp-type 8/0", echo) is Answer.NO
    assert answer("-p icmp -m icmp --icmp-type 8", packet(Protocol.ICMP, icmp_type=None)) is Answer.UNKNOWN
    assert answer("-p icmp -m icmp --icmp-type any", echo) is Answer.YES


def test_untracked_packets_have_no_connmark_to_match_or_to_miss() -> None:
    untracked = packet(state=State.UNTRACKED)
    assert answer("-m connmark --mark 0x13", untracked) is Answer.NO
    assert answer("-m connmark ! --mark 0x13", untracked) is Answer.NO
    assert answer("-m conntrack --ctstate UNTRACKED", untracked) is Answer.YES


V4 = (ip_address("10.0.0.1"), ip_address("10.0.0.1"))


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("", NoEffect()),
        ("-j ACCEPT", Accept()),
        ("-j DROP", Drop()),
        ("-j RETURN", Return()),
        ("-j REJECT --reject-with icmp-port-unreachable", Reject("icmp-port-unreachable")),
        ("-j KUBE-SERVICES", Jump("KUBE-SERVICES")),
        ("-g X", Jump("X", goto=True)),
        ("-j SNAT --to-source 10.0.0.1 --random-fully", Snat(V4, None, Random.FULLY)),
        (
            "-j SNAT --to-source 10.0.0.1:100-200 --random --persistent",
            Snat(V4, PortRange(first=100, last=200), Random.RANDOM),
        ),
        ("-j DNAT --to-destination 10.0.0.1:80", Dnat(V4, PortRange(first=80, last=80))),
        (
            "-j DNAT --to-destination 10.0.0.1-10.0.0.9:80-90 --random",
            Dnat((V4[0], ip_address("10.0.0.9")), PortRange(first=80, last=90), Random.RANDOM),
        ),
        ("-j DNAT --to-destination :80", Dnat(None, PortRange(first=80, last=80))),
        ("-j REDIRECT --to-ports 8080", Redirect(PortRange(first=8080, last=8080))),
        ("-j MASQUERADE", Masquerade()),
        ("-j MASQUERADE --to-ports 1024-65535 --random", Masquerade(PortRange(first=1024, last=65535), Random.RANDOM)),
        ("-j MARK --set-xmark 0x4000/0x4000", SetMark(Bits(mark=ALL & ~0x4000, constant=0x4000))),
        ("-j MARK --set-xmark 0x4000/0x0", SetMark(Bits(mark=ALL, constant=0x4000))),
        ("-j MARK --set-mark 0x5/0xf0", SetMark(Bits(mark=ALL & ~0xF5, constant=0x5))),
        ("-j CONNMARK --set-xmark 0x80/0x80", SetConnmark(Bits(connmark=ALL & ~0x80, constant=0x80))),
        ("-j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80", SetMark(Bits(mark=ALL & ~0x80, connmark=0x80))),
        ("-j CONNMARK --restore-mark --mask 0x80", SetMark(Bits(mark=ALL & ~0x80, connmark=0x80))),
        ("-j CONNMARK --save-mark --nfmask 0xff --ctmask 0xf0", SetConnmark(Bits(mark=0xFF, connmark=ALL & ~0xF0))),
        (
            "-j DNAT --to-destination 10.0.0.1:80-90/8080 --persistent",
            Dnat(V4, PortRange(first=80, last=90), base=8080),
        ),
        ("-j NETMAP --to 10.0.0.0/24", Netmap(ip_network("10.0.0.0/24"))),
        ("-j MARK --and-mark 0xf0", SetMark(Bits(mark=0xF0))),
        ("-j MARK --or-mark 0xf0", SetMark(Bits(mark=ALL & ~0xF0, constant=0xF0))),
        ("-j CONNMARK --xor-mark 0xf0", SetConnmark(Bits(connmark=ALL, constant=0xF0))),
        ("-j DSCP --set-dscp 0x0a", SetTos(0x28, 0xFC)),
        ("-j TOS --set-tos 0x10/0x3f", SetTos(0x10, 0x3F)),
        ("-j TEE --gateway 10.0.0.1", NoEffect()),
        ("-j CT --helper ftp", NoEffect()),
        ("-j CT --notrack", Untrack()),
        ("-j NOTRACK", Untrack()),
        ('-j LOG --log-prefix "-j DROP"', NoEffect()),
        ("-j NFLOG --nflog-group 1", NoEffect()),
    ],
)
def test_targets(text: str, target: object) -> None:
    (clause,) = decode(text, 4)
    assert clause.target == target


@pytest.mark.parametrize(
    "text",
    [
        "-j SNPT --src-pfx fd00::/64 --dst-pfx 2001:db8::/64",
        "-j DNAT --to-destination  --random --to-destination 0.0.0.0:0",
        "-j CT --zone 5",
        "-j MARK --mystery 1",
        "-j TPROXY --on-port 15001 --on-ip 0.0.0.0 --tproxy-mark 0x1/0x1",
    ],
)
def test_targets_that_are_not_modelled_keep_their_words(text: str) -> None:
    (clause,) = decode(text, 4)
    assert isinstance(clause.target, Unmodelled)
    assert clause.target.text.split()[-1] in text


def test_ipv6_addresses() -> None:
    host = (ip_address("fd00::1"), ip_address("fd00::1"))
    assert decode("-p tcp -j SNAT --to-source [fd00::1]:100-200", 6)[0].target == Snat(
        host, PortRange(first=100, last=200)
    )
    assert decode("-j SNAT --to-source fd00::1 --random-fully", 6)[0].target == Snat(host, None, Random.FULLY)


def test_words_as_the_tools_quote() -> None:
    assert words(r'-m comment --comment "it\'s q $x \\ \"y\""') == ("-m", "comment", "--comment", 'it\'s q $x \\ "y"')
    assert words('--comment ""') == ("--comment", "")
