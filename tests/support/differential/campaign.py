"""Runs many configurations in several processes, each with namespaces of its own, and adds up what they saw.

    python -m differential.campaign --seed 1 --first 0 --last 500 --part 0/2

is one process: it prints a tally as JSON after each generation, 20 configurations on one bed, and stops after the present
configuration when it is told to end.
"""

import argparse
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType

from differential import cases, drawing, packets
from differential.bed import Bed, RefusedConfigurationError
from differential.exchange import Exchange
from differential.judge import contradiction
from differential.scene import IPV4, IPV6
from differential.tally import Tally
from pathtap.forwarding import NodeModel

GENERATION = 20
OPENINGS = 11
PACKETS = 20
SUPPORT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`first` to before `last` of the seed's configurations; `kept` is where contradictions are written, None for nowhere."""

    seed: str
    first: int
    last: int
    kept: Path | None = None


def run(plan: Plan, processes: int, progress: Callable[[Tally], None]) -> Tally:
    """Everything of the plan, spread over processes, which are ended when this is interrupted. `progress` hears of each step."""
    whole = Tally()
    with tempfile.TemporaryDirectory() as directory:
        workers = [_start(plan, f"{part}/{processes}", Path(directory)) for part in range(processes)]
        try:
            _gather(workers, whole, progress)
        except KeyboardInterrupt:
            for worker in workers:
                worker.terminate()
            _gather(workers, whole, progress)
        finally:
            for worker in workers:
                worker.kill() if worker.poll() is None else None
                worker.wait()
    failed = [worker.returncode for worker in workers if worker.returncode]
    if failed:
        raise RuntimeError(f"{len(failed)} of {processes} processes failed; what they printed stands above")
    return whole


def _start(plan: Plan, part: str, directory: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "differential.campaign", "--seed", plan.seed, "--part", part]
    command += ["--first", str(plan.first), "--last", str(plan.last)]
    command += ["--kept", str(plan.kept)] if plan.kept else []
    lock = directory / part.replace("/", "-")
    environment = {**os.environ, "PYTHONPATH": str(SUPPORT), "XTABLES_LOCKFILE": str(lock)}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, cwd=SUPPORT, start_new_session=True
    )


def _gather(workers: "list[subprocess.Popen[str]]", whole: Tally, progress: Callable[[Tally], None]) -> None:
    """Until every process has closed its output; each writes a line for a generation."""
    open_ = {worker.stdout: worker for worker in workers if worker.stdout and not worker.stdout.closed}
    while open_:
        for stream in select.select(list(open_), [], [])[0]:
            line = stream.readline()
            if not line:
                del open_[stream]
                stream.close()
                continue
            whole.merge(Tally.from_json(line))
            progress(whole)


class Worker:
    """One process's share of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._ended = False

    def end(self, _number: int, _frame: FrameType | None) -> None:
        self._ended = True

    def run(self, part: int, parts: int) -> None:
        for start in range(self._plan.first, self._plan.last, GENERATION):
            generation = start // GENERATION
            if generation % parts == part and not self._ended:
                print(self._generation(generation, min(start + GENERATION, self._plan.last)).to_json(), flush=True)  # noqa: T201

    def _generation(self, generation: int, last: int) -> Tally:
        """Every fourth generation is IPv6, every other one of a node without legacy tables."""
        bed = Bed(IPV6 if generation % 4 == 3 else IPV4)
        found = Tally()
        try:
            for number in range(generation * GENERATION, last):
                if not self._ended:
                    self._configuration(bed, number, generation % 2 == 0 or generation % 8 == 7, found)
        finally:
            bed.close()
        return found

    def _configuration(self, bed: Bed, number: int, legacy: bool, found: Tally) -> None:
        dice = Random(f"{self._plan.seed}/{number}")  # noqa: S311 (a reproducible draw, no secret)
        drawn = drawing.draw(dice, bed.scene, legacy=legacy)
        try:
            bed.configure(drawn)
        except RefusedConfigurationError as error:
            found.refused.append(f"configuration {number}: {error}")
            return
        snapshot = bed.snapshot()
        bed.listen()
        by_ports = any("port " in rule for rule in drawn.rules)
        openings = [packets.opening(dice, bed.scene, each, by_ports=by_ports) for each in range(PACKETS)]
        found.counts["configurations"] += 1
        for each in Exchange(bed, NodeModel(snapshot)).run(openings, OPENINGS):
            wrong = "" if each.prediction.unknown else contradiction(each.prediction, each.sight)
            found.add(each, wrong)
            if not wrong:
                continue
            packet = each.sent.packet
            why = f"{each.sent.kind} {packet.five_tuple} by {packet.in_interface or 'the node'}: {wrong}"
            found.contradictions.append(f"configuration {number} of seed {self._plan.seed}: {why}")
            if self._plan.kept:
                name = f"seed-{self._plan.seed}-{number}-{each.sent.token - packets.FIRST_TOKEN}"
                cases.write(self._plan.kept / name, drawn, cases.of(each, snapshot, why))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", required=True)
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--last", type=int, required=True)
    parser.add_argument("--kept", type=Path)
    told = parser.parse_args()
    worker = Worker(Plan(seed=told.seed, first=told.first, last=told.last, kept=told.kept))
    signal.signal(signal.SIGTERM, worker.end)
    part, _, parts = told.part.partition("/")
    worker.run(int(part), int(parts))


if __name__ == "__main__":
    main()
