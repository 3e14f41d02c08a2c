"""Pods' namespaces among those of several nodes with the same addresses, and threads that enter them."""

import os
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

import pytest
from three_namespaces import DESTINATION, DESTINATION6, SOURCE, Wires, wired

from pathtap.agent.namespaces import NamespaceError, find_pod_namespace, run_in_namespace
from pathtap.model.address import Address

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Wires, Wires]]:
    """Two nodes whose pods have the same addresses, as in two labs side by side."""
    with wired("ns1") as one, wired("ns2") as other:
        yield one, other


def test_each_node_finds_its_own_pod(nodes: tuple[Wires, Wires]) -> None:
    for node in nodes:
        assert node.on_node(lambda: find_pod_namespace(SOURCE)) == node.source
        assert node.on_node(lambda: find_pod_namespace(DESTINATION)) == node.destination
        assert node.on_node(lambda: find_pod_namespace(DESTINATION6)) == node.destination


@pytest.mark.parametrize("address", [SOURCE, DESTINATION, DESTINATION6])
def test_the_namespace_that_the_route_leads_to_is_entered_first(
    nodes: tuple[Wires, Wires], monkeypatch: pytest.MonkeyPatch, address: Address
) -> None:
    entered: list[Path] = []

    def enter(path: Path, function: Callable[[], Any]) -> Any:
        entered.append(path)
        return run_in_namespace(path, function)

    def find() -> Path:
        with monkeypatch.context() as patch:
            patch.setattr("pathtap.agent.namespaces.run_in_namespace", enter)
            return find_pod_namespace(address)

    assert [nodes[0].on_node(find)] == entered


def test_without_a_route_the_pod_is_found_all_the_same(nodes: tuple[Wires, Wires]) -> None:
    node = nodes[1]
    for verb in ("add", "del"):
        node.command(node.node, "ip", "rule", verb, "to", str(SOURCE), "unreachable")
        assert node.on_node(lambda: find_pod_namespace(SOURCE)) == node.source


def test_an_address_that_no_pod_has(nodes: tuple[Wires, Wires]) -> None:
    with pytest.raises(
        NamespaceError, match=r"None of the 2 network namespaces under /run/netns .* holds 10\.211\.9\.9\."
    ):
        nodes[0].on_node(lambda: find_pod_namespace(IPv4Address("10.211.9.9")))


def test_the_nodes_own_address_is_no_pods(nodes: tuple[Wires, Wires]) -> None:
    with pytest.raises(NamespaceError, match=r"holds 10\.211\.0\.1"):
        nodes[0].on_node(lambda: find_pod_namespace(IPv4Address("10.211.0.1")))


def test_a_file_that_is_no_namespace_is_named(nodes: tuple[Wires, Wires], tmp_path: Path) -> None:
    stale = tmp_path / "cni-1234"
    stale.touch()
    with pytest.raises(NamespaceError, match=rf"None of the 0 .* not readable: {stale}"):
        nodes[0].on_node(lambda: find_pod_namespace(SOURCE, (tmp_path, tmp_path / "absent")))


def test_only_the_short_lived_thread_changes_its_namespace(nodes: tuple[Wires, Wires]) -> None:
    def own() -> int:
        return os.stat("/proc/thread-self/ns/net").st_ino

    before = own()
    inside = run_in_namespace(nodes[0].source, own)
    assert inside == nodes[0].source.stat().st_ino
    assert inside != before
    assert own() == before


def test_what_the_function_raises_is_raised(nodes: tuple[Wires, Wires]) -> None:
    def broken() -> None:
        raise LookupError("inside")

    with pytest.raises(LookupError, match="inside"):
        run_in_namespace(nodes[0].source, broken)


def test_a_namespace_that_cannot_be_entered(tmp_path: Path) -> None:
    with pytest.raises(NamespaceError, match="cannot be opened: No such file or directory"):
        run_in_namespace(tmp_path / "absent", os.getpid)
    plain = tmp_path / "plain"
    plain.touch()
    with pytest.raises(NamespaceError, match="cannot be entered: Invalid argument"):
        run_in_namespace(plain, os.getpid)


def test_finding_leaves_no_descriptor_open(nodes: tuple[Wires, Wires]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        nodes[0].on_node(lambda: find_pod_namespace(ip_address(str(SOURCE))))
    assert len(os.listdir("/proc/self/fd")) == before
