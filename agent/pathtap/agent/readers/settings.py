"""Decodes what ipamd says the VPC CNI was told to do: the intent, to be laid beside the rules. Asks nobody itself.

`GET /v1/networkutils-env-settings` answers an object whose keys are names of environment variables (GetConfigForDebug of
amazon-vpc-cni-k8s pkg/networkutils/network.go). Older versions lack some keys; what they lack has the CNI's default.
"""

import json
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from pathtap.agent.readers.enis import UnexpectedAnswerError
from pathtap.model.address import Network
from pathtap.model.node import CniSettings

_EXTERNAL_SNAT = "AWS_VPC_K8S_CNI_EXTERNALSNAT"
_NODE_PORT = "AWS_VPC_CNI_NODE_PORT_SUPPORT"
_CONNMARK = "AWS_VPC_K8S_CNI_CONNMARK"
_RANDOMIZE = "AWS_VPC_K8S_CNI_RANDOMIZESNAT"
_EXCLUDED = "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS"
_VETH_PREFIX = "AWS_VPC_K8S_CNI_VETHPREFIX"
_KNOWN = frozenset({_EXTERNAL_SNAT, _NODE_PORT, _CONNMARK, _RANDOMIZE, _EXCLUDED, _VETH_PREFIX})
# How ipamd counts AWS_VPC_K8S_CNI_RANDOMIZESNAT: sequentialSNAT, randomHashSNAT, randomPRNGSNAT.
_WAYS = {"none": 0, "hashrandom": 1, "prng": 2}
_LARGEST_MARK = 0xFFFFFFFF


def decode(text: str) -> CniSettings:
    """Raises UnexpectedAnswerError, also where not one key is the CNI's."""
    try:
        told = json.loads(text)
        if not _KNOWN & told.keys():
            raise UnexpectedAnswerError("ipamd's settings have none of the VPC CNI's names")
        default = CniSettings()
        return CniSettings(
            external_snat=_switch(told, _EXTERNAL_SNAT, default.external_snat),
            node_port_support=_switch(told, _NODE_PORT, default.node_port_support),
            connmark=_number(told.get(_CONNMARK, default.connmark), _LARGEST_MARK),
            randomize=_randomize(told.get(_RANDOMIZE, default.randomize)),
            excluded_networks=tuple(dict.fromkeys(_networks(told.get(_EXCLUDED)))),
            veth_prefix=_text(told.get(_VETH_PREFIX) or default.veth_prefix),
        )
    except UnexpectedAnswerError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UnexpectedAnswerError(f"ipamd's settings do not have the shape of a VPC CNI: {error!r}") from error


def _switch(told: Mapping[str, Any], key: str, default: bool) -> bool:
    value = told.get(key, default)
    if isinstance(value, bool):
        return value
    # As strconv.ParseBool takes what an environment says.
    return {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}[str(value).strip().lower()]


def _number(value: Any, largest: int) -> int:
    """A mark, in decimal or, as a text, in C's notation."""
    number = int(value, 0) if isinstance(value, str) else int(value)
    if not 0 <= number <= largest:
        raise ValueError(f"{number} is no 32-bit number")
    return number


def _randomize(value: Any) -> int:
    return _WAYS[value] if value in _WAYS else _number(value, _LARGEST_MARK)


def _networks(value: Any) -> Iterator[Network]:
    """null, a list, or one text with commas between them."""
    listed = value.split(",") if isinstance(value, str) else (value or ())
    yield from (ip_network(cidr.strip(), strict=False) for cidr in listed if cidr.strip())


def _text(value: str) -> str:
    # What is no text, or half of a surrogate pair, could not be sent on.
    value.encode()
    return value
