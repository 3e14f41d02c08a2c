"""One gRPC stream to the collector, from the Hello to its end: the outbox up, commands down. Decides and retries nothing."""

import asyncio
from collections.abc import Callable

import grpc

from pathtap.agent.config import Settings, collector_target
from pathtap.agent.outbox import Outbox
from pathtap.v1 import agent_pb2 as pb

DIAL_TIMEOUT = 2.5
GRACE = 2.0

# A peer that is black-holed or stopped is noticed within 18 s; without ping_timeout_ms a stopped one takes 70 s.
# docs/wire.md says what the server must set for these pings to be welcome. The server's own come later than these, and therefore
# only where these did not: each ping costs an agent that nobody uses more than all else it does.
CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 13_000),
    ("grpc.keepalive_timeout_ms", 4_000),
    ("grpc.http2.ping_timeout_ms", 4_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    # The session's back-off is the only one: a new channel must not inherit an old one's.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    # A node's rules can be larger than the 4 MiB that gRPC takes by default.
    ("grpc.max_send_message_length", -1),
)

# What no further attempt changes by itself.
REFUSALS = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)

Call = grpc.aio.StreamStreamCall[bytes, pb.ConnectResponse]

_CONNECT = f"/{pb.DESCRIPTOR.services_by_name['IntakeService'].full_name}/Connect"


class TokenError(Exception):
    """What is wrong with the token's file, as a sentence."""


class Stream:
    """`connected` is called once the Hello went out, `received` with each command."""

    def __init__(
        self,
        settings: Settings,
        outbox: Outbox,
        connected: Callable[[], None],
        received: Callable[[pb.ConnectResponse], None],
    ) -> None:
        self._settings = settings
        self._outbox = outbox
        self._connected = connected
        self._received = received
        self._deadline = asyncio.timeout(DIAL_TIMEOUT)
        self._hung_up = False
        self.refused = False
        self._running = False

    async def run(self, hello: bytes) -> str:
        """Lives as long as the stream does; returns the sentence that says why it ended."""
        if self._hung_up:
            return "the agent was stopped"
        try:
            async with self._deadline, open_channel(self._settings) as channel:
                self._running = True
                # The worker has serialized what goes up.
                decode = pb.ConnectResponse.FromString
                call: Call = channel.stream_stream(_CONNECT, response_deserializer=decode)(
                    metadata=_metadata(self._settings)
                )
                # Completes only when a connection took it: gRPC holds it back until then.
                await call.write(hello)
                if self._settings.token_file is not None:
                    # Comes once the collector has let this agent in.
                    await call.initial_metadata()
                    if call.done():
                        return await self._read(call)
                self._deadline.reschedule(None)
                self._connected()
                return await self._talk(call)
        except TimeoutError:
            return f"the collector at {self._settings.collector} did not answer in time"
        except grpc.aio.AioRpcError as error:
            return self._ended(error)
        except OSError as error:
            return f"the certificates to trust cannot be read: {error}"
        except TokenError as error:
            return str(error)
        finally:
            self._running = False

    def hang_up(self) -> None:
        """Ends the stream when the outbox is closed and empty, after GRACE seconds in any case; one that is not open yet, now."""
        self._hung_up = True
        if self._running and not self._deadline.expired():
            talking = self._deadline.when() is None
            self._deadline.reschedule(asyncio.get_running_loop().time() + (GRACE if talking else 0))

    async def _talk(self, call: Call) -> str:
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(self._write(call))
            try:
                return await self._read(call)
            finally:
                writer.cancel()

    async def _read(self, call: Call) -> str:
        collector = self._settings.collector
        try:
            while (message := await call.read()) is not grpc.aio.EOF:
                assert isinstance(message, pb.ConnectResponse)  # noqa: S101 - what else is not EOF
                self._received(message)
        except grpc.aio.AioRpcError as error:
            return self._ended(error)
        return f"the collector at {collector} ended the stream"

    def _ended(self, error: grpc.aio.AioRpcError) -> str:
        self.refused = error.code() in REFUSALS
        return _sentence(self._settings.collector, error)

    async def _write(self, call: Call) -> None:
        try:
            while (message := await self._outbox.next()) is not None:
                await call.write(message)
                self._outbox.sent()
            await call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The stream is over; the reader says why.
            return


def open_channel(settings: Settings) -> grpc.aio.Channel:
    """Raises OSError where the CA file cannot be read."""
    target = collector_target(settings.collector)
    if settings.tls_ca is None:
        return grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)
    options: tuple[tuple[str, int | str], ...] = CHANNEL_OPTIONS
    if settings.tls_server_name:
        options += (("grpc.ssl_target_name_override", settings.tls_server_name),)
    credentials = grpc.ssl_channel_credentials(root_certificates=settings.tls_ca.read_bytes())
    return grpc.aio.secure_channel(target, credentials, options=options)


def _metadata(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Raises TokenError where it cannot be read. A token goes out over TLS alone: Settings saw to it."""
    if settings.token_file is None:
        return ()
    try:
        token = settings.token_file.read_text("latin-1").strip()
    except OSError as error:
        raise TokenError(f"the token to show cannot be read: {error}") from error
    if not token or not token.isascii() or not token.isprintable():
        raise TokenError(f"{settings.token_file} holds no token")
    return (("authorization", f"Bearer {token}"),)


def _sentence(collector: str, error: grpc.aio.AioRpcError) -> str:
    """The C core wraps its reasons several times over; the last one is the kernel's, or the peer's."""
    if error.code() in REFUSALS:
        return f"the collector at {collector} refuses this agent: {error.details()} ({error.code().name})"
    details = (error.details() or "no details").rsplit("UNKNOWN: ", 1)[-1]
    return f"the connection to the collector at {collector} failed: {details} ({error.code().name})"
