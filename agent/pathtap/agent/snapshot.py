"""Reads the whole node at one moment. Turns expected failures into Unread, and knows how to read nothing itself.

Everything is read in the current network namespace, and readers that wait for others (processes, the metadata service)
run beside each other.
"""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pathtap.agent.interiors import read_interiors
from pathtap.agent.metadata import Metadata, MetadataReader
from pathtap.agent.readers import (
    cni_config,
    counters,
    ebpf,
    ipsets,
    legacy,
    links,
    neighbours,
    netlink,
    nftables,
    programs,
    routes,
    rules,
    sysctls,
)
from pathtap.agent.readers.stores import Stored
from pathtap.agent.reading import attempt, kept
from pathtap.agent.worker import begin
from pathtap.model.address import Address
from pathtap.model.node import EgressPlugin, Interface, IpSet, Neighbour, NodeSnapshot, Route, Rule, TcProgram, Unread

# A trace reads the snapshot and then arms: the interfaces need not be read twice.
_INTERFACES_AGE = 2 * 10**9


class SnapshotReader:
    """Reads one node, keeping what IMDS said for 30 s, and rule sets until they change.

    Safe to use from any thread; reads wait for each other. `cni_config` is the directory of the node's CNI
    configuration; without it the usual one is read, where there is one.
    """

    def __init__(self, node: str, boot_id: str, cni_config: Path | None = None) -> None:
        self._node = node
        self._boot_id = boot_id
        self._cni_config = cni_config
        self._reading = threading.Lock()
        self._forwarding_lock = threading.Lock()
        self._metadata = MetadataReader()
        self._legacy, self._legacy_ipv6 = legacy.LegacyReader("ip"), legacy.LegacyReader("ip6")
        self._nftables = nftables.NftablesReader()
        self._latest: _Forwarding | None = None

    def read(self, now: int, interiors: Sequence[Address] = ()) -> NodeSnapshot:
        """`now` is the time in nanoseconds since the epoch, which the snapshot carries; `interiors` are pods to look into."""
        with self._reading:
            stores = (
                begin(lambda: attempt("iptables-legacy", self._legacy.read)),
                begin(lambda: attempt("ip6tables-legacy", self._legacy_ipv6.read)),
                begin(lambda: attempt("nftables", self._nftables.read)),
            )
            with self._forwarding_lock:
                forwarding = self._read_forwarding(now)
            extras = _read_extras(forwarding.state.links)
            peers = {link.index: link.peer_namespace for link in forwarding.state.links}
            # Without links, whoever looks for pods asks for them himself.
            inside = read_interiors(interiors, peers or None)
            unread = [*forwarding.unread, *extras.unread]
            egress_plugin = kept(attempt("cni configuration", self._egress_plugin), unread, None)
            stored = [kept(store.result(), unread, Stored()) for store in stores]
        unread.extend(missing for store in stored for missing in store.unread)
        state = forwarding.state
        return NodeSnapshot(
            node=self._node,
            boot_id=self._boot_id,
            taken_at=now,
            kernel=os.uname().release,
            interfaces=forwarding.interfaces,
            rules=state.rules,
            routes=state.routes,
            neighbours=state.neighbours,
            sysctls=state.sysctls,
            rule_sets=tuple(rule_set for store in stored for rule_set in store.rule_sets),
            ip_sets=extras.ip_sets,
            programs=extras.programs,
            counters=extras.counters,
            interiors=inside,
            settings=forwarding.metadata.settings,
            egress_plugin=egress_plugin,
            vpc_networks=forwarding.metadata.vpc_networks,
            unread=tuple(unread),
        )

    def interfaces(self, now: int) -> tuple[Interface, ...]:
        """As a snapshot has them, at most 2 s old: no rule set is read or waited for, which can take seconds."""
        with self._forwarding_lock:
            latest = self._latest
            if latest is None or now - latest.read_at > _INTERFACES_AGE:
                latest = self._read_forwarding(now)
            return latest.interfaces

    def _egress_plugin(self) -> EgressPlugin | None:
        return cni_config.decode(cni_config.fetch(self._cni_config))

    def _read_forwarding(self, now: int) -> "_Forwarding":
        asked = begin(lambda: self._metadata.read(now))
        state = _read_state()
        metadata = asked.result()
        self._latest = _Forwarding(
            read_at=now,
            state=state,
            metadata=metadata,
            interfaces=links.interfaces(state.links, state.routes, state.rules, metadata.enis),
            unread=(*metadata.unread, *state.unread),
        )
        return self._latest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Forwarding:
    """What interfaces and their roles follow from. `read_at` is in nanoseconds since the epoch."""

    read_at: int
    state: "_State"
    metadata: Metadata
    interfaces: tuple[Interface, ...]
    unread: tuple[Unread, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """What netlink and /proc/sys say."""

    links: tuple[links.Link, ...]
    rules: tuple[Rule, ...]
    routes: tuple[Route, ...]
    neighbours: tuple[Neighbour, ...]
    sysctls: dict[str, str]
    unread: tuple[Unread, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Extras:
    """What no interface's role depends on: arming a capture does without it."""

    ip_sets: tuple[IpSet, ...]
    programs: tuple[TcProgram, ...]
    counters: dict[str, int]
    unread: tuple[Unread, ...]


def _read_state() -> _State:
    unread: list[Unread] = []
    with netlink.rtnetlink() as socket:
        found = kept(attempt("links", lambda: links.decode(*links.fetch(socket))), unread, ())
        names = {link.index: link.name for link in found}
        return _State(
            links=found,
            rules=kept(attempt("rules", lambda: rules.decode(rules.fetch(socket))), unread, ()),
            routes=kept(attempt("routes", lambda: routes.decode(routes.fetch(socket), names)), unread, ()),
            neighbours=kept(
                attempt("neighbours", lambda: neighbours.decode(neighbours.fetch(socket), names)), unread, ()
            ),
            sysctls=kept(attempt("sysctls", lambda: sysctls.decode(sysctls.fetch())), unread, {}),
            # Arguments are evaluated in order, so this one sees what the others could not read.
            unread=tuple(unread),
        )


def _read_extras(found: tuple[links.Link, ...]) -> _Extras:
    unread: list[Unread] = []
    # A container's seccomp profile may forbid bpf(2), and the classifiers are read all the same.
    names = {link.index: link.name for link in found}
    tcx = kept(attempt("programs (tcx)", lambda: ebpf.tcx_programs(names)), unread, ())
    with netlink.rtnetlink() as socket:
        attached = attempt("programs", lambda: programs.decode(programs.fetch(socket, found, tcx), found))
    return _Extras(
        programs=kept(attached, unread, ()),
        ip_sets=kept(attempt("ipsets", lambda: ipsets.decode(ipsets.fetch())), unread, ()),
        counters=kept(attempt("counters", lambda: counters.decode(counters.fetch())), unread, {}),
        unread=tuple(unread),
    )


def read_snapshot(node: str, boot_id: str, now: int) -> NodeSnapshot:
    """One snapshot, keeping nothing for the next."""
    return SnapshotReader(node, boot_id).read(now)
