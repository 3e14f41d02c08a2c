"""Two labs for all end-to-end tests, unlike each other in everything that can be chosen."""

import os
from collections.abc import Iterator

import pytest
from labs import Bench, running

from pathtap.lab.build import LabOptions


@pytest.fixture(scope="session")
def lab() -> Iterator[Bench]:
    """iptables-nft, eth0 and eth1, RETURN form: a node of today."""
    with running(LabOptions(prefix=f"e{os.getpid()}a")) as bench:
        yield bench


@pytest.fixture(scope="session")
def legacy_lab() -> Iterator[Bench]:
    """iptables-legacy, ens5 and ens6, jump form, and neither IMDS nor ipamd."""
    options = LabOptions(prefix=f"e{os.getpid()}b", backend="legacy", names="ens", chains="jump", metadata=False)
    with running(options) as bench:
        yield bench


@pytest.fixture
def lab_to_break() -> Iterator[Bench]:
    """A lab of one test's own, whose processes it may kill."""
    with running(LabOptions(prefix=f"e{os.getpid()}c")) as bench:
        yield bench


@pytest.fixture(params=["lab", "legacy_lab"], ids=["nft", "legacy"])
def bench(request: pytest.FixtureRequest) -> Bench:
    chosen: Bench = request.getfixturevalue(request.param)
    return chosen
