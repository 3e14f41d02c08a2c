"""kube-proxy's and the kubelet's iptables rules for the lab's services, as `iptables -S` and `ip6tables -S` print them.

Pure; runs nothing. Where the families differ, `version` is 4 or 6.

Source: kubernetes v1.30 pkg/proxy/iptables/proxier.go and pkg/kubelet/kubelet_network_linux.go.
"""

import base64
import hashlib
from collections.abc import Iterator

from pathtap.lab.aws_rules import TableRules
from pathtap.lab.topology import Service
from pathtap.model.address import Address, Socket

_CANARIES = ("KUBE-KUBELET-CANARY", "KUBE-PROXY-CANARY")
_PORTALS = '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES'
_NEW = "-m conntrack --ctstate NEW"
_FIREWALL = f'{_NEW} -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL'
_EXTERNAL = f'{_NEW} -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES'
_LOCALNET = (
    '-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" '
    "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"
)
_FORWARDING = '-m comment --comment "kubernetes forwarding rules"'


def chain_name(prefix: str, service: str, endpoint: str = "") -> str:
    """KUBE-SVC-… or KUBE-EXT-… of `namespace/name` (or `namespace/name:port`), KUBE-SEP-… with its `address:port` too.

    TCP alone.
    """
    digest = hashlib.sha256(f"{service}tcp{endpoint}".encode()).digest()
    return prefix + base64.b32encode(digest).decode()[:16]


def kube_nat(services: tuple[Service, ...]) -> TableRules:
    """What kube-proxy writes into nat. Its jumps are prepended there, so they come before the CNI's."""
    served = [service for service in services if service.backends]
    svc = [chain_name("KUBE-SVC-", service.key) for service in served]
    sep = [chain for service in served for _, chain in _endpoints(service)]
    exposed = [service for service in served if service.node_port]
    ext = [chain_name("KUBE-EXT-", service.key) for service in exposed]
    last = "kubernetes service nodeports; NOTE: this must be the last rule in this chain"
    return TableRules(
        chains=(
            "KUBE-MARK-MASQ",
            "KUBE-NODEPORTS",
            "KUBE-POSTROUTING",
            "KUBE-SERVICES",
            *_CANARIES,
            *sorted(ext),
            *sorted(svc),
            *sorted(sep),
        ),
        rules=(
            f"-A PREROUTING {_PORTALS}",
            f"-A OUTPUT {_PORTALS}",
            '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
            "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
            "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
            "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0",
            '-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
            *(_portal(service) for service in served),
            f'-A KUBE-SERVICES -m comment --comment "{last}" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS',
            *(_node_port(service) for service in exposed),
            *(rule for service in exposed for rule in _expose(service)),
            *(rule for service in served for rule in _balance(service)),
            *(rule for service in served for rule in _translate(service)),
        ),
    )


def kube_filter(services: tuple[Service, ...], version: int = 4) -> TableRules:
    """What kube-proxy and the kubelet write into filter; a service without endpoints is refused here."""
    own = ("EXTERNAL-SERVICES", "FIREWALL", "FORWARD", "NODEPORTS", "PROXY-FIREWALL", "SERVICES")
    healthy = '-m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS'
    established = (
        '-m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED'
    )
    return TableRules(
        chains=(*(f"KUBE-{name}" for name in own), *_CANARIES),
        rules=(
            f"-A INPUT {_FIREWALL}",
            f"-A INPUT {healthy}",
            f"-A INPUT {_EXTERNAL}",
            "-A INPUT -j KUBE-FIREWALL",
            f"-A FORWARD {_FIREWALL}",
            f"-A FORWARD {_FORWARDING} -j KUBE-FORWARD",
            f"-A FORWARD {_NEW} {_PORTALS}",
            f"-A FORWARD {_EXTERNAL}",
            f"-A OUTPUT {_FIREWALL}",
            f"-A OUTPUT {_NEW} {_PORTALS}",
            "-A OUTPUT -j KUBE-FIREWALL",
            *_localnet(version),
            "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
            f"-A KUBE-FORWARD {_FORWARDING} -m mark --mark 0x4000/0x4000 -j ACCEPT",
            f"-A KUBE-FORWARD {established} -j ACCEPT",
            *(_refusal(service) for service in services if not service.backends),
        ),
    )


def kube_mangle() -> TableRules:
    return TableRules(chains=("KUBE-IPTABLES-HINT", *_CANARIES))


def _localnet(version: int) -> tuple[str, ...]:
    """The kernel lets no packet for ::1 in from elsewhere, so that of IPv6 the kubelet's chain is empty."""
    return (_LOCALNET,) if version == 4 else ()


def kubelet_rules(version: int = 4) -> dict[str, TableRules]:
    """By table, what the kubelet writes alone, where kube-proxy keeps to a table of its own in nftables."""
    canary = _CANARIES[:1]
    return {
        "mangle": TableRules(chains=("KUBE-IPTABLES-HINT", *canary)),
        "nat": TableRules(chains=canary),
        "filter": TableRules(
            chains=("KUBE-FIREWALL", *canary),
            rules=("-A INPUT -j KUBE-FIREWALL", "-A OUTPUT -j KUBE-FIREWALL", *_localnet(version)),
        ),
    }


def _endpoints(service: Service) -> Iterator[tuple[str, str]]:
    """(`address:port`, chain) of each backend."""
    for pod, port in service.backends:
        endpoint = str(Socket(pod.address, port))
        yield endpoint, chain_name("KUBE-SEP-", service.key, endpoint)


def _host(address: Address) -> str:
    return f"{address}/{address.max_prefixlen}"


def _to(address: Address, comment: str, port: int) -> str:
    return f'-A KUBE-SERVICES -d {_host(address)} -p tcp -m comment --comment "{comment}" -m tcp --dport {port}'


def _portal(service: Service) -> str:
    match = _to(service.address, f"{service.key} cluster IP", service.port)
    return f"{match} -j {chain_name('KUBE-SVC-', service.key)}"


def _node_port(service: Service) -> str:
    comment = f'-m comment --comment "{service.key}"'
    target = chain_name("KUBE-EXT-", service.key)
    return f"-A KUBE-NODEPORTS -p tcp {comment} -m tcp --dport {service.node_port} -j {target}"


def _expose(service: Service) -> Iterator[str]:
    """externalTrafficPolicy Cluster: any backend may answer, so the node puts its own address in place of the client's."""
    chain = chain_name("KUBE-EXT-", service.key)
    comment = f"masquerade traffic for {service.key} external destinations"
    yield f'-A {chain} -m comment --comment "{comment}" -j KUBE-MARK-MASQ'
    yield f"-A {chain} -j {chain_name('KUBE-SVC-', service.key)}"


def _refusal(service: Service) -> str:
    match = _to(service.address, f"{service.key} has no endpoints", service.port)
    icmp = "icmp" if service.address.version == 4 else "icmp6"
    return f"{match} -j REJECT --reject-with {icmp}-port-unreachable"


def _balance(service: Service) -> Iterator[str]:
    chain = chain_name("KUBE-SVC-", service.key)
    endpoints = list(_endpoints(service))
    for left, (endpoint, target) in zip(range(len(endpoints), 0, -1), endpoints, strict=True):
        chance = f" -m statistic --mode random --probability {1 / left:.11f}" if left > 1 else ""
        yield f'-A {chain} -m comment --comment "{service.key} -> {endpoint}"{chance} -j {target}'


def _translate(service: Service) -> Iterator[str]:
    comment = f'-m comment --comment "{service.key}"'
    for (endpoint, chain), (pod, _) in zip(_endpoints(service), service.backends, strict=True):
        yield f"-A {chain} -s {_host(pod.address)} {comment} -j KUBE-MARK-MASQ"
        yield f"-A {chain} -p tcp {comment} -m tcp -j DNAT --to-destination {endpoint}"
