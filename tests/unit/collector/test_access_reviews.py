"""What is asked of an API server that is broken or slow, and what is remembered of one that is not: never more than it said.

A socket that answers so; what a sound one says is in tests/kube.
"""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import pytest

from pathtap.collector.access import reviews
from pathtap.collector.access.gate import ClusterGate
from pathtap.collector.access.identity import BoundPod, User
from pathtap.collector.access.needs import Needs
from pathtap.collector.access.refusal import Refused
from pathtap.collector.access.reviews import LONGEST_TOKEN, REMEMBER_ALLOWED, REMEMBER_REFUSED, Reviews
from pathtap.collector.cluster.api import Api

ANN, BOUND = User(name="ann"), BoundPod(namespace="pathtap", name="agent-1", uid="u1", node="")
KNOWN = {"status": {"authenticated": True, "user": {"username": "ann"}}}
ALLOWED = {"status": {"allowed": True}}
AGENT = {
    "authenticated": True,
    "audiences": ["pathtap-collector"],
    "user": {
        "username": "system:serviceaccount:pathtap:pathtap-agent",
        "extra": {"authentication.kubernetes.io/pod-name": ["agent-1"], "authentication.kubernetes.io/pod-uid": ["u1"]},
    },
}
POD = {"metadata": {"uid": "u1"}, "spec": {"nodeName": "node-1"}, "status": {"phase": "Running"}}


class Plain:
    """Of a server of this machine, without TLS."""

    server_name: str | None = None
    proxy: str | None = None

    def __init__(self, port: int) -> None:
        self.server = f"http://127.0.0.1:{port}"

    def token(self) -> str:
        return "t"

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    async def renew(self) -> None:
        """Nothing."""


class Place:
    """`said` maps a path to its answer: an HTTP status and a body, which is JSON unless it is text. Silent without one."""

    def __init__(self, said: dict[str, tuple[int, Any]]) -> None:
        self.said = said
        self.asked: list[tuple[str, Any]] = []
        self.clock = 1_000_000.0
        self.reviews: Reviews
        self.over = asyncio.Event()
        self.answering: set[asyncio.Task[None]] = set()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.answering.add(task)
        try:
            await self.answer(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(each[15:]) for each in head.split("\r\n") if each.lower().startswith("content-length:")), 0)
        body = await reader.readexactly(length)
        path = head.split()[1].rsplit("/", 1)[-1]
        self.asked.append((path, json.loads(body) if body else None))
        if path not in self.said:
            await self.over.wait()
            return
        status, answer = self.said[path]
        if callable(answer):
            answer = answer(self.asked[-1][1]["spec"])
        raw = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        writer.write(b"HTTP/1.1 %d x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(raw), raw))
        await writer.drain()


@asynccontextmanager
async def asked(**said: tuple[int, Any]) -> AsyncIterator[Place]:
    place = Place(dict(said))
    server = await asyncio.start_server(place.take, "127.0.0.1", 0)
    api = Api(Plain(server.sockets[0].getsockname()[1]))
    place.reviews = Reviews(api, lambda: place.clock)
    try:
        async with asyncio.timeout(20):
            yield place
    finally:
        await api.close()
        server.close()
        place.over.set()
        await asyncio.gather(*place.answering, return_exceptions=True)


def run(main: Callable[[], Any]) -> None:
    asyncio.run(main())


async def status_of(asking: Any) -> grpc.StatusCode:
    with pytest.raises(Refused) as refused:
        await asking
    return refused.value.status


ODD: list[tuple[int, Any]] = [
    (500, {"message": "etcd"}),
    (503, "away"),
    (403, {"message": "collector may not"}),
    (302, ""),
    (200, "no JSON"),
    (200, []),
    (200, {"status": [1]}),
    (200, {"status": "yes"}),
    (201, ""),
]


@pytest.mark.parametrize("odd", [*ODD, (201, {"status": {"authenticated": True, "user": ["ann"]}})])
def test_a_token_is_nobodys_where_the_answer_is_odd(odd: tuple[int, Any]) -> None:
    async def main() -> None:
        async with asked(tokenreviews=odd) as place:
            assert await status_of(place.reviews.user("token")) is grpc.StatusCode.UNAVAILABLE
            # Nothing of it is remembered.
            place.said["tokenreviews"] = (201, KNOWN)
            assert (await place.reviews.user("token")).name == "ann"

    run(main)


@pytest.mark.parametrize("odd", ODD)
def test_nothing_is_allowed_where_the_answer_is_odd(odd: tuple[int, Any]) -> None:
    async def main() -> None:
        async with asked(subjectaccessreviews=odd) as place:
            assert await status_of(place.reviews.allowed(ANN, "shop")) is grpc.StatusCode.UNAVAILABLE
            place.said["subjectaccessreviews"] = (201, ALLOWED)
            assert await place.reviews.allowed(ANN, "shop")

    run(main)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"status": {}},
        {"status": {"allowed": "true"}},
        {"status": {"allowed": 1}},
        {"status": {"allowed": True, "denied": True}},
    ],
)
def test_what_is_not_plainly_allowed_is_not(said: dict[str, Any]) -> None:
    async def main() -> None:
        async with asked(subjectaccessreviews=(201, said)) as place:
            assert not await place.reviews.allowed(ANN, "shop")

    run(main)


@pytest.mark.parametrize("odd", [*ODD, (200, {"metadata": "u1"})])
def test_an_agent_is_on_no_node_where_the_answer_is_odd(odd: tuple[int, Any]) -> None:
    async def main() -> None:
        async with asked(**{"agent-1": odd}) as place:
            status = await status_of(place.reviews.node(BOUND))
            assert status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED)
            place.said["agent-1"] = (200, POD)
            assert await place.reviews.node(BOUND) == "node-1"

    run(main)


def test_an_agents_pod_that_is_gone_is_no_outage() -> None:
    async def main() -> None:
        async with asked(**{"agent-1": (404, {"message": "no such pod"})}) as place:
            assert await status_of(place.reviews.node(BOUND)) is grpc.StatusCode.PERMISSION_DENIED

    run(main)


def test_who_does_not_answer_lets_nobody_in_and_keeps_nobody_else_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of people's tokens no answer comes; agents' and rights have turns of their own."""
    monkeypatch.setattr(reviews, "PATIENCE", 0.5)

    async def main() -> None:
        async with asked(subjectaccessreviews=(201, ALLOWED)) as place:
            flood = [asyncio.ensure_future(place.reviews.user(f"invented-{number}")) for number in range(40)]
            await asyncio.sleep(0.2)
            assert len(place.asked) == reviews.AT_ONCE
            assert await place.reviews.allowed(ANN, "shop")
            place.said["tokenreviews"] = (201, {"status": AGENT})
            assert (await place.reviews.user("agents", "pathtap-collector")).name.endswith("pathtap-agent")
            assert not any(each.done() for each in flood)
            ended = await asyncio.gather(*flood, return_exceptions=True)
            assert {each.status for each in ended if isinstance(each, Refused)} == {grpc.StatusCode.UNAVAILABLE}
            assert len(ended) == 40

    run(main)


def test_what_is_asked_is_asked_once_and_for_whom_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with asked(tokenreviews=(201, KNOWN), subjectaccessreviews=(201, ALLOWED)) as place:
            for _ in range(2):
                await place.reviews.user("one")
                assert await place.reviews.allowed(ANN, "shop")
            assert [path for path, _ in place.asked] == ["tokenreviews", "subjectaccessreviews"]
            assert place.asked[0][1]["spec"] == {"token": "one"}
            spec = place.asked[1][1]["spec"]
            assert spec["resourceAttributes"] == {
                "group": "pathtap.dev",
                "resource": "traces",
                "verb": "create",
                "namespace": "shop",
            }
            # Another namespace, the whole cluster, and whoever differs by what a right may rest on, are other questions.
            others = [User(name="ann", uid="7"), User(name="ann", groups=("g",)), User(name="ann", extra={"k": ("v",)})]
            for user, namespace in [(ANN, "other"), (ANN, ""), *((each, "shop") for each in others)]:
                await place.reviews.allowed(user, namespace)
            assert len(place.asked) == 7
            assert place.asked[-1][1]["spec"]["extra"] == {"k": ["v"]}
            assert place.asked[-2][1]["spec"]["groups"] == ["g"]
            assert place.asked[-3][1]["spec"]["uid"] == "7"
            # A token for agents is not one for people.
            assert await status_of(place.reviews.user("one", "pathtap-collector")) is grpc.StatusCode.UNAUTHENTICATED
            assert place.asked[-1][1]["spec"]["audiences"] == ["pathtap-collector"]

    run(main)


def test_what_was_allowed_is_asked_again_after_a_minute() -> None:
    async def main() -> None:
        async with asked(
            tokenreviews=(201, KNOWN), subjectaccessreviews=(201, ALLOWED), **{"agent-1": (200, POD)}
        ) as place:

            async def ask() -> None:
                await place.reviews.user("one")
                await place.reviews.allowed(ANN, "shop")
                await place.reviews.node(BOUND)

            await ask()
            place.clock += REMEMBER_ALLOWED - 1
            await ask()
            assert len(place.asked) == 3
            place.clock += 1
            await ask()
            assert len(place.asked) == 6

    run(main)


def test_what_was_refused_is_asked_again_after_seconds() -> None:
    async def main() -> None:
        async with asked(
            tokenreviews=(201, {"status": {}}), subjectaccessreviews=(201, {"status": {"allowed": False}})
        ) as place:

            async def ask() -> None:
                assert await status_of(place.reviews.user("one")) is grpc.StatusCode.UNAUTHENTICATED
                assert not await place.reviews.allowed(ANN, "shop")

            await ask()
            place.clock += REMEMBER_REFUSED - 1
            await ask()
            assert len(place.asked) == 2
            place.clock += 1
            await ask()
            assert len(place.asked) == 4

    run(main)


def token_until(seconds: float) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": seconds}).encode()).rstrip(b"=").decode()
    return f"e30.{claims}.c2ln"


def test_a_token_is_remembered_no_longer_than_it_lives() -> None:
    async def main() -> None:
        async with asked(tokenreviews=(201, KNOWN)) as place:
            token = token_until(place.clock + 20)
            await place.reviews.user(token)
            place.clock += 20
            await place.reviews.user(token)
            assert len(place.asked) == 2

    run(main)


@pytest.mark.parametrize("token", ["", "x" * (LONGEST_TOKEN + 1)])
def test_what_cannot_be_a_token_is_not_asked_about(token: str) -> None:
    async def main() -> None:
        async with asked() as place:
            assert await status_of(place.reviews.user(token)) is grpc.StatusCode.UNAUTHENTICATED
            assert place.asked == []

    run(main)


def test_an_agent_by_its_token_is_its_pods_nodes_and_for_how_long() -> None:
    async def main() -> None:
        async with asked(tokenreviews=(201, {"status": AGENT}), **{"agent-1": (200, POD)}) as place:
            gate = ClusterGate(place.reviews, "pathtap/pathtap-agent", lambda: place.clock)
            bearer = f"Bearer {token_until(place.clock + 3000)}"
            identity = await gate.agent_by((("authorization", bearer),))
            assert (identity.node, identity.pod, identity.left) == ("node-1", "pathtap/agent-1", 3000.0)
            # As a person it is refused, though the API server were to know it without its audience.
            asking = gate.person_by((("authorization", "Bearer of-the-account"),))
            assert await status_of(asking) is grpc.StatusCode.PERMISSION_DENIED

    run(main)


def test_a_person_needs_every_namespace_and_for_the_cluster_all_of_it() -> None:
    """Each is asked about by itself; a right in one, however it is called, is not one in all."""
    permitted = {"default", "shop"}

    def decide(spec: Any) -> dict[str, Any]:
        return {"status": {"allowed": spec["resourceAttributes"]["namespace"] in permitted}}

    async def main() -> None:
        async with asked(tokenreviews=(201, KNOWN), subjectaccessreviews=(201, decide)) as place:
            gate = ClusterGate(place.reviews, "pathtap/pathtap-agent", lambda: place.clock)
            person = await gate.person_by((("authorization", "Bearer one"),))
            await person.may(Needs(namespaces=frozenset(permitted)))
            for needs in (
                Needs(namespaces=frozenset({"shop", "vault"})),
                Needs(namespaces=frozenset({"vault", "default"})),
                Needs(namespaces=frozenset({""})),
                Needs(cluster=True),
                Needs(namespaces=frozenset({"shop"}), cluster=True),
            ):
                assert await status_of(person.may(needs)) is grpc.StatusCode.PERMISSION_DENIED
            assert await person.sees({"shop", "vault", "default"}) == frozenset(permitted)
            permitted.add("")
            place.clock += REMEMBER_ALLOWED
            await person.may(Needs(cluster=True))
            assert await person.sees({"vault"}) is None

    run(main)


def test_an_agents_token_is_reviewed_for_its_audience() -> None:
    async def main() -> None:
        async with asked(tokenreviews=(201, {"status": AGENT}), **{"agent-1": (200, POD)}) as place:
            gate = ClusterGate(place.reviews, "pathtap/pathtap-agent", lambda: place.clock)
            await gate.agent_by((("authorization", "Bearer one"),))
            assert place.asked[0][1]["spec"] == {"token": "one", "audiences": ["pathtap-collector"]}

    run(main)


def test_a_person_sees_what_they_may_and_the_whole_cluster_where_they_may_that() -> None:
    async def main() -> None:
        async with asked(tokenreviews=(201, KNOWN), subjectaccessreviews=(201, ALLOWED)) as place:
            gate = ClusterGate(place.reviews, "pathtap/pathtap-agent", lambda: place.clock)
            person = await gate.person_by((("authorization", "Bearer one"),))
            assert await person.sees({"shop"}) is None
            place.said["subjectaccessreviews"] = (201, {"status": {"allowed": False}})
            place.clock += REMEMBER_ALLOWED
            assert await person.sees({"shop"}) == frozenset()

    run(main)
