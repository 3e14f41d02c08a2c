"""The agent's token: read for each stream, shown over TLS alone, and what a refusal of it is to the agent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from agent_stage import BOOT, NODE

from pathtap.agent.config import Settings
from pathtap.agent.outbox import Outbox
from pathtap.agent.stream import Stream
from pathtap.lab.kube.certificates import new_authority
from pathtap.v1 import agent_pb2_grpc


class Doubting(agent_pb2_grpc.IntakeServiceServicer):
    """Lets `let-in` in, and keeps what was shown."""

    def __init__(self) -> None:
        self.shown: list[Any] = []

    async def Connect(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]  # noqa: N802
        token = dict(context.invocation_metadata()).get("authorization")
        self.shown.append(token)
        if token != "Bearer let-in":  # noqa: S105
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not for this node")
        await context.send_initial_metadata(())
        await anext(aiter(request_iterator))


@asynccontextmanager
async def doubting(directory: Path) -> AsyncIterator[tuple[Doubting, Settings]]:
    authority = new_authority("unit", datetime.now(UTC))
    pair = authority.server("collector", ("127.0.0.1",))
    (directory / "ca.crt").write_bytes(authority.pair.certificate)
    server, servicer = grpc.aio.server(), Doubting()
    agent_pb2_grpc.add_IntakeServiceServicer_to_server(servicer, server)
    credentials = grpc.ssl_server_credentials([(pair.key, pair.certificate)])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield (
            servicer,
            Settings(
                collector=f"127.0.0.1:{port}",
                node=NODE,
                tls_ca=directory / "ca.crt",
                token_file=directory / "token",
                health_port=0,
            ),
        )
    finally:
        await server.stop(None)


async def stream_of(settings: Settings) -> tuple[str, bool, bool]:
    """Why it ended, whether it was ever connected, and whether it was refused."""
    outbox, connected = Outbox(NODE, BOOT), []
    stream = Stream(settings, outbox, lambda: connected.append(True), lambda _: None)
    reason = await stream.run(outbox.hello("0", "6.18"))
    return reason, bool(connected), stream.refused


def test_it_is_read_for_each_stream_and_a_refusal_is_no_connection(tmp_path: Path) -> None:
    async def all_of_it() -> None:
        async with asyncio.timeout(20), doubting(tmp_path) as (collector, settings):
            (tmp_path / "token").write_text("stale\n")
            reason, connected, refused = await stream_of(settings)
            assert (connected, refused) == (False, True)
            assert reason.endswith("refuses this agent: not for this node (PERMISSION_DENIED)")
            (tmp_path / "token").write_text("let-in\n")
            assert (await stream_of(settings))[1:] == (True, False)
            assert collector.shown == ["Bearer stale", "Bearer let-in"]

    asyncio.run(all_of_it())


@pytest.mark.parametrize("held", [None, b"", b"\n", b"a\nb", "t\u00f6ken".encode()])
def test_without_a_token_nobody_is_asked(tmp_path: Path, held: bytes | None) -> None:
    async def all_of_it() -> None:
        async with asyncio.timeout(20), doubting(tmp_path) as (collector, settings):
            if held is not None:
                (tmp_path / "token").write_bytes(held)
            reason, connected, refused = await stream_of(settings)
            assert (connected, refused, collector.shown) == (False, False, [])
            assert str(tmp_path / "token") in reason

    asyncio.run(all_of_it())
