"""GET on a port of its own, without TLS: /healthz is 200 while traces can be answered, 503 with the reason else; /metrics is what
`figures` says. No other path, no names of pods."""

import asyncio
import socket
from collections.abc import Callable

from pathtap.collector.agents import Agents
from pathtap.collector.cluster.inventory import Inventory, InventoryUnread
from pathtap.collector.config import ConfigError
from pathtap.collector.figures import CONTENT_TYPE, AgentFigures, Figures, exposition

# Seconds for one request, bytes of its lines, and connections at once; one more is closed.
REQUEST_TIMEOUT = 2.0
LONGEST_LINE = 1024
MOST_CONNECTIONS = 32


def figures(agents: Agents, inventory: Callable[[], Inventory]) -> Figures:
    """Of this moment."""
    counted = [
        AgentFigures(
            node=each.node,
            accepted=each.ledger.accepted,
            delivered=each.ledger.delivered,
            lost=dict(each.ledger.losses),
        )
        for each in sorted(agents.connected(), key=lambda agent: agent.node)
    ]
    try:
        known = inventory()
    except InventoryUnread as error:
        return Figures(agents=counted, why=str(error))
    return Figures(agents=counted, nodes=sorted(known.nodes), stale=known.stale is not None)


async def serve(address: str, read: Callable[[], Figures]) -> asyncio.Server:
    """Listens on HOST:PORT; [::] is every address of both families. Raises ConfigError where that cannot be."""
    busy = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal busy
        busy += 1
        try:
            if busy > MOST_CONNECTIONS:
                return
            async with asyncio.timeout(REQUEST_TIMEOUT):
                line = await reader.readline()
                writer.write(response(line, read()))
                await writer.drain()
        except (TimeoutError, OSError, ValueError):
            # Slow, gone, or a line without an end: nobody there to be told.
            return
        finally:
            busy -= 1
            writer.close()

    try:
        return await asyncio.start_server(answer, sock=_listening(address), limit=LONGEST_LINE)
    except OSError as error:
        raise ConfigError(f"metrics cannot be served on {address}: {error.strerror or error}") from None


def response(request_line: bytes, read: Figures) -> bytes:
    """The whole HTTP/1.1 response (RFC 9112) to one request line."""
    kind = "text/plain; charset=utf-8"
    match request_line.split():
        case [b"GET" | b"HEAD" as method, b"/healthz", _]:
            status, body = ("503 Service Unavailable", f"{read.why}\n") if read.why else ("200 OK", "ready\n")
        case [b"GET" | b"HEAD" as method, b"/metrics", _]:
            kind, status, body = CONTENT_TYPE, "200 OK", exposition(read)
        case [_, _, _]:
            method, status, body = b"GET", "404 Not Found", "only /healthz and /metrics are here\n"
        case _:
            method, status, body = b"GET", "400 Bad Request", "not HTTP\n"
    content = body.encode(errors="backslashreplace")
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    return head.encode() + (b"" if method == b"HEAD" else content)


def _listening(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if bare == "::" and socket.has_dualstack_ipv6():
        return socket.create_server(("", int(port)), family=socket.AF_INET6, dualstack_ipv6=True)
    if bare == "::":
        return socket.create_server(("", int(port)))
    return socket.create_server((bare, int(port)), family=socket.AF_INET6 if ":" in bare else socket.AF_INET)
