"""A cluster with people, agents and somebody else's pods in a real API server, a collector in front of it, and who calls it."""

import asyncio
import base64
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from pathtap.collector.cluster.api import connect
from pathtap.lab.kube.certificates import Authority, KeyPair, new_authority
from pathtap.lab.kube.control_plane import ControlPlane, free_port
from pathtap.v1 import agent_pb2, agent_pb2_grpc, service_pb2

OWN, SHOP, OTHER, PEOPLE = "k2-pathtap", "k2-shop", "k2-other", "k2-people"
AGENTS = f"{OWN}/pathtap-agent"
SERVER_NAME = "pathtap-collector.pathtap.svc"
NODES = {"k2-node-1": "192.168.1.10", "k2-node-2": "192.168.1.11"}
# Name: node, address.
PODS = {
    f"{SHOP}/cart": ("k2-node-1", "192.168.1.21"),
    f"{SHOP}/redis": ("k2-node-2", "192.168.1.22"),
    f"{OTHER}/vault": ("k2-node-2", "192.168.1.31"),
    f"{OWN}/agent-1": ("k2-node-1", ""),
    f"{OWN}/agent-2": ("k2-node-2", ""),
}
# Name: cluster address, addresses behind it.
SERVICES = {
    f"{SHOP}/redis": ("10.100.7.1", ("192.168.1.22",)),
    f"{SHOP}/mixed": ("10.100.7.2", ("192.168.1.22", "192.168.1.31")),
    f"{OTHER}/vault": ("10.100.7.3", ("192.168.1.31",)),
}
USER_ROLE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "pathtap-user"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """`uids` are those of the pods, by key."""

    plane: ControlPlane
    uids: Mapping[str, str]

    def token(self, account: str, *audiences: str, pod: str = "", seconds: int = 3600) -> str:
        """TokenRequest for NAMESPACE/NAME, bound to a pod where one is named."""
        namespace, _, name = account.partition("/")
        spec: dict[str, Any] = {"audiences": list(audiences), "expirationSeconds": seconds}
        if pod:
            spec["boundObjectRef"] = {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": pod.rpartition("/")[2],
                "uid": self.uids[pod],
            }
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        made = ask(self.plane, ("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", body))
        return str(made[0]["status"]["token"])

    def agent_token(self, number: int) -> str:
        return self.token(AGENTS, "pathtap-collector", pod=f"{OWN}/agent-{number}")

    def forged(self, token: str, key: bytes | None = None, **claims: object) -> str:
        """The same token with other claims, signed by the cluster's own key or another one, PEM."""
        header, payload, _ = token.split(".")
        decoded = json.loads(_unpadded(payload)) | claims
        body = f"{header}.{_padded(json.dumps(decoded).encode())}"
        pem = key or (self.plane.where.directory / "sa.key").read_bytes()
        private = serialization.load_pem_private_key(pem, None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        r, s = decode_dss_signature(private.sign(body.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{body}.{_padded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _padded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def ask(plane: ControlPlane, *requests: tuple[str, str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Answers of the API server to the administrator's POST, PUT and GET, in order."""

    async def all_of_them() -> list[Mapping[str, Any]]:
        api = await connect(plane.admin, "")
        try:
            done = []
            for verb, path, body in requests:
                match verb:
                    case "POST":
                        done.append(await api.create(path, body))
                    case "PUT":
                        done.append(await api.replace(path, body))
                    case _:
                        done.append(await api.get(path))
            return done
        finally:
            await api.close()

    return asyncio.run(all_of_them())


def furnish(plane: ControlPlane) -> Place:
    """Makes all of the above. Once for each control plane."""
    for namespace in (OWN, SHOP, OTHER, PEOPLE):
        plane.kubectl("create", "namespace", namespace)
    for account in (AGENTS, f"{PEOPLE}/ann", f"{PEOPLE}/root", f"{OTHER}/default"):
        namespace, _, name = account.partition("/")
        plane.kubectl("create", "serviceaccount", name, "-n", namespace)
    documents = [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "pathtap-user"},
            "rules": [{"apiGroups": ["pathtap.dev"], "resources": ["traces"], "verbs": ["create"]}],
        },
        *(_service(key, address) for key, (address, _) in SERVICES.items()),
        *(_slice(key, behind) for key, (_, behind) in SERVICES.items()),
    ]
    plane.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))
    bind = ("create", "rolebinding", "k2-ann", "--clusterrole=pathtap-user", "-n", SHOP)
    plane.kubectl(*bind, f"--serviceaccount={PEOPLE}:ann", "--user=k2-ann")
    plane.kubectl(
        "create", "clusterrolebinding", "k2-root", "--clusterrole=pathtap-user", f"--serviceaccount={PEOPLE}:root"
    )
    for name, address in NODES.items():
        made = ask(plane, ("POST", "/api/v1/nodes", {"kind": "Node", "metadata": {"name": name}}))[0]
        status = {"addresses": [{"type": "InternalIP", "address": address}]}
        ask(plane, ("PUT", f"/api/v1/nodes/{name}/status", {**made, "status": status}))
    return Place(plane=plane, uids={key: add_pod(plane, key, *where) for key, where in PODS.items()})


def add_pod(plane: ControlPlane, key: str, node: str, address: str) -> str:
    """A pod that runs, as far as the API knows; its UID. Without an address it shares its node's."""
    namespace, _, name = key.partition("/")
    account = "pathtap-agent" if namespace == OWN else "default"
    containers = [{"name": "c", "image": "c"}]
    spec = {"nodeName": node, "serviceAccountName": account, "containers": containers, "hostNetwork": not address}
    pods = f"/api/v1/namespaces/{namespace}/pods"
    made = ask(plane, ("POST", pods, {"kind": "Pod", "metadata": {"name": name}, "spec": spec}))[0]
    held = address or NODES[node]
    status = {"phase": "Running", "podIP": held, "podIPs": [{"ip": held}], "hostIP": NODES[node]}
    ask(plane, ("PUT", f"{pods}/{name}/status", {**made, "status": status}))
    return str(made["metadata"]["uid"])


def _service(key: str, address: str) -> dict[str, Any]:
    namespace, _, name = key.partition("/")
    ports = [{"name": "main", "port": 6379, "protocol": "TCP"}]
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"clusterIP": address, "ports": ports}}


def _slice(key: str, behind: Sequence[str]) -> dict[str, Any]:
    namespace, _, name = key.partition("/")
    return {
        "apiVersion": "discovery.k8s.io/v1beta1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [each], "conditions": {"ready": True}} for each in behind],
        "ports": [{"name": "main", "port": 6379, "protocol": "TCP"}],
    }


@dataclass(slots=True, kw_only=True)
class Collector:
    """A running `pathtap-collector`, and its files: `directory` holds tls.crt, tls.key, ca.crt as a Secret's mount does."""

    directory: Path
    authority: Authority
    port: int
    agent_port: int
    certificate_port: int
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return (self.directory / "collector.log").read_text()

    def channel(self, *, roots: bytes | None = None, pair: KeyPair | None = None, agent: bool = False) -> grpc.Channel:
        """With a client certificate to the port for these; for an agent to theirs."""
        credentials = grpc.ssl_channel_credentials(
            roots or (self.directory / "ca.crt").read_bytes(), *((pair.key, pair.certificate) if pair else ())
        )
        options = (("grpc.ssl_target_name_override", SERVER_NAME), ("grpc.use_local_subchannel_pool", 1))
        port = self.certificate_port if pair else self.agent_port if agent else self.port
        return grpc.secure_channel(f"127.0.0.1:{port}", credentials, options)

    def until(self, pattern: str, seconds: float = 20.0) -> None:
        """Returns once the log says so."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.log):
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, f"{pattern} is not in:\n{self.log}"
            time.sleep(0.05)


def write_certificate(directory: Path, authority: Authority, signs: Authority | None = None) -> None:
    """As a Secret's mount is changed: all at once."""
    pair = (signs or authority).server("pathtap-collector", (SERVER_NAME, "127.0.0.1"))
    for name, text in (("tls.key", pair.key), ("tls.crt", pair.certificate), ("ca.crt", authority.pair.certificate)):
        (directory / f".{name}").write_bytes(text)
        (directory / f".{name}").rename(directory / name)


@contextmanager
def collecting(plane: ControlPlane, directory: Path, *more: str, kubeconfig: Path | None = None) -> Iterator[Collector]:
    directory.mkdir()
    authority = new_authority("k2", datetime.now(UTC))
    write_certificate(directory, authority)
    port, agent_port, certificate_port = free_port(), free_port(), free_port()
    files = [
        f"--tls-{kind}={directory / name}" for kind, name in (("cert", "tls.crt"), ("key", "tls.key"), ("ca", "ca.crt"))
    ]
    argv = [sys.executable, "-m", "pathtap.collector", f"--listen=127.0.0.1:{port}", *files, *more]
    argv += [f"--listen-agents=127.0.0.1:{agent_port}"]
    argv += [f"--listen-certificates=127.0.0.1:{certificate_port}", f"--kubeconfig={kubeconfig or plane.admin}"]
    argv += [f"--namespace={OWN}", f"--agents={AGENTS}"]
    with (directory / "collector.log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    running = Collector(
        directory=directory,
        authority=authority,
        port=port,
        agent_port=agent_port,
        certificate_port=certificate_port,
        process=process,
    )
    try:
        running.until("listening on .* for client certificates")
        yield running
    finally:
        process.terminate()
        process.wait(10)


class Turned(Exception):  # noqa: N818 - it says what became of the call
    """A call that ended with a status, after so many messages."""

    def __init__(self, error: grpc.RpcError, messages: int) -> None:
        self.status: grpc.StatusCode = error.code()
        self.said = error.details() or ""
        self.messages = messages
        super().__init__(f"{self.status.name}: {self.said}")


def shown(token: str | None) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),) if token is not None else ()


def call(channel: grpc.Channel, method: str, request: Any, token: str | None, seconds: float = 20.0) -> list[Any]:
    """All messages of the answer. Raises Turned. `request` may be bytes."""
    described = service_pb2.DESCRIPTOR.services_by_name["TraceService"].methods_by_name[method]
    send: Any = channel.unary_stream if described.server_streaming else channel.unary_unary
    answer = getattr(service_pb2, described.output_type.name)
    encode = None if isinstance(request, bytes) else type(request).SerializeToString
    path = f"/{described.containing_service.full_name}/{method}"
    came: list[Any] = []
    try:
        answered = send(path, encode, answer.FromString)(request, metadata=shown(token), timeout=seconds)
        if not described.server_streaming:
            return [answered]
        came.extend(answered)
    except grpc.RpcError as error:
        raise Turned(error, len(came)) from error
    return came


def introduce(channel: grpc.Channel, node: str, token: str | None, seconds: float = 10.0) -> Any:
    """The stream of an agent that says hello and then nothing: let in, or ended already."""
    hello = agent_pb2.ConnectRequest(node=node, boot_id="k2", sequence=1, hello=agent_pb2.Hello(version="0"))

    def requests() -> Iterator[agent_pb2.ConnectRequest]:
        yield hello
        threading.Event().wait(seconds)

    stream = agent_pb2_grpc.IntakeServiceStub(channel).Connect(requests(), metadata=shown(token), timeout=seconds)
    stream.initial_metadata()
    return stream


def ended(stream: Any) -> Turned:
    """What a stream of an agent ended with, before anything came."""
    try:
        next(stream)
    except grpc.RpcError as error:
        return Turned(error, 0)
    raise AssertionError("the stream goes on")
