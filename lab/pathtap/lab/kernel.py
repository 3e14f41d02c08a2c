"""Thin typed hands on the kernel: network namespaces, netlink, sysctls, commands inside. Knows no topology.

Namespaces are named as under /run/netns. Nothing here ever changes the caller's own namespace: what must run inside
another one runs in a thread that ends.
"""

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import Any, Self, TypeVar

from pyroute2 import IPRoute
from pyroute2 import netns as pyroute2_netns

from pathtap.lab.errors import CommandFailedError, LabError
from pathtap.model.address import Address, Network

NETNS = Path("/run/netns")
# The variable by which a lab's processes are found again, whatever became of the one that started them.
MARK = "PATHTAP_LAB"
MAIN_TABLE = 254
_SCOPE_HOST, _SCOPE_LINK, _SCOPE_UNIVERSE = 254, 253, 0
# RTPROT_BOOT: what the CNI's netlink library writes, so that `ip route` prints no `proto`.
_PROTO_KERNEL, _PROTO_BOOT = 2, 3
_NUD_PERMANENT = 0x80
# By IP version.
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_COMMAND_SECONDS = 30.0

Result = TypeVar("Result")


def network_namespaces() -> frozenset[str]:
    return frozenset(path.name for path in NETNS.iterdir()) if NETNS.is_dir() else frozenset()


def create_namespaces(names: Iterable[str], *, mark: str) -> None:
    _batch([f"netns add {name}" for name in names], mark=mark)


def delete_namespaces(names: Iterable[str]) -> None:
    """Removes the names. A namespace itself ends with the last process inside."""
    _batch([f"netns del {name}" for name in names], mark="", force=True)


def _batch(lines: Sequence[str], *, mark: str, force: bool = False) -> None:
    if lines:
        options = ["-force"] if force else []
        command(["ip", *options, "-batch", "-"], stdin="".join(f"{line}\n" for line in lines), mark=mark)


def command(argv: Sequence[str], *, stdin: str = "", mark: str = "", timeout: float = _COMMAND_SECONDS) -> str:
    """Runs `argv` in the calling thread's namespace and returns what it printed. LabError where it failed, or took longer
    than `timeout` seconds.
    """
    environment = {**os.environ, MARK: mark} if mark else None
    try:
        done = subprocess.run(
            argv, input=stdin, text=True, capture_output=True, timeout=timeout, check=False, env=environment
        )
    except FileNotFoundError as error:
        raise LabError(f"The command {argv[0]} is missing: install iproute2 and iptables.") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{' '.join(argv)}` did not end within {timeout:g} s.") from error
    if done.returncode != 0:
        raise CommandFailedError(" ".join(argv), done.stderr.strip() or f"exit code {done.returncode}")
    return done.stdout


def inside(namespace: str, function: Callable[[], Result]) -> Result:
    """Calls `function` in a thread of its own inside `namespace`; its sockets and child processes stay there."""
    outcome: list[Result] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            pyroute2_netns.setns(namespace)
            outcome.append(function())
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, none is lost
            failure.append(error)

    if not (NETNS / namespace).exists():
        raise LabError(f"There is no network namespace {namespace}.")
    thread = threading.Thread(target=run, name=f"inside {namespace}")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def command_inside(namespace: str, argv: Sequence[str], *, stdin: str = "", mark: str = "") -> str:
    """`command`, inside `namespace`."""
    return inside(namespace, lambda: command(argv, stdin=stdin, mark=mark))


def write_sysctls(namespace: str, values: Mapping[str, str]) -> None:
    """`values` by path below /proc/sys, `net/ipv4/ip_forward` → `1`, written in their order."""
    inside(namespace, lambda: write_own_sysctls(values))


def write_own_sysctls(values: Mapping[str, str]) -> None:
    """`write_sysctls`, in the caller's own namespace."""
    for path, value in values.items():
        Path("/proc/sys", path).write_text(value)


class Netlink:
    """rtnetlink of one namespace, open as a context; without a name, of the caller's own."""

    def __init__(self, namespace: str = "") -> None:
        self._route: Any = IPRoute(netns=namespace or None)
        self._index: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._route.close()

    def _of(self, interface: str) -> int:
        if interface not in self._index:
            self._index[interface] = self._route.link_lookup(ifname=interface)[0]
        return self._index[interface]

    def add_veth(self, name: str, mac: str, mtu: int, peer: "VethPeer") -> None:
        """Both ends are born where they live, so that no name ever appears in the root namespace."""
        with (NETNS / peer.namespace).open() as far:
            end = {"ifname": peer.name, "address": peer.mac, "mtu": mtu, "net_ns_fd": far.fileno()}
            self._route.link("add", ifname=name, kind="veth", address=mac, mtu=mtu, peer=end)

    def remove(self, interface: str) -> None:
        """With a veth's one end goes the other. What is not there is no error."""
        for index in self._route.link_lookup(ifname=interface):
            self._route.link("del", index=index)
        self._index.pop(interface, None)

    def up(self, interface: str) -> None:
        self._route.link("set", index=self._of(interface), state="up")

    def add_address(
        self,
        interface: str,
        address: Address,
        prefix_length: int,
        *,
        for_the_host_alone: bool = False,
        for_the_link_alone: bool = False,
    ) -> None:
        """What is for the host alone (scope host) never becomes the source that MASQUERADE takes, what is for its link
        alone not where a packet leaves by another. Of IPv6 the kernel knows the scope by the address.
        """
        scope = _SCOPE_HOST if for_the_host_alone else _SCOPE_LINK if for_the_link_alone else _SCOPE_UNIVERSE
        index = self._of(interface)
        self._route.addr(
            "add",
            index=index,
            address=str(address),
            prefixlen=prefix_length,
            scope=scope,
            family=_FAMILIES[address.version],
        )

    def add_route(
        self,
        destination: Network | Address | None,
        interface: str,
        *,
        via: Address | None = None,
        table: int = MAIN_TABLE,
        source: Address | None = None,
    ) -> None:
        """`destination` None is the default route of the family of `via`; without `via` the route has link scope.

        `source` is the one preferred for what is sent by it.
        """
        known = destination if destination is not None else via
        family = _FAMILIES[known.version] if known is not None else socket.AF_INET
        next_hop: dict[str, object] = {"scope": _SCOPE_LINK}
        if via is not None:
            next_hop = {"scope": _SCOPE_UNIVERSE, "gateway": str(via)}
        if source is not None:
            next_hop["prefsrc"] = str(source)
        self._route.route(
            "add",
            dst=_prefix(destination),
            oif=self._of(interface),
            table=table,
            proto=_PROTO_BOOT,
            family=family,
            **next_hop,
        )

    def delete_subnet_route(self, subnet: IPv4Network, interface: str) -> None:
        """The one that the kernel made of the interface's address."""
        index = self._of(interface)
        self._route.route("del", dst=str(subnet), oif=index, table=MAIN_TABLE, proto=_PROTO_KERNEL, scope=_SCOPE_LINK)

    def add_rule(
        self,
        priority: int,
        table: int,
        *,
        source: Address | None = None,
        destination: Address | None = None,
        mark: int | None = None,
        version: int = 4,
    ) -> None:
        """A rule on one address, or on `mark` under the mask of the same value: then of IP's `version`."""
        known = source if source is not None else destination
        selector: dict[str, object] = {"family": _FAMILIES[known.version if known is not None else version]}
        if source is not None:
            selector |= {"src": str(source), "src_len": source.max_prefixlen}
        if destination is not None:
            selector |= {"dst": str(destination), "dst_len": destination.max_prefixlen}
        if mark is not None:
            selector |= {"fwmark": mark, "fwmask": mark}
        self._route.rule("add", priority=priority, table=table, **selector)

    def remove_rules(self, priority: int, address: Address) -> None:
        """All of that priority whose source or destination is exactly `address`. What is not there is no error."""
        family = _FAMILIES[address.version]
        for rule in self._route.get_rules(family=family, priority=priority):
            selectors = {(rule.get_attr(f"FRA_{end}"), rule[f"{end.lower()}_len"]) for end in ("SRC", "DST")}
            if (str(address), address.max_prefixlen) in selectors:
                self._route.rule("del", **_same_rule(rule, priority, family))

    def add_permanent_neighbour(self, interface: str, address: Address, mac: str) -> None:
        self._route.neigh(
            "add",
            dst=str(address),
            lladdr=mac,
            ifindex=self._of(interface),
            state=_NUD_PERMANENT,
            family=_FAMILIES[address.version],
        )


class VethPeer:
    """The far end of a veth."""

    __slots__ = ("mac", "name", "namespace")

    def __init__(self, *, namespace: str, name: str, mac: str) -> None:
        self.namespace, self.name, self.mac = namespace, name, mac


def _same_rule(rule: Any, priority: int, family: int) -> dict[str, object]:
    """What names a rule that was listed, for its deletion."""
    told: dict[str, object] = {"family": family, "priority": priority, "table": rule.get_attr("FRA_TABLE")}
    for end in ("src", "dst"):
        if rule[f"{end}_len"]:
            told |= {end: rule.get_attr(f"FRA_{end.upper()}"), f"{end}_len": rule[f"{end}_len"]}
    return told


def _prefix(destination: Network | Address | None) -> str:
    return "default" if destination is None else str(ip_network(destination))
