"""Rows: which goal is met, and how they are told."""

from bench.processes import why
from bench.rows import at_least, informs, noted, row, then, unmeasured, void
from bench.table import line, markdown, number, state


def test_less_is_better_for_one_kind_and_more_for_the_other() -> None:
    assert (row("x", 5, 10, 0.5)["met"], row("x", 5.1, 10, 0.5)["met"]) == (True, False)
    assert (at_least("x", 8, 10, 0.8)["met"], at_least("x", 7.9, 10, 0.8)["met"]) == (True, False)
    assert row("x", 5, 10, 0.5)["ratio"] == 0.5


def test_a_peer_of_nothing_has_no_ratio_and_can_be_met() -> None:
    assert (row("sockets", 0, 0, 1.0)["ratio"], row("sockets", 0, 0, 1.0)["met"]) == (None, True)
    assert row("sockets", 1, 0, 1.0)["met"] is False


def test_what_is_void_or_unmeasured_meets_nothing_and_says_why() -> None:
    nothing = void(at_least("x", 9, 10, 0.8), "the generator was the limit")
    assert (nothing["ours"], nothing["met"], nothing["note"]) == (9, None, "void: the generator was the limit")
    missing = unmeasured("x", 0.5, "at most", "iperf3 is not installed.")
    assert (missing["ours"], missing["ratio"], missing["met"]) == (None, None, None)
    assert line(missing).endswith("not measured: iperf3 is not installed.")


def test_a_second_goal_is_told_and_decides_nothing() -> None:
    first = then(at_least("x", 9, 10, 0.8, "and more"), 1.0)
    assert (first["met"], first["goal"], first["note"]) == (True, 0.8, "the second goal, 1 ×, is not met; and more")
    assert then(at_least("x", 10, 10, 0.8), 1.0)["note"] == "the second goal, 1 ×, is met"
    assert then(row("x", 1, 10, 0.8), 0.05)["note"] == "the second goal, 0.05 ×, is not met"
    nothing = void(at_least("x", 10, 10, 0.8), "the generator was the limit")
    assert then(nothing, 1.0) == nothing


def test_a_row_to_be_read_beside_another_meets_nothing() -> None:
    limit = informs(row("x", 1, 2, 1.0, "40 pairs"), "the kernel's price")
    assert (limit["ratio"], limit["met"], limit["note"]) == (0.5, None, "the kernel's price; 40 pairs")


def test_notes_are_added_to_one_another() -> None:
    assert noted(noted(row("x", 1, 2, 1.0), "one"), "two")["note"] == "one; two"


def test_a_rows_state_says_why_nobody_can_say() -> None:
    met, missed = row("x", 1, 2, 1.0), row("x", 3, 2, 1.0)
    states = [state(each) for each in (met, missed, void(met, "why"), unmeasured("x", 1, "at most", "why"))]
    assert states == ["met", "not met", "void", "not measured"]
    assert state(informs(met, "why")) == "–"


def test_numbers_have_three_digits_or_all_before_the_point() -> None:
    told = [number(value) for value in (None, 0, 0.01234, 0.5, 1.5, 23.44, 250.4, 2311004.3)]
    assert told == ["–", "0", "0.0123", "0.500", "1.50", "23.4", "250", "2,311,004"]


def test_a_markdown_table_has_a_line_for_each_row_and_no_stray_column() -> None:
    rows = [row("a | b", 1, 2, 1.0), at_least("more", 3, 2, 1.0, "a note")]
    caption, empty, heads, dashes, *lines = markdown(rows, "when and where").splitlines()
    assert (caption, empty) == ("when and where", "")
    assert lines == [
        "| a \\| b | 1.00 | 2.00 | 0.500 | ≤ 1 × | met |",
        "| more | 3.00 | 2.00 | 1.50 | ≥ 1 × | met; a note |",
    ]
    assert heads.count("|") == dashes.count("|") == lines[1].count("|")


def test_a_failure_is_told_in_one_line() -> None:
    assert why(OSError(2, "No such\nfile")) == "FileNotFoundError: [Errno 2] No such file"
