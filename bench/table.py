"""Rows as a person reads them: one line each for a terminal, and a Markdown table. Pure."""

from collections.abc import Iterable

from bench.rows import Row

SIGNS = {"at most": "≤", "at least": "≥"}
MET = {True: "met", False: "not met", None: "–"}
NONE = "–"


def line(row: Row) -> str:
    """For a terminal: the figure, and below it the numbers and the note."""
    numbers = f"{number(row['ours']):>14}{number(row['peer']):>14}{_ratio(row):>10}  {goal(row):<10}{MET[row['met']]}"
    return "\n    ".join(filter(None, (row["figure"], numbers, row["note"])))


def markdown(rows: Iterable[Row], caption: str) -> str:
    lines = [
        caption,
        "",
        "| figure | ours | peer | ratio | goal | |",
        "|---|---:|---:|---:|---:|---|",
        *map(_cells, rows),
    ]
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> str:
    remark = "; ".join(filter(None, (MET[row["met"]], row["note"])))
    cells = (row["figure"], number(row["ours"]), number(row["peer"]), _ratio(row), goal(row), remark)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def number(value: float | None) -> str:
    """Three significant digits, or all those before the point: `0.0123`, `1.50`, `23.4`, `2,311,004`."""
    if value is None:
        return NONE
    for least, digits in ((100, 0), (10, 1), (1, 2), (0.1, 3)):
        if abs(value) >= least:
            return f"{value:,.{digits}f}"
    return f"{value:.3g}"


def _ratio(row: Row) -> str:
    return number(row["ratio"])


def goal(row: Row) -> str:
    return f"{SIGNS[row['sense']]} {row['goal']:g} ×"


def state(row: Row) -> str:
    """In a word or two: whether the goal is met, or why nobody can say."""
    for why in ("void", "not measured"):
        if row["note"].startswith(f"{why}:"):
            return why
    return MET[row["met"]]
