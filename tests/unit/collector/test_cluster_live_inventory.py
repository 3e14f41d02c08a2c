"""An inventory from four kinds that are followed apart: what is made anew, what stays, and since when it is old."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest
from small_cluster import CART, HOST_1, NODE_1, REDIS, SERVICE, WEB, node_item, pod_item, service_item

from pathtap.collector.cluster.api import Api
from pathtap.collector.cluster.endpoints import slice_of
from pathtap.collector.cluster.following import NODES, PODS, SERVICES
from pathtap.collector.cluster.inventory import Inventory, InventoryUnread, Staleness, inventory_gaps
from pathtap.collector.cluster.live_inventory import LiveInventory
from pathtap.collector.cluster.reflection import Form

SLICES = Form(kind="EndpointSlice", path="", decode=slice_of)
SECOND = 1_000_000_000


class Unasked(Api):
    """Nobody asks it: these tests tell what came themselves."""

    def __init__(self) -> None:
        pass


def slice_item(name: str, service: str, *addresses: str) -> dict[str, Any]:
    return {
        "kind": "EndpointSlice",
        "metadata": {"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]} for address in addresses],
        "ports": [{"port": 80}],
    }


def page(items: Iterable[Any]) -> dict[str, Any]:
    return {"items": list(items), "metadata": {"resourceVersion": "1"}}


def two_services(*slices: Any) -> LiveInventory:
    live = LiveInventory(Unasked(), lambda: 0)
    services = (service_item("shop/web", SERVICE, {"port": 80}), service_item("shop/api", "10.100.0.21", {"port": 80}))
    live._pods.listed(page([pod_item("shop/cart", NODE_1, CART)]), PODS, 10 * SECOND)
    live._nodes.listed(page([node_item(NODE_1, HOST_1)]), NODES, 11 * SECOND)
    live._services.listed(page(services), SERVICES, 12 * SECOND)
    live._endpoints.listed(page(slices), SLICES, 13 * SECOND)
    return live


def backends(inventory: Inventory) -> dict[str, list[str]]:
    return {key.partition("/")[2]: [str(b.address) for b in each.backends] for key, each in inventory.services.items()}


def tell(live: LiveInventory, kind: str, item: Any) -> None:
    reflections: dict[str, tuple[Any, Form[Any]]] = {
        "EndpointSlice": (live._endpoints, SLICES),
        "Service": (live._services, SERVICES),
        "Pod": (live._pods, PODS),
    }
    reflection, form = reflections[item["kind"]]
    reflection.event({"type": kind, "object": item}, form, 20 * SECOND)


def test_nothing_is_answered_before_every_kind_was_read() -> None:
    live = LiveInventory(Unasked(), lambda: 0)
    with pytest.raises(InventoryUnread, match="yet: it is being read"):
        live.current()
    live._pods.listed(page([]), PODS, 1)
    live._services.failed(403, "services is forbidden")
    with pytest.raises(InventoryUnread, match="yet: services is forbidden"):
        live.current()


def test_what_has_not_changed_is_the_same_inventory() -> None:
    live = two_services()
    first = live.current()
    assert live.current() is first
    tell(live, "MODIFIED", pod_item("shop/cart", NODE_1, CART))
    assert live.current() is first
    tell(live, "ADDED", pod_item("shop/redis", NODE_1, REDIS))
    second = live.current()
    assert (set(first.pods), set(second.pods)) == ({"shop/cart"}, {"shop/cart", "shop/redis"})
    assert second.services is first.services


def test_slices_come_move_to_another_service_and_go() -> None:
    live = two_services(slice_item("one", "web", CART), slice_item("two", "web", WEB))
    first = live.current()
    assert backends(first) == {"web": [CART, WEB], "api": []}
    tell(live, "MODIFIED", slice_item("two", "api", WEB))
    assert backends(live.current()) == {"web": [CART], "api": [WEB]}
    tell(live, "DELETED", slice_item("one", "web"))
    assert backends(live.current()) == {"web": [], "api": [WEB]}
    assert backends(first) == {"web": [CART, WEB], "api": []}
    # Of services that come and go nothing stays.
    assert set(live._by_service) == {"shop/api"}


def test_a_service_that_comes_after_its_slices_has_them_and_takes_none_along() -> None:
    live = two_services(slice_item("one", "web", CART), slice_item("late", "late", REDIS))
    live.current()
    late = service_item("shop/late", "10.100.0.30", {"port": 80})
    tell(live, "ADDED", late)
    assert backends(live.current())["late"] == [REDIS]
    tell(live, "DELETED", late)
    assert "late" not in backends(live.current())
    tell(live, "ADDED", late)
    assert backends(live.current())["late"] == [REDIS]


def test_the_oldest_kind_says_since_when_it_is_old() -> None:
    live = two_services()
    fresh = live.current()
    assert (fresh.stale, inventory_gaps(fresh)) == (None, ())
    live._services.failed(0, "no answer")
    live._nodes.failed(0, "none here either")
    old = live.current()
    assert old.stale == Staleness(since=11 * SECOND, why="none here either")
    assert old.pods is fresh.pods
    assert live.current() is old
    (gap,) = inventory_gaps(old)
    assert gap.why == "it is as of 1970-01-01 00:00:11Z, and what has changed since is not known: none here either"
    live._nodes.opened(30 * SECOND)
    assert live.current().stale == Staleness(since=12 * SECOND, why="no answer")
    live._services.opened(31 * SECOND)
    assert live.current().stale is None


def test_what_has_changed_is_not_gathered_while_nobody_asks() -> None:
    async def telling(live: LiveInventory) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(live._tell(), 0.01)

    live = two_services(slice_item("one", "web", CART))
    asyncio.run(telling(live))
    assert [each.changed for each in live._all()] == [set()] * 4
    assert backends(live.current()) == {"web": [CART], "api": []}


def test_endpoints_that_are_for_nobody_are_nobodys() -> None:
    orphan = slice_item("orphan", "", CART)
    live = two_services(orphan)
    assert backends(live.current()) == {"web": [], "api": []}
    tell(live, "MODIFIED", slice_item("orphan", "api", CART))
    assert backends(live.current()) == {"web": [], "api": [CART]}
