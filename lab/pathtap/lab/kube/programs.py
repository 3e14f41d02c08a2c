"""Finds the programs that a real Kubernetes takes, before anything is built with them."""

import shutil
from pathlib import Path

from pathtap.lab.errors import LabError

ASSETS = "KUBEBUILDER_ASSETS"
_PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "kubectl",
)
# By the Debian package that brings each.
_INSTALLED = {"containerd": "containerd", "ctr": "containerd", "runc": "runc", "cc": "gcc and libc6-dev"}


def find_programs(assets: str) -> Path:
    """`assets` is the value of `ASSETS`, envtest's variable: a directory. LabError names what is missing."""
    if not assets:
        raise LabError(f"{ASSETS} does not say in which directory kube-apiserver, kubelet and the others are.")
    directory = Path(assets)
    missing = [name for name in _PROGRAMS if not (directory / name).exists()]
    if missing:
        raise LabError(f"{ASSETS}, {directory}, has no {', '.join(missing)}.")
    for program, package in _INSTALLED.items():
        if shutil.which(program) is None:
            raise LabError(f"The program {program} is missing: install {package}.")
    return directory.absolute()
