"""Makes node 1 of a lab what a scene says, and asks the kernel alone: which rule's counter rose, and which ports came out."""

import re
import socket
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from pathtap.lab.cni_config import FILE, cni_config
from pathtap.lab.inventory import inventory
from pathtap.lab.kernel import command_inside, inside
from pathtap.lab.metadata import introspection
from pathtap.lab.names import places
from pathtap.lab.state import StateDirectory
from pathtap.lab.topology import Cluster, make_cluster
from pathtap.model.netfilter import Backend
from translation.ruleset import ruleset, served
from translation.scene import Asked, Scene

_SECONDS = 0.5
_NETWORK_SETTINGS = "/v1/networkutils-env-settings"
_TABLES = ("calico", "kube-proxy")


def arrange(cluster: Cluster, scene: Scene) -> None:
    """The lab's family and backend must be the scene's. No connection of before is left, nor a rule."""
    prefix, node = cluster.options.prefix, cluster.nodes[0].network_namespace
    rules = ruleset(scene, prefix)
    if rules.sets:
        command_inside(node, ["ipset", "-exist", "restore"], stdin=rules.sets)
    wait = ["-w", "10"] if scene.backend == "legacy" else []
    command_inside(node, [f"iptables-{scene.backend}-restore", *wait], stdin=rules.iptables)
    if scene.backend == "nft":
        command_inside(node, ["nft", "-f", "-"], stdin=rules.native)
    _tell(StateDirectory(prefix), make_cluster(scene.options(prefix)))
    command_inside(node, ["conntrack", "-F"])


def _tell(directory: StateDirectory, wanted: Cluster) -> None:
    """ipamd and the CNI configuration tell the scene's settings, and the inventory which pod serves."""
    node = wanted.nodes[0]
    directory.write(directory.cni_config(node.name) / FILE, cni_config(wanted.options, node))
    directory.write(directory.settings, introspection(wanted, node)[_NETWORK_SETTINGS])
    directory.write(directory.inventory, inventory(served(wanted)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """`hits` is how many connections each translating rule took, by (store, chain); `pairs` the original and the later source,
    address and port, of each connection.
    """

    hits: Mapping[tuple[Backend, str], int]
    pairs: tuple[tuple[tuple[str, int], tuple[str, int]], ...]

    @property
    def preserved(self) -> int:
        return sum(before[1] == after[1] for before, after in self.pairs)


def translate(cluster: Cluster, scene: Scene, asked: Asked, connections: int) -> Translated:
    """Opens so many connections, one after the other, and reads what the node made of them."""
    node = cluster.nodes[0].network_namespace
    before = hits(node, scene)
    inside(places(cluster)[asked.source], lambda: _connect(asked, connections))
    after = hits(node, scene)
    rise = {rule: count - before.get(rule, 0) for rule, count in after.items() if count > before.get(rule, 0)}
    selectors = ["-p", "tcp", "--orig-dst", str(asked.destination), "--orig-port-dst", str(asked.port)]
    return Translated(hits=rise, pairs=_pairs(command_inside(node, ["conntrack", "-L", *selectors])))


def _connect(asked: Asked, connections: int) -> None:
    for _ in range(connections):
        with suppress(TimeoutError), socket.create_connection((str(asked.destination), asked.port), timeout=_SECONDS):
            pass


def _pairs(listed: str) -> tuple[tuple[tuple[str, int], tuple[str, int]], ...]:
    one = r"src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)"
    found = re.findall(rf"{one}.*?{one}", listed)
    return tuple(((each[0], int(each[2])), (each[5], int(each[7]))) for each in found)


def hits(namespace: str, scene: Scene) -> dict[tuple[Backend, str], int]:
    """Packets that each rule which translates sources took, and of NAT a connection's first one alone; by store and chain."""
    store = Backend.LEGACY if scene.backend == "legacy" else Backend.NFT
    found: Counter[tuple[Backend, str]] = Counter()
    saved = command_inside(namespace, [f"iptables-{scene.backend}-save", "-c", "-t", "nat"])
    for count, chain in re.findall(r"^\[(\d+):\d+\] -A (\S+) .*-j (?:SNAT|MASQUERADE)\b", saved, re.MULTILINE):
        found[store, chain] += int(count)
    if scene.backend == "nft":
        for table in _TABLES:
            found.update(_native_hits(namespace, table))
    return dict(found)


def _native_hits(namespace: str, table: str) -> dict[tuple[Backend, str], int]:
    if f"table ip {table}\n" not in command_inside(namespace, ["nft", "list", "tables"]):
        return {}
    found: Counter[tuple[Backend, str]] = Counter()
    chain = ""
    for line in command_inside(namespace, ["nft", "list", "table", "ip", table]).splitlines():
        if begun := re.match(r"\s*chain (\S+) \{", line):
            chain = begun[1]
        elif counted := re.search(r"counter packets (\d+) bytes \d+ masquerade", line):
            found[Backend.NFTABLES, chain] += int(counted[1])
    return dict(found)
