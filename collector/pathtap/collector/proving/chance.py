"""What chance explains, how often, and how many pairs it takes to tell more than chance. Pure; closed forms only.

Every limit is what chance exceeds so seldom as its budget says; the budgets add up to less than FALSE_ALARM.
"""

from functools import lru_cache
from math import ceil, exp, lgamma, log, log1p, sqrt

from pathtap.collector.proving.ranges import NatRange

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
# More pairs than this are not asked for; up to the lesser number the exact distribution is worth its time.
MOST_NEEDED = 1000
MOST_EXACT = 100


def needed_pairs(
    preserved: int, counted: int, among: NatRange, unseen_share: float = 0.0, shift: float = 0.0
) -> int | None:
    """How many pairs it takes to say what `preserved` of `counted` look like: fewer to say that ports are kept than that they are
    even. None where no number of them tells: a range of a single port, or one that is used up.
    """
    if preserved > most_kept_by_chance(counted, among):
        return needed_for_kept(among, unseen_share)
    changed, spread = needed_for_changed(among, unseen_share), needed_for_spread(shift)
    return max(changed, spread) if changed is not None and spread is not None else None


@lru_cache(maxsize=1024)
def needed_for_kept(among: NatRange, unseen_share: float = 0.0) -> int | None:
    """From how many pairs on what is kept is neither drawn nor, but so often as MISSED says, a mixture of both. None: never."""
    half_anew = (1 - among.likeliest + max(unseen_share, LEAST_IN_USE)) / 2
    for n in range(1, MOST_NEEDED + 1):
        collided = most_collisions(n, unseen_share)
        if most_kept_by_chance(n, among) + collided < n and _at_most(collided, n, half_anew) <= MISSED:
            return n
    return None


@lru_cache(maxsize=1024)
def needed_for_changed(among: NatRange, unseen_share: float = 0.0) -> int | None:
    """From how many pairs on what is not kept is so seldom a mixture of kept and drawn, let alone kept. None: never."""
    half_kept = (among.likeliest + 1 - max(unseen_share, LEAST_IN_USE)) / 2
    for n in range(1, MOST_NEEDED + 1):
        by_chance = most_kept_by_chance(n, among)
        if by_chance < n and _at_most(by_chance, n, half_kept) <= MISSED:
            return n
    return None


@lru_cache(maxsize=1024)
def needed_for_spread(shift: float = 0.0) -> int | None:
    """From how many pairs on a distribution that is half off is taken for an even one at most so often as MISSED says.

    Half off is what keeps to one half of the range, or crowds with half of its ports somewhere: at one port of the range the even
    share and the real one are 1/2 apart. The binomial distribution says how often no more than the limit is seen there;
    where many are needed, Hoeffding's bound of it. None where a `shift` of nearly a half hides it from any number.
    """
    if shift >= 0.5:
        return None
    enough = ceil(((deviation(1, SPREAD_BUDGET / 2) + deviation(1, MISSED)) / (0.5 - shift)) ** 2)
    if enough > MOST_NEEDED:
        return None
    exactly = range(1, enough) if enough <= MOST_EXACT else ()
    return next((n for n in exactly if _most_often_missed(n, shift) <= MISSED), enough)


def _most_often_missed(counted: int, shift: float) -> float:
    """Over all even shares: of those at which as many ports pass as within the limit, the least, which is missed most often."""
    limit = deviation(counted, SPREAD_BUDGET / 2) + shift
    if limit >= 0.5:
        return 1.0
    passing = range(int(counted * limit), int(counted * (limit + 0.5)) + 1)
    return max(_at_most(many, counted, max(0.0, many / counted - limit) + 0.5) for many in passing)


def most_kept_by_chance(counted: int, among: NatRange) -> int:
    """So many of `counted` ports a random choice keeps at most."""
    return most_by_chance(counted, among.likeliest, PRESERVED_BUDGET)


def most_collisions(counted: int, unseen_share: float) -> int:
    """So many of `counted` ports a rule without a flag changes at most, though none was seen to be held by another."""
    return most_by_chance(counted, max(unseen_share, LEAST_IN_USE), COLLISION_BUDGET)


@lru_cache(maxsize=4096)
def most_by_chance(trials: int, chance: float, budget: float) -> int:
    """The least number that a binomial count of `trials` exceeds with a probability of at most `budget`."""
    below = 0.0
    for count in range(trials):
        below += _exactly(count, trials, chance)
        if 1 - below <= budget:
            return count
    return trials


def deviation(counted: int, budget: float) -> float:
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
