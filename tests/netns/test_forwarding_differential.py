"""What the model says against what the kernel does: random nodes, random packets, both iptables backends and native nft."""

import json
import os
import random
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

import pytest
from pyroute2 import netns

sys.path.insert(0, str(Path(__file__).parents[2]))
from pathtap.forwarding import NodeModel, Outcome, Packet, Prediction, predict
from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.netfilter import Backend, Random, RuleSet
from pathtap.model.node import NodeSnapshot, Role
from tests.unit.forwarding import configurations as conf
from tests.unit.forwarding.frames import ipv4, parse
from tests.unit.forwarding.nodes import interface, iptables, nftables, route, rule, snapshot

pytestmark = pytest.mark.netns

T = TypeVar("T")
SEED, CONFIGURATIONS, PACKETS = 20261121, 80, 14
# Some rules name them.
PORTS = (443, 53, 80, 8080)


def within(name: str, action: Callable[[], T]) -> T:
    """Runs the action inside a namespace, in a thread of its own that ends with it."""
    found: list[T] = []

    def run() -> None:
        netns.setns(name)
        found.append(action())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def run(namespace: str, *command: str, text: str = "", check: bool = True) -> str:
    whole = ["ip", "netns", "exec", namespace, *command]
    done = subprocess.run(whole, input=text, text=True, capture_output=True, check=False)
    assert done.returncode == 0 or not check, f"{command}: {done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Seen:
    interface: str
    five_tuple: FiveTuple


class Bed:
    """A node with two ENIs and two pods. Frames enter and are caught on the far ends of its four veths."""

    def __init__(self) -> None:
        self.prefix = f"ptfw{os.getpid()}"
        self.node = f"{self.prefix}-node"
        self.far = f"{self.prefix}-far"
        self.sockets: dict[str, socket.socket] = {}
        self.macs: dict[str, bytes] = {}

    def build(self) -> None:
        for name in (self.node, self.far):
            netns.create(name)
        lines = ["link set lo up"]
        for name in ("eth0", "eth1", *conf.PODS.values()):
            lines += [f"link add {name} type veth peer name {name} netns {self.far}", f"link set {name} up"]
        lines += [f"addr add {conf.NODE}/24 dev eth0", f"addr add {conf.SECONDARY}/24 dev eth1 noprefixroute"]
        run(self.node, "ip", "-batch", "-", text="\n".join(lines))
        run(
            self.far,
            "ip",
            "-batch",
            "-",
            text="\n".join(f"link set {name} up" for name in ("eth0", "eth1", *conf.PODS.values())),
        )
        switches = {"net.ipv4.ip_forward": 1, "net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.default.rp_filter": 0}
        switches |= {f"net.ipv4.conf.{name}.rp_filter": 0 for name in ("eth0", "eth1", *conf.PODS.values())}
        run(self.node, "sysctl", "-qw", *(f"{name}={value}" for name, value in switches.items()))
        for name in ("eth0", "eth1", *conf.PODS.values()):
            self.sockets[name] = within(self.far, lambda name=name: packet_socket(name))  # type: ignore[misc]
            self.macs[name] = bytes.fromhex(link_mac(self.node, name))
        neighbours = [
            f"neigh replace {conf.GATEWAY} lladdr {colons(link_mac(self.far, name))} dev {name} nud permanent"
            for name in ("eth0", "eth1")
        ]
        neighbours += [
            f"neigh replace {pod} lladdr {colons(link_mac(self.far, veth))} dev {veth} nud permanent"
            for pod, veth in conf.PODS.items()
        ]
        run(self.node, "ip", "-batch", "-", text="\n".join(neighbours))

    def remove(self) -> None:
        for each in self.sockets.values():
            each.close()
        for name in (self.node, self.far):
            netns.remove(name)

    def configure(self, drawn: conf.Configuration) -> None:
        empty_tables = ["rule flush", *(f"route flush table {table}" for table in ("main", "2", "3"))]
        run(self.node, "ip", "-force", "-batch", "-", text="\n".join(empty_tables), check=False)
        lines = [f"rule add prio {line.replace(':', '', 1)}" for line in ("32766: from all lookup main", *drawn.rules)]
        lines += [
            "route add 192.168.1.0/24 dev eth0 scope link",
            f"route add {conf.GATEWAY} dev eth1 table 2 scope link",
        ]
        lines += [f"route add {pod} dev {veth} scope link" for pod, veth in conf.PODS.items()]
        # Gateways are checked in the table `main`, where 192.168.1.1 lies behind eth0.
        lines += [
            f"route replace {text} table {table}{' onlink' if ' via ' in text else ''}" for table, text in drawn.routes
        ]
        run(self.node, "ip", "-batch", "-", text="\n".join(lines))
        run(self.node, "nft", "flush", "ruleset")
        # A policy stays until another is set.
        empty = "*mangle\nCOMMIT\n*nat\nCOMMIT\n*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"
        run(self.node, "iptables-legacy-restore", text=drawn.iptables if drawn.backend == "legacy" else empty)
        if drawn.backend == "nft":
            run(self.node, "iptables-nft-restore", text=drawn.iptables)
            run(self.node, "nft", "-f", "-", text=drawn.native or "\n")
        run(self.node, "conntrack", "-F")

    def snapshot(self, drawn: conf.Configuration) -> NodeSnapshot:
        rules = ["0: from all lookup local", *drawn.rules, "32766: from all lookup main"]
        routes = [route("192.168.1.0/24 dev eth0 scope link"), route(f"{conf.GATEWAY} dev eth1 scope link", "2")]
        routes += [route(f"{pod} dev {veth} scope link") for pod, veth in conf.PODS.items()]
        # `replace` replaces what has the same table, prefix and metric.
        configured = {
            (table, each.destination, each.metric): each for table, text in drawn.routes if (each := route(text, table))
        }
        routes += configured.values()
        routes += [
            route(f"local {address} dev {name}", "local")
            for address, name in ((conf.NODE, "eth0"), (conf.SECONDARY, "eth1"))
        ]
        routes += [route("local 127.0.0.0/8 dev lo", "local"), route("broadcast 192.168.1.255 dev eth0", "local")]
        interfaces = [
            interface(1, "lo", "127.0.0.1/8", role=Role.LOOPBACK),
            interface(2, "eth0", f"{conf.NODE}/24"),
            interface(3, "eth1", f"{conf.SECONDARY}/24"),
        ]
        return snapshot([rule(line) for line in rules], routes, self.rule_sets(drawn), interfaces)

    def rule_sets(self, drawn: conf.Configuration) -> list[RuleSet]:
        """As the node's own tools print them, so that the canonical text is what is tested."""
        backend = Backend.LEGACY if drawn.backend == "legacy" else Backend.NFT
        found = iptables(run(self.node, f"iptables-{drawn.backend}-save"), backend)
        return (
            [*found, nftables(run(self.node, "nft", "-j", "list", "table", "ip", "aws-cni"))] if drawn.native else found
        )

    def send(self, packet: Packet, token: bytes) -> None:
        frame = self.macs[packet.in_interface] + b"\x02\0\0\0\0\1" + b"\x08\0" + ipv4(packet.five_tuple, token)
        self.sockets[packet.in_interface].send(frame)

    def collect(self) -> dict[bytes, Seen]:
        """Every packet that left the node, by its token."""
        found: dict[bytes, Seen] = {}
        names = {each: name for name, each in self.sockets.items()}
        while ready := select.select(list(names), [], [], 0.03)[0]:
            for each in ready:
                frame, origin = each.recvfrom(2048)
                if origin[2] != socket.PACKET_OUTGOING and (parsed := parse(frame[14:])):
                    found[frame[-8:]] = Seen(names[each], parsed)
        return found


def packet_socket(name: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    opened.bind((name, 0x0800))
    return opened


def link_mac(namespace: str, name: str) -> str:
    return str(json.loads(run(namespace, "ip", "-j", "link", "show", name))[0]["address"]).replace(":", "")


def colons(mac: str) -> str:
    return ":".join(mac[index : index + 2] for index in range(0, 12, 2))


def draw_packet(dice: random.Random, port: int) -> Packet:
    protocol = dice.choice((Protocol.TCP, Protocol.UDP, Protocol.ICMP))
    source, came_by = dice.choice([*conf.PODS.items(), ("203.0.113.9", "eth0"), ("192.168.7.7", "eth1")])
    destinations = [*conf.OUTSIDE, *(pod for pod in conf.PODS if pod != source), conf.NODE]
    flow = FiveTuple(
        protocol=protocol,
        source=ip_address(source),
        source_port=port,
        destination=ip_address(dice.choice(destinations)),
        destination_port=0 if protocol is Protocol.ICMP else dice.choice(PORTS),
    )
    return Packet.opening(flow, came_by)


def contradiction(prediction: Prediction, seen: Seen | None) -> str:
    """Empty where the kernel did what the model said."""
    if prediction.outcome is not Outcome.FORWARDED:
        return "" if seen is None else f"{prediction.outcome} ({prediction.reason}), but it left by {seen.interface}"
    if seen is None:
        return "predicted to be forwarded, but it did not leave"
    expected, made, decision = prediction.packet.five_tuple, seen.five_tuple, prediction.routing
    if decision is None or decision.interface != seen.interface:
        return f"left by {seen.interface}"
    if (expected.source, expected.destination_socket) != (made.source, made.destination_socket):
        return f"left as {made}"
    drawn = prediction.snat is not None and prediction.snat.random is not Random.NONE
    return "" if drawn or expected.source_port == made.source_port else f"left as {made}"


def kernel_route(bed: Bed, packet: Packet) -> str:
    """The interface of the kernel's own lookup, `lo` for local delivery, empty where it refuses.

    Asked through `ip route get`: pyroute2 knows no RTA_IP_PROTO, without which the kernel takes every packet for UDP.
    """
    flow = packet.five_tuple
    words = [str(flow.destination), "from", str(flow.source), "iif", packet.in_interface, "mark", str(packet.mark)]
    words += ["ipproto", str(flow.protocol)]
    if flow.protocol != Protocol.ICMP:
        words += ["sport", str(flow.source_port), "dport", str(flow.destination_port)]
    answer = run(bed.node, "ip", "route", "get", *words, check=False).split()
    if answer[:1] == ["local"]:
        return "lo"
    return answer[answer.index("dev") + 1] if "dev" in answer else ""


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    made = Bed()
    try:
        made.build()
        yield made
    finally:
        made.remove()


def problem(bed: Bed, prediction: Prediction, seen: Seen | None) -> str:
    """What the kernel did otherwise, by the packet itself and by its own route lookup; empty where it did not."""
    found = contradiction(prediction, seen)
    if found or prediction.routed is None or prediction.routing is None:
        return found
    looked_up = kernel_route(bed, prediction.routed)
    return "" if looked_up == prediction.routing.interface else f"the kernel's lookup says {looked_up or 'no'}"


def test_the_kernel_never_contradicts_the_model(bed: Bed) -> None:
    dice = random.Random(SEED)  # noqa: S311 (a reproducible draw, no secret)
    wrong: list[str] = []
    counts = {"forwarded": 0, "stopped": 0, "translated": 0, "unknown": 0}
    for number in range(CONFIGURATIONS):
        drawn = conf.draw(dice)
        bed.configure(drawn)
        model = NodeModel(bed.snapshot(drawn))
        identities = range(PACKETS * number, PACKETS * (number + 1))
        sent = {b"pt%06d" % identity: draw_packet(dice, 20000 + identity) for identity in identities}
        for token, packet in sent.items():
            bed.send(packet, token)
        seen = bed.collect()
        for token, packet in sent.items():
            prediction = predict(model, packet)
            if prediction.unknown:
                counts["unknown"] += 1
            elif found := problem(bed, prediction, seen.get(token)):
                way = prediction.routing.text if prediction.routing else ""
                wrong.append(f"configuration {number}: {packet.five_tuple} by {packet.in_interface}: {found}; {way}")
            counts["forwarded" if prediction.outcome is Outcome.FORWARDED else "stopped"] += 1
            counts["translated"] += prediction.snat is not None or prediction.dnat is not None
    assert not wrong, "\n".join(wrong[:20])
    total = CONFIGURATIONS * PACKETS
    assert counts["unknown"] <= total * 0.02
    # The draw must exercise what it is for.
    assert min(counts["forwarded"], counts["stopped"], counts["translated"]) > total * 0.1, counts
