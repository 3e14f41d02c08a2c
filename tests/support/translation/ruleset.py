"""A scene's rules as text, for `ipset restore`, for iptables-restore and for `nft -f`. Pure; runs nothing."""

from dataclasses import dataclass, replace
from ipaddress import IPv4Network

from pathtap.lab.aws_rules import RANDOM_FLAG
from pathtap.lab.rules import native_rules, node_rules
from pathtap.lab.topology import Cluster, Service, make_cluster
from pathtap.model.netfilter import Backend, Random
from translation.scene import PEER_ADDRESS, Calico, Scene

FLAG = {Random.FULLY: " --random-fully", Random.RANDOM: " --random", Random.NONE: ""}
_NATIVE_FLAG = {Random.FULLY: " fully-random", Random.RANDOM: " random", Random.NONE: ""}
_ALL, _MASQUERADED = "cali40all-ipam-pools", "cali40masq-ipam-pools"
# Tables that a scene may have, and the one after it not.
_TABLES = ("aws-cni", "calico", "kube-proxy")
_KUBE = "kubernetes service traffic requiring SNAT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    """`sets` for `ipset -exist restore`; `iptables` is whole tables, `native` puts its tables in place of those there were."""

    sets: str
    iptables: str
    native: str


def ruleset(scene: Scene, prefix: str) -> Ruleset:
    cluster = served(make_cluster(scene.options(prefix)))
    node = cluster.nodes[0]
    iptables = _outside(scene, cluster, node_rules(cluster, node))
    native = _outside(scene, cluster, native_rules(cluster, node))
    iptables = _kube_flag(scene, _snat_flag(scene, iptables))
    native = native.replace("masquerade fully-random", f"counter masquerade{_NATIVE_FLAG[scene.kube_flag]}")
    gone = "".join(f"table ip {name}\ndelete table ip {name}\n" for name in _TABLES)
    calico = scene.calico
    if calico is None:
        return Ruleset(sets="", iptables=iptables, native=gone + native)
    if calico.store is Backend.NFTABLES:
        return Ruleset(sets="", iptables=iptables, native=gone + native + _native_calico(calico))
    return Ruleset(sets=_ip_sets(calico), iptables=_with_calico(iptables, calico), native=gone + native)


def served(cluster: Cluster) -> Cluster:
    """The node port leads to the other node's pod alone: the one that answers is not left to chance."""
    return replace(cluster, services=tuple(map(_far_backend, cluster.services)))


def _far_backend(service: Service) -> Service:
    return replace(service, backends=service.backends[-1:]) if service.node_port else service


def _outside(scene: Scene, cluster: Cluster, text: str) -> str:
    """Endpoints that somebody wrote by hand may be anywhere."""
    if not scene.served_outside:
        return text
    (pod, port), *_ = next(service.backends for service in cluster.services if service.node_port)
    moved = text.replace(f"{pod.address}:{port}", f"{PEER_ADDRESS}:80")
    return moved.replace(f"-s {pod.address}/32", f"-s {PEER_ADDRESS}/32")


def _snat_flag(scene: Scene, text: str) -> str:
    """An iptables that does not know a flag leaves it out, or takes another: networkutils falls back to --random."""
    if scene.snat_flag is None:
        return text
    return "".join(
        line.removesuffix(RANDOM_FLAG[scene.randomize] + "\n") + FLAG[scene.snat_flag] + "\n"
        if " -j SNAT " in line
        else line
        for line in text.splitlines(keepends=True)
    )


def _kube_flag(scene: Scene, text: str) -> str:
    return text.replace(f'"{_KUBE}" -j MASQUERADE --random-fully', f'"{_KUBE}" -j MASQUERADE{FLAG[scene.kube_flag]}')


def _ip_sets(calico: Calico) -> str:
    lines = []
    for name, pools in ((_ALL, (*calico.pools, *calico.further_pools)), (_MASQUERADED, calico.pools)):
        lines += [f"create {name} hash:net family inet maxelem 1048576", f"flush {name}"]
        lines += [f"add {name} {pool}" for pool in pools]
    return "\n".join((*lines, ""))


def _with_calico(text: str, calico: Calico) -> str:
    """felix inserts its jump first in nat POSTROUTING, and the chains have the order of its own."""
    flag = FLAG[calico.flag]
    own = (
        ":cali-POSTROUTING - [0:0]\n:cali-fip-snat - [0:0]\n:cali-nat-outgoing - [0:0]\n"
        '-A POSTROUTING -m comment --comment "cali:O3lYWMrLQYEMJtB5" -j cali-POSTROUTING\n'
        "-A cali-POSTROUTING -j cali-fip-snat\n-A cali-POSTROUTING -j cali-nat-outgoing\n"
        '-A cali-nat-outgoing -m comment --comment "cali:flqWnvo8yq4ULQLa" '
        f"-m set --match-set {_MASQUERADED} src -m set ! --match-set {_ALL} dst -j MASQUERADE{flag}\n"
    )
    before, nat, after = text.partition("*nat\n")
    chains, first, rules = after.partition("-A ")
    return f"{before}{nat}{chains}{own}{first}{rules}"


def _native_calico(calico: Calico) -> str:
    return f"""table ip calico {{
  set {_ALL} {{ type ipv4_addr; flags interval; elements = {{ {_elements((*calico.pools, *calico.further_pools))} }} }}
  set {_MASQUERADED} {{ type ipv4_addr; flags interval; elements = {{ {_elements(calico.pools)} }} }}
  chain nat-cali-nat-outgoing {{
    ip saddr @{_MASQUERADED} ip daddr != @{_ALL} counter masquerade{_NATIVE_FLAG[calico.flag]}
  }}
  chain nat-POSTROUTING {{
    type nat hook postrouting priority {calico.priority}; policy accept;
    jump nat-cali-nat-outgoing
  }}
}}
"""


def _elements(pools: tuple[str, ...]) -> str:
    return ", ".join(str(IPv4Network(pool)) for pool in pools)
