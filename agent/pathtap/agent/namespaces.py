"""Finds a pod's network namespace under /run/netns, and runs a function inside one. Knows no packets.

The namespaces of several nodes can share one /run/netns, with the same addresses in each. So a namespace counts only if the
kernel's own id for it (RTM_GETNSID) is that of the peer of one of this node's links (IFLA_LINK_NETNSID), and only the
namespace's own word tells that the address is in it. The node's routes only tell where to look first: they may be what is
broken.
"""

import ctypes
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pyroute2.netlink.exceptions import NetlinkError

from pathtap.agent.readers import netlink
from pathtap.agent.worker import begin
from pathtap.model.address import Address

Result = TypeVar("Result")
# By the index of a link, the current namespace's id for the one that its peer is in; None for none.
Peers: TypeAlias = Mapping[int, int | None]

DIRECTORIES = (Path("/run/netns"), Path("/var/run/netns"))
# linux/sched.h; Python 3.11 has no os.setns.
CLONE_NEWNET = 0x40000000
_NSID = "IFLA_LINK_NETNSID"
# The kernel's NETNSA_NSID_NOT_ASSIGNED, as an unsigned number it may also be read.
NOT_ASSIGNED = frozenset({None, -1, 0xFFFFFFFF})


class NamespaceError(Exception):
    """Why a pod's network namespace cannot be found or entered, as a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The namespaces that this node's links lead to, by path, each with the kernel's id for it.

    `likely` has the id of the one that the node's own routes lead to, by address; `unreadable` says what could not be
    looked at.
    """

    paths: tuple[tuple[Path, int], ...]
    likely: Mapping[Address, int | None]
    unreadable: tuple[str, ...]
    directories: tuple[Path, ...]

    def ordered(self, address: Address) -> tuple[Path, ...]:
        """The likely one first: entering one takes 2 ms, and a node can have hundreds of pods."""
        likely = self.likely.get(address)
        return tuple(path for path, _ in sorted(self.paths, key=lambda item: item[1] != likely))

    def without(self, address: Address, unreadable: Sequence[str] = ()) -> NamespaceError:
        """That none of them holds `address`; `unreadable` are those that could not be entered."""
        looked = " and ".join(str(directory) for directory in dict.fromkeys(map(Path.resolve, self.directories)))
        unread = (*self.unreadable, *unreadable)
        return NamespaceError(
            f"None of the {len(self.paths)} network namespaces under {looked} that this node's links lead to holds {address}"
            + (f"; not readable: {', '.join(unread)}." if unread else ".")
        )


def candidates(
    addresses: Sequence[Address], directories: Sequence[Path] = DIRECTORIES, peers: Peers | None = None
) -> Candidates:
    """Where to look for the node's pods; call it in the node's own namespace. Raises NamespaceError.

    `peers` are the node's links where they are known already; the dump takes a fifth of a millisecond for each.
    """
    unreadable: list[str] = []
    try:
        with netlink.rtnetlink() as socket:
            if peers is None:
                found = netlink.links(socket, frozenset({_NSID}))
                peers = {link["index"]: link["attrs"].get(_NSID) for link in found}
            identified = [(path, _nsid(socket, path, unreadable)) for path in _namespace_files(directories)]
            # No link has the index 0.
            likely = {address: peers.get(_routed_by(socket, address) or 0) for address in addresses}
    except OSError as error:
        raise NamespaceError(f"The node's links cannot be read: {error}.") from error
    led_to = frozenset(peers.values())
    return Candidates(
        paths=tuple((path, nsid) for path, nsid in identified if nsid is not None and nsid in led_to),
        likely=likely,
        unreadable=tuple(unreadable),
        directories=tuple(directories),
    )


def find_pod_namespace(address: Address, directories: Sequence[Path] = DIRECTORIES) -> Path:
    """The namespace of this node's pod with `address`; call it in the node's own namespace. Raises NamespaceError."""
    found = candidates((address,), directories)
    unreadable: list[str] = []
    for path in found.ordered(address):
        try:
            if address in run_in_namespace(path, _addresses):
                return path
        except (NamespaceError, OSError) as error:
            unreadable.append(f"{path}: {error}")
    raise found.without(address, unreadable)


def run_in_namespace(path: Path, function: Callable[[], Result]) -> Result:
    """What `function` returns or raises, run in a thread of its own that enters the namespace and ends there.

    No other thread changes its namespace; sockets that the function opens stay in this one. Raises NamespaceError.
    """

    def run() -> Result:
        _enter(path)
        return function()

    return begin(run).result()


def _enter(path: Path) -> None:
    """setns(2) for the calling thread alone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NamespaceError(f"The network namespace {path} cannot be opened: {error.strerror}.") from error
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) != 0:
            reason = os.strerror(ctypes.get_errno())
            raise NamespaceError(f"The network namespace {path} cannot be entered: {reason}. It needs CAP_SYS_ADMIN.")
    finally:
        os.close(descriptor)


def _namespace_files(directories: Sequence[Path]) -> Iterator[Path]:
    """Each namespace once, by its inode: /var/run is mostly /run, and a namespace can have several names."""
    seen: set[tuple[int, int]] = set()
    for directory in directories:
        if not directory.is_dir():
            continue
        for path in sorted(directory.iterdir()):
            try:
                status = path.stat()
            except FileNotFoundError:
                # Pods come and go while we look.
                continue
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield path


def _nsid(socket: Any, path: Path, unreadable: list[str]) -> int | None:
    """The id that the current namespace has for that one; None where it has none, and so no link leads there."""
    try:
        with path.open("rb") as file:
            answer = socket.get_netnsid(fd=file.fileno())
    except FileNotFoundError:
        return None
    except (OSError, NetlinkError) as error:
        # A plain file, left where a namespace was mounted, is EINVAL.
        unreadable.append(f"{path}: {error}")
        return None
    return None if answer is None or answer["nsid"] in NOT_ASSIGNED else int(answer["nsid"])


def _routed_by(socket: Any, address: Address) -> int | None:
    """The index of the link that the node would send to `address` by; None where it has no route."""
    try:
        index = netlink.route_get(socket, {"dst": str(address)}, 0)["attrs"].get("RTA_OIF")
    except netlink.RefusedError:
        return None
    return None if index is None else int(index)


def _addresses() -> frozenset[Address]:
    """Every address of the current namespace's links."""
    with netlink.rtnetlink() as socket:
        attributes = [message["attrs"] for message in netlink.addresses(socket)]
    # IFA_ADDRESS is the peer's on a point-to-point link (linux/if_addr.h).
    texts = [own.get("IFA_LOCAL") or own.get("IFA_ADDRESS") for own in attributes]
    return frozenset(ip_address(text) for text in texts if text)
