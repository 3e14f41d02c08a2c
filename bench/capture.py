"""How many packets a capture keeps, and what each costs, beside tcpdump and scapy.sniff on the same frames.

Each listener is a process on one processor, the generator is on the other. Rates are medians in packets/s. Where the generator is
the limit of a listener that has a processor for itself, a second row holds for one that has a small share of it (`bench.crowd`).
"""

import os
import statistics

from bench.crowd import SHARE, crowded, same
from bench.flood import kept
from bench.ladder import Highest, Trial, climb, compared, geometric
from bench.listeners import Beside, Heard, Listen, alone, hear, ours, scapy, tcpdump_printing, tcpdump_writing
from bench.processes import BenchError
from bench.rows import Row, noted, row, then, unmeasured, void
from bench.wiring import Wired, wired

ROUNDS = 5
FLOOD_SECONDS, CROWDED_SECONDS, TRIAL_SECONDS, CROWDED_TRIAL_SECONDS, STEADY_SECONDS = 2.0, 5.0, 1.0, 3.0, 3.0
STEADY = 100_000
FAST, SLOW = geometric(100_000, 3_200_000, 21), geometric(1_000, 32_000, 21)
CROWDED_FAST, CROWDED_SLOW = geometric(50_000, 1_600_000, 31), geometric(25, 800, 21)
FIRST_GOAL, SECOND_GOAL, TIMES_SCAPY = 0.8, 1.0, 200
WRITING, SNIFFING = "peer: tcpdump -s 96 -w /dev/null", "peer: scapy.sniff(store=False)"
WITH_LITTLE = f"with {SHARE:.1f} % of a processor, the rest of it busy"
KEPT = f"packets/s kept under a flood, headers decoded; {WRITING}"
KEPT_CROWDED = f"packets/s kept under a flood {WITH_LITTLE}, headers decoded; {WRITING}"
LOSSLESS = f"highest packets/s without loss, headers decoded; {WRITING}"
LOSSLESS_CROWDED = f"highest packets/s without loss {WITH_LITTLE}, headers decoded; {WRITING}"
SCAPY = f"highest packets/s without loss, headers decoded; {SNIFFING}"
SCAPY_CROWDED = f"highest packets/s without loss {WITH_LITTLE}, headers decoded; {SNIFFING}"
COST = f"ns of processor time for a matching packet at {STEADY:,}/s, decoded; peer: tcpdump -nn -s 96 > /dev/null"


def measure() -> list[Row]:
    with wired(f"bench{os.getpid()}c") as wires:
        return [
            kept(wires, KEPT, FLOOD_SECONDS, alone),
            kept(wires, KEPT_CROWDED, CROWDED_SECONDS, crowded),
            *_lossless(wires),
            *_lossless_crowded(wires),
            _cost(wires),
        ]


def _lossless(wires: Wired) -> list[Row]:
    try:
        mine = highest(wires, ours, FAST)
    except BenchError as error:
        return [_no(LOSSLESS, FIRST_GOAL, error), _no(SCAPY, TIMES_SCAPY, error)]
    rows = []
    for name, who, rungs, goal in ((LOSSLESS, tcpdump_writing, FAST, FIRST_GOAL), (SCAPY, scapy, SLOW, TIMES_SCAPY)):
        try:
            rows.append(compared(name, mine, highest(wires, who, rungs), goal))
        except BenchError as error:
            rows.append(_no(name, goal, error))
    return [then(each, SECOND_GOAL) if each["figure"] == LOSSLESS else each for each in rows]


def highest(wires: Wired, who: Listen, rungs: tuple[float, ...]) -> list[Highest]:
    """ROUNDS climbs, each from where the one before it ended."""
    ladder = Ladder(wires, who, rungs, TRIAL_SECONDS, alone)
    return [ladder.climb() for _ in range(ROUNDS)]


class Ladder:
    """One listener's climbs, each from where the one before it ended. `heard` is what came of all of their trials."""

    def __init__(self, wires: Wired, who: Listen, rungs: tuple[float, ...], seconds: float, beside: Beside) -> None:
        self._wires, self._who, self._rungs = wires, who, rungs
        self._seconds, self._beside = seconds, beside
        self._rung: int | None = None
        self.heard: list[Heard] = []

    def climb(self) -> Highest:
        """Raises BenchError."""
        found = climb(self._rungs, self._trial, self._rung)
        self._rung = found.rung
        return found

    def _trial(self, rate: float) -> Trial:
        heard = hear(self._wires, self._who, rate=rate, seconds=self._seconds, beside=self._beside)
        self.heard.append(heard)
        return heard.trial

    @property
    def share(self) -> float | None:
        """Of a processor, in trials that had losses: there the listener always had something to do."""
        shares = [heard.share for heard in self.heard if not heard.trial.lossless]
        return statistics.median(shares) if shares else None


def _lossless_crowded(wires: Wired) -> list[Row]:
    """In turns."""
    listeners: tuple[tuple[Listen, tuple[float, ...]], ...] = (
        (ours, CROWDED_FAST),
        (tcpdump_writing, CROWDED_FAST),
        (scapy, CROWDED_SLOW),
    )
    ladders = [Ladder(wires, who, rungs, CROWDED_TRIAL_SECONDS, crowded) for who, rungs in listeners]
    try:
        mine, theirs, scapys = zip(*([each.climb() for each in ladders] for _ in range(ROUNDS)), strict=True)
    except BenchError as error:
        return [_no(LOSSLESS_CROWDED, FIRST_GOAL, error), _no(SCAPY_CROWDED, TIMES_SCAPY, error)]
    shares = [each.share for each in ladders]
    beside_tcpdump = then(compared(LOSSLESS_CROWDED, mine, theirs, FIRST_GOAL), SECOND_GOAL)
    beside_scapy = compared(SCAPY_CROWDED, mine, scapys, TIMES_SCAPY)
    return [_with_shares(beside_tcpdump, shares[0], shares[1]), _with_shares(beside_scapy, shares[0], shares[2])]


def _with_shares(measured: Row, ours: float | None, peer: float | None) -> Row:
    """Void where they had not the same."""
    if ours is None or peer is None:
        return measured
    told = f"with {ours:.2%} and {peer:.2%} of a processor where there were losses"
    return noted(measured, told) if same(ours, peer) else void(measured, f"they had not the same share: {told}")


def _no(name: str, goal: float, error: BenchError) -> Row:
    return unmeasured(name, goal, "at least", str(error))


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
