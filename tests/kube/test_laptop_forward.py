"""The laptop's port-forward through a real API server and a real kubelet: to whom what is shown, and what is left when it ends.

A process in the network of a pod stands for the collector, and keeps what it was shown.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from forwarded_collector import MANY
from kube_lab import KubeLab, running_kube_lab

from pathtap.lab.kube.certificates import Authority, new_authority
from pathtap.lab.kube.names import control_directory

pytestmark = [pytest.mark.kube, pytest.mark.netns, pytest.mark.timeout(600)]

PREFIX = f"t{os.getpid()}k"
NAME = "pathtap-collector.pathtap.svc"
SERVER = Path(__file__).parents[1] / "support" / "forwarded_collector.py"
INSTALLED = """
{"apiVersion": "v1", "kind": "List", "items": [
 {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "pathtap-collector", "namespace": "pathtap"},
  "spec": {"selector": {"app": "collector"},
           "ports": [{"name": "grpc", "port": 9469}, {"name": "grpc-certificate", "port": 9471}]}},
 {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "collector", "namespace": "pathtap", "labels": {"app": "collector"}},
  "spec": {"nodeName": "NODE", "hostNetwork": true, "terminationGracePeriodSeconds": 1,
           "containers": [{"name": "pod", "image": "localhost/pathtap-lab:1", "imagePullPolicy": "Never"}]}}
]}
"""
PERMITTED = (("get", "configmaps"), ("list", "endpointslices.discovery.k8s.io"), ("get,create", "pods/portforward"))


@dataclass(frozen=True, kw_only=True)
class Stage:
    lab: KubeLab
    person: Path

    def publish(self, authority: Authority) -> None:
        """In the ConfigMap that the laptop reads first."""
        document = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "pathtap-ca", "namespace": "pathtap"},
            "data": {"ca.crt": authority.pair.certificate.decode()},
        }
        self.lab.kubectl("apply", "-f", "-", stdin=json.dumps(document))


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What stands for the collector."""

    directory: Path
    process: "subprocess.Popen[bytes]"

    def shown(self) -> list[dict[str, str]]:
        kept = self.directory / "shown"
        return [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []

    def calls(self) -> list[str]:
        return [each["call"] for each in self.shown()]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with running_kube_lab(PREFIX, tmp_path_factory.mktemp("home")) as lab:
        for namespace in ("pathtap", "people"):
            lab.kubectl("create", "namespace", namespace)
        lab.kubectl("-n", "people", "create", "serviceaccount", "ann")
        for number, (verbs, resource) in enumerate(PERMITTED):
            lab.kubectl("-n", "pathtap", "create", "role", f"p{number}", f"--verb={verbs}", f"--resource={resource}")
            bound = (f"--role=p{number}", "--serviceaccount=people:ann")
            lab.kubectl("-n", "pathtap", "create", "rolebinding", f"p{number}", *bound)
        lab.kubectl("apply", "-f", "-", stdin=INSTALLED.replace("NODE", lab.cluster.nodes[0].name))
        lab.kubectl("-n", "pathtap", "wait", "--for=condition=Ready", "--timeout=120s", "pod/collector")
        yield Stage(lab=lab, person=lab.person("ann"))


@pytest.fixture
def standing(stage: Stage, tmp_path: Path) -> Callable[..., Any]:
    """A context in which somebody serves as `name` with a certificate of a new authority, published unless said otherwise."""

    @contextmanager
    def stand(name: str = NAME, *, published: bool = True) -> Iterator[Standing]:
        authority = new_authority("pathtap", datetime.now(UTC))
        pair = authority.server("pathtap-collector", (name,))
        clients = (control_directory(stage.lab.directory) / "ca.crt").read_bytes()
        for file, text in (("tls.crt", pair.certificate), ("tls.key", pair.key), ("client-ca.crt", clients)):
            (tmp_path / file).write_bytes(text)
        node = stage.lab.cluster.nodes[0].network_namespace
        argv = ["nsenter", f"--net=/run/netns/{node}", sys.executable, str(SERVER), str(tmp_path)]
        process = subprocess.Popen(argv)
        try:
            assert until((tmp_path / "ready").exists)
            stage.publish(authority if published else new_authority("pathtap", datetime.now(UTC)))
            yield Standing(directory=tmp_path, process=process)
        finally:
            process.kill()
            process.wait()

    return stand


def until(happened: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_token_goes_to_one_port_and_a_certificate_to_the_other(stage: Stage, standing: Callable[..., Any]) -> None:
    with standing() as collector:
        for kubeconfig in (stage.person, stage.lab.admin):
            answer = stage.lab.run(kubeconfig, "nodes", "-o", "json")
            assert answer.exit_code == 0, answer.errors
            assert len(answer.json["nodes"]) == MANY
        token = json.loads(stage.person.read_text())["users"][0]["user"]["token"]
        assert collector.shown() == [
            {"call": "ListNodes", "authorization": f"Bearer {token}", "certificate": ""},
            {"call": "ListNodes", "authorization": "", "certificate": "admin"},
        ]


@pytest.mark.parametrize(
    ("name", "published", "said"),
    [
        ("collector.example", True, f"its certificate is not one of {NAME}. Nothing was sent to it."),
        (NAME, False, "its certificate is signed by nobody who is trusted by the ConfigMap that the cluster has."),
    ],
)
def test_nothing_is_shown_to_whom_the_configmap_does_not_vouch_for(
    name: str, published: bool, said: str, stage: Stage, standing: Callable[..., Any]
) -> None:
    with standing(name, published=published) as collector:
        for kubeconfig in (stage.person, stage.lab.admin):
            answer = stage.lab.run(kubeconfig, "nodes")
            assert (answer.exit_code, said in answer.errors) == (1, True), answer.errors
        assert collector.shown() == []


def test_where_nobody_listens_the_kubelets_own_words_are_passed_on(stage: Stage) -> None:
    stage.publish(new_authority("pathtap", datetime.now(UTC)))
    answer = stage.lab.run(stage.person, "nodes")
    assert answer.exit_code == 1
    assert "No collector answers at pathtap/collector, port 9469" in answer.errors
    assert "connection refused" in answer.errors


def test_the_forward_ends_with_the_command(stage: Stage, standing: Callable[..., Any]) -> None:
    with standing() as collector, begun(stage) as command:
        assert until(lambda: "Trace" in collector.calls())
        command.send_signal(signal.SIGINT)
        assert command.wait(20) == 130
        assert until(lambda: collector.calls() == ["Trace", "gone"])


def test_a_collector_that_goes_away_ends_the_command(stage: Stage, standing: Callable[..., Any]) -> None:
    with standing() as collector, begun(stage) as command:
        assert until(lambda: "Trace" in collector.calls())
        collector.process.kill()
        assert command.wait(20) == 1
        assert command.stderr is not None
        assert "went away or could not go on" in command.stderr.read()


@contextmanager
def begun(stage: Stage) -> Iterator["subprocess.Popen[str]"]:
    """A trace that nobody answers."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PATHTAP_")}
    words = ["trace", "shop/a", "to", "shop/b", "--live", "--timeout", "300"]
    command = subprocess.Popen(
        [sys.executable, "-m", "pathtap.cli", *words],
        env={**own, "KUBECONFIG": str(stage.person)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield command
    finally:
        command.kill()
        command.communicate()
