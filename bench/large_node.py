"""A node of 5,000 services in a network namespace of its own: kube-proxy's 50,000 nat rules, an ENI and a pod's veth.

Chains and rules as of kubernetes v1.30 pkg/proxy/iptables/proxier.go: for each service one rule in KUBE-SERVICES, one of
each endpoint in its KUBE-SVC-… chain, two in the endpoint's KUBE-SEP-… chain.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

SERVICES = 5000
ENDPOINTS = 3
RULES = SERVICES * (1 + 3 * ENDPOINTS)
POD = IPv4Address("192.168.1.41")
_FIRST_SERVICE = IPv4Address("10.100.0.1")
_FIRST_ENDPOINT = IPv4Address("192.168.64.1")

_LINKS = f"""
link add eth0 type veth peer name vpc0
link add eniaaa type veth peer name pod0
link set lo up
link set eth0 up
link set vpc0 up
link set eniaaa up
link set pod0 up
addr add 192.168.1.29/24 dev eth0
route add default via 192.168.1.1 dev eth0
route add {POD} dev eniaaa scope link
rule add from all to {POD} lookup main priority 512
"""


def service_address(number: int) -> IPv4Address:
    return _FIRST_SERVICE + number


@contextmanager
def large_node(name: str, backend: str) -> Iterator[None]:
    """The namespace `name` with the rules in iptables-`backend`; needs root. Afterwards it is gone."""
    _run(["ip", "netns", "add", name])
    try:
        _run(["ip", "netns", "exec", name, "sysctl", "-q", "net.ipv4.ip_forward=1"])
        _run(["ip", "-n", name, "-batch", "-"], _LINKS)
        _run(["ip", "netns", "exec", name, f"iptables-{backend}-restore"], nat_rules())
        yield
    finally:
        _run(["ip", "netns", "del", name])


def nat_rules() -> str:
    """For iptables-restore."""
    services = [_service(number) for number in range(SERVICES)]
    comment = '-m comment --comment "kubernetes service portals"'
    return "\n".join(
        (
            "*nat",
            ":KUBE-SERVICES - [0:0]",
            ":KUBE-MARK-MASQ - [0:0]",
            *(f":{chain} - [0:0]" for chains, *_ in services for chain in chains),
            f"-A PREROUTING {comment} -j KUBE-SERVICES",
            f"-A OUTPUT {comment} -j KUBE-SERVICES",
            "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
            *(portal for _, portal, _ in services),
            *(rule for _, _, rules in services for rule in rules),
            "COMMIT\n",
        )
    )


def _service(number: int) -> tuple[list[str], str, list[str]]:
    """(chains, the rule in KUBE-SERVICES, the other rules)."""
    name, chain = f"team-{number % 50}/service-{number}:http", f"KUBE-SVC-{number:016d}"
    address = f"{service_address(number)}/32"
    portal = (
        f'-A KUBE-SERVICES -d {address} -p tcp -m comment --comment "{name} cluster IP" -m tcp --dport 80 -j {chain}'
    )
    chains, balance, translate = [chain], [], []
    for each in range(ENDPOINTS):
        endpoint, target = _FIRST_ENDPOINT + number * ENDPOINTS + each, f"KUBE-SEP-{number * ENDPOINTS + each:016d}"
        left = ENDPOINTS - each
        chance = f" -m statistic --mode random --probability {1 / left:.11f}" if left > 1 else ""
        chains.append(target)
        balance.append(f'-A {chain} -m comment --comment "{name} -> {endpoint}:8080"{chance} -j {target}')
        own = f'-m comment --comment "{name}"'
        translate.append(f"-A {target} -s {endpoint}/32 {own} -j KUBE-MARK-MASQ")
        translate.append(f"-A {target} -p tcp {own} -m tcp -j DNAT --to-destination {endpoint}:8080")
    return chains, portal, [*balance, *translate]


def _run(argv: list[str], text: str = "") -> None:
    subprocess.run(argv, input=text, text=True, check=True, timeout=120)
