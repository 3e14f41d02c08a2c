"""Who asks: what a TokenReview, a client certificate and the pod of an agent's token say. Pure; believes nothing but these.

Sources: authentication.k8s.io/v1 TokenReview; pkg/serviceaccount (extra of pod-bound tokens) and
staging/src/k8s.io/apiserver/pkg/authentication/request/x509 (CommonNameUserConversion) of Kubernetes.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from pathtap.collector.access.refusal import denied, quoted, unknown
from pathtap.collector.cluster.inventory import FINISHED

AGENT_AUDIENCE = "pathtap-collector"
EVERYBODY_KNOWN = "system:authenticated"
POD_NAME = "authentication.kubernetes.io/pod-name"
POD_UID = "authentication.kubernetes.io/pod-uid"
NODE_NAME = "authentication.kubernetes.io/node-name"
SERVICE_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """As the cluster sees them; what SubjectAccessReview takes."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def key(self) -> tuple[object, ...]:
        """All that a permission may rest on."""
        return (self.name, self.uid, self.groups, tuple(sorted(self.extra.items())))


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundPod:
    """The pod that a token was made for; `node` is empty where the token does not say it (before Kubernetes 1.30)."""

    namespace: str
    name: str
    uid: str
    node: str


def user_of_review(review: Mapping[str, Any], audience: str) -> User:
    """Of an answered TokenReview; `audience` is empty where the API server's own was asked for. Raises Refused."""
    status = review.get("status") or {}
    user = status.get("user") or {}
    if status.get("authenticated") is not True or not user.get("username"):
        why = quoted(str(status.get("error") or "it does not say why"))
        raise unknown(f"the API server does not accept the token: {why}")
    # An API server that knows no audiences accepts any token for any of them, and says so by telling none.
    if audience and audience not in tuple(status.get("audiences") or ()):
        raise unknown(f"the token is not made for the audience {audience}")
    return User(
        name=str(user["username"]),
        uid=str(user.get("uid") or ""),
        groups=tuple(map(str, user.get("groups") or ())),
        extra={str(key): tuple(map(str, values)) for key, values in (user.get("extra") or {}).items()},
    )


def user_of_certificate(pem: bytes, now: datetime) -> User:
    """Of a client certificate that TLS has verified: the common name, and the organizations as groups. Raises Refused.

    A connection may outlive its certificate, so the time is looked at again. `now` has its time zone.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        groups = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    except ValueError as error:
        raise unknown(f"the client certificate cannot be read: {error}") from error
    begun, ended = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begun <= now <= ended:
        raise unknown(f"the client certificate was valid from {begun:%Y-%m-%d %H:%M} to {ended:%Y-%m-%d %H:%M} UTC")
    # Of several, Kubernetes takes the last: nobody who has signed such a one meant it.
    if len(names) != 1 or not names[0]:
        raise unknown("the client certificate must have one common name: Kubernetes takes it as the user's")
    return User(name=names[0], groups=tuple(dict.fromkeys((*groups, EVERYBODY_KNOWN))))


def bound_pod(user: User, account: str) -> BoundPod:
    """`account` is NAMESPACE/NAME, the agents' service account. Raises Refused for anybody else, and for a token of no pod."""
    namespace = account.partition("/")[0]
    if user.name != account_user(account):
        raise denied(f'user "{quoted(user.name)}" is no agent: agents are {account_user(account)}')
    pod, uid = _single(user, POD_NAME), _single(user, POD_UID)
    if not pod or not uid:
        raise denied("the agent's token is bound to no pod, so nobody knows its node: it must be a projected one")
    return BoundPod(namespace=namespace, name=pod, uid=uid, node=_single(user, NODE_NAME))


def node_of(pod: Mapping[str, Any], bound: BoundPod) -> str:
    """The node that a pod, as the API describes it, runs on. Raises Refused where it is not the one of the token."""
    metadata, spec, status = pod.get("metadata") or {}, pod.get("spec") or {}, pod.get("status") or {}
    if metadata.get("uid") != bound.uid or status.get("phase") in FINISHED:
        raise denied(f"the agent's token is of a pod {bound.namespace}/{bound.name} that is gone")
    node = str(spec.get("nodeName") or "")
    if not node or bound.node not in ("", node):
        raise denied(f"the pod {bound.namespace}/{bound.name} of the agent's token is on no node, or on another")
    return node


def account_user(account: str) -> str:
    """The user name of a service account, NAMESPACE/NAME."""
    return SERVICE_ACCOUNT + account.replace("/", ":", 1)


def expiry(token: str) -> float | None:
    """When a JSON web token says that it ends, in seconds since 1970; None where it is none. It proves nothing: it only
    shortens how long an answer is remembered."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    ends = claims.get("exp") if isinstance(claims, dict) else None
    return float(ends) if isinstance(ends, int | float) else None


def _single(user: User, key: str) -> str:
    values = user.extra.get(key, ())
    return values[0] if len(values) == 1 else ""
