"""GET on loopback: /healthz is 200 while a collector is connected, 503 else; /metrics is what `metrics` says. No other path."""

import asyncio
from collections.abc import Callable

from pathtap.agent.metrics import CONTENT_TYPE, Reading, exposition

REQUEST_TIMEOUT = 2.0
LONGEST_LINE = 1024


async def serve_health(port: int, read: Callable[[], Reading]) -> asyncio.Server:
    """Listens on 127.0.0.1 alone. Raises OSError, with a sentence, where the port is taken."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                line = await reader.readline()
                writer.write(response(line, read()))
                await writer.drain()
        except (TimeoutError, OSError, ValueError):
            # Slow, gone, or a line without an end: nobody there to be told.
            return
        finally:
            writer.close()

    try:
        return await asyncio.start_server(answer, "127.0.0.1", port, limit=LONGEST_LINE)
    except OSError as error:
        reason = (
            f"/healthz cannot be served on 127.0.0.1:{port}: {error.strerror or error}; choose another --health-port"
        )
        raise OSError(reason) from None


def response(request_line: bytes, reading: Reading) -> bytes:
    """The whole HTTP/1.1 response (RFC 9112) to one request line."""
    kind = "text/plain"
    match request_line.split():
        case [b"GET" | b"HEAD" as method, b"/healthz", _]:
            healthy = reading.connected
            status, body = ("200 OK", b"connected\n") if healthy else ("503 Service Unavailable", b"no collector\n")
        case [b"GET" | b"HEAD" as method, b"/metrics", _]:
            kind, status, body = CONTENT_TYPE, "200 OK", exposition(reading).encode()
        case [_, _, _]:
            method, status, body = b"GET", "404 Not Found", b"only /healthz and /metrics are here\n"
        case _:
            method, status, body = b"GET", "400 Bad Request", b"not HTTP\n"
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + (b"" if method == b"HEAD" else body)
