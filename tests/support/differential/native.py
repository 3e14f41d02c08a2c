"""Draws native nftables tables: the VPC CNI's of v1.23, kube-proxy's nftables mode, and other people's."""

from collections.abc import Callable
from random import Random

from differential.configuration import NativeTable
from differential.scene import Scene


def draw(dice: Random, scene: Scene) -> tuple[NativeTable, ...]:
    """At least one, in the order in which they are loaded."""
    writers: tuple[Callable[[Random, Scene], NativeTable], ...] = (
        _aws_cni,
        _kube_proxy,
        _foreign,
        _firewall,
        _raw,
        _device,
    )
    chosen = dice.sample(writers, dice.choice((1, 1, 2, 3)))
    return tuple(writer(dice, scene) for writer in chosen)


def _table(family: str, name: str, body: str, *base_chains: str) -> NativeTable:
    text = f"table {family} {name} {{\n{body}\n}}\n"
    return NativeTable(family=family, name=name, text=text, base_chains=base_chains)


def _aws_cni(dice: Random, scene: Scene) -> NativeTable:
    body = f"""
  chain nat-prerouting {{
    type nat hook prerouting priority {dice.choice((-90, -90, -110, -100))}; policy accept;
    fib daddr type local return
    iifname "eni*" counter jump snat-mark
    counter meta mark set ct mark & 0x80
  }}
  chain snat-mark {{
    counter {scene.nft} daddr {dice.choice(scene.networks)} return
    counter ct mark set ct mark | 0x80
  }}"""
    return _table(scene.nft, "aws-cni", body, "nat-prerouting")


def _kube_proxy(dice: Random, scene: Scene) -> NativeTable:
    """As kube-proxy writes it: a map of services, numgen over endpoints, marks for masquerade."""
    family, kind = scene.nft, "ipv4_addr" if scene.family == 4 else "ipv6_addr"
    elements, chains = [], []
    for number, (address, port) in enumerate(scene.services):
        protocol = "udp" if port == 53 else "tcp"
        elements.append(f"{address} . {protocol} . {port} : goto service-{number}")
        chains.append(_service(dice, scene, number, protocol))
    gone = scene.services[2]
    body = f"""
  map service-ips {{
    type {kind} . inet_proto . inet_service : verdict
    elements = {{ {", ".join(elements)} }}
  }}
  map service-nodeports {{
    type inet_proto . inet_service : verdict
    elements = {{ tcp . 30080 : goto service-0 }}
  }}
  map no-endpoint-services {{
    type {kind} . inet_proto . inet_service : verdict
    elements = {{ {gone[0]} . tcp . 81 : goto reject-chain }}
  }}
  chain mark-for-masquerade {{
    meta mark set meta mark | 0x4000
  }}
  chain reject-chain {{
    reject
  }}
  {"".join(chains)}
  chain services {{
    {family} daddr . meta l4proto . th dport vmap @service-ips
    fib daddr type local meta l4proto . th dport vmap @service-nodeports
  }}
  chain masquerading {{
    meta mark & 0x4000 == 0 return
    meta mark set meta mark ^ 0x4000
    masquerade fully-random
  }}
  chain nat-prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump services
  }}
  chain nat-output {{
    type nat hook output priority -100; policy accept;
    jump services
  }}
  chain nat-postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    jump masquerading
  }}
  chain filter-forward {{
    type filter hook forward priority -110; policy accept;
    ct state new {family} daddr . meta l4proto . th dport vmap @no-endpoint-services
  }}"""
    return _table(family, "kube-proxy", body, "nat-prerouting", "nat-output", "nat-postrouting", "filter-forward")


def _service(dice: Random, scene: Scene, number: int, protocol: str) -> str:
    backends = dice.sample(scene.backends, dice.choice((1, 2, 2, 3)))
    masquerade = f"{scene.nft} saddr != {scene.vpc} jump mark-for-masquerade" if dice.random() < 0.3 else ""
    if dice.random() < 0.5:
        targets = ", ".join(f"{index} : goto endpoint-{number}-{index}" for index in range(len(backends)))
        chains = "".join(
            f"""
  chain endpoint-{number}-{index} {{
    {scene.nft} saddr {address} jump mark-for-masquerade
    meta l4proto {protocol} dnat to {scene.at(address, port)}
  }}"""
            for index, (address, port) in enumerate(backends)
        )
        return f"""{chains}
  chain service-{number} {{
    {masquerade}
    numgen random mod {len(backends)} vmap {{ {targets} }}
  }}"""
    targets = ", ".join(f"{index} : {address} . {port}" for index, (address, port) in enumerate(backends))
    return f"""
  chain service-{number} {{
    {masquerade}
    meta l4proto {protocol} dnat {scene.nft} to numgen random mod {len(backends)} map {{ {targets} }}
  }}"""


def _foreign(dice: Random, scene: Scene) -> NativeTable:
    """Somebody's own NAT beside the rest, often at the very priority of the others."""
    before, after = dice.choice((-100, -100, -105, -95)), dice.choice((100, 100, 95, 110))
    family = scene.nft
    changed = dice.choice((
        f"{family} daddr {scene.outside[1]} meta l4proto tcp dnat to {scene.at(scene.backends[2][0], 8080)}",
        f"{family} daddr {scene.outside[1]} dnat to {scene.peers[1]}",
        f"iifname eth0 {family} daddr {scene.node} tcp dport 8081 redirect to :8080",
        f"{family} saddr {scene.pods[0]} accept",
        f"{family} daddr {scene.networks[0]} ct mark set ct mark | 0x80",
    ))  # fmt: skip
    source = dice.choice((
        f"{family} saddr {scene.pods[0]} oifname \"eth*\" snat to {scene.secondary}",
        f"{family} saddr {scene.pods[1]} {family} daddr != {scene.vpc} masquerade",
        f"{family} daddr {scene.networks[1]} snat to {scene.node} fully-random",
        "meta mark & 0x1 == 0x1 masquerade random",
        f"{family} daddr {scene.vpc} accept",
    ))  # fmt: skip
    body = f"""
  chain pre {{
    type nat hook prerouting priority {before}; policy accept;
    {changed}
  }}
  chain post {{
    type nat hook postrouting priority {after}; policy accept;
    {source}
  }}"""
    return _table(family, "foreign", body, "pre", "post")


def _firewall(dice: Random, scene: Scene) -> NativeTable:
    """A filter of the inet family, with sets, verdict maps and mark arithmetic."""
    drop = dice.choice(("drop", "accept", "counter", "reject", "jump side"))
    priority = dice.choice((0, 0, 10, -10))
    family = scene.nft
    mark = dice.choice(("meta mark | 0x80", "0x1", "ct mark"))
    body = f"""
  set ports {{
    type inet_service; flags interval;
    elements = {{ 53, 8000-8100 }}
  }}
  chain side {{
    meta l4proto vmap {{ tcp : {dice.choice(("accept", "drop"))}, udp : {dice.choice(("return", "accept"))} }}
    tcp dport @ports {dice.choice(("reject with tcp reset", "accept", "drop"))}
  }}
  chain early {{
    type filter hook prerouting priority {dice.choice((-150, -140, -160))}; policy accept;
    iifname "eni*" {family} daddr {dice.choice(scene.networks)} meta mark set {mark}
  }}
  chain forward {{
    type filter hook forward priority {priority}; policy {dice.choice(("accept", "accept", "accept", "drop"))};
    ct state established,related accept
    {family} saddr {scene.pods[0]} udp dport {{ 53, 60-100 }} {drop}
    meta mark & 0x80 == 0x80 oifname != "eth*" meta mark set meta mark ^ 0x1
    {dice.choice(("ct state new accept", "iifname { eniaaa, enibbb } goto side", "ct status dnat accept", "accept"))}
  }}
  chain input {{
    type filter hook input priority {priority}; policy accept;
    tcp flags & (syn | ack) == syn tcp dport {{ 53, 8080 }} {dice.choice(("drop", "accept", "reject"))}
  }}"""
    return _table("inet", "firewall", body, "early", "forward", "input")


def _device(dice: Random, scene: Scene) -> NativeTable:
    """What an interface's own hook does, before all else. Of a chain in an inet table nft 1.0.6 names no device in JSON."""
    name = dice.choice(("eniaaa", "enibbb", "eth0"))
    done = dice.choice(("drop", "meta mark set 0x80", "meta mark set 0x1", "accept"))
    body = f"""
  chain in {{
    type filter hook ingress device {name} priority 0; policy accept;
    {scene.nft} daddr {dice.choice(scene.networks)} meta l4proto {dice.choice(("tcp", "udp"))} {done}
  }}"""
    return _table("netdev", "edge", body, "in")


def _way_back(dice: Random, scene: Scene) -> NativeTable:
    """A filter by the way back, fields in one set, and what the connection began with."""
    came_by = dice.choice(("eth0", "eth1", "eniaaa"))
    back = dice.choice(("fib saddr . iif oif missing", "fib saddr . mark . iif oif missing", "fib saddr oif eth1"))
    body = f"""
  chain back {{
    type filter hook prerouting priority {dice.choice((-290, -140))}; policy accept;
    iifname {came_by} {back} {dice.choice(("drop", "meta mark set meta mark | 0x1"))}
    iifname . {scene.nft} daddr {{ eniaaa . {scene.outside[0]}, enibbb . {scene.outside[1]} }} meta mark set 0x80
    ct original {scene.nft} daddr {scene.services[0][0]} meta mark set meta mark | 0x1
  }}"""
    return _table("inet", "way-back", body, "back")


def _raw(dice: Random, scene: Scene) -> NativeTable:
    """What runs before connection tracking, and a route chain that changes the node's own packets' mark."""
    came_by, protocol = dice.choice(("eniaaa", "eth0", "enibbb")), dice.choice(("udp", "tcp"))
    done = dice.choice(("notrack", "notrack", "meta mark set 0x80", "drop"))
    body = f"""
  chain pre {{
    type filter hook prerouting priority {dice.choice((-300, -310))}; policy accept;
    iifname {came_by} meta l4proto {protocol} {scene.nft} daddr {dice.choice(scene.networks)} {done}
  }}
  chain out {{
    type route hook output priority {dice.choice((-150, -140))}; policy accept;
    {scene.nft} daddr {dice.choice(scene.networks)} meta mark set {dice.choice(("0x80", "0x1", "meta mark | 0x80"))}
  }}"""
    return _table(scene.nft, "early", body, "pre", "out")
