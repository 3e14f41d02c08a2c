"""Which endpoints are followed, by what a server says that it offers. Its answers are given, none is asked."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from pathtap.collector.cluster.api import Api, ApiError
from pathtap.collector.cluster.following import find_endpoints


class Offering(Api):
    """Says of EndpointSlices what it was made with."""

    def __init__(self, answer: Mapping[str, Any] | ApiError) -> None:
        self._told = answer

    async def get(self, path: str, **parameters: str) -> Mapping[str, Any]:
        assert (path, parameters) == ("/apis/discovery.k8s.io", {})
        if isinstance(self._told, ApiError):
            raise self._told
        return self._told


@pytest.mark.parametrize(
    ("answer", "path"),
    [
        ({"versions": [{"version": "v1beta1"}, {"version": "v1"}]}, "/apis/discovery.k8s.io/v1/endpointslices"),
        ({"versions": [{"version": "v1beta1"}]}, "/apis/discovery.k8s.io/v1beta1/endpointslices"),
        ({"versions": [{"version": "v2"}]}, "/api/v1/endpoints"),
        ({}, "/api/v1/endpoints"),
        (ApiError("there is no such group", 404), "/api/v1/endpoints"),
    ],
)
def test_the_best_that_a_server_offers_is_followed(answer: Mapping[str, Any] | ApiError, path: str) -> None:
    assert asyncio.run(find_endpoints(Offering(answer))).path == path


def test_a_server_that_fails_is_not_taken_for_an_old_one() -> None:
    with pytest.raises(ApiError, match="etcd is away"):
        asyncio.run(find_endpoints(Offering(ApiError("etcd is away", 503))))
