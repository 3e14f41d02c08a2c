"""The authority that signs people's client certificates, as the API server publishes it for servers beside it.

ConfigMap kube-system/extension-apiserver-authentication, key client-ca-file (Kubernetes, "Configure the Aggregation Layer").
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from cryptography import x509

from pathtap.collector.cluster.api import WATCH_SECONDS, Api, ApiError

log = logging.getLogger(__name__)

MAPS = "/api/v1/namespaces/kube-system/configmaps"
NAME, KEY = "extension-apiserver-authentication", "client-ca-file"
# Seconds until the next attempt, where there was nothing to see or a watch has ended.
PAUSE = 5.0


class ClientAuthority:
    """`pem` is what was read last; empty until `known` is set. What cannot be read leaves the former in use."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._told = ""
        self.pem = b""
        self.known = asyncio.Event()

    async def run(self) -> None:
        """Keeps it current until it is cancelled."""
        while True:
            try:
                await self._follow()
            except (ApiError, ValueError) as error:
                sentence = f"who signs client certificates cannot be read from kube-system/{NAME}: {error}"
                if sentence != self._told:
                    log.warning("%s", sentence)
                    self._told = sentence
            await asyncio.sleep(PAUSE)

    async def _follow(self) -> None:
        """Until a watch ends. Raises ApiError, and ValueError for what is no certificate."""
        published = await self._api.get(f"{MAPS}/{NAME}")
        self._take(published)
        version = str((published.get("metadata") or {}).get("resourceVersion") or "")
        # By this selector the right to watch may be bound to the one name.
        events = self._api.watch(
            MAPS,
            fieldSelector=f"metadata.name={NAME}",
            resourceVersion=version,
            timeoutSeconds=str(WATCH_SECONDS),
        )
        async with aclosing(events) as stream:
            async for event in stream:
                if event.get("type") != "BOOKMARK":
                    self._take(event.get("object") or {})

    def _take(self, published: Mapping[str, Any]) -> None:
        pem = str((published.get("data") or {}).get(KEY) or "").encode()
        x509.load_pem_x509_certificates(pem)
        self._told = ""
        if pem != self.pem:
            log.info("client certificates are taken that the cluster's client authority has signed")
            self.pem = pem
            self.known.set()
