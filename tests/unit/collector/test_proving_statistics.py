"""What translated ports say, by figures whose limits follow from stated chances."""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from math import comb, isclose, log, sqrt
from random import Random as Chance

import pytest
from port_choice import CLIENTS, Ports

from pathtap.collector.proving.chance import (
    COLLISION_BUDGET,
    FALSE_ALARM,
    PRESERVED_BUDGET,
    SPREAD_BUDGET,
    SUCCESSION_BUDGET,
    most_by_chance,
    most_collisions,
    needed_for_changed,
    needed_for_kept,
    needed_for_spread,
)
from pathtap.collector.proving.ranges import NatRange, class_of, shift_by
from pathtap.collector.proving.statistics import PortsSay, compared, ports_say, statistics
from pathtap.model.address import Protocol, Socket
from pathtap.model.node import PortRange
from pathtap.model.snat import PortPair, Statistics
from pathtap.model.trace import Witness

POD, NODE, FAR = ip_address("192.168.1.41"), ip_address("192.168.1.29"), ip_address("198.51.100.8")
WHOLE = NatRange(1024, 65_535)


def pair(original: int, translated: int, towards: int = 443, protocol: int = Protocol.TCP, why: str = "") -> PortPair:
    return PortPair(
        protocol=protocol,
        original=Socket(POD, original),
        translated=Socket(NODE, translated),
        destination=Socket(FAR, towards),
        witnesses=(Witness.RECORDED,),
        discounted=why,
    )


def from_clients(translated: Iterable[int], first: int = 2_000) -> tuple[PortPair, ...]:
    return tuple(pair(first + n, port) for n, port in enumerate(translated))


def even(count: int, among: NatRange = WHOLE) -> list[int]:
    """As even as `count` ports can be, in an order in which none follows the one before."""
    ports = [among.first + among.size * n // count for n in range(count)]
    return [*ports[1::2], *ports[::2]]


def say(pairs: Sequence[PortPair], ports: PortRange | None = None, in_use: float = 0.0) -> PortsSay:
    return ports_say(statistics(pairs, ports, in_use), in_use)


def chance_of(many: int, count: int, chance: float) -> float:
    """That more than `many` of `count` happen: the binomial tail, term by term."""
    return sum(comb(count, k) * chance**k * (1 - chance) ** (count - k) for k in range(many + 1, count + 1))


@pytest.mark.parametrize(
    ("port", "protocol", "first", "last"),
    [
        (80, Protocol.TCP, 1, 511),
        (511, Protocol.UDP, 1, 511),
        (512, Protocol.TCP, 600, 1023),
        (1023, Protocol.TCP, 600, 1023),
        (1024, Protocol.TCP, 1024, 65_535),
        (65_535, Protocol.UDP, 1024, 65_535),
        (7, Protocol.ICMP, 0, 65_535),
        (7, Protocol.ICMPV6, 0, 65_535),
    ],
)
def test_a_port_keeps_its_class(port: int, protocol: int, first: int, last: int) -> None:
    assert class_of(port, protocol, None) == NatRange(first, last)
    assert class_of(port, protocol, PortRange(first=2_000, last=2_010)) == NatRange(2_000, 2_010)


def test_the_budgets_are_no_more_than_the_whole() -> None:
    assert FALSE_ALARM <= 1e-3
    assert PRESERVED_BUDGET + SPREAD_BUDGET + SUCCESSION_BUDGET + COLLISION_BUDGET <= FALSE_ALARM


@pytest.mark.parametrize(("count", "chance"), [(64, 2 / 65_536), (64, 0.01), (64, 0.5), (300, 0.05), (3, 0.9)])
def test_chance_exceeds_a_limit_as_seldom_as_its_budget_says_and_no_lower_one(count: int, chance: float) -> None:
    most = most_by_chance(count, chance, 1e-4)
    assert chance_of(most, count, chance) <= 1e-4
    assert most == 0 or chance_of(most - 1, count, chance) > 1e-4


def test_what_never_happens_and_what_always_does_has_limits_too() -> None:
    assert most_by_chance(64, 0.0, 1e-4) == 0
    assert most_by_chance(64, 1.0, 1e-4) == 64
    assert most_by_chance(0, 0.5, 1e-4) == 0
    assert most_by_chance(5_000, 0.5, 1e-4) == pytest.approx(2_631, abs=3)


def test_the_limit_of_the_distance_is_massarts() -> None:
    figures = statistics(from_clients(even(64)))
    assert isclose(figures.distance_limit, sqrt(log(2 / SPREAD_BUDGET) / (2 * 64)))
    assert isclose(statistics(from_clients(even(64)), shift=0.1).distance_limit, figures.distance_limit + 0.1)


def test_the_even_distribution_is_the_kernels_remainder_of_sixteen_bits() -> None:
    """Of 65,536 draws the first 1,024 ports of 64,512 get two each, the others one; so does every range, in its own measure."""
    for ports in (None, PortRange(first=2_000, last=2_010), PortRange(first=30_000, last=60_000)):
        first, last = (ports.first, ports.last) if ports else (1024, 65_535)
        every = [first + draw % (last - first + 1) for draw in range(65_536)]
        assert statistics(from_clients(every), ports).distance == pytest.approx(0, abs=1e-12)


def test_distance_is_the_largest_difference_from_above_and_from_below() -> None:
    assert statistics(from_clients([1024])).distance == pytest.approx(1 - 2 / 65_536)
    assert statistics(from_clients([65_535])).distance == pytest.approx(1 - 1 / 65_536)
    assert statistics(from_clients([900] * 4)).distance == 1
    # 32,768 is the middle of all draws: (31,744 + 1,024) / 65,536 are below it.
    assert statistics(from_clients([32_768] * 4)).distance == pytest.approx(0.5)


def test_figures_of_no_pairs_say_nothing() -> None:
    figures = statistics(())
    assert (figures.counted, figures.preserved, figures.lowest, figures.highest) == (0, 0, None, None)
    assert (figures.first, figures.last) == (1024, 65_535)
    assert ports_say(figures) is PortsSay.TOO_FEW


def test_discounted_pairs_do_not_count() -> None:
    figures = statistics((pair(40_000, 40_000), pair(40_001, 40_001, why="its port is held")))
    assert (figures.counted, figures.preserved) == (1, 1)


def test_one_class_counts_that_most_pairs_are_of() -> None:
    pings = tuple(pair(n, n, protocol=Protocol.ICMP) for n in range(5))
    figures = statistics((*pings, *from_clients(even(64))))
    assert (figures.counted, figures.first, figures.last, figures.preserved) == (64, 1024, 65_535, 0)


def test_identifiers_are_of_sixteen_bits() -> None:
    figures = statistics(tuple(pair(n, 500, protocol=Protocol.ICMP) for n in range(30)))
    assert (figures.first, figures.last) == (0, 65_535)


@pytest.mark.parametrize("count", [21, 64, 1_000])
def test_kept_ports_are_preserved_whatever_they_look_like(count: int) -> None:
    """A client's own successive ports, kept, are no succession of the kernel's."""
    assert say(from_clients(range(2_000, 2_000 + count))) is PortsSay.PRESERVED


def test_as_many_may_have_changed_as_unseen_collisions_explain() -> None:
    most = most_collisions(64, 0.0)
    assert 1 < most < 10
    for lost, expected in ((most, PortsSay.PRESERVED), (most + 1, PortsSay.MIXED)):
        kept = [2_000 + n for n in range(64 - lost)]
        assert say(from_clients([*kept, *even(lost)])) is expected, lost
    assert most_collisions(64, 0.2) > most


def test_even_ports_are_scattered() -> None:
    assert say(from_clients(even(64))) is PortsSay.SCATTERED
    assert say(from_clients(even(64, NatRange(3_000, 3_999))), PortRange(first=3_000, last=3_999)) is PortsSay.SCATTERED


def test_ports_that_count_up_are_successive() -> None:
    assert say(from_clients(range(40_000, 40_064))) is PortsSay.SUCCESSIVE
    assert say(from_clients(range(40_000, 40_000 + 64 * 16, 16))) is PortsSay.SUCCESSIVE


def test_counting_up_ends_at_the_first_port_of_the_range() -> None:
    wrapped = [1024 + (64_500 + n) % 64_512 for n in range(64)]
    figures = statistics(from_clients(wrapped))
    assert figures.successive == 63


def test_each_destination_is_counted_up_for_itself() -> None:
    one, other = range(40_000, 40_032), range(9_000, 9_032)
    pairs = [
        pair(2_000 + n, port, n % 2) for n, port in enumerate(p for both in zip(one, other, strict=True) for p in both)
    ]
    assert compared(pairs) == 62
    assert say(pairs) is PortsSay.SUCCESSIVE
    assert (
        say([pair(2_000 + n, port, 443) for n, port in enumerate(p.translated.port for p in pairs)]) is PortsSay.UNEVEN
    )


def test_the_same_port_again_towards_one_destination_is_no_choice_at_random() -> None:
    assert say(from_clients([50_000] * 64)) is PortsSay.SUCCESSIVE


def test_ports_of_one_half_are_uneven() -> None:
    ephemeral = NatRange(32_768, 60_999)
    assert say(from_clients(even(54, ephemeral))) is PortsSay.UNEVEN
    assert say(from_clients(even(54, NatRange(1024, 32_767)), first=40_000)) is PortsSay.UNEVEN


def test_few_that_are_not_kept_have_changed_and_say_no_more() -> None:
    fewest = needed_for_changed(WHOLE)
    assert fewest is not None
    assert say(from_clients(even(fewest - 1))) is PortsSay.TOO_FEW
    assert say(from_clients(even(fewest))) is PortsSay.CHANGED
    assert say(from_clients(even(53))) is PortsSay.CHANGED
    assert say(from_clients(even(54))) is PortsSay.SCATTERED
    assert say(from_clients(range(2_000, 2_020))) is PortsSay.TOO_FEW


def test_the_usual_number_of_connections_is_enough_and_some_may_be_lost() -> None:
    even_ones, kept = statistics(from_clients(even(64))), statistics(from_clients(range(2_000, 2_064)))
    assert even_ones.needed == needed_for_spread()
    assert even_ones.needed <= 64 - 8
    assert kept.needed == needed_for_kept(WHOLE)
    assert kept.needed < even_ones.needed
    assert statistics(()).needed == even_ones.needed


def test_what_is_half_off_is_missed_at_most_once_in_a_thousand() -> None:
    """Exactly, over every even share: with one pair fewer some would be missed more often."""

    def missed(count: int) -> float:
        limit = sqrt(log(2 / SPREAD_BUDGET) / (2 * count))
        shares = [n / 1_000 for n in range(501)]
        return max(1 - chance_of(int(count * (share + limit)), count, share + 0.5) for share in shares)

    needed = needed_for_spread()
    assert needed is not None
    assert missed(needed) <= 1e-3
    assert missed(needed - 1) > 1e-3


def test_a_shift_takes_more_pairs_until_it_hides_all() -> None:
    none, some, much = needed_for_spread(), needed_for_spread(0.05), needed_for_spread(0.3)
    assert none is not None
    assert some is not None
    assert much is not None
    assert none < some < much
    assert needed_for_spread(0.45) is None
    assert needed_for_spread(0.5) is None
    assert say(from_clients(even(64))) is PortsSay.SCATTERED
    assert ports_say(statistics(from_clients(even(64)), shift=0.45)) is PortsSay.CHANGED


def test_ports_in_use_shift_little_unless_they_lie_side_by_side() -> None:
    strewn, block = range(1024, 65_535, 2), range(32_768, 42_768)
    assert shift_by((), WHOLE) == 0
    assert shift_by(range(600), WHOLE) == 0
    assert shift_by([5_000], WHOLE) <= 0.001
    assert shift_by(strewn, WHOLE) < 0.005
    assert 0.152 < shift_by(block, WHOLE) < 0.158
    assert 0.03 < shift_by(range(1024, 2048), WHOLE) < 0.04
    assert shift_by(range(1024, 65_536), WHOLE) == 1


@pytest.mark.parametrize("among", [WHOLE, NatRange(0, 65_535), NatRange(2_000, 2_010), NatRange(2_000, 2_001)])
def test_the_needed_tell_kept_from_drawn_and_both_from_a_mixture(among: NatRange) -> None:
    for_kept, for_changed = needed_for_kept(among), needed_for_changed(among)
    assert for_kept is not None
    assert for_changed is not None
    collided = most_collisions(for_kept, 0.0)
    assert most_by_chance(for_kept, among.likeliest, PRESERVED_BUDGET) + collided < for_kept
    anew = (1 - among.likeliest + 0.01) / 2
    assert 1 - chance_of(collided, for_kept, anew) <= 1e-3
    assert 1 - chance_of(most_by_chance(for_changed, among.likeliest, PRESERVED_BUDGET), for_changed, 1 - anew) <= 1e-3


def test_small_ranges_and_busy_ones_take_more_and_single_ports_never_tell() -> None:
    for needed in (needed_for_kept, needed_for_changed):
        small, whole, busy = needed(NatRange(2_000, 2_010)), needed(WHOLE), needed(WHOLE, 0.6)
        assert small is not None
        assert whole is not None
        assert busy is not None
        assert small > whole < busy
        assert needed(NatRange(2_000, 2_000)) is None
        assert needed(WHOLE, 1.0) is None
    single = PortRange(first=2_000, last=2_000)
    assert say([pair(2_000, 2_000) for _ in range(5_000)], single) is PortsSay.TOO_FEW


@pytest.mark.parametrize("share", [0.16, 0.46])
def test_drawn_ports_are_told_where_ports_are_in_use_by_the_ten_thousand(share: float) -> None:
    assert say(from_clients(even(64)), in_use=share) is PortsSay.SCATTERED


@pytest.mark.parametrize("held", [(), range(32_768, 42_768)])
def test_ports_in_use_shift_what_is_drawn_by_no_more_than_their_share(held: Sequence[int]) -> None:
    """Even ten thousand side by side, whose draws fall to others: none of 60 runs is called uneven."""
    taken = bytearray(65_536)
    for port in held:
        taken[port] = 1
    chance = Chance(5)  # noqa: S311 - a seeded simulation

    def run() -> Statistics:
        ports = Ports(chance, taken, CLIENTS)
        drawn = (ports.drawn(0) for _ in range(500))
        return statistics(
            from_clients(port for port in drawn if port), unseen_share=len(held) / 64_512, shift=shift_by(held, WHOLE)
        )

    assert all(ports_say(run(), len(held) / 64_512) is PortsSay.SCATTERED for _ in range(60))
