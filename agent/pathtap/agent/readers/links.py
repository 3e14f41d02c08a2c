"""Reads the node's interfaces and says what each is to the VPC CNI. Trusts no interface name.

An ENI is known by its MAC (IMDS), by its route table (ipamd), or, with neither, by the default route that leaves by it:
the main table's by the primary, an own table's by a secondary. ENI ownership wins over being a veth. A pod's veth has
its peer in another network namespace and a host route of the pod's address towards it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_interface
from typing import Any

from pathtap.agent.readers import netlink
from pathtap.agent.readers.enis import Eni
from pathtap.agent.readers.netlink import Message
from pathtap.model.address import Address, InterfaceAddress
from pathtap.model.node import DEFAULT_TABLE, LOCAL_TABLE, MAIN_TABLE, Interface, Role, Route, RouteKind, Rule

# linux/if.h
_IFF_UP = 0x1
_IFF_LOOPBACK = 0x8
# Kinds that take over the MAC of the link beneath them.
_STACKED = frozenset({"vlan", "macvlan", "ipvlan", "bridge", "bond"})
_KEPT = frozenset(
    {
        "IFLA_IFNAME",
        "IFLA_ADDRESS",
        "IFLA_MTU",
        "IFLA_OPERSTATE",
        "IFLA_LINKINFO",
        "IFLA_LINK",
        "IFLA_LINK_NETNSID",
        "IFLA_XDP",
    }
)
# One program is told as such; where several modes have one each, each by its mode (rtnl_xdp_fill of net/core/rtnetlink.c).
_XDP_PROGRAMS = ("IFLA_XDP_PROG_ID", "IFLA_XDP_SKB_PROG_ID", "IFLA_XDP_DRV_PROG_ID", "IFLA_XDP_HW_PROG_ID")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link as rtnetlink describes it. `kind` is IFLA_INFO_KIND, empty for hardware; `xdp` the ids of its XDP programs.

    `peer_namespace` is the kernel's id for the namespace that its peer is in, None where that is its own.
    """

    index: int
    name: str
    kind: str
    mac: str
    mtu: int
    up: bool
    loopback: bool
    peer_namespace: int | None
    addresses: tuple[InterfaceAddress, ...] = ()
    xdp: tuple[int, ...] = ()


def fetch(socket: Any) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """Links and addresses."""
    return netlink.links(socket, _KEPT), netlink.addresses(socket)


def decode(links: tuple[Message, ...], addresses: tuple[Message, ...]) -> tuple[Link, ...]:
    by_index: dict[int, list[InterfaceAddress]] = {}
    for message in addresses:
        # IFA_LOCAL is the own address of a point-to-point link, whose IFA_ADDRESS is the peer's; IPv6 has no IFA_LOCAL.
        attributes = message["attrs"]
        own = attributes.get("IFA_LOCAL", attributes.get("IFA_ADDRESS"))
        by_index.setdefault(message["index"], []).append(ip_interface((own, message["prefixlen"])))
    return tuple(_link(message, tuple(by_index.get(message["index"], ()))) for message in links)


def interfaces(
    links: tuple[Link, ...], routes: tuple[Route, ...], rules: tuple[Rule, ...], enis: tuple[Eni, ...]
) -> tuple[Interface, ...]:
    """The links with their roles, in the order of their index."""
    owned = _owners(links, routes, enis)
    guessed = _roles_by_routes(links, routes, rules)
    if any(eni.mac for eni in enis):
        # IMDS lists every ENI but the branches, so that any other default route leaves by a tunnel or the like.
        guessed = {name: role for name, role in guessed.items() if role is Role.BRANCH_ENI}
    pods = _host_routes(routes)
    return tuple(_interface(link, owned.get(link.name), guessed.get(link.name), pods) for link in links)


def _interface(link: Link, eni: Eni | None, guessed: Role | None, pods: Mapping[str, tuple[Address, ...]]) -> Interface:
    routed = pods.get(link.name, ())
    if link.loopback:
        role = Role.LOOPBACK
    elif eni is not None:
        role = Role.PRIMARY_ENI if eni.primary else Role.SECONDARY_ENI
    elif guessed is not None:
        role = guessed
    elif link.kind == "veth" and link.peer_namespace is not None and routed:
        role = Role.POD_VETH
    else:
        role = Role.OTHER
    return Interface(
        index=link.index,
        name=link.name,
        role=role,
        mac=link.mac,
        mtu=link.mtu,
        up=link.up,
        addresses=link.addresses,
        pod_addresses=routed if role is Role.POD_VETH else (),
        eni_id="" if eni is None else eni.id,
        eni_addresses=() if eni is None else eni.addresses,
    )


def _owners(links: tuple[Link, ...], routes: tuple[Route, ...], enis: tuple[Eni, ...]) -> Mapping[str, Eni]:
    """Interface name to its ENI."""
    by_mac = {eni.mac: eni for eni in enis if eni.mac}
    owners = {link.name: by_mac[link.mac] for link in links if link.mac in by_mac and link.kind not in _STACKED}
    defaults = _default_routes(routes)
    for eni in enis:
        # Secondary ENIs of the first card have the table device number + 1 (pkg/networkutils/network.go).
        table = MAIN_TABLE if eni.primary else (eni.table or eni.device_number + 1)
        for name in () if eni.mac else defaults.get(table, ()):
            owners.setdefault(name, eni)
    return owners


def _roles_by_routes(links: tuple[Link, ...], routes: tuple[Route, ...], rules: tuple[Rule, ...]) -> Mapping[str, Role]:
    """What the default routes say. A branch ENI's VLAN device has no address and is chosen by its incoming interface."""
    defaults = _default_routes(routes)
    primary = frozenset(defaults.get(MAIN_TABLE, ()))
    own = frozenset(name for table, names in defaults.items() if table != MAIN_TABLE for name in names)
    chosen_by_iif = frozenset(
        rule.in_interface for rule in rules if rule.table in defaults and rule.table != MAIN_TABLE
    )
    roles = {}
    for link in links:
        if link.name in primary:
            roles[link.name] = Role.PRIMARY_ENI
        elif link.name in own and any(not address.ip.is_link_local for address in link.addresses):
            roles[link.name] = Role.SECONDARY_ENI
        elif link.name in own and (link.kind == "vlan" or link.name in chosen_by_iif):
            roles[link.name] = Role.BRANCH_ENI
    return roles


def _default_routes(routes: Iterable[Route]) -> Mapping[int, tuple[str, ...]]:
    """By table, the interfaces of the unicast default routes with a gateway, the lowest metric of a family alone."""
    best: dict[tuple[int, int], Route] = {}
    for route in routes:
        with_gateway = any(hop.gateway is not None for hop in route.next_hops)
        if route.kind is RouteKind.UNICAST and route.destination.prefixlen == 0 and with_gateway:
            known = best.get((route.table, route.family))
            if known is None or route.metric < known.metric:
                best[route.table, route.family] = route
    found: dict[int, tuple[str, ...]] = {}
    for (table, _), route in sorted(best.items(), key=lambda item: item[0]):
        found[table] = tuple(dict.fromkeys([*found.get(table, ()), *(hop.interface for hop in route.next_hops)]))
    return found


def _host_routes(routes: Iterable[Route]) -> Mapping[str, tuple[Address, ...]]:
    """By interface, the single addresses routed to it without a gateway: a pod's, in main or its branch ENI's table."""
    found: dict[str, dict[Address, None]] = {}
    for route in routes:
        single = route.destination.prefixlen == route.destination.max_prefixlen
        if route.kind is RouteKind.UNICAST and single and route.table not in (LOCAL_TABLE, DEFAULT_TABLE):
            for hop in route.next_hops:
                if hop.gateway is None:
                    found.setdefault(hop.interface, {})[route.destination.network_address] = None
    return {name: tuple(addresses) for name, addresses in found.items()}


def _link(message: Message, addresses: tuple[InterfaceAddress, ...]) -> Link:
    attributes = message["attrs"]
    information = attributes.get("IFLA_LINKINFO", {}).get("attrs", {})
    xdp = attributes.get("IFLA_XDP", {}).get("attrs", {})
    flags = message["flags"]
    return Link(
        index=message["index"],
        name=attributes["IFLA_IFNAME"],
        kind=information.get("IFLA_INFO_KIND", ""),
        mac=attributes.get("IFLA_ADDRESS", ""),
        mtu=attributes.get("IFLA_MTU", 0),
        up=bool(flags & _IFF_UP) and attributes.get("IFLA_OPERSTATE", "UNKNOWN") in ("UP", "UNKNOWN"),
        loopback=bool(flags & _IFF_LOOPBACK),
        peer_namespace=attributes.get("IFLA_LINK_NETNSID"),
        addresses=addresses,
        xdp=tuple(dict.fromkeys(xdp[name] for name in _XDP_PROGRAMS if name in xdp)),
    )
