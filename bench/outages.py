"""How long each end takes to notice that the other is gone, to find it again, and what becomes of traces and packets meanwhile.

Real agents and collectors in network namespaces, and in a lab the real command line; each case three times, and all of one time
side by side. Prints a table as Markdown and writes it to build/outages.md. `python -m bench.outages`; takes four minutes.
"""

import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.outage_cases import CASES, PAUSE
from bench.outage_lab import traces
from bench.processes import why

TIMES = 3
DROP, STOP, KILL = "iptables drops all TCP both ways", "SIGSTOP", "SIGKILL"
NOTICED, BACK = 20.0, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """`name` is what the cases call it, `most` what it may take: seconds, or with `unit` a number of something."""

    name: str
    what: str
    how: str
    most: float
    unit: str = "s"

    def row(self, values: Sequence[float]) -> tuple[str, ...]:
        met = "met" if len(values) == TIMES and max(values) <= self.most else "not met"
        figures = [self._told(max(values)), self._told(statistics.median(values))] if values else ["–", "–"]
        return (self.what, self.how, f"≤ {self.most:g} {self.unit}" if self.most else "none", *figures, met)

    def _told(self, value: float) -> str:
        return f"{value:.1f} s" if self.unit == "s" else f"{value:g}"


def _seconds(name: str, what: str, how: str, most: float) -> Promise:
    return Promise(name=name, what=what, how=how, most=most)


def _none(name: str, what: str, how: str) -> Promise:
    return Promise(name=name, what=what, how=how, most=0.0, unit="")


PROMISES: tuple[Promise, ...] = (
    *(
        promise
        for way in ("idle", "writing")
        for promise in (
            _seconds(f"agent, black hole, {way}", f"the agent ({way}) notices", DROP, NOTICED),
            _seconds(f"collector, black hole, {way}", f"the collector notices that agent ({way})", DROP, NOTICED),
            _seconds(f"agent, stopped, {way}", f"the agent ({way}) notices", f"{STOP} of the collector", NOTICED),
            _seconds(
                f"collector, stopped, {way}", f"the collector notices that agent ({way})", f"{STOP} of it", NOTICED
            ),
            _seconds(
                f"back after a black hole, {way}", f"the agent ({way} before) is back", "the rules are gone", BACK
            ),
            _seconds(
                f"back after the collector was stopped, {way}",
                f"the agent ({way} before) is back",
                "SIGCONT of the collector",
                BACK,
            ),
            _seconds(
                f"back after the agent was stopped, {way}", f"the agent ({way} before) is back", "SIGCONT of it", BACK
            ),
        )
    ),
    *(
        _seconds(
            f"back after {away} s",
            "the agent has found the collector again",
            f"{KILL}, started again {away} s later",
            BACK,
        )
        for away in (1, 15, 30)
    ),
    _none("lost", "packets lost of a capture that goes on", f"{STOP} of the collector for {PAUSE:g} s"),
    _none("twice", "packets that came twice of it", f"{STOP} of the collector for {PAUSE:g} s"),
    _none("sum", "packets neither delivered once nor counted", f"a capture whose stream breaks: {DROP}"),
    _seconds(
        "asked to end, agent", "the agent ends, in order, capturing", "SIGTERM while the collector is stopped", BACK
    ),
    _seconds(
        "asked to end, collector",
        "the collector ends, its trace with exit 4",
        "SIGTERM while the agent is stopped",
        BACK,
    ),
    _seconds("trace, agent killed", "a live trace ends, exit 4, and names the node", f"{KILL} of the agent", 15.0),
    _seconds("trace, agent asked to end", "the same", "SIGTERM of the agent", 15.0),
    _seconds("trace, agent stopped", "the same", f"{STOP} of the agent", NOTICED),
    _seconds("trace, agent black-holed", "the same", DROP, NOTICED),
    _seconds("trace, collector killed", "a live trace ends, exit 1 and a sentence", f"{KILL} of the collector", 15.0),
    _seconds(
        "trace, collector asked to end",
        "a live trace ends, exit 4, with what there is",
        "SIGTERM of the collector",
        15.0,
    ),
    _seconds(
        "trace, collector stopped", "a live trace ends, exit 1 and a sentence", f"{STOP} of the collector", NOTICED
    ),
    *(
        _seconds(f"resumes, {who}", "agents are connected again, and the next trace is well", f"{who}, and back", BACK)
        for who in (
            *(f"agent {how}" for how in ("killed", "asked to end", "stopped", "black-holed")),
            *(f"collector {how}" for how in ("killed", "asked to end", "stopped")),
        )
    ),
    *(
        _none(
            f"left, agent {how}",
            "rules, qdiscs, links, namespaces, sockets, processes left behind",
            f"agent {how}, capturing",
        )
        for how in ("killed", "asked to end")
    ),
)


def main() -> int:
    """The exit code: 1 where something is not as promised."""
    prefix = f"dp{os.getpid()}"
    found: dict[str, list[float]] = {promise.name: [] for promise in PROMISES}
    with ThreadPoolExecutor(len(CASES) + 1) as pool:
        labs = pool.submit(_labs, prefix)
        for time in range(TIMES):
            _keep(found, [pool.submit(case, f"{prefix}t{time}c{number}") for number, case in enumerate(CASES)])
        for measured in labs.result():
            _add(found, measured)
    rows = [promise.row(found[promise.name]) for promise in PROMISES]
    heading = ("what", "injected", "goal", "worst", "median", "")
    lines = [f"| {' | '.join(cells)} |" for cells in (heading, ("---",) * len(heading), *rows)]
    print("\n".join(lines))
    Path("build").mkdir(exist_ok=True)
    Path("build/outages.md").write_text("\n".join(lines) + "\n")
    return int(any(row[-1] != "met" for row in rows))


def _labs(prefix: str) -> list[Mapping[str, float]]:
    done = []
    for time in range(TIMES):
        try:
            done.append(traces(f"{prefix}l{time}"))
        except Exception as error:  # noqa: BLE001 - what could not be measured is a row that is not met
            _complain(error)
    return done


def _keep(found: dict[str, list[float]], cases: Sequence[Future[Mapping[str, float]]]) -> None:
    for case in cases:
        try:
            _add(found, case.result())
        except Exception as error:  # noqa: BLE001 - the same
            _complain(error)


def _add(found: dict[str, list[float]], measured: Mapping[str, float]) -> None:
    for name, value in measured.items():
        found[name].append(value)


def _complain(error: Exception) -> None:
    print(f"not measured: {why(error)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
