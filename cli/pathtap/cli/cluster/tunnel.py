"""The front door: a transport to the collector of a cluster, for synchronous callers.

One thread with a loop of its own asks the API server and carries the port-forward; it ends before the context does, after
errors and an interrupt too. Nothing is sent to the collector here.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager

from anyio.from_thread import start_blocking_portal

from pathtap.cli.cluster import installation
from pathtap.cli.cluster.api import session
from pathtap.cli.cluster.forward import forwarding
from pathtap.cli.cluster.place import Place
from pathtap.cli.errors import CommandError
from pathtap.cli.transport import Transport


@contextmanager
def reached(place: Place, seconds: float) -> Iterator[Transport]:
    """`seconds` are those of each answer of the API server. Raises CommandError."""
    with start_blocking_portal() as portal, ExitStack() as stack:
        way = portal.wrap_async_context_manager(_way(place, seconds))
        transport = way.__enter__()
        # Without the error that ends the command: the thread has nothing to do with it.
        stack.callback(way.__exit__, None, None, None)
        yield transport


def namespaces(place: Place, seconds: float) -> list[str]:
    """The cluster's namespaces. Raises CommandError."""

    async def ask() -> list[str]:
        async with session(place.server, place.credential, seconds) as api:
            return await installation.namespaces(api)

    with start_blocking_portal() as portal:
        return portal.call(ask)


@asynccontextmanager
async def _way(place: Place, seconds: float) -> AsyncIterator[Transport]:
    """The ConfigMap first: without it there is nobody to trust, and nothing to forward to."""
    namespace = place.namespace
    certified = bool(place.credential.certificate)
    port = installation.CERTIFICATE_PORT if certified else installation.TOKEN_PORT
    async with session(place.server, place.credential, seconds) as api:
        authority = await installation.authority(api, namespace)
        backend = await installation.backend(api, namespace, port)
        try:
            async with forwarding(api, namespace, backend.pod, backend.port) as forward:
                yield Transport(
                    target=f"127.0.0.1:{forward.port}",
                    called=f"{namespace}/{backend.pod}, port {backend.port}, forwarded by {place.server.url}",
                    forwarded=True,
                    roots=authority,
                    server_name=installation.server_name(namespace),
                    # The API server takes a certificate before a token, and so the person is who it says.
                    token="" if certified else place.credential.token,
                    certificate=place.credential.certificate,
                    key=place.credential.key,
                    trouble=lambda: forward.trouble,
                )
        except CommandError as error:
            raise installation.forbidden_forward(error, namespace) from error
