"""Traffic of a lab's pods and what becomes of it, for the tests of `pathtap snat`."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from labs import Bench

from pathtap.lab.kernel import command_inside, inside
from pathtap.lab.names import places
from pathtap.lab.topology import INTERNET_HOST, UDP_ECHO_PORT

OUTSIDE = str(INTERNET_HOST)
# A rule makes silence here.
SILENT_PORT = 444
# A random choice keeps three of 64 ports once in some thousand million runs.
BY_CHANCE = 2


def forget(bench: Bench) -> None:
    """No node has an entry of before: one that is kept for minutes is evidence."""
    for node in bench.cluster.nodes:
        command_inside(node.network_namespace, ["conntrack", "-F"])


def sent(namespace: str) -> int:
    """Datagrams that the namespace itself has asked IPv4 to send, RFC 4293's ipSystemStatsOutRequests."""
    names, values = (
        line.split() for line in inside(namespace, Path("/proc/thread-self/net/snmp").read_text).splitlines()[:2]
    )
    return int(values[names.index("OutRequests")])


def is_quiet(namespace: str) -> bool:
    """Whether it sends nothing for a while."""
    before = sent(namespace)
    threading.Event().wait(0.3)
    return sent(namespace) == before


def entries(bench: Bench, destination: str, protocol: str = "tcp") -> list[str]:
    listed = ["conntrack", "-L", "-p", protocol, "--orig-dst", destination]
    return command_inside(bench.cluster.nodes[0].network_namespace, listed).splitlines()


def hellos(bench: Bench, source: str, count: int) -> None:
    """So many datagrams to outside, each from a port of its own; all are answered before this returns."""

    def say() -> None:
        with ExitStack() as stack:
            made = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(count)]
            for each in made:
                each.settimeout(2)
                each.sendto(b"hello", (OUTSIDE, UDP_ECHO_PORT))
            for each in made:
                each.recv(100)

    inside(places(bench.cluster)[source], say)


@contextmanager
def talking(bench: Bench, source: str) -> Iterator[None]:
    """A few datagrams at once, again and again while the block runs, two thousand at the most."""
    over = threading.Event()

    def talk() -> None:
        for _ in range(200):
            hellos(bench, source, 10)
            if over.wait(0.1):
                return

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def assert_fully_random(snat: Any) -> None:
    assert snat["verdict"] == "FULLY_RANDOM", snat["summary"]
    assert (snat["exit_code"], snat["as_intended"]) == (0, True)
    assert snat["preserved"] <= BY_CHANCE
    statistics = snat["statistics"]
    assert statistics["counted"] >= statistics["needed"] > 0
    assert 0 < statistics["false_alarm"] <= 0.001


@contextmanager
def silent(bench: Bench) -> Iterator[None]:
    """Nobody answers at SILENT_PORT outside, nor refuses."""
    rule = ["INPUT", "-p", "tcp", "--dport", str(SILENT_PORT), "-j", "DROP"]
    command_inside(bench.cluster.internet_namespace, ["iptables-nft", "-A", *rule])
    try:
        yield
    finally:
        command_inside(bench.cluster.internet_namespace, ["iptables-nft", "-D", *rule])


@contextmanager
def few_ports(bench: Bench, source: str, count: int) -> Iterator[None]:
    """The source has so few ports to choose from that it takes the same again soon."""
    path, pod = Path("/proc/sys/net/ipv4/ip_local_port_range"), places(bench.cluster)[source]
    usual = inside(pod, path.read_text)
    inside(pod, lambda: path.write_text(f"40000 {40000 + count - 1}"))
    try:
        yield
    finally:
        inside(pod, lambda: path.write_text(usual))


def wait_until(holds: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(200):
        if holds():
            return
        waiting.wait(0.05)
    raise AssertionError("it did not come to that within some seconds")
