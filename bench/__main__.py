"""Measures everything, or the groups that are named, prints a table, and writes build/bench.json and build/bench.md.

`python -m bench [GROUP…]`. The former is a list of rows (`bench.rows`), the latter a table for a page, below a line that says
when and where (`tools/bench-readme` takes both). What cannot be measured is
a row that says why.
"""

import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from bench.processes import why
from bench.rows import Row, unmeasured
from bench.table import line, markdown

# Each is a module with `measure() -> list[Row]`, imported when its turn comes.
GROUPS = {
    "capture": "bench.capture",
    "filters": "bench.filters",
    "beside": "bench.beside",
    "stress": "bench.stress",
    "stream": "bench.whole_way",
    "idle": "bench.idle",
    "traces": "bench.traces",
    "rules": "bench.rules",
    "conntrack": "bench.connection_tracking",
}


def main(names: Sequence[str]) -> None:
    """Raises SystemExit for a group that is none."""
    if unknown := [name for name in names if name not in GROUPS]:
        raise SystemExit(f"There is no group {unknown[0]}; there are {', '.join(GROUPS)}.")
    rows: list[Row] = []
    about = caption(os.getloadavg()[0])
    for name in names or GROUPS:
        began = time.monotonic()
        for row in measured(name):
            print(line(row), flush=True)
            rows.append(row)
        print(f"    {name}: {time.monotonic() - began:.0f} s", flush=True)
    build = Path("build")
    build.mkdir(exist_ok=True)
    (build / "bench.json").write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    (build / "bench.md").write_text(markdown(rows, about))


def measured(name: str) -> list[Row]:
    """The rows of a group, or one that says why there are none."""
    try:
        rows: list[Row] = import_module(GROUPS[name]).measure()
    except Exception as error:  # noqa: BLE001 - one group that fails must not take the others' figures with it
        return [unmeasured(name, 1.0, "at most", why(error))]
    return rows


def caption(load: float) -> str:
    """When, on what machine, of which commit; `load` is the average before the run (/proc/loadavg)."""
    commit = _output("git", "rev-parse", "--short", "HEAD") or "unknown"
    changed = " with changes" if _output("git", "status", "--porcelain", "-uno") else ""
    return (
        f"`make bench` of {time.strftime('%Y-%m-%d')}, commit {commit}{changed}: {machine(Path('/proc/cpuinfo').read_text())}, "
        f"Linux {platform.release()}, Python {platform.python_version()}, load {load:.1f} when it began."
    )


def machine(table: str) -> str:
    """Of the text of /proc/cpuinfo."""
    models = [line.partition(":")[2].strip() for line in table.splitlines() if line.startswith("model name")]
    count = sum(line.startswith("processor") for line in table.splitlines())
    virtual = " in a virtual machine" if re.search(r"^flags\s*:.*\bhypervisor\b", table, re.MULTILINE) else ""
    return f"{count} processors, {models[0] if models else platform.machine()}{virtual}"


def _output(*words: str) -> str:
    try:
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _end_cleanly() -> None:
    """Whoever ends this process finds no namespace and no process of it left: what is open is closed on the way out.

    Children that libraries fork are ended by the same signal, and have nothing to close.
    """
    own = os.getpid()

    def end(*_: object) -> None:
        if os.getpid() != own:
            os._exit(143)
        sys.exit(143)

    signal.signal(signal.SIGTERM, end)


if __name__ == "__main__":
    _end_cleanly()
    main(sys.argv[1:])
