"""The agents run from their image with what the manifest gives them and nothing else, on the nodes of a lab."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from contained import (
    IMAGES,
    Place,
    Runtime,
    agent_pod,
    arguments_of,
    containerd,
    options_of,
    port_variables,
    without_sys_admin,
)

from pathtap.lab.build import LabOptions, build, tear_down
from pathtap.lab.kube.certificates import new_authority
from pathtap.lab.processes import COLLECTOR, end_role, spawn
from pathtap.lab.state import StateDirectory
from pathtap.lab.topology import Cluster, Node

pytestmark = [pytest.mark.kube, pytest.mark.timeout(900)]

ARCHIVE = IMAGES / "pathtap-agent.tar"
SERVER_NAME = "pathtap-collector.pathtap.svc"
PORT = "9469"


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    with containerd(tmp_path_factory.mktemp("containerd")) as running:
        yield running


@pytest.fixture(scope="module")
def image(runtime: Runtime) -> str:
    if not ARCHIVE.exists():
        why = f"{ARCHIVE} is not there: make images"
        pytest.fail(why, pytrace=False) if os.environ.get("PATHTAP_KUBE_REQUIRED") else pytest.skip(why)
    return runtime.load(ARCHIVE)


@dataclass(frozen=True)
class Stage:
    """A lab whose collector listens in the network of its first node, with TLS, and knows the lab from its file."""

    cluster: Cluster
    files: Path
    runtime: Runtime
    image: str

    @property
    def address(self) -> str:
        return str(self.cluster.nodes[0].address)

    @property
    def services(self) -> dict[str, str]:
        """As a kubelet tells them; this collector has one port for all."""
        return {"PATHTAP_COLLECTOR_SERVICE_HOST": self.address, **dict.fromkeys(port_variables(), PORT)}

    def run(self, *words: str) -> Any:
        """The command line's JSON, asked from the first node."""
        done = self.ask(*words, "-o", "json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def ask(self, *words: str) -> "subprocess.CompletedProcess[str]":
        inside = ["ip", "netns", "exec", self.cluster.nodes[0].network_namespace, sys.executable, "-m", "pathtap.cli"]
        where = ["--collector", f"{self.address}:{PORT}", "--tls-server-name", SERVER_NAME]
        argv = [*inside, *where, "--tls-ca", str(self.files / "pathtap/ca.crt"), *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=90)

    def place(self, node: Node, capabilities: list[str] | None) -> Place:
        directory = StateDirectory(self.cluster.options.prefix)
        return Place(
            network=Path("/run/netns", node.network_namespace),
            volumes={
                "collector": self.files / "pathtap",
                "netns": Path("/run/netns"),
                "cni": directory.cni_config(node.name),
            },
            services=self.services,
            environment={"NODE_NAME": node.name},
            capabilities=capabilities,
        )

    @contextmanager
    def agents(self, capabilities: list[str] | None = None) -> Iterator[None]:
        """One on each node, connected."""
        pod = agent_pod()
        with ExitStack() as running:
            made = [
                running.enter_context(
                    self.runtime.running(
                        node.name,
                        self.image,
                        options_of(pod, self.place(node, capabilities)),
                        ["pathtap-agent", *arguments_of(pod, self.services)],
                    )
                )
                for node in self.cluster.nodes
            ]
            deadline = time.monotonic() + 90
            while not all(status["connected"] for status in self.run("nodes")["nodes"]):
                assert time.monotonic() < deadline, [each.said() for each in made]
                time.sleep(0.5)
            yield


@pytest.fixture(scope="module", params=["nft", "legacy"])
def stage(
    request: pytest.FixtureRequest, runtime: Runtime, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    files = tmp_path_factory.mktemp("stage")
    prefix = f"k{os.getpid()}{request.param[0]}"
    try:
        cluster = build(LabOptions(prefix=prefix, backend=request.param))
        made = Stage(cluster, files, runtime, image)
        _write_certificate(files)
        directory = StateDirectory(prefix)
        options = ["--listen", f"{made.address}:{PORT}", "--inventory", str(directory.inventory)]
        options += ["--tls-cert", str(files / "tls.crt"), "--tls-key", str(files / "tls.key")]
        spawn(directory, COLLECTOR, ["-m", "pathtap.collector", *options], namespace=cluster.nodes[0].network_namespace)
        deadline = time.monotonic() + 60
        while made.ask("nodes").returncode:
            assert time.monotonic() < deadline, directory.log(COLLECTOR).read_text()
            time.sleep(0.5)
        yield made
        end_role(prefix, COLLECTOR)
    finally:
        tear_down(prefix)


def _write_certificate(files: Path) -> None:
    authority = new_authority("test", datetime.now(UTC))
    pair = authority.server("collector", (SERVER_NAME,))
    (files / "pathtap").mkdir()
    for name, content in (
        ("tls.crt", pair.certificate),
        ("tls.key", pair.key),
        ("pathtap/ca.crt", authority.pair.certificate),
        ("pathtap/token", b"a token"),
    ):
        (files / name).write_bytes(content)
        (files / name).chmod(0o400)


def test_a_trace_works_with_what_the_manifest_gives(stage: Stage) -> None:
    with stage.agents():
        trace = stage.run("trace", "shop/search", "to", "shop/redis", "--port", "6379", "--timeout", "20")
        verdict = trace["verdict"]
        assert (verdict["disposition"], verdict["reply"]) == ("DELIVERED", "ANSWERED"), verdict
        assert [gap for gap in verdict["gaps"] if gap["decisive"]] == []
        for status in stage.run("nodes")["nodes"]:
            assert refused_parts(status) == set(), status


def test_without_sys_admin_real_traffic_is_traced_and_a_probe_says_why_not(stage: Stage) -> None:
    redis = stage.cluster.pod("shop/redis")
    with stage.agents(without_sys_admin()):
        refused = stage.run("trace", "shop/search", "to", "shop/redis", "--port", "6379", "--timeout", "20")
        reasons = [gap["why"] for gap in refused["verdict"]["gaps"] if gap["decisive"]]
        assert any("It needs CAP_SYS_ADMIN" in each for each in reasons), reasons
        with chatting(stage.cluster.options.prefix, "shop/search", f"tcp:{redis.address}:6379"):
            live = stage.run("trace", "shop/search", "to", "shop/redis", "--port", "6379", "--live", "--timeout", "15")
        verdict = live["verdict"]
        assert (verdict["disposition"], verdict["reply"]) == ("DELIVERED", "ANSWERED"), verdict
        for status in stage.run("nodes")["nodes"]:
            assert refused_parts(status) == {"programs (tcx)"}, status


@pytest.mark.parametrize("needed", ["NET_RAW", "NET_ADMIN"])
def test_without_either_of_the_others_it_does_not_start_and_says_so(stage: Stage, needed: str) -> None:
    pod, node = agent_pod(), stage.cluster.nodes[0]
    kept = [each for each in pod["containers"][0]["securityContext"]["capabilities"]["add"] if each != needed]
    options = options_of(pod, stage.place(node, kept))
    command = ["pathtap-agent", *arguments_of(pod, stage.services)]
    with stage.runtime.running(f"without-{needed.lower()}", stage.image, options, command) as agent:
        assert agent.process.wait(60) == 1
    assert f"which needs CAP_{needed}: run it as root" in agent.said()
    assert "Traceback" not in agent.said()


def refused_parts(status: Any) -> set[str]:
    """What a node could not read for want of a right, and not of time: this machine may be busy."""
    return {each["part"] for each in status["unread"] if "did not answer" not in each["reason"]}


@contextmanager
def chatting(prefix: str, pod: str, *peers: str) -> Iterator[None]:
    """Keeps the pod busy while the block runs."""
    words = ["-m", "pathtap.lab.chat", "--every", "0.3", "60", *peers]
    argv = [sys.executable, "-m", "pathtap.cli", "lab", "exec", "--prefix", prefix, pod, "--", sys.executable, *words]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)
