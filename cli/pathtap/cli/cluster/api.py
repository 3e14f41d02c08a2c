"""Requests to the API server as the person: one document, or one websocket; every failure is a sentence.

Knows no resource. The session is httpx's, whose certificate checks are those of Python's ssl.
"""

import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import httpx_ws

from pathtap.cli.cluster.server import Server, without_password
from pathtap.cli.cluster.values import Credential
from pathtap.cli.errors import CommandError

# What a pipe holds without a reader (Linux 65536; macOS grows to it).
LONGEST_PEM = 65_536
PING_SECONDS = 20.0


class RefusedError(CommandError):
    """The API server's own no. `status` is HTTP's; `said` is the message of its Status (meta/v1), or empty."""

    def __init__(self, sentence: str, status: int, said: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.said = said


class Api:
    """An open session. Its methods raise CommandError, and RefusedError where the API server answered."""

    def __init__(self, client: httpx.AsyncClient, server: Server) -> None:
        self._client = client
        self._server = server

    async def get(self, path: str, **parameters: str) -> Mapping[str, Any]:
        """A JSON object at the API's own path, "/api/v1/…"."""
        try:
            response = await self._client.get(path, params=parameters)
        except (httpx.HTTPError, ssl.SSLError, OSError) as error:
            raise unreachable(error, self._server) from error
        if not response.is_success:
            raise refusal(response.status_code, response.content, self._server)
        return _mapping(response.content, self._server)

    def websocket(
        self, path: str, protocol: str, **parameters: str
    ) -> AbstractAsyncContextManager[httpx_ws.AsyncWebSocketSession]:
        """A websocket of the subprotocol; entering it raises what `opening` turns into sentences."""
        return httpx_ws.aconnect_ws(
            path,
            self._client,
            subprotocols=[protocol],
            # Keeps what lies between from closing an idle connection; an answer is not insisted on.
            keepalive_ping_interval_seconds=PING_SECONDS,
            keepalive_ping_timeout_seconds=None,
            params=parameters,
        )

    def opening(self, error: Exception) -> CommandError:
        """Why a websocket did not open."""
        if isinstance(error, httpx_ws.WebSocketUpgradeError):
            return refusal(error.response.status_code, _kept(error.response), self._server)
        return unreachable(error, self._server)


@asynccontextmanager
async def session(server: Server, credential: Credential, seconds: float) -> AsyncIterator[Api]:
    """`seconds` are those of a connection and of each answer. Connects to nothing yet."""
    shown = {"Authorization": f"Bearer {credential.token}"} if credential.token else {}
    try:
        client = httpx.AsyncClient(
            base_url=server.url,
            headers={"User-Agent": "pathtap", **shown},
            verify=_trust(server, credential),
            proxy=server.proxy or None,
            trust_env=not server.direct,
            timeout=seconds,
            event_hooks={"response": [_keep_refusals]},
        )
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise CommandError(f"The kubeconfig's server or proxy-url cannot be used: {error}.") from error
    async with client:
        yield Api(client, server)


def refusal(status: int, body: bytes, server: Server) -> RefusedError:
    """Pure: an answer that is no success, as a sentence."""
    try:
        said = str(json.loads(body).get("message") or "")
    except (ValueError, AttributeError):
        said = ""
    if status == 401:
        sentence = (
            f"The API server {server.url} does not accept the kubeconfig's credentials (401 Unauthorized): "
            "they may have expired, or be another cluster's."
        )
    elif status == 403:
        sentence = f"The API server {server.url} does not permit it (403 Forbidden): {said or 'it does not say why'}."
    else:
        sentence = f"The API server {server.url} answered {status}: {said or 'it does not say why'}."
    return RefusedError(sentence, status, said)


def unreachable(error: Exception, server: Server) -> CommandError:
    """Pure: no answer at all, as a sentence."""
    reason = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        why = reason.partition("certificate verify failed: ")[2].partition(" (_ssl")[0].rstrip(".") or reason
        return CommandError(
            f"The API server {server.url} has a certificate that the kubeconfig does not vouch for: {why}. "
            "Nothing was sent to it."
        )
    if isinstance(error, httpx.TimeoutException):
        reason = "no answer within the time allowed"
    by = f" by its proxy {without_password(server.proxy)}" if server.proxy else ""
    return CommandError(f"The API server {server.url} cannot be reached{by}: {reason.rstrip('.')}.")


async def _keep_refusals(response: httpx.Response) -> None:
    """Reads the body of an error before whoever wanted a websocket gives it up."""
    if response.is_error:
        await response.aread()


def _kept(response: httpx.Response) -> bytes:
    try:
        return response.content
    except httpx.ResponseNotRead:
        return b""


def _mapping(content: bytes, server: Server) -> Mapping[str, Any]:
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise CommandError(f"What answers at {server.url} is no Kubernetes API server.")
    return document


class _Trust(ssl.SSLContext):
    """Expects the server to have `name`, where one is set, in place of the name or address that was dialled.

    httpx's own extension for that is not used: httpcore leaves it out behind a proxy, and accepts the address instead.
    """

    name = ""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return super().wrap_bio(incoming, outgoing, server_side, self.name or server_hostname, session)


def _trust(server: Server, credential: Credential) -> ssl.SSLContext:
    """The kubeconfig's roots alone where it has some. Raises CommandError.

    Made here and not by ssl.create_default_context, which since Python 3.13 asks of CA certificates what those of clusters,
    EKS's among them, do not have.
    """
    context = _Trust(ssl.PROTOCOL_TLS_CLIENT)
    context.name = server.name
    try:
        if server.authority is None:
            context.load_default_certs()
        else:
            # What is not ASCII is outside of the certificates: bundles name authorities in their own language.
            context.load_verify_locations(cadata=server.authority.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError) as error:
        raise CommandError("The kubeconfig's certificate-authority is no certificate in PEM.") from error
    if not server.verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if credential.certificate:
        try:
            _present(context, credential)
        except (ssl.SSLError, OSError) as error:
            raise CommandError("The client certificate and its key do not fit together, or are no PEM.") from error
    return context


def _present(context: ssl.SSLContext, credential: Credential) -> None:
    """ssl takes files alone: pipes, so that no key comes to lie on a disk."""
    ends: list[int] = []
    try:
        names = []
        for text in (credential.certificate, credential.key):
            if len(text) > LONGEST_PEM:
                raise CommandError(f"A client certificate or key of more than {LONGEST_PEM} bytes is not taken.")
            reading, writing = os.pipe()
            ends.append(reading)
            os.write(writing, text)
            os.close(writing)
            names.append(f"/dev/fd/{reading}")
        # An empty password: OpenSSL would ask at the terminal for an encrypted key's.
        context.load_cert_chain(names[0], names[1], password="")
    finally:
        for end in ends:
            os.close(end)
