"""What changes under a collector that runs: its certificate, who signs clients', the API server, an agent's token."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from kube import running_control_plane
from kube_access import (
    AGENTS,
    OWN,
    PEOPLE,
    SERVER_NAME,
    SHOP,
    Collector,
    Place,
    Turned,
    ask,
    call,
    collecting,
    furnish,
    write_certificate,
)

from pathtap.collector.access.bundle import Bundle
from pathtap.collector.cluster.api import connect
from pathtap.lab.kube.certificates import new_authority
from pathtap.lab.kube.control_plane import ControlPlane, free_port
from pathtap.v1 import service_pb2

pytestmark = pytest.mark.kube

CART = service_pb2.TraceRequest(source=f"{SHOP}/cart", destination="198.51.100.8", protocol=1)
CLIENT_MAP = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"


@pytest.fixture(scope="module")
def own_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One that may be stopped."""
    with running_control_plane(tmp_path_factory.mktemp("own-control-plane")) as plane:
        yield plane


@pytest.fixture(scope="module")
def place(own_plane: ControlPlane) -> Place:
    return furnish(own_plane)


@pytest.fixture
def collector(place: Place, tmp_path: Path) -> Iterator[Collector]:
    with collecting(place.plane, tmp_path / "tls") as running:
        yield running


def published(plane: ControlPlane) -> tuple[str, str]:
    """The bundle, and the ConfigMap's version."""
    found = json.loads(plane.kubectl("get", "configmap", "pathtap-ca", "-n", OWN, "-o", "json"))
    return found["data"]["ca.crt"], found["metadata"]["resourceVersion"]


def eventually(what: object, seconds: float = 20.0) -> None:
    """`what` is called until it gives something true."""
    assert callable(what)
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_certificate_is_exchanged_without_a_restart(place: Place, collector: Collector) -> None:
    root, former = place.token(f"{PEOPLE}/root"), (collector.directory / "ca.crt").read_bytes()
    with collector.channel() as kept:
        assert call(kept, "Explain", CART, root)
        eventually(lambda: former.decode() in published(place.plane)[0])
        write_certificate(collector.directory, new_authority("k2 anew", datetime.now(UTC)))
        with collector.channel() as later:
            assert call(later, "Explain", CART, root)
        assert call(kept, "Explain", CART, root)
        with collector.channel(roots=former) as distrustful, pytest.raises(Turned) as caught:
            call(distrustful, "Explain", CART, root, 5)
        assert caught.value.status is grpc.StatusCode.UNAVAILABLE
    assert "the certificate was read again" in collector.log
    both = former.decode(), (collector.directory / "ca.crt").read_text()
    eventually(lambda: all(each in published(place.plane)[0] for each in both))


def test_a_pair_that_does_not_fit_is_not_taken(place: Place, collector: Collector) -> None:
    other = new_authority("k2 other", datetime.now(UTC)).server("x", (SERVER_NAME,))
    (collector.directory / "tls.key").write_bytes(other.key)
    with collector.channel() as channel:
        assert call(channel, "Explain", CART, place.token(f"{PEOPLE}/root"))
    assert "is not that of the certificate" in collector.log


def test_the_bundle_is_written_where_it_differs_alone(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"

    async def publish() -> None:
        api = await connect(place.plane.admin, "")
        try:
            await Bundle(api, file, OWN, time.time).publish()
        finally:
            await api.close()

    file.write_bytes(new_authority("k2 one", datetime.now(UTC)).pair.certificate)
    asyncio.run(publish())
    first, version = published(place.plane)
    asyncio.run(publish())
    assert published(place.plane) == (first, version)
    file.write_bytes(new_authority("k2 two", datetime.now(UTC)).pair.certificate)
    asyncio.run(publish())
    bundle, later = published(place.plane)
    assert bundle.startswith(file.read_text())
    assert first.partition("-----END")[0] in bundle
    assert later != version


def test_a_new_client_authority_is_taken_at_once(place: Place, collector: Collector) -> None:
    authority = new_authority("k2 clients", datetime.now(UTC))
    pair = authority.client("k2-ann")
    with collector.channel(pair=pair) as early, pytest.raises(Turned):
        call(early, "Explain", CART, None, 3)
    (known,) = ask(place.plane, ("GET", CLIENT_MAP, {}))
    data = known["data"] | {"client-ca-file": known["data"]["client-ca-file"] + authority.pair.certificate.decode()}
    ask(place.plane, ("PUT", CLIENT_MAP, {**known, "data": data}))

    def is_in() -> bool:
        with collector.channel(pair=pair) as channel:
            try:
                return bool(call(channel, "Explain", CART, None, 3))
            except Turned:
                return False

    eventually(is_in)


def agent_log(collector: Collector, node: str, token: str, until: str) -> str:
    """What a real agent says until it says that, and 2 s later."""
    directory = collector.directory
    (directory / "token").write_text(token)
    argv = [sys.executable, "-m", "pathtap.agent", f"--collector=127.0.0.1:{collector.agent_port}", f"--node={node}"]
    argv += [f"--tls-ca={directory / 'ca.crt'}", f"--tls-server-name={SERVER_NAME}", "--health-port=0"]
    argv += [f"--token-file={directory / 'token'}"]
    log = directory / f"{node}.log"
    with log.open("wb") as file:
        agent = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        eventually(lambda: until in log.read_text())
        time.sleep(2)
        return log.read_text()
    finally:
        agent.terminate()
        agent.wait(10)


def test_a_real_agent_shows_its_token(place: Place, collector: Collector) -> None:
    said = agent_log(collector, "k2-node-1", place.agent_token(1), "connected to the collector")
    assert "not connected" not in said
    assert "agent of k2-node-1 connected" in collector.log


def test_a_real_agent_that_is_refused_says_so_and_comes_back_slowly(place: Place, collector: Collector) -> None:
    said = agent_log(collector, "k2-node-2", place.agent_token(1), "refuses this agent")
    assert said.count("refuses this agent") == 1
    assert 'may not speak for the node "k2-node-2" (PERMISSION_DENIED)' in said
    assert "connected to the collector" not in said
    assert "agent of k2-node-2 connected" not in collector.log


def test_without_the_api_server_nobody_new_is_let_in(place: Place, collector: Collector) -> None:
    known, unseen = place.token(f"{PEOPLE}/root"), place.token(f"{PEOPLE}/ann")
    with collector.channel() as channel:
        assert call(channel, "Explain", CART, known)
        place.plane.stop("kube-apiserver")
        try:
            with pytest.raises(Turned) as caught:
                call(channel, "Explain", CART, unseen)
            assert caught.value.status is grpc.StatusCode.UNAVAILABLE
            assert "nobody is let in while the API server cannot be asked" in caught.value.said
        finally:
            place.plane.start("kube-apiserver")
        eventually(lambda: call(channel, "Explain", CART, unseen))


def test_a_port_that_is_taken_is_one_line_and_the_end(place: Place, collector: Collector) -> None:
    directory, taken = collector.directory, f"127.0.0.1:{collector.port}"
    argv = [sys.executable, "-m", "pathtap.collector", f"--kubeconfig={place.plane.admin}"]
    argv += [f"--tls-cert={directory / 'tls.crt'}", f"--tls-key={directory / 'tls.key'}"]
    for ports in ([f"--listen={taken}"], [f"--listen=127.0.0.1:{free_port()}", f"--listen-certificates={taken}"]):
        done = subprocess.run([*argv, *ports], capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr.splitlines()[-1]) == (
            1,
            f"Error: cannot listen on {taken}: is another collector there?",
        )
        assert "Traceback" not in done.stderr


def test_a_missing_secret_is_one_line_and_the_end(place: Place, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "pathtap.collector", "--listen=127.0.0.1:0", f"--kubeconfig={place.plane.admin}"]
    argv += [f"--tls-cert={tmp_path / 'tls.crt'}", f"--tls-key={tmp_path / 'tls.key'}", f"--agents={AGENTS}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    lines = done.stderr.strip().splitlines()
    assert (done.returncode, len(lines)) == (1, 1), done.stderr
    assert "tls.key: No such file or directory" in lines[0]
    assert "Secret pathtap-collector-tls" in lines[0]
