"""Probes on the real kernel: every protocol, every outcome, and nothing left behind."""

import socket
import subprocess
import time
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from three_namespaces import (
    DESTINATION,
    DESTINATION6,
    DESTINATION_VETH,
    SOURCE,
    SOURCE6,
    Wires,
    run,
    tcp_server,
    udp_server,
    wired,
)

from pathtap.agent.probe import send_probe
from pathtap.model.address import Address, Protocol, Socket
from pathtap.model.request import ProbeOutcome, ProbeReport, ProbeRequest

pytestmark = pytest.mark.netns

ICMP, TCP, UDP, ICMPV6 = Protocol.ICMP, Protocol.TCP, Protocol.UDP, Protocol.ICMPV6
DROPPED, FORBIDDEN = ip_address("10.211.1.3"), ip_address("10.211.1.4")
SHORT = 0.3

# On the way to the destination: 81 is dropped, 82 to 84 are rejected in three ways.
RULES = """
table inet probe {
    chain forward {
        type filter hook forward priority 0
        ip daddr 10.211.1.3 drop
        ip daddr 10.211.1.4 reject with icmp type admin-prohibited
        meta l4proto { tcp, udp } th dport 81 drop
        meta l4proto { tcp, udp } th dport 82 reject with icmpx type port-unreachable
        tcp dport 83 reject with tcp reset
        meta l4proto { tcp, udp } th dport 84 reject with icmpx type host-unreachable
    }
}
"""


@pytest.fixture(scope="module")
def wires() -> Iterator[Wires]:
    with (
        wired("probe") as built,
        tcp_server(built, DESTINATION, 8080),
        tcp_server(built, DESTINATION6, 8080, socket.AF_INET6),
        udp_server(built, DESTINATION, 8080),
        udp_server(built, DESTINATION6, 8080, socket.AF_INET6),
    ):
        built.nft(RULES)
        yield built


def probe(wires: Wires, protocol: int, destination: Address, port: int = 0, **options: Any) -> tuple[ProbeReport, ...]:
    source = options.pop("source", SOURCE if destination.version == 4 else SOURCE6)
    request = ProbeRequest(
        protocol=protocol, source=source, destination=Socket(destination, port), timeout=SHORT, **options
    )
    return wires.on_node(lambda: send_probe(request, time.time_ns))


@pytest.mark.parametrize("protocol", [ICMP, TCP, UDP], ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("destination", [DESTINATION, DESTINATION6], ids=["IPv4", "IPv6"])
def test_answered(wires: Wires, protocol: Protocol, destination: Address) -> None:
    before = time.time_ns()
    reports = probe(wires, protocol, destination, 8080, count=3)
    assert [report.outcome for report in reports] == [ProbeOutcome.ANSWERED] * 3
    last = before
    for report in reports:
        assert report.five_tuple is not None
        assert report.five_tuple.source == (SOURCE if destination.version == 4 else SOURCE6)
        assert report.five_tuple.source_port > 0
        assert report.five_tuple.destination_socket == Socket(destination, 0 if protocol is ICMP else 8080)
        expected = ICMPV6 if (protocol, destination.version) == (ICMP, 6) else protocol
        assert report.five_tuple.protocol == expected
        assert report.round_trip is not None
        assert 0 < report.round_trip < SHORT * 1e9
        assert last <= report.sent_at <= time.time_ns()
        last = report.sent_at


@pytest.mark.parametrize("destination", [DESTINATION, DESTINATION6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize(
    ("protocol", "port", "outcome"),
    [
        (TCP, 9, ProbeOutcome.REFUSED),
        (TCP, 81, ProbeOutcome.SILENT),
        (TCP, 82, ProbeOutcome.UNREACHABLE),
        (TCP, 83, ProbeOutcome.REFUSED),
        (TCP, 84, ProbeOutcome.UNREACHABLE),
        (UDP, 9, ProbeOutcome.UNREACHABLE),
        (UDP, 81, ProbeOutcome.SILENT),
        (UDP, 82, ProbeOutcome.UNREACHABLE),
        (UDP, 84, ProbeOutcome.UNREACHABLE),
    ],
)
def test_not_answered(wires: Wires, protocol: Protocol, port: int, outcome: ProbeOutcome, destination: Address) -> None:
    (report,) = probe(wires, protocol, destination, port)
    assert report.outcome is outcome, report.detail
    assert report.round_trip is None
    assert report.five_tuple is not None
    assert report.five_tuple.destination_port == port
    assert report.detail.endswith(".")


def test_icmp_silent_and_unreachable(wires: Wires) -> None:
    (silent,) = probe(wires, ICMP, DROPPED)
    assert silent.outcome is ProbeOutcome.SILENT
    assert silent.detail == "Nothing came back within 0.3 s."
    (forbidden,) = probe(wires, ICMP, FORBIDDEN)
    assert forbidden.outcome is ProbeOutcome.UNREACHABLE
    assert forbidden.detail == "No route to host: ICMP type 3 code 13 from 10.211.0.1."
    assert forbidden.five_tuple is not None
    assert forbidden.five_tuple.source_port > 0


def test_a_rejection_by_port_unreachable_is_not_taken_for_a_reset(wires: Wires) -> None:
    (report,) = probe(wires, TCP, DESTINATION, 82)
    assert report.detail == "Connection refused: ICMP type 3 code 3 from 10.211.0.1."


def test_echo_replies_to_others_are_not_ours(wires: Wires) -> None:
    """The probe's requests are dropped, known by their length, while the pod pings the same destination with success."""
    wires.nft("insert rule inet probe forward icmp type echo-request ip length 66 drop")
    ping = subprocess.Popen(
        ["ip", "netns", "exec", wires.source.name, "ping", "-i", "0.02", "-c", "40", str(DESTINATION)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        (report,) = probe(wires, ICMP, DESTINATION)
        assert report.outcome is ProbeOutcome.SILENT
        assert "40 received" in ping.communicate(timeout=10)[0]
    finally:
        wires.nft("flush table inet probe\n" + RULES)


def test_without_a_route_nothing_is_sent(wires: Wires) -> None:
    for protocol in (ICMP, TCP, UDP):
        (report,) = probe(wires, protocol, ip_address("203.0.113.1"), 80)
        assert report.outcome is ProbeOutcome.FAILED
        assert report.five_tuple is None
        assert report.detail == "The probe could not be sent: its network namespace has no route to the destination."


def test_a_pod_that_is_not_here(wires: Wires) -> None:
    (report,) = probe(wires, TCP, DESTINATION, 80, source=ip_address("10.211.0.99"), count=4)
    assert report.outcome is ProbeOutcome.FAILED
    assert "10.211.0.99" in report.detail


def test_from_the_node_itself(wires: Wires) -> None:
    for protocol in (ICMP, TCP, UDP):
        (report,) = probe(wires, protocol, DESTINATION, 8080, source=None)
        assert report.outcome is ProbeOutcome.ANSWERED
        assert report.five_tuple is not None
        assert str(report.five_tuple.source) == "10.211.1.1"


# Sizes.

NARROW = 1300


@pytest.fixture
def narrow(wires: Wires) -> Iterator[Wires]:
    """The link from the node to the destination takes fewer bytes than that from the source to the node."""
    run("ip", "-n", wires.node.name, "link", "set", DESTINATION_VETH, "mtu", str(NARROW))
    yield wires
    run("ip", "-n", wires.node.name, "link", "set", DESTINATION_VETH, "mtu", "1500")
    # What the source's kernel learned of the path goes with its routes.
    for family in ("-4", "-6"):
        run("ip", "-n", wires.source.name, family, "route", "flush", "cache")


@pytest.mark.parametrize("protocol", [ICMP, UDP], ids=lambda protocol: protocol.name)
@pytest.mark.parametrize(("destination", "headers"), [(DESTINATION, 28), (DESTINATION6, 48)], ids=["IPv4", "IPv6"])
def test_a_size_that_fits_is_answered(wires: Wires, protocol: Protocol, destination: Address, headers: int) -> None:
    for size in (1, 1500 - headers):
        (report,) = probe(wires, protocol, destination, 8080, size=size)
        assert report.outcome is ProbeOutcome.ANSWERED, report.detail
    if protocol is UDP:
        assert report.detail == f"A datagram of {1500 - headers} bytes came back."


@pytest.mark.parametrize("protocol", [ICMP, UDP], ids=lambda protocol: protocol.name)
@pytest.mark.parametrize(
    ("destination", "headers", "said"),
    [
        (DESTINATION, 28, "Message too long: ICMP type 3 code 4 from 10.211.0.1"),
        (DESTINATION6, 48, "Message too long: ICMP type 2 code 0 from fd11:0:0:a::1"),
    ],
    ids=["IPv4", "IPv6"],
)
def test_a_size_too_large_for_a_link_on_the_way(
    narrow: Wires, protocol: Protocol, destination: Address, headers: int, said: str
) -> None:
    # The second would not be sent if the first one's lesson were heeded.
    for _ in range(2):
        (report,) = probe(narrow, protocol, destination, 8080, size=NARROW - headers + 1)
        assert report.outcome is ProbeOutcome.UNREACHABLE
        assert report.detail == f"{said}, where the next link's MTU is {NARROW}."
        assert report.five_tuple is not None
    (fits,) = probe(narrow, protocol, destination, 8080, size=NARROW - headers)
    assert fits.outcome is ProbeOutcome.ANSWERED, fits.detail


@pytest.mark.parametrize("protocol", [ICMP, UDP], ids=lambda protocol: protocol.name)
@pytest.mark.parametrize(("destination", "headers"), [(DESTINATION, 28), (DESTINATION6, 48)], ids=["IPv4", "IPv6"])
def test_a_size_too_large_for_the_sources_own_interface(
    wires: Wires, protocol: Protocol, destination: Address, headers: int
) -> None:
    (report,) = probe(wires, protocol, destination, 8080, size=1500 - headers + 1)
    assert report.outcome is ProbeOutcome.FAILED
    assert report.five_tuple is None
    assert report.detail == (
        "The probe could not be sent: with its headers it has 1501 bytes, more than the MTU of the interface that it would "
        "leave by."
    )


def test_a_handshake_has_no_size(wires: Wires) -> None:
    (report,) = probe(wires, TCP, DESTINATION, 8080, size=4000, count=3)
    assert report.outcome is ProbeOutcome.FAILED
    assert report.detail == "A TCP probe is a handshake, which carries no payload: ask with UDP or ICMP for a size."


def test_nothing_is_left_behind(wires: Wires) -> None:
    probe(wires, TCP, DESTINATION, 8080, count=5)
    probe(wires, TCP, DESTINATION, 81)
    deadline = time.monotonic() + 3
    left = "unknown"
    while left and time.monotonic() < deadline:
        left = "".join(
            wires.command(where, "ss", "-Htan", "state", "all", "exclude", "listening")
            for where in (wires.source, wires.destination)
        )
    assert left == ""
    assert run("ip", "netns", "pids", wires.source.name) == ""
