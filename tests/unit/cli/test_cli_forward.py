"""What comes down a port-forward's websocket, message by message. The websocket and the command's end are scripted."""

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import httpx_ws
import pytest

from pathtap.cli.cluster.api import Api
from pathtap.cli.cluster.forward import Forward

PORTS = (b"\x00\xfd\x24", b"\x01\xfd\x24")
HUNG_UP = httpx_ws.WebSocketDisconnect()


def came_down(messages: Iterable[bytes | Exception], fails: Exception | None = None) -> tuple[bytes, str]:
    """What the command got of these messages, and the trouble that is left. `fails` is what its end answers to a write."""
    coming, got = iter(messages), bytearray()

    async def receive_bytes() -> bytes:
        message = next(coming)
        if isinstance(message, Exception):
            raise message
        return message

    async def drain() -> None:
        if fails is not None:
            raise fails

    async def main() -> str:
        forward = Forward(cast("Api", None), "", 9469)
        websocket: Any = SimpleNamespace(receive_bytes=receive_bytes)
        writer: Any = SimpleNamespace(write=got.extend, drain=drain)
        await forward._down(websocket, writer)
        return forward.trouble

    trouble = asyncio.run(main())
    return bytes(got), trouble


def test_data_follows_the_number_of_the_port() -> None:
    assert came_down([*PORTS, b"\x00one", b"\x00two", HUNG_UP]) == (
        b"onetwo",
        "the pod, its kubelet or the API server closed the port-forward",
    )


def test_an_empty_message_ends_nothing() -> None:
    assert came_down([b"", *PORTS, b"\x00one", b"", b"\x00", b"\x00two", HUNG_UP])[0] == b"onetwo"


def test_the_kubelets_own_words_are_kept_and_end_it() -> None:
    assert came_down([*PORTS, b"\x00one", b"\x01 connection refused\n", b"\x00more"]) == (b"one", "connection refused")


@pytest.mark.parametrize("error", [ConnectionResetError(), BrokenPipeError()])
def test_a_command_that_has_hung_up_is_no_trouble(error: Exception) -> None:
    assert came_down([*PORTS, b"\x00one"], error) == (b"one", "")
