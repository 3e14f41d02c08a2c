"""A node's place in the machine's cgroups, of either version: made, seen by the node as all there is, and removed again.

Called by a node's first process, but for `remove`. cgroup_namespaces(7): to who is in a namespace of cgroups its root is the
top, so that what a container runtime makes there is below the lab's.
"""

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
# linux/sched.h; Python 3.11 has no os.unshare.
_CLONE_NEWCGROUP = 0x02000000
_WAIT_SECONDS = 5.0
# Of a mount's options those that are no controller and no name.
_NEITHER = ("rw", "xattr", "clone_children", "release_agent=", "nsdelegate", "memory_", "favordynmods", "pids_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """A mount of cgroups: `root` is the part that it shows, `options` are the controllers of version 1, or its name."""

    mount: Path
    root: str
    version: int
    options: tuple[str, ...]


def hierarchies(mounts: str) -> tuple[Hierarchy, ...]:
    """Of /proc/self/mountinfo (proc_pid_mountinfo(5)), those below /sys/fs/cgroup."""
    found = {}
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        root, mount = before.split()[3:5]
        kind, _, options = after.split(" ", 2)
        if kind in ("cgroup", "cgroup2") and Path(mount).is_relative_to(_ROOT):
            known = tuple(each for each in options.split(",") if not each.startswith(_NEITHER))
            version = 2 if kind == "cgroup2" else 1
            found[mount] = Hierarchy(
                mount=Path(mount), root=root, version=version, options=known if version == 1 else ()
            )
    return tuple(found.values())


def own_path(hierarchy: Hierarchy, own: str) -> Path:
    """Where the process of which `own` is /proc/self/cgroup is, in that hierarchy."""
    for line in own.splitlines():
        number, controllers, path = line.split(":", 2)
        if (hierarchy.version == 2 and number == "0") or set(controllers.split(",")) == set(hierarchy.options):
            return hierarchy.mount / path.removeprefix(hierarchy.root).lstrip("/")
    return hierarchy.mount


def enter(prefix: str, node: str, known: tuple[Hierarchy, ...]) -> None:
    """Moves the calling process into cgroups of the node's, below its own, and makes them the top of all that it sees.

    In version 2 a cgroup with processes hands out nothing to those below it, so that there the node's is at the very top.
    """
    own = Path("/proc/self/cgroup").read_text()
    for hierarchy in known:
        alone = hierarchy.mount == _ROOT
        above = hierarchy.mount if alone else own_path(hierarchy, own)
        made = above / _name(prefix) / node
        _make(made)
        if alone:
            for each in (above, made.parent):
                _hand_out(each)
        _join(made)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWCGROUP) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWCGROUP)")


def make_room() -> None:
    """In version 2, once the node's own cgroups are mounted: nobody stays at their top, which then hands out what it has."""
    if (_ROOT / "cgroup.controllers").exists():
        (_ROOT / "init").mkdir()
        _join(_ROOT / "init")
        _hand_out(_ROOT)


def remove(prefix: str) -> None:
    """All of the lab's, whose processes must have ended; what the kernel is not done with yet is tried again."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while found := list(_found(prefix)):
        for top in found:
            for directory, _, _ in os.walk(top, topdown=False):
                with suppress(OSError):
                    Path(directory).rmdir()
        if time.monotonic() > deadline:
            return
        time.sleep(0.02)


def _name(prefix: str) -> str:
    return f"pathtap-{prefix}"


def _found(prefix: str) -> Iterator[Path]:
    for directory, below, _ in os.walk(_ROOT):
        if _name(prefix) in below:
            yield Path(directory, _name(prefix))
            below.remove(_name(prefix))


def _make(directory: Path) -> None:
    """In a version 1 cpuset nobody may live before it is said on which processors and in which memory."""
    for each in (directory.parent, directory):
        each.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            there = each / file
            if there.exists() and not there.read_text().strip() and (value := (each.parent / file).read_text().strip()):
                there.write_text(value)


def _hand_out(directory: Path) -> None:
    """What the machine, or a container that it is, does not give away is not had below."""
    for controller in (directory / "cgroup.controllers").read_text().split():
        with suppress(OSError):
            (directory / "cgroup.subtree_control").write_text(f"+{controller}")


def _join(directory: Path) -> None:
    # 0 is whoever writes it, in whatever namespace of processes.
    (directory / "cgroup.procs").write_text("0")
