"""Whether connections that conntrack could not enter lost a race for a port, or found none: by how many are in use.

Pure. From Linux 5.0 on a search tries 128, 64, 32, 16 and 8 successive ports, each time from another random place, and then
gives up (nf_nat_l4proto_unique_tuple of net/netfilter/nf_nat_core.c); the connection is dropped when its entry is to be
inserted, and counts as insert_failed, as one does that chose its port at the same moment as another (__nf_conntrack_confirm
of nf_conntrack_core.c). The counter is the node's, over all destinations, and tells neither from the other nor from a race for
the tuple after DNAT (two queries of one socket to a Service).
"""

from dataclasses import dataclass
from enum import Enum

from pathtap.model.netfilter import Random

# Of ports that are strewn at random: in 20 simulations with 64,512 ports no search gave up before 75.5 % were in use, and at
# 93 % twenty or thirty had. tests/unit/collector/test_depletion.py simulates it again.
EXHAUSTED_SHARE = 0.75


class Cause(Enum):
    """NONE: nothing was lost. RACE: there were ports enough. DEPLETION: so few were left that searches give up, flag or none."""

    NONE = "NONE"
    RACE = "RACE"
    DEPLETION = "DEPLETION"


@dataclass(frozen=True, slots=True, kw_only=True)
class LostPorts:
    """`lost` is by how much insert_failed rose. `in_use` of the `capacity` ports of one address are in use towards one
    destination, of those that the rule may choose from.
    """

    cause: Cause
    lost: int
    in_use: int
    capacity: int
    random: Random

    @property
    def share(self) -> float:
        """Of the ports, in use: 0 to 1. Of no ports at all, all are."""
        return self.in_use / self.capacity if self.capacity else 1.0

    @property
    def mended_by_flag(self) -> bool:
        """Whether `--random-fully` would have spared most of what was lost; but for DNAT races, which no flag of SNAT mends."""
        return self.cause is Cause.RACE and self.random is not Random.FULLY


def lost_ports(*, in_use: int, capacity: int, lost: int, random: Random) -> LostPorts:
    """Why `lost` connections were not entered, by the share of ports in use.

    Below EXHAUSTED_SHARE a search among ports that lie at random does not give up. Where the rule has no flag they may lie
    side by side, as clients choose them; then a search gives up with a chance of (length of the block / capacity) ** 5 at
    most, one factor for each place where it begins. That is called a RACE too: a flag strews the ports, and mends both.
    """
    found = LostPorts(cause=Cause.NONE, lost=lost, in_use=in_use, capacity=capacity, random=random)
    if lost <= 0:
        return found
    cause = Cause.DEPLETION if found.share >= EXHAUSTED_SHARE else Cause.RACE
    return LostPorts(cause=cause, lost=lost, in_use=in_use, capacity=capacity, random=random)
