"""Just enough HTTP/1.1 to be a metadata service: one request, one answer, the connection closed. Pure but for `serve_http`.

Refuses to know bodies: no request here has one.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

_REQUEST_SECONDS = 5.0
_MOST_BYTES = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`headers` by lower-case name."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    status: HTTPStatus
    body: str = ""
    content_type: str = "text/plain"


Answer = Callable[[Request], Response]


def parse_request(head: bytes) -> Request | None:
    """`head` ends with the empty line; None where it is no request."""
    first, *lines = head.decode("latin-1").split("\r\n")
    match first.split(" "):
        case [method, path, version] if version.startswith("HTTP/1."):
            pairs = (line.partition(":") for line in lines if ":" in line)
            headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
            return Request(method=method, path=path, headers=headers)
    return None


def format_response(response: Response) -> bytes:
    body = response.body.encode()
    head = (
        f"HTTP/1.1 {response.status.value} {response.status.phrase}\r\n"
        f"Content-Type: {response.content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


async def serve_http(answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, EOFError, ValueError, asyncio.TimeoutError, asyncio.LimitOverrunError):
        async with asyncio.timeout(_REQUEST_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
            request = parse_request(head) if len(head) <= _MOST_BYTES else None
            response = answer(request) if request else Response(status=HTTPStatus.BAD_REQUEST)
            writer.write(format_response(response))
            await writer.drain()
    writer.close()
