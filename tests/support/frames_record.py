"""Writes the captures of fixtures/frames anew: ordinary traffic between three namespaces, as tcpdump sees it on a node's veths.

    PYTHONPATH=tests/support .venv/bin/python tests/support/frames_record.py     as root; needs tcpdump

What it sends stays in the namespaces and carries no data of anybody.
"""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from frames import FIXTURES
from three_namespaces import DESTINATION, DESTINATION6, Wires, run, tcp_server, udp_server, wired

# Enough for headers with every option; payload is not of interest.
SNAPLEN = 192
ENDS = ((socket.AF_INET, DESTINATION), (socket.AF_INET6, DESTINATION6))


@contextmanager
def recording(wires: Wires, name: str, interface: str = "v-source") -> Iterator[None]:
    """tcpdump on one interface of the node; ended, and its file complete, when the block ends."""
    command = (
        "tcpdump",
        "-i",
        interface,
        "--immediate-mode",
        "-U",
        "-s",
        str(SNAPLEN),
        "--nano",
        "-w",
        str(FIXTURES / f"{name}.pcap"),
    )
    inside = ("ip", "netns", "exec", wires.node.name, *command)
    process = subprocess.Popen(inside, stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        process.stderr.readline()
        yield
        time.sleep(0.5)
    finally:
        process.terminate()
        process.wait(5)
        process.stderr.close()


def quietly(wires: Wires, *words: str) -> None:
    """A command in the source's namespace that may well fail: that is what is recorded."""
    subprocess.run(["ip", "netns", "exec", wires.source.name, *words], check=False, capture_output=True, timeout=20)


def pings(wires: Wires) -> None:
    for _, address in ENDS:
        quietly(wires, "ping", "-c", "3", "-i", "0.2", str(address))
        quietly(wires, "ping", "-c", "1", "-s", "4000", str(address))
        quietly(wires, "ping", "-c", "1", "-t", "1", "-W", "1", str(address))
    quietly(wires, "ping", "-c", "1", "-R", str(DESTINATION))
    quietly(wires, "ping", "-c", "1", "-T", "tsonly", str(DESTINATION))
    quietly(wires, "ping", "-c", "1", "-W", "1", "10.211.7.7")


def connections(wires: Wires) -> None:
    for family, address in ENDS:
        with tcp_server(wires, address, 443, family):
            for size in (0, 100, 20_000):
                with wires.socket(wires.source, socket.SOCK_STREAM, family) as client:
                    client.connect((str(address), 443))
                    client.sendall(b"x" * size)
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(65536):
                        pass
        with wires.socket(wires.source, socket.SOCK_STREAM, family) as refused:
            refused.connect_ex((str(address), 444))


def datagrams(wires: Wires) -> None:
    for family, address in ENDS:
        with udp_server(wires, address, 53, family), wires.socket(wires.source, socket.SOCK_DGRAM, family) as client:
            client.settimeout(2)
            for size in (0, 30, 4000):
                client.sendto(b"q" * size, (str(address), 53))
                client.recv(65536)
        for hops, port in ((1, 33434), (64, 33435)):
            with wires.socket(wires.source, socket.SOCK_DGRAM, family) as client:
                level, option = (0, socket.IP_TTL) if family == socket.AF_INET else (41, socket.IPV6_UNICAST_HOPS)
                client.setsockopt(level, option, hops)
                client.sendto(b"traced", (str(address), port))


def too_large(wires: Wires) -> None:
    """The way to the destination carries 1300 bytes: the node says so to those who forbid fragments."""
    run("ip", "-n", wires.node.name, "link", "set", "v-target", "mtu", "1300")
    for family, address in ENDS:
        with wires.socket(wires.source, socket.SOCK_DGRAM, family) as client:
            level, option = (0, 10) if family == socket.AF_INET else (41, 23)
            client.setsockopt(level, option, 3)
            client.sendto(b"m" * 1400, (str(address), 9))


SCENES: dict[str, Callable[[Wires], None]] = {
    "pings": pings,
    "connections": connections,
    "datagrams": datagrams,
    "too-large": too_large,
}


def main() -> None:
    Path(FIXTURES).mkdir(parents=True, exist_ok=True)
    with wired("hbv-record") as wires:
        for name, scene in SCENES.items():
            with recording(wires, name):
                scene(wires)


if __name__ == "__main__":
    main()
