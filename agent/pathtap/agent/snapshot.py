"""Reads the whole node at one moment. Turns expected failures into Unread, and knows how to read nothing itself.

Everything is read in the current network namespace, and readers that wait for others (processes, the metadata service)
run beside each other.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pathtap.agent.readers import imds, ipamd, legacy, links, neighbours, netlink, nftables, routes, rules, sysctls
from pathtap.agent.readers.enis import Eni, UnexpectedAnswerError, merge
from pathtap.agent.readers.stores import Stored
from pathtap.agent.readers.xtables import UnexpectedTextError
from pathtap.agent.worker import begin
from pathtap.model.node import Interface, Neighbour, NodeSnapshot, Route, Rule, Unread

Value = TypeVar("Value")

# Attaching an ENI takes AWS longer than this.
_METADATA_AGE = 30 * 10**9
# A trace reads the snapshot and then arms: the interfaces need not be read twice.
_INTERFACES_AGE = 2 * 10**9


class SnapshotReader:
    """Reads one node, keeping what IMDS said for 30 s. Safe to use from any thread; reads wait for each other."""

    def __init__(self, node: str, boot_id: str) -> None:
        self._node = node
        self._boot_id = boot_id
        self._reading = threading.Lock()
        self._forwarding_lock = threading.Lock()
        self._imds: _Remembered | None = None
        self._latest: _Forwarding | None = None

    def read(self, now: int) -> NodeSnapshot:
        """`now` is the time in nanoseconds since the epoch, which the snapshot carries."""
        with self._reading:
            stores = (
                begin(lambda: _attempt("iptables-legacy", lambda: legacy.read("ip"))),
                begin(lambda: _attempt("ip6tables-legacy", lambda: legacy.read("ip6"))),
                begin(lambda: _attempt("nftables", nftables.read)),
            )
            with self._forwarding_lock:
                forwarding = self._read_forwarding(now)
            unread = list(forwarding.unread)
            stored = [_kept(store.result(), unread, Stored()) for store in stores]
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
            unread=tuple(unread),
        )

    def interfaces(self, now: int) -> tuple[Interface, ...]:
        """As a snapshot has them, at most 2 s old: no rule set is read or waited for, which can take seconds."""
        with self._forwarding_lock:
            latest = self._latest
            if latest is None or now - latest.read_at > _INTERFACES_AGE:
                latest = self._read_forwarding(now)
            return latest.interfaces

    def _read_forwarding(self, now: int) -> "_Forwarding":
        unread: list[Unread] = []
        from_imds = begin(lambda: self._read_imds(now))
        from_ipamd = begin(lambda: _attempt("ipamd", lambda: ipamd.decode(ipamd.fetch())))
        state = _read_state()
        enis = merge(_kept(from_imds.result(), unread, ()), _kept(from_ipamd.result(), unread, ()))
        self._latest = _Forwarding(
            read_at=now,
            state=state,
            interfaces=links.interfaces(state.links, state.routes, state.rules, enis),
            unread=(*unread, *state.unread),
        )
        return self._latest

    def _read_imds(self, now: int) -> tuple[Eni, ...] | Unread:
        """A silent service costs a second each time, so silence is remembered as an answer is; a refusal is not."""
        if self._imds is not None and now - self._imds.at < _METADATA_AGE:
            return self._imds.answer
        answer = _attempt("imds", lambda: imds.decode(imds.fetch()))
        silent = isinstance(answer, Unread) and "did not answer within" in answer.reason
        self._imds = _Remembered(at=now, answer=answer) if silent or not isinstance(answer, Unread) else None
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remembered:
    at: int
    answer: tuple[Eni, ...] | Unread


@dataclass(frozen=True, slots=True, kw_only=True)
class _Forwarding:
    """Everything but the rule sets. `read_at` is in nanoseconds since the epoch."""

    read_at: int
    state: "_State"
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


def _read_state() -> _State:
    unread: list[Unread] = []
    with netlink.rtnetlink() as socket:
        found = _kept(_attempt("links", lambda: links.decode(*links.fetch(socket))), unread, ())
        names = {link.index: link.name for link in found}
        return _State(
            links=found,
            rules=_kept(_attempt("rules", lambda: rules.decode(rules.fetch(socket))), unread, ()),
            routes=_kept(_attempt("routes", lambda: routes.decode(routes.fetch(socket), names)), unread, ()),
            neighbours=_kept(
                _attempt("neighbours", lambda: neighbours.decode(neighbours.fetch(socket), names)), unread, ()
            ),
            sysctls=_kept(_attempt("sysctls", lambda: sysctls.decode(sysctls.fetch())), unread, {}),
            # Arguments are evaluated in order, so this one sees what the others could not read.
            unread=tuple(unread),
        )


def _attempt(part: str, read: Callable[[], Value]) -> Value | Unread:
    try:
        return read()
    except (OSError, UnexpectedAnswerError, UnexpectedTextError) as error:
        return Unread(part=part, reason=str(error) or type(error).__name__)


def _kept(answer: Value | Unread, unread: list[Unread], nothing: Value) -> Value:
    """The answer, or `nothing` with its reason put among the unread."""
    if isinstance(answer, Unread):
        unread.append(answer)
        return nothing
    return answer


def read_snapshot(node: str, boot_id: str, now: int) -> NodeSnapshot:
    """One snapshot, keeping nothing for the next."""
    return SnapshotReader(node, boot_id).read(now)
