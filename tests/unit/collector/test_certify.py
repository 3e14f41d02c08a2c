"""A lost Secret: what the keeper of the certificate says where it may not make it again."""

from datetime import UTC, datetime
from typing import Any, cast

import anyio
import pytest

from pathtap.collector.certify import Keeper
from pathtap.collector.cluster.api import Api, ApiError


class Without:
    """An API server that has no Secret, and refuses to take one with this status."""

    def __init__(self, status: int) -> None:
        self._status = status

    async def get(self, _path: str) -> Any:
        raise ApiError("there is none", 404)

    async def create(self, _path: str, _body: Any) -> None:
        raise ApiError(f"it refuses (HTTP {self._status})", self._status)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (
            403,
            "it is not there, and it refuses (HTTP 403). It comes empty with the manifest: apply that again",
        ),
        (500, "it refuses (HTTP 500)"),
    ],
)
def test_a_secret_that_it_may_not_create_comes_with_the_manifest(status: int, said: str) -> None:
    keeper = Keeper(cast(Api, Without(status)), "pathtap", "pathtap-collector-tls", lambda: datetime.now(UTC))
    with pytest.raises(ApiError) as told:
        anyio.run(keeper.keep)
    assert str(told.value) == said
    assert told.value.status == status
