"""What source ports before and after NAT tell of how the kernel chose them: figures, limits, and one word for all of it. Pure.

Closed forms only. Every limit is what chance exceeds so seldom as its budget says; the budgets add up to less than FALSE_ALARM.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from math import exp, lgamma, log, log1p, sqrt

from pathtap.model.address import Protocol
from pathtap.model.node import PortRange
from pathtap.model.snat import PortPair, Statistics

# The most often that a word about ports chosen as supposed may be wrong, and how that is shared out.
FALSE_ALARM = 1e-3
PRESERVED_BUDGET = FALSE_ALARM / 10
SPREAD_BUDGET = FALSE_ALARM / 2
SUCCESSION_BUDGET = FALSE_ALARM / 10
COLLISION_BUDGET = FALSE_ALARM / 10
# The most often that ports which keep to half of the range, or of which half are kept, may pass unnoticed.
MISSED = 1e-3

# Of ports that somebody holds towards a destination, some are held too shortly for anybody to see.
LEAST_IN_USE = 0.01
# A port follows the one before where it is no further on: other connections take some in between.
STEP = 16
# More pairs than this are not asked for.
MOST_NEEDED = 1000

# The kernel draws 16 bits and takes the remainder by the range's size (nf_nat_l4proto_unique_tuple, nf_nat_core.c).
DRAWS = 65_536
ICMP = frozenset((Protocol.ICMP, Protocol.ICMPV6))


class PortsSay(Enum):
    """PRESERVED: kept, but for collisions that nobody need have seen. SCATTERED: as an even random choice.

    SUCCESSIVE: each follows closely on the one before. UNEVEN: random choice within the range does not explain where they lie.
    MIXED: more are kept than chance keeps, and fewer than collisions leave. CHANGED: not kept, but too few to tell how they are
    chosen. TOO_FEW: they tell nothing yet.
    """

    PRESERVED = "PRESERVED"
    SCATTERED = "SCATTERED"
    SUCCESSIVE = "SUCCESSIVE"
    UNEVEN = "UNEVEN"
    MIXED = "MIXED"
    CHANGED = "CHANGED"
    TOO_FEW = "TOO_FEW"


@dataclass(frozen=True, slots=True)
class NatRange:
    """The ports of which the kernel takes one, `first` to `last`."""

    first: int
    last: int

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


def statistics(pairs: Sequence[PortPair], ports: PortRange | None = None, in_use_share: float = 0.0) -> Statistics:
    """`pairs` in the order in which their connections were opened; those that are discounted do not count, nor do those
    of another class than most: one distribution holds for one range.

    `ports` is the rule's own range. `in_use_share` is the share of the range that others hold towards the destination, 0 to 1:
    whoever draws one of those gets another, which shifts the distribution by no more than that share.
    """
    counted, among = _of_one_class(pairs, ports)
    chosen = sorted(pair.translated.port for pair in counted)
    preserved = sum(pair.translated.port == pair.original.port for pair in counted)
    steps = tuple(_steps(counted, among.size))
    closely = among.step
    return Statistics(
        counted=len(counted),
        preserved=preserved,
        needed=_needed(len(counted), preserved, among, in_use_share),
        first=among.first,
        last=among.last,
        lowest=chosen[0] if chosen else None,
        highest=chosen[-1] if chosen else None,
        distance=_distance(chosen, among),
        distance_limit=min(1.0, _deviation(len(counted), SPREAD_BUDGET / 2) + in_use_share) if counted else 1.0,
        successive=sum(step <= closely for step in steps),
        successive_limit=most_by_chance(len(steps), _following(among), SUCCESSION_BUDGET),
        false_alarm=FALSE_ALARM,
    )


def ports_say(figures: Statistics, in_use_share: float = 0.0) -> PortsSay:
    """In this order: what is kept is asked first, since kept ports are as even or successive as those that the source chose."""
    among, counted = NatRange(figures.first, figures.last), figures.counted
    kept_needed = needed_for_kept(among, in_use_share)
    if kept_needed is None or counted < kept_needed:
        return PortsSay.TOO_FEW
    if figures.preserved > most_kept_by_chance(counted, among):
        lost = counted - figures.preserved
        return PortsSay.PRESERVED if lost <= most_collisions(counted, in_use_share) else PortsSay.MIXED
    if figures.successive > figures.successive_limit:
        return PortsSay.SUCCESSIVE
    if figures.distance > figures.distance_limit:
        return PortsSay.UNEVEN
    return PortsSay.SCATTERED if counted >= figures.needed else PortsSay.CHANGED


@lru_cache(maxsize=1024)
def needed_pairs(among: NatRange, in_use_share: float = 0.0) -> int | None:
    """How many pairs every statement takes.

    None where no number of them tells: a range of a single port, or one that is all but used up.
    """
    kept = needed_for_kept(among, in_use_share)
    return max(kept, needed_for_spread()) if kept is not None else None


@lru_cache(maxsize=1)
def needed_for_spread() -> int:
    """From how many pairs on a distribution that is half off is taken for an even one at most so often as MISSED says.

    Half off is what keeps to one half of the range, or crowds with half of its ports somewhere: at one port of the range the even
    share and the real one are 1/2 apart, and the binomial distribution says how often no more than the limit is seen there.
    """
    return next(n for n in range(1, MOST_NEEDED) if _most_often_missed(n) <= MISSED)


def _most_often_missed(counted: int) -> float:
    """Over all even shares: of those at which as many ports pass as within the limit, the least, which is missed most often."""
    limit = _deviation(counted, SPREAD_BUDGET / 2)
    if limit >= 0.5:
        return 1.0
    passing = range(int(counted * limit), int(counted * (limit + 0.5)) + 1)
    return max(_at_most(many, counted, max(0.0, many / counted - limit) + 0.5) for many in passing)


@lru_cache(maxsize=1024)
def needed_for_kept(among: NatRange, in_use_share: float = 0.0) -> int | None:
    """From how many pairs on what is kept and what is drawn are told apart, and either from a mixture of halves. None: never."""
    drawn_anew = 1 - among.likeliest
    in_use = max(in_use_share, LEAST_IN_USE)
    for n in range(1, MOST_NEEDED + 1):
        by_chance, collided = most_kept_by_chance(n, among), most_collisions(n, in_use_share)
        if by_chance + collided >= n:
            continue
        half_anew = (drawn_anew + in_use) / 2
        if _at_most(collided, n, half_anew) <= MISSED and _at_most(by_chance, n, 1 - half_anew) <= MISSED:
            return n
    return None


def most_kept_by_chance(counted: int, among: NatRange) -> int:
    """So many of `counted` ports a random choice keeps at most."""
    return most_by_chance(counted, among.likeliest, PRESERVED_BUDGET)


def most_collisions(counted: int, in_use_share: float) -> int:
    """So many of `counted` ports a rule without a flag changes at most, though none was seen to be held by another."""
    return most_by_chance(counted, max(in_use_share, LEAST_IN_USE), COLLISION_BUDGET)


@lru_cache(maxsize=4096)
def most_by_chance(trials: int, chance: float, budget: float) -> int:
    """The least number that a binomial count of `trials` exceeds with a probability of at most `budget`."""
    below = 0.0
    for count in range(trials):
        below += _exactly(count, trials, chance)
        if 1 - below <= budget:
            return count
    return trials


def compared(pairs: Iterable[PortPair]) -> int:
    """Of how many pairs that count it can be told whether they follow on one before, towards the same destination."""
    counted = [pair for pair in pairs if not pair.discounted]
    return len(counted) - len({_towards(pair) for pair in counted})


def _of_one_class(pairs: Sequence[PortPair], ports: PortRange | None) -> tuple[Sequence[PortPair], NatRange]:
    """The pairs that count, in their order, and the range that they share; without any that of clients' ports."""
    by_class: dict[NatRange, list[PortPair]] = {}
    for pair in pairs:
        if not pair.discounted:
            by_class.setdefault(class_of(pair.original.port, pair.protocol, ports), []).append(pair)
    if not by_class:
        return (), class_of(CLIENTS.first, Protocol.TCP, ports)
    among, counted = max(by_class.items(), key=lambda item: len(item[1]))
    return counted, among


def _needed(counted: int, preserved: int, among: NatRange, in_use_share: float) -> int:
    """What the ports look like decides how many it takes to say so: few show that they are kept, more that they are even."""
    kept = needed_for_kept(among, in_use_share)
    if kept is not None and preserved > most_kept_by_chance(counted, among):
        return kept
    return needed_pairs(among, in_use_share) or MOST_NEEDED


def _steps(counted: Iterable[PortPair], size: int) -> Iterator[int]:
    """How far on each port is from the one before towards the same destination; counting up ends at the range's first again."""
    before: dict[tuple[int, int, int], int] = {}
    for pair in counted:
        key, port = _towards(pair), pair.translated.port
        if key in before:
            yield (port - before[key]) % size
        before[key] = port


def _towards(pair: PortPair) -> tuple[int, int, int]:
    """What a kernel that counts up has a start of its own for: both addresses after NAT, as numbers, and the port."""
    return int(pair.translated.address), int(pair.destination.address), pair.destination.port


def _following(among: NatRange) -> float:
    """The chance that a drawn port follows the one before: it is that one again, or up to a step further on."""
    return min(1.0, (among.step + 1) * among.likeliest)


def _distance(chosen: Sequence[int], among: NatRange) -> float:
    """Kolmogorov's: the largest difference between the ports' distribution and that of the kernel's draw. `chosen` ascends."""
    total, largest, size = len(chosen), 0.0, among.size
    each, more = divmod(DRAWS, size)
    for index, port in enumerate(chosen):
        below = min(max(port - among.first, 0), size)
        with_it = min(below + (port >= among.first), size)
        largest = max(
            largest,
            (index + 1) / total - (each * with_it + min(with_it, more)) / DRAWS,
            (each * below + min(below, more)) / DRAWS - index / total,
        )
    return largest


def _deviation(counted: int, budget: float) -> float:
    """By how much one side of a distribution of `counted` is off with a probability of at most `budget` (Massart, Hoeffding)."""
    return sqrt(log(1 / budget) / (2 * counted))


def _at_most(count: int, trials: int, chance: float) -> float:
    return sum(_exactly(each, trials, chance) for each in range(count + 1))


def _exactly(count: int, trials: int, chance: float) -> float:
    """The binomial distribution's, by logarithms: a thousand trials underflow otherwise."""
    if chance <= 0 or chance >= 1:
        return float(count == (trials if chance >= 1 else 0))
    ways = lgamma(trials + 1) - lgamma(count + 1) - lgamma(trials - count + 1)
    return exp(ways + count * log(chance) + (trials - count) * log1p(-chance))
