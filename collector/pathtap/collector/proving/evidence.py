"""What there is to judge of one source's traffic, and what its ports come to. Holds values; judges no rule. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pathtap.collector.proving.chance import most_collisions, needed_pairs
from pathtap.collector.proving.pairs import OLDER
from pathtap.collector.proving.ranges import ICMP, NatRange, class_of
from pathtap.collector.proving.statistics import PortsSay, compared, ports_say, statistics
from pathtap.model.address import Address
from pathtap.model.netfilter import Random
from pathtap.model.node import PortRange
from pathtap.model.snat import Intent, Opened, PortPair, Statistics, TranslatingRule
from pathtap.model.trace import Gap, RuleReference

EVERY_FLAG = frozenset(Random)
# From it on the kernel does the same for --random and --random-fully (nf_nat_l4proto_unique_tuple).
SAME_FOR_BOTH = (5, 0)
# Before it an identifier is counted up or always 0 with either flag (nf_nat_proto_icmp.c; mended by 5bdac418f33f in 5.1).
IDENTIFIERS_ARE_DRAWN = (5, 1)
# Of so many ports that are compared with the one before, none of which follows it, a kernel that counts up leaves no trace.
ENOUGH_COMPARED = 10
# Of a pair that was there before others came, which suffice.
THERE_BEFORE = "it was there before the watch began, and perhaps before the rules"

# The range of which a port is one, and whether it is an identifier of ICMP.
Kind = tuple[NatRange, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """`source` and `destination` are a person's words for them: `shop/search`, `198.51.100.8:443`; the latter is empty where none
    was given. `kernel` is the node's release, empty where it was not read. `candidates`, `rules`, `ports`, `translated_to`
    and `unknown` are what `translators` says. `interface` is the way out, empty where it is not known.

    `pairs` are in the order in which their connections were opened. `opened` is None where nothing was sent; the pairs may then
    be older than the rules, but for the last `fresh` of them, which came into being while they were watched. `unseen_share`
    is the share of the range that others may hold towards the destination unseen, 0 to 1, and `shift` is what `shift_by` says of
    all that are in use, and `in_use_share` their share; the ports of `pairs` that count are in neither.
    `gaps` are those that decide who translates, and `pairs_unread` says why pairs are missing, where they could not be read.
    `why_not_translated` is why no rule translates, where something else than what was set explains it.
    """

    source: str
    destination: str = ""
    protocol: int = 0
    kernel: str = ""
    candidates: tuple[RuleReference, ...] = ()
    rules: tuple[TranslatingRule, ...] = ()
    ports: PortRange | None = None
    translated_to: Address | None = None
    interface: str = ""
    unknown: tuple[str, ...] = ()
    intent: Intent | None = None
    pairs: tuple[PortPair, ...] = ()
    opened: Opened | None = None
    fresh: int = 0
    live: bool = False
    unseen_share: float = 0.0
    shift: float = 0.0
    in_use_share: float = 0.0
    gaps: tuple[Gap, ...] = ()
    pairs_unread: str = ""
    why_not_translated: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the pairs come to. `pairs` are all of them, those discounted that count for nothing on this kernel or are `untouched`:
    keep an address which the rule replaces. `translated` counts those that a rule of now has changed.

    Those that count are of one kind; `noun` is a person's word for one of them. `can_tell` is False where no number of pairs
    tells. `fits` holds the flags that ports such as these, and those of all other kinds, are chosen with. `is_dated` is False
    where they may be older than the rules.
    """

    pairs: tuple[PortPair, ...]
    statistics: Statistics
    says: PortsSay
    can_tell: bool
    fits: frozenset[Random]
    translated: int
    untouched: int
    noun: str
    is_dated: bool

    def contradicts(self, candidates: Sequence[RuleReference]) -> bool:
        """Whether no rule of `candidates` has a flag with which such ports are chosen."""
        return bool(candidates) and not any(rule.random in self.fits for rule in candidates)

    @property
    def is_open(self) -> bool:
        """Whether there are too few pairs to tell how ports are chosen."""
        return self.says in (PortsSay.TOO_FEW, PortsSay.CHANGED)


def ports_of(evidence: Evidence) -> Ports:
    """Of the pairs that are known to be newer than the rules where these suffice, else of all."""
    known = release(evidence.kernel)
    weighed = tuple(_weighed(pair, evidence, known) for pair in evidence.pairs)
    if evidence.opened is not None:
        return _of_kinds(weighed, evidence, known, is_dated=True)
    if evidence.fresh:
        since = len(weighed) - evidence.fresh
        marked = tuple(replace(pair, discounted=pair.discounted or THERE_BEFORE) for pair in weighed[:since])
        young = _of_kinds((*marked, *weighed[since:]), evidence, known, is_dated=True)
        if not young.is_open or young.contradicts(evidence.candidates):
            return young
    return _of_kinds(weighed, evidence, known, is_dated=False)


def _of_kinds(
    weighed: Sequence[PortPair], evidence: Evidence, kernel: tuple[int, int] | None, *, is_dated: bool
) -> Ports:
    """Ports and identifiers, and those of different ranges, are judged apart: shown are those that contradict the rules, else
    those that suffice, and of these the most.
    """
    counted = [pair for pair in weighed if not pair.discounted]
    kinds: list[Kind | None] = [*dict.fromkeys(_kind(pair, evidence.ports) for pair in counted)] or [None]
    found = [_of_kind(kind, weighed, evidence, kernel, is_dated=is_dated) for kind in kinds]
    shown = max(
        found, key=lambda each: (each.contradicts(evidence.candidates), not each.is_open, each.statistics.counted)
    )
    fits = [each.fits for each in found]
    return replace(shown, fits=frozenset.intersection(*fits))


def _of_kind(
    kind: Kind | None,
    weighed: Sequence[PortPair],
    evidence: Evidence,
    kernel: tuple[int, int] | None,
    *,
    is_dated: bool,
) -> Ports:
    """`kind` is None where no pair counts."""
    pairs = tuple(_of_another_kind(pair, kind, evidence.ports) for pair in weighed)
    figures = statistics(pairs, evidence.ports, evidence.unseen_share, evidence.shift, evidence.in_use_share)
    says = ports_say(figures, evidence.unseen_share)
    asked = evidence.protocol or (weighed[0].protocol if weighed else 0)
    return Ports(
        pairs=pairs,
        statistics=figures,
        says=says,
        can_tell=_can_tell(figures, evidence),
        fits=_fits(says, kernel, pairs),
        translated=_count_translated(weighed, evidence.unseen_share),
        untouched=sum(_is_untouched(pair, evidence) for pair in weighed if pair.discounted != OLDER),
        noun=_noun(kind[1] if kind else asked in ICMP),
        is_dated=is_dated,
    )


def _kind(pair: PortPair, ports: PortRange | None) -> Kind:
    return class_of(pair.original.port, pair.protocol, ports), pair.protocol in ICMP


def _noun(is_identifier: bool) -> str:
    return "identifier" if is_identifier else "port"


def release(kernel: str) -> tuple[int, int] | None:
    """`6.1.112-122.189.amzn2023.x86_64` is (6, 1); None where the words are no release."""
    found = re.match(r"(\d+)\.(\d+)", kernel)
    return (int(found[1]), int(found[2])) if found else None


def _can_tell(figures: Statistics, evidence: Evidence) -> bool:
    """One destination, to which connections are opened, gets each port of the range no more than once."""
    among = NatRange(figures.first, figures.last)
    needed = needed_pairs(figures.preserved, figures.counted, among, evidence.unseen_share, evidence.shift)
    return needed is not None and (evidence.opened is None or needed <= among.size)


def _fits(says: PortsSay, kernel: tuple[int, int] | None, pairs: Sequence[PortPair]) -> frozenset[Random]:
    counts_up = kernel is not None and kernel < SAME_FOR_BOTH
    match says:
        case PortsSay.PRESERVED:
            return frozenset((Random.NONE,))
        case PortsSay.SCATTERED:
            drawn_each = counts_up and compared(pairs) >= ENOUGH_COMPARED
            return frozenset((Random.FULLY,) if drawn_each else (Random.RANDOM, Random.FULLY))
        case PortsSay.SUCCESSIVE:
            return frozenset((Random.RANDOM,) if counts_up or kernel is None else ())
        case PortsSay.TOO_FEW:
            return EVERY_FLAG
        case PortsSay.CHANGED:
            return frozenset((Random.RANDOM, Random.FULLY))
        case _:
            return frozenset()


def _weighed(pair: PortPair, evidence: Evidence, kernel: tuple[int, int] | None) -> PortPair:
    if pair.discounted:
        return pair
    if _is_untouched(pair, evidence):
        return replace(pair, discounted="it is not translated at all")
    if pair.protocol in ICMP and kernel is not None and kernel < IDENTIFIERS_ARE_DRAWN:
        return replace(pair, discounted="before Linux 5.1 identifiers are counted up, whatever the flag")
    return pair


def _of_another_kind(pair: PortPair, kind: Kind | None, ports: PortRange | None) -> PortPair:
    own = _kind(pair, ports)
    if pair.discounted or own == kind:
        return pair
    among = own[0]
    return replace(pair, discounted=f"its {_noun(own[1])}, of {among.first} to {among.last}, is judged apart")


def _count_translated(pairs: Sequence[PortPair], unseen_share: float) -> int:
    """How many a rule of now has changed. Without a rule the kernel changes no address; a port it does, where another
    connection has it towards the same destination (nf_nat_alloc_null_binding of nf_nat_core.c), which nobody need have seen.
    """
    now = [pair for pair in pairs if pair.discounted != OLDER]
    elsewhere = [pair.original.address != pair.translated.address for pair in now]
    moved = sum(
        not away and not pair.discounted and pair.original != pair.translated
        for pair, away in zip(now, elsewhere, strict=True)
    )
    return sum(elsewhere) + (moved if moved > most_collisions(len(now), unseen_share) else 0)


def _is_untouched(pair: PortPair, evidence: Evidence) -> bool:
    """Whether it has its source yet, which a rule was to replace by another address; or which no rule replaces."""
    if pair.translated != pair.original:
        return False
    gives = evidence.translated_to
    return not evidence.candidates or gives not in (None, pair.original.address)
