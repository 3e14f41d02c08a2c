"""What an inspection finds, and which flows it can hurt. Values and one choice among them; inspects nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from pathtap.model.address import Address
from pathtap.model.trace import Finding


class Traffic(Enum):
    """Which flows a defect can hurt. INSIDE: to what is in the VPC. OUTSIDE: to what is not. SERVICE: to a Service.
    NODE_PORT: from outside to one.
    """

    ANY = "any"
    INSIDE = "inside"
    OUTSIDE = "outside"
    SERVICE = "service"
    NODE_PORT = "node port"


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """`concerns` are the pods' addresses whose packets it can hurt; empty means all of the node. `severs` says that nothing comes
    to them and nothing from them, whatever the way.
    """

    finding: Finding
    concerns: frozenset[Address] = frozenset()
    traffic: Traffic = Traffic.ANY
    severs: bool = False


def relevant(
    defects: Iterable[Defect], addresses: Iterable[Address], *, leaves_vpc: bool, to_service: bool
) -> tuple[Defect, ...]:
    """Those that can hurt a flow between `addresses`, its ends before and after NAT. The caller picks the nodes."""
    ends = frozenset(addresses)
    hurt = {Traffic.ANY, Traffic.OUTSIDE if leaves_vpc else Traffic.INSIDE}
    if to_service:
        hurt.add(Traffic.SERVICE)
        hurt |= {Traffic.NODE_PORT} if leaves_vpc else set()
    return tuple(
        defect for defect in defects if defect.traffic in hurt and (not defect.concerns or defect.concerns & ends)
    )
