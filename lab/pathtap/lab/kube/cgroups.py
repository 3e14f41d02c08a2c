"""A node's place in the machine's cgroups, of either version: made, and removed wherever it is found."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_WAIT_SECONDS = 5.0


def enter(prefix: str, node: str) -> None:
    """Moves the calling process into cgroups of the lab's: in version 1 below its own, one in each hierarchy.

    In version 2 a cgroup with processes hands out no resources to those below it, so that the lab's is at the top, and the
    caller in a leaf of the node's: runc puts containers beside that.
    """
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, own = line.split(":", 2)
        if number == "0":
            if (_ROOT / "cgroup.controllers").exists():
                _join(_ROOT / _name(prefix) / node / "node")
            continue
        hierarchy = _ROOT / controllers.removeprefix("name=")
        if hierarchy.is_dir():
            made = hierarchy / own.lstrip("/") / _name(prefix) / node
            _make(made)
            _join(made)


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
        each.mkdir(parents=True, exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (each / file).exists() and not (each / file).read_text().strip():
                (each / file).write_text((each.parent / file).read_text())


def _join(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    # 0 is whoever writes it, in whatever namespace of processes.
    (directory / "cgroup.procs").write_text("0")
