"""Reads the sets of the ipset module, which `-m set` asks, over netlink. Creates none, and loads no module.

An element is worded as `ipset save` words it, with three differences: its options are left out but for `nomatch` and
`wildcard`, which turn or widen its meaning and follow behind a blank; ICMP's type and code are numbers; and where the set
has a netmask, an address is written as the prefix that it stands for.
"""

from collections.abc import Mapping
from pathlib import Path
from socket import AF_INET, AF_INET6
from typing import Any

from pathtap.agent.readers import netlink, words
from pathtap.agent.readers.netlink import Message
from pathtap.model.node import IpSet

# A kernel without the module has no sets; asking it over netlink would load the module (nfnetlink_rcv_msg).
MODULES = Path("/sys/module")
# Reading one takes 25 µs.
MOST_ELEMENTS = 10_000
MOST_IN_ALL = 20_000

_FAMILIES = {AF_INET: 4, AF_INET6: 6}
# linux/netfilter/ipset/ip_set.h, of an element's IPSET_ATTR_CADT_FLAGS.
_PHYSDEV, _NOMATCH, _WILDCARD = 1 << 1, 1 << 2, 1 << 7
_ICMP = frozenset({1, 58})
_PROTOCOLS = {132: "sctp", 136: "udplite"}


def fetch(modules: Path = MODULES, most: int = MOST_ELEMENTS, in_all: int = MOST_IN_ALL) -> tuple[Message, ...]:
    """Each set's header and its `elements`, None where there are more than `most`, or more than `in_all` with those before.

    Raises OSError.
    """
    if modules.is_dir() and not (modules / "ip_set").is_dir():
        return ()
    found = []
    with netlink.ipset() as socket:
        for header in netlink.ip_sets(socket):
            elements = _elements(socket, header, min(most, in_all))
            in_all -= len(elements or ())
            found.append({**header, "elements": elements})
    return tuple(found)


def decode(messages: tuple[Message, ...]) -> tuple[IpSet, ...]:
    return tuple(_decode(message) for message in messages)


def _elements(socket: Any, header: Message, most: int) -> list[Message] | None:
    if _described(header).get("IPSET_ATTR_ELEMENTS", 0) > most:
        return None
    # The count may be of a moment ago, and a bitmap's is not kept by every kernel.
    elements = netlink.ip_set_elements(socket, header["attrs"]["IPSET_ATTR_SETNAME"])
    return list(elements) if len(elements) <= most else None


def _described(message: Message) -> Mapping[str, Any]:
    found: Mapping[str, Any] = message["attrs"].get("IPSET_ATTR_DATA", {}).get("attrs", {})
    return found


def _decode(message: Message) -> IpSet:
    attributes = message["attrs"]
    kind = attributes["IPSET_ATTR_TYPENAME"]
    # pyroute2 hands the octet over in hexadecimal.
    netmask = int(str(_described(message).get("IPSET_ATTR_NETMASK", "0")), 16) or None
    elements = message["elements"]
    return IpSet(
        name=attributes["IPSET_ATTR_SETNAME"],
        kind=kind,
        # bitmap:port and list:set are of no family.
        family=_FAMILIES.get(attributes.get("IPSET_ATTR_FAMILY"), 0),
        elements=None if elements is None else tuple(_element(kind, item["attrs"], netmask) for item in elements),
    )


def _element(kind: str, attributes: Mapping[str, Any], netmask: int | None) -> str:
    dimensions = kind.partition(":")[2].split(",")
    flags = attributes.get("IPSET_ATTR_CADT_FLAGS", 0)
    addresses = iter((("IPSET_ATTR_IP_FROM", "IPSET_ATTR_CIDR"), ("IPSET_ATTR_IP2", "IPSET_ATTR_CIDR2")))
    worded = []
    for dimension in dimensions:
        match dimension:
            case "ip" | "net":
                worded.append(_prefix(attributes, *next(addresses), netmask))
            case "port":
                worded.append(_port(attributes))
            case "mac":
                if "IPSET_ATTR_ETHER" in attributes:
                    worded.append(attributes["IPSET_ATTR_ETHER"].upper())
            case "iface":
                worded.append(("physdev:" if flags & _PHYSDEV else "") + attributes["IPSET_ATTR_IFACE"])
            case "mark":
                worded.append(f"0x{attributes['IPSET_ATTR_MARK']:08x}")
            case "set":
                worded.append(attributes["IPSET_ATTR_NAME"])
            case other:
                # A dimension newer than this reader must not make two elements look alike.
                worded.append(f"?{other}")
    options = "".join(word for bit, word in ((_NOMATCH, " nomatch"), (_WILDCARD, " wildcard")) if flags & bit)
    return ",".join(worded) + options


def _prefix(attributes: Mapping[str, Any], address: str, length: str, netmask: int | None) -> str:
    nested = attributes[address]["attrs"]
    text, host = (
        (nested["IPSET_ATTR_IPADDR_IPV4"], 32)
        if "IPSET_ATTR_IPADDR_IPV4" in nested
        else (nested["IPSET_ATTR_IPADDR_IPV6"], 128)
    )
    bits = attributes.get(length, netmask or host)
    return str(text) if bits == host else f"{text}/{bits}"


def _port(attributes: Mapping[str, Any]) -> str:
    """`tcp:80`, `icmp:8/0`; a bitmap:port has no protocol. Of other protocols the port is 0."""
    port = attributes["IPSET_ATTR_PORT_FROM"]
    protocol = attributes.get("IPSET_ATTR_PROTO")
    if protocol is None:
        return str(port)
    name = _PROTOCOLS.get(protocol, words.ip_protocol(protocol))
    return f"{name}:{port >> 8}/{port & 0xFF}" if protocol in _ICMP else f"{name}:{port}"
