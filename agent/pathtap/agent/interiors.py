"""Looks into pods: each one's own links, routes and neighbours, read from inside its network namespace. Changes nothing.

A pod that was asked for and not found, or not looked into in time, is told as such; it is never left out.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pathtap.agent.namespaces import Candidates, NamespaceError, Peers, candidates, run_in_namespace
from pathtap.agent.readers import links, neighbours, netlink, routes
from pathtap.model.address import Address
from pathtap.model.node import Interface, Neighbour, PodInterior, Role, Route, Unread

MOST = 256
SECONDS = 2.0
PART = "interior"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inside:
    interfaces: tuple[Interface, ...]
    routes: tuple[Route, ...]
    neighbours: tuple[Neighbour, ...]

    def holds(self, address: Address) -> bool:
        return any(own.ip == address for interface in self.interfaces for own in interface.addresses)


def read_interiors(
    addresses: Sequence[Address], peers: Peers | None = None, most: int = MOST, seconds: float = SECONDS
) -> tuple[PodInterior, ...]:
    """One for each of `addresses`, in their order; call it in the node's own namespace, which the caller stays in.

    `peers` as `candidates` takes them. At most `most` are looked into, and none is begun once `seconds` have passed.
    """
    if not addresses:
        return ()
    try:
        found = candidates(addresses[:most], peers=peers)
    except NamespaceError as error:
        return tuple(_unread(address, str(error)) for address in addresses)
    visits = _Visits(found, time.monotonic() + seconds, seconds)
    read = tuple(visits.interior(address) for address in addresses[:most])
    return read + tuple(
        _unread(address, f"No more than {most} pods are looked into at once.") for address in addresses[most:]
    )


class _Visits:
    """What was found in each namespace: it is entered once, whichever pod it was entered for."""

    def __init__(self, found: Candidates, deadline: float, seconds: float) -> None:
        self._found = found
        self._deadline = deadline
        self._seconds = seconds
        self._seen: dict[Path, _Inside | str] = {}

    def interior(self, address: Address) -> PodInterior:
        for path in self._found.ordered(address):
            if path not in self._seen and time.monotonic() > self._deadline:
                return _unread(address, f"The pods were not all looked into within {self._seconds:g} s.")
            inside = self._visit(path)
            if isinstance(inside, _Inside) and inside.holds(address):
                return PodInterior(
                    address=address,
                    interfaces=inside.interfaces,
                    routes=inside.routes,
                    neighbours=inside.neighbours,
                )
        unreadable = [f"{path}: {reason}" for path, reason in self._seen.items() if isinstance(reason, str)]
        return _unread(address, str(self._found.without(address, unreadable)))

    def _visit(self, path: Path) -> _Inside | str:
        if path not in self._seen:
            try:
                self._seen[path] = run_in_namespace(path, _read)
            except (NamespaceError, OSError) as error:
                self._seen[path] = str(error)
        return self._seen[path]


def _unread(address: Address, reason: str) -> PodInterior:
    return PodInterior(address=address, unread=(Unread(part=PART, reason=reason),))


def _read() -> _Inside:
    """In the current namespace. Raises OSError."""
    with netlink.rtnetlink() as socket:
        found = links.decode(*links.fetch(socket))
        names = {link.index: link.name for link in found}
        return _Inside(
            # Without routes and ENIs each is loopback or other: roles are the node's own.
            interfaces=tuple(
                interface if interface.role is Role.LOOPBACK else replace(interface, role=Role.OTHER)
                for interface in links.interfaces(found, (), (), ())
            ),
            routes=routes.decode(routes.fetch(socket), names),
            neighbours=neighbours.decode(neighbours.fetch(socket), names),
        )
