"""How crowded the ports are among which the kernel chooses, towards the destination where they are so most. Pure."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from math import ceil

from pathtap.collector.proving.ranges import CLIENTS, NatRange, class_of, shift_by
from pathtap.collector.proving.subject import Found, Subject
from pathtap.model.address import Address, Socket
from pathtap.model.snat import PortPair
from pathtap.model.survey import PortUsage

# A share is rounded up to so many parts, that what follows from it need not be computed anew for each.
PARTS = 200

# Protocol, destination, translated address.
Towards = tuple[int, Socket, Address]


def unseen_share(subject: Subject, found: Found, pairs: Sequence[PortPair]) -> float:
    """The share of the ports, 0 to 1, that other sources may hold without any survey having seen it; whom a survey saw, discounts
    the pairs that came upon him.

    As many as came or went between the two surveys may have come and gone. Where no destination was asked for, a survey tells of
    those alone where most ports are in use: of all others it holds that fewer are than there.
    """
    before, after = (
        _held(each for each in survey.usage if _is_other(subject, each)) for survey in (found.before, found.after)
    )
    shares = [_share(before[key] ^ after[key], _among(subject, key)) for key in {*before, *after}]
    told = _held(_given(subject, found))
    if any(_towards(pair) not in told for pair in pairs):
        shares.append(min((_share(taken, _among(subject, key)) for key, taken in told.items()), default=0.0))
    return ceil(max(shares, default=0.0) * PARTS) / PARTS


def shift_of(subject: Subject, found: Found, pairs: Sequence[PortPair]) -> float:
    """By how much ports in use may shift the distribution of what is drawn: those that `pairs` have drawn themselves do not."""
    return max((shift_by(taken, among) for taken, among in _beside(subject, found, pairs)), default=0.0)


def in_use_share(subject: Subject, found: Found, pairs: Sequence[PortPair]) -> float:
    """The share of the ports, 0 to 1, that anybody holds, without those that `pairs` have drawn."""
    share = max((_share(taken, among) for taken, among in _beside(subject, found, pairs)), default=0.0)
    return ceil(share * PARTS) / PARTS


def _beside(subject: Subject, found: Found, pairs: Sequence[PortPair]) -> Iterator[tuple[set[int], NatRange]]:
    held = _held(_given(subject, found))
    for pair in pairs:
        if not pair.discounted and _towards(pair) in held:
            held[_towards(pair)].discard(pair.translated.port)
    return ((taken, _among(subject, key)) for key, taken in held.items())


def _given(subject: Subject, found: Found) -> Iterator[PortUsage]:
    """Of the address that the rule gives; of every one where that cannot be told."""
    given = subject.translators.translated_to
    return (each for each in (*found.before.usage, *found.after.usage) if given in (None, each.translated))


def _is_other(subject: Subject, usage: PortUsage) -> bool:
    """Of the address that the rule gives; ports of its own a source does not come upon."""
    return subject.translators.translated_to in (None, usage.translated) and usage.source not in subject.addresses


def _towards(pair: PortPair) -> Towards:
    return pair.protocol, pair.destination, pair.translated.address


def _among(subject: Subject, towards: Towards) -> NatRange:
    return class_of(CLIENTS.first, towards[0], subject.translators.ports)


def _share(taken: Collection[int], among: NatRange) -> float:
    return sum(port in among for port in taken) / among.size


def _held(usage: Iterable[PortUsage]) -> defaultdict[Towards, set[int]]:
    held = defaultdict[Towards, set[int]](set)
    for each in usage:
        held[each.protocol, each.destination, each.translated].update(each.ports)
    return held
