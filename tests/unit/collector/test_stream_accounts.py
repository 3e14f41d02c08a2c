"""What a trace and `nodes` say of the packets that agents captured: each is accepted, and delivered or lost by name."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from journeys import CART_REDIS, answered, handshake
from scripted_agent import Bench, Reaction, ScriptedAgent, always, serving
from small_cluster import NODE_1, NODE_2, cluster, node_1, node_2

from pathtap.model.packet import Lost
from pathtap.model.request import (
    Answer,
    CaptureEnded,
    CaptureRequest,
    CaptureStats,
    Command,
    EndCapture,
    Failure,
    ProbeRequest,
)
from pathtap.v1 import service_pb2, trace_pb2


def run(main: Coroutine[Any, Any, trace_pb2.Trace]) -> trace_pb2.Trace:
    async def within_time() -> trace_pb2.Trace:
        async with asyncio.timeout(15):
            return await main

    return asyncio.run(within_time())


def losing(*lost: tuple[str, int]) -> Reaction:
    """A probe that is answered, whose packets both nodes see; the first loses some more."""

    async def react(agent: ScriptedAgent, command: Command) -> Answer:
        (capture,) = agent.armed
        agent.see(
            handshake(),
            capture,
            [Lost(node=NODE_1, where=w, count=n, capture=capture, interface="eth0") for w, n in lost],
        )
        return (answered(CART_REDIS),)

    return react


def ended(**received: int) -> Reaction:
    async def react(agent: ScriptedAgent, command: Command) -> Answer:
        assert isinstance(command, EndCapture)
        stats = (CaptureStats(interface=name, received=count, dropped=0) for name, count in received.items())
        return CaptureEnded(id=command.id, stats=tuple(stats))

    return react


async def traced(directory: Path, one: ScriptedAgent) -> tuple[trace_pb2.Trace, service_pb2.NodeStatus]:
    two = ScriptedAgent(node_2())
    async with serving(directory, cluster()) as bench, one.connected(bench.address), two.connected(bench.address):
        await bench.agent(NODE_1)
        await bench.agent(NODE_2)
        answer = await _ask(bench)
        nodes = await bench.client.ListNodes(service_pb2.ListNodesRequest())
        return answer, next(node for node in nodes.nodes if node.node == NODE_1)


async def _ask(bench: Bench) -> trace_pb2.Trace:
    request = service_pb2.TraceRequest(source="shop/cart", destination="shop/redis", port=6379, timeout_ms=500)
    responses = [response async for response in bench.client.Trace(request)]
    answer: trace_pb2.Trace = responses[-1].trace
    return answer


def test_a_trace_tells_what_each_interface_accepted_delivered_and_lost(tmp_path: Path) -> None:
    seen = [each.interface for each in handshake() if each.node == NODE_1]
    received = {name: seen.count(name) for name in seen}
    received["eth0"] += 7
    one = ScriptedAgent(
        node_1(), {ProbeRequest: losing(("kernel", 4), ("spool", 2), ("spool", 1)), EndCapture: ended(**received)}
    )

    async def main() -> trace_pb2.Trace:
        answer, status = await traced(tmp_path, one)
        assert (status.accepted, status.delivered) == (sum(received.values()), len(seen))
        assert {loss.where: loss.count for loss in status.losses} == {"kernel": 4, "spool": 3}
        return answer

    answer = run(main())
    accounts = {each.interface: each for each in answer.accounts if each.node == NODE_1}
    assert {name: each.accepted for name, each in accounts.items()} == received
    assert {name: each.delivered for name, each in accounts.items()} == {name: seen.count(name) for name in seen}
    assert [(loss.where, loss.count) for loss in accounts["eth0"].lost] == [("kernel", 4), ("spool", 3)]
    assert not [gap for gap in answer.verdict.gaps if "unaccounted" in gap.why]


def test_counts_that_no_agent_can_have_end_no_trace(tmp_path: Path) -> None:
    most = 2**64 - 1
    one = ScriptedAgent(
        node_1(), {ProbeRequest: losing(("kernel", most), ("kernel", most)), EndCapture: ended(eth0=most)}
    )

    async def main() -> trace_pb2.Trace:
        answer, status = await traced(tmp_path, one)
        assert (status.accepted, status.losses[0].count) == (most, most)
        return answer

    (account,) = [each for each in run(main()).accounts if (each.node, each.interface) == (NODE_1, "eth0")]
    assert [(loss.where, loss.count) for loss in account.lost] == [("kernel", most)]


def test_a_capture_that_an_agent_refuses_is_told_once_and_ended_all_the_same(tmp_path: Path) -> None:
    full = "The agent has 16 captures armed and may have no more (--max-captures): try again later."
    not_armed = "No capture is armed."
    one = ScriptedAgent(
        node_1(),
        {
            CaptureRequest: always(Failure(reason=full)),
            ProbeRequest: always((answered(CART_REDIS),)),
            EndCapture: always(Failure(reason=not_armed)),
        },
    )

    async def main() -> trace_pb2.Trace:
        answer, _ = await traced(tmp_path, one)
        await one.until(EndCapture)
        return answer

    gaps = run(main()).verdict.gaps
    assert [gap.decisive for gap in gaps if gap.why == full] == [True]
    assert not_armed not in [gap.why for gap in gaps]


def test_packets_that_nobody_speaks_of_are_a_gap_of_the_trace(tmp_path: Path) -> None:
    one = ScriptedAgent(node_1(), {ProbeRequest: losing(), EndCapture: ended(eth0=100)})

    async def main() -> trace_pb2.Trace:
        return (await traced(tmp_path, one))[0]

    (gap,) = [gap for gap in run(main()).verdict.gaps if "accounted" in gap.why]
    seen = len([each for each in handshake() if each.node == NODE_1])
    assert (gap.node, gap.part) == (NODE_1, "capture")
    assert gap.why.startswith(f"{100 - seen} packets are unaccounted for: ")


def test_an_agent_that_does_not_say_what_it_accepted_leaves_that_open(tmp_path: Path) -> None:
    one = ScriptedAgent(node_1(), {ProbeRequest: losing(), EndCapture: always(None)})

    async def main() -> trace_pb2.Trace:
        return (await traced(tmp_path, one))[0]

    answer = run(main())
    (account, *_) = [each for each in answer.accounts if each.node == NODE_1]
    assert not account.HasField("accepted")
    assert account.delivered > 0


def test_packets_that_were_on_their_way_when_a_stream_ended_are_counted(tmp_path: Path) -> None:
    """docs/wire.md, Loss: the Hello of the next stream says how many the agent has sent."""
    one = ScriptedAgent(node_1())
    batch = [replace(each, capture="c") for each in handshake() if each.node == NODE_1]

    async def main() -> list[tuple[Lost, ...]]:
        async with serving(tmp_path, cluster()) as bench:
            with bench.agents.capture("c") as log, bench.agents.capture("another") as other:
                async with one.connected(bench.address):
                    await bench.agent(NODE_1)
                    bench.agents.tell(NODE_1, CaptureRequest(id="c", protocol=6, near=(CART_REDIS.source,)))
                    one.see(batch, "c")
                    while not log.delivered:
                        await asyncio.sleep(0.002)
                await bench.no_agent(NODE_1)
                one.sent = len(batch) + 5
                async with one.connected(bench.address):
                    await bench.agent(NODE_1)
                await bench.no_agent(NODE_1)
                async with one.connected(bench.address):
                    await bench.agent(NODE_1)
                return [log.lost, other.lost]

    async def within_time() -> list[tuple[Lost, ...]]:
        async with asyncio.timeout(15):
            return await main()

    lost, others = asyncio.run(within_time())
    assert [(each.node, each.where, each.count) for each in lost] == [(NODE_1, "stream", 5)]
    assert others == ()


def test_a_collector_that_is_new_knows_of_nothing_that_it_missed(tmp_path: Path) -> None:
    one = ScriptedAgent(node_1())
    one.sent = 1_000

    async def main() -> dict[str, int]:
        async with serving(tmp_path, cluster()) as bench, one.connected(bench.address):
            await bench.agent(NODE_1)
            return dict(bench.agents.of(NODE_1).ledger.losses)

    assert asyncio.run(main()) == {}
