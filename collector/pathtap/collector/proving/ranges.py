"""The ranges of ports of which the kernel takes one, and how likely each port is. Pure.

From nf_nat_l4proto_unique_tuple of net/netfilter/nf_nat_core.c.
"""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from pathtap.model.address import Protocol
from pathtap.model.node import PortRange

# The kernel draws 16 bits and takes the remainder by the range's size.
DRAWS = 65_536
# A search tries so many ports side by side, then fewer from elsewhere.
ATTEMPTS = 128
# A port follows the one before where it is no further on: other connections take some in between.
STEP = 16
ICMP = frozenset((Protocol.ICMP, Protocol.ICMPV6))


@dataclass(frozen=True, slots=True)
class NatRange:
    """The ports of which the kernel takes one, `first` to `last`."""

    first: int
    last: int

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    @property
    def size(self) -> int:
        return self.last - self.first + 1

    @property
    def likeliest(self) -> float:
        """The chance of the likeliest port: the first ones stand for one draw more than the rest."""
        return -(-DRAWS // self.size) / DRAWS

    @property
    def step(self) -> int:
        """How far on a port still follows the one before: less where the range is small, or any would."""
        return max(1, min(STEP, self.size // 256))

    def chance(self, lowest: int, highest: int) -> float:
        """That the kernel's draw is one of `lowest` to `highest`, which are of the range."""
        each, more = divmod(DRAWS, self.size)
        before, up_to = lowest - self.first, highest - self.first + 1
        return (each * (up_to - before) + min(up_to, more) - min(before, more)) / DRAWS


IDENTIFIERS = NatRange(0, 65_535)
PRIVILEGED, RESERVED, CLIENTS = NatRange(1, 511), NatRange(600, 1023), NatRange(1024, 65_535)


def class_of(port: int, protocol: int, ports: PortRange | None) -> NatRange:
    """Where the kernel looks for a translation of `port`: the rule's own `ports`, or the class that it keeps."""
    if ports is not None:
        return NatRange(ports.first, ports.last)
    if protocol in ICMP:
        return IDENTIFIERS
    if port >= CLIENTS.first:
        return CLIENTS
    return PRIVILEGED if port <= PRIVILEGED.last else RESERVED


def shift_by(held: Collection[int], among: NatRange) -> float:
    """By how much the ports that others `held` may shift the distribution of those that are drawn, rounded up; 0 to 1.

    A draw that falls on one of them goes to the next that is free, at the end of the run of them side by side: that changes
    the distribution within this run alone. A search that finds a run of ATTEMPTS or longer begins at another place.
    """
    taken = sorted({port for port in held if port in among})
    if not taken:
        return 0.0
    starts = [n for n, port in enumerate(taken) if n == 0 or taken[n - 1] != port - 1]
    runs = [taken[start:end] for start, end in pairwise((*starts, len(taken)))]
    long = sum(among.chance(run[0], run[-1]) for run in runs if len(run) >= ATTEMPTS)
    short = max((among.chance(run[0], run[-1]) for run in runs if len(run) < ATTEMPTS), default=0.0)
    return min(1.0, ceil((long + short) * 1000) / 1000)
