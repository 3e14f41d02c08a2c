"""What a node's traffic pays for a trace that is armed on another flow: processor time for each byte, and loss.

iperf3 sends from the pod through the node at half of what it can, in pairs of runs: one while a capture is armed on both of the
node's interfaces, for the same two addresses and another port, one while none is. Which comes first alternates. The processor
time is that of both iperf3 processes, in whose time the kernel forwards and filters, of the kernel's softirq threads, and of
the capture itself.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.intervals import Interval, of_the_median
from bench.listeners import LISTENING, SENDING, ours
from bench.processes import BenchError, Child, processor_time, started, tree
from bench.rows import Row, row, unmeasured
from bench.wiring import ENI, FAR, VETH, Wired, wired

PAIRS = 24
SECONDS = 1
CAPACITY_RUNS = 3
# What arming, disarming and the run before have left to do, in seconds.
SETTLING = 0.1
DATAGRAM = 1400
MOST_COST, MOST_LOSS = 1.02, 2.0
COST = "processor time for a byte of a node's {} at half capacity, a trace armed by none: upper end of the 95 % interval; peer: 1"
LOSS = "percentage points of a node's UDP lost more, a trace armed by none: upper end of the 95 % interval; peer: 2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """`cost` is in seconds of processor time for a byte that arrived; `rate` in bits/s; `loss` in percent, 0 for TCP."""

    rate: float
    cost: float
    loss: float


def measure() -> list[Row]:
    try:
        with (
            wired(f"bench{os.getpid()}b") as wires,
            started(["iperf3", "-s", "-B", str(FAR), "--forceflush"], namespace=wires.far, cpu=LISTENING) as server,
        ):
            server.until("Server listening")
            return [*_udp(wires, server), *_tcp(wires, server)]
    except BenchError as error:
        return [unmeasured(COST.format("traffic"), MOST_COST, "at most", str(error))]


def _udp(wires: Wired, server: Child) -> list[Row]:
    options = ("-u", "-l", str(DATAGRAM))
    pairs = _pairs(wires, server, options)
    more = of_the_median([armed.loss - bare.loss for armed, bare in pairs])
    lost = f"median {more.median:+.2f}, {_between(more)}"
    return [_cost("UDP", pairs), row(LOSS, more.high, MOST_LOSS, 1.0, lost)]


def _tcp(wires: Wired, server: Child) -> list[Row]:
    return [_cost("TCP", _pairs(wires, server, ()))]


def _cost(protocol: str, pairs: Sequence[tuple[Run, Run]]) -> Row:
    ratio = of_the_median([armed.cost / bare.cost for armed, bare in pairs])
    rate = median(bare.rate for _, bare in pairs) / 1e9
    note = f"{len(pairs)} pairs at {rate:.1f} Gbit/s: median {ratio.median:.3f}, {_between(ratio)}"
    return row(COST.format(protocol), ratio.high, 1.0, MOST_COST, note)


def _between(interval: Interval) -> str:
    return f"{interval.confidence:.0%} between {interval.low:.3f} and {interval.high:.3f}"


def _pairs(wires: Wired, server: Child, options: Sequence[str]) -> list[tuple[Run, Run]]:
    """(armed, bare) of each pair, with one process that captures in the one and waits in the other. Raises BenchError."""
    with ours(wires, VETH, ENI) as listener:
        capture = listener.child
        capture.say("disarm").answer()
        whole = median(_run(wires, server, capture, (*options, "-b", "0")).rate for _ in range(CAPACITY_RUNS))
        half = (*options, "-b", f"{whole / 2:.0f}")

        def armed() -> Run:
            capture.say("arm").answer()
            try:
                return _run(wires, server, capture, half)
            finally:
                capture.say("disarm").answer()

        return [_in_turn(armed, lambda: _run(wires, server, capture, half), number) for number in range(PAIRS)]


def _in_turn(armed: Callable[[], Run], bare: Callable[[], Run], number: int) -> tuple[Run, Run]:
    if number % 2:
        with_trace = armed()
        return with_trace, bare()
    without = bare()
    return armed(), without


def _run(wires: Wired, server: Child, capture: Child, options: Sequence[str]) -> Run:
    """One iperf3 from the pod to the server. Raises BenchError."""
    time.sleep(SETTLING)
    others = [*tree(server.pid), *_softirq_threads(), *tree(capture.pid)]
    words = ["iperf3", "-c", str(FAR), "-t", str(SECONDS), "-J", *options]
    before = processor_time(others)
    with started(words, namespace=wires.pod, cpu=SENDING) as client:
        report, own = _reported(client)
    used = processor_time(others) - before + own
    server.drain()
    arrived = report["end"].get("sum_received") or report["end"]["sum"]
    lost = report["end"].get("sum", {}).get("lost_percent", 0.0)
    size = arrived["bytes"] * (1 - lost / 100)
    if not size:
        raise BenchError("iperf3 moved nothing.")
    return Run(rate=size * 8 / arrived["seconds"], cost=used / size, loss=lost)


def _reported(client: Child) -> tuple[Any, float]:
    """iperf3's report and the processor time of its client, in seconds."""
    text = client.rest()
    own = client.used()
    try:
        report = json.loads(text)
    except ValueError as error:
        raise BenchError(f"iperf3 printed no JSON but {text[:100]!r}.") from error
    if "error" in report:
        raise BenchError(f"iperf3 says: {report['error']}.")
    return report, own


def _softirq_threads() -> list[int]:
    """ksoftirqd/N, to which the kernel gives what is too much for the end of an interrupt."""
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/comm") if _name(path).startswith("ksoftirqd/")]


def _name(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
