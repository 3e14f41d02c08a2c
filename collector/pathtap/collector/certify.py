"""`pathtap-collector certificate`: keeps the Secret with the collector's certificate, once or for as long as it runs."""

import asyncio
import base64
import binascii
import logging
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from pathtap.collector.certificate import ForeignError, Held, renewed
from pathtap.collector.cluster.api import Api, ApiError, connect
from pathtap.collector.config import NAMESPACE
from pathtap.model.printable import escape, log_to

log = logging.getLogger("pathtap.collector.certificate")

# As kubernetes.io/tls has them, and cert-manager; ca.key is this command's own.
KEYS = {"certificate": "tls.crt", "key": "tls.key", "authorities": "ca.crt", "authority_key": "ca.key"}
SERVICE = "pathtap-collector"
# Seconds until the next try after one that failed.
PAUSE = 10.0


def names(namespace: str) -> tuple[str, ...]:
    """What the collector's Service is called within a cluster; the first is the one that agents and laptops expect."""
    return f"{SERVICE}.{namespace}.svc", f"{SERVICE}.{namespace}", SERVICE


class Keeper:
    """`now` has a time zone."""

    def __init__(self, api: Api, namespace: str, secret: str, now: Callable[[], datetime]) -> None:
        self._api = api
        self._namespace = namespace
        self._secret = secret
        self._now = now

    async def keep(self) -> str:
        """Once; what was done, as a sentence. Raises ApiError, and ForeignError where something else made what is there."""
        secrets = f"/api/v1/namespaces/{self._namespace}/secrets"
        try:
            there: Mapping[str, Any] | None = await self._api.get(f"{secrets}/{self._secret}")
        except ApiError as error:
            if error.status != 404:
                raise
            there = None
        held = _held((there or {}).get("data") or {})
        made, what = renewed(held, names(self._namespace), self._now())
        if made != held:
            data = {KEYS[each]: base64.b64encode(getattr(made, each)).decode() for each in KEYS}
            if there is None:
                metadata = {"name": self._secret, "namespace": self._namespace}
                await self._create(secrets, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
            else:
                # With the resourceVersion that was read: of two that write at once, one is refused.
                await self._api.replace(
                    f"{secrets}/{self._secret}", {**there, "data": {**(there.get("data") or {}), **data}}
                )
        return f"Secret {self._namespace}/{self._secret}: {what}"

    async def _create(self, secrets: str, body: Mapping[str, Any]) -> None:
        try:
            await self._api.create(secrets, body)
        except ApiError as error:
            if error.status != 403:
                raise
            # The manifest gives no right to create any Secret, and brings this one empty.
            sentence = f"it is not there, and {error}. It comes empty with the manifest: apply that again"
            raise ApiError(sentence, error.status) from error


def _held(data: Mapping[str, str]) -> Held:
    """What is no base64 counts as not there."""
    decoded = {}
    for each, key in KEYS.items():
        try:
            decoded[each] = base64.b64decode(data.get(key) or "", validate=True)
        except binascii.Error:
            decoded[each] = b""
    return Held(**decoded)


async def run(kubeconfig: Path | None, context: str, namespace: str, secret: str, every: float) -> None:
    """Raises ApiError and ForeignError where it looks only once; else it tries again."""
    api = await connect(kubeconfig, context)
    keeper = Keeper(api, namespace, secret, lambda: datetime.now(UTC))
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    told = ""
    try:
        while not stopped.is_set():
            pause, level = every, logging.INFO
            try:
                sentence = await keeper.keep()
            except (ApiError, ForeignError) as error:
                if not every:
                    raise
                sentence, pause, level = f"Secret {namespace}/{secret}: {error}", min(PAUSE, every), logging.WARNING
            if sentence != told:
                log.log(level, "%s", sentence)
                told = sentence
            if not every:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), pause)
    finally:
        await api.close()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--namespace", default=NAMESPACE, show_default=True, help="Where the collector's Service and the Secret are."
)
@click.option("--secret", default="pathtap-collector-tls", show_default=True, help="The Secret's name.")
@click.option(
    "--kubeconfig", type=click.Path(path_type=Path), help="The cluster; that of this pod unless said otherwise."
)
@click.option("--context", default="", metavar="NAME", help="Of the kubeconfig; its current one unless said otherwise.")
@click.option(
    "--every",
    type=click.FloatRange(0, 10_000_000),
    default=0.0,
    metavar="SECONDS",
    help="Stay, and look again after so long; once unless said otherwise.",
)
def command(kubeconfig: Path | None, context: str, namespace: str, secret: str, every: float) -> None:
    """Write the collector's certificate into its Secret, unless a sound one is there.

    With less than a third of its life left it is made anew, by the same authority. What cert-manager or somebody else wrote is
    left alone.
    """
    log_to(sys.stderr, logging.INFO, "%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        asyncio.run(run(kubeconfig, context, namespace, secret, every))
    except (ApiError, ForeignError) as error:
        raise click.ClickException(escape(str(error))) from None
