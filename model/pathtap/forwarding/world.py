"""One possible course of events, and how several of them become one again.

Where a match is unknown both courses are followed; where they end alike the unknown was harmless and is forgotten. Knows no
rules and no routes, only what they did.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pathtap.forwarding.packet import Packet
from pathtap.forwarding.prediction import MarkChange, Outcome, ReversePath
from pathtap.forwarding.routing import RoutingDecision
from pathtap.model.address import Socket
from pathtap.model.netfilter import Random
from pathtap.model.node import PortRange
from pathtap.model.trace import RuleReference

# More courses of events than this are not followed: no answer is better than one nobody can read.
LIMIT = 4096


class TooManyPossibilitiesError(Exception):
    """Unknown matches multiply beyond LIMIT."""


@dataclass(frozen=True, slots=True)
class Assumption:
    """`choice` of what could not be decided. A `chance` is the kernel's own dice and no gap in what we know; an `order` is
    that of chains of equal priority.
    """

    text: str
    choice: int
    chance: bool = False
    order: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What a NAT rule made of one end. `socket` is None where the address cannot be predicted."""

    rule: RuleReference
    socket: Socket | None
    ports: PortRange | None = None
    random: Random = Random.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """`destination_bound` and `source_bound` as nf_nat_initialized() has it: also true where no rule translated.

    `outcome` None means that the packet is still on its way. What was assumed to come here takes no part in equality.
    """

    packet: Packet
    marks: tuple[MarkChange, ...] = ()
    dnat: Binding | None = None
    snat: Binding | None = None
    destination_bound: bool = False
    source_bound: bool = False
    routing: RoutingDecision | None = None
    routed: Packet | None = None
    outcome: Outcome | None = None
    cause: RuleReference | None = None
    reason: str = ""
    reverse_path: ReversePath | None = None
    assumed: frozenset[Assumption] = field(default=frozenset(), compare=False)

    @property
    def orders(self) -> frozenset[Assumption]:
        return frozenset(each for each in self.assumed if each.order)

    def assuming(self, text: str, choice: int, *, chance: bool = False, order: bool = False) -> "World":
        return replace(self, assumed=self.assumed | {Assumption(text, choice, chance, order)})

    def ended(self, outcome: Outcome, reason: str, cause: RuleReference | None = None) -> "World":
        return replace(self, outcome=outcome, reason=reason, cause=cause)


def merge(worlds: Iterable[World]) -> list[World]:
    """Equal worlds once, in their order, each with only the assumptions that all its copies share."""
    listed = list(worlds)
    if len(listed) < 2:
        return listed
    found: dict[World, World] = {}
    for world in listed:
        other = found.get(world)
        found[world] = world if other is None else replace(world, assumed=other.assumed & world.assumed)
    if len(found) > LIMIT:
        raise TooManyPossibilitiesError
    return list(found.values())
