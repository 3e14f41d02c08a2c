"""What a request needs, and what is to be seen of the inventory by whom."""

import asyncio
from collections.abc import Iterable
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_cluster import (
    CART,
    HOST_1,
    HOST_2,
    INTERNET,
    NODE_1,
    REDIS,
    cluster_items,
    endpoints_item,
    inventory_of,
    pod_item,
    service_item,
)

from pathtap.collector.access.admission import completable, confirm, look, look_around, look_up
from pathtap.collector.access.needs import (
    CLUSTER,
    Needs,
    of_address,
    of_question,
    of_service,
    of_target,
    of_text,
    of_words,
)
from pathtap.collector.access.refusal import Refused, denied
from pathtap.collector.access.veil import HIDDEN, shown, veiled
from pathtap.collector.cluster.resolve import Request, UnusableRequest, owner_of, resolve, resolve_source
from pathtap.model.trace import Target

VAULT, SHARED, FOREIGN = "192.168.2.50", "10.100.0.40", "10.100.0.50"
PORT = {"name": "http", "protocol": "TCP", "port": 80}
INVENTORY = inventory_of(
    *cluster_items(),
    pod_item("other/vault", NODE_1, VAULT),
    service_item("shop/shared", SHARED, PORT),
    endpoints_item("shop/shared", PORT, CART, VAULT),
    service_item("other/vault", FOREIGN, PORT),
    endpoints_item("other/vault", PORT, VAULT),
    service_item("kube-system/exporter", "10.100.0.60", PORT),
    endpoints_item("kube-system/exporter", PORT, HOST_1),
    service_item("shop/to-a-node", "10.100.0.61", PORT),
    endpoints_item("shop/to-a-node", PORT, HOST_2),
)


class Somebody:
    """May in these namespaces; keeps what was asked."""

    name, uid, default_namespace = "ann", "", "default"

    def __init__(self, *namespaces: str) -> None:
        self._namespaces = set(namespaces)
        self.asked: list[Needs] = []

    async def may(self, needs: Needs) -> None:
        self.asked.append(needs)
        if needs.cluster or not needs.namespaces <= self._namespaces:
            raise denied(f"no: {needs.because or sorted(needs.namespaces)}")

    async def sees(self, namespaces: Iterable[str]) -> frozenset[str] | None:
        return frozenset(namespaces) & self._namespaces


def inside(*namespaces: str) -> Needs:
    return Needs(namespaces=frozenset(namespaces))


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("shop/cart", inside("shop")),
        ("pod/shop/cart", inside("shop")),
        ("svc/shop/web", inside("shop")),
        ("deploy/shop/cart", inside("shop")),
        ("deployment.apps/cart", inside("here")),
        ("pod/cart", inside("here")),
        ("svc/web", inside("here")),
        ("cart", inside("here")),
        ("node", inside("here")),
        ("pod/", inside("pod")),
        ("redis.shop.svc.cluster.local", inside("here")),
        ("node/any", CLUSTER),
        ("node/any/more", CLUSTER),
        ("192.168.1.41", Needs()),
        ("2001:db8::1", Needs()),
        ("", Needs()),
    ],
)
def test_words_alone_say_the_namespace(text: str, needs: Needs) -> None:
    assert of_words(text, "here") == needs


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        (CART, inside("shop")),
        (VAULT, inside("other")),
        (HOST_1, CLUSTER),
        (SHARED, inside("shop", "other")),
        (FOREIGN, inside("other")),
        (INTERNET, Needs()),
    ],
)
def test_an_address_needs_what_holds_it(text: str, needs: Needs) -> None:
    assert of_address(ip_address(text), INVENTORY) == needs
    assert of_text(text, INVENTORY).because == text


def test_a_service_needs_the_pods_behind_it() -> None:
    assert of_service(INVENTORY.services["shop/shared"], INVENTORY) == inside("shop", "other")
    # The pods of its own that share their node's address.
    assert of_service(INVENTORY.services["kube-system/exporter"], INVENTORY) == inside("kube-system")
    assert of_service(INVENTORY.services["shop/to-a-node"], INVENTORY).cluster


def test_a_pod_that_has_finished_makes_no_node_its_services() -> None:
    port = service_item("shop/once", "10.100.0.62", PORT)
    finished = pod_item("shop/once", NODE_1, HOST_1, host_network=True, phase="Succeeded")
    inventory = inventory_of(*cluster_items(), finished, port, endpoints_item("shop/once", PORT, HOST_1))
    assert inventory.pods["shop/once"].host_network
    assert of_service(inventory.services["shop/once"], inventory).cluster


def test_what_was_resolved_needs_no_less_than_its_words() -> None:
    web = resolve(Request(source="shop/cart", destination="svc/shop/shared", port=80), INVENTORY)
    assert of_question(web, INVENTORY) == inside("shop", "other")
    node = resolve(Request(source="shop/cart", destination=f"node/{NODE_1}"), INVENTORY)
    assert of_question(node, INVENTORY).cluster


def test_a_pod_whose_address_is_anothers_by_now_needs_both() -> None:
    late = inventory_of(pod_item("shop/old", NODE_1, VAULT, deleting=True), pod_item("other/vault", NODE_1, VAULT))
    old = Target(kind="pod", name="shop/old", node=NODE_1, socket=owner_of(ip_address(VAULT), 0, late).socket)
    assert of_target(old, late) == inside("shop", "other")


@pytest.mark.parametrize("disguised", [f"::ffff:{VAULT}", f"::FFFF:{VAULT}", "fd00:10::50%eth0", "fd00:10::50%1"])
def test_an_address_in_a_disguise_is_nobodys_address(disguised: str) -> None:
    """The kernel would send ::ffff:192.0.2.1 as IPv4, and the wire drops a zone: another's pod would be reached unasked."""
    ann = Somebody("shop")
    for words in (("cart", disguised), (disguised, "cart")):
        with pytest.raises(UnusableRequest, match="write"):
            looked(ann, *words)
    with pytest.raises(UnusableRequest):
        resolve(Request(source="shop/cart", destination=disguised, live=True), INVENTORY)
    with pytest.raises(UnusableRequest):
        resolve_source(disguised, "shop", INVENTORY, live=True)
    assert ann.asked == []


@given(st.text(max_size=40))
def test_every_name_needs_something(text: str) -> None:
    needs = of_words(text, "here")
    try:
        ip_address(text)
    except ValueError:
        assert needs or not text


def test_names_of_others_are_nowhere_and_their_places_stay() -> None:
    names, facts = shown(INVENTORY, frozenset({"shop"})), veiled(INVENTORY, frozenset({"shop"}))
    assert {pod.namespace for pod in names.pods.values()} == {"shop"}
    assert (names.nodes, names.pod_at(ip_address(VAULT))) == ({}, None)
    for address in (CART, VAULT, REDIS):
        there, hidden = INVENTORY.pod_at(ip_address(address)), facts.pod_at(ip_address(address))
        assert there is not None
        assert hidden is not None
        assert (there.node, there.addresses, there.phase) == (hidden.node, hidden.addresses, hidden.phase)
    assert owner_of(ip_address(VAULT), 0, facts).name == f"{HIDDEN}/{VAULT}"
    assert owner_of(ip_address(FOREIGN), 0, facts).name == f"{HIDDEN}/{FOREIGN}"
    # A node's address stays the node's, whoever else of others has it.
    assert any(pod.host_network for pod in INVENTORY.pods.values())
    for address in (HOST_1, HOST_2):
        assert (facts.pod_at(ip_address(address)), facts.node_at(ip_address(address)) is not None) == (None, True)
    assert "vault" not in repr(facts)
    assert facts.nodes == INVENTORY.nodes
    assert shown(INVENTORY, None) is veiled(INVENTORY, None) is INVENTORY


def looked(caller: Somebody, *words: str, namespace: str = "shop") -> set[str]:
    return set(asyncio.run(look(caller, words, namespace, INVENTORY)).pods)


def test_names_are_looked_up_in_what_is_allowed_alone() -> None:
    ann = Somebody("shop", "kube-system")
    assert looked(ann, "cart", INTERNET) == {key for key in INVENTORY.pods if key.startswith("shop/")}
    assert ann.asked[0] == inside("shop")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("other/vault", INTERNET), "no: ['other']"),
        (("other/nobody", INTERNET), "no: ['other']"),
        (("cart", VAULT), f"no: {VAULT}"),
        (("cart", HOST_1), f"no: {HOST_1}"),
        (("cart", FOREIGN), f"no: {FOREIGN}"),
        ((f"node/{NODE_1}", INTERNET), "no: []"),
        ((INTERNET, "203.0.113.9"), "no: []"),
    ],
)
def test_what_is_not_allowed_is_refused_before_it_is_looked_up(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(Refused) as refused:
        looked(Somebody("shop"), *words)
    assert str(refused.value) == said


def test_a_backend_of_others_is_refused_by_what_was_written() -> None:
    needs = of_service(INVENTORY.services["shop/shared"], INVENTORY)
    with pytest.raises(Refused) as refused:
        asyncio.run(confirm(Somebody("shop"), needs, INVENTORY, "svc/shared"))
    assert str(refused.value) == "no: svc/shared"
    facts = asyncio.run(confirm(Somebody("shop", "other"), needs, INVENTORY, "svc/shared"))
    assert facts.pods["other/vault"].name == "vault"
    own = asyncio.run(confirm(Somebody("shop"), inside("shop"), INVENTORY, "cart"))
    assert "shop/cart" in own.pods
    assert "vault" not in repr(own)


def test_what_turns_up_in_traffic_is_named_where_it_is_allowed() -> None:
    facts = asyncio.run(look_around(Somebody("shop"), INVENTORY))
    assert owner_of(ip_address(REDIS), 0, facts).name == "shop/redis"
    assert owner_of(ip_address(VAULT), 0, facts).name == f"{HIDDEN}/{VAULT}"


@pytest.mark.parametrize(
    ("prefix", "namespaces"),
    [
        ("sh", {"default", "shop"}),
        ("shop/c", {"shop"}),
        ("svc/shop/", {"shop"}),
        ("", {"default", "kube-system", "other", "shop"}),
        ("svc/", {"default", "kube-system", "other", "shop"}),
        ("unheard-of/", {"unheard-of"}),
    ],
)
def test_completion_asks_about_what_can_begin_so(prefix: str, namespaces: set[str]) -> None:
    assert completable(prefix, "default", INVENTORY) == namespaces


def test_completion_shows_what_is_allowed() -> None:
    assert {
        pod.namespace for pod in asyncio.run(look_up(Somebody("shop"), "", "default", INVENTORY)).pods.values()
    } == {"shop"}
    for prefix in ("other/", "o", ""):
        with pytest.raises(Refused):
            asyncio.run(look_up(Somebody(), prefix, "default", INVENTORY))


class Overwhelmed(Somebody):
    """Is told of one namespace at a time, and of no more."""

    async def sees(self, namespaces: Iterable[str]) -> frozenset[str] | None:
        return await super().sees(sorted(namespaces)[:1])


def test_completion_knows_the_namespace_of_bare_names_among_however_many() -> None:
    ann = Overwhelmed("shop")
    assert {pod.namespace for pod in asyncio.run(look_up(ann, "", "shop", INVENTORY)).pods.values()} == {"shop"}
    assert ann.asked == []
    with pytest.raises(Refused, match="'shop'"):
        asyncio.run(look_up(Somebody(), "", "shop", INVENTORY))
