"""Tells the cluster by which authority the collector is known: the ConfigMap that laptops and agents read first.

When the authority changes, the former stays beside the new one while it is valid: whoever has read only one of them still
finds the collector, whichever of the two has signed what it shows.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from pathtap.collector.cluster.api import Api, ApiError

log = logging.getLogger(__name__)

NAME, KEY = "pathtap-ca", "ca.crt"
# Of former authorities; the ones that are valid longest are kept.
MOST_FORMER = 4
# Seconds between two looks at the file; the ConfigMap itself is looked at as often.
PAUSE = 10.0


def merged(own: bytes, published: bytes, now: datetime) -> bytes:
    """The authorities of the file, then those that were published before and are still valid. PEM. Pure.

    ValueError where `own` is none. What was published and cannot be read is left out.
    """
    mine = list(dict.fromkeys(x509.load_pem_x509_certificates(own)))
    try:
        before = x509.load_pem_x509_certificates(published)
    except ValueError:
        before = []
    former = [each for each in dict.fromkeys(before) if each not in mine and each.not_valid_after_utc > now]
    former.sort(key=lambda each: each.not_valid_after_utc, reverse=True)
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in (*mine, *former[:MOST_FORMER]))


class Bundle:
    """`namespace` is the collector's; `now` is seconds since 1970."""

    def __init__(self, api: Api, authority: Path, namespace: str, now: Callable[[], float]) -> None:
        self._api = api
        self._authority = authority
        self._maps = f"/api/v1/namespaces/{namespace}/configmaps"
        self._namespace = namespace
        self._now = now
        self._told = ""

    async def run(self) -> None:
        """Keeps it current until it is cancelled. What fails is tried again, and told once."""
        while True:
            try:
                await self.publish()
                self._told = ""
            except (ApiError, OSError, ValueError) as error:
                sentence = f"the ConfigMap {self._namespace}/{NAME} cannot be kept: {error}"
                if sentence != self._told:
                    log.warning("%s", sentence)
                    self._told = sentence
            await asyncio.sleep(PAUSE)

    async def publish(self) -> None:
        """Once. Raises ApiError, OSError where the file cannot be read, ValueError where it holds no certificate."""
        own = self._authority.read_bytes()
        try:
            there: dict[str, Any] | None = dict(await self._api.get(f"{self._maps}/{NAME}"))
        except ApiError as error:
            if error.status != 404:
                raise
            there = None
        data = dict((there or {}).get("data") or {})
        wanted = merged(own, str(data.get(KEY) or "").encode(), datetime.fromtimestamp(self._now(), UTC)).decode()
        if data.get(KEY) == wanted:
            return
        if there is None:
            metadata = {"name": NAME, "namespace": self._namespace}
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {KEY: wanted}}
            await self._api.create(self._maps, body)
        else:
            await self._api.replace(f"{self._maps}/{NAME}", {**there, "data": {**data, KEY: wanted}})
        log.info("authorities in the ConfigMap %s/%s: %d", self._namespace, NAME, wanted.count("BEGIN CERTIFICATE"))
