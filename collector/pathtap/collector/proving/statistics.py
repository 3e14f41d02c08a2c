"""What source ports before and after NAT tell of how the kernel chose them: figures, limits, and one word for all of it. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum

from pathtap.collector.proving.chance import (
    FALSE_ALARM,
    MOST_NEEDED,
    SPREAD_BUDGET,
    SUCCESSION_BUDGET,
    deviation,
    most_by_chance,
    most_collisions,
    most_kept_by_chance,
    needed_for_changed,
    needed_pairs,
)
from pathtap.collector.proving.ranges import CLIENTS, DRAWS, NatRange, class_of
from pathtap.model.address import Protocol
from pathtap.model.node import PortRange
from pathtap.model.snat import PortPair, Statistics


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


def statistics(
    pairs: Sequence[PortPair],
    ports: PortRange | None = None,
    unseen_share: float = 0.0,
    shift: float = 0.0,
    in_use_share: float = 0.0,
) -> Statistics:
    """`pairs` in the order in which their connections were opened; those that are discounted do not count, nor do those
    of another class than most: one distribution holds for one range.

    `ports` is the rule's own range. `unseen_share` is the share of the range that others may hold towards the destination unseen,
    0 to 1, `shift` by how much all that are in use shift the distribution of what is drawn, and `in_use_share` their share.
    """
    counted, among = _of_one_class(pairs, ports)
    chosen = sorted(pair.translated.port for pair in counted)
    preserved = sum(pair.translated.port == pair.original.port for pair in counted)
    steps = tuple(_steps(counted, among.size))
    closely = among.step
    return Statistics(
        counted=len(counted),
        preserved=preserved,
        needed=needed_pairs(preserved, len(counted), among, unseen_share, shift) or MOST_NEEDED,
        first=among.first,
        last=among.last,
        lowest=chosen[0] if chosen else None,
        highest=chosen[-1] if chosen else None,
        distance=_distance(chosen, among),
        distance_limit=min(1.0, deviation(len(counted), SPREAD_BUDGET / 2) + shift) if counted else 1.0,
        successive=sum(step <= closely for step in steps),
        successive_limit=most_by_chance(len(steps), _following(counted, among, in_use_share), SUCCESSION_BUDGET),
        false_alarm=FALSE_ALARM,
    )


def ports_say(figures: Statistics, unseen_share: float = 0.0) -> PortsSay:
    """In this order: what is kept is asked first, since kept ports are as even or successive as those that the source chose."""
    among, counted = NatRange(figures.first, figures.last), figures.counted
    fewest = needed_for_changed(among, unseen_share)
    if fewest is None or counted < fewest:
        return PortsSay.TOO_FEW
    if figures.preserved > most_kept_by_chance(counted, among):
        if counted - figures.preserved > most_collisions(counted, unseen_share):
            return PortsSay.MIXED
        return PortsSay.PRESERVED if counted >= figures.needed else PortsSay.TOO_FEW
    if figures.successive > figures.successive_limit:
        return PortsSay.SUCCESSIVE
    if figures.distance > figures.distance_limit:
        return PortsSay.UNEVEN
    return PortsSay.SCATTERED if counted >= figures.needed else PortsSay.CHANGED


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


def _following(counted: Iterable[PortPair], among: NatRange, in_use_share: float) -> float:
    """The chance that a drawn port follows the one before: it is that one again, or up to a step further on.

    A port at the end of a run of taken ones gets the draws of the whole run, and the one before has perhaps just made it
    longer: runs that are met so have 1/(1 - load)² ports in the mean (Knuth's linear probing). The load is at its end what others
    hold and the pairs towards one destination, which a survey may have seen among the ports in use or not.
    """
    most = max(Counter(_towards(pair) for pair in counted).values(), default=0)
    load = in_use_share + most / among.size
    return min(1.0, (among.step + 1) * among.likeliest / (1 - load) ** 2) if load < 1 else 1.0


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
