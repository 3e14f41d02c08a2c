"""The ports of a collector in a cluster, over TLS: nobody's message is read before they have shown who they are."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from pathtap.collector.access.desk import Desk
from pathtap.collector.access.gate import AgentIdentity, Anybody, ClusterGate, Metadata, OpenGate, bearer_token
from pathtap.collector.access.refusal import unknown
from pathtap.collector.access.tls import KeyPair, credentials
from pathtap.collector.agents import Agents
from pathtap.collector.cluster.api import Api
from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.config import Settings
from pathtap.collector.intake import Intake
from pathtap.collector.ports import Ports
from pathtap.collector.program import _gate
from pathtap.collector.server import TraceServer
from pathtap.lab.kube.certificates import Authority, new_authority
from pathtap.v1 import agent_pb2, agent_pb2_grpc, service_pb2, service_pb2_grpc

NAME = "pathtap-collector.pathtap.svc"


class Known(ClusterGate):
    """Knows one token of a person and one of an agent, and no cluster."""

    def __init__(self) -> None:
        pass

    async def person_by(self, metadata: Metadata) -> Any:
        if bearer_token(metadata) != "ann":
            raise unknown("no person")
        return Anybody()

    async def agent_by(self, metadata: Metadata) -> AgentIdentity:
        if bearer_token(metadata) != "agent":
            raise unknown("no agent")
        return AgentIdentity(node="n", pod="p")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    directory: Path
    authority: Authority

    def channel(self, port: str) -> grpc.aio.Channel:
        shown = grpc.ssl_channel_credentials(self.authority.pair.certificate)
        options = (("grpc.ssl_target_name_override", NAME),)
        return grpc.aio.secure_channel(f"unix:{self.directory}/{port}", shown, options=options)


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Stage]:
    """The handlers behind the ports take anybody: what refuses here stands before them."""
    authority = new_authority("ports", datetime.now(UTC))
    pair = authority.server(NAME, (NAME,))
    certificate, key = directory / "tls.crt", directory / "tls.key"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(pair.key)
    settings = Settings(
        listen=f"unix:{directory}/people",
        listen_agents=f"unix:{directory}/agents",
        insecure=False,
        in_cluster=True,
        tls_certificate=certificate,
        tls_key=key,
    )
    agents = Agents(lambda: 0)
    tracer = TraceServer(agents, Inventory, lambda: 0, lambda: "id", Desk(OpenGate()))
    ports = Ports(settings, Known(), Intake(agents, OpenGate()), tracer)
    await ports.open()
    try:
        async with asyncio.timeout(20):
            yield Stage(directory=directory, authority=authority)
    finally:
        await ports.close(0)


async def status_of(call: Any) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        ("", grpc.StatusCode.UNAUTHENTICATED),
        ("mallory", grpc.StatusCode.UNAUTHENTICATED),
        ("agent", grpc.StatusCode.UNAUTHENTICATED),
        ("ann", grpc.StatusCode.OK),
    ],
)
def test_a_person_is_asked_at_the_door(tmp_path: Path, shown: str, status: grpc.StatusCode) -> None:
    metadata = (("authorization", f"Bearer {shown}"),) if shown else ()

    async def main() -> None:
        async with opened(tmp_path) as stage, stage.channel("people") as channel:
            stub = service_pb2_grpc.TraceServiceStub(channel)
            assert await status_of(stub.ListNames(service_pb2.ListNamesRequest(), metadata=metadata)) is status
            # Of who is nobody not even bytes that are no message are read.
            raw: Any = channel.unary_unary("/pathtap.v1.TraceService/ListNames")
            expected = status if shown != "ann" else grpc.StatusCode.INVALID_ARGUMENT
            assert await status_of(raw(b"\xff\xff", metadata=metadata)) is expected

    asyncio.run(main())


@pytest.mark.parametrize(
    ("token", "status"),
    [("ann", grpc.StatusCode.UNAUTHENTICATED), ("agent", grpc.StatusCode.INVALID_ARGUMENT)],
)
def test_an_agent_is_asked_at_its_own(tmp_path: Path, token: str, status: grpc.StatusCode) -> None:
    """What is no Hello comes to the handler of who was let in alone."""

    async def main() -> None:
        async with opened(tmp_path) as stage, stage.channel("agents") as channel:
            call = agent_pb2_grpc.IntakeServiceStub(channel).Connect(
                iter([agent_pb2.ConnectRequest()]), metadata=(("authorization", f"Bearer {token}"),)
            )
            assert await status_of(call.read()) is status

    asyncio.run(main())


def test_an_agent_that_sends_what_is_no_message_is_hung_up_on(tmp_path: Path) -> None:
    hello = agent_pb2.ConnectRequest(node="n", boot_id="b", sequence=1, hello=agent_pb2.Hello())

    async def main() -> None:
        async with opened(tmp_path) as stage, stage.channel("agents") as channel:
            raw: Any = channel.stream_stream("/pathtap.v1.IntakeService/Connect")
            call = raw(metadata=(("authorization", "Bearer agent"),))
            await call.write(hello.SerializeToString())
            await call.initial_metadata()
            await call.write(b"\xff\xff")
            assert await call.read() is grpc.aio.EOF

    asyncio.run(main())


def test_neither_port_has_the_service_of_the_other(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as stage:
            async with stage.channel("agents") as channel:
                stub = service_pb2_grpc.TraceServiceStub(channel)
                call = stub.ListNames(service_pb2.ListNamesRequest(), metadata=(("authorization", "Bearer ann"),))
                assert await status_of(call) is grpc.StatusCode.UNIMPLEMENTED
            async with stage.channel("people") as channel:
                connect = agent_pb2_grpc.IntakeServiceStub(channel).Connect(
                    iter([]), metadata=(("authorization", "Bearer agent"),)
                )
                assert await status_of(connect.read()) is grpc.StatusCode.UNIMPLEMENTED

    asyncio.run(main())


def handshake(address: tuple[str, int], context: ssl.SSLContext) -> str:
    """The version that was agreed on; a byte is read for what TLS 1.3 refuses late. Raises OSError."""
    import socket

    with socket.create_connection(address, 5) as plain, context.wrap_socket(plain, server_hostname=NAME) as secure:
        secure.settimeout(2)
        if not secure.recv(1):
            raise ConnectionError
        return str(secure.version())


def test_who_shows_a_certificate_shows_one_of_the_clusters(tmp_path: Path) -> None:
    own, other = (new_authority(name, datetime.now(UTC)) for name in ("own", "other"))
    pair = own.server(NAME, (NAME,))
    files = tmp_path / "tls.crt", tmp_path / "tls.key"
    files[0].write_bytes(pair.certificate)
    files[1].write_bytes(pair.key)

    def context(client: Any = None, most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        made = ssl.create_default_context(cadata=own.pair.certificate.decode())
        made.set_alpn_protocols(["h2"])
        made.maximum_version = most
        if client is not None:
            shown = tmp_path / "client.pem"
            shown.write_bytes(client.certificate + client.key)
            made.load_cert_chain(shown)
        return made

    async def main() -> None:
        trusted = [own.pair.certificate]
        server = grpc.aio.server()
        port = server.add_secure_port("127.0.0.1:0", credentials(KeyPair(*files), lambda: trusted[-1]))
        await server.start()
        try:
            address = ("127.0.0.1", port)
            assert await asyncio.to_thread(handshake, address, context(own.client("ann"))) == "TLSv1.3"
            old = context(own.client("ann"), ssl.TLSVersion.TLSv1_2)
            assert await asyncio.to_thread(handshake, address, old) == "TLSv1.2"
            # Nobody's, another authority's, a server's; and a version that nobody should speak any more.
            for refused in (context(), context(other.client("ann")), context(own.server("ann", ("ann",)))):
                with pytest.raises(OSError):  # noqa: PT011 - TLS says it in many ways
                    await asyncio.to_thread(handshake, address, refused)
            # The authority may change while the server runs.
            trusted.append(other.pair.certificate)
            with pytest.raises(OSError):  # noqa: PT011
                await asyncio.to_thread(handshake, address, context(own.client("ann")))
            assert await asyncio.to_thread(handshake, address, context(other.client("ann"))) == "TLSv1.3"
        finally:
            await server.stop(None)

    asyncio.run(main())


def test_a_cluster_with_tls_is_asked_and_nothing_else_is() -> None:
    api: Any = Api.__new__(Api)
    files: Any = {"tls_certificate": Path("c"), "tls_key": Path("k")}
    inside = Settings(listen="[::]:1", insecure=False, in_cluster=True, **files)
    assert isinstance(_gate(inside, api), ClusterGate)
    assert isinstance(_gate(Settings(listen="[::]:1", insecure=True, in_cluster=True), api), OpenGate)
    file = Settings(listen="[::]:1", insecure=False, inventory=Path("i"), **files)
    assert isinstance(_gate(file, None), OpenGate)
