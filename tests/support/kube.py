"""A real control plane for tests, started once for each process that asks, and ended with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pathtap.lab.kube.control_plane import ControlPlane, Where, assets


@contextmanager
def running_control_plane(directory: Path) -> Iterator[ControlPlane]:
    """etcd and kube-apiserver of KUBEBUILDER_ASSETS, on loopback; AssertionError where the variable is not set."""
    programs = assets()
    assert programs is not None, "KUBEBUILDER_ASSETS is not set"
    directory.mkdir(parents=True, exist_ok=True)
    control_plane = ControlPlane(Where(assets=programs, directory=directory))
    try:
        control_plane.start()
        yield control_plane
    finally:
        control_plane.close()
