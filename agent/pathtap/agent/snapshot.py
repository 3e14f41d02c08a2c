"""Reads the whole node at one moment. Turns expected failures into Unread, and knows how to read nothing itself.

Everything is read in the current network namespace, and readers that wait for others (processes, the metadata service)
run beside each other.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from pathtap.agent.readers import imds, ipamd, legacy, links, neighbours, netlink, nftables, routes, rules, sysctls
from pathtap.agent.readers.enis import Eni, UnexpectedAnswerError, merge
from pathtap.agent.readers.stores import Stored
from pathtap.agent.readers.xtables import UnexpectedTextError
from pathtap.model.node import Neighbour, NodeSnapshot, Route, Rule, Unread

Value = TypeVar("Value")

# Attaching an ENI takes AWS longer than this.
_METADATA_AGE = 30 * 10**9


class SnapshotReader:
    """Reads snapshots of one node, keeping what IMDS said for 30 s. One call of `read` at a time."""

    def __init__(self, node: str, boot_id: str) -> None:
        self._node = node
        self._boot_id = boot_id
        self._imds: _Remembered | None = None

    def read(self, now: int) -> NodeSnapshot:
        """`now` is the time in nanoseconds since the epoch, which the snapshot carries."""
        unread: list[Unread] = []
        with ThreadPoolExecutor(max_workers=6, thread_name_prefix="read") as pool:
            from_imds = pool.submit(self._read_imds, now)
            from_ipamd = pool.submit(_attempt, "ipamd", lambda: ipamd.decode(ipamd.fetch()))
            stores = (
                pool.submit(_attempt, "iptables-legacy", lambda: legacy.read("ip")),
                pool.submit(_attempt, "ip6tables-legacy", lambda: legacy.read("ip6")),
                pool.submit(_attempt, "nftables", nftables.read),
            )
            state = pool.submit(_read_state)
            enis = merge(_kept(from_imds.result(), unread, ()), _kept(from_ipamd.result(), unread, ()))
            stored = [_kept(store.result(), unread, Stored()) for store in stores]
            forwarding = state.result()
        unread.extend(forwarding.unread)
        unread.extend(missing for store in stored for missing in store.unread)
        return NodeSnapshot(
            node=self._node,
            boot_id=self._boot_id,
            taken_at=now,
            kernel=os.uname().release,
            interfaces=links.interfaces(forwarding.links, forwarding.routes, forwarding.rules, enis),
            rules=forwarding.rules,
            routes=forwarding.routes,
            neighbours=forwarding.neighbours,
            sysctls=forwarding.sysctls,
            rule_sets=tuple(rule_set for store in stored for rule_set in store.rule_sets),
            unread=tuple(unread),
        )

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
