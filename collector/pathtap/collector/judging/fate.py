"""How one direction of a journey ended, from where its packet was last seen. Pure; names no causes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.resolve import owner_of
from pathtap.collector.joining.expect import ExpectedPassage
from pathtap.model.address import Address
from pathtap.model.node import Interface, Role
from pathtap.model.trace import Target

# A packet that comes to one interface of one node this often goes round in circles.
LOOP_ROUNDS = 3


class End(Enum):
    DELIVERED = "reached its destination"
    LEFT_CLUSTER = "left towards an address that is nobody's in the cluster"
    NOT_ARRIVED = "left towards a node of the cluster and was not seen there"
    STOPPED = "came to a node and was not seen leaving it"
    LOOPED = "came to the same node again and again"
    NOT_SEEN = "was seen nowhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """`last` is the passage where the packet was last seen; `owner` whose address it was then going to."""

    end: End
    last: ExpectedPassage | None = None
    owner: Target | None = None


def fate_of(passages: Sequence[ExpectedPassage], inventory: Inventory) -> Fate:
    if not passages:
        return Fate(end=End.NOT_SEEN)
    last = passages[-1]
    owner = owner_of(last.passage.after.destination, last.passage.after.destination_port, inventory)
    return Fate(end=_end(passages, last, owner), last=last, owner=owner)


def _end(passages: Sequence[ExpectedPassage], last: ExpectedPassage, owner: Target) -> End:
    arrivals = Counter((p.passage.node, p.passage.arrival.interface) for p in passages if p.passage.arrival)
    if arrivals and max(arrivals.values()) >= LOOP_ROUNDS:
        return End.LOOPED
    if is_delivered(last, owner):
        return End.DELIVERED
    if last.passage.departure is None:
        return End.STOPPED
    return End.NOT_ARRIVED if owner.kind in ("pod", "node") else End.LEFT_CLUSTER


def is_delivered(expected: ExpectedPassage, owner: Target) -> bool:
    """Out of the destination pod's veth; or, for a node and what shares its network, in by one of its interfaces."""
    passage = expected.passage
    destination = passage.after.destination
    if passage.departure is not None:
        interface = interface_of(expected, passage.departure.interface)
        return interface is not None and interface.role is Role.POD_VETH and destination in interface.pod_addresses
    return is_local(expected, destination) or (owner.kind == "node" and owner.node == passage.node)


def is_local(expected: ExpectedPassage, address: Address) -> bool:
    return expected.snapshot is not None and address in expected.snapshot.addresses()


def interface_of(expected: ExpectedPassage, name: str) -> Interface | None:
    return expected.snapshot.interface(name) if expected.snapshot else None
