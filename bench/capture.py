"""How many packets a capture keeps, and what each costs, beside tcpdump and scapy.sniff on the same frames.

Each listener is a process on one processor, the generator is on the other. Rates are medians in packets/s.
"""

import os
import statistics

from bench.ladder import Highest, Trial, climb, compared, geometric
from bench.listeners import Heard, Listen, hear, ours, scapy, tcpdump_printing, tcpdump_writing
from bench.processes import BenchError
from bench.rows import Row, at_least, row, unmeasured, void
from bench.wiring import Wired, wired

ROUNDS = 5
FLOOD_SECONDS, TRIAL_SECONDS, STEADY_SECONDS = 2.0, 1.0, 3.0
STEADY = 100_000
FAST, SLOW = geometric(100_000, 3_200_000, 21), geometric(1_000, 32_000, 21)
TIMES_SCAPY = 200
KEPT = "packets/s kept under a flood, headers decoded; peer: tcpdump -s 96 -w /dev/null"
LOSSLESS = "highest packets/s without loss, headers decoded; peer: tcpdump -s 96 -w /dev/null"
SCAPY = "highest packets/s without loss, headers decoded; peer: scapy.sniff(store=False)"
COST = f"ns of processor time for a matching packet at {STEADY:,}/s, decoded; peer: tcpdump -nn -s 96 > /dev/null"


def measure() -> list[Row]:
    with wired(f"bench{os.getpid()}c") as wires:
        return [_kept(wires), *_lossless(wires), _cost(wires)]


def _kept(wires: Wired) -> Row:
    try:
        rounds = [
            tuple(hear(wires, who, rate=0, seconds=FLOOD_SECONDS) for who in (ours, tcpdump_writing))
            for _ in range(ROUNDS)
        ]
    except BenchError as error:
        return unmeasured(KEPT, 1.0, "at least", str(error))
    mine, theirs = (statistics.median(each.trial.kept / each.seconds for each in column) for column in _columns(rounds))
    sent = tuple(statistics.median(each.trial.rate for each in column) for column in _columns(rounds))
    sending = f"{sent[0]:,.0f} and {sent[1]:,.0f} packets/s were sent"
    measured = at_least(KEPT, mine, theirs, 1.0, sending)
    if all(2 * sum(each.trial.lossless for each in column) > ROUNDS for column in _columns(rounds)):
        return void(measured, f"neither lost anything, the generator was the limit: {sending}")
    return measured


def _columns(rounds: list[tuple[Heard, ...]]) -> tuple[tuple[Heard, ...], ...]:
    return tuple(zip(*rounds, strict=True))


def _lossless(wires: Wired) -> list[Row]:
    try:
        mine = highest(wires, ours, FAST)
    except BenchError as error:
        return [
            unmeasured(name, goal, "at least", str(error)) for name, goal in ((LOSSLESS, 0.8), (SCAPY, TIMES_SCAPY))
        ]
    rows = []
    for name, who, rungs, goal in ((LOSSLESS, tcpdump_writing, FAST, 0.8), (SCAPY, scapy, SLOW, TIMES_SCAPY)):
        try:
            rows.append(compared(name, mine, highest(wires, who, rungs), goal))
        except BenchError as error:
            rows.append(unmeasured(name, goal, "at least", str(error)))
    return rows


def highest(wires: Wired, who: Listen, rungs: tuple[float, ...]) -> list[Highest]:
    """ROUNDS climbs, each from where the one before it ended."""

    def trial(rate: float) -> Trial:
        return hear(wires, who, rate=rate, seconds=TRIAL_SECONDS).trial

    found: list[Highest] = []
    for _ in range(ROUNDS):
        found.append(climb(rungs, trial, found[-1].rung if found else None))
    return found


def _cost(wires: Wired) -> Row:
    costs: list[tuple[float, ...]] = []
    try:
        for _ in range(ROUNDS):
            costs.append(tuple(_one_cost(wires, who) for who in (ours, tcpdump_printing)))
    except BenchError as error:
        return unmeasured(COST, 0.5, "at most", str(error))
    mine, theirs = (statistics.median(column) for column in zip(*costs, strict=True))
    return row(COST, mine, theirs, 0.5)


def _one_cost(wires: Wired, who: Listen) -> float:
    heard = hear(wires, who, rate=STEADY, seconds=STEADY_SECONDS)
    if not heard.trial.kept:
        raise BenchError(f"nothing was kept of {heard.trial.sent:,} packets.")
    return heard.cpu / heard.trial.kept * 1e9
