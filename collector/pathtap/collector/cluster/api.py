"""The one place of the collector that speaks HTTP to the API server: JSON in, JSON out, failures as sentences.

Knows paths, tokens and time-outs; knows no resource.
"""

import asyncio
import json
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from pathtap.collector.cluster.credentials import Credentials, CredentialsError, Kubeconfig, ServiceAccount

# Seconds for a connection, and for each silence within an answer; a list of 500 pods takes less than one.
CONNECT_PATIENCE = 5.0
ANSWER_PATIENCE = 30.0
# Seconds after which the server is asked to end a watch in order, and another begins: where nothing happens nobody sends
# bookmarks, and only a new watch tells that the server is still there. Unasked it keeps one for half an hour and longer
# (--min-request-timeout).
WATCH_SECONDS = 30
# Seconds a watch may be silent, longer than any that is asked for lasts.
WATCH_PATIENCE = 40.0
# Bytes of one watch event; etcd refuses objects beyond 1.5 MiB.
LONGEST_EVENT = 16 << 20
# A server that went away without a word is noticed in 10 + 3 × 5 s by the kernel, in the middle of a watch too.
KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


class ApiError(Exception):
    """A sentence for a person. `status` is the answer's HTTP status, 0 where no answer came."""

    def __init__(self, sentence: str, status: int = 0) -> None:
        super().__init__(sentence)
        self.status = status


class _Client:
    """The connections of one set of credentials. After `retire` they are closed when the last request on them is over, which for
    a watch may take half a minute."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._users = 0
        self._retired = False

    @asynccontextmanager
    async def used(self) -> AsyncIterator[httpx.AsyncClient]:
        self._users += 1
        try:
            yield self._http
        finally:
            self._users -= 1
            await self._close_if_idle()

    async def retire(self) -> None:
        self._retired = True
        await self._close_if_idle()

    async def _close_if_idle(self) -> None:
        if self._retired and not self._users:
            await self._http.aclose()


class Api:
    """Requests to one API server. Every method raises ApiError and nothing else. Paths are the API's: "/api/v1/pods"."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        watch_patience: float = WATCH_PATIENCE,
        answer_patience: float = ANSWER_PATIENCE,
    ) -> None:
        """Both in seconds of silence."""
        self._credentials = credentials
        self._answer_patience = answer_patience
        self._watch_patience = watch_patience
        self._renewing = asyncio.Lock()
        self._client = self._new_client()

    @property
    def server(self) -> str:
        """The URL, for logs."""
        return self._credentials.server

    async def get(self, path: str, **parameters: str) -> Mapping[str, Any]:
        return await self._answer("GET", path, params=parameters)

    async def create(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """POST, to a collection or to a review."""
        return await self._answer("POST", path, json=body)

    async def replace(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """PUT. A resourceVersion in the body that is not the present one gives status 409."""
        return await self._answer("PUT", path, json=body)

    async def watch(
        self, path: str, opened: Callable[[], None] | None = None, **parameters: str
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        """Events as the API has them, {"type": …, "object": …}, until the server ends the watch. Who leaves early closes it
        (contextlib.aclosing).

        `opened` is called once the server has taken it. An ERROR event is raised with the code of its Status: 410 for a
        resourceVersion that is gone.
        """
        timeout = httpx.Timeout(CONNECT_PATIENCE, read=self._watch_patience)
        async with self._request("GET", path, params={**parameters, "watch": "true"}, timeout=timeout) as response:
            if opened is not None:
                opened()
            async for line in _lines(response):
                event = self._object(line)
                if event.get("type") == "ERROR":
                    status = event.get("object")
                    code = status.get("code") if isinstance(status, Mapping) else None
                    raise ApiError(self._refusal(status, "watch"), code if isinstance(code, int) else 0)
                yield event

    async def close(self) -> None:
        """Once nothing is asked any more."""
        await self._client.retire()

    async def _answer(self, method: str, path: str, **parts: Any) -> Mapping[str, Any]:
        async with self._request(method, path, **parts) as response:
            return self._object(await response.aread())

    @asynccontextmanager
    async def _request(self, method: str, path: str, **parts: Any) -> AsyncIterator[httpx.Response]:
        """A response that is no refusal, its body unread. Credentials that are refused are made anew, once."""
        try:
            client = self._client
            async with self._sent(client, method, path, parts) as response:
                if response.status_code != 401:
                    yield await self._admitted(response, path)
                    return
            await self._renew(client)
            async with self._sent(self._client, method, path, parts) as response:
                yield await self._admitted(response, path)
        except CredentialsError as error:
            raise ApiError(str(error)) from error
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
            reason = str(error) or type(error).__name__
            raise ApiError(f"the API server {self.server} does not answer: {reason}") from error

    @asynccontextmanager
    async def _sent(
        self, client: _Client, method: str, path: str, parts: Mapping[str, Any]
    ) -> AsyncIterator[httpx.Response]:
        token, name = self._credentials.token(), self._credentials.server_name
        headers = {"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        extensions = {"sni_hostname": name} if name else None
        async with client.used() as http:
            request = http.build_request(method, path, headers=headers, extensions=extensions, **parts)
            response = await http.send(request, stream=True)
            try:
                yield response
            finally:
                await response.aclose()

    async def _admitted(self, response: httpx.Response, path: str) -> httpx.Response:
        if response.is_error or response.is_redirect:
            raise self._refused(response.status_code, await response.aread(), path)
        return response

    async def _renew(self, refused: _Client) -> None:
        """Requests that were refused together renew once: whoever comes later finds another client."""
        async with self._renewing:
            if self._client is not refused:
                return
            await self._credentials.renew()
            self._client = self._new_client()
            await refused.retire()

    def _new_client(self) -> _Client:
        """Raises CredentialsError."""
        try:
            return _Client(
                httpx.AsyncClient(
                    base_url=self._credentials.server,
                    transport=httpx.AsyncHTTPTransport(
                        verify=self._credentials.context(), proxy=self._credentials.proxy, socket_options=KEEPALIVE
                    ),
                    timeout=httpx.Timeout(self._answer_patience, connect=CONNECT_PATIENCE),
                    headers={"User-Agent": "pathtap-collector"},
                )
            )
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            raise CredentialsError(f"the API server {self.server}, or its proxy, cannot be used: {error}") from error

    def _object(self, text: bytes) -> Mapping[str, Any]:
        try:
            decoded = json.loads(text)
        except ValueError as error:
            raise ApiError(f"the API server {self.server} sent what is no JSON") from error
        if not isinstance(decoded, dict):
            raise ApiError(f"the API server {self.server} sent JSON that is no object")
        return decoded

    def _refused(self, status: int, body: bytes, path: str) -> ApiError:
        try:
            sentence = self._refusal(json.loads(body), path)
        except ValueError:
            sentence = self._refusal(None, path)
        return ApiError(f"{sentence} (HTTP {status})", status)

    def _refusal(self, status: object, path: str) -> str:
        """From the Status that the API answers with (meta/v1)."""
        message = status.get("message") if isinstance(status, Mapping) else None
        return f"the API server {self.server} refuses {path}: {message or 'it does not say why'}"


async def connect(kubeconfig: Path | None, context: str) -> Api:
    """`kubeconfig` None is for a pod: its service account. Raises ApiError where there are no credentials; asks nothing yet."""
    try:
        credentials: Credentials
        credentials = ServiceAccount(os.environ) if kubeconfig is None else Kubeconfig(kubeconfig, context)
        await credentials.renew()
        return Api(credentials)
    except CredentialsError as error:
        raise ApiError(str(error)) from error


async def _lines(response: httpx.Response) -> AsyncIterator[bytes]:
    """By line feeds alone: what Unicode calls a line may end within a string of JSON."""
    held = bytearray()
    async for part in response.aiter_bytes():
        held += part
        *whole, rest = held.split(b"\n")
        for line in whole:
            if line.strip():
                yield bytes(line)
        held = bytearray(rest)
        if len(held) > LONGEST_EVENT:
            raise ApiError(f"the API server sent an event of more than {LONGEST_EVENT >> 20} MiB")
