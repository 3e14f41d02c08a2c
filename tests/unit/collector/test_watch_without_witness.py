"""A watch that nobody can carry on any more ends: nothing could come of waiting, and its person would wait for nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from scripted_agent import Bench, ScriptedAgent, always, serving
from small_cluster import NODE_1, NODE_2, cluster, node_1, node_2

from pathtap.model.request import CaptureRequest, Failure
from pathtap.v1 import service_pb2, trace_pb2

MINUTES = 300_000
LIVE = service_pb2.TraceRequest(source="shop/cart", destination="shop/redis", port=6379, live=True, timeout_ms=MINUTES)
FLOWS = service_pb2.ListFlowsRequest(source="shop/cart", timeout_ms=MINUTES)


@asynccontextmanager
async def both(
    directory: Path, one: ScriptedAgent, two: ScriptedAgent
) -> AsyncIterator[tuple[Bench, dict[str, AsyncExitStack]]]:
    """A collector with both agents, and for each what ends its stream."""
    async with serving(directory, cluster()) as bench, AsyncExitStack() as stack:
        streams = {agent.node: await stack.enter_async_context(AsyncExitStack()) for agent in (one, two)}
        for agent in (one, two):
            await streams[agent.node].enter_async_context(agent.connected(bench.address))
            await bench.agent(agent.node)
        yield bench, streams


def named(gaps: "list[trace_pb2.Gap]") -> set[str]:
    return {gap.node for gap in gaps if gap.decisive}


@pytest.mark.parametrize("node", [NODE_1, NODE_2])
def test_a_live_trace_ends_when_an_agent_that_it_needs_goes_away(tmp_path: Path, node: str) -> None:
    async def main() -> trace_pb2.Trace:
        async with (
            asyncio.timeout(15),
            both(tmp_path, ScriptedAgent(node_1()), ScriptedAgent(node_2())) as (bench, streams),
        ):
            async for response in bench.client.Trace(LIVE):
                if response.progress.startswith("waiting"):
                    await streams[node].aclose()
            return response.trace

    trace = asyncio.run(main())
    assert trace.verdict.disposition == trace_pb2.Verdict.INSUFFICIENT_EVIDENCE
    assert node in named([*trace.verdict.gaps])


def test_an_agent_that_is_back_at_once_has_no_capture_and_is_not_waited_for(tmp_path: Path) -> None:
    async def main() -> trace_pb2.Trace:
        one = ScriptedAgent(node_1())
        async with asyncio.timeout(15), both(tmp_path, one, ScriptedAgent(node_2())) as (bench, _):
            again = ScriptedAgent(node_1(), {}, boot_id="next")
            async with AsyncExitStack() as stack:
                async for response in bench.client.Trace(LIVE):
                    if response.progress.startswith("waiting"):
                        await stack.enter_async_context(again.connected(bench.address))
                return response.trace

    assert NODE_1 in named([*asyncio.run(main()).verdict.gaps])


def test_a_live_trace_that_its_source_cannot_capture_does_not_wait(tmp_path: Path) -> None:
    async def main() -> trace_pb2.Trace:
        one = ScriptedAgent(node_1(), {CaptureRequest: always(Failure(reason="16 captures are armed already"))})
        async with asyncio.timeout(15), both(tmp_path, one, ScriptedAgent(node_2())) as (bench, _):
            return [response async for response in bench.client.Trace(LIVE)][-1].trace

    assert "16 captures are armed already" in [gap.why for gap in asyncio.run(main()).verdict.gaps if gap.decisive]


def test_flows_end_when_the_agent_of_the_pods_own_node_goes_away(tmp_path: Path) -> None:
    async def main() -> trace_pb2.Flows:
        async with (
            asyncio.timeout(15),
            both(tmp_path, ScriptedAgent(node_1()), ScriptedAgent(node_2())) as (bench, streams),
        ):
            async for response in bench.client.ListFlows(FLOWS):
                if response.progress.startswith("capturing"):
                    await streams[NODE_1].aclose()
            return response.flows

    assert NODE_1 in named([*asyncio.run(main()).gaps])
