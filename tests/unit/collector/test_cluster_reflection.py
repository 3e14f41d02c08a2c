"""What is asked of the API server next, and what is known meanwhile."""

from typing import Any

import pytest
from small_cluster import CART, NODE_1, REDIS, WEB, pod_item

from pathtap.collector.cluster.following import PODS
from pathtap.collector.cluster.reflection import PAUSES, SHORT, List, Reflection, Wait, Watch
from pathtap.model.inventory import Pod


def item(name: str, address: str = CART, uid: str = "1", version: str = "") -> dict[str, Any]:
    made = pod_item(f"shop/{name}", NODE_1, address)
    made["metadata"] |= {"uid": uid, "resourceVersion": version}
    # The items of a list do not say of what kind they are.
    del made["kind"]
    return made


def page(*items: Any, version: str = "7", after: str = "") -> dict[str, Any]:
    return {"kind": "PodList", "metadata": {"resourceVersion": version, "continue": after}, "items": list(items)}


def event(kind: str, *arguments: Any, **options: Any) -> dict[str, Any]:
    return {"type": kind, "object": item(*arguments, **options) | {"kind": "Pod"}}


def fresh() -> Reflection[Pod]:
    return Reflection[Pod](items={}, changed=set())


def watching(*items: Any) -> Reflection[Pod]:
    reflection = fresh()
    assert reflection.listed(page(*items), PODS, 1) == ()
    reflection.opened(2)
    reflection.changed.clear()
    return reflection


def test_it_lists_and_watches_from_there() -> None:
    reflection = fresh()
    assert (reflection.order(), reflection.heard_at) == (List(), 0)
    reflection.listed(page(item("cart"), version="7"), PODS, 5)
    assert (reflection.order(), reflection.heard_at) == (Watch(resource_version="7"), 5)
    assert (set(reflection.items), reflection.changed) == ({"shop/cart"}, {"shop/cart"})


def test_nothing_is_known_before_the_last_page_is_there() -> None:
    reflection = fresh()
    reflection.listed(page(item("cart"), after="more"), PODS, 5)
    assert (reflection.order(), reflection.items, reflection.heard_at) == (List(after="more"), {}, 0)
    reflection.listed(page(item("redis", REDIS), version="9"), PODS, 6)
    assert (reflection.order(), set(reflection.items)) == (Watch(resource_version="9"), {"shop/cart", "shop/redis"})


def test_events_change_what_is_known_and_move_the_watch_on() -> None:
    reflection = watching(item("cart"), item("gone"))
    reflection.event(event("ADDED", "redis", REDIS, version="8"), PODS, 10)
    reflection.event(event("MODIFIED", "cart", WEB, version="9"), PODS, 11)
    reflection.event(event("DELETED", "gone", version="10"), PODS, 12)
    assert {key: str(pod.addresses[0]) for key, pod in reflection.items.items()} == {
        "shop/cart": WEB,
        "shop/redis": REDIS,
    }
    assert reflection.changed == {"shop/cart", "shop/redis", "shop/gone"}
    assert (reflection.order(), reflection.heard_at) == (Watch(resource_version="10"), 12)


def test_a_bookmark_moves_the_watch_on_and_changes_nothing() -> None:
    reflection = watching(item("cart"))
    reflection.event({"type": "BOOKMARK", "object": {"kind": "Pod", "metadata": {"resourceVersion": "99"}}}, PODS, 10)
    assert (reflection.order(), reflection.changed, reflection.heard_at) == (Watch(resource_version="99"), set(), 10)


def test_a_pod_of_the_same_name_is_another_pod() -> None:
    reflection = watching(item("db-0", uid="1"))
    reflection.event(event("DELETED", "db-0", uid="1", version="8"), PODS, 10)
    reflection.event(event("ADDED", "db-0", WEB, uid="2", version="9"), PODS, 11)
    assert (reflection.items["shop/db-0"].uid, str(reflection.items["shop/db-0"].addresses[0])) == ("2", WEB)


@pytest.mark.parametrize("kind", ["MODIFIED", "BOOKMARK"])
def test_a_watch_that_ended_goes_on_where_it_was(kind: str) -> None:
    reflection = watching(item("cart"))
    reflection.event(event(kind, "cart", version="8"), PODS, 10)
    reflection.ended(2 + SHORT)
    assert (reflection.order(), reflection.failing) == (Watch(resource_version="8"), "")


def test_a_watch_in_which_nothing_happened_goes_on_at_once_where_it_lasted() -> None:
    reflection = watching(item("cart"))
    for lasted in range(10):
        reflection.opened(lasted * SHORT)
        reflection.ended((lasted + 1) * SHORT)
        assert reflection.order() == Watch(resource_version="7")


def test_what_ends_at_once_again_and_again_is_asked_less_often() -> None:
    reflection, pauses = watching(), []
    for _ in range(7):
        reflection.ended(3)
        order = reflection.order()
        assert isinstance(order, Wait)
        pauses.append(order.seconds)
        reflection.waited()
        reflection.opened(3)
    assert pauses == [*PAUSES, PAUSES[-1], PAUSES[-1]]


def test_a_server_that_is_away_leaves_what_was_known_and_says_why() -> None:
    reflection = watching(item("cart"))
    reflection.failed(0, "no answer")
    assert (reflection.failing, reflection.heard_at, set(reflection.items)) == ("no answer", 2, {"shop/cart"})
    assert reflection.order() == Wait(seconds=PAUSES[0])
    reflection.waited()
    assert reflection.order() == Watch(resource_version="7")
    reflection.opened(50)
    assert (reflection.failing, reflection.heard_at) == ("", 50)


def test_an_event_ends_a_row_of_failures() -> None:
    reflection = watching(item("cart"))
    for number in range(10):
        reflection.failed(0, "no answer")
        assert reflection.order() == Wait(seconds=PAUSES[0])
        reflection.waited()
        assert isinstance(reflection.order(), Watch)
        reflection.opened(10 * number)
        reflection.event(event("MODIFIED", "cart", version=str(number)), PODS, 10 * number)


def test_after_some_failures_it_lists_again_and_it_never_gives_up() -> None:
    reflection = watching(item("cart"))
    for _ in range(50):
        reflection.failed(0, "no answer")
        assert reflection.order() in [Wait(seconds=pause) for pause in PAUSES]
        reflection.waited()
    assert reflection.order() == List()
    reflection.listed(page(item("redis", REDIS), version="3"), PODS, 60)
    assert (set(reflection.items), reflection.failing) == ({"shop/redis"}, "")
    assert reflection.changed == {"shop/cart", "shop/redis"}


def test_what_is_gone_is_listed_again_at_once_but_only_once() -> None:
    reflection = watching(item("cart"))
    reflection.failed(410, "too old")
    assert (reflection.order(), set(reflection.items)) == (List(), {"shop/cart"})
    reflection.listed(page(item("cart"), version="20"), PODS, 5)
    assert (reflection.order(), reflection.failing) == (Watch(resource_version="20"), "")
    reflection.failed(410, "too old")
    assert isinstance(reflection.order(), Wait)
    reflection.waited()
    assert reflection.order() == List()


def test_pages_that_expire_are_begun_again_at_once_and_then_with_pauses() -> None:
    reflection = fresh()
    for pause in (0.0, *PAUSES[1:]):
        reflection.listed(page(item("cart"), after="more"), PODS, 5)
        reflection.failed(410, "the provided continue parameter is too old")
        assert reflection.order() == (Wait(seconds=pause) if pause else List())
        reflection.waited()
        assert reflection.order() == List()
    reflection.listed(page(item("redis")), PODS, 6)
    assert set(reflection.items) == {"shop/redis"}


def test_a_failure_between_pages_begins_again() -> None:
    reflection = watching(item("old"))
    reflection.failed(410, "too old")
    reflection.listed(page(item("cart"), after="more"), PODS, 5)
    reflection.failed(500, "etcd is away")
    reflection.waited()
    assert (reflection.order(), set(reflection.items)) == (List(), {"shop/old"})
    reflection.listed(page(item("redis")), PODS, 6)
    assert set(reflection.items) == {"shop/redis"}


def test_a_version_of_the_api_that_went_away_is_looked_for_anew() -> None:
    reflection = watching(item("cart"))
    reflection.failed(404, "the server could not find the requested resource")
    reflection.waited()
    assert reflection.order() == List()


@pytest.mark.parametrize(
    ("spoiled", "reason"),
    [
        ({"status": {"podIP": "nonsense"}}, "'nonsense' is no IP address"),
        ({"status": {"startTime": "yesterday"}}, "'yesterday' is no time"),
        ({"status": []}, "`status` is no object"),
    ],
)
def test_what_is_malformed_is_left_out_and_told(spoiled: dict[str, Any], reason: str) -> None:
    reflection = fresh()
    (complaint,) = reflection.listed(page(item("cart") | spoiled, item("redis", REDIS)), PODS, 1)
    assert complaint.startswith(f"Pod shop/cart is left out of the inventory: {reason}")
    assert set(reflection.items) == {"shop/redis"}
    (again,) = reflection.event({"type": "MODIFIED", "object": item("redis", version="8") | spoiled}, PODS, 2)
    assert again.startswith("Pod shop/redis is left out")
    assert (reflection.items, reflection.order()) == ({}, Watch(resource_version="8"))


@pytest.mark.parametrize(
    "strange", [{"type": "ADDED", "object": None}, {"type": "ADDED"}, {}, {"type": "NEW", "object": 3}]
)
def test_an_event_of_nothing_changes_nothing(strange: dict[str, Any]) -> None:
    reflection = watching(item("cart"))
    reflection.event(strange, PODS, 2)
    assert (set(reflection.items), reflection.order()) == ({"shop/cart"}, Watch(resource_version="7"))
