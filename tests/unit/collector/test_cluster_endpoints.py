"""Who stands behind a service, by EndpointSlices of either version and by Endpoints."""

from ipaddress import ip_address
from typing import Any

import pytest
from small_cluster import CART, ORDERS, REDIS, SERVICE, WEB, endpoints_item, service_item

from pathtap.collector.cluster.api_object import InventoryError
from pathtap.collector.cluster.kube_objects import decode
from pathtap.model.inventory import Backend

HTTP = {"name": "http", "port": 8080, "protocol": "TCP"}
SIX = "2001:db8:1::41"


def endpoint(address: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions}


def slice_item(name: str, *endpoints: dict[str, Any], service: str = "web", family: str = "IPv4", **more: Any) -> Any:
    return {
        "apiVersion": "discovery.k8s.io/v1beta1",
        "kind": "EndpointSlice",
        "metadata": {"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": family,
        "endpoints": list(endpoints),
        "ports": more.get("ports", [HTTP]),
    }


def backends(*items: Any) -> list[str]:
    found = decode({"items": [service_item("shop/web", SERVICE, {"name": "http", "port": 80}), *items]})
    return [str(each.address) for each in found.services["shop/web"].backends]


def test_several_slices_make_one_service_of_both_families_each_endpoint_once() -> None:
    one = slice_item("web-b", endpoint(CART, ready=True), endpoint(WEB, ready=True))
    two = slice_item("web-a", endpoint(WEB, ready=True), endpoint(REDIS, ready=True))
    six = slice_item("web-c", endpoint(SIX, ready=True), family="IPv6")
    assert backends(one, six, two) == [WEB, REDIS, CART, SIX]


def test_a_backend_has_the_slices_port() -> None:
    item = slice_item("web-a", endpoint(CART), ports=[{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "any"}])
    found = decode({"items": [service_item("shop/web", SERVICE), item]}).services["shop/web"].backends
    assert found == (Backend(port_name="dns", protocol=17, address=ip_address(CART), port=53),)


def test_only_what_is_ready_or_does_not_say() -> None:
    item = slice_item(
        "web-a", endpoint(CART, ready=False), {"addresses": [WEB]}, endpoint(REDIS, ready=True, serving=True)
    )
    assert backends(item) == [WEB, REDIS]


def test_what_ends_and_still_serves_is_taken_where_nothing_is_ready() -> None:
    ending = endpoint(CART, ready=False, serving=True, terminating=True)
    gone = endpoint(ORDERS, ready=False, serving=False, terminating=True)
    neither = endpoint(REDIS, ready=False, serving=True)
    assert backends(slice_item("web-a", ending, gone, neither)) == [CART]
    assert backends(slice_item("web-a", ending, gone), slice_item("web-b", endpoint(WEB, ready=True))) == [WEB]


def test_slices_go_before_endpoints_which_are_cut_off_at_a_thousand() -> None:
    older = endpoints_item("shop/web", HTTP, ORDERS)
    assert backends(older) == [ORDERS]
    assert backends(older, slice_item("web-a", endpoint(CART))) == [CART]
    assert backends(older, slice_item("web-a")) == []


@pytest.mark.parametrize("item", [slice_item("x", endpoint(CART), service="other"), slice_item("x", family="FQDN")])
def test_what_is_for_somebody_else_or_has_names_for_addresses(item: Any) -> None:
    assert backends(item) == []


def test_a_slice_without_a_service_is_nobodys() -> None:
    orphan = slice_item("x", endpoint(CART))
    del orphan["metadata"]["labels"]
    assert backends(orphan) == []


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (slice_item("x", endpoint("nonsense")), "no IP address"),
        (slice_item("x", {"addresses": CART}), "`addresses` is no list"),
        (slice_item("x", endpoint(CART), ports=[{"port": 70_000}]), "no port number"),
        ({**slice_item("x"), "endpoints": {}}, "`endpoints` is no list"),
    ],
)
def test_a_malformed_slice_is_refused_with_its_reason(item: Any, reason: str) -> None:
    with pytest.raises(InventoryError, match=reason):
        decode({"items": [item]})
