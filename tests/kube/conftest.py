"""Tests against a real Kubernetes. Without its programs they are skipped, each with the reason; where PATHTAP_KUBE_REQUIRED
is set, they fail instead."""

import os
from collections.abc import Iterator

import pytest
from kube import running_control_plane

from pathtap.lab.kube.control_plane import ASSETS, ControlPlane, assets

REQUIRED = "PATHTAP_KUBE_REQUIRED"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They come last: their control plane stays until the end, and is no company for tests that measure."""
    items.sort(key=lambda item: item.get_closest_marker("kube") is not None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("kube") is None or assets() is not None:
        return
    why = f"{ASSETS} does not say where kube-apiserver, etcd and the others are (setup-envtest use -p path)"
    if os.environ.get(REQUIRED):
        pytest.fail(why, pytrace=False)
    pytest.skip(why)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One for all tests, which therefore use namespaces and names of their own; who stops its programs starts an own one."""
    with running_control_plane(tmp_path_factory.mktemp("control-plane")) as running:
        yield running
