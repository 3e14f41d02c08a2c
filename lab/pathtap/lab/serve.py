"""The one process that holds every listener of a lab: `python -m pathtap.lab.serve PREFIX`.

Each socket is made inside the namespace where it listens and stays there; the process itself lives in the root
namespace. Writes one byte to standard output once all of them listen. SIGHUP makes it read again which of them are to be
closed. Knows nothing of how the lab was wired.
"""

import asyncio
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from pathtap.lab.build import find
from pathtap.lab.http1 import Answer, Request, Response, serve_http
from pathtap.lab.kernel import inside
from pathtap.lab.kube.pool import occupied
from pathtap.lab.metadata import IMDS_ADDRESS, IMDS_PORT, INTROSPECTION_PORT, instance_metadata, introspection
from pathtap.lab.services import introspection_service, metadata_service
from pathtap.lab.state import StateDirectory
from pathtap.lab.topology import NODE_EXPORTER_PORT, OUTSIDE, UDP_ECHO_PORT, Cluster, Node

_OUTSIDE_PORTS = (80, 443)
_BACKLOG = 128
_MOST_BYTES = 65_535
_LINGER_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A TCP listener that says `line`, or answers HTTP; or a UDP echo."""

    namespace: str
    address: str
    port: int
    line: str = ""
    http: Answer | None = None
    udp: bool = False


def listeners(cluster: Cluster) -> Iterator[Listener]:
    """Everything that listens in the lab, each at the address that its answers come from."""
    for pod in cluster.pods:
        yield from _reachable(pod.network_namespace, str(pod.address), pod.tcp_ports, pod.key)
    for host in OUTSIDE:
        for address in host.addresses(cluster.options):
            yield from _reachable(cluster.outside_namespace(host), str(address), _OUTSIDE_PORTS, host.name)
    for node in cluster.nodes:
        for address in node.addresses:
            yield from _reachable(node.network_namespace, str(address), (NODE_EXPORTER_PORT,), node.name)
        if cluster.options.metadata:
            yield from _metadata(cluster, node)


def _reachable(namespace: str, address: str, ports: tuple[int, ...], line: str) -> Iterator[Listener]:
    yield Listener(namespace=namespace, address=address, port=UDP_ECHO_PORT, udp=True)
    for port in ports:
        yield Listener(namespace=namespace, address=address, port=port, line=line)


def _metadata(cluster: Cluster, node: Node) -> Iterator[Listener]:
    imds = metadata_service(
        instance_metadata(cluster.options, node), time.monotonic, partial(secrets.token_urlsafe, 40)
    )
    yield Listener(namespace=node.network_namespace, address=str(IMDS_ADDRESS), port=IMDS_PORT, http=imds)
    directory = StateDirectory(cluster.options.prefix)

    def ipamd(request: Request) -> Response:
        # Made anew for each question: what a fault overrides is told from then on, and which pods a CNI plugin has wired.
        now = occupied(directory, node) if cluster.options.kube else node
        return introspection_service(introspection(cluster, now, directory.overridden_settings()))(request)

    yield Listener(namespace=node.network_namespace, address="127.0.0.1", port=INTROSPECTION_PORT, http=ipamd)


def _open(listener: Listener) -> socket.socket:
    family = socket.AF_INET6 if ":" in listener.address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM if listener.udp else socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((listener.address, listener.port))
    if not listener.udp:
        made.listen(_BACKLOG)
    made.setblocking(False)
    return made


def _echo(made: socket.socket) -> None:
    """RFC 862. A datagram that cannot be taken or sent back is lost, as datagrams are."""
    with suppress(OSError):
        data, sender = made.recvfrom(_MOST_BYTES)
        made.sendto(data, sender)


async def _say(line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, asyncio.TimeoutError):
        writer.write(f"{line}\n".encode())
        writer.write_eof()
        # Closing with unread bytes would end the connection by RST.
        async with asyncio.timeout(_LINGER_SECONDS):
            while await reader.read(4096):
                pass
    writer.close()


async def _serve(listener: Listener) -> asyncio.Server | None:
    """None for UDP, which has no server to close."""
    made = inside(listener.namespace, partial(_open, listener))
    if listener.udp:
        asyncio.get_running_loop().add_reader(made, _echo, made)
        return None
    handler = partial(serve_http, listener.http) if listener.http else partial(_say, listener.line)
    return await asyncio.start_server(handler, sock=made)


async def _run(cluster: Cluster) -> None:
    told = asyncio.Event()
    ended = False

    def end() -> None:
        nonlocal ended
        ended = True
        told.set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, end)
    # What is closed has changed.
    loop.add_signal_handler(signal.SIGHUP, told.set)
    servers = {each: await _serve(each) for each in listeners(cluster)}
    os.write(sys.stdout.fileno(), b"\n")
    sys.stdout.close()
    while not ended:
        await told.wait()
        told.clear()
        closed = StateDirectory(cluster.options.prefix).closed_listeners()
        for listener, server in servers.items():
            listens = (listener.namespace, listener.port) not in closed
            servers[listener] = await _as_told(listener, server, listens=listens)


async def _as_told(listener: Listener, server: asyncio.Server | None, *, listens: bool) -> asyncio.Server | None:
    """The listener's server from now on; connections that it has accepted go on."""
    if server is None or listens == server.is_serving():
        return server
    if listens:
        return await _serve(listener)
    server.close()
    return server


if __name__ == "__main__":
    asyncio.run(_run(find(sys.argv[1])))
