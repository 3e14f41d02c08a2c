"""The collector's inventory follows a real API server: what is made, changed and deleted there is known here."""

import asyncio
import time
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import pytest
from kube_inventory import administrator, following, forget, make_namespace, pod, read, run_pod, until

from pathtap.collector.cluster import following as rules
from pathtap.collector.cluster.following import PODS, find_endpoints, follow
from pathtap.collector.cluster.reflection import Form, Reflection
from pathtap.collector.cluster.resolve import Request, resolve
from pathtap.lab.kube.control_plane import ControlPlane
from pathtap.model.inventory import Pod

pytestmark = pytest.mark.kube

SLICES = "/apis/discovery.k8s.io/v1beta1/namespaces/{}/endpointslices"


def owned(name: str, kind: str, owner: str, **labels: str) -> dict[str, Any]:
    reference = {"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": "0", "controller": True}
    return pod(name, ownerReferences=[reference], labels={key.replace("_", "-"): each for key, each in labels.items()})


def test_pods_nodes_and_services_come_change_and_go(control_plane: ControlPlane) -> None:
    async def scenario() -> None:
        async with administrator(control_plane) as api, following(api) as live:
            space = await make_namespace(api, "k1-come")
            first = await read(live)
            assert first.stale is None
            node = dict(await api.create("/api/v1/nodes", {"metadata": {"name": "k1-node"}}))
            node["status"] = {"addresses": [{"type": "InternalIP", "address": "192.0.2.10"}]}
            await api.replace("/api/v1/nodes/k1-node/status", node)
            uid = await run_pod(api, space, pod("cart", node="k1-node"), "192.0.2.11", "2001:db8::11")
            service = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}], "clusterIP": "10.100.7.7"}}
            await api.create(f"/api/v1/namespaces/{space}/services", service)
            await until(lambda: live.current().service_at(ip_address("10.100.7.7")))
            await until(lambda: live.current().node_at(ip_address("192.0.2.10")))
            await until(lambda: live.current().pod_at(ip_address("2001:db8::11")))
            cart = live.current().pods["k1-come/cart"]
            assert (cart.uid, cart.node, cart.phase, cart.ready) == (uid, "k1-node", "Running", True)
            assert [str(address) for address in cart.addresses] == ["192.0.2.11", "2001:db8::11"]
            await forget(control_plane, space, "pod/cart", "service/web")
            await until(lambda: "k1-come/cart" not in live.current().pods)
            await until(lambda: "k1-come/web" not in live.current().services)
            assert (first.pods.get("k1-come/cart"), live.current().stale) == (None, None)

    asyncio.run(scenario())


def test_an_address_that_was_given_again(control_plane: ControlPlane) -> None:
    """What began with the former inventory goes on telling of the former pod; a new pod of its name is another one."""
    address = ip_address("192.0.2.77")

    async def scenario() -> None:
        async with administrator(control_plane) as api, following(api) as live:
            space = await make_namespace(api, "k1-reuse")
            first = await run_pod(api, space, pod("db-0"), str(address))
            await until(lambda: live.current().pod_at(address))
            began = live.current()
            await forget(control_plane, space, "pod/db-0")
            second = await run_pod(api, space, pod("other"), str(address))
            third = await run_pod(api, space, pod("db-0"), "192.0.2.78")
            await until(lambda: live.current().pods.get("k1-reuse/db-0", began.pods["k1-reuse/db-0"]).uid == third)
            await until(lambda: live.current().pods["k1-reuse/db-0"].addresses)
            now = live.current()
            assert [each and (each.name, each.uid) for each in (began.pod_at(address), now.pod_at(address))] == [
                ("db-0", first),
                ("other", second),
            ]
            assert resolve(Request(source="k1-reuse/db-0", destination=str(address)), now).destination.name.endswith(
                "other"
            )
            assert [str(each) for each in now.pods["k1-reuse/db-0"].addresses] == ["192.0.2.78"]

    asyncio.run(scenario())


def test_pods_that_end_have_finished_or_share_their_nodes_network(control_plane: ControlPlane) -> None:
    address = ip_address("192.0.2.90")

    async def scenario() -> None:
        async with administrator(control_plane) as api, following(api) as live:
            space = await make_namespace(api, "k1-end")
            await run_pod(api, space, pod("done"), str(address), phase="Succeeded")
            host = pod("host")
            host["spec"]["hostNetwork"] = True
            await run_pod(api, space, host, str(address))
            ending = pod("ending", finalizers=["pathtap.dev/hold"])
            await run_pod(api, space, ending, str(address))
            await until(lambda: live.current().pod_at(address))
            await forget(control_plane, space, "pod/ending")
            await until(lambda: live.current().pods["k1-end/ending"].deleting)
            held = live.current().pod_at(address)
            assert held is not None
            assert held.name == "ending"
            await run_pod(api, space, pod("next"), str(address))
            await until(lambda: live.current().pod_at(address).name == "next")  # type: ignore[union-attr]
            assert live.current().pods["k1-end/host"].host_network

    asyncio.run(scenario())


def test_a_workload_stands_for_its_ready_pod(control_plane: ControlPlane) -> None:
    async def scenario() -> None:
        async with administrator(control_plane) as api, following(api) as live:
            space = await make_namespace(api, "k1-work")
            await run_pod(api, space, owned("cart-1f-b", "ReplicaSet", "cart-1f", pod_template_hash="1f"), "192.0.2.21")
            await run_pod(
                api, space, owned("cart-1f-a", "ReplicaSet", "cart-1f", pod_template_hash="1f"), phase="Pending"
            )
            await run_pod(api, space, owned("log-x", "DaemonSet", "log"), "192.0.2.22")
            await until(
                lambda: "k1-work/log-x" in live.current().pods and live.current().pods["k1-work/log-x"].addresses
            )
            question = resolve(Request(source="deploy/cart", destination="ds/log", namespace=space), live.current())
            assert (question.source.name, question.destination.name) == ("k1-work/cart-1f-b", "k1-work/log-x")

    asyncio.run(scenario())


def test_backends_are_what_the_slices_say(control_plane: ControlPlane) -> None:
    def piece(name: str, family: str, *endpoints: tuple[str, bool]) -> dict[str, Any]:
        return {
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": family,
            "endpoints": [{"addresses": [address], "conditions": {"ready": ready}} for address, ready in endpoints],
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        }

    async def scenario() -> None:
        async with administrator(control_plane) as api, following(api) as live:
            space = await make_namespace(api, "k1-slices")
            assert (await find_endpoints(api)).path == "/apis/discovery.k8s.io/v1beta1/endpointslices"

            def backends() -> list[str]:
                service = live.current().services.get("k1-slices/web")
                return [f"{each.address}:{each.port}" for each in service.backends] if service else []

            path = SLICES.format(space)
            await api.create(path, piece("web-1", "IPv4", ("192.0.2.31", True), ("192.0.2.32", False)))
            await api.create(path, piece("web-2", "IPv6", ("2001:db8::31", True)))
            await read(live)
            # The slices may be there before the service, and after it.
            spec = {"ports": [{"port": 80}], "clusterIP": "10.100.8.8"}
            await api.create(f"/api/v1/namespaces/{space}/services", {"metadata": {"name": "web"}, "spec": spec})
            await until(lambda: backends() == ["192.0.2.31:8080", "2001:db8::31:8080"])
            before = live.current()
            changed = dict(await api.get(f"{path}/web-1"))
            changed["endpoints"][1]["conditions"]["ready"] = True
            await api.replace(f"{path}/web-1", changed)
            await until(lambda: backends() == ["192.0.2.31:8080", "192.0.2.32:8080", "2001:db8::31:8080"])
            await forget(control_plane, space, "endpointslice/web-1")
            await until(lambda: backends() == ["2001:db8::31:8080"])
            assert len(before.services["k1-slices/web"].backends) == 2

    asyncio.run(scenario())


class Noting(Reflection[Pod]):
    """Notes what came."""

    def event(self, event: Mapping[str, Any], form: Form[Pod], now: int) -> tuple[str, ...]:
        came.append(str(event["type"]))
        return Reflection.event(self, event, form, now)

    def ended(self, now: int) -> None:
        came.append("ended")
        Reflection.ended(self, now)


came: list[str] = []


def test_a_watch_ends_after_a_bookmark_and_another_goes_on_from_there(
    control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API server sends a bookmark two seconds before it ends a watch, where there was an event."""
    monkeypatch.setattr(rules, "WATCH_SECONDS", 8)

    async def scenario() -> None:
        async with administrator(control_plane) as api:
            space = await make_namespace(api, "k1-bookmark")
            reflection = Noting(items={}, changed=set())
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(follow(api, rules.always(PODS), reflection, time.time_ns))
                await until(lambda: reflection.heard_at)
                made = 0
                # Its own clock decides whether it sends one.
                while "BOOKMARK" not in came and made < 6:
                    made += 1
                    await run_pod(api, space, pod(f"pod-{made}"), f"192.0.2.{made}")
                    await until(lambda: came.count("ended") == made)  # noqa: B023 - it is waited for here
                assert (came[-2:], reflection.failing) == (["BOOKMARK", "ended"], "")
                await run_pod(api, space, pod("late"), "192.0.2.42")
                await until(lambda: came.count("ended") == made + 1)
                assert came.count("ADDED") == came.count("MODIFIED") == made + 1
                task.cancel()

    asyncio.run(scenario())
