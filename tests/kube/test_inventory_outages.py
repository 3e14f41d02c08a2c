"""What becomes of the inventory while a real API server is away, hangs, forgets, refuses, or no longer offers what it did."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from kube import running_control_plane
from kube_inventory import (
    administrator,
    following,
    forget,
    make_namespace,
    pod,
    read,
    run_pod,
    signed_token,
    until,
    write,
)

from pathtap.collector.cluster import following as rules
from pathtap.collector.cluster.api import Api, ApiError, connect
from pathtap.collector.cluster.credentials import Kubeconfig, ServiceAccount
from pathtap.collector.cluster.following import PAGE, PODS, find_endpoints, follow
from pathtap.collector.cluster.inventory import InventoryUnread, inventory_gaps
from pathtap.collector.cluster.live_inventory import LOOK
from pathtap.collector.cluster.reflection import PAUSES, Reflection, Watch
from pathtap.lab.kube.control_plane import ControlPlane, free_port
from pathtap.model.inventory import Pod

pytestmark = pytest.mark.kube

SERVER = "kube-apiserver"
PROGRAMS = Path(sys.executable).parent
# Seconds for which the API server takes a token that has expired (go-jose, jwt.DefaultLeeway).
LEEWAY = 60


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One that these tests may stop."""
    with running_control_plane(tmp_path_factory.mktemp("own-control-plane")) as running:
        yield running


async def stop(control_plane: ControlPlane) -> None:
    await asyncio.to_thread(control_plane.stop, SERVER)


async def start(control_plane: ControlPlane) -> None:
    await asyncio.to_thread(control_plane.start, SERVER)


@asynccontextmanager
async def followed(api: Api) -> AsyncIterator[Reflection[Pod]]:
    reflection = Reflection[Pod](items={}, changed=set())
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(follow(api, rules.always(PODS), reflection, time.time_ns))
        try:
            yield reflection
        finally:
            task.cancel()


async def may_read(control_plane: ControlPlane, namespace: str, account: str) -> None:
    """What a collector's account may do for its inventory."""
    resources = "--resource=pods,nodes,services,endpointslices.discovery.k8s.io"
    role = ("clusterrole", f"inventory-{account}", "--verb=list,watch", resources)
    binding = ("clusterrolebinding", account, f"--clusterrole={role[1]}", f"--serviceaccount={namespace}:{account}")
    for made in (role, binding):
        await asyncio.to_thread(control_plane.kubectl, "create", *made)


def test_a_server_that_goes_away_and_comes_back(own: ControlPlane) -> None:
    async def scenario() -> None:
        async with administrator(own) as api, following(api) as live:
            space = await make_namespace(api, "away")
            await run_pod(api, space, pod("cart"), "192.0.2.11")
            await until(lambda: live.current().pod_at(ip_address("192.0.2.11")))
            assert inventory_gaps(live.current()) == ()
            heard = time.time_ns()
            await stop(own)
            await until(lambda: live.current().stale)
            stale = live.current()
            assert stale.pod_at(ip_address("192.0.2.11")) is not None
            assert stale.stale is not None
            assert heard - 120 * 10**9 < stale.stale.since < time.time_ns()
            (gap,) = inventory_gaps(stale)
            assert (gap.part, gap.decisive) == ("inventory", False)
            assert f"as of {stale.stale.at}, and what has changed since is not known: the API server" in gap.why
            # Longer than the longest pause: it is not given up.
            await asyncio.sleep(sum(PAUSES[:3]))
            assert live.current().stale is not None
            await start(own)
            await forget(own, space, "pod/cart")
            await until(lambda: live.current().stale is None and not live.current().pods)

    asyncio.run(scenario())


def test_a_server_that_hangs_is_noticed_by_its_silence(own: ControlPlane) -> None:
    async def scenario() -> None:
        credentials = Kubeconfig(own.admin)
        await credentials.renew()
        api = Api(credentials, watch_patience=2.0, answer_patience=2.0)
        async with following(api) as live:
            await read(live)
            os.kill(own.pid(SERVER), signal.SIGSTOP)
            try:
                await until(lambda: live.current().stale)
            finally:
                os.kill(own.pid(SERVER), signal.SIGCONT)
            await until(lambda: live.current().stale is None)
        await api.close()

    asyncio.run(scenario())


def test_a_version_that_the_server_has_forgotten_is_listed_again(own: ControlPlane) -> None:
    """The watch cache of a server that was started anew begins with the present."""

    async def scenario() -> None:
        async with administrator(own) as api:
            space = await make_namespace(api, "forgotten")
            await run_pod(api, space, pod("one"), "192.0.2.21")
            await stop(own)
            await start(own)
            with pytest.raises(ApiError) as gone:
                await anext(api.watch(PODS.path, resourceVersion="1"))
            assert gone.value.status == 410
            async with followed(api) as reflection:
                await until(lambda: reflection.items)
                reflection.items.clear()
            # As one that was away for long: its watch begins where nobody remembers.
            reflection._order = Watch(resource_version="1")
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(follow(api, rules.always(PODS), reflection, time.time_ns))
                await until(lambda: "forgotten/one" in reflection.items)
                await run_pod(api, space, pod("two"), "192.0.2.22")
                await until(lambda: "forgotten/two" in reflection.items)
                task.cancel()

    asyncio.run(scenario())


def test_pages_that_expire_while_they_are_read(own: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with administrator(own) as api:
            space = await make_namespace(api, "pages")
            for number in range(5):
                await run_pod(api, space, pod(f"pod-{number}"), f"192.0.2.{30 + number}")
            first = await api.get(PODS.path, limit="2")
            reflection = Reflection[Pod](items={}, changed=set())
            reflection.listed(first, PODS, 1)
            await run_pod(api, space, pod("pod-last"), "192.0.2.40")
            latest = await api.get(PODS.path, limit="1")
            _compact(own._etcd, int(latest["metadata"]["resourceVersion"]))
            with pytest.raises(ApiError) as gone:
                await api.get(PODS.path, limit="2", **{"continue": first["metadata"]["continue"]})
            assert gone.value.status == 410
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(follow(api, rules.always(PODS), reflection, time.time_ns))
                await until(lambda: {f"pages/pod-{each}" for each in (0, 4, "last")} <= reflection.items.keys())
                task.cancel()

    asyncio.run(scenario())


def _compact(etcd: str, revision: int) -> None:
    body = f'{{"revision": {revision}, "physical": true}}'.encode()
    with urllib.request.urlopen(f"{etcd}/v3/kv/compaction", body, timeout=20) as answer:  # noqa: S310 - our own etcd
        assert answer.status == 200


def test_a_thousand_pods_in_pages(own: ControlPlane) -> None:
    async def scenario() -> None:
        async with administrator(own) as api:
            space = await make_namespace(api, "thousand")
            at_once = asyncio.Semaphore(16)

            async def make(number: int) -> None:
                async with at_once:
                    await run_pod(api, space, pod(f"pod-{number}"), str(ip_address("198.18.0.0") + number))

            await asyncio.gather(*(make(number) for number in range(1000)))
            assert PAGE < 1000
            async with following(api) as live:
                inventory = await read(live)
                assert len([each for each in inventory.pods.values() if each.namespace == space]) == 1000
                assert inventory.pod_at(ip_address("198.18.0.0") + 999) is inventory.pods[f"{space}/pod-999"]

    asyncio.run(scenario())


def test_a_pods_token_that_expires_is_read_again(
    own: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "WATCH_SECONDS", 2)

    async def scenario() -> None:
        async with administrator(own) as api:
            space = await make_namespace(api, "token")
            made = await api.create(f"/api/v1/namespaces/{space}/serviceaccounts", {"metadata": {"name": "reader"}})
            account = dict(made)
            await may_read(own, space, "reader")
        write(tmp_path / "ca.crt", own.ca.decode())
        write(tmp_path / "token", signed_token(own, account, 8 - LEEWAY))
        where = {"KUBERNETES_SERVICE_HOST": own.where.address, "KUBERNETES_SERVICE_PORT": str(own.port)}
        pods_own = Api(ServiceAccount(where, tmp_path))
        async with following(pods_own) as live:
            await read(live)
            await until(lambda: (stale := live.current().stale) and "Unauthorized (HTTP 401)" in stale.why)
            write(tmp_path / "token", signed_token(own, account, 600))
            await until(lambda: live.current().stale is None)
        await pods_own.close()

    asyncio.run(scenario())


def test_requests_that_are_refused_together_do_not_end_one_another(own: ControlPlane, tmp_path: Path) -> None:
    """Each makes the credentials anew; what another has under way on the former connections is still answered."""

    async def scenario() -> list[ApiError]:
        write(tmp_path / "ca.crt", own.ca.decode())
        write(tmp_path / "token", "invented")
        where = {"KUBERNETES_SERVICE_HOST": own.where.address, "KUBERNETES_SERVICE_PORT": str(own.port)}
        stranger = Api(ServiceAccount(where, tmp_path))
        refused = []

        async def ask(number: int) -> None:
            for _ in range(10):
                await asyncio.sleep(0.001 * number)
                with pytest.raises(ApiError) as refusal:
                    await stranger.get(PODS.path)
                refused.append(refusal.value)

        try:
            await asyncio.gather(*(ask(number) for number in range(8)))
        finally:
            await stranger.close()
        return refused

    refused = asyncio.run(scenario())
    assert len(refused) == 80
    assert {each.status for each in refused} == {401}, {str(each) for each in refused}


def test_an_exec_plugin_is_asked_again_when_its_token_expires(own: ControlPlane, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with administrator(own) as api:
            space = await make_namespace(api, "plugin")
            account = dict(
                await api.create(f"/api/v1/namespaces/{space}/serviceaccounts", {"metadata": {"name": "ann"}})
            )
            await may_read(own, space, "ann")
        plugin = tmp_path / "plugin"
        credential = '{"apiVersion": "client.authentication.k8s.io/v1beta1", "kind": "ExecCredential", "status": {"token": "%s"}}'
        plugin.write_text(
            f"#!/bin/sh\necho asked >> {tmp_path / 'log'}\nprintf '{credential}' \"$(cat {tmp_path / 'token'})\"\n"
        )
        plugin.chmod(0o700)
        write(tmp_path / "token", "invented")
        config = yaml.safe_load(own.kubeconfig("plugin", token="replaced").read_text())  # noqa: S106
        command = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": str(plugin)}
        config["users"][0]["user"] = {"exec": command}
        (tmp_path / "config").write_text(yaml.safe_dump(config))
        leftovers = _temporary_files()
        api = await connect(tmp_path / "config", "")
        try:
            with pytest.raises(ApiError, match="Unauthorized"):
                await api.get(PODS.path)
            write(tmp_path / "token", signed_token(own, account, 600))
            assert (await api.get(PODS.path))["kind"] == "PodList"
            asked = (tmp_path / "log").read_text().split()
            # At first, after the first refusal, and after the second.
            assert len(asked) == 3
            assert (await api.get(PODS.path))["kind"] == "PodList"
            assert (tmp_path / "log").read_text().split() == asked
        finally:
            await api.close()
        assert _temporary_files() == leftovers

    asyncio.run(scenario())


def _temporary_files() -> set[str]:
    """Those that a library may leave certificates and keys in."""
    found = set()
    for path in Path("/tmp").glob("tmp*"):  # noqa: S108
        if path.is_file() and b"BEGIN" in path.read_bytes()[:64]:
            found.add(path.name)
    return found


def test_who_may_not_list_is_told_so(own: ControlPlane) -> None:
    async def scenario() -> None:
        stranger = own.kubeconfig("stranger", pair=own.authority.client("stranger", ()))
        api = await connect(stranger, "")
        async with following(api) as live:
            with pytest.raises(InventoryUnread, match="it is being read"):
                live.current()
            await until(lambda: live._pods.failing)
            with pytest.raises(InventoryUnread, match=r'has not been read .* "stranger" cannot list .* \(HTTP 403\)'):
                live.current()
        await api.close()

    asyncio.run(scenario())


def test_a_server_that_was_never_there(own: ControlPlane, tmp_path: Path) -> None:
    nobody = own.admin.read_text().replace(f":{own.port}", f":{free_port()}")
    (tmp_path / "config").write_text(nobody)

    async def scenario() -> None:
        api = await connect(tmp_path / "config", "")
        async with following(api) as live:
            await until(lambda: live._nodes.failing)
            with pytest.raises(
                InventoryUnread, match=r"has not been read from the API server yet: the API server .* does not answer"
            ):
                live.current()
        await api.close()

    asyncio.run(scenario())


@contextmanager
def collector(listen: str, kubeconfig: Path) -> Iterator[subprocess.Popen[str]]:
    argv = [str(PROGRAMS / "pathtap-collector"), "--listen", listen, "--insecure", "--kubeconfig", str(kubeconfig)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def pathtap(listen: str, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [str(PROGRAMS / "pathtap"), "--collector", listen, *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def patiently(ask: Callable[[], bool]) -> None:
    asyncio.run(until(ask))


def test_a_collector_answers_once_it_has_read_and_says_when_that_is_old(own: ControlPlane, tmp_path: Path) -> None:
    listen = f"unix:{tmp_path / 'socket'}"
    own.kubectl(
        "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "told"}})
    )

    def asked(*words: str) -> dict[str, Any]:
        done = pathtap(listen, *words, "-o", "json")
        return dict(json.loads(done.stdout)) if not done.returncode else {}

    try:
        own.stop(SERVER)
        with collector(listen, own.admin) as process:
            patiently(lambda: "has not been read from the API server yet" in pathtap(listen, "nodes").stderr)
            refused = pathtap(listen, "trace", "shop/cart", "to", "shop/redis")
            assert (refused.returncode, refused.stdout) == (1, "")
            assert "does not answer" in refused.stderr
            own.start(SERVER)
            patiently(lambda: "told" in [node["node"] for node in asked("nodes").get("nodes", [])])
            patiently(lambda: asked("nodes").get("unread") == [])
            own.stop(SERVER)
            patiently(lambda: [each["part"] for each in asked("nodes").get("unread", [])] == ["inventory"])
            assert pathtap(listen, "nodes").stdout.startswith("inventory  it is as of 20")
            assert "told" in [node["node"] for node in asked("nodes")["nodes"]]
            # What `nodes` tells at once the log tells at its next look.
            time.sleep(2 * LOOK)
            process.terminate()
            log = process.communicate(timeout=30)[1]
    finally:
        own.stop(SERVER)
        own.start(SERVER)
    assert process.returncode == 0
    said = [line.split(" ", 3)[3] for line in log.splitlines() if "the inventory is" in line]
    assert [line.partition(":")[0].split(" as of ")[0] for line in said] == [
        "the inventory is unread",
        "the inventory is up to date",
        "the inventory is",
    ]


def test_a_server_that_no_longer_offers_slices(own: ControlPlane) -> None:
    """Last of all, for the server that it leaves behind."""

    async def scenario() -> None:
        async with administrator(own) as api:
            space = await make_namespace(api, "offers")
            services = f"/api/v1/namespaces/{space}"
            spec = {"ports": [{"port": 80}], "clusterIP": "10.100.9.9"}
            await api.create(f"{services}/services", {"metadata": {"name": "web"}, "spec": spec})
            subsets = [{"addresses": [{"ip": "192.0.2.61"}], "ports": [{"port": 8080}]}]
            await api.create(f"{services}/endpoints", {"metadata": {"name": "web"}, "subsets": subsets})
            async with following(api) as live:
                inventory = await read(live)
                assert inventory.services["offers/web"].backends == ()
                await stop(own)
                own._commands[SERVER].append("--runtime-config=discovery.k8s.io/v1beta1=false")
                await start(own)
                # A server that has just begun may call what it listed too old to watch: then it is listed once more.
                await until(lambda: live.current().services["offers/web"].backends and live.current().stale is None)
                assert (await find_endpoints(api)).kind == "Endpoints"

    asyncio.run(scenario())
