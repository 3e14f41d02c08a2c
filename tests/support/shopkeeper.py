"""A gate that knows one person, who may trace in the namespace shop, and the agent of one node."""

from collections.abc import Iterable

from small_cluster import (
    CART,
    NODE_1,
    NODE_2,
    REDIS,
    WEB,
    endpoints_item,
    inventory_of,
    node_item,
    pod_item,
    service_item,
)

from pathtap.collector.access.gate import AgentIdentity, Caller, Context
from pathtap.collector.access.needs import Needs
from pathtap.collector.access.refusal import denied, unknown

PORT = {"name": "http", "protocol": "TCP", "port": 80}
INVENTORY = inventory_of(
    node_item(NODE_1, "192.168.1.29"),
    node_item(NODE_2, "192.168.2.29"),
    pod_item("shop/cart", NODE_1, CART),
    pod_item("shop/web", NODE_1, WEB),
    pod_item("vault/secret", NODE_2, REDIS),
    # Written by hand, in a namespace of one's own, and it leads elsewhere.
    service_item("shop/mixed", "10.100.0.70", PORT),
    endpoints_item("shop/mixed", PORT, CART, REDIS),
)


class Shopkeeper:
    """May in the namespace shop."""

    name, uid, default_namespace = "ann", "7", "default"

    async def may(self, needs: Needs) -> None:
        if needs.cluster or needs.namespaces - {"shop"}:
            raise denied("not there")

    async def sees(self, namespaces: Iterable[str]) -> frozenset[str] | None:
        return frozenset(namespaces) & {"shop"}


class Guard:
    """Knows one person, or nobody; and node 1's agent."""

    def __init__(self, person: Caller | None = None) -> None:
        self._person = person

    async def agent(self, context: Context) -> AgentIdentity:
        return AgentIdentity(node=NODE_1, pod="pathtap/agent-1")

    async def person(self, context: Context) -> Caller:
        if self._person is None:
            raise unknown("who are you")
        return self._person
