"""The matrix of who translates, on the kernel alone: the rule that a cell names takes the connections, and ports are as it says.

What `pathtap snat` makes of it is held by test_snat_matrix.
"""

import os
from collections.abc import Iterator

import pytest
from translation.bed import arrange, translate
from translation.further import further_cells
from translation.matrix import cells, impossible, places
from translation.scene import Cell

from pathtap.lab.build import LabOptions, build, tear_down
from pathtap.lab.topology import Cluster

pytestmark = pytest.mark.netns

CONNECTIONS = 24
# A random choice keeps three of 24 ports once in some hundred thousand million runs.
BY_CHANCE = 2


def kind(cell: Cell) -> tuple[str, str]:
    return cell.scene.backend, cell.scene.family


@pytest.fixture(scope="module")
def labs() -> Iterator[dict[tuple[str, str], Cluster]]:
    made: dict[tuple[str, str], Cluster] = {}
    try:
        for index, (backend, family) in enumerate(dict.fromkeys(map(kind, cells()))):
            options = LabOptions(prefix=f"tm{os.getpid()}{'abcd'[index]}", backend=backend, family=family)  # type: ignore[arg-type]
            made[backend, family] = build(options)
        yield made
    finally:
        for cluster in made.values():
            tear_down(cluster.options.prefix)


def test_every_combination_is_a_cell_or_says_why_it_is_none() -> None:
    assert len(places()) == 3 * 3 * 5 * 4
    assert len(set(places())) == len(places())
    assert len(cells()) + sum(bool(impossible(place)) for place in places()) == len(places())


@pytest.mark.parametrize("cell", [*cells(), *further_cells()], ids=lambda cell: cell.name)
def test_the_kernel_translates_as_the_cell_says(labs: dict[tuple[str, str], Cluster], cell: Cell) -> None:
    cluster = labs[kind(cell)]
    arrange(cluster, cell.scene)
    translated = translate(cluster, cell.scene, cell.asked, CONNECTIONS)
    assert len(translated.pairs) == CONNECTIONS
    if cell.effect.store is None:
        assert not translated.hits
        assert all(before == after for before, after in translated.pairs)
        return
    ((store, chain), taken), *others = translated.hits.items()
    assert not others
    assert (store, chain.startswith(cell.effect.chain), taken) == (cell.effect.store, True, CONNECTIONS)
    assert {address for _, (address, _) in translated.pairs} == {str(cluster.nodes[0].address)}
    assert translated.preserved == CONNECTIONS if cell.effect.kept else translated.preserved <= BY_CHANCE
