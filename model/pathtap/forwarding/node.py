"""A node snapshot made ready for many predictions. Knows no packets; what it indexes or decodes it keeps."""

from collections.abc import Iterable, Sequence
from copy import copy
from ipaddress import IPv6Network

from pathtap.forwarding.chains import Stage, stages
from pathtap.forwarding.evaluation import Knowledge
from pathtap.forwarding.ipsets import IpSets
from pathtap.forwarding.routing import RoutingTables
from pathtap.model.address import Address, InterfaceAddress
from pathtap.model.node import Interface, NodeSnapshot, Role, RouteKind
from pathtap.model.trace import RuleReference

_UNIQUE_LOCAL = IPv6Network("fc00::/7")


class NodeModel:
    """Build one per snapshot: indexing 50,000 rules takes longer than a thousand predictions."""

    def __init__(self, snapshot: NodeSnapshot) -> None:
        self.snapshot = snapshot
        self.tables = RoutingTables(snapshot)
        # br_netfilter has this sysctl; without the module no bridged packet meets a hook.
        bridges = snapshot.sysctls.get("net.bridge.bridge-nf-call-iptables", "0") != "0"
        self.known = Knowledge(tables=self.tables, sets=IpSets(snapshot.ip_sets), bridges=bridges)
        self._stages = stages(snapshot)
        self._interfaces = {interface.name: interface for interface in snapshot.interfaces}
        self.addresses = snapshot.addresses()
        self.validates_fully = _has_custom_routing(snapshot, self.addresses)
        self.set_aside: frozenset[RuleReference] = frozenset()

    def without(self, rules: Iterable[RuleReference]) -> "NodeModel":
        """The same node as if these rules translated nothing, to ask what would do so instead. All rules keep their positions,
        and both models share what they have indexed and decoded.
        """
        changed = copy(self)
        changed.set_aside = self.set_aside.union(rules)
        return changed

    def stages(self, family: int, hook: str, device: str = "") -> tuple[Stage, ...]:
        """`device` is the interface whose ingress or egress hook it is, empty for the other hooks."""
        return self._stages.get((family, hook, device), ())

    def forwards(self, family: int, interface: str) -> bool | None:
        """Whether packets that came in by that interface are forwarded; None where no sysctl tells.

        IN_DEV_FORWARD of net/ipv4/route.c; devconf_all->forwarding of net/ipv6/ip6_output.c.
        """
        name = f"net.ipv4.conf.{interface}.forwarding" if family == 4 else "net.ipv6.conf.all.forwarding"
        value = self.snapshot.sysctls.get(
            name, self.snapshot.sysctls.get("net.ipv4.ip_forward") if family == 4 else None
        )
        return None if value is None else value != "0"

    def either_switch(self, interface: str, name: str) -> bool:
        """IN_DEV_ORCONF of linux/inetdevice.h: on for `all` or for that interface. What was not read counts as off, as it is
        in a kernel that nobody changed.
        """
        return any(self.snapshot.sysctls.get(f"net.ipv4.conf.{each}.{name}", "0") != "0" for each in ("all", interface))

    def reverse_path_modes(self, interface: str) -> tuple[int, ...]:
        """The modes of rp_filter that are possible there: the greater of `all` and the interface's own (IN_DEV_RPFILTER).

        More than one where a sysctl was not read.
        """
        found = [self.snapshot.sysctls.get(f"net.ipv4.conf.{each}.rp_filter") for each in ("all", interface)]
        first, second = ((0, 1, 2) if value is None else (int(value),) for value in found)
        return tuple(sorted({max(one, other) for one in first for other in second}))

    def has_address(self, interface: str, family: int) -> bool:
        device = self._interfaces.get(interface)
        return device is not None and any(each.version == family for each in device.addresses)

    def masquerade_address(self, interface: str, towards: Address) -> Address | None:
        """The source that MASQUERADE takes, None where it cannot be told.

        IPv4: inet_select_addr (net/ipv4/devinet.c): the interface's primary address in the subnet of the next hop, else its
        first one, else the first of any interface. Link scope is not in the snapshot: 169.254.0.0/16 counts as such.
        IPv6: ipv6_dev_get_saddr (net/ipv6/addrconf.c), RFC 6724: the interface's own, of several of which none is certain; where
        it has none, as a pod's veth, that of any with the longest prefix in common. What is deprecated or temporary is not
        in the snapshot.
        """
        if towards.version == 6 and towards in self.addresses:
            # Rule 1 of RFC 6724: what the node sends to itself has its destination for its source.
            return towards
        mine = self._global_addresses(self._interfaces.get(interface), towards.version)
        others = sorted(self._interfaces.values(), key=lambda each: each.index)
        if towards.version == 6:
            elsewhere = [own for each in others for own in each.addresses if own.ip in self._global_addresses(each, 6)]
            return mine[0] if len(mine) == 1 else None if mine else _nearest(elsewhere, towards)
        device = self._interfaces.get(interface)
        for address in device.addresses if device else ():
            if address.ip in mine and towards in address.network:
                return address.ip
        return next(iter(mine), None) or next((a for each in others for a in self._global_addresses(each, 4)), None)

    def first_address(self, interface: str, family: int) -> Address | None:
        """Where REDIRECT leads what came in there: its first address of any scope (nf_nat_redirect.c), in the kernel's order,
        which for IPv6 has the widest scope first.
        """
        device = self._interfaces.get(interface)
        return next((each.ip for each in device.addresses if each.version == family), None) if device else None

    @staticmethod
    def _global_addresses(interface: Interface | None, family: int) -> list[Address]:
        if interface is None or interface.role is Role.LOOPBACK or interface.name == "lo":
            return []
        return [each.ip for each in interface.addresses if each.version == family and not each.ip.is_link_local]


def _nearest(candidates: Sequence[InterfaceAddress], towards: Address) -> Address | None:
    """Rules 6 and 8 of RFC 6724 (ipv6_get_saddr_eval): an address of the same kind, unique local or not, then the longest
    prefix in common, no longer than its own; the first of equals.
    """

    def rank(own: InterfaceAddress) -> tuple[bool, int]:
        alike = own.ip.max_prefixlen - (int(own.ip) ^ int(towards)).bit_length()
        return (own.ip in _UNIQUE_LOCAL) == (towards in _UNIQUE_LOCAL), min(alike, own.network.prefixlen)

    return max(candidates, key=rank).ip if candidates else None


def _has_custom_routing(snapshot: NodeSnapshot, addresses: frozenset[Address]) -> bool:
    """Whether the kernel validates sources by a lookup even where rp_filter is 0: fib4_has_custom_rules,
    fib_has_custom_local_routes (net/ipv4/fib_frontend.c). Both stay set for good; that they once were is not in a snapshot.
    """
    rules = {(each.priority, each.text) for each in snapshot.rules if each.family == 4}
    kernels = {(0, "from all lookup local"), (32766, "from all lookup main"), (32767, "from all lookup default")}
    return bool(rules - kernels) or any(
        each.kind is RouteKind.LOCAL and each.destination.network_address not in addresses
        for each in snapshot.routes
        if each.family == 4 and not each.destination.is_loopback
    )
