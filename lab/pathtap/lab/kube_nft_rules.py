"""kube-proxy's nftables table for the lab's services, as text for `nft -f`. Pure; runs nothing.

Source: kubernetes v1.33 pkg/proxy/nftables/proxier.go, with a service's endpoints in chains of their own. The layout
is no interface of Kubernetes: it changes from version to version.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator

from pathtap.lab.topology import SERVICES, SERVICES_IPV6, Node, Pod, Service
from pathtap.model.address import Socket

# Of the table's family: what an address is called, and where it stands.
_DESTINATION = "IP daddr . meta l4proto . th dport"
_MAP = "type ADDRESS . inet_proto . inet_service : verdict"
_PORT_MAP = "type inet_proto . inet_service : verdict"
# Hook, priority, and what each base chain does. The filter chains run before the translation, one of them after it.
_BASE_CHAINS = (
    ("filter-prerouting", "filter hook prerouting priority -110", ("ct state new jump firewall-check",)),
    (
        "filter-input",
        "filter hook input priority -110",
        ("ct state new jump nodeport-endpoints-check", "ct state new jump service-endpoints-check"),
    ),
    (
        "filter-forward",
        "filter hook forward priority -110",
        ("ct state new jump service-endpoints-check", "ct state new jump cluster-ips-check"),
    ),
    (
        "filter-output",
        "filter hook output priority -110",
        ("ct state new jump service-endpoints-check", "ct state new jump firewall-check"),
    ),
    ("filter-output-post-dnat", "filter hook output priority -90", ("ct state new jump cluster-ips-check",)),
    ("nat-prerouting", "nat hook prerouting priority -100", ("jump services",)),
    ("nat-output", "nat hook output priority -100", ("jump services",)),
    ("nat-postrouting", "nat hook postrouting priority 100", ("jump masquerading",)),
)
_COMMON_CHAINS = (
    ("nodeport-endpoints-check", ("IP daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports",)),
    ("service-endpoints-check", (f"{_DESTINATION} vmap @no-endpoint-services",)),
    ("firewall-check", (f"{_DESTINATION} vmap @firewall-ips",)),
    (
        "services",
        (
            f"{_DESTINATION} vmap @service-ips",
            "IP daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports",
        ),
    ),
    (
        "masquerading",
        (
            "meta mark & 0x00004000 == 0x00000000 return",
            "meta mark set meta mark ^ 0x00004000",
            "masquerade fully-random",
        ),
    ),
    ("mark-for-masquerade", ("meta mark set meta mark | 0x00004000",)),
    ("reject-chain", ("reject",)),
    (
        "cluster-ips-check",
        (
            'IP daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"',
            'IP daddr SERVICES drop comment "Drop traffic to unallocated ClusterIPs"',
        ),
    ),
)


def kube_table(services: tuple[Service, ...], node: Node, version: int = 4) -> str:
    """Table `ip kube-proxy` or `ip6 kube-proxy` of `node`, which takes node ports at its own addresses alone.

    `services` are those of that family.
    """
    words = {"IP": "ip", "ADDRESS": "ipv4_addr", "SERVICES": str(SERVICES)}
    if version == 6:
        words = {"IP": "ip6", "ADDRESS": "ipv6_addr", "SERVICES": str(SERVICES_IPV6)}
    addresses = [str(address) for address in node.addresses if address.version == version]
    text = "\n".join(("table IP kube-proxy {", 'comment "rules for kube-proxy"', *_body(services, addresses), "}\n"))
    return re.sub(rf"\b({'|'.join(words)})\b", lambda found: words[found[0]], text)


def _body(services: tuple[Service, ...], node_addresses: Iterable[str]) -> Iterator[str]:
    served = [service for service in services if service.backends]
    exposed = [service for service in served if service.node_port]
    yield from _set("set", "cluster-ips", "type ADDRESS", (str(service.address) for service in services))
    yield from _set("set", "nodeport-ips", "type ADDRESS", node_addresses)
    empty = (f"{_key(service)} : goto reject-chain" for service in services if not service.backends)
    yield from _set("map", "no-endpoint-services", _MAP, empty)
    yield from _set("map", "no-endpoint-nodeports", _PORT_MAP, ())
    yield from _set("map", "firewall-ips", _MAP, ())
    to_services = (f"{_key(service)} : goto {_chain('service', service)}" for service in served)
    yield from _set("map", "service-ips", _MAP, to_services)
    to_exposed = (f"tcp . {service.node_port} : goto {_chain('external', service)}" for service in exposed)
    yield from _set("map", "service-nodeports", _PORT_MAP, to_exposed)
    # A jump needs its target: declared first, in one transaction with their rules.
    chains = [*_COMMON_CHAINS, *(chain for service in served for chain in _service(service))]
    yield from (f"chain {name} {{ }}" for name, _ in chains)
    for name, hook, rules in _BASE_CHAINS:
        yield f"chain {name} {{\ntype {hook}; policy accept;\n{_lines(rules)}}}"
    yield from (f"chain {name} {{\n{_lines(rules)}}}" for name, rules in chains)


def _lines(rules: Iterable[str]) -> str:
    return "".join(f"{rule}\n" for rule in rules)


def _set(kind: str, name: str, of: str, elements: Iterable[str]) -> Iterator[str]:
    listed = ", ".join(elements)
    yield f"{kind} {name} {{\n{of}\n{f'elements = {{ {listed} }}' if listed else ''}\n}}"


def _key(service: Service) -> str:
    return f"{service.address} . tcp . {service.port}"


def _service(service: Service) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The chains of one service: of its address, of its node port, of each endpoint."""
    endpoints = [(_chain("endpoint", service, pod, port), pod, port) for pod, port in service.backends]
    verdicts = ", ".join(f"{i} : goto {name}" for i, (name, _, _) in enumerate(endpoints))
    own = _chain("service", service)
    yield own, (f"numgen random mod {len(endpoints)} vmap {{ {verdicts} }}",)
    if service.node_port:
        yield _chain("external", service), ("jump mark-for-masquerade", f"goto {own}")
    for name, pod, port in endpoints:
        hairpin = f"IP saddr {pod.address} jump mark-for-masquerade"
        yield name, (hairpin, f"meta l4proto tcp dnat to {Socket(pod.address, port)}")


def _chain(kind: str, service: Service, pod: Pod | None = None, port: int = 0) -> str:
    """`kind-HASH-namespace/name/tcp/` with the port's name, which is empty here, and of an endpoint `__address/port`."""
    # A name has no colon: those of IPv6 are written as full stops.
    name = f"{service.key}/tcp/" + (f"__{pod.address}/{port}".replace(":", ".") if pod else "")
    digest = base64.b32encode(hashlib.sha256(name.encode()).digest()).decode()
    return f"{kind}-{digest[:8]}-{name}"
