"""`deploy/cart` stands for one of its pods: which one, and what is said where there is none."""

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from small_cluster import CART, NODE_1, NODE_2, ORDERS, REDIS, SEARCH, WEB, pod_item

from pathtap.collector.access.admission import completable
from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.kube_objects import decode
from pathtap.collector.cluster.resolve import (
    NotTraceable,
    Question,
    Request,
    UnknownName,
    UnusableRequest,
    resolve,
    resolve_source,
)
from pathtap.collector.status import names

OWNED = {
    "deploy": ("ReplicaSet", "cart-7d9"),
    "ds": ("DaemonSet", "proxy"),
    "sts": ("StatefulSet", "db"),
    "job": ("Job", "j"),
}


def owned(key: str, address: str, owner: tuple[str, str], *, ready: str = "", node: str = NODE_1, **labels: str) -> Any:
    item = pod_item(key, node, *([address] if address else []))
    item["metadata"]["ownerReferences"] = [
        {"kind": "Elsewhere", "name": "no-controller"},
        {"kind": owner[0], "name": owner[1], "controller": True},
    ]
    item["metadata"]["labels"] = {label.replace("_", "-"): value for label, value in labels.items()}
    if ready:
        item["status"]["conditions"] = [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": ready}]
    return item


def inventory(*items: Any) -> Inventory:
    return decode({"items": list(items)})


def cart(name: str, address: str, ready: str = "True", **changes: Any) -> Any:
    return owned(f"shop/{name}", address, ("ReplicaSet", "cart-7d9"), ready=ready, pod_template_hash="7d9", **changes)


CARTS = (cart("cart-7d9-c", WEB), cart("cart-7d9-b", CART), cart("cart-7d9-a", SEARCH, "False"))
REDIS_ITEM = pod_item("shop/redis", NODE_2, REDIS)


def ask(source: str, destination: str, *items: Any, namespace: str = "") -> Question:
    return resolve(Request(source=source, destination=destination, namespace=namespace), inventory(*items))


@pytest.mark.parametrize(
    ("text", "namespace"),
    [
        ("deploy/cart", "shop"),
        ("deployment/cart", ""),
        ("deployments/shop/cart", "x"),
        ("deployment.apps/cart", "shop"),
        ("rs/cart-7d9", "shop"),
        ("replicaset/shop/cart-7d9", ""),
    ],
)
def test_a_ready_pod_stands_for_its_workload_and_that_is_said(text: str, namespace: str) -> None:
    question = ask(text, "shop/redis", *CARTS, REDIS_ITEM, namespace=namespace)
    assert (question.source.name, question.source.socket.address) == ("shop/cart-7d9-b", ip_address(CART))
    assert question.chosen == (f"{text} stands for shop/cart-7d9-b, one of its 3 pods",)
    backwards = ask("shop/redis", text, REDIS_ITEM, *reversed(CARTS), namespace=namespace)
    assert backwards.destination.name == "shop/cart-7d9-b"


@pytest.mark.parametrize(("word", "owner"), OWNED.items())
def test_every_kind_of_workload(word: str, owner: tuple[str, str]) -> None:
    labels = {"pod_template_hash": "7d9"} if word == "deploy" else {}
    items = (owned("shop/one", CART, owner, ready="True", **labels), REDIS_ITEM)
    name = owner[1].removesuffix("-7d9")
    assert ask(f"{word}/{name}", "shop/redis", *items).source.name == "shop/one"


def test_from_a_workload_to_itself_are_two_pods_where_there_are_two() -> None:
    question = ask("deploy/cart", "deploy/cart", *CARTS)
    assert (question.source.name, question.destination.name) == ("shop/cart-7d9-b", "shop/cart-7d9-c")
    assert ask("deploy/cart", "deploy/cart", CARTS[0]).is_to_itself


def test_what_does_not_say_whether_it_is_ready_is_second_best() -> None:
    unsaid = cart("cart-7d9-0", ORDERS, "")
    assert ask("deploy/cart", "shop/redis", unsaid, REDIS_ITEM, *CARTS).source.name == "shop/cart-7d9-b"
    assert ask("deploy/cart", "shop/redis", unsaid, REDIS_ITEM, CARTS[2]).source.name == "shop/cart-7d9-0"


def test_where_none_could_be_taken_each_is_told_by_its_state() -> None:
    ending, pending, done = (cart(f"cart-7d9-{name}", CART) for name in "xyz")
    ending["metadata"]["deletionTimestamp"] = "2024-05-01T00:00:00Z"
    pending["status"] = {"phase": "Pending"}
    done["status"] |= {"phase": "Failed"}
    with pytest.raises(NotTraceable) as refusal:
        ask("deploy/cart", "shop/redis", REDIS_ITEM, CARTS[2], ending, pending, done)
    assert str(refusal.value) == (
        "deploy/cart has no pod that could be taken: cart-7d9-a is not ready, cart-7d9-x is being deleted, "
        "cart-7d9-y is Pending and 1 more"
    )


def test_a_workload_that_no_pod_tells_of() -> None:
    with pytest.raises(UnknownName, match=r"there is no pod of deployment shop/card; did you mean shop/cart\?"):
        ask("deploy/card", "shop/redis", *CARTS, REDIS_ITEM, namespace="shop")
    twice = owned("dev/cart-1", REDIS, ("ReplicaSet", "cart-1"), ready="True", pod_template_hash="1")
    with pytest.raises(UnusableRequest, match="several deployments: dev/cart, shop/cart"):
        ask("deploy/cart", "shop/redis", *CARTS, twice)


def test_a_replica_set_of_nobodys_hash_is_no_deployments() -> None:
    bare = owned("shop/cart-x", CART, ("ReplicaSet", "cart"), ready="True")
    other = owned("shop/cart-y", WEB, ("ReplicaSet", "cart-7d9"), ready="True", pod_template_hash="8e0")
    with pytest.raises(UnknownName):
        ask("deploy/cart", "shop/redis", bare, other, REDIS_ITEM)
    assert ask("rs/cart", "shop/redis", bare, other, REDIS_ITEM).source.name == "shop/cart-x"


def test_a_pod_in_a_namespace_of_that_name_is_written_with_its_kind() -> None:
    items = (pod_item("job/cart", NODE_1, CART), REDIS_ITEM)
    assert ask("pod/job/cart", "shop/redis", *items).source.name == "job/cart"


def test_a_workload_watched_by_name() -> None:
    assert resolve_source("deploy/cart", "shop", inventory(*CARTS), live=True).name == "shop/cart-7d9-b"


def test_an_address_is_its_newest_holders() -> None:
    """Of two that run: the API may not have heard yet that a lost node's pod is gone."""
    former, now = (pod_item(f"shop/{name}", node, CART) for name, node in (("z-former", NODE_1), ("a-now", NODE_2)))
    former["status"]["startTime"], now["status"]["startTime"] = "2026-01-05T09:00:00Z", "2026-01-05T09:00:01Z"
    for order in ((former, now), (now, former)):
        holder = inventory(*order).pod_at(ip_address(CART))
        assert holder is not None
        assert holder.name == "a-now"
    finished = replace(inventory(now).pods["shop/a-now"], phase="Succeeded")
    left = Inventory(pods={**inventory(former).pods, finished.key: finished}).pod_at(ip_address(CART))
    assert left is not None
    assert left.name == "z-former"


def test_workloads_are_completed_by_their_short_kinds() -> None:
    known = inventory(*CARTS, owned("shop/db-0", WEB, OWNED["sts"]), REDIS_ITEM)
    assert names(known, "deploy/") == ["deploy/shop/cart"]
    assert names(known, "s") == [
        "shop/cart-7d9-a",
        "shop/cart-7d9-b",
        "shop/cart-7d9-c",
        "shop/db-0",
        "shop/redis",
        "sts/shop/db",
    ]
    assert completable("deploy/", "default", known) == completable("d", "default", known) == {"shop", "default"}
    assert completable("deploy/x/", "default", known) == {"x"}
