"""Conntrack entries of translated flows and the kernel's route answers, looked up on a real kernel."""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from threading import Thread
from typing import Any

import pytest
from pyroute2 import netns

from pathtap.agent.lookup import look_up
from pathtap.agent.readers import netlink
from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.node import RouteAnswer
from pathtap.model.request import LookupRequest, RouteQuestion

pytestmark = pytest.mark.netns

NODE = ip_address("192.168.1.29")
OUTSIDE = ip_address("198.51.100.8")
SERVICE = ip_address("10.100.0.10")
TRANSLATED = ip_address("192.168.1.30")


class World:
    """A node whose own traffic to the outside is translated, and a host outside that answers."""

    def __init__(self, prefix: str) -> None:
        self.node, self.outside = f"{prefix}n", f"{prefix}o"

    def build(self) -> None:
        for name in (self.node, self.outside):
            subprocess.run(["ip", "netns", "add", name], check=True)
        node = f"""link add eth0 type veth peer name eth0 netns {self.outside}
link set lo up
link set eth0 up
addr add {NODE}/24 dev eth0
addr add {TRANSLATED}/24 dev eth0
addr add 2001:db8::29/64 dev eth0 nodad"""
        outside = """link set lo up
link set eth0 up
addr add 192.168.1.1/24 dev eth0
addr add 198.51.100.8/32 dev lo
addr add 2001:db8::1/64 dev eth0 nodad"""
        routes = """route add default via 192.168.1.1
route add blackhole 203.0.113.1
route add unreachable 203.0.113.2
route add prohibit 203.0.113.3
route add default via 192.168.1.1 table 2
route add 10.8.0.0/16 nexthop via 192.168.1.1 weight 2 nexthop via 192.168.1.2 weight 1
rule add fwmark 0x80/0x80 lookup 2 priority 1024"""
        for name, lines in ((self.node, node), (self.outside, outside), (self.node, routes)):
            subprocess.run(["ip", "-n", name, "-batch", "-"], input=lines, text=True, check=True)
        forward = ["ip", "netns", "exec", self.node, "sysctl", "-qw", "net.ipv4.ip_forward=1"]
        subprocess.run(forward, check=True)
        rules = f"""*nat
-A POSTROUTING -d {OUTSIDE} -j SNAT --to-source {TRANSLATED} --random-fully
-A OUTPUT -d {SERVICE} -p udp --dport 53 -j DNAT --to-destination {OUTSIDE}:5353
COMMIT
*mangle
-A OUTPUT -d {OUTSIDE} -j CONNMARK --set-mark 0x80
COMMIT
"""
        restore = ["ip", "netns", "exec", self.node, "iptables-nft-restore"]
        subprocess.run(restore, input=rules, text=True, check=True)
        # IPv6 is tracked where a rule asks for it.
        tracked = ["ip6tables-nft", "-A", "OUTPUT", "-m", "conntrack", "--ctstate", "NEW", "-j", "ACCEPT"]
        subprocess.run(["ip", "netns", "exec", self.node, *tracked], check=True)

    def within(self, name: str, act: Callable[[], Any]) -> Any:
        found: list[Any] = []

        def enter() -> None:
            netns.setns(name)
            found.append(act())

        thread = Thread(target=enter)
        thread.start()
        thread.join()
        return found[0]

    def look_up(self, request: LookupRequest) -> Any:
        return self.within(self.node, lambda: look_up("n", request))

    def send(self) -> None:
        """One flow of each protocol, from port 40000."""

        def bound(kind: socket.SocketKind) -> socket.socket:
            opened = socket.socket(type=kind)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind((str(NODE), 40000))
            opened.settimeout(2)
            return opened

        listener = self.within(self.outside, lambda: socket.create_server((str(OUTSIDE), 443)))
        with listener, self.within(self.node, lambda: bound(socket.SOCK_STREAM)) as client:
            client.connect((str(OUTSIDE), 443))
            listener.accept()[0].close()
        with self.within(self.node, lambda: bound(socket.SOCK_DGRAM)) as datagrams:
            datagrams.sendto(b"?", (str(SERVICE), 53))
        for target in (str(OUTSIDE), "2001:db8::1"):
            subprocess.run(
                ["ip", "netns", "exec", self.node, "ping", "-q", "-c", "1", "-e", "777", target],
                check=True,
                capture_output=True,
            )


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    built = World(f"rdlk{os.getpid()}")
    try:
        built.build()
        built.send()
        yield built
    finally:
        for name in (built.node, built.outside):
            subprocess.run(["ip", "netns", "del", name], check=False)


TCP = FiveTuple(protocol=6, source=NODE, source_port=40000, destination=OUTSIDE, destination_port=443)
UDP = FiveTuple(protocol=17, source=NODE, source_port=40000, destination=SERVICE, destination_port=53)
ICMP = FiveTuple(protocol=1, source=NODE, source_port=777, destination=OUTSIDE, destination_port=0)
ICMPV6 = FiveTuple(
    protocol=Protocol.ICMPV6,
    source=ip_address("2001:db8::29"),
    source_port=777,
    destination=ip_address("2001:db8::1"),
    destination_port=0,
)


@pytest.mark.parametrize("flow", [TCP, UDP, ICMP, ICMPV6], ids=["tcp", "udp", "icmp", "icmpv6"])
def test_either_direction_of_either_side_of_nat_finds_the_entry(world: World, flow: FiveTuple) -> None:
    (entry,) = world.look_up(LookupRequest(tuples=(flow,))).entries
    assert entry.original == flow
    for wanted in (entry.original, entry.reply):
        assert world.look_up(LookupRequest(tuples=(wanted,))).entries == (entry,)
    # What leaves and what comes back are the same two tuples, so asking for both gives one entry.
    assert world.look_up(LookupRequest(tuples=(entry.original, entry.reply))).entries == (entry,)
    assert world.look_up(LookupRequest(tuples=(flow.reversed,))).entries in ((), (entry,))


def entry_of(world: World, flow: FiveTuple) -> ConntrackEntry:
    (entry,) = world.look_up(LookupRequest(tuples=(flow,))).entries
    assert isinstance(entry, ConntrackEntry)
    return entry


def test_entries_show_translation_mark_status_and_state(world: World) -> None:
    tcp, udp, icmp = (entry_of(world, flow) for flow in (TCP, UDP, ICMP))
    assert tcp.mark == icmp.mark == 0x80
    assert tcp.tcp_state in ("TIME_WAIT", "LAST_ACK", "CLOSE_WAIT", "FIN_WAIT", "CLOSE")
    assert {"SEEN_REPLY", "ASSURED", "CONFIRMED", "SRC_NAT", "SRC_NAT_DONE", "DST_NAT_DONE"} <= tcp.status
    assert tcp.timeout > 0
    assert tcp.source_translation is not None
    assert tcp.source_translation.after.address == TRANSLATED
    assert tcp.source_translation.after.port != 40000
    assert tcp.destination_translation is None
    assert udp.destination_translation is not None
    assert str(udp.destination_translation.after) == "198.51.100.8:5353"
    assert {"DST_NAT", "SRC_NAT"} <= udp.status
    assert icmp.source_translation is not None
    assert icmp.source_translation.before.port == 777
    assert icmp.source_translation.after.port != 777
    assert icmp.reply.source_port == 0


def test_an_address_finds_every_entry_that_holds_it_once(world: World) -> None:
    everything = {flow: entry_of(world, flow) for flow in (TCP, UDP, ICMP)}
    for address, flows in {
        NODE: (TCP, UDP, ICMP),
        OUTSIDE: (TCP, UDP, ICMP),
        TRANSLATED: (TCP, UDP, ICMP),
        SERVICE: (UDP,),
        ip_address("192.0.2.1"): (),
    }.items():
        found = world.look_up(LookupRequest(addresses=(address,))).entries
        assert len(found) == len(set(found))
        assert {entry.original for entry in found} == set(flows)
    both = world.look_up(LookupRequest(addresses=(NODE, TRANSLATED), tuples=(TCP,))).entries
    assert len(both) == 3
    assert {entry.reply for entry in both} == {entry.reply for entry in everything.values()}


def test_a_kernel_without_filters_gives_the_same_entries(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    filtered = world.look_up(LookupRequest(addresses=(SERVICE,))).entries
    dump = netlink.conntrack_dump

    def unfiltered(opened: Any, family: int, selectors: Any, direction: str) -> Any:
        if selectors:
            raise netlink.RefusedError(95, "Operation not supported")
        return dump(opened, family, selectors, direction)

    monkeypatch.setattr(netlink, "conntrack_dump", unfiltered)
    found = world.look_up(LookupRequest(addresses=(SERVICE,))).entries
    assert [entry.original for entry in found] == [entry.original for entry in filtered] == [UDP]


GATEWAY = ip_address("192.168.1.1")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (
            RouteQuestion(destination=OUTSIDE),
            RouteAnswer(table=254, interface="eth0", gateway=GATEWAY, route="default via 192.168.1.1 dev eth0"),
        ),
        (
            RouteQuestion(destination=OUTSIDE, source=NODE, mark=0x80),
            RouteAnswer(table=2, interface="eth0", gateway=GATEWAY, route="default via 192.168.1.1 dev eth0"),
        ),
        (
            RouteQuestion(destination=ip_address("192.168.1.77")),
            RouteAnswer(
                table=254, interface="eth0", route="192.168.1.0/24 dev eth0 proto kernel scope link src 192.168.1.29"
            ),
        ),
        (
            RouteQuestion(destination=NODE, source=ip_address("192.168.1.77"), in_interface="eth0"),
            RouteAnswer(
                table=255,
                interface="eth0",
                route="local 192.168.1.29 dev eth0 proto kernel scope host src 192.168.1.29",
            ),
        ),
        (RouteQuestion(destination=ip_address("203.0.113.1")), RouteAnswer(error="EINVAL")),
        (RouteQuestion(destination=ip_address("203.0.113.2")), RouteAnswer(error="EHOSTUNREACH")),
        (RouteQuestion(destination=ip_address("203.0.113.3")), RouteAnswer(error="EACCES")),
        (
            RouteQuestion(
                destination=ip_address("203.0.113.2"), source=ip_address("192.168.1.77"), in_interface="eth0"
            ),
            RouteAnswer(error="EHOSTUNREACH"),
        ),
        (RouteQuestion(destination=ip_address("2001:db8:9::1")), RouteAnswer(error="ENETUNREACH")),
        (RouteQuestion(destination=OUTSIDE, in_interface="gone0"), RouteAnswer(error="ENODEV")),
        (
            RouteQuestion(destination=OUTSIDE, source=NODE, in_interface="eth0"),
            # A martian: the node's own address comes from outside.
            RouteAnswer(error="EINVAL"),
        ),
        (
            RouteQuestion(destination=OUTSIDE, source=ip_address("192.168.1.77"), in_interface="eth0", mark=0x80),
            RouteAnswer(table=2, interface="eth0", gateway=GATEWAY, route="default via 192.168.1.1 dev eth0"),
        ),
    ],
)
def test_the_kernel_answers_for_a_route(world: World, question: RouteQuestion, answer: RouteAnswer) -> None:
    report = world.look_up(LookupRequest(routes=(question,)))
    assert report.unread == ()
    assert report.routes == (answer,)


def test_of_several_next_hops_the_kernel_chooses(world: World) -> None:
    (answer,) = world.look_up(LookupRequest(routes=(RouteQuestion(destination=ip_address("10.8.1.1")),))).routes
    assert answer.table == 254
    assert answer.route.startswith("10.8.0.0/16 nexthop via 192.168.1.1 dev eth0 weight 2 nexthop")
    assert answer.gateway in (GATEWAY, ip_address("192.168.1.2"))
    assert answer.interface == "eth0"


def test_a_route_that_refuses_in_ipv6_is_an_error_too(world: World) -> None:
    for kind, error in (("unreachable", "EHOSTUNREACH"), ("prohibit", "EACCES"), ("blackhole", "EINVAL")):
        subprocess.run(["ip", "-6", "-n", world.node, "route", "replace", kind, "2001:db8:5::/48"], check=True)
        (answer,) = world.look_up(
            LookupRequest(routes=(RouteQuestion(destination=ip_address("2001:db8:5::1")),))
        ).routes
        assert answer.error == error
