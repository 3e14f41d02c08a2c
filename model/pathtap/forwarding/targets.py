"""What a netfilter rule does to a packet that passed its matches, in one sum type for all three rule stores.

Knows no rule syntax and applies nothing itself: `netfilter` walks, `nat` translates.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pathtap.forwarding.fields import Field, Value
from pathtap.forwarding.matches import Chance, Match, Unmodelled, Values
from pathtap.model.address import Address, Network
from pathtap.model.netfilter import Random
from pathtap.model.node import PortRange

ALL_BITS = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Accept:
    """Ends this base chain; later base chains of the hook still run."""


@dataclass(frozen=True, slots=True)
class Drop:
    pass


@dataclass(frozen=True, slots=True)
class Reject:
    """`how` is what is sent back: icmp-port-unreachable, tcp-reset …"""

    how: str = ""


@dataclass(frozen=True, slots=True)
class Return:
    pass


@dataclass(frozen=True, slots=True)
class Jump:
    """`goto` does not come back to this chain."""

    chain: str
    goto: bool = False


@dataclass(frozen=True, slots=True)
class Bits:
    """(mark & `mark`) ^ (connmark & `connmark`) ^ `constant`: every way iptables and nft have to compute a mark."""

    mark: int = 0
    connmark: int = 0
    constant: int = 0

    def of(self, mark: int, connmark: int) -> int:
        return (mark & self.mark) ^ (connmark & self.connmark) ^ self.constant


@dataclass(frozen=True, slots=True)
class SetMark:
    value: Bits


@dataclass(frozen=True, slots=True)
class SetConnmark:
    value: Bits


@dataclass(frozen=True, slots=True)
class SetTos:
    """(tos & ~`mask`) ^ `value`: TOS, DSCP, `ip dscp set`. Routing looks at it."""

    value: int
    mask: int


@dataclass(frozen=True, slots=True)
class Snat:
    """`addresses` is an inclusive range, None where only the port changes; `ports` None leaves their choice to the kernel."""

    addresses: tuple[Address, Address] | None
    ports: PortRange | None = None
    random: Random = Random.NONE


@dataclass(frozen=True, slots=True)
class Masquerade:
    ports: PortRange | None = None
    random: Random = Random.NONE


@dataclass(frozen=True, slots=True)
class Dnat:
    """As Snat, for the destination. `base` shifts ports: the one that is `base` becomes the range's first."""

    addresses: tuple[Address, Address] | None
    ports: PortRange | None = None
    random: Random = Random.NONE
    base: int | None = None


@dataclass(frozen=True, slots=True)
class Netmap:
    """The address keeps its host part and gets this network: the destination's before routing, the source's after."""

    network: Network


@dataclass(frozen=True, slots=True)
class Redirect:
    """To an address of the node itself: the in-interface's, or loopback for what the node sent."""

    ports: PortRange | None = None
    random: Random = Random.NONE


@dataclass(frozen=True, slots=True)
class Untrack:
    """NOTRACK, `CT --notrack`: without effect once connection tracking has seen the packet."""


@dataclass(frozen=True, slots=True)
class NoEffect:
    """LOG, TRACE, a bare counter: forwarding does not depend on it."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """A verdict or dnat map: the fields' values choose the target, and nothing happens where none is listed.

    `ranged` are the elements that are no single value, in the order in which they are asked.
    """

    fields: tuple[Field, ...]
    targets: Mapping[tuple[Value, ...], "Target"]
    ranged: tuple[tuple[tuple[Values, ...], "Target"], ...] = ()

    def chosen(self, key: tuple[Value, ...]) -> "Target | None":
        if key in self.targets:
            return self.targets[key]
        fitting = (
            target
            for parts, target in self.ranged
            if all(value in part for value, part in zip(key, parts, strict=True))
        )
        return next(fitting, None)


@dataclass(frozen=True, slots=True)
class OneOf:
    """numgen: one of these, by dice or by turns."""

    chance: Chance
    targets: tuple["Target", ...]


Target: TypeAlias = (
    Accept | Drop | Reject | Return | Jump | SetMark | SetConnmark | SetTos | Snat | Masquerade | Dnat | Redirect | Netmap
    | Untrack | NoEffect | Lookup | OneOf | Unmodelled
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Clause:
    """Where every match passes, the target applies. An nftables rule is a sequence of these; the first that fails ends it."""

    matches: tuple[Match, ...]
    target: Target


def set_xmark(value: int, mask: int, *, connmark: bool) -> SetMark | SetConnmark:
    """MARK and CONNMARK --set-xmark: zero the bits of the mask, then exclusive-or the value (xt_mark.c, xt_connmark.c)."""
    if connmark:
        return SetConnmark(Bits(connmark=ALL_BITS & ~mask, constant=value))
    return SetMark(Bits(mark=ALL_BITS & ~mask, constant=value))
