"""An address that becomes somebody else's while it is watched: nothing of what was seen is told."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from scripted_agent import Bench, ScriptedAgent, serving
from shopkeeper import INVENTORY, Guard, Shopkeeper
from small_cluster import CART, INTERNET, NODE_1, inventory_of, node_1, node_item, pod_item

from pathtap.collector.access.keeping import newly_needed
from pathtap.collector.access.needs import Needs
from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.resolve import owner_of
from pathtap.model.request import CaptureRequest, EndCapture, ReadSnapshot
from pathtap.v1 import service_pb2


def given_to(key: str, address: str = CART) -> Inventory:
    return inventory_of(node_item(NODE_1, "192.168.1.29"), pod_item(key, NODE_1, address))


@pytest.mark.parametrize(
    ("after", "namespaces"),
    [
        (INVENTORY, set()),
        (inventory_of(), set()),
        (given_to("vault/late"), {"vault"}),
        (given_to("shop/late"), {"shop"}),
    ],
)
def test_an_address_needs_whoever_has_it_by_now(after: Inventory, namespaces: set[str]) -> None:
    needs = newly_needed(owner_of(ip_address(CART), 0, INVENTORY), INVENTORY, after)
    assert needs.namespaces == namespaces
    assert needs.because == (CART if namespaces else "")


def test_an_address_outside_of_the_cluster_may_come_to_be_inside() -> None:
    outside = owner_of(ip_address(INTERNET), 0, INVENTORY)
    assert newly_needed(outside, INVENTORY, INVENTORY) == Needs(because=INTERNET)
    assert not newly_needed(outside, INVENTORY, INVENTORY)
    assert newly_needed(outside, INVENTORY, given_to("vault/late", INTERNET)).namespaces == {"vault"}


@asynccontextmanager
async def watched(directory: Path, present: list[Inventory]) -> AsyncIterator[tuple[Bench, ScriptedAgent]]:
    one = ScriptedAgent(node_1())
    async with (
        asyncio.timeout(15),
        serving(directory, lambda: present[-1], Guard(Shopkeeper())) as bench,
        one.connected(bench.address),
    ):
        await bench.agent(NODE_1)
        yield bench, one


async def keep(call: AsyncIterable[Any], came: list[Any]) -> None:
    async for response in call:
        came.append(response)


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("ListFlows", service_pb2.ListFlowsRequest(source="shop/cart", timeout_ms=60_000)),
        ("Trace", service_pb2.TraceRequest(source="shop/cart", destination=INTERNET, live=True, timeout_ms=60_000)),
        ("Snat", service_pb2.SnatRequest(source="shop/cart", destination=INTERNET, live=True, timeout_ms=60_000)),
    ],
)
def test_what_is_watched_ends_untold_once_it_is_anothers(tmp_path: Path, method: str, request_: Any) -> None:
    present = [INVENTORY]

    async def main() -> None:
        async with watched(tmp_path, present) as (bench, one):
            call = getattr(bench.client, method)(request_)
            await one.until(ReadSnapshot if method == "Snat" else CaptureRequest)
            present.append(given_to("vault/late"))
            came: list[Any] = []
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await keep(call, came)
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
            assert all(response.progress for response in came)
            assert "vault" not in f"{caught.value.details()}{came}"
            if method != "Snat":
                await one.until(EndCapture)

    asyncio.run(main())


def test_what_is_watched_goes_on_while_it_is_the_callers(tmp_path: Path) -> None:
    present = [INVENTORY]

    async def main() -> None:
        async with watched(tmp_path, present) as (bench, one):
            call = bench.client.ListFlows(service_pb2.ListFlowsRequest(source="shop/cart", timeout_ms=1_500))
            await one.until(CaptureRequest)
            present.append(given_to("shop/late"))
            assert [response async for response in call][-1].flows.source.name == "shop/cart"

    asyncio.run(main())
