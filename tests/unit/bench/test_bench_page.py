"""README's table: its rows, their order and names, and what stands below it."""

import re
from pathlib import Path

import pytest

from bench.__main__ import machine
from bench.beside import ABOVE, COST, KERNELS, LOSS
from bench.capture import COST as PACKET
from bench.capture import KEPT, KEPT_CROWDED, LOSSLESS, LOSSLESS_CROWDED, SCAPY, SCAPY_CROWDED
from bench.page import BEGIN, END, HEADS, LINES, placed, section
from bench.rows import Row, at_least, row, then, void
from bench.stress import COMPUTING, DELIVERED, HIGHEST, MEDIAN, PROCESSOR, STRESSES
from bench.whole_way import FIGURE as EVENTS

ROOT = Path(__file__).parents[3]
CPUINFO = """processor	: 0
model name	: AMD EPYC
flags		: fpu vme hypervisor lahf_lm

processor	: 1
model name	: AMD EPYC
flags		: fpu vme hypervisor lahf_lm
"""


def rows_of_a_run() -> list[Row]:
    return [row(line.figure, 1, 2, 1.0) for line in LINES]


def shown() -> str:
    (text,) = re.findall(f"{re.escape(BEGIN)}\n(.*?)\n{re.escape(END)}", (ROOT / "README.md").read_text(), re.DOTALL)
    return str(text)


def test_readme_has_a_date_a_machine_and_every_row() -> None:
    caption, _, heads, dashes, *lines = shown().splitlines()
    assert re.search(r"of 20\d\d-\d\d-\d\d, commit [0-9a-f]+.*: \d+ processors, .*Linux \d", caption)
    assert heads == f"| {' | '.join(HEADS)} |"
    table = [line for line in lines if line.startswith("|")]
    assert [line.split(" | ")[0].removeprefix("| ") for line in table] == [line.name for line in LINES]
    assert {line.count("|") for line in (heads, dashes, *table)} == {len(HEADS) + 1}


def test_every_figure_that_has_a_goal_is_on_the_page_once() -> None:
    captures = (KEPT, KEPT_CROWDED, LOSSLESS, LOSSLESS_CROWDED, SCAPY, SCAPY_CROWDED, PACKET)
    besides = [figure.format(protocol) for figure in (COST, KERNELS, ABOVE) for protocol in ("UDP", "TCP")]
    stresses = [figure.format(name) for figure in (DELIVERED, MEDIAN, HIGHEST, PROCESSOR) for name in STRESSES]
    for figure in (*captures, *besides, *stresses, COMPUTING, LOSS, EVENTS):
        assert len([line for line in LINES if figure.startswith(line.figure)]) == 1, figure


def test_no_line_takes_the_row_of_another() -> None:
    assert section(rows_of_a_run(), "when").count("× | met |") == len(LINES)


def test_a_run_of_some_groups_is_refused() -> None:
    with pytest.raises(ValueError, match="0 rows of 'packets/s kept under a flood"):
        section(rows_of_a_run()[1:], "when")


def test_rows_come_in_the_order_of_the_page_whatever_that_of_the_run() -> None:
    assert section(reversed(rows_of_a_run()), "when") == section(rows_of_a_run(), "when")


def test_what_is_void_or_missed_says_why_below_and_what_is_met_does_not() -> None:
    kept, crowded, lossless, *others = rows_of_a_run()
    text = section(
        [
            void({**kept, "met": None}, "the generator was the limit"),
            row(crowded["figure"], 3, 2, 1.0, "19.00% kept"),
            then(at_least(lossless["figure"], 9, 10, 0.8), 1.0),
            row(others[0]["figure"], 1, 2, 1.0, "two processes"),
            *others[1:],
        ],
        "when",
    )
    states = [line.rstrip(" |").rpartition("| ")[2] for line in text.splitlines() if line.startswith("| ")]
    assert states[1:5] == ["void", "not met", "met", "met"]
    assert [line for line in text.splitlines() if line.startswith("* ")] == [
        "* Kept under a flood, packets/s: void: the generator was the limit.",
        "* Kept under a flood, packets/s, with 2.7 % of a processor: 19.00% kept.",
        "* Highest rate without loss, packets/s: the second goal, 1 ×, is not met.",
    ]


def test_a_page_keeps_what_is_around_its_marks() -> None:
    assert placed(f"a\n{BEGIN}\nold\n{END}\nz\n", "new\n") == f"a\n{BEGIN}\nnew\n{END}\nz\n"
    with pytest.raises(ValueError, match="needs one"):
        placed("a page without marks", "new")


def test_a_machine_is_told_by_its_processors() -> None:
    assert machine(CPUINFO) == "2 processors, AMD EPYC in a virtual machine"
    assert machine(CPUINFO.replace("hypervisor ", "")) == "2 processors, AMD EPYC"
