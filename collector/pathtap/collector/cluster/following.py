"""Lists and watches one kind for ever, as its `Reflection` says. Knows which kinds there are, and what servers offer."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

from pathtap.collector.cluster.api import WATCH_SECONDS, Api, ApiError
from pathtap.collector.cluster.api_object import InventoryError, listed, mappings
from pathtap.collector.cluster.endpoints import Endpoints, endpoints_of, slice_of
from pathtap.collector.cluster.kube_objects import node_of, pod_of, service_of
from pathtap.collector.cluster.reflection import Form, List, Reflection, Wait, Watch

Item = TypeVar("Item")
Find = Callable[[Api], Awaitable[Form[Item]]]

log = logging.getLogger(__name__)

# Objects of one page: some MiB of JSON, decoded in tens of milliseconds.
PAGE = 250

PODS = Form(kind="Pod", path="/api/v1/pods", decode=pod_of)
NODES = Form(kind="Node", path="/api/v1/nodes", decode=node_of)
SERVICES = Form(kind="Service", path="/api/v1/services", decode=service_of)
DISCOVERY = "/apis/discovery.k8s.io"
OLD_ENDPOINTS = Form(kind="Endpoints", path="/api/v1/endpoints", decode=endpoints_of)
# The best first: v1 is of Kubernetes 1.21, v1beta1 went away with 1.25.
SLICE_VERSIONS = ("v1", "v1beta1")


def always(form: Form[Item]) -> Find[Item]:
    async def find(_: Api) -> Form[Item]:
        return form

    return find


async def find_endpoints(api: Api) -> Form[Endpoints]:
    """The best that the server offers: EndpointSlices, or Endpoints. Raises ApiError."""
    try:
        group = await api.get(DISCOVERY)
    except ApiError as error:
        if error.status == 404:
            return OLD_ENDPOINTS
        raise
    offered = {each.get("version") for each in mappings(group.get("versions"), ("versions",))}
    version = next((each for each in SLICE_VERSIONS if each in offered), None)
    if version is None:
        return OLD_ENDPOINTS
    return Form(kind="EndpointSlice", path=f"{DISCOVERY}/{version}/endpointslices", decode=slice_of)


async def follow(api: Api, find: Find[Item], reflection: Reflection[Item], now: Callable[[], int]) -> None:
    """Until it is cancelled. `now` gives nanoseconds. What is found is looked up anew before each list."""
    form: Form[Item] | None = None
    while True:
        order = reflection.order()
        if isinstance(order, Wait):
            await asyncio.sleep(order.seconds)
            reflection.waited()
            continue
        try:
            if form is None or (isinstance(order, List) and not order.after):
                form = await find(api)
            if isinstance(order, List):
                await _list(api, form, order, reflection, now)
            else:
                await _watch(api, form, order, reflection, now)
        except ApiError as error:
            reflection.failed(error.status, str(error))
        except InventoryError as error:
            reflection.failed(0, f"what the API server sent is no list: {error.reason}")


async def _list(api: Api, form: Form[Item], order: List, reflection: Reflection[Item], now: Callable[[], int]) -> None:
    parameters = {"limit": str(PAGE)}
    if order.after:
        parameters["continue"] = order.after
    answer = await api.get(form.path, **parameters)
    listed(answer.get("items"), ("items",))
    for complaint in reflection.listed(answer, form, now()):
        log.warning("%s", complaint)


async def _watch(
    api: Api, form: Form[Item], order: Watch, reflection: Reflection[Item], now: Callable[[], int]
) -> None:
    watching = api.watch(
        form.path,
        lambda: reflection.opened(now()),
        resourceVersion=order.resource_version,
        allowWatchBookmarks="true",
        timeoutSeconds=str(WATCH_SECONDS),
    )
    async with aclosing(watching) as events:
        async for event in events:
            for complaint in reflection.event(event, form, now()):
                log.warning("%s", complaint)
    reflection.ended(now())
