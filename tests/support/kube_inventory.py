"""What the tests of the inventory share: objects that are written as a kubelet and the controllers write them, and a collector's
inventory that follows them."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pathtap.collector.cluster.api import Api, connect
from pathtap.collector.cluster.inventory import Inventory, InventoryUnread
from pathtap.collector.cluster.live_inventory import LiveInventory
from pathtap.lab.kube.control_plane import ISSUER, ControlPlane

PATIENCE = 40.0


@asynccontextmanager
async def following(api: Api) -> AsyncIterator[LiveInventory]:
    live = LiveInventory(api, time.time_ns)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(live.run())
        try:
            yield live
        finally:
            task.cancel()


@asynccontextmanager
async def administrator(control_plane: ControlPlane) -> AsyncIterator[Api]:
    api = await connect(control_plane.admin, "")
    try:
        yield api
    finally:
        await api.close()


async def until(holds: Callable[[], object]) -> None:
    """AssertionError where it does not come true. While nothing has been read, nothing holds."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if holds():
                return
        except InventoryUnread:
            pass
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come true in time")


async def read(live: LiveInventory) -> Inventory:
    await until(lambda: live.current() is not None)
    return live.current()


def pod(name: str, *, node: str = "node-1", **metadata: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "nowhere/main"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": {"nodeName": node, "containers": [container], "automountServiceAccountToken": False},
    }


async def run_pod(api: Api, namespace: str, body: dict[str, Any], *addresses: str, phase: str = "Running") -> str:
    """Makes the pod, and writes the status that its kubelet would. Gives the uid."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    made = dict(await api.create(path, body))
    made["status"] = {
        "phase": phase,
        "podIP": addresses[0] if addresses else None,
        "podIPs": [{"ip": address} for address in addresses],
        "startTime": made["metadata"]["creationTimestamp"],
        "conditions": [{"type": "Ready", "status": "True" if phase == "Running" else "False"}],
    }
    await api.replace(f"{path}/{made['metadata']['name']}/status", made)
    return str(made["metadata"]["uid"])


async def make_namespace(api: Api, name: str) -> str:
    await api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    return name


async def forget(control_plane: ControlPlane, namespace: str, *what: str) -> None:
    """`kubectl delete`, at once: no kubelet is there to end anything."""
    await asyncio.to_thread(
        control_plane.kubectl, "delete", "-n", namespace, "--force", "--grace-period=0", "--wait=false", *what
    )


def signed_token(control_plane: ControlPlane, account: dict[str, Any], seconds: int) -> str:
    """A service account's, as the API server signs them, but for a shorter life than the ten minutes that it grants at least."""
    namespace, name, uid = (account["metadata"][key] for key in ("namespace", "name", "uid"))
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": [ISSUER],
        "sub": f"system:serviceaccount:{namespace}:{name}",
        "iat": now,
        "nbf": now,
        "exp": now + seconds,
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}},
    }
    key = load_pem_private_key((control_plane.where.directory / "sa.key").read_bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    text = b".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "ES256", "typ": "JWT"}, claims))
    # RFC 7518, 3.4: two numbers of 32 bytes.
    numbers = decode_dss_signature(key.sign(text, ECDSA(hashes.SHA256())))
    return (text + b"." + _base64(b"".join(number.to_bytes(32, "big") for number in numbers))).decode()


def _base64(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
