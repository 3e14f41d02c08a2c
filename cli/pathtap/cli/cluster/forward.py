"""A port of loopback that leads to a port of a pod, through the API server and the kubelet, while a context is open.

One websocket for each connection, of the subprotocol v4.channel.k8s.io (kubelet, pkg/kubelet/cri/streaming/portforward/
websocket.go): the first byte of a message is its channel, 0 for data and 1 for an error; the first message of each channel is
the port, two bytes. The first websocket is opened before anybody connects, so that a refusal is told in full.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import httpx
import httpx_ws
import wsproto.utilities

from pathtap.cli.cluster.api import Api
from pathtap.cli.errors import CommandError

PROTOCOL = "v4.channel.k8s.io"
DATA, ERROR = 0, 1
CHUNK = 65_536
_BROKEN = (
    httpx_ws.HTTPXWSException,
    httpx.HTTPError,
    wsproto.utilities.ProtocolError,
    anyio.ClosedResourceError,
    anyio.BrokenResourceError,
    anyio.EndOfStream,
    OSError,
)

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Forward:
    """`port` is loopback's. `trouble` is what the way to the pod said last, empty where it said nothing; another thread may
    read it."""

    def __init__(self, api: Api, path: str, remote_port: int) -> None:
        self._api = api
        self._path = path
        self._remote_port = str(remote_port)
        self._first: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        self.port = 0
        self.trouble = ""

    async def stand_by(self, *, task_status: anyio.abc.TaskStatus[CommandError | None]) -> None:
        """Opens the first websocket, and carries the first connection over it. Starts with None, or with why it did not open."""
        await self._carry(self._first, task_status)

    def accept(self, group: anyio.abc.TaskGroup, connection: Connection) -> None:
        """Carries a connection to its end, in `group`."""
        if not self._first.done():
            self._first.set_result(connection)
            return
        arrived = asyncio.get_running_loop().create_future()
        arrived.set_result(connection)
        group.start_soon(self._carry, arrived)

    async def _carry(
        self,
        arriving: asyncio.Future[Connection],
        task_status: anyio.abc.TaskStatus[CommandError | None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        opened = False
        try:
            async with self._api.websocket(self._path, PROTOCOL, ports=self._remote_port) as websocket:
                opened = True
                task_status.started(None)
                reader, writer = await arriving
                await self._exchange(websocket, reader, writer)
        except (ExceptionGroup, *_BROKEN) as error:
            why = None if opened else self._api.opening(error)
            self.trouble = why.message if why is not None else self.trouble or "the connection to the API server broke"
            if why is not None:
                task_status.started(why)
        finally:
            if arriving.done() and not arriving.cancelled():
                arriving.result()[1].close()

    async def _exchange(
        self, websocket: httpx_ws.AsyncWebSocketSession, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Returns when either side has ended."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._up, websocket, reader, group.cancel_scope)
            await self._down(websocket, writer)
            group.cancel_scope.cancel()

    async def _up(
        self, websocket: httpx_ws.AsyncWebSocketSession, reader: asyncio.StreamReader, both: anyio.CancelScope
    ) -> None:
        try:
            while data := await reader.read(CHUNK):
                await websocket.send_bytes(bytes((DATA,)) + data)
        except _BROKEN:
            # The other direction says why.
            return
        both.cancel()

    async def _down(self, websocket: httpx_ws.AsyncWebSocketSession, writer: asyncio.StreamWriter) -> None:
        begun: set[int] = set()
        try:
            while True:
                message = await websocket.receive_bytes()
                if not message:
                    # Of no channel, and no end either: that is a close frame, which is raised.
                    continue
                channel, content = message[0], message[1:]
                if channel not in begun:
                    begun.add(channel)
                elif channel == DATA:
                    writer.write(content)
                    await writer.drain()
                else:
                    self.trouble = content.decode(errors="replace").strip()
                    return
        except ConnectionError:
            # The command has closed its end.
            return
        except _BROKEN:
            self.trouble = self.trouble or "the pod, its kubelet or the API server closed the port-forward"


@asynccontextmanager
async def forwarding(api: Api, namespace: str, pod: str, port: int) -> AsyncIterator[Forward]:
    """Raises CommandError where the API server or the kubelet refuses; everything is closed when the context is left."""
    forward = Forward(api, f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward", port)
    async with anyio.create_task_group() as group:
        refused = await group.start(forward.stand_by)
        if refused is None:
            server = await asyncio.start_server(lambda *ends: forward.accept(group, ends), "127.0.0.1", 0)
            try:
                forward.port = server.sockets[0].getsockname()[1]
                yield forward
            finally:
                server.close()
        group.cancel_scope.cancel()
    if refused is not None:
        raise refused
