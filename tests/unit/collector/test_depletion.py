"""A race for ports is told apart from their lack: by the share in use, below which a search of the kernel never gives up."""

from random import Random as Chance

import pytest

from pathtap.collector.findings.ports import snat_ports_exhausted, snat_race_lost
from pathtap.collector.proving.depletion import EXHAUSTED_SHARE, Cause, lost_ports
from pathtap.model.netfilter import Random
from pathtap.model.trace import Severity

PORTS = 64_512
TOWARDS = "198.51.100.8:443"


def search(used: bytearray, chance: Chance) -> int | None:
    """nf_nat_l4proto_unique_tuple since Linux 5.0: the first free port of 128 from a random place, then of fewer from another."""
    attempts = 128
    while attempts >= 8:
        begin = chance.getrandbits(16) % len(used)
        around = used[begin : begin + attempts] + used[: max(begin + attempts - len(used), 0)]
        if (found := around.find(0)) >= 0:
            return (begin + found) % len(used)
        attempts //= 2
    return None


def given_up(until: float, seed: int) -> int:
    """How many searches find nothing while ports are taken one after the other until that share is in use."""
    chance, used, failed = Chance(seed), bytearray(PORTS), 0  # noqa: S311 - a seeded simulation
    for _ in range(int(until * PORTS)):
        port = search(used, chance)
        if port is None:
            failed += 1
        else:
            used[port] = 1
    return failed


@pytest.mark.parametrize("seed", range(3))
def test_no_search_gives_up_below_the_share_and_many_do_above(seed: int) -> None:
    assert given_up(EXHAUSTED_SHARE, seed) == 0
    assert 5 < given_up(0.93, seed) < 60


def test_where_a_client_took_its_ports_side_by_side_searches_give_up_as_is_stated() -> None:
    """(length of the block / capacity) ** 5, which no flag's absence makes an exhaustion."""
    used, chance = bytearray(PORTS), Chance(7)  # noqa: S311 - a seeded simulation
    used[10_000:42_000] = b"\1" * 32_000
    searches = 30_000
    expected = searches * (32_000 / PORTS) ** 5
    failed = sum(search(used, chance) is None for _ in range(searches))
    assert 0.8 * expected < failed < 1.1 * expected


@pytest.mark.parametrize(
    ("in_use", "lost", "random", "cause", "mended"),
    [
        # Figures of `pathtap lab race` on Linux 6.18 with two processors.
        (6_681, 3_319, Random.NONE, Cause.RACE, True),
        (10_000, 0, Random.FULLY, Cause.NONE, False),
        (39_140, 20_860, Random.NONE, Cause.RACE, True),
        (59_980, 20, Random.FULLY, Cause.DEPLETION, False),
        (59_141, 859, Random.NONE, Cause.DEPLETION, False),
        # One of two that chose one port of 64,512 by chance, or a race of DNAT.
        (9_999, 1, Random.FULLY, Cause.RACE, False),
        (9_999, 1, Random.RANDOM, Cause.RACE, True),
        # All ports are taken, and nobody asked for one more.
        (64_512, 0, Random.NONE, Cause.NONE, False),
    ],
)
def test_the_share_in_use_tells_a_race_from_a_lack(
    in_use: int, lost: int, random: Random, cause: Cause, mended: bool
) -> None:
    found = lost_ports(in_use=in_use, capacity=PORTS, lost=lost, random=random)
    assert (found.cause, found.mended_by_flag) == (cause, mended)
    assert found.share == in_use / PORTS


def test_the_one_port_of_a_rules_own_range_runs_out() -> None:
    assert lost_ports(in_use=1, capacity=1, lost=3, random=Random.FULLY).cause is Cause.DEPLETION
    assert lost_ports(in_use=0, capacity=0, lost=3, random=Random.FULLY).cause is Cause.DEPLETION


def test_counters_that_began_anew_tell_of_no_loss() -> None:
    assert lost_ports(in_use=60_000, capacity=PORTS, lost=-5, random=Random.NONE).cause is Cause.NONE


def test_a_lost_race_names_the_flag_where_it_helps_and_never_alone() -> None:
    without = snat_race_lost("n1", 3_319, TOWARDS, "6681 of 64512 ports of 192.168.1.29", True, ())
    fully = snat_race_lost("n1", 1, TOWARDS, "9999 of 64512 ports of 192.168.1.29", False, ())
    assert without.severity is fully.severity is Severity.WARNING
    assert "AWS_VPC_K8S_CNI_RANDOMIZESNAT=prng" in without.fix
    assert "RANDOMIZESNAT" not in fully.fix
    for finding in (without, fully):
        assert "behind its DNAT" in finding.text
        assert "no flag of SNAT mends" in finding.fix
    assert "dropped 3319 packets" in without.text
    assert "dropped a packet for" in fully.text


def test_a_lack_of_ports_is_an_error_once_it_cost_a_connection() -> None:
    now = snat_ports_exhausted(
        "n1", 20, TOWARDS, "59980 of 64512 ports of 192.168.1.29", "shop/cart (30000), shop/web (29980)", ()
    )
    soon = snat_ports_exhausted("n1", 0, TOWARDS, "59980 of 64512 ports of 192.168.1.29", "", ())
    assert (now.severity, soon.severity) == (Severity.ERROR, Severity.WARNING)
    assert "held by shop/cart (30000), shop/web (29980)" in now.text
    assert "dropped 20 packets" in now.text
    assert "held by" not in soon.text
    assert "if more come" in soon.text
    assert "RANDOMIZESNAT" not in now.fix
