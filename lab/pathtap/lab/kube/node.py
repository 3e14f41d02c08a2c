"""A node's first process: `python -m pathtap.lab.kube.node LAB NODE ASSETS`, in namespaces of the node's own.

Makes the node's file system, starts containerd, the kubelet and kube-proxy, starts again what ends, and reaps who is left
behind. Writes a byte to standard output once containerd listens and the others are started. With it the kernel ends every
process of the node.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pathtap.lab.build import find
from pathtap.lab.cluster import Node
from pathtap.lab.cni_config import FILE, cni_config
from pathtap.lab.errors import LabError
from pathtap.lab.kernel import command
from pathtap.lab.kube import cgroups
from pathtap.lab.kube.names import CONTAINERD, KUBE_PROXY, KUBELET
from pathtap.lab.kube.node_config import (
    CNI_CONFIG,
    CNI_PROGRAMS,
    CONTAINERD_SOCKET,
    Programs,
    containerd_command,
    containerd_config,
    kube_proxy_command,
    kubelet_command,
    plugin_scripts,
)
from pathtap.lab.kube.node_files import make_own_files
from pathtap.lab.kube.pool import pool_of
from pathtap.lab.options import LabOptions
from pathtap.lab.procfs import ROLE
from pathtap.lab.state import StateDirectory

# Of the standard CNI plugins: what every runtime needs, and what the CNI's configuration chains to its own.
_STANDARD_PLUGINS = ("loopback", "portmap")
# Debian's, and everybody else's.
_PLUGIN_DIRECTORIES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
_CONTAINERD_SECONDS = 60.0
_AGAIN_SECONDS = 1.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A program that is started again when it ends, its output in a log of the node's directory."""

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str]

    def start(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(self.environment)
            )


def services(programs: Programs, node: Node) -> tuple[Service, ...]:
    """containerd first."""
    commands = {
        CONTAINERD: containerd_command(programs.files / "containerd.toml"),
        KUBELET: kubelet_command(programs, node),
        KUBE_PROXY: kube_proxy_command(programs, node),
    }
    own = {"PATH": f"{_tools(programs.files)}:{os.environ['PATH']}"}
    return tuple(
        Service(
            name=name,
            command=argv,
            log=programs.files / f"{name}.log",
            environment={**os.environ, **own, ROLE: f"{name}-{node.name}"},
        )
        for name, argv in commands.items()
    )


def _tools(files: Path) -> Path:
    return files / "tools"


def write_files(programs: Programs, options: LabOptions, node: Node) -> None:
    """Inside the node's file system: what the CNI's installer and a node's image would have brought."""
    (programs.files / "containerd.toml").write_text(containerd_config())
    _link_iptables(options, _tools(programs.files))
    Path(CNI_CONFIG).mkdir(parents=True, exist_ok=True)
    StateDirectory(options.prefix).write(Path(CNI_CONFIG, FILE), cni_config(options, node))
    into = Path(CNI_PROGRAMS)
    into.mkdir(parents=True, exist_ok=True)
    pool = pool_of(StateDirectory(options.prefix), node).file
    for name, script in plugin_scripts(sys.executable, asdict(options), node, pool).items():
        (into / name).write_text(script)
        (into / name).chmod(0o755)
    for name in _STANDARD_PLUGINS:
        found = next((each / name for each in _PLUGIN_DIRECTORIES if (each / name).exists()), None)
        if found is None:
            raise LabError(f"The CNI plugin {name} is missing: install containernetworking-plugins.")
        if found.parent != into:
            (into / name).symlink_to(found)


def _link_iptables(options: LabOptions, tools: Path) -> None:
    """What kube-proxy and the kubelet find by these names is the one that writes the node's rules."""
    tools.mkdir(exist_ok=True)
    for program in ("iptables", "ip6tables"):
        for suffix in ("", "-save", "-restore"):
            real = command(["sh", "-c", f"command -v {program}-{options.backend}{suffix}"]).strip()
            (tools / f"{program}{suffix}").unlink(missing_ok=True)
            (tools / f"{program}{suffix}").symlink_to(real)


def run(all_services: Sequence[Service]) -> None:
    """Until it is told to end. The others are started when the first, containerd, listens."""
    running = {all_services[0].start(): all_services[0]}
    deadline = time.monotonic() + _CONTAINERD_SECONDS
    while not Path(CONTAINERD_SOCKET).exists():
        if time.monotonic() > deadline or any(process.poll() is not None for process in running):
            raise LabError(f"containerd was not ready within {_CONTAINERD_SECONDS:g} s.")
        time.sleep(_POLL_SECONDS)
    running |= {service.start(): service for service in all_services[1:]}
    os.write(sys.stdout.fileno(), b"\n")
    while True:
        ended = _next_ended(running)
        if ended is not None:
            time.sleep(_AGAIN_SECONDS)
            running[ended.start()] = ended


def _next_ended(running: "dict[subprocess.Popen[bytes], Service]") -> Service | None:
    """Waits for whoever ends, and says which service it was; None where it was a process left behind."""
    pid, status = os.wait()
    for process, service in running.items():
        if process.pid == pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            del running[process]
            sys.stderr.write(f"{service.name} ended with {process.returncode}\n")
            sys.stderr.flush()
            return service
    return None


def main(prefix: str, name: str, assets: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    options = find(prefix).options
    node = next(node for node in find(prefix).nodes if node.name == name)
    files = StateDirectory(prefix).kube_node(name)
    programs = Programs(assets=Path(assets), version=_version(Path(assets)), files=files)
    known = cgroups.hierarchies(Path("/proc/self/mountinfo").read_text())
    cgroups.enter(prefix, name, known)
    make_own_files(files, known)
    cgroups.make_room()
    write_files(programs, options, node)
    run(services(programs, node))


def _version(assets: Path) -> tuple[int, int]:
    told = command([str(assets / "kubelet"), "--version"])
    found = re.search(r"v(\d+)\.(\d+)", told)
    if found is None:
        raise LabError(f"{assets / 'kubelet'} does not tell its version, but {told.strip()!r}.")
    return int(found[1]), int(found[2])


if __name__ == "__main__":
    main(*sys.argv[1:])
