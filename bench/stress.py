"""What a node's own traffic gets while a trace of another flow is flooded, and its collector is quick, slow, or stopped.

A flow asks at a fixed pace through the node (`bench.paced`). Beside it the generator sends the traced flow, at a rate that it can
hold. Of each two windows of time that follow each other one is with a real agent's capture armed, one with nothing armed; the
order changes with each pair; flood and collector are the same in both. A capture's account must add up, or nothing is measured.

The slowest round trips wait for whoever computes on their processor. What that alone makes of them is measured beside a process
that captures nothing (`bench.computing`).
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TypeAlias

from bench.agent import Joined, joined
from bench.beside import received
from bench.frames import SIZE
from bench.intervals import Interval, of_the_median
from bench.ladder import REACHED
from bench.listeners import LISTENING, SENDING
from bench.paced import Window
from bench.processes import BenchError, Child, module, processor_time, started, tree
from bench.rows import Row, at_least, informs, row, unmeasured, void
from bench.wiring import FAR, POD_END, VETH, Wired, wired

PAIRS = 24
# In seconds: a window, and what arming leaves to do before it. The spool of a collector that is stopped is full by then.
WINDOW, SETTLING = 0.5, 0.2
FLOOD = 200_000
# So much of it waits for a collector: less than comes while a window settles.
SPOOL_BYTES = 2 << 20
# In seconds. A slow collector runs a fiftieth of each period, in which it takes about half of what comes.
PERIOD, RUNS = 0.1, 0.002
# More than all windows of a stress take.
LONGEST = 120
LEAST_DELIVERED, LONGEST_MEDIAN = 0.98, 1.1

# In seconds: a process that computes takes some of the flow's processor, in turns as long as a capture's under this flood or
# somewhat longer. They fall on another part of the flow's millisecond each time.
TURN, EVERY = 0.0005, 0.0031

Collector: TypeAlias = Callable[[int], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stressed:
    """A window of the own flow, with what was beside it: `flood` is in frames/s, `agent` its share of a processor, 1 for all of
    it; of a capture the packets that it accepted, and those of them that it lost by name."""

    flow: Window
    flood: float
    agent: float
    accepted: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Windows that followed each other, in either order."""

    untraced: Stressed
    armed: Stressed

    @property
    def delivered(self) -> float:
        return self.armed.flow.delivered / self.untraced.flow.delivered


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An agent with its collector, and the own flow that asks through their node."""

    joined: Joined
    client: Child


Take: TypeAlias = Callable[[Node, Collector, float], Stressed]


def quick(_: int) -> AbstractContextManager[None]:
    return nullcontext()


@contextmanager
def slow(pid: int) -> Iterator[None]:
    """The process runs a fiftieth of the time."""
    over = threading.Event()

    def alternate() -> None:
        while not over.is_set():
            os.kill(pid, signal.SIGSTOP)
            over.wait(PERIOD - RUNS)
            os.kill(pid, signal.SIGCONT)
            over.wait(RUNS)

    thread = threading.Thread(target=alternate)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


# What becomes of the collector, by what the trace is.
STRESSES: dict[str, Collector] = {
    "is flooded": quick,
    "is flooded, its collector slow": slow,
    "is flooded, its collector stopped": stopped,
}
FLOW = "a node's own flow while another that is traced {}"
DELIVERED = f"{FLOW}: bytes delivered, lower end of the 95 % interval; peer: nothing armed, 1"
MEDIAN = f"{FLOW}: median round trip, upper end of the 95 % interval; peer: nothing armed, 1"
HIGHEST = f"{FLOW}: 99th percentile of round trips, upper end of the 95 % interval; peer: nothing armed, 1"
COMPUTING = (
    f"a node's own flow, nothing armed, beside a process that computes {1e3 * TURN:g} ms of each {1e3 * EVERY:g} ms: 99th"
    " percentile of round trips, upper end of the 95 % interval; peer: no such process, 1"
)
PROCESSOR = "per cent of a processor that the agent takes while a flow that is traced {}; peer: all of one, 100"


def measure() -> list[Row]:
    rows: list[Row] = []
    try:
        with wired(f"bs{os.getpid()}") as wires, node(wires) as built:
            for name, collector in STRESSES.items():
                rows += told(name, pairs(wires, built, collector, PAIRS))
            with computing() as beside:
                rows.append(shared(pairs(wires, built, quick, PAIRS, armed=beside)))
    except BenchError as error:
        return [*rows, unmeasured(DELIVERED.format("is stressed"), LEAST_DELIVERED, "at least", str(error))]
    return rows


@contextmanager
def node(wires: Wired) -> Iterator[Node]:
    """The agent runs where the kernel puts it, as on a node; the collector, which is elsewhere then, beside the generator. Both
    ends of the own flow share the other processor. Raises BenchError."""
    server, client = module("bench.paced", "serve", str(FAR)), module("bench.paced", "ask", str(FAR))
    with (
        joined(wires, judging=SENDING, more=("--spool-bytes", str(SPOOL_BYTES))) as pair,
        started(server, namespace=wires.far, cpu=LISTENING) as serving,
    ):
        serving.until("ready")
        with started(client, namespace=wires.pod, cpu=LISTENING) as asking:
            asking.until("ready")
            yield Node(joined=pair, client=asking)


@contextmanager
def computing() -> Iterator[Take]:
    """A window beside a process that computes, in place of one with a capture armed."""
    with started(module("bench.computing", str(TURN), str(EVERY)), cpu=LISTENING) as child:
        child.until("ready")

        def take(built: Node, collector: Collector, window: float) -> Stressed:
            child.say(f"{SETTLING + window:g}")
            stressed = _untraced(built, collector, window)
            child.until("done")
            return stressed

        yield take


def pairs(
    wires: Wired,
    built: Node,
    collector: Collector,
    count: int,
    window: float = WINDOW,
    flood: int = FLOOD,
    armed: Take | None = None,
) -> list[Pair]:
    """`armed` takes the windows that are compared with those without anything: with a capture armed, where it is None. Raises
    BenchError, also where a capture's account does not add up."""
    other = armed or _armed
    # By sending: injection is busy with frames that are not due, too.
    bounds = ("--seconds", str(LONGEST), "--rate", str(flood), "--by", "sending", "--cpu", str(SENDING))
    words = module("bench.generator", POD_END, *bounds)
    with started(words, namespace=wires.pod, cpu=SENDING) as sender:
        sender.until("ready")
        sender.say()
        _untraced(built, collector, window)
        found = []
        for number in range(count):
            windows = (_untraced, other) if number % 2 else (other, _untraced)
            first, second = (take(built, collector, window) for take in windows)
            found.append(Pair(untraced=first, armed=second) if number % 2 else Pair(untraced=second, armed=first))
        return found


def _untraced(built: Node, collector: Collector, window: float) -> Stressed:
    with collector(built.joined.judge.pid):
        time.sleep(SETTLING)
        before, began = _clocks(built)
        flow = Window(**built.client.say(f"{window:g}").answer())
        after, ended = _clocks(built)
    used, came = (then - now for now, then in zip(before, after, strict=True))
    return Stressed(flow=flow, flood=came / SIZE / (ended - began), agent=used / (ended - began))


def _armed(built: Node, collector: Collector, window: float) -> Stressed:
    built.joined.arm()
    stressed = _untraced(built, collector, window)
    end = built.joined.ask("end")
    lost = sum(end["lost"].values())
    if end["accepted"] != end["kept"] + lost:
        raise BenchError(f"the account does not add up: {end}")
    return replace(stressed, accepted=end["accepted"], lost=lost)


def _clocks(built: Node) -> tuple[tuple[float, int], float]:
    """Processor time of the agent until now, bytes that came to the node's end of the veth, and the time."""
    agent = built.joined.agent.pid
    came = received(Path(f"/proc/{agent}/net/dev").read_text(), VETH)
    return (processor_time(tree(agent)), came), time.monotonic()


def told(name: str, measured: Sequence[Pair]) -> list[Row]:
    """Void where the generator brought less of the flood with a capture armed: then it was not the same stress."""
    delivered = of_the_median([each.delivered for each in measured])
    middle = of_the_median([each.armed.flow.median / each.untraced.flow.median for each in measured])
    highest = of_the_median([each.armed.flow.highest / each.untraced.flow.highest for each in measured])
    agent = 100 * median(each.armed.agent for each in measured)
    rows = [
        at_least(DELIVERED.format(name), delivered.low, 1.0, LEAST_DELIVERED, _note(delivered, measured)),
        row(MEDIAN.format(name), middle.high, 1.0, LONGEST_MEDIAN, _note(middle, measured)),
        informs(row(HIGHEST.format(name), highest.high, 1.0, 1.0, _note(highest, measured)), _highest(measured)),
        informs(row(PROCESSOR.format(name), agent, 100.0, 1.0, _flooded(measured)), "no goal"),
    ]
    share = median(each.armed.flood / each.untraced.flood for each in measured)
    if share >= REACHED:
        return rows
    return [void(each, f"with a capture armed {share:.0%} of the flood came: {each['note']}") for each in rows]


def shared(measured: Sequence[Pair]) -> Row:
    highest = of_the_median([each.armed.flow.highest / each.untraced.flow.highest for each in measured])
    compared = row(COMPUTING, highest.high, 1.0, 1.0, _note(highest, measured))
    return informs(compared, f"what any process does that computes in such turns; {_highest(measured)}")


def _note(interval: Interval, measured: Sequence[Pair]) -> str:
    between = f"{interval.confidence:.0%} between {interval.low:.3f} and {interval.high:.3f}"
    return f"{len(measured)} pairs: median {interval.median:.3f}, {between}"


def _highest(measured: Sequence[Pair]) -> str:
    armed, untraced = (median(flow.highest for flow in flows) for flows in _flows(measured))
    return f"no goal; {armed:,.0f} µs and {untraced:,.0f} µs"


def _flows(measured: Sequence[Pair]) -> tuple[list[Window], list[Window]]:
    return [each.armed.flow for each in measured], [each.untraced.flow for each in measured]


def _flooded(measured: Sequence[Pair]) -> str:
    rate = median(each.armed.flood for each in measured)
    lost = sum(each.armed.lost for each in measured) / max(1, sum(each.armed.accepted for each in measured))
    return f"of {rate:,.0f} packets/s the trace lost {lost:.1%}, all of them counted by name"
