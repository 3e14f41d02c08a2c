"""Reads the routes of every table, both families. Chooses none of them."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from pathtap.agent.readers import netlink, words
from pathtap.agent.readers.netlink import Message
from pathtap.model.address import Address
from pathtap.model.node import NextHop, Route, RouteKind

# RTN_* of linux/rtnetlink.h; 0 (unspec), 10 (nat) and 11 (xresolve) are OTHER.
_KINDS = {
    1: RouteKind.UNICAST,
    2: RouteKind.LOCAL,
    3: RouteKind.BROADCAST,
    4: RouteKind.ANYCAST,
    5: RouteKind.MULTICAST,
    6: RouteKind.BLACKHOLE,
    7: RouteKind.UNREACHABLE,
    8: RouteKind.PROHIBIT,
    9: RouteKind.THROW,
}
# RTNH_F_* of linux/rtnetlink.h in the order in which print_rt_flags of ip/iproute.c prints them.
_FLAGS = (
    (1, "dead"),
    (4, "onlink"),
    (2, "pervasive"),
    (8, "offload"),
    (64, "trap"),
    (16, "linkdown"),
    (32, "unresolved"),
)
_METRICS = (
    ("RTAX_MTU", "mtu"),
    ("RTAX_ADVMSS", "advmss"),
    ("RTAX_INITCWND", "initcwnd"),
    ("RTAX_INITRWND", "initrwnd"),
)
_PREFERENCES = {0: "medium", 1: "high", 3: "low"}

Names = Mapping[int, str]


def fetch(socket: Any) -> tuple[Message, ...]:
    return tuple(message for family in netlink.FAMILIES for message in netlink.routes(socket, family))


def decode(messages: tuple[Message, ...], names: Names) -> tuple[Route, ...]:
    """`names` maps interface indices to names. A message of another family (multicast routing) is left out."""
    return tuple(decode_one(message, names) for message in messages if message["family"] in netlink.FAMILIES)


def decode_one(message: Message, names: Names) -> Route:
    attributes = message["attrs"]
    default = "0.0.0.0" if words.version(message["family"]) == 4 else "::"  # noqa: S104
    source = attributes.get("RTA_PREFSRC")
    return Route(
        family=words.version(message["family"]),
        table=attributes.get("RTA_TABLE", message["table"]),
        destination=ip_network((attributes.get("RTA_DST", default), message["dst_len"]), strict=False),
        kind=_KINDS.get(message["type"], RouteKind.OTHER),
        scope=message["scope"],
        metric=attributes.get("RTA_PRIORITY", 0),
        tos=message["tos"],
        preferred_source=None if source is None else ip_address(source),
        next_hops=tuple(_next_hops(message, names)),
        text=" ".join(_words(message, names)),
    )


def _next_hops(message: Message, names: Names) -> Iterator[NextHop]:
    attributes = message["attrs"]
    if several := attributes.get("RTA_MULTIPATH"):
        for hop in several:
            yield NextHop(interface=_name(hop["oif"], names), gateway=_gateway(hop["attrs"]), weight=hop["hops"] + 1)
    elif "RTA_OIF" in attributes:
        yield NextHop(interface=_name(attributes["RTA_OIF"], names), gateway=_gateway(attributes))


def _gateway(attributes: Mapping[str, Any]) -> Address | None:
    if "RTA_GATEWAY" in attributes:
        return ip_address(attributes["RTA_GATEWAY"])
    # An IPv4 route by an IPv6 neighbour (RFC 8950).
    return ip_address(attributes["RTA_VIA"]["addr"]) if "RTA_VIA" in attributes else None


def _name(index: int, names: Names) -> str:
    return names.get(index, f"if{index}")


def _words(message: Message, names: Names) -> Iterator[str]:
    """As print_route of iproute2's ip/iproute.c puts them for `ip route show table T`, next hops on the same line."""
    attributes = message["attrs"]
    kind = _KINDS.get(message["type"], RouteKind.OTHER)
    if kind is not RouteKind.UNICAST:
        yield kind.value if kind is not RouteKind.OTHER else str(message["type"])
    yield (
        words.prefix(message["family"], attributes["RTA_DST"], message["dst_len"])
        if "RTA_DST" in attributes
        else (f"0/{message['dst_len']}" if message["dst_len"] else "default")
    )
    if "RTA_SRC" in attributes:
        yield f"from {words.prefix(message['family'], attributes['RTA_SRC'], message['src_len'])}"
    if "RTA_NH_ID" in attributes:
        yield f"nhid {attributes['RTA_NH_ID']}"
    if message["tos"]:
        yield f"tos {words.tos(message['tos'])}"
    yield from _hop_words(attributes, attributes.get("RTA_OIF"), names)
    if message["proto"] != words.PROTOCOL_BOOT:
        yield f"proto {words.route_protocol(message['proto'])}"
    if message["scope"]:
        yield f"scope {words.scope(message['scope'])}"
    if "RTA_PREFSRC" in attributes:
        yield f"src {attributes['RTA_PREFSRC']}"
    if "RTA_PRIORITY" in attributes:
        yield f"metric {attributes['RTA_PRIORITY']}"
    yield from _flag_words(message["flags"])
    metrics = attributes.get("RTA_METRICS", {}).get("attrs", {})
    yield from (f"{word} {metrics[name]}" for name, word in _METRICS if name in metrics)
    if "RTA_PREF" in attributes:
        yield f"pref {_PREFERENCES.get(_preference(attributes['RTA_PREF']), 'unknown')}"
    for hop in attributes.get("RTA_MULTIPATH", ()):
        yield "nexthop"
        yield from _hop_words(hop["attrs"], hop["oif"], names)
        yield f"weight {hop['hops'] + 1}"
        yield from _flag_words(hop["flags"])


def _hop_words(attributes: Mapping[str, Any], index: int | None, names: Names) -> Iterator[str]:
    gateway = _gateway(attributes)
    if gateway is not None:
        family = f"inet{'6' if gateway.version == 6 else ''} " if "RTA_VIA" in attributes else ""
        yield f"via {family}{gateway}"
    if index is not None:
        yield f"dev {_name(index, names)}"


def _flag_words(flags: int) -> Iterator[str]:
    yield from (word for flag, word in _FLAGS if flags & flag)


def _preference(value: Any) -> int:
    """RFC 4191's router preference; pyroute2 hands the octet over as hexadecimal text."""
    return int(value, 16) if isinstance(value, str) else int(value)
