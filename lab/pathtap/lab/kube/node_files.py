"""A node's own file system, made of mounts in a mount namespace of its own: they end with the node's last process.

What a node writes is in memory, above the machine's files, which it sees and never changes: /run, /etc, /opt and /var are its
own, and so are the settings of the kernel that a kubelet would change for the whole machine. Called by the node's first process.
"""

from collections.abc import Sequence
from pathlib import Path

from pathtap.lab.kernel import command
from pathtap.lab.kube.cgroups import Hierarchy

_DISK_BYTES = "4g"
# Written over by a kubelet (pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables), and the machine's.
_TUNABLES = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
_CGROUPS = Path("/sys/fs/cgroup")
_LAYERED = ("etc", "opt", "var")
# Not on a layered file system: containerd layers its images' files itself.
_PLAIN = ("/var/lib/containerd", "/var/lib/kubelet")


def make_own_files(shared: Path, cgroups: Sequence[Hierarchy]) -> None:
    """`shared` is the one directory below /run that the node has in common with the machine; `cgroups` are the machine's. The
    namespaces of mounts, processes, networks and cgroups must be the node's already.
    """
    # Names of other nodes' namespaces: held here, they would outlive their removal.
    if Path("/run/netns").is_dir():
        _detach(Path("/run/netns"))
    disk = shared / "disk"
    disk.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={_DISK_BYTES},mode=755", "pathtap", disk)
    for name in _LAYERED:
        upper, work = disk / name, disk / f".{name}"
        upper.mkdir()
        work.mkdir()
        _mount("-t", "overlay", "-o", f"lowerdir=/{name},upperdir={upper},workdir={work}", "pathtap", Path("/", name))
    for path in _PLAIN:
        own = disk / "plain" / Path(path).name
        own.mkdir(parents=True)
        Path(path).mkdir(parents=True, exist_ok=True)
        _mount("--bind", own, path)
    _keep_tunables(disk)
    _own_sys(cgroups)
    _own_run(disk, shared)
    # The kubelet and runc hand mounts on to containers that ask for them.
    _mount("--make-rshared", "/")


def _keep_tunables(disk: Path) -> None:
    """What is written there goes into a file of the node's."""
    for name in _TUNABLES:
        real = Path("/proc/sys", name)
        if real.exists():
            own = disk / "tunables" / name
            own.parent.mkdir(parents=True, exist_ok=True)
            own.write_text(real.read_text())
            _mount("--bind", own, real)


def _own_sys(cgroups: Sequence[Hierarchy]) -> None:
    """A /sys that shows the node's links, and of the machine's cgroups the node's."""
    _mount("-t", "sysfs", "pathtap", "/sys")
    if all(each.mount != _CGROUPS for each in cgroups):
        _mount("-t", "tmpfs", "-o", "mode=755", "pathtap", _CGROUPS)
    for each in cgroups:
        each.mount.mkdir(exist_ok=True)
        kind, options = ("cgroup2", ()) if each.version == 2 else ("cgroup", ("-o", ",".join(each.options)))
        _mount("-t", kind, *options, "pathtap", each.mount)
        for controller in each.options if len(each.options) > 1 else ():
            (_CGROUPS / controller).symlink_to(each.mount.name)


def _own_run(disk: Path, shared: Path) -> None:
    own = disk / "run"
    inside = own / shared.relative_to("/run")
    for directory in (inside, own / "netns", own / "lock"):
        directory.mkdir(parents=True)
    (own / "xtables.lock").touch()
    _mount("--bind", shared, inside)
    _mount("--rbind", own, "/run")


def _detach(path: Path) -> None:
    command(["umount", "--lazy", "--recursive", str(path)])


def _mount(*words: str | Path) -> None:
    command(["mount", *map(str, words)])
