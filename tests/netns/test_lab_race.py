"""Two pods race with equal source ports to one destination: without a flag flows are lost, with --random-fully they are not; and
ports that run out are told apart from that."""

import os
from collections.abc import Iterator
from typing import Literal

import pytest
from click.testing import CliRunner

from pathtap.cli.program import cli
from pathtap.collector.proving.depletion import EXHAUSTED_SHARE, Cause
from pathtap.lab import conntrack_table
from pathtap.lab.build import LabOptions, build, tear_down
from pathtap.lab.errors import LabError
from pathtap.lab.kernel import inside
from pathtap.lab.procfs import marked
from pathtap.lab.racing import CAPACITY, MOST_PAIRS, Race, race
from pathtap.lab.topology import INTERNET_HOST, Cluster

pytestmark = pytest.mark.netns

# Far from exhaustion: 2,000 flows for 64,512 ports.
PAIRS = 1_000
# With --random-fully two that choose at the same moment choose one port once in 64,512 times: one run of sixty with 1,000 pairs
# loses one. Three runs on end do so four times in a million.
RUNS = 3


BACKENDS: tuple[Literal["nft", "legacy"], ...] = ("nft", "legacy")


@pytest.fixture(scope="module", params=BACKENDS)
def labs(request: pytest.FixtureRequest) -> Iterator[dict[str, Cluster]]:
    """By the flag of their SNAT rules."""
    name = f"t{os.getpid()}{request.param[0]}"
    kept = LabOptions(prefix=f"{name}k", backend=request.param, randomize="none")
    fully = LabOptions(prefix=f"{name}f", backend=request.param, randomize="prng")
    try:
        yield {"": build(kept), "--random-fully": build(fully)}
    finally:
        for options in (kept, fully):
            tear_down(options.prefix)


@pytest.fixture
def kept(labs: dict[str, Cluster]) -> Cluster:
    return labs[""]


@pytest.fixture
def fully(labs: dict[str, Cluster]) -> Cluster:
    return labs["--random-fully"]


def lost(run: Race) -> int:
    """What the node's counters and its table agree on."""
    assert run.sent == 2 * run.pairs
    assert run.rose["insert_failed"] == run.rose["drop"] == run.sent - run.entries
    return run.rose["insert_failed"]


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_without_a_flag_flows_are_lost_far_from_exhaustion(kept: Cluster, protocol: str) -> None:
    run = race(kept, PAIRS, protocol)
    assert lost(run) > 0
    assert run.lost.cause is Cause.RACE
    assert run.lost.mended_by_flag
    assert run.lost.share < 2 * PAIRS / CAPACITY


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_fully_random_ports_lose_none(fully: Cluster, protocol: str) -> None:
    runs = (race(fully, PAIRS, protocol) for _ in range(RUNS))
    kept_all = next((run for run in runs if lost(run) == 0), None)
    assert kept_all is not None
    assert kept_all.lost.cause is Cause.NONE
    assert kept_all.entries == 2 * PAIRS


@pytest.mark.parametrize("flag", ["", "--random-fully"])
def test_with_thirty_thousand_pairs_the_ports_run_out_with_every_flag(labs: dict[str, Cluster], flag: str) -> None:
    run = race(labs[flag], 30_000, "udp", apart=True)
    # One pod after the other races nothing. Some of 60,000 find no port; by far most do.
    assert 0 < lost(run) < 3_000
    assert run.lost.cause is Cause.DEPLETION
    assert run.lost.share > EXHAUSTED_SHARE
    assert not run.lost.mended_by_flag


def test_one_after_the_other_nothing_races(kept: Cluster) -> None:
    run = race(kept, PAIRS, "udp", apart=True)
    assert lost(run) == 0
    assert run.lost.cause is Cause.NONE


def test_the_command_says_what_happened_and_leaves_no_process(kept: Cluster) -> None:
    prefix = kept.options.prefix
    before = set(marked(prefix))
    result = CliRunner().invoke(cli, ["lab", "race", "--prefix", prefix, "--pairs", "500"])
    assert result.exit_code == 0, result.output
    first, *_, last = result.stdout.splitlines()
    assert first.startswith(
        "500 pairs of udp flows from shop/cart and shop/web to 198.51.100.8:9, source ports 10000 to 10499"
    )
    assert last.startswith("RACE: ")
    assert set(marked(prefix)) == before


def test_who_holds_which_port_is_what_the_entries_say(kept: Cluster) -> None:
    race(kept, 50, "udp", apart=True)
    node = kept.nodes[0]
    held = inside(
        node.network_namespace,
        lambda: conntrack_table.held_towards(17, (INTERNET_HOST, 9)),
    )
    cart, web = (kept.pod(f"shop/{name}").address for name in ("cart", "web"))
    assert {each.translated for each in held} == {node.address}
    assert {each.port for each in held if each.source == cart} == set(range(10_000, 10_050))
    assert len({each.port for each in held if each.source == web} - set(range(10_000, 10_050))) == 50


def test_more_pairs_than_ports_are_refused(kept: Cluster) -> None:
    with pytest.raises(LabError, match="1 to 32000 pairs"):
        race(kept, MOST_PAIRS + 1, "udp")
