"""The inventory as the API server has it at this moment, or had it when it was last heard: kept by list and watch."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pathtap.collector.cluster.api import Api
from pathtap.collector.cluster.endpoints import Endpoints, backends_of
from pathtap.collector.cluster.following import NODES, PODS, SERVICES, always, find_endpoints, follow
from pathtap.collector.cluster.inventory import Inventory, InventoryUnread, Staleness
from pathtap.collector.cluster.reflection import Reflection
from pathtap.model.inventory import Node, Pod, Service

log = logging.getLogger(__name__)

# Seconds between looks at whether it is up to date, for the log.
LOOK = 1.0


class LiveInventory:
    """`run` keeps it, `current` gives it. Each Inventory that was given stays as it is: a trace holds one for its whole run."""

    def __init__(self, api: Api, now: Callable[[], int]) -> None:
        self._api = api
        self._now = now
        self._pods = Reflection[Pod](items={}, changed=set())
        self._nodes = Reflection[Node](items={}, changed=set())
        self._services = Reflection[Service](items={}, changed=set())
        self._endpoints = Reflection[Endpoints](items={}, changed=set())
        self._by_service: dict[str, dict[str, Endpoints]] = {}
        self._service_of: dict[str, str] = {}
        self._last = Inventory()

    async def run(self) -> None:
        """Until it is cancelled. Raises nothing: what fails is tried again, and is said in the log and by `current`."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(follow(self._api, always(PODS), self._pods, self._now))
            tasks.create_task(follow(self._api, always(NODES), self._nodes, self._now))
            tasks.create_task(follow(self._api, always(SERVICES), self._services, self._now))
            tasks.create_task(follow(self._api, find_endpoints, self._endpoints, self._now))
            tasks.create_task(self._tell())

    def current(self) -> Inventory:
        """Raises InventoryUnread as long as one of its kinds has never been read."""
        unread = [each for each in self._all() if not each.heard_at]
        if unread:
            why = next((each.failing for each in unread if each.failing), "it is being read")
            raise InventoryUnread(f"the inventory has not been read from the API server yet: {why}")
        last, stale = self._last, self.staleness()
        services = last.services
        if self._services.changed or self._endpoints.changed:
            services = self._with_backends(dict(services))
        if self._pods.changed or self._nodes.changed or services is not last.services or stale != last.stale:
            self._last = Inventory(
                pods=dict(self._pods.items) if self._pods.changed else last.pods,
                nodes=dict(self._nodes.items) if self._nodes.changed else last.nodes,
                services=services,
                stale=stale,
            )
            self._pods.changed.clear()
            self._nodes.changed.clear()
        return self._last

    def staleness(self) -> Staleness | None:
        """None while the API server confirms it. Of several kinds the one that was confirmed longest ago."""
        failing = [each for each in self._all() if each.failing]
        oldest = min(failing, key=lambda each: each.heard_at, default=None)
        return Staleness(since=oldest.heard_at, why=oldest.failing) if oldest else None

    def _all(self) -> tuple[Reflection[Any], ...]:
        return self._pods, self._nodes, self._services, self._endpoints

    def _with_backends(self, services: dict[str, Service]) -> dict[str, Service]:
        """Those alone that changed, since a cluster may have thousands."""
        dirty = set(self._services.changed)
        for key in self._endpoints.changed:
            dirty.update(self._regroup(key))
        self._services.changed.clear()
        self._endpoints.changed.clear()
        for key in dirty:
            service = self._services.items.get(key)
            if service is None:
                services.pop(key, None)
            else:
                services[key] = replace(service, backends=backends_of(self._by_service.get(key, {}).values()))
        return services

    def _regroup(self, key: str) -> set[str]:
        """The services that an object of endpoints was for, and is for now."""
        former, now = self._service_of.pop(key, ""), self._endpoints.items.get(key)
        if former:
            self._by_service[former].pop(key, None)
            if not self._by_service[former]:
                del self._by_service[former]
        if now is None or not now.service:
            return {former} - {""}
        self._service_of[key] = now.service
        self._by_service.setdefault(now.service, {})[key] = now
        return {former, now.service} - {""}

    async def _tell(self) -> None:
        """Once when it grows old, once when it is up to date again."""
        was_read, why = False, ""
        while True:
            stale = self.staleness()
            if stale and stale.why and not why:
                log.warning("the inventory is %s: %s", f"as of {stale.at}" if stale.since else "unread", stale.why)
            is_read = all(each.heard_at for each in self._all())
            if is_read and not stale and (why or not was_read):
                log.info(
                    "the inventory is up to date: %d pods, %d nodes", len(self._pods.items), len(self._nodes.items)
                )
            if is_read:
                # Where nobody asks for weeks, the keys of what has changed would be as many as there ever were.
                self.current()
            was_read, why = is_read, stale.why if stale else ""
            await asyncio.sleep(LOOK)
