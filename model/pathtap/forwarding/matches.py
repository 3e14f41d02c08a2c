"""What a netfilter rule asks of a packet, in one small sum type for all three rule stores.

Knows no rule syntax: `iptables` and `nftables` decode into these, `evaluation` answers them.
"""

from dataclasses import dataclass
from typing import TypeAlias

from pathtap.forwarding.fields import Field, Value


@dataclass(frozen=True, slots=True)
class Values:
    """Single values, inclusive ranges of numbers, and prefixes of names (`eni+`, `eni*`)."""

    exact: frozenset[Value] = frozenset()
    ranges: tuple[tuple[int, int], ...] = ()
    prefixes: tuple[str, ...] = ()

    def __contains__(self, value: Value) -> bool:
        if value in self.exact:
            return True
        if isinstance(value, str):
            return value.startswith(self.prefixes) if self.prefixes else False
        return any(first <= value <= last for first, last in self.ranges)


@dataclass(frozen=True, slots=True)
class Is:
    """The field, under the mask where there is one, is among the values."""

    field: Field
    values: Values
    mask: int | None = None


@dataclass(frozen=True, slots=True)
class InSet:
    """All fields together are an element of a concatenated set: a tuple of constants, or of ranges for an interval set."""

    fields: tuple[Field, ...]
    elements: frozenset[tuple[Value, ...]]
    ranged: tuple[tuple[Values, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class StateIn:
    """One of --ctstate's words holds; DNAT and SNAT ask for IPS_DST_NAT and IPS_SRC_NAT (xt_conntrack.c)."""

    states: frozenset[str]


@dataclass(frozen=True, slots=True)
class StatusIn:
    """`ct status`, --ctstatus: IPS_* of the entry, which a packet without an entry does not have."""

    states: frozenset[str]


@dataclass(frozen=True, slots=True)
class AddressTypeIn:
    """`types` are RTN_* words; `limit` is `in` or `out` where only that interface's own addresses count."""

    source: bool
    types: frozenset[str]
    limit: str = ""


@dataclass(frozen=True, slots=True)
class Either:
    """At least one holds: multiport's --ports."""

    first: "Match"
    second: "Match"


@dataclass(frozen=True, slots=True)
class Chance:
    """The kernel throws dice, counts packets or remembers who sent them: `statistic`, `limit`, `recent`. Both ways are
    possible, and neither is a gap in what was read.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Unmodelled:
    """A match or statement that we cannot evaluate, in its store's words."""

    text: str


@dataclass(frozen=True, slots=True)
class Not:
    match: "Match"


@dataclass(frozen=True, slots=True)
class FromSocket:
    """Asks for the process or socket that sent the packet: none did where it came in by an interface (xt_owner.c)."""

    text: str


@dataclass(frozen=True, slots=True)
class Bridged:
    """Asks for the bridge's port: nothing matches where bridged packets do not pass here (xt_physdev.c)."""

    text: str


@dataclass(frozen=True, slots=True)
class InIpSet:
    """`-m set --match-set NAME src,dst`. `sources` has True for each dimension that is `src`; `nomatch` is --return-nomatch."""

    name: str
    sources: tuple[bool, ...]
    nomatch: bool = False


@dataclass(frozen=True, slots=True)
class WayTo:
    """Where the FIB leads to the packet's source (`-m rpfilter`, `fib saddr oif`) or destination.

    `by` is the interface that it must lead by: `in`, `out`, or any for the empty word; `values` are the names that the answer
    may have, None where it need only exist. `local` lets RTN_LOCAL count, `loose` any way, `marked` asks with the mark.
    """

    source: bool
    by: str = ""
    values: Values | None = None
    marked: bool = False
    local: bool = False
    loose: bool = False


Match: TypeAlias = (
    Is
    | InSet
    | StateIn
    | StatusIn
    | AddressTypeIn
    | Either
    | Chance
    | Unmodelled
    | FromSocket
    | Bridged
    | InIpSet
    | WayTo
    | Not
)
# Later fragments: conntrack defragments what comes in, and no packet here is one.
NEVER = Is(Field.FAMILY, Values())


def is_chance(match: Match) -> bool:
    return isinstance(match.match if isinstance(match, Not) else match, Chance)
