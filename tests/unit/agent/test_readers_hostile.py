"""Metadata services that mean harm or are broken: each is one sentence in time, and costs no other reader its answer."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest

from pathtap.agent.metadata import MetadataReader
from pathtap.agent.readers import imds, ipamd
from pathtap.agent.readers.enis import UnexpectedAnswerError

Behaviour = Callable[[socket.socket], None]
Serve = Callable[[Behaviour], int]


def respond(body: bytes, head: bytes = b"HTTP/1.1 200 OK") -> Behaviour:
    """The same answer to every request of a connection."""
    message = head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    def behave(connection: socket.socket) -> None:
        while connection.recv(65_536):
            connection.sendall(message)

    return behave


def drip(head: bytes) -> Behaviour:
    """One byte each 20 ms after `head`, without an end: no single wait is ever long."""

    def behave(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(head)
        while True:
            connection.sendall(b"x")
            time.sleep(0.02)

    return behave


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[socket.socket] = []

    def start(behave: Behaviour) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def run() -> None:
            # Ends with the server's socket, or with the peer's.
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with closing(connection), suppress(OSError):
                        behave(connection)

        threading.Thread(target=run, daemon=True).start()
        port: int = server.getsockname()[1]
        return port

    yield start
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n",
        b"HTTP/1.1 200 OK\r\nX-Endless: ",
        b"HTTP/1.1 2",
    ],
    ids=["body", "body to the end", "chunk", "header", "status"],
)
def test_an_answer_that_never_ends_is_given_up_in_time(serve: Serve, head: bytes) -> None:
    port = serve(drip(head))
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=rf"^127\.0\.0\.1:{port} did not answer within 0\.3 s$"):
        ipamd.fetch(port=port, seconds=0.3)
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("behave", "sentence"),
    [
        (respond(b"", b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/"), "refused a token: HTTP 302"),
        (respond(b"<html>\n<b>not here</b>\n</html>"), "cannot be asked"),
        (respond("réseau\nétage".encode()), "cannot be asked"),
        (respond(b"a\r\nX-Other: b"), "cannot be asked"),
        (respond(b"\xff\xfe\x00"), "cannot be asked"),
        (respond(b"x" * (16 * 1024 * 1024 + 1)), "more than 16 MiB"),
        (lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"), "gave no HTTP answer"),
        (lambda connection: None, "gave no HTTP answer|reset by peer"),
    ],
    ids=["redirect", "HTML", "not ASCII", "line break", "not UTF-8", "huge", "not HTTP", "closed"],
)
def test_an_imds_that_is_none_is_a_sentence(serve: Serve, behave: Behaviour, sentence: str) -> None:
    with pytest.raises((OSError, UnexpectedAnswerError), match=sentence):
        imds.fetch(host="127.0.0.1", port=serve(behave), seconds=10)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"ENIs": {"a": {"ID": 7, "DeviceNumber": 0}}}',
        '{"ENIs": {"a": {"ID": ["eni-1"], "DeviceNumber": 0}}}',
        '{"ENIs": {"a": {"ID": "eni-1", "DeviceNumber": Infinity}}}',
        '{"ENIs": {"a": {"ID": "eni-1", "DeviceNumber": 0, "RouteTableID": [2]}}}',
        '{"ENIs": {"a": {"ID": "eni-1", "DeviceNumber": 0, "RouteTableID": {}, "IPv4Addresses": 5}}}',
        '{"ENIs": {"a": {"ID": "\\ud800", "DeviceNumber": 0}}}',
        '{"ENIs": [3]}',
    ],
)
def test_an_ipamd_answer_of_another_shape_is_a_sentence(text: str) -> None:
    with pytest.raises(UnexpectedAnswerError, match="does not have the shape"):
        ipamd.decode(text)


ENIS = b'{"ENIs": {"eni-1": {"ID": "eni-1", "DeviceNumber": 0}}}'


def test_an_ipamd_that_is_silent_about_its_settings_alone_has_told_its_enis_within_one_deadline(serve: Serve) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(ENIS) + ENIS)
        connection.recv(65_536)
        connection.recv(65_536)

    port = serve(behave)
    started = time.monotonic()
    told = ipamd.fetch(port=port, seconds=0.3)
    assert time.monotonic() - started < 2
    assert [eni.id for eni in ipamd.decode(told.enis)] == ["eni-1"]
    assert (told.settings, told.refusal) == ("", f"127.0.0.1:{port} did not answer within 0.3 s")


def test_an_ipamd_without_settings_says_so(serve: Serve) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(ENIS) + ENIS)
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    told = ipamd.fetch(port=serve(behave))
    assert told.refusal == "ipamd answered /v1/networkutils-env-settings with HTTP 404"


def test_a_node_whose_ipamd_tells_half_is_asked_for_it_once_in_thirty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def half() -> ipamd.Introspection:
        asked.append("ipamd")
        return ipamd.Introspection(enis=ENIS.decode(), refusal="127.0.0.1:61679 did not answer within 1 s")

    monkeypatch.setattr(ipamd, "fetch", half)
    monkeypatch.setattr(imds, "fetch", dict)
    reader = MetadataReader()
    for now in (1, 29 * 10**9, 31 * 10**9):
        told = reader.read(now)
        assert [eni.id for eni in told.enis] == ["eni-1"]
        assert [unread.part for unread in told.unread] == ["settings"]
    assert asked == ["ipamd"] * 2
