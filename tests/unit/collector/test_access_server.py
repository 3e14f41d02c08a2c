"""The server asks its gate before anything else, and what it answers names nobody whom the caller may not see."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from journeys import CAPTURE, handshake
from scripted_agent import ScriptedAgent, serving
from shopkeeper import INVENTORY, Guard, Shopkeeper
from small_cluster import NODE_1, NODE_2, REDIS, inventory_of, node_1, node_2, node_item, pod_item

from pathtap.collector import intake
from pathtap.collector.access.gate import Caller
from pathtap.model.request import CaptureRequest
from pathtap.v1 import agent_pb2, agent_pb2_grpc, service_pb2

METHODS = service_pb2.DESCRIPTOR.services_by_name["TraceService"].methods_by_name


def run(main: Coroutine[Any, Any, None]) -> None:
    async def within_time() -> None:
        async with asyncio.timeout(15):
            await main

    asyncio.run(within_time())


async def answers(client: Any, method: str, request: Message) -> list[Any]:
    call = getattr(client, method)(request)
    if hasattr(call, "read"):
        return [each async for each in call]
    return [await call]


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize(
    ("person", "status"),
    [(None, grpc.StatusCode.UNAUTHENTICATED), (Shopkeeper(), grpc.StatusCode.PERMISSION_DENIED)],
)
def test_no_call_goes_by_the_gate(tmp_path: Path, method: str, person: Caller | None, status: grpc.StatusCode) -> None:
    """As the service is described: a call that is new and asks nobody fails here."""
    kind = METHODS[method].input_type
    request = getattr(service_pb2, kind.name)()
    for field in ("source", "destination"):
        if field in kind.fields_by_name:
            setattr(request, field, "vault/secret")
    if "prefix" in kind.fields_by_name:
        request.prefix = "vault/"

    async def main() -> None:
        async with serving(tmp_path, INVENTORY, Guard(person)) as bench:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await answers(bench.client, method, request)
            assert caught.value.code() is status
            assert "secret" not in (caught.value.details() or "")

    run(main())


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Snat", service_pb2.SnatRequest(all=True)),
        ("Trace", service_pb2.TraceRequest(source="shop/cart", destination="svc/shop/mixed")),
        ("Explain", service_pb2.TraceRequest(source="shop/cart", destination="10.100.0.70", port=80)),
        ("Snat", service_pb2.SnatRequest(source="shop/cart", destination="svc/shop/mixed")),
    ],
)
def test_what_leads_elsewhere_is_refused(tmp_path: Path, method: str, request_: Message) -> None:
    async def main() -> None:
        async with serving(tmp_path, INVENTORY, Guard(Shopkeeper())) as bench:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await answers(bench.client, method, request_)
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED

    run(main())


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("ListFlows", service_pb2.ListFlowsRequest(source="shop/old", timeout_ms=100)),
        ("Trace", service_pb2.TraceRequest(source="shop/old", destination="198.51.100.7")),
        ("Snat", service_pb2.SnatRequest(source="shop/old")),
    ],
)
def test_a_pod_whose_address_is_anothers_already_is_refused(tmp_path: Path, method: str, request_: Message) -> None:
    late = inventory_of(
        node_item(NODE_1, "192.168.1.29"),
        pod_item("shop/old", NODE_1, REDIS, deleting=True),
        pod_item("vault/secret", NODE_1, REDIS),
    )

    async def main() -> None:
        async with serving(tmp_path, late, Guard(Shopkeeper())) as bench:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await answers(bench.client, method, request_)
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED

    run(main())


def test_who_says_no_hello_has_one_stream_and_not_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "GREETING", 1.0)

    async def main() -> None:
        async with (
            serving(tmp_path, INVENTORY, Guard()) as bench,
            grpc.aio.insecure_channel(bench.address) as channel,
        ):
            silent = agent_pb2_grpc.IntakeServiceStub(channel).Connect()
            await asyncio.sleep(0.2)
            another = agent_pb2_grpc.IntakeServiceStub(channel).Connect()
            for call, status in (
                (another, grpc.StatusCode.PERMISSION_DENIED),
                (silent, grpc.StatusCode.INVALID_ARGUMENT),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call.read()
                assert caught.value.code() is status

    run(main())


def test_the_audit_log_says_that_every_node_was_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serving(tmp_path, INVENTORY, Guard(Shopkeeper())) as bench:
            with pytest.raises(grpc.aio.AioRpcError):
                await answers(bench.client, "Snat", service_pb2.SnatRequest(all=True))

    run(main())
    (said,) = [each.getMessage() for each in caplog.records if each.name == "pathtap.collector.audit"]
    assert '"source": "--all"' in said
    assert '"outcome": "refused"' in said


def test_flows_name_nobody_who_is_not_the_callers_to_see(tmp_path: Path) -> None:
    async def main() -> None:
        one, two = ScriptedAgent(node_1()), ScriptedAgent(node_2())
        async with serving(tmp_path, INVENTORY, Guard(Shopkeeper())) as bench, one.connected(bench.address):
            await bench.agent(NODE_1)
            request = service_pb2.ListFlowsRequest(source="shop/cart", timeout_ms=500)
            came = []
            async for response in bench.client.ListFlows(request):
                came.append(response)
                if response.progress.startswith("capturing"):
                    await one.until(CaptureRequest)
                    one.see(handshake(), CAPTURE)
            (flow,) = came[-1].flows.flows
            assert (flow.source.name, flow.destination.name) == ("shop/cart", f"(hidden)/{REDIS}")
            assert flow.destination.address == REDIS
            assert "secret" not in str(came)
        assert two.received == []

    run(main())


def test_an_agent_speaks_for_its_own_node_alone(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            serving(tmp_path, INVENTORY, Guard()) as bench,
            grpc.aio.insecure_channel(bench.address) as channel,
        ):
            hello = agent_pb2.ConnectRequest(node=NODE_2, boot_id="b", sequence=1, hello=agent_pb2.Hello())
            call = agent_pb2_grpc.IntakeServiceStub(channel).Connect(iter([hello]))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
            assert bench.agents.connected() == ()
            async with ScriptedAgent(node_1()).connected(bench.address):
                await bench.agent(NODE_1)

    run(main())


def test_a_greeting_that_is_too_long_is_none(tmp_path: Path) -> None:
    """Its words are kept, logged and shown in `nodes`."""

    async def main() -> None:
        async with (
            serving(tmp_path, INVENTORY, Guard()) as bench,
            grpc.aio.insecure_channel(bench.address) as channel,
        ):
            said = agent_pb2.Hello(version="v" * 20_000)
            hello = agent_pb2.ConnectRequest(node=NODE_1, boot_id="b", sequence=1, hello=said)
            call = agent_pb2_grpc.IntakeServiceStub(channel).Connect(iter([hello]))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert bench.agents.connected() == ()

    run(main())


def test_a_request_that_is_too_long_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path, INVENTORY, Guard(Shopkeeper())) as bench:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await answers(bench.client, "Trace", service_pb2.TraceRequest(source="x" * 70_000))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    run(main())
