"""Many connections at once on the real kernel: every outcome, what the node recorded of each, and nothing left behind."""

import os
import resource
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from three_namespaces import DESTINATION, DESTINATION6, SOURCE, SOURCE6, Wires, run, tcp_server, udp_server, wired

from pathtap.agent import connections
from pathtap.agent.attempts import Attempt, Way, attempt
from pathtap.agent.captures import CommandError
from pathtap.agent.connections import open_connections
from pathtap.agent.kernel import KernelNode
from pathtap.agent.readers import conntrack_socket
from pathtap.agent.recorded import Recorded
from pathtap.agent.shares import MOST_SEATS, SPARE_FILES, Shares
from pathtap.model.address import Address, Protocol, Socket
from pathtap.model.request import MOST_CONNECTIONS, Connection, ConnectionsReport, OpenConnections, ProbeOutcome
from pathtap.model.survey import SurveyRequest

pytestmark = pytest.mark.netns

ICMP, TCP, UDP, ICMPV6 = Protocol.ICMP, Protocol.TCP, Protocol.UDP, Protocol.ICMPV6
ANSWERED, REFUSED, SILENT = ProbeOutcome.ANSWERED, ProbeOutcome.REFUSED, ProbeOutcome.SILENT
NODE, NODE6 = ip_address("10.211.1.1"), ip_address("fd11:0:0:b::1")
SERVICE = ip_address("10.211.9.9")
SHORT = 0.3
# asm-generic/socket.h: SO_TIMESTAMPNS_OLD, on 64-bit machines.
SO_TIMESTAMPNS = 35
COUNT = 20

# What leaves for the destination has the node's address; 81 is lost behind the node, 82 before it; 83 is rejected there.
RULES = """
table inet opening {
    chain arrive {
        type nat hook prerouting priority -100
        ip daddr 10.211.9.9 tcp dport 80 dnat ip to 10.211.1.2:8080
    }
    chain forward {
        type filter hook forward priority 0
        meta l4proto { tcp, udp } th dport 82 drop
        tcp dport 83 reject with icmpx type host-unreachable
    }
    chain leave {
        type nat hook postrouting priority 100
        FLAG
    }
}
"""
LOSE = "table inet lose { chain input { type filter hook input priority 0; meta l4proto { tcp, udp } th dport 81 drop; }; }"
FLAGS = {
    "none": ("oifname v-target masquerade", False),
    "random": ("oifname v-target masquerade random", True),
    "fully-random": ("oifname v-target masquerade fully-random", True),
}


@pytest.fixture(scope="module")
def wires() -> Iterator[Wires]:
    with wired("open") as built, ExitStack() as servers:
        for address, family in ((DESTINATION, socket.AF_INET), (DESTINATION6, socket.AF_INET6)):
            servers.enter_context(tcp_server(built, address, 8080, family))
            servers.enter_context(udp_server(built, address, 8080, family))
        run("ip", "netns", "exec", built.destination.name, "nft", "-f", "-", feed=LOSE)
        # The answers of a closed port and of a rejection are not rationed.
        run("ip", "netns", "exec", built.node.name, "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0")
        run("ip", "-n", built.source.name, "route", "add", "10.211.9.0/24", "via", "10.211.0.1")
        translate(built, "fully-random")
        yield built


@pytest.fixture
def forgetful(wires: Wires) -> Wires:
    """With nothing recorded yet."""
    wires.command(wires.node, "conntrack", "-F")
    return wires


def translate(wires: Wires, flag: str) -> None:
    wires.nft("table inet opening\ndelete table inet opening\n" + RULES.replace("FLAG", FLAGS[flag][0]))


def opened(wires: Wires, protocol: int, destination: Address, port: int = 0, **options: Any) -> ConnectionsReport:
    source = options.pop("source", SOURCE if destination.version == 4 else SOURCE6)
    shares, over = options.pop("shares", Shares()), options.pop("over", lambda: False)
    asked = {"count": COUNT, "timeout": SHORT} | options
    request = OpenConnections(protocol=protocol, source=source, destination=Socket(destination, port), **asked)
    return wires.on_node(lambda: open_connections("n", request, shares, over))


def outcomes(report: ConnectionsReport) -> Counter[ProbeOutcome]:
    return Counter(connection.outcome for connection in report.connections)


def source_port(connection: Connection) -> int:
    assert connection.five_tuple is not None
    return connection.five_tuple.source_port


@pytest.mark.parametrize("protocol", [ICMP, TCP, UDP], ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("destination", [DESTINATION, DESTINATION6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("from_node", [False, True], ids=["pod", "node"])
def test_answered_and_recorded(forgetful: Wires, protocol: Protocol, destination: Address, from_node: bool) -> None:
    own = {"source": None} if from_node else {}
    report = opened(forgetful, protocol, destination, 0 if protocol is ICMP else 8080, **own)
    assert report.unread == ()
    assert outcomes(report) == {ANSWERED: COUNT}
    assert len({source_port(connection) for connection in report.connections}) == COUNT
    node, pod = (NODE, SOURCE) if destination.version == 4 else (NODE6, SOURCE6)
    for connection in report.connections:
        assert connection.five_tuple is not None
        assert connection.five_tuple.source == (node if from_node else pod)
        assert connection.entry is not None
        assert connection.entry.node == "n"
        assert connection.entry.original == connection.five_tuple
        assert connection.entry.reply.destination == node
        expected = ICMPV6 if (protocol, destination.version) == (ICMP, 6) else protocol
        assert connection.five_tuple.protocol == connection.entry.reply.protocol == expected


@pytest.mark.parametrize("destination", [DESTINATION, DESTINATION6], ids=["IPv4", "IPv6"])
def test_refused_connections_are_recorded_though_the_kernel_deletes_their_entries(
    forgetful: Wires, destination: Address
) -> None:
    report = opened(forgetful, TCP, destination, 9)
    assert outcomes(report) == {REFUSED: COUNT}
    assert forgetful.command(forgetful.node, "conntrack", "-L", "-p", "tcp", "-f", f"ipv{destination.version}") == ""
    assert all(connection.entry is not None for connection in report.connections)
    assert report.unread == ()


@pytest.mark.parametrize("protocol", [TCP, UDP], ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("destination", [DESTINATION, DESTINATION6], ids=["IPv4", "IPv6"])
def test_silent_behind_the_node_is_recorded_and_before_it_is_not(
    forgetful: Wires, protocol: Protocol, destination: Address
) -> None:
    behind, before = (opened(forgetful, protocol, destination, port) for port in (81, 82))
    assert outcomes(behind) == outcomes(before) == {SILENT: COUNT}
    assert behind.connections[0].detail == "Nothing came back within 0.3 s."
    assert all(connection.entry is not None for connection in behind.connections)
    # A packet that is dropped on its way is never confirmed, and there is nothing that could not be read.
    assert all(connection.five_tuple and connection.entry is None for connection in before.connections)
    assert before.connections[0].detail == (
        "Nothing came back within 0.3 s. The node's connection tracking recorded nothing of it: it was dropped or rejected "
        "before, or its own network namespace redirects or translates it, or the node does not track it (notrack)."
    )
    assert behind.unread == before.unread == ()


def test_a_rejection_is_unreachable(forgetful: Wires) -> None:
    report = opened(forgetful, TCP, DESTINATION, 83)
    assert outcomes(report) == {ProbeOutcome.UNREACHABLE: COUNT}
    assert report.connections[0].detail.startswith("No route to host: ICMP type 3 code 1 from 10.211.0.1. The node's")


@pytest.mark.parametrize(
    ("hook", "rule", "outcome"),
    [
        ("output", "tcp dport 8080 redirect to :9", REFUSED),
        ("output", "tcp dport 8080 redirect to :15001", ANSWERED),
        ("postrouting", "tcp dport 8080 masquerade to :2000-9000", ANSWERED),
    ],
)
def test_what_the_pod_itself_redirects_or_translates_says_that_the_node_saw_nothing_of_it(
    wires: Wires, hook: str, rule: str, outcome: ProbeOutcome
) -> None:
    inside = f"table ip own {{ chain c {{ type nat hook {hook} priority 0; {rule}; }}; }}"
    sidecar = wires.socket(wires.source, socket.SOCK_STREAM)
    sidecar.bind(("", 15001))
    sidecar.listen(COUNT)
    wires.command(wires.source, "nft", inside)
    try:
        report = opened(wires, TCP, DESTINATION, 8080)
    finally:
        wires.command(wires.source, "nft", "delete table ip own")
        sidecar.close()
    assert outcomes(report) == {outcome: COUNT}
    assert report.unread == ()
    assert all(connection.entry is None for connection in report.connections)
    (detail,) = {connection.detail for connection in report.connections}
    said = "its own network namespace redirects or translates it, or the node does not track it (notrack)."
    assert detail.endswith(said)
    # What was answered was not dropped.
    assert ("it was dropped" in detail) == (outcome is REFUSED)


def test_an_answer_to_the_node_itself_that_is_not_tracked_says_so(wires: Wires) -> None:
    wires.nft("table ip own { chain c { type filter hook output priority raw; tcp dport 8080 notrack; }; }")
    try:
        report = opened(wires, TCP, DESTINATION, 8080, source=None)
    finally:
        wires.nft("delete table ip own")
    assert outcomes(report) == {ANSWERED: COUNT}
    assert {connection.detail for connection in report.connections} == {
        "The handshake was completed and the connection reset again. The node's connection tracking recorded nothing of it: "
        "the node does not track it (notrack)."
    }


def test_without_a_route_nothing_is_opened(wires: Wires) -> None:
    for protocol in (ICMP, TCP, UDP):
        report = opened(wires, protocol, ip_address("203.0.113.1"), 80, count=3)
        assert outcomes(report) == {ProbeOutcome.FAILED: 3}
        assert {connection.detail for connection in report.connections} == {
            "The connection could not be opened: its network namespace has no route to the destination."
        }
        assert all(connection.five_tuple is None and connection.entry is None for connection in report.connections)


@pytest.mark.parametrize("protocol", [ICMP, TCP, UDP], ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("broadcast", ["10.211.0.255", "255.255.255.255"])
def test_to_a_broadcast_address_nothing_is_opened(wires: Wires, protocol: Protocol, broadcast: str) -> None:
    run("ip", "-n", wires.source.name, "route", "replace", "default", "via", "10.211.0.1")
    try:
        report = opened(wires, protocol, ip_address(broadcast), 80, count=2)
    finally:
        run("ip", "-n", wires.source.name, "route", "del", "default")
    assert outcomes(report) == {ProbeOutcome.FAILED: 2}
    assert {connection.detail for connection in report.connections} == {
        f"The connection could not be opened: {broadcast} is a broadcast address there, to which nothing is sent."
    }


@pytest.mark.parametrize("protocol", [ICMP, UDP], ids=lambda protocol: protocol.name)
def test_a_route_that_prohibits_is_no_broadcast(wires: Wires, protocol: Protocol) -> None:
    run("ip", "-n", wires.source.name, "route", "add", "prohibit", "10.211.8.0/24")
    try:
        report = opened(wires, protocol, ip_address("10.211.8.8"), 80, count=1)
    finally:
        run("ip", "-n", wires.source.name, "route", "del", "prohibit", "10.211.8.0/24")
    assert "Permission denied: a rule or a route of its network namespace forbids it" in report.connections[0].detail


def test_a_pod_that_is_not_here(wires: Wires) -> None:
    report = opened(wires, TCP, DESTINATION, 8080, source=ip_address("10.211.0.99"))
    (connection,) = report.connections
    assert connection.outcome is ProbeOutcome.FAILED
    assert "10.211.0.99" in connection.detail


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("protocol", [ICMP, TCP, UDP], ids=lambda protocol: protocol.name)
def test_the_pairs_are_those_that_conntrack_lists(forgetful: Wires, flag: str, protocol: Protocol) -> None:
    translate(forgetful, flag)
    try:
        report = opened(forgetful, protocol, DESTINATION, 0 if protocol is ICMP else 8080, count=40)
    finally:
        translate(forgetful, "fully-random")
    pairs = {
        (connection.entry.original.source_port, connection.entry.reply.destination_port)
        for connection in report.connections
        if connection.entry is not None
    }
    assert len(pairs) == 40
    assert pairs == listed(forgetful, protocol)
    preserved = sum(before == after for before, after in pairs)
    # One in 64,512 keeps its port by chance.
    assert preserved <= 3 if FLAGS[flag][1] else preserved == 40


def listed(wires: Wires, protocol: Protocol) -> set[tuple[int, int]]:
    """Original and translated source port of the pod's connections, as conntrack(8) prints them."""
    here, there = ("id=", "id=") if protocol is ICMP else ("sport=", "dport=")
    name, pod = protocol.name.lower(), str(SOURCE)
    pairs = set()
    for line in wires.command(wires.node, "conntrack", "-L", "-p", name, "-s", pod).splitlines():
        original, _, reply = line.partition("src=")[2].partition("src=")
        pairs.add((number(original, here), number(reply, there)))
    return pairs


def number(text: str, name: str) -> int:
    return int(next(word for word in text.split() if word.startswith(name)).removeprefix(name))


def test_the_entry_of_a_service_holds_what_the_pod_sent(forgetful: Wires) -> None:
    report = opened(forgetful, TCP, SERVICE, 80)
    assert outcomes(report) == {ANSWERED: COUNT}
    for connection in report.connections:
        assert connection.entry is not None
        assert connection.entry.original.destination_socket == Socket(SERVICE, 80)
        assert connection.entry.reply.source_socket == Socket(DESTINATION, 8080)


def test_without_events_what_is_still_there_is_looked_up(forgetful: Wires) -> None:
    forgetful.command(forgetful.node, "sysctl", "-qw", "net.netfilter.nf_conntrack_events=0")
    try:
        answered, refused = (opened(forgetful, TCP, DESTINATION, port) for port in (8080, 9))
    finally:
        forgetful.command(forgetful.node, "sysctl", "-qw", "net.netfilter.nf_conntrack_events=2")
    assert [connection.entry and connection.entry.original for connection in answered.connections] == [
        connection.five_tuple for connection in answered.connections
    ]
    assert answered.unread == ()
    assert outcomes(refused) == {REFUSED: COUNT}
    assert all(connection.entry is None for connection in refused.connections)
    assert [unread.part for unread in refused.unread] == ["conntrack events"]
    assert "net.netfilter.nf_conntrack_events is 0" in refused.unread[0].reason


def test_events_that_were_dropped_are_made_up_for_by_looking_up(
    forgetful: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel keeps no more than one event or two, and all connections are opened before they are read."""
    monkeypatch.setattr(conntrack_socket, "EVENT_BYTES", 0)
    monkeypatch.setattr(Recorded, "register", lambda recorded, selector: None)
    answered, refused = (opened(forgetful, TCP, DESTINATION, port) for port in (8080, 9))
    assert all(connection.entry is not None for connection in answered.connections)
    assert answered.unread == ()
    assert any(connection.entry is None for connection in refused.connections)
    assert [unread.reason for unread in refused.unread] == [
        "The kernel told of more new entries than could be read in time, and dropped some."
    ]


# Bounds.


def test_a_thousand(forgetful: Wires) -> None:
    report = opened(forgetful, TCP, DESTINATION, 9, count=MOST_CONNECTIONS, rate=1000)
    assert outcomes(report) == {REFUSED: MOST_CONNECTIONS}
    assert len({source_port(connection) for connection in report.connections}) == MOST_CONNECTIONS
    assert all(connection.entry is not None for connection in report.connections)


def test_no_more_a_second_than_the_rate(wires: Wires) -> None:
    started = time.monotonic()
    report = opened(wires, UDP, DESTINATION, 8080, count=11, rate=20)
    # The first at once, and the eleventh half a second later; a moment late may be made up for.
    assert time.monotonic() - started >= 0.4
    assert outcomes(report) == {ANSWERED: 11}


def test_no_second_has_more_than_the_rate_where_some_came_late(wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third takes 60 ms to open, and those behind it make up for that: not at the cost of the second that follows."""
    attempts = iter(range(1000))

    def now_and_then_slow(way: Way) -> Attempt:
        time.sleep(0.06 if next(attempts) == 2 else 0)
        return attempt(way)

    monkeypatch.setattr(connections, "attempt", now_and_then_slow)
    with wires.socket(wires.destination, socket.SOCK_DGRAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        listening.bind((str(DESTINATION), 8085))
        listening.settimeout(5)
        opened(wires, UDP, DESTINATION, 8085, count=180, rate=100)
        arrived = [arrival(listening) for _ in range(180)]
    # From each to the hundredth behind it; a millisecond may lie between the opening and the arrival.
    assert min(later - earlier for earlier, later in zip(arrived, arrived[100:], strict=False)) > 0.999


def test_no_rate_is_obeyed_beyond_the_agents_own(wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MOST_RATE", 40)
    started = time.monotonic()
    assert outcomes(opened(wires, UDP, DESTINATION, 8080, count=41, rate=100_000)) == {ANSWERED: 41}
    assert time.monotonic() - started >= 1


def arrival(listening: socket.socket) -> float:
    """When the kernel received the next datagram, in seconds; struct timespec64."""
    _, ancillary, _, _ = listening.recvmsg(100, 100)
    seconds, nanoseconds = struct.unpack("=qq", ancillary[0][2])
    return float(seconds + nanoseconds / 1e9)


@pytest.mark.parametrize("asked", [{"count": 0}, {"count": MOST_CONNECTIONS + 1}, {"rate": 0}])
def test_what_cannot_be_meant_is_refused(wires: Wires, asked: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="From 1 to 1000 connections"):
        opened(wires, TCP, DESTINATION, 8080, **asked)


def test_no_more_sockets_than_the_agent_may_have_files(wires: Wires) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + SPARE_FILES + 20, hard))
    try:
        report = opened(wires, TCP, DESTINATION, 82, count=30)
        echoes = opened(wires, ICMP, DESTINATION, count=30)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    found = outcomes(report)
    assert 10 <= found[SILENT] <= 20
    assert found[ProbeOutcome.FAILED] == 30 - found[SILENT]
    assert "RLIMIT_NOFILE" in report.connections[-1].detail
    # One socket asks for all echoes.
    assert outcomes(echoes) == {ANSWERED: 30}


def test_simultaneous_commands_share_the_sockets_and_give_them_back(wires: Wires) -> None:
    shares = Shares(sockets=30)
    with ThreadPoolExecutor() as both:
        asked = [both.submit(opened, wires, UDP, DESTINATION, 82, shares=shares, timeout=1.0) for _ in range(2)]
        reports = [each.result() for each in asked]
    found = outcomes(reports[0]) + outcomes(reports[1])
    assert found == {SILENT: 30, ProbeOutcome.FAILED: 10}
    failed = [each for report in reports for each in report.connections if each.outcome is ProbeOutcome.FAILED]
    assert {each.detail for each in failed} == {
        "The connection could not be opened: the agent waits for the answers to 30 connections already, and takes no more "
        "at once."
    }
    # What is answered is given back at once, what is silent at the end, and what could not be opened as well.
    assert outcomes(opened(wires, TCP, DESTINATION, 8080, shares=shares, count=100)) == {ANSWERED: 100}
    opened(wires, UDP, ip_address("203.0.113.1"), 80, shares=shares, count=40)
    assert outcomes(opened(wires, UDP, DESTINATION, 82, shares=shares, count=31)) == {
        SILENT: 30,
        ProbeOutcome.FAILED: 1,
    }


def test_files_that_others_open_meanwhile_are_counted(wires: Wires) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + SPARE_FILES + 40, hard))
    try:
        with ThreadPoolExecutor() as both:
            # Each alone would fit; together they would leave the agent without a file.
            asked = [both.submit(opened, wires, TCP, DESTINATION, 82, count=30, timeout=1.0) for _ in range(2)]
            found = sum((outcomes(each.result()) for each in asked), Counter[ProbeOutcome]())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert 20 <= found[SILENT] <= 40
    assert found[ProbeOutcome.FAILED] == 60 - found[SILENT]


def test_silent_connections_are_not_held_longer_than_the_agent_waits(
    wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST_ANSWER_SECONDS", 0.4)
    files = len(os.listdir("/proc/self/fd"))
    started = time.monotonic()
    report = opened(wires, TCP, DESTINATION, 82, timeout=3600.0)
    assert time.monotonic() - started < 60
    assert all(each.detail.startswith("Nothing came back within 0.4 s.") for each in report.connections)
    assert len(os.listdir("/proc/self/fd")) == files


def test_what_nobody_wants_any_longer_is_closed(wires: Wires) -> None:
    gone = threading.Event()
    threading.Timer(0.5, gone.set).start()
    started = time.monotonic()
    # Half a second is enough for twenty; the others are not opened, and the answers not waited for.
    report = opened(wires, TCP, DESTINATION, 82, count=300, rate=40, timeout=10.0, over=gone.is_set)
    assert time.monotonic() - started < 7
    assert 0 < len(report.connections) < 300
    assert remaining(wires, wires.source) == []


def test_no_more_than_a_few_commands_at_once(wires: Wires) -> None:
    node = KernelNode("n", "b")
    silent = OpenConnections(protocol=UDP, source=SOURCE, destination=Socket(DESTINATION, 82), count=1, timeout=9.0)
    gone = threading.Event()
    with ThreadPoolExecutor(MOST_SEATS) as all_seats:
        ask = lambda: wires.on_node(lambda: node.open_connections(silent, gone.is_set))  # noqa: E731
        waiting = [all_seats.submit(ask) for _ in range(MOST_SEATS)]
        try:
            wait_for(lambda: len(remaining_sockets(wires, wires.source)) == MOST_SEATS)
            with pytest.raises(CommandError, match="as often at once as it may: try again later"):
                wires.on_node(lambda: node.survey(SurveyRequest(), gone.is_set))
        finally:
            gone.set()
    assert [outcomes(each.result()) for each in waiting] == [{SILENT: 1}] * MOST_SEATS
    assert wires.on_node(lambda: node.survey(SurveyRequest(), gone.is_set)).unread == ()


@pytest.mark.parametrize(("count", "rate"), [(1000, 99), (11, 1)])
def test_what_takes_too_long_to_open_is_refused(wires: Wires, count: int, rate: int) -> None:
    with pytest.raises(ValueError, match=f"{count} connections at {rate} a second take longer than 10 s to open"):
        opened(wires, TCP, DESTINATION, 8080, count=count, rate=rate)


def test_nothing_is_left_behind(forgetful: Wires) -> None:
    files = len(os.listdir("/proc/self/fd"))
    opened(forgetful, TCP, DESTINATION, 8080)
    opened(forgetful, TCP, DESTINATION, 81)
    opened(forgetful, UDP, DESTINATION, 8080)
    opened(forgetful, ICMP, DESTINATION)
    assert len(os.listdir("/proc/self/fd")) == files
    assert run("ip", "netns", "pids", forgetful.source.name) == ""
    for where in (forgetful.source, forgetful.destination):
        assert remaining(forgetful, where) == []


def remaining(wires: Wires, where: Path) -> list[str]:
    """The sockets in a namespace but the servers' own; the kernel takes a moment to end what was reset."""
    deadline = time.monotonic() + 3
    while (left := remaining_sockets(wires, where)) and time.monotonic() < deadline:
        pass
    return left


def remaining_sockets(wires: Wires, where: Path) -> list[str]:
    shown = wires.command(where, "ss", "-Hanutw", "state", "all").splitlines()
    return [line for line in shown if not (":8080 " in line and line.split()[1] in ("LISTEN", "UNCONN"))]


def wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
