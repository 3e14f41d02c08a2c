"""`pathtap snat` in every cell of the matrix of who translates, how, and in which situation; writes build/snat-matrix.md.

That the cells are what the kernel does is held by test_translation_matrix, with the same rules. Each lab is asked about one cell
after another, the labs beside each other: rules and settings change between cells, not the lab.
"""

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from labs import Bench, running
from translation.bed import arrange
from translation.further import further_cells
from translation.matrix import Place, cell, impossible, places
from translation.scene import Cell, Effect
from translation.table import Measured, table
from translation.traffic import BY_CHANCE

from pathtap.lab.build import LabOptions
from pathtap.lab.options import Backend, Family

pytestmark = pytest.mark.e2e

TABLE = Path(__file__).parents[2] / "build" / "snat-matrix.md"
POSSIBLE = {place: cell(place) for place in places() if not impossible(place)}
CONNECTIONS = 64

# Backend and family of a lab, and whether it is one for native rules: there are as many cells with them as without.
Kind = tuple[Backend, Family, bool]


def kind(wanted: Cell) -> Kind:
    return wanted.scene.backend, wanted.scene.family, wanted.scene.is_native


@pytest.fixture(scope="module")
def answers(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Any]]]:
    """By its cell's name, for each that one of the chosen tests has as `wanted`, in their order."""
    items = [item for item in request.session.items if item.path == request.path]
    chosen = [item.callspec.params for item in items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    wanted = [each for params in chosen if isinstance(each := params.get("wanted"), Cell)]
    kinds = list(dict.fromkeys(map(kind, wanted)))
    with ExitStack() as stack:
        pools = {each: ThreadPoolExecutor(1) for each in kinds}
        labs = {each: pools[each].submit(begun, stack, each, "abcdefgh"[i]) for i, each in enumerate(kinds)}
        try:
            yield {each.name: pools[kind(each)].submit(asked, labs[kind(each)], each) for each in wanted}
        finally:
            for pool in pools.values():
                pool.shutdown(cancel_futures=True)


def begun(stack: ExitStack, of: Kind, letter: str) -> Bench:
    backend, family, _ = of
    return stack.enter_context(running(LabOptions(prefix=f"sm{os.getpid()}{letter}", backend=backend, family=family)))


def asked(lab: Future[Bench], wanted: Cell) -> Any:
    """Ports mislead by chance, at most once in a thousand times: with a hundred cells, what contradicts is asked once more."""
    bench = lab.result()
    arrange(bench.cluster, wanted.scene)
    ask = (*wanted.asked.words, "--connections", str(CONNECTIONS))
    snat = bench.snat(*ask)
    if snat["verdict"] == "CONTRADICTORY":
        arrange(bench.cluster, wanted.scene)
        snat = bench.snat(*ask)
    return snat


@pytest.fixture(scope="module")
def measured() -> Iterator[dict[Place, Measured]]:
    """Filled by the cells' tests; what has come together is written as a table at the end."""
    found: dict[Place, Measured] = {}
    yield found
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(table(found))


def is_of(rule: Any, effect: Effect) -> bool:
    assert effect.store
    assert effect.flag
    said = (rule["backend"], rule["random"])
    return bool(said == (effect.store.value, effect.flag.value) and rule["chain"].startswith(effect.chain))


def hold(snat: Any, wanted: Cell) -> None:
    effect = wanted.effect
    assert (snat["verdict"], snat["exit_code"]) == (effect.verdict.value, effect.exit_code), snat["summary"]
    assert snat["as_intended"] is (effect.exit_code == 0)
    assert snat["connections"] == CONNECTIONS
    undecided = [each["rule"] for each in snat["rules"] if each["standing"] == "UNDECIDED"]
    first = [each["rule"] for each in snat["rules"] if each["standing"] == "FIRST"]
    if effect.store is None or effect.flag is None:
        assert not first + undecided
        assert "rule" not in snat
        assert snat["translated_to"] == ""
        assert all(pair["original"] == pair["translated"] for pair in snat["pairs"])
        return
    assert (len(first), bool(undecided)) == ((1, False) if effect.order_read else (0, True))
    assert [rule for rule in first + undecided if is_of(rule, effect)]
    if effect.order_read:
        assert snat["rule"] == first[0]
    assert snat["translated_to"] == "192.168.1.29"
    assert {pair["translated"]["address"] for pair in snat["pairs"]} == {"192.168.1.29"}
    assert snat["preserved"] == CONNECTIONS if effect.kept else snat["preserved"] <= BY_CHANCE


@pytest.mark.parametrize(("place", "wanted"), POSSIBLE.items(), ids=[str(place) for place in POSSIBLE])
def test_the_verdict_is_right_in_every_cell(
    answers: dict[str, Future[Any]], measured: dict[Place, Measured], place: Place, wanted: Cell
) -> None:
    snat = answers[wanted.name].result()
    measured[place] = Measured.of(snat)
    hold(snat, wanted)


@pytest.mark.parametrize("wanted", further_cells(), ids=lambda wanted: wanted.name)
def test_what_is_set_and_what_is_in_effect_are_told_apart(answers: dict[str, Future[Any]], wanted: Cell) -> None:
    hold(answers[wanted.name].result(), wanted)


def test_the_table_has_a_line_for_every_combination_and_a_reason_for_each_that_is_no_cell() -> None:
    lines = [line for line in table({}).splitlines() if line.startswith("|")][2:]
    assert [line.endswith("| not asked |  |  |  |") for line in lines] == [place in POSSIBLE for place in places()]
    assert all(impossible(place) in line for place, line in zip(places(), lines, strict=True))
