"""What a node's traffic pays for a trace that is armed on another flow: processor time for each byte, and loss.

iperf3 sends from the pod through the node at half of what it can, without a pause. Meanwhile a capture is armed on both of the
node's interfaces, for the same two addresses and another port, and disarmed again: of each three windows of time that follow
each other, one is with a capture, one with bare packet sockets that have the same filter (`bench.sockets`), one with neither; the
order changes with each three. The processor time is that of both iperf3 processes, in whose time the kernel forwards and filters,
of the kernel's softirq threads, and of the capture itself.
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from statistics import median
from typing import Any

from bench.intervals import Interval, of_the_median
from bench.listeners import LISTENING, SENDING, ours, sockets
from bench.processes import BenchError, Child, processor_time, started, tree
from bench.rows import Row, informs, row, unmeasured
from bench.wiring import ENI, FAR, FAR_END, VETH, Wired, wired

PAIRS = 40
# In seconds: a window, what arming or disarming leaves to do before it, the time that a flow takes to be at its rate.
WINDOW, SETTLING, WARMING = 0.6, 0.1, 1.0
# More than all windows of a flow take.
LONGEST = 600
CAPACITY_RUNS, CAPACITY_SECONDS = 3, 1
DATAGRAM = 1400
MOST_COST, MOST_LOSS = 1.02, 2.0
TRACED, BARE = "while another flow is traced", "while packet sockets with the trace's filter and no ring are open"
END = "upper end of the 95 % interval"
COST = f"processor time for a byte of a node's {{}} {TRACED}, {END}; peer: untraced, 1"
KERNELS = f"processor time for a byte of a node's {{}} {BARE}, {END}; peer: untraced, 1"
ABOVE = f"processor time for a byte of a node's {{}} {TRACED}, {END}; peer: {BARE}, 1"
LOSS = f"more of a node's UDP lost {TRACED}, percentage points, {END}; peer: 2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """`cost` is in seconds of processor time for a byte that arrived; `rate` in bits/s; `loss` of UDP in percent."""

    rate: float
    cost: float
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Three:
    """Windows that followed each other, in some order: without anything, with bare packet sockets, with a trace armed."""

    untraced: Window
    bare: Window
    traced: Window


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
    threes = _threes(wires, server, ("-u", "-l", str(DATAGRAM)))
    more = of_the_median([each.traced.loss - each.untraced.loss for each in threes])
    lost = f"median {more.median:+.2f}, {_between(more)}"
    return [*costs("UDP", threes), row(LOSS, more.high, MOST_LOSS, 1.0, lost)]


def _tcp(wires: Wired, server: Child) -> list[Row]:
    return costs("TCP", _threes(wires, server, ()))


def costs(protocol: str, threes: Sequence[Three]) -> list[Row]:
    """Of a trace, of what the kernel takes for any packet socket, and of what a trace takes beyond that."""
    whole = of_the_median([each.traced.cost / each.untraced.cost for each in threes])
    kernels = of_the_median([each.bare.cost / each.untraced.cost for each in threes])
    above = of_the_median([each.traced.cost / each.bare.cost for each in threes])
    rate = f" at {median(each.untraced.rate for each in threes) / 1e9:.1f} Gbit/s"
    limit = "what the kernel takes for any packet socket that hears all protocols, ours or another's"
    return [
        row(COST.format(protocol), whole.high, 1.0, MOST_COST, _note(whole, threes, rate)),
        informs(row(KERNELS.format(protocol), kernels.high, 1.0, MOST_COST, _note(kernels, threes)), limit),
        row(ABOVE.format(protocol), above.high, 1.0, MOST_COST, _note(above, threes)),
    ]


def _note(interval: Interval, threes: Sequence[Three], rate: str = "") -> str:
    return f"{len(threes)} pairs{rate}: median {interval.median:.3f}, {_between(interval)}"


def _between(interval: Interval) -> str:
    return f"{interval.confidence:.0%} between {interval.low:.3f} and {interval.high:.3f}"


def _threes(wires: Wired, server: Child, options: Sequence[str]) -> list[Three]:
    """Raises BenchError."""
    # The server takes one flow at a time, and must have noticed the end of the last.
    time.sleep(WARMING)
    rate = median(_capacity(wires, server, options) for _ in range(CAPACITY_RUNS)) / 2
    words = _client(LONGEST, *options, "-b", f"{rate:.0f}")
    with (
        ours(wires, VETH, ENI) as capture,
        sockets(wires, VETH, ENI) as bare,
        started(words, namespace=wires.pod, cpu=SENDING) as client,
    ):
        capture.child.say("disarm").answer()
        time.sleep(WARMING)
        arms = {"untraced": None, "bare": bare.child, "traced": capture.child}
        orders = tuple(permutations(arms))
        threes = []
        for number in range(PAIRS):
            order = orders[number % len(orders)]
            windows = {name: _with(arms[name], client, server, capture.child) for name in order}
            threes.append(Three(**windows))
        return threes


def _with(armed: Child | None, client: Child, server: Child, capture: Child) -> Window:
    if armed is None:
        return _window(client, server, capture)
    armed.say("arm").answer()
    try:
        return _window(client, server, capture)
    finally:
        armed.say("disarm").answer()


def _client(seconds: int, *options: str) -> list[str]:
    return ["iperf3", "-c", str(FAR), "-t", str(seconds), "-J", *options]


def _capacity(wires: Wired, server: Child, options: Sequence[str]) -> float:
    """Bits/s that arrive of a flow without bounds. Raises BenchError."""
    with started(_client(CAPACITY_SECONDS, *options, "-b", "0"), namespace=wires.pod, cpu=SENDING) as client:
        text = client.rest()
    server.drain()
    try:
        report: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise BenchError(f"iperf3 printed no JSON but {text[:100]!r}.") from error
    if "error" in report:
        raise BenchError(f"iperf3 says: {report['error']}.")
    end = report["end"]
    whole = end.get("sum_received") or end["sum"]
    lost = float(end.get("sum", {}).get("lost_percent", 0.0))
    return float(whole["bits_per_second"]) * (1 - lost / 100)


def _window(client: Child, server: Child, capture: Child) -> Window:
    """Raises BenchError where nothing arrives."""
    time.sleep(SETTLING)
    pids = [*tree(client.pid), *tree(server.pid), *tree(capture.pid), *_softirq_threads()]
    began, used, size, datagrams, sent = _state(pids, client, server)
    time.sleep(WINDOW)
    ended, used_then, size_then, datagrams_then, sent_then = _state(pids, client, server)
    server.drain()
    arrived, count = size_then - size, sent_then - sent
    if not arrived:
        raise BenchError("iperf3 moved nothing.")
    loss = 100 * (1 - (datagrams_then - datagrams) / count) if count > 1 else 0.0
    return Window(rate=arrived * 8 / (ended - began), cost=(used_then - used) / arrived, loss=loss)


def _state(pids: Sequence[int], client: Child, server: Child) -> tuple[float, float, int, int, int]:
    """The time, processor time until now, bytes that came to the server's interface, datagrams that its sockets took and that the
    client's sent."""
    arrived = received(Path(f"/proc/{server.pid}/net/dev").read_text(), FAR_END)
    taken, _ = datagrams_of(Path(f"/proc/{server.pid}/net/snmp").read_text())
    _, sent = datagrams_of(Path(f"/proc/{client.pid}/net/snmp").read_text())
    return time.monotonic(), processor_time(pids), arrived, taken, sent


def received(table: str, interface: str) -> int:
    """Bytes that an interface has received, of the text of /proc/net/dev."""
    (counts,) = (line.partition(":")[2] for line in table.splitlines() if line.strip().startswith(f"{interface}:"))
    return int(counts.split()[0])


def datagrams_of(table: str) -> tuple[int, int]:
    """UDP datagrams that sockets have taken and sent, of the text of /proc/net/snmp."""
    names, counts = (line.split()[1:] for line in table.splitlines() if line.startswith("Udp:"))
    found = dict(zip(names, map(int, counts), strict=True))
    return found["InDatagrams"], found["OutDatagrams"]


def _softirq_threads() -> list[int]:
    """ksoftirqd/N, to which the kernel gives what is too much for the end of an interrupt."""
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/comm") if _name(path).startswith("ksoftirqd/")]


def _name(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
