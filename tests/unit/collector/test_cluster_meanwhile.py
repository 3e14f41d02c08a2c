"""A pod that is deleted while it is traced, and whoever has its address then."""

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from small_cluster import CART, HOST_1, NODE_1, NODE_2, REDIS, WEB, node_item, pod_item

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.kube_objects import decode
from pathtap.collector.cluster.meanwhile import ends_of, gone_meanwhile
from pathtap.collector.cluster.resolve import Request, resolve, resolve_source
from pathtap.model.address import Socket
from pathtap.model.trace import (
    DestinationNat,
    Disposition,
    Path,
    Reply,
    SourceNat,
    Target,
    Trace,
    Verdict,
)


def known(*items: Any) -> Inventory:
    return decode({"items": [node_item(NODE_1, HOST_1), *items]})


def born_again(key: str, uid: str, *addresses: str) -> Any:
    item = pod_item(key, NODE_1, *addresses)
    item["metadata"]["uid"] = uid
    return item


CART_ITEM, REDIS_ITEM = pod_item("shop/cart", NODE_1, CART), pod_item("shop/redis", NODE_2, REDIS)
BEFORE = known(CART_ITEM, REDIS_ITEM)


def told(after: Inventory, source: str = "shop/cart", destination: str = "shop/redis") -> list[str]:
    question = resolve(Request(source=source, destination=destination), BEFORE)
    gaps = gone_meanwhile((question.source, question.destination), BEFORE, after)
    assert all((gap.part, gap.decisive) == ("inventory", False) for gap in gaps)
    return [f"{gap.node}: {gap.why}" for gap in gaps]


def test_nothing_is_told_of_what_stayed() -> None:
    assert told(BEFORE) == []
    assert told(known(CART_ITEM, pod_item("shop/redis", NODE_2, REDIS, deleting=True))) == []


def test_an_address_that_another_pod_has_now_without_its_name() -> None:
    assert told(known(CART_ITEM, pod_item("secret/other", NODE_2, REDIS))) == [
        f"{NODE_2}: shop/redis (uid uid-redis) lost {REDIS} while the trace ran: another pod has it now"
    ]


def test_a_pod_that_was_deleted_also_where_another_has_its_name() -> None:
    gone = f"{NODE_1}: shop/cart (uid uid-cart) was deleted while the trace ran"
    assert told(known(REDIS_ITEM)) == [gone]
    assert told(known(born_again("shop/cart", "2", WEB), REDIS_ITEM)) == [gone]
    assert told(known(REDIS_ITEM), destination="shop/cart") == [gone]


def test_a_pod_of_the_same_name_and_address_is_another_pod() -> None:
    assert told(known(CART_ITEM, born_again("shop/redis", "2", REDIS))) == [
        f"{NODE_2}: shop/redis (uid uid-redis) lost {REDIS} while the trace ran: another pod has it now"
    ]


def test_a_pod_that_finished_has_let_its_address_go() -> None:
    finished = known(CART_ITEM, pod_item("shop/redis", NODE_2, REDIS, phase="Succeeded"))
    assert told(finished) == [
        f"{NODE_2}: shop/redis (uid uid-redis) has finished while the trace ran (Succeeded), and its address is free"
    ]


def test_the_pod_that_a_service_led_to_is_told_of_too() -> None:
    service = Target(kind="service", name="shop/db", node="", socket=Socket(ip_address("10.100.0.9"), 80))
    cart = resolve_source("shop/cart", "", BEFORE, live=False)
    backend = DestinationNat(applied=True, translated=Socket(ip_address(REDIS), 6379), backend_pod="shop/redis")
    trace = Trace(
        id="1",
        started_at=1,
        finished_at=2,
        protocol="tcp",
        live=False,
        five_tuple=None,
        egress=None,
        source=cart,
        destination=service,
        forward=Path(),
        reply=Path(),
        snat=SourceNat(applied=False),
        dnat=backend,
        verdict=Verdict(disposition=Disposition.DELIVERED, reply=Reply.ANSWERED, summary=""),
    )
    after = known(CART_ITEM, pod_item("secret/other", NODE_2, REDIS))
    assert [gap.node for gap in gone_meanwhile(ends_of(trace, BEFORE), BEFORE, after)] == [NODE_2]
    assert gone_meanwhile(ends_of(trace, BEFORE), BEFORE, BEFORE) == ()
    assert ends_of(replace(trace, dnat=DestinationNat(applied=False)), BEFORE) == (cart, service)


def test_nodes_addresses_and_hidden_pods_are_nobodys() -> None:
    assert told(known(CART_ITEM, REDIS_ITEM), destination="198.51.100.8") == []
    assert told(known(CART_ITEM), destination=HOST_1) == []
    hidden = known(CART_ITEM, born_again("shop/redis", "", REDIS))
    question = resolve(Request(source="shop/cart", destination=str(ip_address(REDIS))), hidden)
    assert gone_meanwhile((question.source, question.destination), hidden, BEFORE) == ()
