"""What lies between the nodes: whose address is whose, and what the VPC makes of a packet that left by an interface.

Nobody reads the VPC, so all that is said here is ASSUMED: it delivers by address to the ENI that owns it, whatever the gateway,
drops what the sending ENI does not own (the source check), and takes the rest out. Knows no security groups, no network ACLs,
no route tables of subnets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_network

from pathtap.forwarding.node import NodeModel
from pathtap.model.address import Address, FiveTuple, is_for_one_node
from pathtap.model.node import Interface, NodeSnapshot, Role

# The priority of the ip rule that leads a pod's packets to the table of its ENI (VPC CNI, pkg/networkutils/network.go).
FROM_POD = 1536


class Whereto(Enum):
    """OUTSIDE: to an address that nobody here has. REFUSED: dropped by the source check. NOT_MODELLED: `why` says what."""

    POD = "a pod's veth"
    NODE = "a node's ENI"
    OUTSIDE = "outside"
    REFUSED = "dropped by the source check"
    NOT_MODELLED = "not modelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Carriage:
    """What became of a packet that left a node by an interface.

    `node` and `interface` are where it comes out, for POD and NODE. `owner` is the ENI of the sending node that owns the source,
    None where none does or nobody told. `inside` says of OUTSIDE whether the address lies within the VPC's own
    networks: nobody's, or of something that is no node; None where nobody told which these are.
    """

    whereto: Whereto
    node: str = ""
    interface: str = ""
    owner: Interface | None = None
    inside: bool | None = None
    why: str = ""


class Fabric:
    """Who owns which address, over all nodes that were read.

    `placed` says on which node an address must be that the snapshots may not show: that of a pod whose route is missing, or
    whose node was not read.
    """

    def __init__(self, models: Mapping[str, NodeModel], placed: Mapping[Address, str] | None = None) -> None:
        self.models = models
        self._placed = placed or {}
        self._enis: dict[tuple[str, Address], Interface | None] = {}
        self._places: dict[Address, tuple[str, str] | None] = {}
        self._pods = {
            address: (node, interface.name)
            for node, model in models.items()
            for interface in model.snapshot.interfaces
            for address in interface.pod_addresses
            if not is_for_one_node(address)
        }
        networks = (network for model in models.values() for network in model.snapshot.vpc_networks)
        self.networks = tuple(dict.fromkeys(networks))

    def pod(self, address: Address) -> tuple[str, str] | None:
        """The node and the veth that an address is routed to."""
        return self._pods.get(address)

    def owner(self, address: Address) -> tuple[str, str] | None:
        """The node and the interface to which the VPC delivers an address; the interface is empty for a node that was not read.

        None where the address is nobody's. A pod's own ENI is the primary one where no rule leads elsewhere.
        """
        if address not in self._places:
            self._places[address] = self._find(address)
        return self._places[address]

    def eni_of(self, address: Address, node: str) -> Interface | None:
        """The node's ENI that owns an address, None where none does or nobody told."""
        key = (node, address)
        if key not in self._enis:
            self._enis[key] = eni_of(address, self.models[node].snapshot)
        return self._enis[key]

    def carry(self, flow: FiveTuple, node: str, interface: str, gateway: Address | None = None) -> Carriage:
        """From the interface by which a packet left `node`, towards `gateway` or straight to its destination."""
        device = self.models[node].snapshot.interface(interface)
        if device is not None and device.role is Role.POD_VETH:
            return Carriage(whereto=Whereto.POD, node=node, interface=interface)
        if device is None or not device.role.is_eni:
            why = f"{interface} on {node} is neither an ENI nor a pod's veth: what lies behind it is not modelled"
            return Carriage(whereto=Whereto.NOT_MODELLED, why=why)
        owner = self.eni_of(flow.source, node)
        if refuses(device, owner) or (owner is None and self._is_of_another(flow.source, node)):
            return Carriage(whereto=Whereto.REFUSED, owner=owner)
        via = self.owner(gateway) if gateway is not None else None
        if via is not None:
            why = (
                f"{node} sends it by way of {gateway}, an address of {via[0]}: routers inside the VPC are not modelled"
            )
            return Carriage(whereto=Whereto.NOT_MODELLED, owner=owner, why=why)
        return self._delivered(flow.destination, owner)

    def is_inside(self, address: Address) -> bool | None:
        """Whether an address lies within the VPC's networks; None where nobody told which these are."""
        mine = [network for network in self.networks if network.version == address.version]
        return any(address in network for network in mine) if mine else None

    def _is_of_another(self, source: Address, node: str) -> bool:
        """Whether the address is another node's, whatever was told of this one's ENIs."""
        place = self.owner(source)
        return place is not None and place[0] != node

    def _delivered(self, destination: Address, owner: Interface | None) -> Carriage:
        place = self.owner(destination)
        if place is None:
            return Carriage(whereto=Whereto.OUTSIDE, owner=owner, inside=self.is_inside(destination))
        if not place[1]:
            why = f"{destination} belongs to {place[0]}, whose state was not read"
            return Carriage(whereto=Whereto.NOT_MODELLED, node=place[0], owner=owner, why=why)
        return Carriage(whereto=Whereto.NODE, node=place[0], interface=place[1], owner=owner)

    def _find(self, address: Address) -> tuple[str, str] | None:
        pod = self._pods.get(address)
        likely = (self._placed.get(address, ""), pod[0] if pod else "")
        for node in dict.fromkeys((*likely, *self.models)):
            found = self.eni_of(address, node) if node in self.models else None
            if found is not None:
                return node, found.name
        node = next((each for each in likely if each), "")
        return (node, self._primary(node)) if node else None

    def _primary(self, node: str) -> str:
        model = self.models.get(node)
        interfaces = model.snapshot.interfaces if model else ()
        return next((each.name for each in interfaces if each.role is Role.PRIMARY_ENI), "")


def refuses(interface: Interface, owner: Interface | None) -> bool:
    """The VPC's source check at `interface`, for a source that `owner` has. Where nobody told who owns what, it passes."""
    return interface.role.is_eni and interface != owner and bool(owner or interface.eni_addresses)


def eni_of(address: Address, snapshot: NodeSnapshot) -> Interface | None:
    """The ENI that owns an address, by what IMDS or ipamd say, by its own addresses, else by the pod's from-rule."""
    for interface in snapshot.interfaces:
        own = any(address == own.ip for own in interface.addresses)
        if interface.role.is_eni and (own or any(address in network for network in interface.eni_addresses)):
            return interface
    return _eni_of_rule(address, snapshot)


def _eni_of_rule(address: Address, snapshot: NodeSnapshot) -> Interface | None:
    """`1536 from 192.168.1.116 lookup 2` gives the pod's address to the ENI that table 2 leads to."""
    own = [rule for rule in snapshot.rules if rule.source is not None and rule.source == ip_network(address)]
    # Beside the CNI's own there may be others that lead the pod astray.
    written = [rule for rule in own if rule.priority == FROM_POD] or own
    tables = {rule.table for rule in written}
    names = {
        hop.interface
        for route in snapshot.routes
        if route.table in tables and not route.destination.prefixlen
        for hop in route.next_hops
    }
    enis = [interface for interface in snapshot.interfaces if interface.name in names and interface.role.is_eni]
    return enis[0] if len(enis) == 1 else None
