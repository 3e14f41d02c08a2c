"""The laptop's end against a real API server: kubeconfigs of every kind, and a sentence for everything that is missing.

A person without rights is told by the API server who they are: that is how these tests know what was shown to it.
"""

import base64
import json
import os
import re
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pathtap.lab.kube.certificates import KeyPair
from pathtap.lab.kube.control_plane import ControlPlane, free_port

pytestmark = pytest.mark.kube

PATHTAP = Path(sys.executable).with_name("pathtap")
HERE, EMPTY, PEOPLE = "k3-pathtap", "k3-empty", "k3-people"
SERVICE_ACCOUNT = f"system:serviceaccount:{PEOPLE}:ann"
EXEC = "client.authentication.k8s.io"
Ended = subprocess.CompletedProcess[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """`token` is a service account's without any rights; `pair` the certificate of such a person."""

    plane: ControlPlane
    token: str
    pair: KeyPair

    @property
    def entry(self) -> dict[str, Any]:
        return {"server": self.plane.server, "certificate-authority-data": _base64(self.plane.ca)}


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane) -> Cluster:
    plane = control_plane
    for name in (HERE, EMPTY, PEOPLE):
        plane.kubectl("create", "namespace", name)
    plane.kubectl("-n", PEOPLE, "create", "serviceaccount", "ann")
    plane.kubectl("-n", HERE, "create", "configmap", "pathtap-ca", f"--from-literal=ca.crt={plane.ca.decode()}")
    return Cluster(plane=plane, token=_token(plane, PEOPLE, "ann"), pair=plane.authority.client("ann", ("developers",)))


@pytest.fixture
def kubeconfig(cluster: Cluster, tmp_path: Path) -> Callable[..., Path]:
    """Writes one with the user; `further` goes into the cluster's entry, where None takes away."""

    def write(user: dict[str, Any], name: str = "config", current: bool = True, **further: Any) -> Path:
        entry = {key: value for key, value in {**cluster.entry, **further}.items() if value is not None}
        document = {
            "clusters": [{"name": "c", "cluster": entry}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        }
        path = tmp_path / name
        path.write_text(json.dumps(document | ({"current-context": "x"} if current else {})))
        return path

    return write


@pytest.fixture
def nodes(tmp_path: Path) -> Callable[..., Ended]:
    """Runs `pathtap nodes`, with a home, a directory for temporary files and a working directory that must stay empty."""

    def run(config: Path | None, *options: str, **environment: str) -> Ended:
        own = tmp_path / "own"
        own.mkdir(exist_ok=True)
        named = [f"--kubeconfig={config}"] if config is not None else []
        ended = subprocess.run(
            [PATHTAP, *named, "--pathtap-namespace", HERE, "nodes", *options],
            env={"PATH": os.environ["PATH"], "HOME": str(own), "TMPDIR": str(own), **environment},
            cwd=own,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert list(own.iterdir()) == []
        assert "unexpectedly" not in ended.stderr
        return ended

    return run


def _base64(text: bytes) -> str:
    return base64.b64encode(text).decode()


def _token(plane: ControlPlane, namespace: str, name: str) -> str:
    """TokenRequest, as `kubectl create token` sends it since 1.24."""
    body = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": None}})
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    return str(json.loads(plane.kubectl("create", "--raw", path, "-f", "-", stdin=body))["status"]["token"])


def known_as(ended: Ended) -> str:
    """The user that the API server names, in the refusal of the ConfigMap."""
    assert ended.returncode == 1
    assert "pathtap needs get on configmaps/pathtap-ca in namespace k3-pathtap: the Role pathtap-user " in ended.stderr
    (user,) = re.findall(r'User "([^"]+)" cannot get resource "configmaps"', ended.stderr)
    return str(user)


def test_tokens_and_certificates_in_the_kubeconfig(
    cluster: Cluster, kubeconfig: Callable[..., Path], nodes: Callable[..., Ended], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(cluster.token + "\n")
    (tmp_path / "c.pem").write_bytes(cluster.pair.certificate)
    (tmp_path / "k.pem").write_bytes(cluster.pair.key)
    data = {
        "client-certificate-data": _base64(cluster.pair.certificate),
        "client-key-data": _base64(cluster.pair.key),
    }
    assert known_as(nodes(kubeconfig({"token": cluster.token}))) == SERVICE_ACCOUNT
    assert known_as(nodes(kubeconfig({"tokenFile": "token"}))) == SERVICE_ACCOUNT
    assert known_as(nodes(kubeconfig(data))) == "ann"
    assert known_as(nodes(kubeconfig({"client-certificate": "c.pem", "client-key": "k.pem"}))) == "ann"
    assert known_as(nodes(kubeconfig({**data, "token": "invented"}))) == "ann"


@pytest.mark.parametrize("version", [f"{EXEC}/v1", f"{EXEC}/v1beta1"])
def test_exec_plugins(
    version: str, cluster: Cluster, kubeconfig: Callable[..., Path], nodes: Callable[..., Ended], tmp_path: Path
) -> None:
    for status, who in (
        ({"token": cluster.token}, SERVICE_ACCOUNT),
        (
            {
                "clientCertificateData": cluster.pair.certificate.decode(),
                "clientKeyData": cluster.pair.key.decode(),
            },
            "ann",
        ),
    ):
        answer = {"apiVersion": version, "kind": "ExecCredential", "status": status}
        (tmp_path / "answer").write_text(json.dumps(answer))
        plugin = tmp_path / "plugin"
        plugin.write_text('#!/bin/sh\necho asked >> "$1"\n[ "$SAYS" = yes ] && cat "$2"\n')
        plugin.chmod(0o755)
        (tmp_path / "runs").write_text("")
        spec = {
            "apiVersion": version,
            "command": "./plugin",
            "args": [str(tmp_path / "runs"), str(tmp_path / "answer")],
            "env": [{"name": "SAYS", "value": "yes"}],
            "interactiveMode": "Never",
        }
        assert known_as(nodes(kubeconfig({"exec": spec}))) == who
        # A refusal is no reason to ask for a password again.
        assert (tmp_path / "runs").read_text() == "asked\n"


def test_the_api_server_is_verified_as_the_kubeconfig_says(
    cluster: Cluster, kubeconfig: Callable[..., Path], nodes: Callable[..., Ended], tmp_path: Path
) -> None:
    user = {"token": cluster.token}
    (tmp_path / "ca.pem").write_bytes(cluster.plane.ca)
    trusting: tuple[dict[str, Any], ...] = (
        {"certificate-authority-data": None, "certificate-authority": "ca.pem"},
        {"certificate-authority-data": None, "insecure-skip-tls-verify": True},
        {"tls-server-name": "kubernetes.default.svc"},
    )
    for further in trusting:
        assert known_as(nodes(kubeconfig(user, **further))) == SERVICE_ACCOUNT
    stranger = cluster.plane.authority.server("other", ("127.0.0.1",)).certificate
    doubting: tuple[tuple[dict[str, Any], str], ...] = (
        ({"certificate-authority-data": None}, "unable to get local issuer certificate"),
        ({"certificate-authority-data": _base64(stranger)}, "certificate"),
        ({"tls-server-name": "other.example"}, "not valid for 'other.example'"),
    )
    for further, why in doubting:
        ended = nodes(kubeconfig(user, **further))
        assert (ended.returncode, "a certificate that the kubeconfig does not vouch for" in ended.stderr) == (1, True)
        assert why in ended.stderr


def test_several_files_are_joined_and_contexts_chosen(
    cluster: Cluster, kubeconfig: Callable[..., Path], nodes: Callable[..., Ended], tmp_path: Path
) -> None:
    whole = kubeconfig({"token": cluster.token}, "whole", current=False)
    current = tmp_path / "current"
    current.write_text("current-context: x\n")
    assert known_as(nodes(None, KUBECONFIG=f"{current}{os.pathsep}/nowhere{os.pathsep}{whole}")) == SERVICE_ACCOUNT
    assert known_as(nodes(whole, "--context", "x")) == SERVICE_ACCOUNT
    assert "has no current context. Give --context; it has: x." in nodes(whole).stderr
    unknown = nodes(whole, "--context", "y")
    assert (unknown.returncode, unknown.stderr) == (1, "pathtap: The kubeconfig has no context y; it has: x.\n")
    assert "no kubeconfig is found" in nodes(None).stderr
    assert "/absent cannot be read" in nodes(tmp_path / "absent").stderr


def test_a_proxy_is_used(cluster: Cluster, kubeconfig: Callable[..., Path], nodes: Callable[..., Ended]) -> None:
    with _proxy() as (address, seen):
        for further in ({}, {"tls-server-name": "kubernetes.default.svc"}):
            ended = nodes(kubeconfig({"token": cluster.token}, **{"proxy-url": f"http://{address}"}, **further))
            assert known_as(ended) == SERVICE_ACCOUNT
        other = nodes(
            kubeconfig({"token": "a"}, **{"proxy-url": f"http://{address}", "tls-server-name": "other.example"})
        )
        assert "not valid for 'other.example'" in other.stderr
    assert seen() == [f"127.0.0.1:{cluster.plane.port}"] * 3
    refused = nodes(kubeconfig({"token": cluster.token}, **{"proxy-url": f"http://127.0.0.1:{free_port()}"}))
    assert (refused.returncode, "cannot be reached by its proxy" in refused.stderr) == (1, True)


def test_who_is_not_known_and_where_nobody_answers(
    cluster: Cluster, kubeconfig: Callable[..., Path], nodes: Callable[..., Ended]
) -> None:
    stranger = nodes(kubeconfig({"token": "invented"}))
    assert (stranger.returncode, "(401 Unauthorized)" in stranger.stderr) == (1, True)
    assert "invented" not in stranger.stderr
    nobody = nodes(kubeconfig({"token": "a"}, server=f"https://127.0.0.1:{free_port()}"))
    assert (nobody.returncode, "cannot be reached: All connection attempts failed." in nobody.stderr) == (1, True)


def test_what_is_missing_in_the_cluster_is_said_in_its_order(cluster: Cluster, nodes: Callable[..., Ended]) -> None:
    plane = cluster.plane
    ann = plane.kubeconfig("k3-ann", pair=plane.authority.client("k3-ann"))
    absent = nodes(plane.admin, "--pathtap-namespace", EMPTY)
    assert (absent.returncode, "kubectl apply -f daemonset.yaml" in absent.stderr) == (1, True)
    assert f"pathtap is not installed in namespace {EMPTY}: it has no ConfigMap pathtap-ca." in absent.stderr

    assert known_as(nodes(ann)) == "k3-ann"
    _permit(plane, "read", "get", "configmaps", "--resource-name=pathtap-ca")
    assert "pathtap needs list on endpointslices.discovery.k8s.io in namespace k3-pathtap: " in nodes(ann).stderr
    _permit(plane, "find", "list", "endpointslices.discovery.k8s.io")
    unready = nodes(ann)
    assert (unready.returncode, "No collector is ready in namespace k3-pathtap" in unready.stderr) == (1, True)

    plane.kubectl("apply", "-f", "-", stdin=json.dumps(_endpoint_slice("collector-1")))
    assert "pathtap needs get and create on pods/portforward in namespace k3-pathtap: " in nodes(ann).stderr
    _permit(plane, "forward", "get,create", "pods/portforward")
    gone = nodes(ann)
    assert (gone.returncode, 'pods "collector-1" not found' in gone.stderr) == (1, True)
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(_pod("collector-1")))
    nowhere = nodes(ann)
    assert (nowhere.returncode, "https://" in nowhere.stderr, "answered" in nowhere.stderr) == (1, True, True)

    plane.kubectl("-n", HERE, "delete", "configmap", "pathtap-ca")
    plane.kubectl("-n", HERE, "create", "configmap", "pathtap-ca", "--from-literal=ca.crt=soon")
    assert "holds no certificate as ca.crt: the collector has not published it yet" in nodes(ann).stderr


def test_namespaces_are_completed_from_the_cluster(cluster: Cluster, kubeconfig: Callable[..., Path]) -> None:
    plugin = PATHTAP.with_name("kubectl_complete-pathtap")

    def offered(config: Path, *words: str) -> list[str]:
        environment = {"PATH": os.environ["PATH"], "KUBECONFIG": str(config)}
        done = subprocess.run([plugin, *words], env=environment, capture_output=True, text=True, timeout=60, check=True)
        assert done.stderr == ""
        return done.stdout.splitlines()

    assert offered(cluster.plane.admin, "-n", "k3-p") == [HERE, PEOPLE, ":4"]
    assert offered(kubeconfig({"token": cluster.token}), "nodes", "--namespace", "") == [":4"]
    assert offered(cluster.plane.admin, "--context", "") == ["lab", ":4"]


def test_kubectl_runs_the_plugin(cluster: Cluster, tmp_path: Path) -> None:
    kubectl = cluster.plane.where.assets / "kubectl"
    environment = {
        "PATH": f"{PATHTAP.parent}{os.pathsep}/usr/bin:/bin",
        "HOME": str(tmp_path),
        "KUBECONFIG": str(cluster.plane.admin),
    }

    def run(*words: str) -> Ended:
        argv = [str(kubectl), "pathtap", *words]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert run("trace", "--help").stdout.startswith("Usage: kubectl pathtap trace [OPTIONS] SRC to DST")
    assert "Write it as: kubectl pathtap trace SRC to DST" in run("trace", "a", "b").stderr
    missing = run("nodes", "--pathtap-namespace", EMPTY)
    assert (missing.returncode, f"not installed in namespace {EMPTY}" in missing.stderr) == (1, True)


def _permit(plane: ControlPlane, name: str, verbs: str, resource: str, *further: str) -> None:
    plane.kubectl("-n", HERE, "create", "role", name, f"--verb={verbs}", f"--resource={resource}", *further)
    plane.kubectl("-n", HERE, "create", "rolebinding", name, f"--role={name}", "--user=k3-ann")


def _endpoint_slice(pod: str) -> dict[str, Any]:
    """As the control plane's controller makes it of a Service and its pods."""
    return {
        "apiVersion": "discovery.k8s.io/v1beta1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "pathtap-collector-k3",
            "namespace": HERE,
            "labels": {"kubernetes.io/service-name": "pathtap-collector"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "grpc", "port": 9469}, {"name": "grpc-certificate", "port": 9471}],
        "endpoints": [
            {
                "addresses": ["192.0.2.1"],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "namespace": HERE, "name": pod},
            }
        ],
    }


def _pod(name: str) -> dict[str, Any]:
    spec = {"nodeName": "k3-no-such-node", "containers": [{"name": "c", "image": "c"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": HERE}, "spec": spec}


@contextmanager
def _proxy() -> Iterator[tuple[str, Callable[[], list[str]]]]:
    """An HTTP proxy that does CONNECT (RFC 9110) alone; its address, and which targets it was asked for."""
    targets: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            target = self.rfile.readline().split()[1].decode()
            while self.rfile.readline().strip():
                pass
            targets.append(target)
            host, _, port = target.rpartition(":")
            with socket.create_connection((host, int(port))) as far:
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_copy, args=(far, self.connection))
                back.start()
                _copy(self.connection, far)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}", lambda: targets
        finally:
            server.shutdown()
            serving.join()


def _copy(source: socket.socket, destination: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            destination.sendall(data)
    with suppress(OSError):
        destination.shutdown(socket.SHUT_WR)
