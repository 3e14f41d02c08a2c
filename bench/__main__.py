"""Measures everything, prints a table and writes build/bench.json: a list of {figure, ours, peer, ratio, goal, met}."""

import json
from pathlib import Path

from bench import connection_tracking, rules, traces
from bench.rows import Row


def main() -> None:
    rows: list[Row] = []
    for measure in (rules.measure, connection_tracking.measure, traces.measure):
        for row in measure():
            print(f"{row['figure']:<88}{row['ours']:>9.1f}{row['peer']:>9.1f}{row['ratio']:>7.2f} of {row['goal']:g}")
            rows.append(row)
    Path("build").mkdir(exist_ok=True)
    Path("build/bench.json").write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
