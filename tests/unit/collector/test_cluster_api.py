"""How a watch's bytes become events, and credentials that are refused are made anew. No server is asked."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest

from pathtap.collector.cluster import api as module
from pathtap.collector.cluster.api import Api, ApiError, _lines
from pathtap.collector.cluster.credentials import CredentialsError


def lines(parts: Sequence[bytes]) -> list[bytes]:
    async def coming() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    async def read() -> list[bytes]:
        return [line async for line in _lines(httpx.Response(200, content=coming()))]

    return asyncio.run(read())


def test_events_are_put_together_of_whatever_pieces_come() -> None:
    text = '{"a":"é"}\n{"b":1}\n\n{"c":2}\n'.encode()
    whole = ['{"a":"é"}'.encode(), b'{"b":1}', b'{"c":2}']
    assert lines([text]) == whole
    assert lines([text[at : at + 1] for at in range(len(text))]) == whole


def test_only_a_line_feed_ends_an_event() -> None:
    inside = '{"a":"one\u2028two\x85three\rfour"}'.encode()
    assert lines([inside + b"\n"]) == [inside]


def test_the_beginning_of_an_event_is_none() -> None:
    assert lines([b'{"a":1}\n{"b":']) == [b'{"a":1}']


def test_an_event_without_an_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_EVENT", 1 << 20)
    assert len(lines([b"x" * (1 << 20), b"\n"])) == 1
    with pytest.raises(ApiError, match="an event of more than 1 MiB"):
        lines([b"x" * (1 << 20), b"x", b"\n"])


class Shown:
    """Credentials that are another token each time they are made anew; `fails` from then on."""

    server: str = "https://192.0.2.1:6443"
    server_name: str | None = None
    proxy: str | None = None

    def __init__(self) -> None:
        self.renewed = 0
        self.fails = False

    def token(self) -> str:
        return f"token-{self.renewed}"

    def context(self) -> ssl.SSLContext:
        if self.fails:
            raise CredentialsError("its CA is gone")
        return ssl.create_default_context()

    async def renew(self) -> None:
        await asyncio.sleep(0)
        self.renewed += 1


def test_requests_that_were_refused_together_renew_once() -> None:
    async def main() -> int:
        shown = Shown()
        api = Api(shown)
        refused = api._client
        await asyncio.gather(*(api._renew(refused) for _ in range(5)))
        first = shown.renewed
        await api._renew(api._client)
        await api.close()
        return first * 10 + shown.renewed

    assert asyncio.run(main()) == 12


def test_credentials_that_cannot_be_used_are_a_sentence() -> None:
    shown = Shown()
    shown.fails = True
    with pytest.raises(CredentialsError, match="its CA is gone"):
        Api(shown)
