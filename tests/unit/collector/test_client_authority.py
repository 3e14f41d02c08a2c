"""How the authority of people's client certificates is followed. No server is asked."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from pathtap.collector.access.client_authority import KEY, ClientAuthority
from pathtap.collector.cluster.api import WATCH_PATIENCE, Api
from pathtap.lab.kube.certificates import new_authority


class Published:
    """A ConfigMap that stays as it is: a watch of it says nothing. `watched` has the parameters of each."""

    def __init__(self, pem: str) -> None:
        self.watched: list[Mapping[str, str]] = []
        self._object = {"metadata": {"resourceVersion": "5"}, "data": {KEY: pem}}

    async def get(self, path: str, **parameters: str) -> Mapping[str, Any]:
        return self._object

    async def watch(self, path: str, **parameters: str) -> AsyncGenerator[Mapping[str, Any], None]:
        self.watched.append(parameters)
        await asyncio.sleep(3600)
        yield {}


def test_a_watch_ends_before_its_silence_is_taken_for_a_server_that_is_away() -> None:
    async def main() -> Published:
        published = Published(new_authority("people", datetime.now(UTC)).pair.certificate.decode())
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            following = tasks.create_task(ClientAuthority(cast("Api", published)).run())
            while not published.watched:
                await asyncio.sleep(0.01)
            following.cancel()
        return published

    (parameters,) = asyncio.run(main()).watched
    assert 0 < int(parameters["timeoutSeconds"]) < WATCH_PATIENCE
