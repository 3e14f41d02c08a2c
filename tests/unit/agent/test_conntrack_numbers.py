"""Conntrack's counters by processor, and its sysctls, from files as kernels of several ages write them."""

from pathlib import Path

import pytest

from pathtap.agent.readers import conntrack_sysctls, counters
from pathtap.model.survey import CpuCounters

HEAD = (
    "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  "
    "expect_new expect_create expect_delete search_restart\n"
)
# Numbers are hexadecimal, and the first is that of all processors.
TEXT = (
    HEAD
    + "0000a012  00000002 0000001f 0 00000010 0 0 00000000 0 0000000a 0000000b 0000000c 0 0 0 0 0000ffff\n"
    + "0000a012  00000000 00000000 0 00000000 0 0 00000000 0 00000001 00000000 00000000 0 0 0 0 00000000\n"
)


def test_each_processor_has_its_line() -> None:
    assert counters.decode_cpus({"stat/nf_conntrack": TEXT}) == (
        CpuCounters(
            cpu=0,
            counters={
                "insert_failed": 10,
                "drop": 11,
                "early_drop": 12,
                "clash_resolve": 2,
                "search_restart": 65535,
            },
        ),
        CpuCounters(
            cpu=1, counters={"insert_failed": 1, "drop": 0, "early_drop": 0, "clash_resolve": 0, "search_restart": 0}
        ),
    )


def test_they_add_up_to_what_a_snapshot_tells() -> None:
    decoded = counters.decode({"stat/nf_conntrack": TEXT})
    assert (decoded["conntrack.insert_failed"], decoded["conntrack.clash_resolve"]) == (11, 2)


def test_a_kernel_without_a_column_lacks_its_name() -> None:
    """Before 5.9 nothing was merged that clashed, and the column was another."""
    text = "entries  searched found insert_failed\n00000001  0 0 00000002\n"
    assert counters.decode_cpus({"stat/nf_conntrack": text}) == (CpuCounters(cpu=0, counters={"insert_failed": 2}),)


@pytest.mark.parametrize("texts", [{}, {"stat/nf_conntrack": ""}, {"stat/nf_conntrack": HEAD}])
def test_without_lines_there_are_no_processors(texts: dict[str, str]) -> None:
    assert counters.decode_cpus(texts) == ()


def test_a_sysctl_is_a_number_or_unknown(tmp_path: Path) -> None:
    (tmp_path / "nf_conntrack_count").write_text("832\n")
    (tmp_path / "nf_conntrack_max").write_text("many\n")
    names = ("nf_conntrack_count", "nf_conntrack_max", "nf_conntrack_events")
    assert [conntrack_sysctls.fetch(name, tmp_path) for name in names] == [832, None, None]
