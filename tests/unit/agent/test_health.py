"""The health endpoint: two answers, and refusals for everything else."""

import asyncio

import pytest

from pathtap.agent.health import response, serve_health


@pytest.mark.parametrize(
    ("line", "healthy", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\n", True, b"200 OK"),
        (b"GET /healthz HTTP/1.1\r\n", False, b"503 Service Unavailable"),
        (b"GET / HTTP/1.1\r\n", True, b"404 Not Found"),
        (b"POST /healthz HTTP/1.1\r\n", True, b"404 Not Found"),
        (b"\x16\x03\x01\x02\x00\x01", True, b"400 Bad Request"),
        (b"", True, b"400 Bad Request"),
    ],
)
def test_response(line: bytes, healthy: bool, status: bytes) -> None:
    assert response(line, healthy).startswith(b"HTTP/1.1 " + status + b"\r\n")


def test_head_has_no_body() -> None:
    assert response(b"HEAD /healthz HTTP/1.1\r\n", True).endswith(b"\r\n\r\n")


def test_served_on_loopback_and_a_taken_port_is_a_sentence() -> None:
    async def ask() -> tuple[bytes, str]:
        server = await serve_health(0, lambda: True)
        port = server.sockets[0].getsockname()[1]
        assert server.sockets[0].getsockname()[0] == "127.0.0.1"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
        answer = await reader.read()
        writer.close()
        with pytest.raises(OSError, match="choose another --health-port") as taken:
            await serve_health(port, lambda: True)
        server.close()
        await server.wait_closed()
        return answer, str(taken.value)

    answer, sentence = asyncio.run(ask())
    assert answer.endswith(b"\r\n\r\nconnected\n")
    assert sentence.startswith("/healthz cannot be served on 127.0.0.1:")
