"""How each of the lab's faults is found, and how long that takes: by a trace and by a check, in both iptables backends.

Prints a table as Markdown and writes it to build/faults.md. `python -m bench.faults [FAULT…]`; takes some minutes.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pathtap.lab.breaking import break_lab, heal_lab
from pathtap.lab.build import LabOptions, build, tear_down
from pathtap.lab.faults import FAULTS, Fault
from pathtap.lab.processes import start
from pathtap.lab.state import StateDirectory

Backend = Literal["nft", "legacy"]
BACKENDS: tuple[Backend, ...] = ("nft", "legacy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`codes` of the findings in their order; `missing` those that should have been among them."""

    codes: tuple[str, ...]
    missing: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        named = ", ".join(dict.fromkeys(self.codes)) or "–"
        lack = f" MISSING {', '.join(self.missing)}" if self.missing else ""
        return f"{named}{lack} ({self.seconds:.1f} s)"


@contextmanager
def lab(backend: Backend) -> Iterator[str]:
    options = LabOptions(prefix=f"f{os.getpid()}{backend[0]}", backend=backend)
    try:
        start(build(options))
        yield options.prefix
    finally:
        tear_down(options.prefix)


def ask(prefix: str, words: Sequence[str], wanted: Sequence[str]) -> Found:
    """One command of pathtap, as a person runs it, Python's start included."""
    began = time.monotonic()
    collector = f"unix:{StateDirectory(prefix).socket}"
    argv = [sys.executable, "-m", "pathtap.cli", "--collector", collector, *words, "-o", "json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
    answer = json.loads(done.stdout)
    codes = tuple(finding["code"] for finding in answer.get("verdict", answer)["findings"])
    missing = tuple(code for code in wanted if code not in codes)
    return Found(codes=codes, missing=missing, seconds=time.monotonic() - began)


def measure(prefix: str, fault: Fault) -> tuple[Found, Found]:
    """What a trace and what a check find while the fault is in force."""
    break_lab(prefix, fault.name)
    try:
        traced = ask(prefix, [*shlex.split(fault.shown_by)[1:], "--timeout", "1.5"], fault.traced_as)
        return traced, ask(prefix, ["check"], fault.checked_as)
    finally:
        heal_lab(prefix, fault.name)


def rows(backend: Backend, chosen: Sequence[Fault]) -> Iterator[tuple[str, ...]]:
    with lab(backend) as prefix:
        for fault in chosen:
            refusal = fault.refusal(LabOptions(prefix=prefix, backend=backend))
            yield (fault.name, backend, *((refusal, "") if refusal else map(str, measure(prefix, fault))))


def main(names: Sequence[str]) -> None:
    chosen = [fault for fault in FAULTS if not names or fault.name in names]
    lines = ["| fault | backend | trace | check |", "|---|---|---|---|"]
    print("\n".join(lines))
    for backend in BACKENDS:
        for row in rows(backend, chosen):
            lines.append(f"| {' | '.join(row)} |")
            print(lines[-1], flush=True)
    Path("build").mkdir(exist_ok=True)
    Path("build/faults.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
