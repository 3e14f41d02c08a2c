"""What the API prints becomes an inventory, and what it never printed becomes a sentence with the line it stands in."""

import copy
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from small_cluster import (
    CART,
    HOST_1,
    NODE_1,
    NODE_2,
    ORDERS,
    SERVICE,
    WEB,
    cluster,
    cluster_items,
    endpoints_item,
    inventory_of,
    node_item,
    pod_item,
    service_item,
)

from pathtap.collector.cluster.api_object import InventoryError
from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.inventory_file import InventoryFile, InventoryFileError, read
from pathtap.collector.cluster.kube_objects import decode
from pathtap.model.inventory import Backend, ServicePort

DOCUMENT: dict[str, Any] = {"apiVersion": "v1", "kind": "List", "items": cluster_items()}
HTTP = {"name": "http", "protocol": "TCP", "port": 80}


def test_pods_nodes_and_services_by_name() -> None:
    inventory = cluster()
    cart, web = inventory.pods["shop/cart"], inventory.services["shop/web"]
    assert (cart.namespace, cart.name, cart.node, cart.phase, cart.uid) == (
        "shop",
        "cart",
        NODE_1,
        "Running",
        "uid-cart",
    )
    assert cart.addresses == (ip_address(CART),)
    assert inventory.nodes[NODE_2].name == NODE_2
    assert web.ports == (ServicePort(name="http", protocol=6, port=80),)
    assert web.backends == tuple(
        Backend(port_name="http", protocol=6, address=ip_address(address), port=8080) for address in (WEB, ORDERS)
    )


def test_everything_by_address() -> None:
    inventory = cluster()
    pod, node, service = (
        inventory.pod_at(ip_address(CART)),
        inventory.node_at(ip_address(HOST_1)),
        inventory.service_at(ip_address(SERVICE)),
    )
    assert pod is inventory.pods["shop/cart"]
    assert node is inventory.nodes[NODE_1]
    assert service is inventory.services["shop/web"]
    assert inventory.pod_at(ip_address(SERVICE)) is None
    assert inventory.node_at(ip_address(CART)) is None


def test_pods_that_share_their_nodes_address_do_not_own_it() -> None:
    inventory = cluster()
    assert inventory.pods["kube-system/exporter-1"].host_network
    assert inventory.pods["kube-system/exporter-1"].addresses == (ip_address(HOST_1),)
    assert inventory.pod_at(ip_address(HOST_1)) is None


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
@pytest.mark.parametrize("first", [True, False])
def test_an_address_that_was_given_again_belongs_to_the_pod_that_runs(phase: str, first: bool) -> None:
    done, runs = pod_item("shop/job", NODE_1, CART, phase=phase), pod_item("shop/cart", NODE_1, CART)
    inventory = inventory_of(*((done, runs) if first else (runs, done)))
    assert inventory.pod_at(ip_address(CART)) is inventory.pods["shop/cart"]


@pytest.mark.parametrize("first", [True, False])
def test_a_pod_that_is_being_deleted_yields_to_the_next_holder_of_its_address(first: bool) -> None:
    leaves, comes = pod_item("shop/old", NODE_1, CART, deleting=True), pod_item("shop/cart", NODE_1, CART)
    inventory = inventory_of(*((leaves, comes) if first else (comes, leaves)))
    assert inventory.pods["shop/old"].deleting
    assert inventory.pod_at(ip_address(CART)) is inventory.pods["shop/cart"]
    alone = inventory_of(leaves)
    assert alone.pod_at(ip_address(CART)) is alone.pods["shop/old"]


def test_dual_stack_pods_have_all_their_addresses_once() -> None:
    inventory = inventory_of(pod_item("shop/both", NODE_1, CART, "2001:db8::41"))
    assert inventory.pods["shop/both"].addresses == (ip_address(CART), ip_address("2001:db8::41"))
    assert inventory.pod_at(ip_address("2001:db8:0::41")) is inventory.pods["shop/both"]


def test_a_pod_without_an_address_or_a_node_yet() -> None:
    pod = inventory_of(pod_item("shop/new", "", phase="Pending")).pods["shop/new"]
    assert (pod.addresses, pod.node, pod.phase) == ((), "", "Pending")


def test_endpoints_without_subsets_and_headless_services() -> None:
    inventory = inventory_of(
        service_item("shop/hollow", "10.100.0.30", HTTP),
        endpoints_item("shop/hollow", HTTP),
        service_item("shop/headless", "", HTTP),
        endpoints_item("shop/headless", HTTP, CART),
        service_item("shop/alone", "10.100.0.31", HTTP),
    )
    assert inventory.services["shop/hollow"].backends == ()
    assert inventory.services["shop/headless"].cluster_addresses == ()
    assert len(inventory.services["shop/headless"].backends) == 1
    assert inventory.services["shop/alone"].backends == ()


def test_endpoints_that_are_not_ready_or_have_no_ports_are_no_backends() -> None:
    endpoints = endpoints_item("shop/web", HTTP, CART)
    endpoints["subsets"] = [
        {"notReadyAddresses": [{"ip": CART}], "ports": [HTTP]},
        {"addresses": [{"ip": WEB}], "ports": None},
    ]
    assert inventory_of(service_item("shop/web", SERVICE, HTTP), endpoints).services["shop/web"].backends == ()


def test_protocols_and_node_ports() -> None:
    ports = ({"port": 53, "protocol": "UDP", "nodePort": 30053}, {"port": 38412, "protocol": "SCTP"}, {"port": 80})
    service = inventory_of(service_item("kube-system/dns", SERVICE, *ports)).services["kube-system/dns"]
    assert [(p.protocol, p.port, p.node_port) for p in service.ports] == [(17, 53, 30053), (132, 38412, 0), (6, 80, 0)]


def test_a_nodes_own_address_comes_before_the_one_that_the_internet_knows() -> None:
    node = node_item(NODE_1)
    node["status"]["addresses"] = [
        {"type": "Hostname", "address": NODE_1},
        {"type": "ExternalIP", "address": "203.0.113.9"},
        {"type": "InternalIP", "address": HOST_1},
    ]
    inventory = inventory_of(node)
    assert inventory.nodes[NODE_1].addresses == (ip_address(HOST_1), ip_address("203.0.113.9"))
    assert inventory.node_at(ip_address("203.0.113.9")) is inventory.nodes[NODE_1]


def test_other_kinds_are_passed_over() -> None:
    other = {"kind": "ConfigMap", "metadata": {"name": "x", "namespace": "shop"}, "data": 7}
    assert inventory_of(other) == Inventory()


@pytest.mark.parametrize(
    ("document", "path", "said"),
    [
        (None, (), "no `items`"),
        ([], (), "no `items`"),
        ({"items": {}}, (), "no `items`"),
        ({"items": [7]}, ("items", 0), "kind"),
        ({"items": [{"kind": "Pod", "metadata": {"name": 7}}]}, ("items", 0), "metadata.name"),
        ({"items": [{"kind": "Pod", "metadata": {"name": "a"}}]}, ("items", 0, "metadata"), "no namespace"),
    ],
)
def test_documents_that_are_no_inventory(document: object, path: tuple[str | int, ...], said: str) -> None:
    with pytest.raises(InventoryError) as caught:
        decode(document)
    assert caught.value.path == path
    assert said in caught.value.reason


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("Pod", lambda item: item["status"].update(podIP="1.2.3"), "'1.2.3' is no IP address"),
        ("Pod", lambda item: item["status"].update(podIPs=[CART]), "an entry of `podIPs` is no object"),
        ("Pod", lambda item: item.update(spec="x"), "`spec` is no object"),
        ("Node", lambda item: item["status"].update(addresses="x"), "`addresses` is no list"),
        ("Service", lambda item: item["spec"].update(ports=[{}]), "None is no port number"),
        ("Service", lambda item: item["spec"].update(ports=[{"port": 70_000}]), "70000 is no port number"),
        ("Service", lambda item: item["spec"].update(ports=[{"port": 1, "protocol": "TPC"}]), "'TPC' is no protocol"),
        ("Endpoints", lambda item: item.update(subsets=[{"addresses": [{}], "ports": [HTTP]}]), "None is no IP"),
    ],
)
def test_fields_that_no_api_prints(kind: str, change: Callable[[Any], None], said: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    at = next(at for at, item in enumerate(document["items"]) if item["kind"] == kind)
    change(document["items"][at])
    with pytest.raises(InventoryError) as caught:
        decode(document)
    assert said in caught.value.reason
    assert caught.value.path[:2] == ("items", at)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _places(child, (*path, key))


PLACES = list(_places(DOCUMENT))[1:]
JUNK: st.SearchStrategy[object] = st.sampled_from(
    [None, True, -1, 70_000, 1.5, "", "None", "x", "::", [], [[]], [7], {}, {"ip": "x"}, {"kind": "Pod"}]
)


@given(place=st.sampled_from(PLACES), junk=JUNK)
def test_whatever_stands_anywhere_is_taken_or_refused_by_a_sentence(place: tuple[Any, ...], junk: object) -> None:
    document = copy.deepcopy(DOCUMENT)
    parent: Any = document
    for step in place[:-1]:
        parent = parent[step]
    parent[place[-1]] = junk
    with suppress(InventoryError):
        assert isinstance(decode(document), Inventory)


# The file.


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "inventory"


@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump, lambda document: json.dumps(document, indent=4)])
def test_json_and_yaml_say_the_same(path: Path, write: Callable[[object], str]) -> None:
    path.write_text(write(DOCUMENT))
    assert read(path) == cluster()


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('{\n "items": [\n  {"kind": "Pod"},\n ]\n}', 4, ""),
        (
            '{"items": [\n{"kind": "Node", "metadata": {"name": "a"}},\n{"kind": "Pod", "metadata": {}}]}',
            3,
            "metadata.name",
        ),
        ("items:\n- kind: Pod\n  metadata: {name: a, namespace: b}\n  status:\n    podIP: 1.2.3\n", 5, "1.2.3"),
        ("items:\n- kind: Pod\n  metadata: {name: a, namespace: b}\n  spec: 7\n", 4, "spec"),
        ("items: [1,\nb", 2, ""),
        ("a: 1\n", 1, "no `items`"),
        ("a: 1\n---\nb: 1\n", 2, "document"),
        ("", 1, "no `items`"),
    ],
)
def test_the_line_and_the_reason(path: Path, text: str, line: int, said: str) -> None:
    path.write_text(text)
    with pytest.raises(InventoryFileError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe",
        b"items: [2024-13-45]",
        b"[" * 100_000,
        b"items: [&a [*a]]",
        b"\x00",
        b"items:\n- kind: Pod\n  metadata: !!python/object:os.system {}",
    ],
)
def test_no_file_ends_in_a_traceback(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(InventoryFileError, match="inventory"):
        read(path)


def test_a_file_that_is_not_there(path: Path) -> None:
    with pytest.raises(InventoryFileError, match="No such file"):
        InventoryFile(path)


def _replace(path: Path, document: object) -> None:
    """As `kubectl … > new && mv new inventory` does."""
    new = path.with_suffix(".new")
    new.write_text(document if isinstance(document, str) else json.dumps(document))
    os.replace(new, path)


def test_it_is_read_again_when_it_has_changed_and_only_then(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _replace(path, DOCUMENT)
    file = InventoryFile(path)
    first = file.current()
    assert file.current() is first
    _replace(path, {"items": []})
    assert file.current() == Inventory()


def test_a_change_for_the_worse_keeps_what_was_good_and_says_so_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _replace(path, DOCUMENT)
    file = InventoryFile(path)
    good, written = file.current(), path.stat().st_mtime_ns
    _replace(path, "items: [")
    with caplog.at_level(logging.WARNING):
        kept = file.current()
        assert file.current() is kept
    assert (kept.pods, kept.nodes, kept.services) == (good.pods, good.nodes, good.services)
    assert kept.stale is not None
    assert (good.stale, kept.stale.since) == (None, written)
    assert len(caplog.records) == 1
    assert "the former inventory stays in use" in caplog.text
    path.unlink()
    assert file.current().pods is good.pods
    _replace(path, {"items": [pod_item("shop/new", NODE_1, CART)]})
    assert (set(file.current().pods), file.current().stale) == ({"shop/new"}, None)


def test_what_is_written_while_it_is_read_is_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _replace(path, DOCUMENT)
    read_text = Path.read_text

    def read_and_be_late(self: Path, *arguments: Any, **options: Any) -> str:
        text = read_text(self, *arguments, **options)
        monkeypatch.undo()
        _replace(path, {"items": []})
        return text

    monkeypatch.setattr(Path, "read_text", read_and_be_late)
    file = InventoryFile(path)
    assert file.current() == Inventory()
