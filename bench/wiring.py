"""A node of one pod in network namespaces of its own: a pod, the node that routes for it, and what is behind its ENI.

Frames that the pod sends to nobody's MAC are heard by whoever listens on the node's end of its veth and go no further: the
kernel's IP does not look at them (PACKET_OTHERHOST), so that what is measured is listening. Needs root.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address

POD, NODE, FAR = IPv4Address("192.0.2.50"), IPv4Address("192.0.2.10"), IPv4Address("198.51.100.8")
# The node's end of the pod's veth, its ENI, the pod's end, and what the ENI leads to.
VETH, ENI, POD_END, FAR_END = "enib0", "eth0", "eth0", "node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wired:
    """The namespaces' names, as `ip netns` knows them."""

    pod: str
    node: str
    far: str

    @property
    def all(self) -> tuple[str, str, str]:
        return (self.pod, self.node, self.far)


@contextmanager
def wired(prefix: str) -> Iterator[Wired]:
    """Afterwards all three namespaces are gone. Raises subprocess.CalledProcessError."""
    names = Wired(pod=f"{prefix}p", node=f"{prefix}n", far=f"{prefix}f")
    try:
        _build(names)
        yield names
    finally:
        for name in names.all:
            with suppress(subprocess.CalledProcessError):
                _ip("netns", "del", name)


def _build(names: Wired) -> None:
    for name in names.all:
        _ip("netns", "add", name)
        # Nothing but what is measured may speak here: no neighbour solicitations, no router's.
        _ip("netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        _ip("-n", name, "link", "set", "lo", "up")
    _ip("link", "add", VETH, "netns", names.node, "type", "veth", "peer", "name", POD_END, "netns", names.pod)
    _ip("link", "add", ENI, "netns", names.node, "type", "veth", "peer", "name", FAR_END, "netns", names.far)
    for name, end in ((names.node, VETH), (names.node, ENI), (names.pod, POD_END), (names.far, FAR_END)):
        _ip("-n", name, "link", "set", end, "up")
    _ip("-n", names.node, "address", "add", f"{NODE}/24", "dev", ENI)
    _ip("-n", names.node, "route", "add", "default", "via", "192.0.2.1")
    _ip("-n", names.node, "route", "add", f"{POD}/32", "dev", VETH)
    _ip("netns", "exec", names.node, "sysctl", "-qw", "net.ipv4.ip_forward=1", f"net.ipv4.conf.{VETH}.proxy_arp=1")
    _ip("-n", names.pod, "address", "add", f"{POD}/32", "dev", POD_END)
    _ip("-n", names.pod, "route", "add", "169.254.1.1", "dev", POD_END, "scope", "link")
    _ip("-n", names.pod, "route", "add", "default", "via", "169.254.1.1")
    _ip("-n", names.far, "address", "add", "192.0.2.1/24", "dev", FAR_END)
    _ip("-n", names.far, "address", "add", f"{FAR}/32", "dev", "lo")
    _ip("-n", names.far, "route", "add", f"{POD}/32", "via", str(NODE))


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=20)
