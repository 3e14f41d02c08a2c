"""A stream outlives the token that opened it: who opened it is asked again, and it ends without a word from the agent."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from scripted_agent import ScriptedAgent
from small_cluster import NODE_1, NODE_2, node_1

from pathtap.collector.access.gate import AgentIdentity, Caller, Context
from pathtap.collector.access.refusal import Refused, denied, undecided, unknown
from pathtap.collector.access.vigil import Pauses, outstayed
from pathtap.collector.agents import Agents
from pathtap.collector.intake import Intake
from pathtap.model.request import CaptureRequest
from pathtap.v1 import agent_pb2, agent_pb2_grpc

OWN = AgentIdentity(node=NODE_1, pod="pathtap/agent-1")
AWAY = undecided("the API server is away")
GONE = unknown("the pod is gone")
Said = AgentIdentity | Exception


class Cluster:
    """Says this of the agent, one after the other, and the last for ever. Counts how often it was asked."""

    def __init__(self, *said: Said) -> None:
        self._said = chain(said[:-1], repeat(said[-1]))
        self.asked = 0

    async def agent(self, context: Context) -> AgentIdentity:
        self.asked += 1
        said = next(self._said)
        if isinstance(said, Exception):
            raise said
        return said

    async def person(self, context: Context) -> Caller:
        raise AssertionError


def ended(cluster: Cluster, left: float | None = None, used: Iterable[bool] = (), **pauses: float) -> Refused:
    uses = chain(used, repeat(False))
    usual = Pauses(**{"between": 0.02, "soon": 0.01, "early": 0.0, **pauses})
    identity = AgentIdentity(node=NODE_1, pod="pathtap/agent-1", left=left)
    context: Any = None

    async def main() -> Refused:
        async with asyncio.timeout(10):
            return await outstayed(cluster, context, identity, lambda: next(uses), usual)

    return asyncio.run(main())


def test_it_ends_once_the_cluster_does_not_know_the_agent_any_more() -> None:
    cluster = Cluster(OWN, OWN, GONE)
    assert ended(cluster) is GONE
    assert cluster.asked == 3


def test_it_ends_where_the_agent_is_on_another_node() -> None:
    assert ended(Cluster(OWN, AgentIdentity(node=NODE_2, pod="p"))).status is grpc.StatusCode.PERMISSION_DENIED


def test_an_api_server_that_is_away_ends_no_stream_before_its_token_expires() -> None:
    cluster = Cluster(AWAY, AWAY, OWN, GONE)
    assert ended(cluster) is GONE
    assert cluster.asked == 4
    assert "has expired" in str(ended(Cluster(AWAY), left=0.1))


def test_a_stream_that_nobody_uses_ends_before_its_token_does() -> None:
    cluster = Cluster(OWN)
    refused = ended(cluster, left=0.4, early=0.3, between=300.0)
    assert (refused.status, cluster.asked) == (grpc.StatusCode.UNAUTHENTICATED, 0)
    assert "expires soon" in str(refused)


def test_a_stream_in_use_is_left_until_its_token_has_expired() -> None:
    assert "has expired" in str(ended(Cluster(OWN), left=0.3, used=repeat(True), early=0.2, between=300.0))


def test_a_token_that_is_not_renewed_yet_does_not_have_its_agent_come_and_go() -> None:
    """Half of what is left is waited for, though all of it is within the time in which idle streams are ended."""

    async def main() -> float:
        begun = asyncio.get_running_loop().time()
        identity = AgentIdentity(node=NODE_1, pod="p", left=0.6)
        context: Any = None
        await outstayed(Cluster(OWN), context, identity, lambda: False, Pauses(early=600.0, soon=0.01))
        return asyncio.get_running_loop().time() - begun

    assert asyncio.run(main()) >= 0.29


@pytest.mark.parametrize("left", [None, -5.0, 0.0])
def test_what_this_clock_does_not_know_is_left_to_the_api_server(left: float | None) -> None:
    cluster = Cluster(OWN, OWN, GONE)
    assert ended(cluster, left=left, early=600.0) is GONE


@asynccontextmanager
async def collector(directory: Path, cluster: Cluster, pauses: Pauses) -> AsyncIterator[tuple[Agents, str]]:
    agents, address = Agents(lambda: 0), f"unix:{directory}/collector.sock"
    server = grpc.aio.server()
    agent_pb2_grpc.add_IntakeServiceServicer_to_server(Intake(agents, cluster, pauses), server)
    server.add_insecure_port(address)
    await server.start()
    try:
        async with asyncio.timeout(15):
            yield agents, address
    finally:
        await server.stop(None)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (GONE, grpc.StatusCode.UNAUTHENTICATED),
        (denied("no agent any more"), grpc.StatusCode.PERMISSION_DENIED),
        # Of what nobody foresaw it is not known whether the agent may stay.
        (ValueError("odd"), grpc.StatusCode.UNKNOWN),
    ],
)
def test_an_open_stream_ends_with_what_is_so(tmp_path: Path, said: Exception, status: grpc.StatusCode) -> None:
    async def main() -> None:
        pauses = Pauses(between=0.05)
        async with (
            collector(tmp_path, Cluster(OWN, OWN, said), pauses) as (agents, address),
            grpc.aio.insecure_channel(address) as channel,
        ):
            call = agent_pb2_grpc.IntakeServiceStub(channel).Connect()
            await call.write(agent_pb2.ConnectRequest(node=NODE_1, boot_id="b", sequence=1, hello=agent_pb2.Hello()))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert caught.value.code() is status
            assert agents.connected() == ()

    asyncio.run(main())


def test_a_stream_with_a_capture_is_in_use(tmp_path: Path) -> None:
    left = AgentIdentity(node=NODE_1, pod="p", left=2.0)

    async def main() -> None:
        pauses, one = Pauses(early=1.7, soon=0.02, between=300.0), ScriptedAgent(node_1())
        async with collector(tmp_path, Cluster(left), pauses) as (agents, address), one.connected(address):
            while not agents.connected():
                await asyncio.sleep(0.002)
            with agents.capture("c"):
                agents.tell(NODE_1, CaptureRequest(id="c", protocol=0, near=()))
                await asyncio.sleep(1.4)
                assert not one.ended.is_set()
            await one.ended.wait()

    asyncio.run(main())
