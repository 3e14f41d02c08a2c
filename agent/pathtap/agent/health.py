"""GET /healthz on loopback: 200 while a collector is connected, 503 else. Knows one question, and no other path."""

import asyncio
from collections.abc import Callable

REQUEST_TIMEOUT = 2.0
LONGEST_LINE = 1024


async def serve_health(port: int, healthy: Callable[[], bool]) -> asyncio.Server:
    """Listens on 127.0.0.1 alone. Raises OSError, with a sentence, where the port is taken."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                line = await reader.readline()
                writer.write(response(line, healthy()))
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


def response(request_line: bytes, healthy: bool) -> bytes:
    """The whole HTTP/1.1 response (RFC 9112) to one request line."""
    match request_line.split():
        case [b"GET" | b"HEAD" as method, b"/healthz", _]:
            status, body = ("200 OK", b"connected\n") if healthy else ("503 Service Unavailable", b"no collector\n")
        case [_, _, _]:
            method, status, body = b"GET", "404 Not Found", b"only /healthz is here\n"
        case _:
            method, status, body = b"GET", "400 Bad Request", b"not HTTP\n"
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + (b"" if method == b"HEAD" else body)
