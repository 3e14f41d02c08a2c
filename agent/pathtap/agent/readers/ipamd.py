"""Asks ipamd, the VPC CNI's daemon on this node, which ENIs it manages and what it was told to do. `settings` decodes the
latter; nothing else of its introspection is read.

`GET /v1/enis` at 127.0.0.1:61679 (INTROSPECTION_BIND_ADDRESS). From v1.20 the answer is keyed by network card, before
it is the object of the one card; pkg/ipamd/introspect.go and pkg/ipamd/datastore/data_store.go of amazon-vpc-cni-k8s.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_network
from typing import Any

from pathtap.agent.readers.enis import Eni, UnexpectedAnswerError
from pathtap.agent.readers.http import Client
from pathtap.model.address import Network

HOST = "127.0.0.1"
PORT = 61679
SECONDS = 1.0
SETTINGS = "/v1/networkutils-env-settings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Introspection:
    """The texts of both answers. `settings` is empty where ipamd refused that one; `refusal` then says how."""

    enis: str
    settings: str = ""
    refusal: str = ""


def fetch(host: str = HOST, port: int = PORT, seconds: float = SECONDS) -> Introspection:
    """Both answers over one connection, within `seconds`. Raises OSError, UnexpectedAnswerError where it told no ENIs."""
    with Client(host, port, seconds) as client:
        status, enis = client.request("GET", "/v1/enis")
        if status != HTTPStatus.OK:
            raise UnexpectedAnswerError(f"ipamd answered /v1/enis with HTTP {status}")
        try:
            status, settings = client.request("GET", SETTINGS)
        except OSError as error:
            return Introspection(enis=enis, refusal=str(error))
    if status != HTTPStatus.OK:
        return Introspection(enis=enis, refusal=f"ipamd answered {SETTINGS} with HTTP {status}")
    return Introspection(enis=enis, settings=settings)


def decode(text: str) -> tuple[Eni, ...]:
    """Raises UnexpectedAnswerError."""
    try:
        return tuple(_enis(json.loads(text)))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UnexpectedAnswerError(f"ipamd's /v1/enis does not have the shape of a VPC CNI: {error!r}") from error


def _enis(answer: dict[str, Any]) -> Iterator[Eni]:
    if "ENIs" in answer:
        yield from (_eni(eni, card=0) for eni in (answer["ENIs"] or {}).values())
        return
    for card, infos in answer.items():
        if not card.isdecimal():
            raise UnexpectedAnswerError(f"ipamd's /v1/enis has neither ENIs nor network cards, but {card}")
        yield from (_eni(eni, card=int(card)) for eni in (infos["ENIs"] or {}).values())


def _eni(eni: dict[str, Any], card: int) -> Eni:
    device = int(eni["DeviceNumber"])
    identity: str = eni["ID"]
    # What is no text, or half of a surrogate pair, could not be sent on.
    identity.encode()
    return Eni(
        id=identity,
        device_number=device,
        primary=bool(eni.get("IsPrimary", device == 0 and card == 0)),
        addresses=tuple(_addresses(eni)),
        table=int(eni.get("RouteTableID") or 0) or None,
    )


def _addresses(eni: dict[str, Any]) -> Iterator[Network]:
    """A delegated prefix is keyed by itself, a single address as /32; before v1.9 single addresses stood alone."""
    for key in ("AvailableIPv4Cidrs", "IPv6Cidrs"):
        yield from (ip_network(cidr, strict=False) for cidr in eni.get(key) or {})
    yield from (ip_network(address) for address in eni.get("IPv4Addresses") or {})
