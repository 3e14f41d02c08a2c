"""What a node's containerd, kubelet and kube-proxy are told. Pure; writes no file, starts nothing.

A node has a file system and processes of its own (`pathtap.lab.kube.node_files`), so that paths are those of a real one.
"""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pathtap.lab.cluster import Node
from pathtap.lab.kube.images import LAB_IMAGE
from pathtap.lab.metadata import ZONE, instance_id

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
CNI_PROGRAMS = "/opt/cni/bin"
CNI_CONFIG = "/etc/cni/net.d"
KUBELET_ROOT = "/var/lib/kubelet"
# From here on containerd is the only runtime, and this option of the kubelet is refused: Kubernetes v1.27.
_REMOTE_IS_ALL = (1, 27)

# pkg/kubelet/eviction/api, the signals that a kubelet acts on by itself.
_PRESSURES = ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree")


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """`assets` holds the kubelet and kube-proxy, of `version`; `files` is the node's directory of the lab."""

    assets: Path
    version: tuple[int, int]
    files: Path


def containerd_config() -> str:
    """TOML, of version 2: containerd 1.4 to 2.x. What is not told is containerd's default."""
    return f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{LAB_IMAGE}"
# A machine that is itself a container may not raise a process's rank with the killer of processes.
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_PROGRAMS}"
conf_dir = "{CNI_CONFIG}"
max_conf_num = 1
"""


def kubelet_config(node: Node, authority: Path) -> dict[str, Any]:
    """KubeletConfiguration kubelet.config.k8s.io/v1beta1. `authority` is the file of the cluster's CA."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "0.0.0.0",  # noqa: S104 - of the node's namespace
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "Webhook"},
        # Pods' cgroups stay below the node's own, which the lab removes.
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        # The machine's memory and disk are shared with others, whose pressure is not this node's: 0% means never.
        "evictionHard": dict.fromkeys(_PRESSURES, "0%"),
        "imageGCHighThresholdPercent": 100,
        "maxPods": sum(network.num_addresses for eni in node.enis for network in eni.delegated) + 2,
        "readOnlyPort": 0,
        "resolvConf": "",
        "volumePluginDir": f"{KUBELET_ROOT}/volumeplugins",
    }


def containerd_command(config: Path) -> list[str]:
    return ["containerd", "--config", str(config)]


def kubelet_command(programs: Programs, node: Node) -> list[str]:
    remote = ["--container-runtime=remote"] if programs.version < _REMOTE_IS_ALL else []
    return [
        str(programs.assets / "kubelet"),
        f"--config={programs.files / 'kubelet.json'}",
        f"--kubeconfig={programs.files / 'kubelet.kubeconfig'}",
        f"--container-runtime-endpoint=unix://{CONTAINERD_SOCKET}",
        *remote,
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
        f"--node-labels=topology.kubernetes.io/zone={ZONE}",
        f"--provider-id=aws:///{ZONE}/{instance_id(node)}",
        f"--root-dir={KUBELET_ROOT}",
    ]


def kube_proxy_command(programs: Programs, node: Node) -> list[str]:
    return [
        str(programs.assets / "kube-proxy"),
        f"--kubeconfig={programs.files / 'kube-proxy.kubeconfig'}",
        f"--hostname-override={node.name}",
        "--proxy-mode=iptables",
        # The machine's limit of connections is not a node's to set.
        "--conntrack-max-per-core=0",
        "--oom-score-adj=0",
    ]


def plugin_scripts(python: str, options: object, node: Node, pool: Path) -> dict[str, str]:
    """The programs of /opt/cni/bin that are the lab's, by name; `options` are the lab's, as JSON has them."""
    words = {
        "aws-cni": ["pathtap.lab.kube.cni", json.dumps(options), node.name, str(pool)],
        "egress-cni": ["pathtap.lab.kube.egress_cni"],
    }
    return {
        name: "#!/bin/sh\nexec " + shlex.join([python, "-P", "-m", *arguments]) + "\n"
        for name, arguments in words.items()
    }
