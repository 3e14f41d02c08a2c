"""Asks the API server who somebody is and what they may, and remembers it for a while. Without an answer nobody may."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import grpc

from pathtap.collector.access.cache import Cache
from pathtap.collector.access.identity import BoundPod, User, expiry, node_of, user_of_review
from pathtap.collector.access.refusal import Refused, denied, undecided, unknown
from pathtap.collector.cluster.api import Api, ApiError

Answer = TypeVar("Answer")

TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - a path
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
GROUP, RESOURCE, VERB = "pathtap.dev", "traces", "create"
# In seconds. A right that is taken away holds no longer than the first, one that is given is missed no longer than the second.
REMEMBER_ALLOWED, REMEMBER_REFUSED = 60.0, 10.0
# Of each kind. Refusals have a memory of their own: inventing tokens makes nobody else be forgotten.
MOST_REMEMBERED = 4096
# Questions to the API server at once, and how long one may take, waiting for its turn included, in seconds. Those about people's
# tokens, about agents' and about rights have turns of their own: whoever invents tokens at one port keeps nobody waiting who is
# known, or comes by another.
AT_ONCE, PATIENCE = 8, 5.0
# The kube-apiserver's own bound for all headers is larger; tokens with hundreds of groups stay below this.
LONGEST_TOKEN = 24 << 10


class Reviews:
    """`now` is seconds since 1970. Its methods raise Refused: UNAVAILABLE where the API server did not decide."""

    def __init__(self, api: Api, now: Callable[[], float]) -> None:
        self._api = api
        self._now = now
        self._people, self._agents, self._rights = (asyncio.Semaphore(AT_ONCE) for _ in range(3))
        self._users: Cache[tuple[str, bytes], User] = Cache(MOST_REMEMBERED, now)
        self._unknown: Cache[tuple[str, bytes], str] = Cache(MOST_REMEMBERED, now)
        self._nodes: Cache[BoundPod, str] = Cache(MOST_REMEMBERED, now)
        self._decisions: Cache[tuple[object, ...], bool] = Cache(MOST_REMEMBERED, now)

    async def user(self, token: str, audience: str = "") -> User:
        """Whose token this is; without an audience it must be one for the API server itself."""
        if not token or len(token) > LONGEST_TOKEN:
            raise unknown("the token is empty" if not token else f"the token is longer than {LONGEST_TOKEN} bytes")
        # Not the token itself: what is remembered opens no door.
        key = (audience, hashlib.sha256(token.encode()).digest())
        if (known := self._users.get(key)) is not None:
            return known
        if (why := self._unknown.get(key)) is not None:
            raise unknown(why)
        spec = {"token": token, **({"audiences": [audience]} if audience else {})}
        turn = self._agents if audience else self._people
        try:
            answer = await self._create(TOKEN_REVIEWS, "TokenReview", spec, turn)
            user = _understood(lambda: user_of_review(answer, audience))
        except Refused as error:
            if error.status is grpc.StatusCode.UNAUTHENTICATED:
                self._unknown.put(key, str(error), REMEMBER_REFUSED)
            raise
        ends = expiry(token)
        left = REMEMBER_ALLOWED if ends is None else min(REMEMBER_ALLOWED, ends - self._now())
        self._users.put(key, user, left)
        return user

    async def node(self, bound: BoundPod) -> str:
        """The node of an agent's pod."""
        if (known := self._nodes.get(bound)) is not None:
            return known
        path = f"/api/v1/namespaces/{bound.namespace}/pods/{bound.name}"
        try:
            pod = await self._asked(lambda: self._api.get(path), self._rights)
            node = _understood(lambda: node_of(pod, bound))
        except ApiError as error:
            if error.status == 404:
                raise denied(f"the agent's token is of a pod {bound.namespace}/{bound.name} that is gone") from error
            raise undecided(f"which node the agent is on cannot be told: {error}") from error
        self._nodes.put(bound, node, REMEMBER_ALLOWED)
        return node

    async def allowed(self, user: User, namespace: str) -> bool:
        """Whether the user may create traces.pathtap.dev there; "" means in the whole cluster."""
        key = (user.key, namespace)
        if (known := self._decisions.get(key)) is not None:
            return known
        attributes = {"group": GROUP, "resource": RESOURCE, "verb": VERB, "namespace": namespace}
        spec = {
            "user": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": {name: list(values) for name, values in user.extra.items()},
            "resourceAttributes": attributes,
        }
        answer = await self._create(ACCESS_REVIEWS, "SubjectAccessReview", spec, self._rights)
        allowed = _understood(lambda: _is_allowed(answer))
        self._decisions.put(key, allowed, REMEMBER_ALLOWED if allowed else REMEMBER_REFUSED)
        return allowed

    async def _create(
        self, path: str, kind: str, spec: Mapping[str, Any], turn: asyncio.Semaphore
    ) -> Mapping[str, Any]:
        group = path.split("/")[2]
        body = {"apiVersion": f"{group}/v1", "kind": kind, "spec": spec}
        try:
            return await self._asked(lambda: self._api.create(path, body), turn)
        except ApiError as error:
            raise undecided(f"nobody is let in while the API server cannot be asked who may: {error}") from error

    async def _asked(
        self, ask: Callable[[], Awaitable[Mapping[str, Any]]], turn: asyncio.Semaphore
    ) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(PATIENCE), turn:
                return await ask()
        except TimeoutError:
            raise undecided(f"the API server did not answer within {PATIENCE:g} s, so nobody is let in") from None


def _is_allowed(review: Mapping[str, Any]) -> bool:
    status = review.get("status") or {}
    return status.get("allowed") is True and status.get("denied") is not True


def _understood(read: Callable[[], Answer]) -> Answer:
    """What is of another shape than the API says decides nothing."""
    try:
        return read()
    except (AttributeError, TypeError, ValueError) as error:
        raise undecided(f"the API server answers what cannot be understood, so nobody is let in: {error}") from error
