"""The addresses and interfaces of the node under test, for each family: two ENIs, two pods, an egress-cni pod.

Values only. Documentation addresses are the internet; nothing here leaves its namespace.
"""

from dataclasses import dataclass
from ipaddress import ip_address

from pathtap.model.address import Address, Protocol

ENIS = ("eth0", "eth1")
PODS = ("eniaaa", "enibbb", "vethe4")
INTERFACES = (*ENIS, *PODS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """`pods` are in the order of PODS. `networks` are what rules and routes name; `services` are ClusterIPs and their port."""

    family: int
    node: str
    secondary: str
    bits: int
    gateway: str
    loopback: str
    pods: tuple[str, ...]
    subnet: str
    vpc: str
    outside: tuple[str, ...]
    peers: tuple[str, ...]
    networks: tuple[str, ...]
    services: tuple[tuple[str, int], ...]
    backends: tuple[tuple[str, int], ...]
    icmp: Protocol

    @property
    def host(self) -> int:
        """The prefix length of a single address."""
        return 32 if self.family == 4 else 128

    @property
    def iptables(self) -> str:
        return "iptables" if self.family == 4 else "ip6tables"

    @property
    def nft(self) -> str:
        """The nft name of the family."""
        return "ip" if self.family == 4 else "ip6"

    def at(self, text: str, port: int) -> str:
        """`10.0.0.1:80` or `[2001:db8::1]:80`."""
        return f"{text}:{port}" if self.family == 4 else f"[{text}]:{port}"

    def address(self, text: str) -> Address:
        return ip_address(text)


IPV4 = Scene(
    family=4,
    node="192.168.1.29",
    secondary="192.168.1.77",
    bits=24,
    gateway="192.168.1.1",
    loopback="127.0.0.1",
    pods=("192.168.1.50", "192.168.1.116", "169.254.172.10"),
    subnet="192.168.1.0/24",
    vpc="192.168.0.0/16",
    outside=("198.51.100.8", "198.51.100.77", "203.0.113.5", "10.11.0.4"),
    peers=("192.168.7.7", "192.168.9.9"),
    networks=("198.51.100.0/24", "203.0.113.0/24", "192.168.0.0/16", "10.11.0.0/16", "198.51.100.8/32", "0.0.0.0/1"),
    services=(("10.100.0.10", 443), ("10.100.0.20", 53), ("10.100.0.30", 80)),
    backends=(("192.168.1.50", 8080), ("192.168.1.116", 8080), ("192.168.9.9", 8080), ("203.0.113.5", 6443)),
    icmp=Protocol.ICMP,
)
IPV6 = Scene(
    family=6,
    node="2001:db8:1::29",
    secondary="2001:db8:1::77",
    bits=64,
    gateway="fe80::1",
    loopback="::1",
    pods=("2001:db8:1::50", "2001:db8:1::116", "fd00::ac:a"),
    subnet="2001:db8:1::/64",
    vpc="2001:db8:1::/56",
    outside=("2001:db8:100::8", "2001:db8:100::77", "2001:db8:203::5", "2001:db8:11::4"),
    peers=("2001:db8:1:7::7", "2001:db8:1:9::9"),
    networks=(
        "2001:db8:100::/64",
        "2001:db8:203::/64",
        "2001:db8:1::/56",
        "2001:db8:11::/48",
        "2001:db8:100::8/128",
        "2001:db8::/33",
    ),
    services=(("fd97:10::a", 443), ("fd97:10::14", 53), ("fd97:10::1e", 80)),
    backends=(
        ("2001:db8:1::50", 8080),
        ("2001:db8:1::116", 8080),
        ("2001:db8:1:9::9", 8080),
        ("2001:db8:203::5", 6443),
    ),
    icmp=Protocol.ICMPV6,
)
