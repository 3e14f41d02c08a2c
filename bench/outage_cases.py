"""What becomes of a stream when one of its ends, or the way between them, is away: each case on a pair of its own.

A case takes the prefix of its namespaces and gives what it measured, by the name of the promise (`bench.outages`).
"""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial

from bench.outage_pair import CONNECTED, NODE_NAME, NOT_CONNECTED, PATIENCE, PING_RATE, WENT_AWAY, Pair, pair
from bench.processes import BenchError, Child

Measured = Mapping[str, float]
Case = Callable[[str], Measured]

# Together few beside what one capture may take, and enough to fill what gRPC and TCP hold back in a second or two.
PROGRAMS = 4
# Seconds until packets flow, or what was left has come.
SETTLING = 1.0
AWAY = (1.0, 15.0, 30.0)
PAUSE = 8.0
WAYS = {False: "idle", True: "writing"}


def black_hole(prefix: str, *, writing: bool) -> Measured:
    """Both ends notice, and the agent is back once the way is."""
    way = WAYS[writing]
    with pair(prefix) as both, ExitStack() as stack:
        trace = _settled(both, stack, writing)
        with both.black_hole():
            agent, collector = _seconds((both.agent, NOT_CONNECTED), (both.collector, WENT_AWAY))
            _expect(not both.node()["connected"], "nodes calls a black-holed agent connected")
        measured = {
            f"agent, black hole, {way}": agent,
            f"collector, black hole, {way}": collector,
            f"back after a black hole, {way}": _seconds((both.agent, CONNECTED))[0],
        }
        _expect(both.node()["connected"], "nodes calls an agent that is back not connected")
        return measured | ({"sum": _unaccounted(both, trace)} if trace else {})


def stopped_collector(prefix: str, *, writing: bool) -> Measured:
    way = WAYS[writing]
    with pair(prefix) as both, ExitStack() as stack:
        trace = _settled(both, stack, writing)
        with both.stopped(both.collector):
            (noticed,) = _seconds((both.agent, NOT_CONNECTED))
            if trace is not None:
                _ended(trace, 1, "went away")
        return {
            f"agent, stopped, {way}": noticed,
            f"back after the collector was stopped, {way}": _seconds((both.agent, CONNECTED))[0],
        }


def stopped_agent(prefix: str, *, writing: bool) -> Measured:
    way = WAYS[writing]
    with pair(prefix) as both, ExitStack() as stack:
        trace = _settled(both, stack, writing)
        with both.stopped(both.agent):
            (noticed,) = _seconds((both.collector, WENT_AWAY))
            if trace is not None:
                _ended(trace, 4, f"no agent of {NODE_NAME} is connected")
            _expect(not both.node()["connected"], "nodes calls a stopped agent connected")
        return {
            f"collector, stopped, {way}": noticed,
            f"back after the agent was stopped, {way}": _seconds((both.agent, CONNECTED))[0],
        }


def restarted_collector(prefix: str, *, away: float) -> Measured:
    """Killed, and started again after so many seconds: from when it listens to when its agent is connected."""
    with pair(prefix) as both:
        time.sleep(SETTLING)
        os.kill(both.collector.pid, signal.SIGKILL)
        both.agent.until(NOT_CONNECTED)
        time.sleep(away)
        both.start_collector()
        (back,) = _seconds((both.agent, CONNECTED))
        _expect(both.node()["connected"], "nodes calls an agent that is back not connected")
        return {f"back after {away:g} s": back}


def paused_collector(prefix: str) -> Measured:
    """Stopped for less than it takes to be noticed, while the agent captures: what the spool holds comes, once."""
    with pair(prefix) as both, both.live_trace(PAUSE + 4) as trace:
        with both.pings(PROGRAMS):
            time.sleep(SETTLING)
            with both.stopped(both.collector):
                time.sleep(PAUSE)
        answer = json.loads(trace.communicate(timeout=PATIENCE)[0])
        accounts, gaps = answer["accounts"], [gap["why"] for gap in answer["verdict"]["gaps"]]
        accepted = sum(int(each.get("accepted", -1)) for each in accounts)
        delivered = sum(int(each["delivered"]) for each in accounts)
        _expect(delivered > PROGRAMS * PING_RATE * PAUSE, f"only {delivered} packets were captured: {gaps}")
        _expect(
            both.metrics()["packets_accepted_total"] == accepted, "agent and trace do not agree on what was accepted"
        )
        return {"lost": max(0, accepted - delivered), "twice": max(0, delivered - accepted)}


def asked_to_end(prefix: str, *, whom: str) -> Measured:
    """In the middle of a trace, while the other end is stopped and has not been missed yet: it ends all the same, in order."""
    with pair(prefix) as both, ExitStack() as stack:
        trace = _settled(both, stack, True)
        ends, other = (both.agent, both.collector) if whom == "agent" else (both.collector, both.agent)
        with both.stopped(other):
            began = time.monotonic()
            os.kill(ends.pid, signal.SIGTERM)
            _expect("Traceback" not in ends.rest(PATIENCE), f"the {whom} ended in disorder")
            ended = time.monotonic() - began
            if whom == "collector" and trace is not None:
                _ended(trace, 4, "the collector stops")
        return {f"asked to end, {whom}": ended}


CASES: tuple[Case, ...] = (
    *(partial(case, writing=writing) for case in (black_hole, stopped_collector, stopped_agent) for writing in WAYS),
    *(partial(restarted_collector, away=away) for away in AWAY),
    paused_collector,
    *(partial(asked_to_end, whom=whom) for whom in ("agent", "collector")),
)


def _settled(both: Pair, stack: ExitStack, writing: bool) -> "subprocess.Popen[str] | None":
    """Each end has just heard the other, from when on it is idle; or the agent has something to send until the stack is closed,
    for the trace that is returned.
    """
    if not writing:
        both.node()
        return None
    trace = stack.enter_context(both.live_trace(3 * PATIENCE))
    stack.enter_context(both.pings(PROGRAMS))
    time.sleep(SETTLING)
    return trace


def _ended(trace: "subprocess.Popen[str]", code: int, words: str) -> str:
    """What it printed. It ends by itself, long before its time is over, and says why."""
    output, errors = trace.communicate(timeout=PATIENCE)
    told = words in output + errors and "Traceback" not in errors
    _expect(
        trace.returncode == code and told,
        f"the trace ended with {trace.returncode}, and not by {words!r}: {errors[-300:]}",
    )
    return output


def _unaccounted(both: Pair, trace: "subprocess.Popen[str]") -> float:
    """Of what the agent handed over to be sent: how many packets came neither once nor are counted as lost on their way."""
    answer = _ended(trace, 4, f"no agent of {NODE_NAME} is connected")
    before = sum(int(each["delivered"]) for each in json.loads(answer)["accounts"])
    # What waited comes behind the Hello, and a capture that ended is told at once.
    time.sleep(SETTLING)
    node, agent = both.node(), both.metrics()
    on_the_way = sum(int(loss["count"]) for loss in node["losses"] if loss["where"] == "stream")
    _expect(before > 0 and on_the_way > 0, "nothing was on its way when the stream ended")
    _expect(agent["packets_accepted_total"] == agent["packets_delivered_total"], "the agent lost packets by itself")
    return abs(agent["packets_delivered_total"] - before - int(node["delivered"]) - on_the_way)


def _seconds(*waits: tuple[Child, str]) -> list[float]:
    """Until each of these has said its words, from now on. Raises BenchError where one does not."""
    began = time.monotonic()
    said: dict[int, float] = {}

    def wait(number: int, child: Child, words: str) -> None:
        with _quietly():
            child.until(words, PATIENCE)
            said[number] = time.monotonic() - began

    threads = [threading.Thread(target=wait, args=(number, *each)) for number, each in enumerate(waits)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    silent = [f"{child.name} never said {words!r}" for number, (child, words) in enumerate(waits) if number not in said]
    _expect(not silent, "; ".join(silent))
    return [said[number] for number in range(len(waits))]


@contextmanager
def _quietly() -> Iterator[None]:
    """Who waits for a thread says what it did not bring."""
    try:
        yield
    except BenchError:
        return


def _expect(so: bool, otherwise: str) -> None:
    if not so:
        raise BenchError(f"{otherwise}.")
