"""Captures of real traffic between three namespaces: what is seen, in which order, and what is accounted for."""

import ctypes
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Raw
from three_namespaces import (
    DESTINATION,
    DESTINATION6,
    DESTINATION_VETH,
    SOURCE,
    SOURCE6,
    SOURCE_VETH,
    Wires,
    run,
    tcp_server,
    udp_server,
    wired,
)

from pathtap.agent.capture import Capture, open_capture
from pathtap.agent.delivery import Packets
from pathtap.agent.filter import FilterError, header_program
from pathtap.agent.namespaces import run_in_namespace
from pathtap.agent.probe import send_probe
from pathtap.agent.ring import Ring, RingSize
from pathtap.model.address import FiveTuple, Protocol, Socket
from pathtap.model.packet import Direction, Lost, PacketObservation, TcpFlag
from pathtap.model.request import CaptureEnded, CaptureRequest, ProbeRequest

pytestmark = pytest.mark.netns

BOTH = (SOURCE_VETH, DESTINATION_VETH)
# asm-generic/socket.h
SO_TIMESTAMPNS = 35
PAYLOAD = b"SECRETPAYLOAD" * 40
# Each block holds some 30 frames.
SMALL = RingSize(blocks=8, block_bytes=4096, retire=4)


@pytest.fixture(scope="module")
def wires() -> Iterator[Wires]:
    with wired("capture") as built:
        yield built


class Sink:
    """Gathers what a capture delivers; `gate` holds the capture's thread up while it is closed."""

    def __init__(self) -> None:
        self.observations: list[PacketObservation] = []
        self.lost: list[Lost] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, packets: Packets) -> None:
        self.gate.wait(20)
        seen = [*packets.observations, *(seen for rows in packets.rows for seen in rows.observations())]
        self.observations += sorted(seen, key=lambda observation: observation.sequence)
        self.lost += packets.lost

    def count_lost(self, where: str) -> int:
        return sum(lost.count for lost in self.lost if lost.where == where)


def taken(ring: Ring) -> list[bytes]:
    frames = ring.take(SMALL.blocks)
    data = [frames.data(number) for number in range(len(frames))] if frames else []
    ring.release()
    return data


def request(**fields: Any) -> CaptureRequest:
    return CaptureRequest(
        **{"id": "c1", "protocol": 0, "near": (SOURCE, SOURCE6), "far": (DESTINATION, DESTINATION6), **fields}
    )


def opened(
    wires: Wires, asked: CaptureRequest, sink: Sink, names: Sequence[str] = BOTH, size: RingSize | None = None
) -> Capture:
    return wires.on_node(lambda: open_capture("node-1", asked, names, sink, size))


def datagrams(wires: Wires, port: int, count: int) -> None:
    with wires.socket(wires.source, socket.SOCK_DGRAM) as sender:
        for _ in range(count):
            sender.sendto(PAYLOAD, (str(DESTINATION), port))


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("family", "near", "far"),
    [(socket.AF_INET, SOURCE, DESTINATION), (socket.AF_INET6, SOURCE6, DESTINATION6)],
    ids=["IPv4", "IPv6"],
)
def test_a_tcp_connection_on_both_veths(wires: Wires, family: int, near: Any, far: Any) -> None:
    sink = Sink()
    before = time.time_ns()
    with tcp_server(wires, far, 443, family), wires.socket(wires.source, socket.SOCK_STREAM, family) as client:
        capture = opened(wires, request(protocol=Protocol.TCP, ports=(443,)), sink)
        assert capture.armed.interfaces == BOTH
        assert capture.armed.unread == ()
        client.connect((str(far), 443))
        port = client.getsockname()[1]
        client.sendall(PAYLOAD)
        assert client.recv(65536)
        ended = capture.end()
    flow = FiveTuple(protocol=6, source=near, source_port=port, destination=far, destination_port=443)
    assert {seen.headers.five_tuple for seen in sink.observations} == {flow, flow.reversed}
    places = {(seen.headers.five_tuple == flow, seen.interface, seen.direction) for seen in sink.observations}
    assert places == {
        (True, SOURCE_VETH, Direction.IN),
        (True, DESTINATION_VETH, Direction.OUT),
        (False, DESTINATION_VETH, Direction.IN),
        (False, SOURCE_VETH, Direction.OUT),
    }
    handshake = [
        seen.captured_at
        for flags, forward in ((TcpFlag.SYN, True), (TcpFlag.SYN | TcpFlag.ACK, False))
        for interface in (BOTH if forward else BOTH[::-1])
        for seen in sink.observations
        if seen.headers.tcp is not None and seen.headers.tcp.flags == flags and seen.interface == interface
    ]
    assert len(handshake) == 4
    assert before < handshake[0]
    assert handshake == sorted(handshake)
    assert handshake[-1] < time.time_ns()
    # Nanoseconds: the kernel's stamps are not microseconds with three zeros.
    assert any(seen.captured_at % 1000 for seen in sink.observations)
    assert [seen.sequence for seen in sink.observations] == list(range(1, len(sink.observations) + 1))
    assert {(seen.node, seen.capture) for seen in sink.observations} == {("node-1", "c1")}
    assert not any(seen.headers.truncated for seen in sink.observations)
    ttls = {(seen.interface, seen.headers.ttl) for seen in sink.observations if seen.headers.five_tuple == flow}
    assert ttls == {(SOURCE_VETH, 64), (DESTINATION_VETH, 63)}
    assert sum(stats.received for stats in ended.stats) == len(sink.observations)
    assert sink.lost == []


def test_only_headers_reach_user_space(wires: Wires) -> None:
    ring = wires.on_node(lambda: Ring(SOURCE_VETH, SMALL))
    try:
        ring.arm(header_program(request()))
        with udp_server(wires, DESTINATION, 4242):
            datagrams(wires, 4242, 5)
            frames: list[bytes] = []

            def all_read() -> bool:
                frames.extend(taken(ring))
                return len(frames) >= 10

            eventually(all_read)
    finally:
        ring.close()
    # A reply that came after its asker had closed is answered by an ICMP error, which quotes 28 bytes.
    assert {len(frame) for frame in frames} <= {14 + 20 + 8, 14 + 20 + 8 + 28}
    assert not any(PAYLOAD[:6] in frame for frame in frames)


@contextmanager
def flood(wires: Wires, port: int) -> Iterator[list[int]]:
    """Sends datagrams to `port` without a pause until the block ends; the list holds how many so far."""
    done, sent = threading.Event(), [0]

    def send() -> None:
        with wires.socket(wires.source, socket.SOCK_DGRAM) as sender:
            while not done.is_set():
                sender.sendto(PAYLOAD, (str(DESTINATION), port))
                sent[0] += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        eventually(lambda: sent[0] > 100)
        yield sent
    finally:
        done.set()
        thread.join()


def test_no_foreign_packet_slips_in_while_arming(wires: Wires) -> None:
    sink, foreign = Sink(), Sink()
    with udp_server(wires, DESTINATION, 4242), flood(wires, 4242) as sent:
        for _ in range(20):
            before = sent[0]
            capture = opened(wires, request(protocol=Protocol.UDP, ports=(5353,)), sink)
            eventually(lambda before=before: sent[0] > before + 20)  # type: ignore[misc]
            ended = capture.end()
            assert [stats.received for stats in ended.stats] == [0, 0]
        # The flood does cross these interfaces: the same capture for its port sees it.
        capture = opened(wires, request(protocol=Protocol.UDP, ports=(4242,), limit=10), foreign)
        eventually(lambda: len(foreign.observations) == 10)
        capture.end()
    assert sink.observations == []
    assert sink.lost == []


def test_no_packet_but_those_accepted_is_stamped(wires: Wires) -> None:
    """One socket that asks for stamps has the kernel stamp whatever the node receives."""
    ring = wires.on_node(lambda: Ring(SOURCE_VETH, SMALL))
    with socket.socket(fileno=os.dup(ring.fileno())) as tap:
        assert tap.getsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS) == 0
    ring.close()


def test_before_it_is_armed_a_socket_hears_nothing(wires: Wires) -> None:
    with udp_server(wires, DESTINATION, 4242), flood(wires, 4242) as sent:
        ring = wires.on_node(lambda: Ring(SOURCE_VETH, SMALL))
        before = sent[0]
        eventually(lambda: sent[0] > before + 200)
        assert taken(ring) == []
        assert ring.statistics().accepted == 0
        ring.arm(header_program(request()))
        eventually(lambda: bool(taken(ring)))
        ring.disarm()
        # The block that is open is handed over once its time is up.
        time.sleep(0.05)
        while taken(ring):
            pass
        before = sent[0]
        eventually(lambda: sent[0] > before + 200)
        time.sleep(0.05)
        assert taken(ring) == []
        ring.close()


def test_drops_are_counted_to_the_packet(wires: Wires) -> None:
    sink = Sink()
    sink.gate.clear()
    asked = request(protocol=Protocol.UDP, ports=(4242,), limit=1_000_000)
    with udp_server(wires, DESTINATION, 4242):
        capture = opened(wires, asked, sink, names=(SOURCE_VETH,), size=SMALL)
        datagrams(wires, 4242, 2000)
        sink.gate.set()
        ended = capture.end()
    (stats,) = ended.stats
    assert stats.received >= 2000
    assert stats.dropped > 1000
    assert stats.dropped == sink.count_lost("kernel")
    assert stats.received == len(sink.observations) + stats.dropped


def check_account(ended: CaptureEnded, sink: Sink) -> None:
    """For each interface, to the packet; and each packet that was delivered was numbered once, in order."""
    seen = Counter(observation.interface for observation in sink.observations)
    for stats in ended.stats:
        lost = [each for each in sink.lost if each.interface == stats.interface]
        assert stats.received == seen[stats.interface] + sum(each.count for each in lost)
        assert stats.dropped == sum(each.count for each in lost if each.where == "kernel")
    assert [seen.sequence for seen in sink.observations] == list(range(1, len(sink.observations) + 1))


def test_the_account_of_captures_that_begin_and_end_within_a_flood(wires: Wires) -> None:
    asked = request(protocol=Protocol.UDP, ports=(4242,), limit=1_000_000)
    with udp_server(wires, DESTINATION, 4242), flood(wires, 4242) as sent:
        for _ in range(20):
            sink = Sink()
            capture = opened(wires, asked, sink)
            before = sent[0]
            eventually(lambda before=before: sent[0] > before + 500)  # type: ignore[misc]
            ended = capture.end()
            check_account(ended, sink)
            assert len(sink.observations) > 500
            assert {stats.dropped for stats in ended.stats} == {0}


def test_a_lasting_flow_does_not_outrun_the_reader(wires: Wires) -> None:
    """Blocks are handed over by the clock here, many more than a ring has."""
    sink = Sink()
    asked = request(protocol=Protocol.UDP, ports=(4242,), limit=10_000_000)
    with udp_server(wires, DESTINATION, 4242):
        capture = opened(wires, asked, sink, names=(SOURCE_VETH,))
        for _ in range(1000):
            datagrams(wires, 4242, 10)
            time.sleep(0.001)
        ended = capture.end()
    check_account(ended, sink)
    assert ended.stats[0].dropped == 0


def test_the_account_while_the_reader_is_held_up_again_and_again(wires: Wires) -> None:
    """The rings are full in between; at last the limit is reached while they are."""
    sink = Sink()
    asked = request(protocol=Protocol.UDP, ports=(4242,), limit=6000)
    with udp_server(wires, DESTINATION, 4242), flood(wires, 4242) as sent:
        capture = opened(wires, asked, sink, size=SMALL)
        while sink.count_lost("limit") == 0:
            sink.gate.clear()
            before = sent[0]
            eventually(lambda before=before: sent[0] > before + 1000)  # type: ignore[misc]
            sink.gate.set()
            before = len(sink.observations)
            eventually(lambda before=before: len(sink.observations) > before or sink.count_lost("limit") > 0)  # type: ignore[misc]
        ended = capture.end()
    check_account(ended, sink)
    assert len(sink.observations) == 6000
    assert sink.count_lost("kernel") > 0
    assert {lost.why for lost in sink.lost} == {"the capture's ring was full", "the capture stops at 6000 packets"}


def test_a_ring_goes_round_with_frames_of_any_size(wires: Wires) -> None:
    sink = Sink()
    sizes = ((), ("NOP",) * 4, ("NOP",) * 12, ("NOP",) * 40)
    frames = [
        bytes(
            Ether(dst="02:00:00:00:00:02")
            / IP(src=str(SOURCE), dst=str(DESTINATION), id=number)
            / TCP(sport=1, dport=number % 7, options=[(name, None) for name in sizes[number * number % 5 % 4]])
        )
        for number in range(1500)
    ]
    capture = opened(wires, request(protocol=Protocol.TCP), sink, names=(SOURCE_VETH,), size=SMALL)
    with run_in_namespace(wires.source, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)) as sender:
        sender.bind(("eth0", 0))
        for first in range(0, len(frames), 50):
            for frame in frames[first : first + 50]:
                sender.send(frame)
            eventually(lambda first=first: len(sink.observations) == min(first + 50, len(frames)))  # type: ignore[misc]
    ended = capture.end()
    check_account(ended, sink)
    assert [seen.headers.ip_id for seen in sink.observations] == list(range(1500))
    assert [seen.headers.five_tuple.destination_port for seen in sink.observations] == [n % 7 for n in range(1500)]
    stamps = [seen.captured_at for seen in sink.observations]
    assert stamps == sorted(stamps)
    assert not any(seen.headers.truncated for seen in sink.observations)


def test_a_lone_packet_is_delivered_without_a_second(wires: Wires) -> None:
    sink = Sink()
    with wires.socket(wires.destination, socket.SOCK_DGRAM) as mute:
        mute.bind((str(DESTINATION), 4242))
        capture = opened(wires, request(protocol=Protocol.UDP), sink, names=(SOURCE_VETH,))
        for number in range(1, 6):
            datagrams(wires, 4242, 1)
            eventually(lambda number=number: len(sink.observations) == number)  # type: ignore[misc]
        capture.end()


def test_at_the_limit_the_capture_stops_and_counts_on(wires: Wires) -> None:
    sink = Sink()
    with udp_server(wires, DESTINATION, 4242):
        capture = opened(wires, request(limit=5), sink)
        datagrams(wires, 4242, 50)
        eventually(lambda: sink.count_lost("limit") > 0)
        datagrams(wires, 4242, 500)
        ended = capture.end()
    assert len(sink.observations) == 5
    assert sum(stats.received for stats in ended.stats) == 5 + sink.count_lost("limit")
    assert sink.count_lost("limit") > 1000
    assert {stats.dropped for stats in ended.stats} == {0}
    assert sink.lost[0].why == "the capture stops at 5 packets"


def test_a_capture_that_just_reaches_its_limit_loses_nothing(wires: Wires) -> None:
    sink = Sink()
    with wires.socket(wires.destination, socket.SOCK_DGRAM) as mute:
        mute.bind((str(DESTINATION), 4242))
        capture = opened(wires, request(protocol=Protocol.UDP, limit=3), sink, names=(DESTINATION_VETH,))
        datagrams(wires, 4242, 3)
        eventually(lambda: len(sink.observations) == 3)
        ended = capture.end()
    assert sink.lost == []
    assert ended.stats[0].received == 3


def test_what_the_sockets_hold_is_delivered_before_the_end(wires: Wires) -> None:
    sink = Sink()
    sink.gate.clear()
    with udp_server(wires, DESTINATION, 4242):
        capture = opened(wires, request(), sink, names=(SOURCE_VETH,))
        datagrams(wires, 4242, 700)
        threading.Timer(0.2, sink.gate.set).start()
        ended = capture.end()
    assert len(sink.observations) == ended.stats[0].received >= 700
    assert ended.stats[0].dropped == 0


def test_icmp_errors_that_quote_the_flow(wires: Wires) -> None:
    sink = Sink()
    capture = opened(wires, request(protocol=Protocol.UDP, ports=(33434,)), sink)
    with wires.socket(wires.source, socket.SOCK_DGRAM) as sender:
        sender.bind((str(SOURCE), 41000))
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
        sender.sendto(PAYLOAD, (str(DESTINATION), 33434))
    eventually(lambda: len(sink.observations) == 2)
    capture.end()
    probe, error = sink.observations
    assert error.headers.icmp is not None
    assert (error.headers.icmp.type, error.headers.icmp.quoted) == (11, probe.headers.five_tuple)
    assert (error.interface, error.direction) == (SOURCE_VETH, Direction.OUT)


def test_fragments(wires: Wires) -> None:
    sink = Sink()
    capture = opened(wires, request(protocol=Protocol.UDP, ports=(9,)), sink, names=(SOURCE_VETH,))
    with wires.socket(wires.source, socket.SOCK_DGRAM) as sender:
        sender.sendto(PAYLOAD * 8, (str(DESTINATION), 9))
    eventually(lambda: len(sink.observations) >= 3)
    capture.end()
    fragments = [seen.headers for seen in sink.observations if seen.direction is Direction.IN]
    assert sorted((headers.fragment, headers.five_tuple.destination_port) for headers in fragments) == [
        (False, 9),
        (True, 0),
        (True, 0),
    ]
    assert len({headers.ip_id for headers in fragments}) == 1


def test_a_vlan_tag_that_the_kernel_takes_off_is_told(wires: Wires) -> None:
    sink = Sink()
    capture = opened(wires, request(), sink, names=(SOURCE_VETH,))
    frame = (
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        / Dot1Q(vlan=42)
        / IP(src=str(SOURCE), dst=str(DESTINATION))
        / UDP(sport=1, dport=2)
        / Raw(PAYLOAD)
    )
    with run_in_namespace(wires.source, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)) as sender:
        sender.bind(("eth0", 0))
        sender.send(bytes(frame))
    eventually(lambda: bool(sink.observations))
    capture.end()
    assert [(seen.headers.vlan, seen.headers.five_tuple.destination_port) for seen in sink.observations] == [(42, 2)]


def test_a_second_vlan_tag_stays_in_the_frame_and_the_outer_one_is_told(wires: Wires) -> None:
    sink = Sink()
    capture = opened(wires, request(), sink, names=(SOURCE_VETH,))
    frame = (
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        / Dot1AD(vlan=7)
        / Dot1Q(vlan=42)
        / IP(src=str(SOURCE), dst=str(DESTINATION))
        / UDP(sport=1, dport=2)
    )
    with run_in_namespace(wires.source, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)) as sender:
        sender.bind(("eth0", 0))
        for _ in range(20):
            sender.send(bytes(frame))
    eventually(lambda: len(sink.observations) == 20)
    capture.end()
    assert {(seen.headers.vlan, seen.headers.five_tuple.destination_port) for seen in sink.observations} == {(7, 2)}


def test_a_frame_for_another_mac_is_seen_and_marked(wires: Wires) -> None:
    """As it comes where a neighbour entry is stale: the kernel drops it as PACKET_OTHERHOST."""
    sink = Sink()
    with udp_server(wires, DESTINATION, 4242):
        capture = opened(wires, request(protocol=Protocol.UDP, ports=(4242,)), sink)
        datagrams(wires, 4242, 1)
        eventually(lambda: len(sink.observations) >= 4)
        run(
            "ip",
            "-n",
            wires.source.name,
            "neigh",
            "replace",
            "10.211.0.1",
            "lladdr",
            "02:00:00:00:00:99",
            "dev",
            "eth0",
        )
        datagrams(wires, 4242, 1)
        eventually(lambda: any(seen.for_another for seen in sink.observations))
        capture.end()
    run("ip", "-n", wires.source.name, "neigh", "del", "10.211.0.1", "dev", "eth0")
    marked = [seen for seen in sink.observations if seen.for_another]
    assert [(seen.interface, seen.direction) for seen in marked] == [(SOURCE_VETH, Direction.IN)]
    assert marked[0].headers.five_tuple.destination_port == 4242
    assert marked[0] is max(sink.observations, key=lambda seen: seen.captured_at)


@pytest.mark.parametrize(
    ("near", "far", "family", "icmp"),
    [
        (SOURCE, DESTINATION, "-4", (3, 4, 1300)),
        (SOURCE6, DESTINATION6, "-6", (2, 0, 1300)),
    ],
    ids=["IPv4", "IPv6"],
)
def test_an_echo_and_the_error_that_it_is_too_large(
    wires: Wires, near: Any, far: Any, family: str, icmp: tuple[int, int, int]
) -> None:
    run("ip", "-n", wires.node.name, "link", "set", DESTINATION_VETH, "mtu", "1300")
    sink = Sink()
    capture = opened(wires, request(protocol=Protocol.ICMP, near=(near,), far=(far,)), sink)
    for size in (100, 1400):
        asked = ProbeRequest(protocol=1, source=near, destination=Socket(far, 0), size=size, timeout=1)
        wires.on_node(lambda asked=asked: send_probe(asked, time.time_ns))  # type: ignore[misc]
    eventually(lambda: len(sink.observations) >= 6)
    capture.end()
    run("ip", "-n", wires.node.name, "link", "set", DESTINATION_VETH, "mtu", "1500")
    run("ip", "-n", wires.source.name, family, "route", "flush", "cache")
    own = 1 if far.version == 4 else 58
    assert {seen.headers.five_tuple.protocol for seen in sink.observations} == {own}
    seen = [(item.interface, item.direction, item.headers.icmp) for item in sink.observations]
    types = [(interface, direction, header.type) for interface, direction, header in seen if header is not None]
    request_type, reply_type = (8, 0) if far.version == 4 else (128, 129)
    assert sorted(types, key=str) == sorted(
        [
            *((SOURCE_VETH, Direction.IN, request_type) for _ in range(2)),
            (DESTINATION_VETH, Direction.OUT, request_type),
            (DESTINATION_VETH, Direction.IN, reply_type),
            (SOURCE_VETH, Direction.OUT, reply_type),
            (SOURCE_VETH, Direction.OUT, icmp[0]),
        ],
        key=str,
    )
    error = next(header for _, _, header in seen if header is not None and header.type == icmp[0])
    large = next(item.headers for item in sink.observations if item.headers.length > 1400)
    assert (error.type, error.code, error.mtu) == icmp
    assert error.quoted == large.five_tuple


def test_absurd_frames_are_counted_as_unparsed(wires: Wires) -> None:
    sink = Sink()
    capture = opened(wires, request(), sink, names=(SOURCE_VETH,))
    absurd = Ether(dst="02:00:00:00:00:02") / IP(src=str(SOURCE), dst=str(DESTINATION), len=11) / UDP()
    with run_in_namespace(wires.source, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)) as sender:
        sender.bind(("eth0", 0))
        for _ in range(3):
            sender.send(bytes(absurd))
    eventually(lambda: sink.count_lost("parse") == 3)
    ended = capture.end()
    assert ended.stats[0].received == 3
    assert sink.lost[0].why == "the IPv4 total length is 11, less than the header's 20"
    assert sink.lost[0].interface == SOURCE_VETH


def test_interfaces_that_cannot_be_opened_are_named(wires: Wires) -> None:
    run("ip", "-n", wires.node.name, "link", "add", "v-down", "type", "veth", "peer", "name", "v-down-peer")
    capture = opened(wires, request(), Sink(), names=(SOURCE_VETH, "absent0", "v-down"))
    capture.end()
    run("ip", "-n", wires.node.name, "link", "delete", "v-down")
    assert capture.armed.interfaces == (SOURCE_VETH,)
    assert [(unread.part, unread.reason) for unread in capture.armed.unread] == [
        ("capture (absent0)", "absent0 is not captured: the interface is gone."),
        ("capture (v-down)", "v-down is not captured: the interface is down."),
    ]


def test_arming_reads_no_links_and_no_routes(wires: Wires) -> None:
    """scapy would, at its import and for each new name: two seconds on a node of 200 pods."""
    code = f"""
import sys
from ipaddress import ip_address
from pathtap.agent.capture import open_capture
from pathtap.model.request import CaptureEnded, CaptureRequest, ProbeRequest
asked = CaptureRequest(id="c", protocol=6, near=(ip_address("{SOURCE}"),), far=(ip_address("{DESTINATION}"),))
capture = open_capture("n", asked, ["{SOURCE_VETH}", "absent0"], lambda *_: None)
from scapy.config import conf
print(capture.armed.interfaces, len(conf.ifaces.data), "scapy.route" in sys.modules)
capture.end()
"""
    done = subprocess.run(
        ["ip", "netns", "exec", wires.node.name, sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == (f"('{SOURCE_VETH}',) 0 False\n", "")


def test_an_interface_that_vanishes_is_a_loss_and_no_crash(wires: Wires) -> None:
    run("ip", "-n", wires.node.name, "link", "add", "v-gone", "type", "veth", "peer", "name", "v-gone-peer")
    for name in ("v-gone", "v-gone-peer"):
        run("ip", "-n", wires.node.name, "link", "set", name, "up")
    sink = Sink()
    capture = opened(wires, request(), sink, names=(SOURCE_VETH, "v-gone"))
    run("ip", "-n", wires.node.name, "link", "delete", "v-gone")
    eventually(lambda: bool(sink.lost))
    datagrams(wires, 9, 1)
    eventually(lambda: bool(sink.observations))
    ended = capture.end()
    assert {(lost.interface, lost.where, lost.why) for lost in sink.lost} == {
        ("v-gone", "kernel", "the interface is down: packets may be missing from here on")
    }
    assert [stats.interface for stats in ended.stats] == [SOURCE_VETH, "v-gone"]


def test_frames_behind_an_error_of_the_socket_are_delivered_before_the_end(wires: Wires) -> None:
    """The kernel tells of a link that went down before it hands over what came earlier."""
    sink = Sink()
    sink.gate.clear()
    capture = opened(wires, request(), sink, names=(SOURCE_VETH,))
    with udp_server(wires, DESTINATION, 4242):
        datagrams(wires, 4242, 1)
        time.sleep(0.1)
        datagrams(wires, 4242, 20)
    run("ip", "-n", wires.node.name, "link", "set", SOURCE_VETH, "down")
    threading.Timer(0.2, sink.gate.set).start()
    ended = capture.end()
    run("ip", "-n", wires.node.name, "link", "set", SOURCE_VETH, "up")
    run("ip", "-n", wires.node.name, "-6", "addr", "add", "fd11:0:0:a::1/64", "dev", SOURCE_VETH, "nodad")
    assert len(sink.observations) == ended.stats[0].received >= 21
    assert [lost.where for lost in sink.lost] == ["kernel"]


def test_a_capture_that_cannot_start_leaves_nothing_open(wires: Wires, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoThread(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    def refused() -> tuple[int, int]:
        before = len(os.listdir("/proc/self/fd"))
        with monkeypatch.context() as patch:
            patch.setattr("pathtap.agent.capture.threading.Thread", NoThread)
            with pytest.raises(RuntimeError, match="new thread"):
                open_capture("node-1", request(), BOTH, Sink())
        return before, len(os.listdir("/proc/self/fd"))

    opened(wires, request(), Sink()).end()
    before, after = wires.on_node(refused)
    assert after == before


def without_raw_sockets() -> None:
    """Takes CAP_NET_RAW from the calling thread alone: capget(2) and capset(2) with two words of each set."""
    library = ctypes.CDLL(None, use_errno=True)
    header = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0))
    data = ctypes.create_string_buffer(24)
    assert library.capget(header, data) == 0
    effective, *rest = struct.unpack("=6I", data.raw)
    assert library.capset(header, struct.pack("=6I", effective & ~(1 << 13), *rest)) == 0


def test_without_the_privilege_each_interface_says_so(wires: Wires) -> None:
    def unprivileged() -> Capture:
        without_raw_sockets()
        return open_capture("node-1", request(), BOTH, Sink())

    capture = wires.on_node(unprivileged)
    assert capture.end().stats == ()
    assert capture.armed.interfaces == ()
    assert [unread.reason for unread in capture.armed.unread] == [
        f"{name} is not captured: opening a packet socket needs CAP_NET_RAW." for name in BOTH
    ]


def test_two_captures_do_not_disturb_each_other(wires: Wires) -> None:
    one, other = Sink(), Sink()
    captures = [
        opened(wires, request(id=str(port), protocol=Protocol.UDP, ports=(port,)), sink, names=(SOURCE_VETH,))
        for port, sink in ((1111, one), (2222, other))
    ]
    with udp_server(wires, DESTINATION, 1111), udp_server(wires, DESTINATION, 2222):
        datagrams(wires, 1111, 3)
        captures[0].end()
        datagrams(wires, 2222, 4)
    captures[1].end()
    asked = [
        [
            seen.headers.five_tuple.destination_port
            for seen in sink.observations
            if seen.headers.five_tuple.source == SOURCE
        ]
        for sink in (one, other)
    ]
    # Port 0 is that of ICMP errors about replies that came after their asker had closed.
    assert [[port for port in ports if port] for ports in asked] == [[1111] * 3, [2222] * 4]
    assert {seen.capture for seen in other.observations} == {"2222"}


def test_what_deliver_raises_is_raised_by_end(wires: Wires) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no room")

    capture = wires.on_node(lambda: open_capture("node-1", request(), (SOURCE_VETH,), broken))
    datagrams(wires, 9, 1)
    with pytest.raises(RuntimeError, match="no room"):
        capture.end()


def test_a_request_without_a_filter_opens_nothing(wires: Wires) -> None:
    with pytest.raises(FilterError, match="no near address"):
        opened(wires, request(near=()), Sink())
