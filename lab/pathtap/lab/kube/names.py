"""What the processes and files of a lab's Kubernetes are called. Starts nothing, and needs no library."""

from pathlib import Path

from pathtap.lab.state import StateDirectory

# What carries the machine's connections to the API server.
MANAGEMENT = "management"
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
# On each node; the name of its process is SERVICE-NODE, that of the first process of all NODE-PROCESS + NODE.
CONTAINERD, KUBELET, KUBE_PROXY = SERVICES = ("containerd", "kubelet", "kube-proxy")
NODE_PROCESS = "node-"


def control_directory(directory: StateDirectory) -> Path:
    return directory.kube / "control"


def admin_kubeconfig(prefix: str) -> Path:
    """Of who may do everything in that lab, for kubectl and pathtap on this machine."""
    return control_directory(StateDirectory(prefix)) / "admin.kubeconfig"
