"""Admits agents and people, by what they show. In front of every message of theirs stands one of these gates."""

import asyncio
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import grpc.aio

from pathtap.collector.access.identity import (
    AGENT_AUDIENCE,
    SERVICE_ACCOUNT,
    User,
    account_user,
    bound_pod,
    expiry,
    user_of_certificate,
)
from pathtap.collector.access.needs import Needs
from pathtap.collector.access.refusal import denied, quoted, unknown
from pathtap.collector.access.reviews import GROUP, RESOURCE, VERB, Reviews

Metadata = Iterable[tuple[str, str | bytes]]
Context = grpc.aio.ServicerContext[Any, Any]
# The ClusterRole of daemonset.yaml that a binding gives to people.
ROLE = "pathtap-user"
# The namespace of bare names, as kubectl has it.
DEFAULT_NAMESPACE = "default"
# So many permissions are asked for at once to find out what somebody sees of the cluster.
MOST_NAMESPACES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentIdentity:
    """An agent, and the node that it may speak for. `left` is for how many seconds its token says that it lasts, None where
    it does not say it.
    """

    node: str
    pod: str
    left: float | None = None


class Caller(Protocol):
    """Who asks. `default_namespace` is that of bare names; empty means that they are unique across the inventory."""

    name: str
    uid: str
    default_namespace: str

    async def may(self, needs: Needs) -> None:
        """Raises Refused where something of it is missing."""

    async def sees(self, namespaces: Iterable[str]) -> frozenset[str] | None:
        """Those of the namespaces in which the caller may trace; None for everything in the cluster."""


class Gate(Protocol):
    """Both raise Refused. `agent` gives None where anybody may speak for any node."""

    async def agent(self, context: Context) -> AgentIdentity | None: ...

    async def person(self, context: Context) -> Caller: ...


class Anybody:
    """Where nobody has to show who they are."""

    name = ""
    uid = ""
    default_namespace = ""

    async def may(self, needs: Needs) -> None:
        """Everything."""

    async def sees(self, namespaces: Iterable[str]) -> frozenset[str] | None:
        del namespaces
        return None


class OpenGate:
    """`--insecure`, or an inventory from a file: there is no cluster that could tell who may."""

    async def agent(self, context: Context) -> AgentIdentity | None:
        del context
        return None

    async def person(self, context: Context) -> Caller:
        del context
        return Anybody()


class Person:
    """A user of the cluster."""

    default_namespace = DEFAULT_NAMESPACE

    def __init__(self, user: User, reviews: Reviews) -> None:
        self._user = user
        self._reviews = reviews
        self.name = user.name
        self.uid = user.uid

    async def may(self, needs: Needs) -> None:
        if needs.cluster:
            if not await self._reviews.allowed(self._user, ""):
                raise denied(refusal(self.name, "", needs.because))
            return
        for namespace in sorted(needs.namespaces):
            if not await self._reviews.allowed(self._user, namespace):
                raise denied(refusal(self.name, namespace, needs.because))

    async def sees(self, namespaces: Iterable[str]) -> frozenset[str] | None:
        if await self._reviews.allowed(self._user, ""):
            return None
        asked = sorted(set(namespaces))[:MOST_NAMESPACES]
        answers = await asyncio.gather(*(self._reviews.allowed(self._user, each) for each in asked))
        return frozenset(name for name, allowed in zip(asked, answers, strict=True) if allowed)


class ClusterGate:
    """Asks the cluster. `agents` is their service account, NAMESPACE/NAME; `now` is seconds since 1970."""

    def __init__(self, reviews: Reviews, agents: str, now: Callable[[], float]) -> None:
        self._reviews = reviews
        self._agents = agents
        self._now = now

    async def agent(self, context: Context) -> AgentIdentity:
        return await self.agent_by(_metadata(context))

    async def person(self, context: Context) -> Caller:
        """By the client certificate where TLS has verified one, else by the token."""
        shown = tuple(context.auth_context().get("x509_pem_cert", ()))
        if shown:
            now = datetime.fromtimestamp(self._now(), UTC)
            return self._entitled(user_of_certificate(bytes(shown[0]), now))
        return await self.person_by(_metadata(context))

    async def agent_by(self, metadata: Metadata) -> AgentIdentity:
        token = bearer_token(metadata)
        bound = bound_pod(await self._reviews.user(token, AGENT_AUDIENCE), self._agents)
        node, ends = await self._reviews.node(bound), expiry(token)
        left = ends - self._now() if ends is not None else None
        return AgentIdentity(node=node, pod=f"{bound.namespace}/{bound.name}", left=left)

    async def person_by(self, metadata: Metadata) -> Caller:
        return self._entitled(await self._reviews.user(bearer_token(metadata)))

    def _entitled(self, user: User) -> Person:
        if user.name == account_user(self._agents):
            raise denied(f"{user.name} is the agents' service account: agents answer, they do not ask")
        return Person(user, self._reviews)


def _metadata(context: Context) -> Metadata:
    return [(str(key), value) for key, value in context.invocation_metadata() or ()]


def bearer_token(metadata: Metadata) -> str:
    """Of `authorization: Bearer TOKEN`. Raises Refused where there is none, or several."""
    shown = [value for key, value in metadata if key == "authorization"]
    if not shown:
        raise unknown("show who you are: no token came (metadata authorization: Bearer TOKEN)")
    scheme, _, token = str(shown[0]).partition(" ")
    if len(shown) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise unknown("show who you are by one token: authorization: Bearer TOKEN")
    return token.strip()


def refusal(user: str, namespace: str, because: str) -> str:
    """What is missing, and the command by which it is given. `namespace` empty means the cluster.

    Of what an address or a service turned out to be, neither kind nor namespace is told: who may not see it learns no more.
    """
    said = f'user "{quoted(user)}" may not {VERB} {RESOURCE}.{GROUP}'
    if because:
        return f"{said} for {quoted(because)}: it leads into a part of the cluster where that right is missing"
    who = _subject(user)
    name = "pathtap-" + "".join(char if char.isascii() and char.isalnum() else "-" for char in user.lower()).strip("-")
    if namespace:
        command = (
            f"kubectl create rolebinding {name[:60]} --clusterrole={ROLE} {who} --namespace={shlex.quote(namespace)}"
        )
        return f'{said} in namespace "{quoted(namespace)}". To allow it: {command}'
    command = f"kubectl create clusterrolebinding {name[:60]} --clusterrole={ROLE} {who}"
    return f"{said} in the whole cluster, which nodes and --all need. To allow it: {command}"


def _subject(user: str) -> str:
    if user.startswith(SERVICE_ACCOUNT):
        return f"--serviceaccount={shlex.quote(user.removeprefix(SERVICE_ACCOUNT))}"
    return f"--user={shlex.quote(user)}"
