"""A kubeconfig as a document: one cluster, one user, one context. Pure."""

import base64
import json

from pathtap.lab.kube.certificates import KeyPair


def kubeconfig(
    server: str, authority: bytes, *, token: str = "", pair: KeyPair | None = None, namespace: str = ""
) -> str:
    """JSON, which is YAML. `authority` is PEM; the user shows a token, or the certificate of `pair`, or nothing."""
    user: dict[str, str] = {}
    if token:
        user["token"] = token
    if pair is not None:
        user |= {"client-certificate-data": _data(pair.certificate), "client-key-data": _data(pair.key)}
    context = {"cluster": "lab", "user": "lab"} | ({"namespace": namespace} if namespace else {})
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority-data": _data(authority)}}],
        "users": [{"name": "lab", "user": user}],
        "contexts": [{"name": "lab", "context": context}],
        "current-context": "lab",
    }
    return json.dumps(document, indent=1)


def _data(pem: bytes) -> str:
    return base64.b64encode(pem).decode()
