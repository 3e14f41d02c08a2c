"""A node under test in a namespace of its own: two ENIs, three pods, each a veth whose far end the test holds.

Frames enter by the far ends and are caught there; the node's own packets are sent from its sockets. What a packet was when it
left or arrived, the kernel's packet log tells.
"""

import os
import select
import socket
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, time_ns

from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

from differential import logged
from differential.configuration import Configuration
from differential.frames import Parsed, parse
from differential.namespaces import enter, unshared, within
from differential.scene import ENIS, INTERFACES, PODS, Scene
from pathtap.agent.metadata import Metadata
from pathtap.agent.readers import conntrack, netlink
from pathtap.agent.snapshot import SnapshotReader
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.netfilter import Backend, RuleSet
from pathtap.model.node import NodeSnapshot

IPTABLES = ("raw", "mangle", "nat", "filter")
ETHERTYPES = {4: 0x0800, 6: 0x86DD}
PATIENCE = 0.4
QUIET = 0.004
MAC = b"\x02\0\0\0\0\1"


class NoMetadata:
    """In place of the services that know the ENIs: what is drawn may swallow the questions, each for a second."""

    def read(self, now: int) -> Metadata:
        return Metadata(enis=(), settings=None, vpc_networks=(), unread=())


class RefusedConfigurationError(Exception):
    """A tool did not take what was drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caught:
    """A frame that left the node, at the far end of that interface."""

    interface: str
    packet: Parsed


def run(command: Sequence[str], text: str = "") -> None:
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    if done.returncode:
        raise RefusedConfigurationError(f"{' '.join(command)}: {done.stderr.strip()}\n{text}")


def write(name: str, value: str) -> None:
    Path("/proc/sys", *name.split("/")).write_text(value)


class Bed:
    """Takes the calling process into its namespace; one at a time in a process, and one family only."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._far = unshared()
        write("net/ipv6/conf/default/disable_ipv6", "1")
        self._node = unshared()
        self.registered: dict[tuple[Backend, str, str, str], int] = {}
        self._registrations = 0
        self._legacy_exists = False
        self._build()
        with within(self._far, self._node):
            self._wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPES[scene.family]))
            self._wire.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
            self._wire.setblocking(False)
        self.log = logged.Log()
        self.indexes = dict(socket.if_nameindex())
        self._macs = {
            name: bytes.fromhex(line.split()[1].replace(":", "")) for name, line in self._links() if name in INTERFACES
        }
        self._reader = SnapshotReader("node-1", "1")
        self._reader._metadata = NoMetadata()  # type: ignore[assignment]

    def close(self) -> None:
        self._wire.close()
        self.log.close()
        enter(self._outside)
        for each in (self._far, self._node, self._outside):
            os.close(each)

    def _build(self) -> None:
        far = f"/proc/{os.getpid()}/fd/{self._far}"
        lines = ["link set lo up"]
        for name in INTERFACES:
            lines += [
                f"link add {name} type veth peer name {name} netns {far}",
                # Nobody answers for neighbours, so nobody is asked.
                f"link set {name} arp off up",
            ]
        nodad = " nodad" if self.scene.family == 6 else ""
        addresses = (("eth0", self.scene.node), ("eth1", self.scene.secondary))
        lines += [f"addr add {text}/{self.scene.bits} dev {name} noprefixroute{nodad}" for name, text in addresses]
        if self.scene.family == 4:
            lines.append("addr add 169.254.172.1/22 dev vethe4 scope link noprefixroute")
        run(["ip", "-batch", "-"], "\n".join(lines))
        with within(self._far, self._node):
            run(["ip", "-batch", "-"], "\n".join(f"link set {name} up" for name in INTERFACES))
        write("net/ipv4/ip_forward", "1")
        # A redirect for what leaves as it came passes OUTPUT with that connection's entry, and rules there would mark it.
        for name in ("all", *INTERFACES):
            write(f"net/ipv4/conf/{name}/send_redirects", "0")
        write("net/ipv6/conf/all/forwarding", "1")
        # Every error is sent, none to what only the bed itself would ask.
        for name, value in (("ipv4/icmp_ratemask", "0"), ("ipv6/icmp/ratelimit", "0")):
            write(f"net/{name}", value)
        write("net/ipv4/icmp_echo_ignore_all", "1")
        write("net/ipv6/icmp/echo_ignore_all", "1")

    def _links(self) -> Iterable[tuple[str, str]]:
        shown = subprocess.run(["ip", "-o", "link"], text=True, capture_output=True, check=True).stdout
        for line in shown.splitlines():
            name = line.split(": ")[1].partition("@")[0]
            yield name, line[line.index("link/") :]

    def configure(self, drawn: Configuration) -> None:
        """Raises RefusedConfigurationError."""
        family = f"-{self.scene.family}"
        # Rule 0 survives a flush, unless it was taken away.
        flush = ["rule del prio 0", "rule add prio 0 from all lookup local", "rule flush"]
        flush += [f"route flush table {table}" for table in ("main", "2", "3")]
        subprocess.run(
            ["ip", family, "-force", "-batch", "-"], input="\n".join(flush), text=True, capture_output=True, check=False
        )
        lines = [*(f"route add {text}" for text in drawn.routes), *(f"rule add {text}" for text in drawn.rules)]
        lines += ["rule del prio 0"] if any("lookup local" in text for text in drawn.rules) else []
        run(["ip", family, "-batch", "-"], "\n".join(lines))
        for name, value in drawn.sysctls:
            write(name, value)
        run(["nft", "flush", "ruleset"])
        self.registered = {key: value for key, value in self.registered.items() if key[0] is Backend.LEGACY}
        if self._legacy_exists:
            run([f"{self.scene.iptables}-legacy-restore"], EMPTY)
        run(["ipset", "-exist", "restore"], drawn.ipsets) if drawn.ipsets else None
        for store in drawn.order:
            getattr(self, f"_load_{store}")(drawn)
        with NFCTSocket() as conntrack:
            conntrack.flush()

    def _load_legacy(self, drawn: Configuration) -> None:
        if not drawn.legacy:
            return
        run([f"{self.scene.iptables}-legacy-restore"], drawn.legacy)
        if not self._legacy_exists:
            self._legacy_exists = True
            self._register(Backend.LEGACY, IPTABLES)

    def _load_nft(self, drawn: Configuration) -> None:
        if drawn.nft:
            run([f"{self.scene.iptables}-nft-restore"], drawn.nft)
            self._register(Backend.NFT, IPTABLES)

    def _load_native(self, drawn: Configuration) -> None:
        for table in drawn.native:
            run(["nft", "-f", "-"], table.text)
            for chain in table.base_chains:
                self._registrations += 1
                self.registered[Backend.NFTABLES, table.family, table.name, chain] = self._registrations

    def _register(self, backend: Backend, tables: Sequence[str]) -> None:
        """No two chains of one such store have the same hook and priority, so that one number does for them."""
        self._registrations += 1
        for table in tables:
            self.registered[backend, self.scene.nft, table, ""] = self._registrations

    def snapshot(self) -> NodeSnapshot:
        """As the product reads it, with the order of registration that only the bed knows."""
        read = self._reader.read(time_ns())
        return replace(read, rule_sets=tuple(self._in_order(each) for each in read.rule_sets))

    def _in_order(self, rule_set: RuleSet) -> RuleSet:
        native = rule_set.backend is Backend.NFTABLES
        chains = tuple(
            replace(
                chain,
                registration=self.registered.get(
                    (rule_set.backend, rule_set.family, rule_set.table, chain.name if native else ""), 0
                ),
            )
            if chain.hook
            else chain
            for chain in rule_set.chains
        )
        return replace(rule_set, chains=chains)

    def listen(self) -> None:
        """From now on the packet log speaks."""
        run(["nft", "-f", "-"], logged.TABLE)
        for _ in self.log.read():
            pass

    def entries(self) -> tuple[ConntrackEntry, ...]:
        """What connection tracking holds of the family."""
        family = socket.AF_INET if self.scene.family == 4 else socket.AF_INET6
        with netlink.conntrack(family) as opened:
            return conntrack.decode(netlink.conntrack_dump(opened, family, {}, "original"), "node-1")

    def inject(self, interface: str, packet: bytes) -> None:
        """Puts the packet on the wire towards the node's interface."""
        kind = ETHERTYPES[self.scene.family]
        frame = self._macs[interface] + MAC + kind.to_bytes(2, "big") + packet
        self._wire.sendto(frame, (interface, kind))

    def collect(self, leaving: frozenset[int], arriving: frozenset[int]) -> tuple[list[Caught], list[logged.Logged]]:
        """What left and what the log says, until all that is expected has come and nothing more does."""
        caught: list[Caught] = []
        told: list[logged.Logged] = []
        until = monotonic() + PATIENCE
        while True:
            quiet = not select.select([self._wire, self.log.socket], [], [], QUIET)[0]
            caught.extend(self._caught())
            told.extend(self.log.read())
            left = {each.packet.token for each in caught}
            came = {each.packet.token for each in told if each.hook == "in"}
            if quiet and ((leaving <= left and arriving <= came) or monotonic() > until):
                return caught, told

    def _caught(self) -> Iterable[Caught]:
        while True:
            try:
                frame, origin = self._wire.recvfrom(2048)
            except BlockingIOError:
                return
            if origin[2] != socket.PACKET_OUTGOING and (parsed := parse(frame[14:])):
                yield Caught(interface=origin[0], packet=parsed)


EMPTY = "".join(
    f"*{table}\n{''.join(f':{chain} ACCEPT [0:0]{chr(10)}' for chain in chains)}COMMIT\n"
    for table, chains in (
        ("raw", ("PREROUTING", "OUTPUT")),
        ("mangle", ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")),
        ("nat", ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")),
        ("filter", ("INPUT", "FORWARD", "OUTPUT")),
    )
)
__all__ = ["ENIS", "PODS", "Bed", "Caught", "RefusedConfigurationError"]
