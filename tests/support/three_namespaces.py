"""Three namespaces for a test: a source, a node in the middle that routes, a destination; IPv4 and IPv6."""

import os
import secrets
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TypeVar

from pathtap.agent.namespaces import run_in_namespace

Result = TypeVar("Result")

SOURCE, DESTINATION = IPv4Address("10.211.0.2"), IPv4Address("10.211.1.2")
SOURCE6, DESTINATION6 = IPv6Address("fd11:0:0:a::2"), IPv6Address("fd11:0:0:b::2")
SOURCE_VETH, DESTINATION_VETH = "v-source", "v-target"


class Wires:
    """The namespaces' paths, and what a test does inside them."""

    def __init__(self, prefix: str) -> None:
        self.source, self.node, self.destination = (
            Path("/run/netns") / f"{prefix}-{name}" for name in ("source", "node", "target")
        )

    def build(self) -> None:
        for path in (self.source, self.node, self.destination):
            run("ip", "netns", "add", path.name)
            run("ip", "-n", path.name, "link", "set", "lo", "up")
            # Link-local addresses are usable at once, not after a second of duplicate address detection.
            self.command(path, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        self._connect(self.source, SOURCE_VETH, "10.211.0", "fd11:0:0:a:")
        self._connect(self.destination, DESTINATION_VETH, "10.211.1", "fd11:0:0:b:")
        self.command(self.node, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")

    def _connect(self, end: Path, veth: str, net: str, net6: str) -> None:
        node, pod = ("ip", "-n", self.node.name), ("ip", "-n", end.name)
        run(*node, "link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", end.name)
        run(*node, "addr", "add", f"{net}.1/24", "dev", veth)
        run(*node, "-6", "addr", "add", f"{net6}:1/64", "dev", veth, "nodad")
        run(*node, "link", "set", veth, "up")
        run(*pod, "addr", "add", f"{net}.2/24", "dev", "eth0")
        run(*pod, "-6", "addr", "add", f"{net6}:2/64", "dev", "eth0", "nodad")
        run(*pod, "link", "set", "eth0", "up")
        run(*pod, "route", "add", "10.211.0.0/16", "via", f"{net}.1")
        run(*pod, "-6", "route", "add", "fd11::/48", "via", f"{net6}:1")

    def destroy(self) -> None:
        for path in (self.source, self.node, self.destination):
            subprocess.run(["ip", "netns", "delete", path.name], check=False, capture_output=True)

    def command(self, where: Path, *words: str) -> str:
        return run("ip", "netns", "exec", where.name, *words)

    def nft(self, rules: str) -> None:
        run("ip", "netns", "exec", self.node.name, "nft", "-f", "-", feed=rules)

    def on_node(self, function: Callable[[], Result]) -> Result:
        return run_in_namespace(self.node, function)

    def socket(self, where: Path, kind: int, family: int = socket.AF_INET) -> socket.socket:
        return run_in_namespace(where, lambda: socket.socket(family, kind))


def run(*words: str, feed: str = "") -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True, input=feed)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


@contextmanager
def wired(label: str) -> Iterator[Wires]:
    wires = Wires(f"pt-{label}-{os.getpid()}-{secrets.token_hex(2)}")
    try:
        wires.build()
        yield wires
    finally:
        wires.destroy()


@contextmanager
def tcp_server(wires: Wires, address: object, port: int, family: int = socket.AF_INET) -> Iterator[None]:
    """Accepts, sends back what it gets until the other end closes."""
    with wires.socket(wires.destination, socket.SOCK_STREAM, family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((str(address), port))
        listening.listen(16)

        def serve() -> None:
            while True:
                try:
                    peer, _ = listening.accept()
                except OSError:
                    return
                with peer:
                    try:
                        while data := peer.recv(65536):
                            peer.sendall(data)
                    except ConnectionError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@contextmanager
def udp_server(wires: Wires, address: object, port: int, family: int = socket.AF_INET) -> Iterator[None]:
    """Sends every datagram back to where it came from; an empty one ends it."""
    with wires.socket(wires.destination, socket.SOCK_DGRAM, family) as bound:
        bound.bind((str(address), port))
        bound.settimeout(0.1)
        done = threading.Event()

        def serve() -> None:
            while not done.is_set():
                try:
                    data, peer = bound.recvfrom(65536)
                except TimeoutError:
                    continue
                bound.sendto(data, peer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(5)
