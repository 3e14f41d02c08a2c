"""`pathtap snat` in every cell of the matrix of who translates, how, and in which situation; writes build/snat-matrix.md.

That the cells are what the kernel does is held by test_translation_matrix, with the same rules.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from labs import Bench, running
from translation.bed import arrange
from translation.further import further_cells
from translation.matrix import Place, cell, cells, impossible, places
from translation.scene import Cell, Effect
from translation.table import Measured, table

from pathtap.lab.build import LabOptions

pytestmark = pytest.mark.e2e

TABLE = Path(__file__).parents[2] / "build" / "snat-matrix.md"
POSSIBLE = [place for place in places() if not impossible(place)]
# A random choice keeps three of 64 ports once in some thousand million runs.
BY_CHANCE = 2
CONNECTIONS = 64

Kind = tuple[str, str]


def kind(wanted: Cell) -> Kind:
    return wanted.scene.backend, wanted.scene.family


@pytest.fixture(scope="module")
def labs() -> Iterator[dict[Kind, Bench]]:
    """One of each backend and family: between cells rules and settings change, not the lab."""
    with ExitStack() as stack:
        made = {}
        for index, (backend, family) in enumerate(dict.fromkeys(map(kind, cells()))):
            options = LabOptions(prefix=f"sm{os.getpid()}{'abcd'[index]}", backend=backend, family=family)  # type: ignore[arg-type]
            made[backend, family] = stack.enter_context(running(options))
        yield made


@pytest.fixture(scope="module")
def measured() -> Iterator[dict[Place, Measured]]:
    """Filled by the cells' tests; what has come together is written as a table at the end."""
    found: dict[Place, Measured] = {}
    yield found
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(table(found))


def asked(labs: dict[Kind, Bench], wanted: Cell) -> Any:
    bench = labs[kind(wanted)]
    arrange(bench.cluster, wanted.scene)
    return bench.snat(*wanted.asked.words, "--connections", str(CONNECTIONS))


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


@pytest.mark.parametrize("place", POSSIBLE, ids=str)
def test_the_verdict_is_right_in_every_cell(
    labs: dict[Kind, Bench], measured: dict[Place, Measured], place: Place
) -> None:
    wanted = cell(place)
    snat = asked(labs, wanted)
    measured[place] = Measured.of(snat)
    hold(snat, wanted)


@pytest.mark.parametrize("wanted", further_cells(), ids=lambda wanted: wanted.name)
def test_what_is_set_and_what_is_in_effect_are_told_apart(labs: dict[Kind, Bench], wanted: Cell) -> None:
    snat = asked(labs, wanted)
    hold(snat, wanted)


def test_the_table_has_a_line_for_every_combination() -> None:
    lines = table({}).splitlines()
    assert len(lines) == len(places()) + 2 + sum(1 for line in lines if not line.startswith("|"))
    assert all(impossible(place) in table({}) for place in places())
