"""A node snapshot made ready for many predictions. Knows no packets; what it indexes or decodes it keeps."""

from pathtap.forwarding.chains import Stage, stages
from pathtap.forwarding.routing import RoutingTables
from pathtap.model.address import Address
from pathtap.model.node import Interface, NodeSnapshot, Role


class NodeModel:
    """Build one per snapshot: indexing 50,000 rules takes longer than a thousand predictions."""

    def __init__(self, snapshot: NodeSnapshot) -> None:
        self.snapshot = snapshot
        self.tables = RoutingTables(snapshot)
        self._stages = stages(snapshot)
        self._interfaces = {interface.name: interface for interface in snapshot.interfaces}

    def stages(self, family: int, hook: str) -> tuple[Stage, ...]:
        return self._stages[family, hook]

    def forwards(self, family: int, interface: str) -> bool | None:
        """Whether packets that came in by that interface are forwarded; None where no sysctl tells.

        IN_DEV_FORWARD of net/ipv4/route.c; devconf_all->forwarding of net/ipv6/ip6_output.c.
        """
        name = f"net.ipv4.conf.{interface}.forwarding" if family == 4 else "net.ipv6.conf.all.forwarding"
        value = self.snapshot.sysctls.get(
            name, self.snapshot.sysctls.get("net.ipv4.ip_forward") if family == 4 else None
        )
        return None if value is None else value != "0"

    def masquerade_address(self, interface: str, towards: Address) -> Address | None:
        """The source that MASQUERADE takes, None where it cannot be told.

        IPv4: inet_select_addr (net/ipv4/devinet.c): the interface's primary address in the subnet of the next hop, else its
        first one, else the first of any interface. Link scope is not in the snapshot: 169.254.0.0/16 counts as such.
        IPv6: RFC 6724 chooses among several, so only a single global address is certain.
        """
        mine = self._global_addresses(self._interfaces.get(interface), towards.version)
        if towards.version == 6:
            return mine[0] if len(mine) == 1 else None
        device = self._interfaces.get(interface)
        for address in device.addresses if device else ():
            if address.ip in mine and towards in address.network:
                return address.ip
        others = sorted(self._interfaces.values(), key=lambda each: each.index)
        return next(iter(mine), None) or next((a for each in others for a in self._global_addresses(each, 4)), None)

    def first_address(self, interface: str, family: int) -> Address | None:
        """Where REDIRECT leads what came in there: for IPv4 its first address of any scope (nf_nat_redirect_ipv4)."""
        device = self._interfaces.get(interface)
        if family == 4 and device is not None:
            return next((each.ip for each in device.addresses if each.version == 4), None)
        return next(iter(self._global_addresses(device, family)), None)

    @staticmethod
    def _global_addresses(interface: Interface | None, family: int) -> list[Address]:
        if interface is None or interface.role is Role.LOOPBACK or interface.name == "lo":
            return []
        return [each.ip for each in interface.addresses if each.version == family and not each.ip.is_link_local]
