"""Starts a real Kubernetes in a lab that was built for it: the control plane, the way to it, and every node.

Knows the order of the steps. What runs is ended, and its files are removed, by `pathtap.lab.build.tear_down`.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pathtap.lab.build import tear_down
from pathtap.lab.cluster import Cluster, Node
from pathtap.lab.errors import LabError
from pathtap.lab.kernel import MARK, NETNS, command
from pathtap.lab.kube.control_network import ADDRESS, PORT, attach
from pathtap.lab.kube.control_plane import ControlPlane, Where, free_port
from pathtap.lab.kube.images import build_lab_image
from pathtap.lab.kube.names import CONTAINERD, MANAGEMENT, NODE_PROCESS, control_directory
from pathtap.lab.kube.node_config import CONTAINERD_SOCKET, kubelet_config
from pathtap.lab.processes import start_ready
from pathtap.lab.procfs import roles
from pathtap.lab.state import StateDirectory

_START_SECONDS, _LOAD_SECONDS, _READY_SECONDS, _POLL_SECONDS = 60.0, 180.0, 120.0, 0.5
# What a node is in besides its network: it ends with its first process, and its mounts with it.
_OWN = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc")


def start(cluster: Cluster, assets: Path, images: Sequence[Path] = (), say: Callable[[str], None] = print) -> None:
    """Returns when every node is Ready and has `images`, which are files as `docker save` and `buildah push` write them.

    `assets` are the programs of Kubernetes, in the layout of envtest's KUBEBUILDER_ASSETS. `say` is told of each step.
    LabError names the log of what failed; what was started then still runs.
    """
    directory = StateDirectory(cluster.options.prefix)
    with directory.locked():
        directory.load()
        began = time.monotonic()
        control_plane = _start_control_plane(directory, cluster, assets)
        try:
            say(f"The control plane answers after {time.monotonic() - began:.1f} s.")
            archives = [build_lab_image(directory.kube), *images]
            for node in cluster.nodes:
                _write_node(directory, control_plane, node)
                _start_node(directory, node, assets)
            for node in cluster.nodes:
                load(directory, node.name, archives)
            _until_ready(control_plane, [node.name for node in cluster.nodes])
            say(f"{len(cluster.nodes)} nodes are Ready after {time.monotonic() - began:.1f} s.")
        finally:
            control_plane.leave()


def start_or_take_away(cluster: Cluster, assets: Path, images: Sequence[Path], say: Callable[[str], None]) -> None:
    """`start`; where anything fails, or a person ends it, nothing of the lab is left."""
    try:
        start(cluster, assets, images, say)
    except BaseException:
        tear_down(cluster.options.prefix)
        raise


def load(directory: StateDirectory, node: str, images: Sequence[Path]) -> None:
    """Imports images into a node's containerd, which is reached by its socket in the node's own file system."""
    pid = roles(directory.prefix).get(f"{CONTAINERD}-{node}")
    if pid is None:
        raise LabError(f"No containerd runs on {node}: `pathtap lab status` shows what does.")
    address = f"/proc/{pid}/root{CONTAINERD_SOCKET}"
    for image in images:
        command(
            ["ctr", "--address", address, "--namespace", "k8s.io", "images", "import", str(image)],
            timeout=_LOAD_SECONDS,
        )


def _start_control_plane(directory: StateDirectory, cluster: Cluster, assets: Path) -> ControlPlane:
    attach(cluster)
    control_directory(directory).mkdir(parents=True)
    here = free_port()
    words = ["-m", "pathtap.lab.kube.relay", cluster.control_namespace, str(ADDRESS), str(PORT), str(here)]
    start_ready(directory, MANAGEMENT, words)
    control_plane = ControlPlane(
        Where(
            assets=assets,
            directory=control_directory(directory),
            address=str(ADDRESS),
            enter=("nsenter", f"--net={NETNS / cluster.control_namespace}"),
            port=PORT,
            reached_at=f"https://127.0.0.1:{here}",
            environment={MARK: directory.prefix},
        )
    )
    control_plane.with_controllers()
    control_plane.start()
    return control_plane


def _write_node(directory: StateDirectory, control_plane: ControlPlane, node: Node) -> None:
    files = directory.kube_node(node.name)
    files.mkdir(parents=True)
    authority = files / "ca.crt"
    authority.write_bytes(control_plane.ca)
    kubelet = control_plane.authority.client(f"system:node:{node.name}", ("system:nodes",))
    proxy = control_plane.authority.client("system:kube-proxy")
    for name, pair in (("kubelet", kubelet), ("kube-proxy", proxy)):
        made = control_plane.kubeconfig(f"{name}-{node.name}", pair=pair, inside=True)
        made.rename(files / f"{name}.kubeconfig")
    directory.write(files / "kubelet.json", kubelet_config(node, authority))


def _start_node(directory: StateDirectory, node: Node, assets: Path) -> None:
    # `ip netns exec` would make mounts of its own, and hide the machine's cgroups.
    enter = ("nsenter", f"--net={NETNS / node.network_namespace}", *_OWN)
    words = ["-m", "pathtap.lab.kube.node", directory.prefix, node.name, str(assets)]
    start_ready(directory, NODE_PROCESS + node.name, words, enter=enter, timeout=_START_SECONDS)


def _until_ready(control_plane: ControlPlane, nodes: Sequence[str]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        found = json.loads(control_plane.kubectl("get", "nodes", "--output=json"))["items"]
        conditions = {each["metadata"]["name"]: _ready(each) for each in found}
        late = [name for name in nodes if conditions.get(name, ("", "it has not registered"))[0] != "True"]
        if not late:
            return
        if time.monotonic() > deadline:
            why = conditions.get(late[0], ("", "its kubelet has not registered"))[1]
            raise LabError(f"The node {late[0]} was not Ready within {_READY_SECONDS:g} s: {why}.")
        time.sleep(_POLL_SECONDS)


def _ready(node: Mapping[str, Any]) -> tuple[str, str]:
    """The status of its condition Ready, and what is said of it."""
    for condition in node["status"].get("conditions", ()):
        if condition["type"] == "Ready":
            return condition["status"], condition["message"]
    return "", "it says nothing of its condition"
