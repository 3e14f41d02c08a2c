"""Collector and agents over a real gRPC server on a unix socket; the agents are scripted."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from journeys import CAPTURE, CART_REDIS, CART_TO_REDIS, answered, entry, flow, handshake, silent, syn, travel
from scripted_agent import Bench, Reaction, ScriptedAgent, always, serving
from small_cluster import INTERNET, NODE_1, NODE_2, cluster, cluster_items, inventory_of, node_1, node_2, pod_item

from pathtap import wire
from pathtap.collector.agents import AgentError, NoAgent
from pathtap.collector.cluster.inventory import Inventory
from pathtap.model.address import Protocol
from pathtap.model.node import NodeSnapshot, Unread
from pathtap.model.packet import Lost, PacketObservation
from pathtap.model.request import (
    Answer,
    CaptureArmed,
    CaptureRequest,
    Command,
    EndCapture,
    Failure,
    LookupReport,
    LookupRequest,
    ProbeRequest,
    ReadSnapshot,
)
from pathtap.v1 import agent_pb2, agent_pb2_grpc, service_pb2, trace_pb2

NOBODY: Reaction = always(None)


def run(main: Coroutine[Any, Any, None]) -> None:
    async def within_time() -> None:
        async with asyncio.timeout(15):
            await main

    asyncio.run(within_time())


def probing(observations: list[PacketObservation], *others: ScriptedAgent) -> Reaction:
    """Sends the packets, this agent's and the others', to the capture that waits for them, then says it was answered."""

    async def react(agent: ScriptedAgent, command: Command) -> Answer:
        assert isinstance(command, ProbeRequest)
        (capture,) = [each.id for each in agent.armed.values() if command.destination.port in each.ports]
        for each in (agent, *others):
            each.see(observations, capture)
        return (answered(CART_REDIS),)

    return react


def failing(reason: str) -> Reaction:
    return always(Failure(reason=reason))


async def trace(
    bench: Bench, source: str = "shop/cart", destination: str = "shop/redis", **options: Any
) -> trace_pb2.Trace:
    request = service_pb2.TraceRequest(
        source=source, destination=destination, **{"port": 6379, "timeout_ms": 500} | options
    )
    responses = [response async for response in bench.client.Trace(request)]
    assert [response.WhichOneof("body") for response in responses[:-1]] == ["progress"] * (len(responses) - 1)
    return responses[-1].trace


def said(trace: trace_pb2.Trace) -> tuple[str, str]:
    kinds = trace_pb2.Verdict.Disposition, trace_pb2.Verdict.Reply
    return kinds[0].Name(trace.verdict.disposition), kinds[1].Name(trace.verdict.reply)


def decisive(trace: trace_pb2.Trace) -> list[tuple[str, str]]:
    return [(gap.node, gap.part) for gap in trace.verdict.gaps if gap.decisive]


class Cluster:
    """Both agents of the small cluster, connected; the first one's probe is answered, and both see its packets."""

    def __init__(self, **reactions: dict[type[Command], Reaction]) -> None:
        self.two = ScriptedAgent(node_2(), reactions.get("two"))
        first = {ProbeRequest: probing(handshake(), self.two), **reactions.get("one", {})}
        self.one = ScriptedAgent(node_1(), first)
        self.agents = (self.one, self.two)

    async def connect(self, stack: AsyncExitStack, directory: Path, inventory: Inventory | None = None) -> Bench:
        bench = await stack.enter_async_context(serving(directory, inventory or cluster()))
        for agent in self.agents:
            await stack.enter_async_context(agent.connected(bench.address))
            await bench.agent(agent.node)
        return bench


# A trace.


def test_a_trace_from_end_to_end(tmp_path: Path) -> None:
    lookup = always(LookupReport(entries=(entry("1", CART_REDIS),)))

    async def main() -> None:
        cluster = Cluster(one={LookupRequest: lookup})
        async with AsyncExitStack() as stack:
            bench = await cluster.connect(stack, tmp_path)
            answer = await trace(bench)
            assert said(answer) == ("DELIVERED", "ANSWERED")
            assert [hop.node for hop in answer.forward.hops] == [NODE_1, NODE_2]
            assert answer.id == CAPTURE
            assert answer.finished_at.ToNanoseconds() > answer.started_at.ToNanoseconds()
            assert not answer.verdict.gaps
            assert "RECORDED" in str(answer.forward.hops[0])
            for agent in cluster.agents:
                assert agent.armed == {}
                kinds = [type(command).__name__ for command in agent.received if not isinstance(command, ProbeRequest)]
                assert kinds == ["ReadSnapshot", "CaptureRequest", "EndCapture", "LookupRequest", "LookupRequest"]

    run(main())


def test_what_the_agents_are_asked(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = Cluster()
        async with AsyncExitStack() as stack:
            bench = await cluster.connect(stack, tmp_path)
            await trace(bench, count=4, timeout_ms=2000)
            (probe,) = cluster.one.of(ProbeRequest)
            assert probe == ProbeRequest(
                protocol=6, source=CART_REDIS.source, destination=CART_REDIS.destination_socket, count=4, timeout=0.5
            )
            assert cluster.two.of(ProbeRequest) == []
            capture = cluster.two.of(CaptureRequest)[0]
            assert isinstance(capture, CaptureRequest)
            assert (capture.id, capture.protocol, capture.ports) == (CAPTURE, Protocol.TCP, (6379,))
            assert CART_REDIS.source in capture.near
            assert capture.far == (CART_REDIS.destination,)
            await trace(bench, count=5000)
            last = cluster.one.of(ProbeRequest)[-1]
            assert isinstance(last, ProbeRequest)
            assert last.count == 100

    run(main())


def test_progress_is_told_before_the_answer(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = Cluster()
        async with AsyncExitStack() as stack:
            bench = await cluster.connect(stack, tmp_path)
            request = service_pb2.TraceRequest(source="shop/cart", destination="shop/redis", port=6379)
            told = [response.progress async for response in bench.client.Trace(request) if response.progress]
            assert told == [
                f"reading {NODE_1}, {NODE_2}",
                f"capturing on {NODE_1}, {NODE_2}",
                "probing 192.168.2.41:6379 from shop/cart",
                "asking conntrack",
            ]

    run(main())


def test_two_traces_at_once_do_not_mix(tmp_path: Path) -> None:
    """Both run on the same agents, whose batches hold the packets of both."""
    other = flow("192.168.1.41", "192.168.2.41", 6380, 42_000)
    packets = {6379: handshake(), 6380: travel(syn(other), *CART_TO_REDIS)}
    reports = {6379: answered(CART_REDIS), 6380: silent(other)}
    armed = asyncio.Barrier(2)

    async def main() -> None:
        cluster = Cluster()

        async def react(agent: ScriptedAgent, command: Command) -> Answer:
            assert isinstance(command, ProbeRequest)
            async with asyncio.timeout(5):
                await armed.wait()
            own = [
                replace(each, capture=capture.id)
                for capture in agent.armed.values()
                for each in packets[capture.ports[0]]
            ]
            for each in cluster.agents:
                mixed = [seen for seen in own if seen.node == each.node]
                each.say(batch=wire.batch_to_wire(mixed if command.destination.port == 6379 else [], []))
            return (reports[command.destination.port],)

        cluster.one = ScriptedAgent(node_1(), {ProbeRequest: react})
        cluster.agents = (cluster.one, cluster.two)
        async with AsyncExitStack() as stack:
            bench = await cluster.connect(stack, tmp_path)
            one, two = await asyncio.gather(trace(bench), trace(bench, port=6380))
            assert {one.id, two.id} == {"trace-1", "trace-2"}
            assert said(one) == ("DELIVERED", "ANSWERED")
            assert said(two) == ("DELIVERED", "UNANSWERED")
            assert [each.five_tuple.source.port for each in (one, two)] == [41_000, 42_000]
            assert cluster.one.armed == cluster.two.armed == {}

    run(main())


def test_a_loss_of_another_capture_is_no_loss_of_this_one(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = Cluster()

        async def react(agent: ScriptedAgent, command: Command) -> Answer:
            lost = [
                Lost(node=agent.node, where="kernel", count=3, capture="another", interface="eth0"),
                Lost(node=agent.node, where="kernel", count=4, capture=CAPTURE, interface="eth0"),
                Lost(node=agent.node, where="spool", count=5),
            ]
            agent.see(travel(syn(CART_REDIS), *CART_TO_REDIS), CAPTURE, lost)
            return (silent(CART_REDIS),)

        cluster.one = ScriptedAgent(node_1(), {ProbeRequest: react})
        cluster.agents = (cluster.one, cluster.two)
        async with AsyncExitStack() as stack:
            bench = await cluster.connect(stack, tmp_path)
            answer = await trace(bench)
            assert [gap.why for gap in answer.verdict.gaps if gap.decisive] == [
                "4 packets were lost at kernel",
                "5 packets were lost at spool",
            ]
            nodes = (await bench.client.ListNodes(service_pb2.ListNodesRequest())).nodes
            assert {loss.where: loss.count for loss in nodes[0].losses} == {"kernel": 7, "spool": 5}

    run(main())


def test_live_passes_over_what_went_by_before_every_node_listened(tmp_path: Path) -> None:
    """Half of a flow was seen by the first node while the second was still being armed; a whole one follows."""
    early = flow("192.168.1.41", "192.168.2.41", 6379, 40_001)

    async def main() -> None:
        cluster = Cluster()

        async def slow(agent: ScriptedAgent, command: Command) -> Answer:
            assert isinstance(command, CaptureRequest)
            cluster.one.see(handshake(of=early), command.id)
            await asyncio.sleep(0.05)
            return CaptureArmed(id=command.id, interfaces=("eth0", "eniredis"))

        cluster.two = ScriptedAgent(node_2(), {CaptureRequest: slow})
        cluster.agents = (cluster.one, cluster.two)
        async with AsyncExitStack() as stack:
            bench = await cluster.connect(stack, tmp_path)
            request = service_pb2.TraceRequest(
                source="shop/cart", destination="shop/redis", port=6379, live=True, timeout_ms=5000
            )
            async for response in bench.client.Trace(request):
                if response.progress.startswith("waiting"):
                    await asyncio.sleep(0.1)
                    for agent in cluster.agents:
                        agent.see(handshake(1000), CAPTURE)
                answer = response.trace
            assert said(answer) == ("DELIVERED", "ANSWERED")
            assert answer.five_tuple.source.port == CART_REDIS.source_port
            assert cluster.one.of(ProbeRequest) == []

    run(main())


# Agents that fail.


def test_without_an_agent_the_rest_of_the_path_and_a_gap_that_names_the_node(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = Cluster()
        cluster.agents = (cluster.one,)  # type: ignore[assignment]
        async with AsyncExitStack() as stack:
            bench = await cluster.connect(stack, tmp_path)
            answer = await trace(bench)
            assert said(answer) == ("INSUFFICIENT_EVIDENCE", "NOT_SEEN")
            assert decisive(answer) == [(NODE_2, "agent")]
            assert [hop.node for hop in answer.forward.hops] == [NODE_1]

    run(main())


def test_a_node_that_is_silent_once_the_answer_was_seen_takes_nothing_back(tmp_path: Path) -> None:
    """Its capture has ended by then: what conntrack would have told is missing, and not what became of the packet."""

    async def main() -> None:
        cluster = Cluster(two={LookupRequest: NOBODY})
        async with AsyncExitStack() as stack:
            bench = await cluster.connect(stack, tmp_path)
            answer = await trace(bench)
            assert said(answer) == ("DELIVERED", "ANSWERED")
            assert decisive(answer) == []
            assert [(gap.node, gap.part) for gap in answer.verdict.gaps] == [(NODE_2, "conntrack")]

    run(main())


def test_an_agent_that_leaves_in_the_middle_fails_what_it_owes_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = Cluster(one={ProbeRequest: NOBODY})
        async with AsyncExitStack() as stack:
            bench = await stack.enter_async_context(serving(tmp_path, inventory_of(*cluster_items())))
            await stack.enter_async_context(cluster.two.connected(bench.address))
            async with cluster.one.connected(bench.address):
                await bench.agent(NODE_1)
                await bench.agent(NODE_2)
                asked = asyncio.ensure_future(trace(bench, timeout_ms=60_000))
                await cluster.one.until(ProbeRequest)
            answer = await asked
            assert decisive(answer) == [(NODE_1, "agent")]
            assert f"the agent of {NODE_1} went away" in [gap.why for gap in answer.verdict.gaps]
            await cluster.two.until(EndCapture)
            assert cluster.two.armed == {}
            with pytest.raises(NoAgent, match=f"no agent of {NODE_1} is connected"):
                bench.agents.of(NODE_1)

    run(main())


@pytest.mark.parametrize(
    ("kind", "part", "decides"),
    [
        (ReadSnapshot, "snapshot", True),
        (CaptureRequest, "capture", True),
        (ProbeRequest, "probe", True),
        (LookupRequest, "conntrack", False),
    ],
)
def test_a_refusal_becomes_a_gap_of_its_part(tmp_path: Path, kind: type[Command], part: str, decides: bool) -> None:
    async def main() -> None:
        cluster = Cluster()
        reactions = {ProbeRequest: probing(handshake(), cluster.two), kind: failing("the kernel says no")}
        if kind is CaptureRequest:
            reactions[ProbeRequest] = always((answered(CART_REDIS),))
        cluster.one = ScriptedAgent(node_1(), reactions)
        cluster.agents = (cluster.one, cluster.two)
        async with AsyncExitStack() as stack:
            bench = await cluster.connect(stack, tmp_path)
            answer = await trace(bench)
            assert (NODE_1, part, "the kernel says no", decides) in [
                (gap.node, gap.part, gap.why, gap.decisive) for gap in answer.verdict.gaps
            ]
            await cluster.two.until(EndCapture)

    run(main())


def test_an_answer_of_another_kind_is_not_taken(tmp_path: Path) -> None:
    async def main() -> None:
        agent = ScriptedAgent(node_1(), {ReadSnapshot: always(LookupReport())})
        async with serving(tmp_path, cluster()) as bench, agent.connected(bench.address):
            await bench.agent(NODE_1)
            with pytest.raises(AgentError, match="answered another question"):
                await bench.agents.of(NODE_1).ask(ReadSnapshot(), NodeSnapshot, 5)

    run(main())


def test_a_silent_agent_is_not_waited_for_and_its_late_answer_is_passed_over(tmp_path: Path) -> None:
    async def main() -> None:
        let_go = asyncio.Event()

        async def late(agent: ScriptedAgent, command: Command) -> Answer:
            await let_go.wait()
            return agent.snapshot

        agent = ScriptedAgent(node_1(), {ReadSnapshot: late})
        async with serving(tmp_path, cluster()) as bench, agent.connected(bench.address):
            await bench.agent(NODE_1)
            with pytest.raises(NoAgent, match=r"did not answer within 0\.1 s"):
                await bench.agents.of(NODE_1).ask(ReadSnapshot(), NodeSnapshot, 0.05)
            let_go.set()
            answer = await bench.agents.of(NODE_1).ask(LookupRequest(), LookupReport, 5)
            assert answer == LookupReport()

    run(main())


def test_a_capture_whose_arming_was_not_answered_is_ended_all_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = Cluster(two={CaptureRequest: NOBODY})
        async with AsyncExitStack() as stack:
            bench = await cluster.connect(stack, tmp_path)
            answer = await trace(bench)
            assert decisive(answer) == [(NODE_2, "agent")]
            assert await cluster.two.until(EndCapture) == EndCapture(id=CAPTURE)

    run(main())


# Clients that go.


@pytest.mark.parametrize("kind", [CaptureRequest, ProbeRequest])
def test_a_client_that_cancels_leaves_no_capture_armed(tmp_path: Path, kind: type[Command]) -> None:
    async def main() -> None:
        reactions = {ReadSnapshot: always(node_1()), kind: NOBODY}
        cluster = Cluster(one=reactions)
        async with AsyncExitStack() as stack:
            bench = await cluster.connect(stack, tmp_path)
            request = service_pb2.TraceRequest(
                source="shop/cart", destination="shop/redis", port=6379, timeout_ms=60_000
            )
            call = bench.client.Trace(request)
            await call.read()
            await cluster.one.until(kind)
            call.cancel()
            for agent in cluster.agents:
                assert await agent.until(EndCapture) == EndCapture(id=CAPTURE)
            async with asyncio.timeout(5):
                while cluster.one.armed or cluster.two.armed:
                    await asyncio.sleep(0.002)

    run(main())


def test_a_client_that_cancels_flows_leaves_no_capture_armed(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = Cluster()
        async with AsyncExitStack() as stack:
            bench = await cluster.connect(stack, tmp_path)
            call = bench.client.ListFlows(service_pb2.ListFlowsRequest(source="shop/cart", timeout_ms=60_000))
            await call.read()
            await cluster.one.until(CaptureRequest)
            call.cancel()
            await cluster.one.until(EndCapture)

    run(main())


# The stream.


def test_a_batch_that_comes_again_is_taken_once_and_a_new_run_counts_anew(tmp_path: Path) -> None:
    one, two, three, four = (replace(each, capture="c") for each in handshake() if each.node == NODE_1)

    async def main() -> None:
        agent, fresh = ScriptedAgent(node_1()), ScriptedAgent(node_1(), boot_id="next")
        async with serving(tmp_path, cluster()) as bench:
            with bench.agents.capture("c") as log:
                async with agent.connected(bench.address):
                    await bench.agent(NODE_1)
                    bench.agents.tell(NODE_1, CaptureRequest(id="c", protocol=0, near=()))
                    first = agent.see([one], "c")
                    agent.say_again(first, batch=wire.batch_to_wire([one], []))
                    agent.see([two], "c")
                    await _until(lambda: two in log.observations)
                await bench.no_agent(NODE_1)
                async with agent.connected(bench.address):
                    await bench.agent(NODE_1)
                    agent.say_again(first, batch=wire.batch_to_wire([one], []))
                    last = agent.see([three], "c")
                    await _until(lambda: three in log.observations)
                await bench.no_agent(NODE_1)
                async with fresh.connected(bench.address):
                    await bench.agent(NODE_1)
                    bench.agents.tell(NODE_1, CaptureRequest(id="c", protocol=0, near=()))
                    assert fresh.see([four], "c") < last
                    await _until(lambda: four in log.observations)
            assert log.observations == (one, two, three, four)

    run(main())


def test_a_batch_cut_short_comes_again_after_the_hello_under_its_first_number(tmp_path: Path) -> None:
    """docs/wire.md, Identity: its number is lower than that of the Hello before it."""

    async def main() -> None:
        agent = ScriptedAgent(node_1())
        async with serving(tmp_path, cluster()) as bench:
            with bench.agents.capture("c") as log:
                async with agent.connected(bench.address):
                    await bench.agent(NODE_1)
                    bench.agents.tell(NODE_1, CaptureRequest(id="c", protocol=0, near=()))
                await bench.no_agent(NODE_1)
                cut_short = agent.say(batch=agent_pb2.Batch())
                async with agent.connected(bench.address):
                    await bench.agent(NODE_1)
                    agent.say_again(cut_short, batch=wire.batch_to_wire([replace(handshake()[0], capture="c")], []))
                    await _until(lambda: len(log.observations) == 1)

    run(main())


async def _until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.002)


def test_a_second_stream_of_a_node_replaces_the_first(tmp_path: Path) -> None:
    async def main() -> None:
        first, second = ScriptedAgent(node_1(), {ReadSnapshot: NOBODY}), ScriptedAgent(node_1(), boot_id="second")
        async with serving(tmp_path, cluster()) as bench, first.connected(bench.address):
            await bench.agent(NODE_1)
            owed = asyncio.ensure_future(bench.agents.of(NODE_1).ask(ReadSnapshot(), NodeSnapshot, 60))
            await first.until(ReadSnapshot)
            async with second.connected(bench.address):
                with pytest.raises(NoAgent, match="went away"):
                    await owed
                async with asyncio.timeout(5):
                    await first.ended.wait()
                snapshot = await bench.agents.of(NODE_1).ask(ReadSnapshot(), NodeSnapshot, 5)
                assert snapshot.boot_id == "second"
                assert [agent.boot_id for agent in bench.agents.connected()] == ["second"]

    run(main())


@pytest.mark.parametrize(
    "body",
    [
        {"batch": agent_pb2.Batch(observations=[agent_pb2.PacketObservation(interface="eth0")])},
        {
            "batch": agent_pb2.Batch(
                observations=[agent_pb2.PacketObservation(headers=agent_pb2.Headers(five_tuple={"source": b"12345"}))]
            )
        },
    ],
)
def test_a_malformed_message_ends_its_agents_stream_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, body: dict[str, Any]
) -> None:
    async def main() -> None:
        bad, good = ScriptedAgent(node_1()), ScriptedAgent(node_2())
        async with serving(tmp_path, cluster()) as bench, bad.connected(bench.address), good.connected(bench.address):
            await bench.agent(NODE_1)
            await bench.agent(NODE_2)
            bad.say(**body)
            await bench.no_agent(NODE_1)
            async with asyncio.timeout(5):
                await bad.ended.wait()
            assert await bench.agents.of(NODE_2).ask(ReadSnapshot(), NodeSnapshot, 5)

    with caplog.at_level(logging.WARNING):
        run(main())
    assert f"agent of {NODE_1} sent a malformed message" in caplog.text


def test_an_answer_that_cannot_be_understood_fails_its_question_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async def garbage(agent: ScriptedAgent, command: Command) -> None:
            agent.say(answer=agent_pb2.Answer(command=1))

        agent = ScriptedAgent(node_1(), {ReadSnapshot: garbage})
        async with serving(tmp_path, cluster()) as bench, agent.connected(bench.address):
            await bench.agent(NODE_1)
            with pytest.raises(AgentError, match="cannot be understood"):
                await bench.agents.of(NODE_1).ask(ReadSnapshot(), NodeSnapshot, 5)
            assert await bench.agents.of(NODE_1).ask(LookupRequest(), LookupReport, 5) == LookupReport()

    run(main())


@pytest.mark.parametrize(
    "first",
    [
        agent_pb2.ConnectRequest(node=NODE_1, boot_id="b", sequence=1, batch=agent_pb2.Batch()),
        agent_pb2.ConnectRequest(node="", boot_id="b", sequence=1, hello=agent_pb2.Hello()),
        agent_pb2.ConnectRequest(node=NODE_1, boot_id="", sequence=1, hello=agent_pb2.Hello()),
        None,
    ],
)
def test_a_stream_begins_with_a_hello(tmp_path: Path, first: agent_pb2.ConnectRequest | None) -> None:
    async def main() -> None:
        async with serving(tmp_path, cluster()) as bench, grpc.aio.insecure_channel(bench.address) as channel:
            stub = agent_pb2_grpc.IntakeServiceStub(channel)

            async def requests() -> Any:
                if first is not None:
                    yield first

            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async for _ in stub.Connect(requests()):
                    pass
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert bench.agents.connected() == ()

    run(main())


# Refusals.


@pytest.mark.parametrize(
    ("source", "destination", "options", "status", "sentence"),
    [
        ("shop/crat", "shop/redis", {}, grpc.StatusCode.NOT_FOUND, "did you mean shop/cart"),
        ("shop/pending", "shop/redis", {}, grpc.StatusCode.FAILED_PRECONDITION, "Pending"),
        ("redis", "shop/cart", {}, grpc.StatusCode.INVALID_ARGUMENT, "shop/redis, staging/redis"),
        ("redis", "shop/cart", {"namespace": "nowhere"}, grpc.StatusCode.NOT_FOUND, "nowhere/redis"),
        ("svc/shop/web", "shop/cart", {}, grpc.StatusCode.INVALID_ARGUMENT, "a service sends nothing"),
        (INTERNET, "shop/cart", {}, grpc.StatusCode.INVALID_ARGUMENT, "--live"),
        ("shop/cart", "shop/redis", {"port": 70_000}, grpc.StatusCode.INVALID_ARGUMENT, "70000"),
        ("shop/cart", "shop/redis", {"protocol": 132, "port": 0}, grpc.StatusCode.INVALID_ARGUMENT, "132"),
    ],
)
def test_refusals_of_a_trace(
    tmp_path: Path, source: str, destination: str, options: dict[str, Any], status: grpc.StatusCode, sentence: str
) -> None:
    inventory = inventory_of(
        *cluster_items(),
        pod_item("staging/redis", NODE_2, "192.168.2.99"),
        pod_item("shop/pending", NODE_1, phase="Pending"),
    )

    async def main() -> None:
        async with serving(tmp_path, inventory) as bench:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await trace(bench, source, destination, **options)
            assert caught.value.code() is status
            assert sentence in (caught.value.details() or "")

    run(main())


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("shop/crat", grpc.StatusCode.NOT_FOUND),
        ("svc/shop/web", grpc.StatusCode.INVALID_ARGUMENT),
        (INTERNET, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_refusals_of_flows(tmp_path: Path, source: str, status: grpc.StatusCode) -> None:
    async def main() -> None:
        async with serving(tmp_path, cluster()) as bench:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await bench.client.ListFlows(service_pb2.ListFlowsRequest(source=source)).read()
            assert caught.value.code() is status

    run(main())


# Flows, nodes and names.


def test_flows_capture_a_peers_node_once_the_peer_has_shown(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = Cluster()
        async with AsyncExitStack() as stack:
            bench = await cluster.connect(stack, tmp_path)
            request = service_pb2.ListFlowsRequest(source="shop/cart", timeout_ms=600)
            async for response in bench.client.ListFlows(request):
                if response.progress.startswith("capturing"):
                    await cluster.one.until(CaptureRequest)
                    cluster.one.see(handshake()[:2], CAPTURE)
                    peer = await cluster.two.until(CaptureRequest)
                    assert isinstance(peer, CaptureRequest)
                    assert peer.pods == (CART_REDIS.destination,)
                    for agent in cluster.agents:
                        agent.see(handshake(100, flow("192.168.1.41", "192.168.2.41", 6379, 43_000)), CAPTURE)
                flows = response.flows
            assert [each.five_tuple.source.port for each in flows.flows] == [41_000, 43_000]
            assert list(flows.flows[1].nodes) == [NODE_1, NODE_2]
            assert cluster.one.armed == cluster.two.armed == {}

    run(main())


def test_flows_say_which_peers_nodes_are_too_many_to_capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pathtap.collector.flows.MOST_NODES", 1)

    async def main() -> None:
        cluster = Cluster()
        async with AsyncExitStack() as stack:
            bench = await cluster.connect(stack, tmp_path)
            request = service_pb2.ListFlowsRequest(source="shop/cart", timeout_ms=600)
            async for response in bench.client.ListFlows(request):
                if response.progress.startswith("capturing"):
                    await cluster.one.until(CaptureRequest)
                    for port in (41_000, 41_001):
                        cluster.one.see(handshake(port, flow("192.168.1.41", "192.168.2.41", port, 6379)), CAPTURE)
                        await asyncio.sleep(0.05)
                flows = response.flows
            why = "peers of its were seen, and flows captures on 1 nodes at most"
            assert [(gap.node, gap.part, gap.why) for gap in flows.gaps] == [(NODE_2, "capture", why)]
            assert cluster.two.of(CaptureRequest) == []

    run(main())


def test_flows_of_a_pod_whose_node_has_no_agent(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path, cluster()) as bench:
            request = service_pb2.ListFlowsRequest(source="shop/cart", timeout_ms=50)
            flows = [response async for response in bench.client.ListFlows(request)][-1].flows
            assert [(gap.node, gap.part, gap.decisive) for gap in flows.gaps] == [(NODE_1, "agent", True)]

    run(main())


def test_nodes_that_are_connected_missing_unknown_and_unread(tmp_path: Path) -> None:
    async def main() -> None:
        stranger = ScriptedAgent(replace(node_2(), node="stranger"))
        one = ScriptedAgent(replace(node_1(), unread=(Unread(part="imds", reason="no route"),)))
        mute = ScriptedAgent(replace(node_2(), node="mute"), {ReadSnapshot: failing("permission denied")})
        async with AsyncExitStack() as stack:
            bench = await stack.enter_async_context(serving(tmp_path, cluster()))
            for agent in (stranger, one, mute):
                await stack.enter_async_context(agent.connected(bench.address))
                await bench.agent(agent.node)
            nodes = {each.node: each for each in (await bench.client.ListNodes(service_pb2.ListNodesRequest())).nodes}
            assert list(nodes) == sorted(nodes)
            assert {name: (each.connected, each.in_inventory) for name, each in nodes.items()} == {
                NODE_1: (True, True),
                NODE_2: (False, True),
                "stranger": (True, False),
                "mute": (True, False),
            }
            assert [unread.part for unread in nodes[NODE_1].unread] == ["imds"]
            assert [(unread.part, unread.reason) for unread in nodes["mute"].unread] == [
                ("snapshot", "permission denied")
            ]
            shown = {each.name: each for each in nodes[NODE_1].interfaces}
            assert (shown["eth0"].role, shown["eth0"].eni_id) == ("primary ENI", "eni-1p")
            assert list(shown["enicart"].addresses) == ["192.168.1.41"]
            assert nodes[NODE_1].version == "0.1.0"

    run(main())


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("shop/c", ["shop/cart"]),
        ("svc/", ["svc/shop/hollow", "svc/shop/web"]),
        ("node/", [f"node/{NODE_1}", f"node/{NODE_2}"]),
        ("se", ["search"]),
        ("nothing", []),
    ],
)
def test_names_to_complete(tmp_path: Path, prefix: str, found: list[str]) -> None:
    async def main() -> None:
        async with serving(tmp_path, cluster()) as bench:
            answer = await bench.client.ListNames(service_pb2.ListNamesRequest(prefix=prefix))
            assert list(answer.names) == found

    run(main())


def test_a_bare_name_is_offered_where_it_is_the_only_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path, inventory_of(*cluster_items(), pod_item("x/redis", NODE_1))) as bench:
            names = (await bench.client.ListNames(service_pb2.ListNamesRequest(prefix=""))).names
            assert "cart" in names
            assert "redis" not in names
            assert {"shop/redis", "x/redis"} <= set(names)

    run(main())
