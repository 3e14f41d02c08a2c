"""The authority that signs people's client certificates, as the API server publishes it for servers beside it.

ConfigMap kube-system/extension-apiserver-authentication, key client-ca-file (Kubernetes, "Configure the Aggregation Layer").
"""

import asyncio
import logging

from cryptography import x509

from pathtap.collector.cluster.api import Api, ApiError

log = logging.getLogger(__name__)

PATH = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
KEY = "client-ca-file"
# Seconds between two looks, and until the next where there was nothing to see.
PAUSE, SHORT_PAUSE = 30.0, 5.0


class ClientAuthority:
    """`pem` is what was read last; empty until then. What cannot be read leaves the former in use."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._told = ""
        self.pem = b""
        self.known = asyncio.Event()

    async def run(self) -> None:
        """Keeps it current until it is cancelled."""
        while True:
            await self._look()
            await asyncio.sleep(PAUSE if self.pem else SHORT_PAUSE)

    async def _look(self) -> None:
        try:
            published = await self._api.get(PATH)
            pem = str((published.get("data") or {}).get(KEY) or "").encode()
            x509.load_pem_x509_certificates(pem)
        except (ApiError, ValueError) as error:
            self._tell(
                f"who signs client certificates cannot be read from kube-system/{PATH.rpartition('/')[2]}: {error}"
            )
            return
        self._told = ""
        if pem != self.pem:
            log.info("client certificates: what the cluster's client authority has signed is accepted")
            self.pem = pem
            self.known.set()

    def _tell(self, sentence: str) -> None:
        if sentence != self._told:
            log.warning("%s", sentence)
            self._told = sentence
