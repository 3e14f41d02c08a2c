"""Asks the instance metadata service (IMDSv2) which ENIs the node has, and of which VPC. Takes no credentials from it.

Keys by the EC2 user guide, "Instance metadata categories": network/interfaces/macs/MAC/…; a key that does not apply
is 404. https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
"""

from collections.abc import Mapping
from http import HTTPStatus
from ipaddress import ip_network

from pathtap.agent.readers.enis import Eni, UnexpectedAnswerError
from pathtap.agent.readers.http import Client
from pathtap.model.address import Network

HOST = "169.254.169.254"
PORT = 80
SECONDS = 1.0

_TOKEN = "/latest/api/token"  # noqa: S105 - a path
_MACS = "/latest/meta-data/network/interfaces/macs/"
_KEYS = ("interface-id", "device-number", "network-card", "local-ipv4s", "ipv4-prefix", "ipv6s", "ipv6-prefix")
# An instance's ENIs are of one VPC, as far as the VPC CNI attaches them: the primary's answer stands for all.
_VPC_KEYS = ("vpc-ipv4-cidr-blocks", "vpc-ipv6-cidr-blocks")
_ADDRESS_KEYS = ("local-ipv4s", "ipv4-prefix", "ipv6s", "ipv6-prefix")

Metadata = Mapping[str, Mapping[str, str]]


def fetch(host: str = HOST, port: int = PORT, seconds: float = SECONDS) -> Metadata:
    """By MAC, the text of each key that applies. Raises OSError, UnexpectedAnswerError."""
    with Client(host, port, seconds) as client:
        status, token = client.request("PUT", _TOKEN, {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
        if status != HTTPStatus.OK:
            raise UnexpectedAnswerError(f"IMDS refused a token: HTTP {status}")
        headers = {"X-aws-ec2-metadata-token": token}
        listing = _get(client, _MACS, headers)
        if listing is None:
            raise UnexpectedAnswerError(f"IMDS has no {_MACS}")
        macs = [line.strip("/ ") for line in listing.splitlines() if line.strip()]
        return {mac: _keys(client, mac, headers) for mac in macs}


def decode(metadata: Metadata) -> tuple[Eni, ...]:
    """Raises UnexpectedAnswerError."""
    return tuple(_decode(mac, keys) for mac, keys in metadata.items())


def vpc_networks(metadata: Metadata) -> tuple[Network, ...]:
    """The VPC's CIDR blocks of both families; empty where IMDS did not tell. Raises UnexpectedAnswerError."""
    texts = [line for keys in metadata.values() for key in _VPC_KEYS for line in keys.get(key, "").split()]
    try:
        return tuple(dict.fromkeys(ip_network(text) for text in texts))
    except ValueError as error:
        raise UnexpectedAnswerError(f"IMDS does not tell the VPC's networks as it should: {error}") from error


def _keys(client: Client, mac: str, headers: dict[str, str]) -> dict[str, str]:
    texts = {key: _get(client, f"{_MACS}{mac}/{key}", headers) for key in _KEYS}
    if (texts["device-number"] or "").strip() == "0":
        texts |= {key: _get(client, f"{_MACS}{mac}/{key}", headers) for key in _VPC_KEYS}
    return {key: text for key, text in texts.items() if text is not None}


def _get(client: Client, path: str, headers: dict[str, str]) -> str | None:
    status, text = client.request("GET", path, headers)
    if status == HTTPStatus.NOT_FOUND:
        return None
    if status != HTTPStatus.OK:
        raise UnexpectedAnswerError(f"IMDS answered {path} with HTTP {status}")
    return text


def _decode(mac: str, keys: Mapping[str, str]) -> Eni:
    addresses = [line for key in _ADDRESS_KEYS for line in keys.get(key, "").split()]
    try:
        device = int(keys["device-number"])
        return Eni(
            id=keys["interface-id"].strip(),
            device_number=device,
            mac=mac.lower(),
            primary=device == 0 and int(keys.get("network-card", "0")) == 0,
            addresses=tuple(ip_network(address, strict=False) for address in addresses),
        )
    except (KeyError, ValueError) as error:
        raise UnexpectedAnswerError(f"IMDS does not describe {mac} as it should: {error}") from error
