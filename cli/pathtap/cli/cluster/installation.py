"""Where pathtap is in a cluster: which CA its collector has, and which pod serves it. Reads two objects of one namespace.

The EndpointSlices of a Service name its ready pods and the numbers of its ports (discovery.k8s.io/v1, since 1.21; before
that v1beta1, which differs in nothing that is read here).
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pathtap.cli.cluster.api import Api, RefusedError
from pathtap.cli.errors import CommandError

AUTHORITY, AUTHORITY_KEY = "pathtap-ca", "ca.crt"
SERVICE = "pathtap-collector"
TOKEN_PORT, CERTIFICATE_PORT = "grpc", "grpc-certificate"
INSTALL = "kubectl apply -f daemonset.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One ready pod, and the port in it."""

    pod: str
    port: int


def server_name(namespace: str) -> str:
    """What the collector's certificate is made out to, whatever address leads there."""
    return f"{SERVICE}.{namespace}.svc"


async def authority(api: Api, namespace: str) -> bytes:
    """PEM, one certificate or more. Raises CommandError."""
    path = f"/api/v1/namespaces/{namespace}/configmaps/{AUTHORITY}"
    try:
        document = await api.get(path)
    except RefusedError as error:
        if error.status == 404:
            raise CommandError(
                f"pathtap is not installed in namespace {namespace}: it has no ConfigMap {AUTHORITY}. "
                f"{INSTALL} installs it; --pathtap-namespace names another namespace."
            ) from error
        raise _with_hint(error, f"get on configmaps/{AUTHORITY}", namespace) from error
    text = str((document.get("data") or {}).get(AUTHORITY_KEY) or "")
    if "-----BEGIN CERTIFICATE-----" not in text or not text.isascii():
        raise CommandError(
            f"The ConfigMap {AUTHORITY} in namespace {namespace} holds no certificate as {AUTHORITY_KEY}: "
            "the collector has not published it yet. Its log says why."
        )
    return text.encode()


async def backend(api: Api, namespace: str, port: str) -> Backend:
    """A ready pod of the Service, any of them, and the number of its port of that name. Raises CommandError."""
    try:
        slices = await _slices(api, namespace)
    except RefusedError as error:
        raise _with_hint(error, "list on endpointslices.discovery.k8s.io", namespace) from error
    found = ready(slices, port)
    if not found:
        raise CommandError(
            f"No collector is ready in namespace {namespace}: the Service {SERVICE} has no ready pod with a port {port}. "
            f"See: kubectl -n {namespace} get pods"
        )
    # Chance that nobody gains from knowing: it spreads people over replicas.
    return random.choice(found)  # noqa: S311


def ready(slices: Sequence[Mapping[str, Any]], port: str) -> tuple[Backend, ...]:
    """Pure: the pods that are ready, or of which that is unknown, as the API asks consumers to read it, in order of names."""
    found = set()
    for each in slices:
        numbers = [
            int(known["port"]) for known in each.get("ports") or [] if known.get("name") == port and known.get("port")
        ]
        for endpoint in each.get("endpoints") or []:
            pod = endpoint.get("targetRef") or {}
            if numbers and pod.get("kind") == "Pod" and (endpoint.get("conditions") or {}).get("ready") is not False:
                found.add((str(pod.get("name")), numbers[0]))
    return tuple(Backend(pod=name, port=number) for name, number in sorted(found))


async def namespaces(api: Api) -> list[str]:
    """All namespaces' names. Raises CommandError."""
    document = await api.get("/api/v1/namespaces")
    return [str(each["metadata"]["name"]) for each in document.get("items") or []]


def forbidden_forward(error: CommandError, namespace: str) -> CommandError:
    """What a refused port-forward lacks: a websocket is a GET, and since 1.35 it needs create as well."""
    return (
        _with_hint(error, "get and create on pods/portforward", namespace) if isinstance(error, RefusedError) else error
    )


async def _slices(api: Api, namespace: str) -> Sequence[Mapping[str, Any]]:
    for version in ("v1", "v1beta1"):
        path = f"/apis/discovery.k8s.io/{version}/namespaces/{namespace}/endpointslices"
        try:
            document = await api.get(path, labelSelector=f"kubernetes.io/service-name={SERVICE}")
        except RefusedError as error:
            if error.status == 404 and version == "v1":
                continue
            raise
        return document.get("items") or []
    return []


def _with_hint(error: RefusedError, needed: str, namespace: str) -> CommandError:
    if error.status != 403:
        return error
    role = "the Role pathtap-user there has it, which an administrator binds to you"
    return CommandError(f"{error.message} pathtap needs {needed} in namespace {namespace}: {role}.")
