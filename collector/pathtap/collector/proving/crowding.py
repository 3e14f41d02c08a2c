"""How crowded the ports are among which the kernel chooses, towards the destination where they are so most. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from math import ceil

from pathtap.collector.proving.ranges import CLIENTS, NatRange, class_of, shift_by
from pathtap.collector.proving.subject import Found, Subject
from pathtap.model.address import Address, Socket
from pathtap.model.survey import PortUsage

# A share is rounded up to so many parts, that what follows from it need not be computed anew for each.
PARTS = 200


def share_of_others(subject: Subject, found: Found) -> float:
    """The share of the ports that other sources hold, 0 to 1: those of its own a source does not come upon."""
    others = (each for each in _usage(subject, found) if each.source not in subject.addresses)
    shares = (_share(taken, among) for taken, among in _held(subject, others))
    return ceil(max(shares, default=0.0) * PARTS) / PARTS


def shift_of(subject: Subject, found: Found) -> float:
    """By how much ports in use may shift the distribution of what is drawn."""
    return max((shift_by(taken, among) for taken, among in _held(subject, _usage(subject, found))), default=0.0)


def _share(taken: Iterable[int], among: NatRange) -> float:
    return sum(among.first <= port <= among.last for port in taken) / among.size


def _usage(subject: Subject, found: Found) -> Iterable[PortUsage]:
    """Of the address that the rule gives; of every one where that cannot be told."""
    given = subject.translators.translated_to
    return (each for each in (*found.before.usage, *found.after.usage) if given in (None, each.translated))


def _held(subject: Subject, usage: Iterable[PortUsage]) -> Iterable[tuple[set[int], NatRange]]:
    held = defaultdict[tuple[int, Socket, Address], set[int]](set)
    for each in usage:
        held[each.protocol, each.destination, each.translated].update(each.ports)
    return ((taken, class_of(CLIENTS.first, key[0], subject.translators.ports)) for key, taken in held.items())
