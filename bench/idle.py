"""What an agent costs while nobody traces: before its first trace, and 30 s after its last. Medians of several samples.

Of all its processes together, as /proc tells: resident memory, processor time, and packet sockets in its network namespace.
"""

import os
import statistics
import time
from pathlib import Path

from bench.agent import Joined, joined
from bench.processes import BenchError, processor_time, resident, tree
from bench.rows import Row, row, unmeasured
from bench.whole_way import trial
from bench.wiring import Wired, wired

# As often as both ends of the connection ping (keepalive, docs/wire.md): gRPC's threads then have something to do, and look for
# more for some seconds. A shorter sample has all of it or none.
SAMPLES, SAMPLE_SECONDS = 5, 10.0
SETTLING, AFTER = 2.0, 30.0
MEMORY, PROCESSOR = 60.0, 0.1
TRACED_RATE, TRACED_SECONDS = 50_000, 2.0


def measure() -> list[Row]:
    try:
        with wired(f"bench{os.getpid()}i") as wires, joined(wires) as pair:
            time.sleep(SETTLING)
            before = _rows(pair, "before its first trace")
            _trace(wires, pair)
            time.sleep(AFTER)
            return [*before, *_rows(pair, f"{AFTER:g} s after its last trace")]
    except BenchError as error:
        return [unmeasured("an idle agent", 1.0, "at most", str(error))]


def _trace(wires: Wired, pair: Joined) -> None:
    """What a trace asks of an agent: to read the node, and to capture."""
    pair.ask("read")
    trial(wires, pair, TRACED_RATE, TRACED_SECONDS)


def _rows(pair: Joined, when: str) -> list[Row]:
    memory, busy = [], []
    for _ in range(SAMPLES):
        pids = tree(pair.agent.pid)
        used = processor_time(pids)
        time.sleep(SAMPLE_SECONDS)
        busy.append((processor_time(pids) - used) / SAMPLE_SECONDS * 100)
        memory.append(resident(tree(pair.agent.pid)))
    processes = f"{len(tree(pair.agent.pid))} process(es)"
    spread = f"samples of {SAMPLE_SECONDS:g} s between {min(busy):.3f} and {max(busy):.3f}"
    name = f"an idle agent, {when}"
    return [
        row(f"{name}: MB of memory; peer: {MEMORY:g} MB", statistics.median(memory), MEMORY, 1.0, processes),
        row(f"{name}: per cent of a processor; peer: {PROCESSOR:g}", statistics.median(busy), PROCESSOR, 1.0, spread),
        row(f"{name}: packet sockets; peer: none", packet_sockets(pair.agent.pid), 0, 1.0),
    ]


def packet_sockets(pid: int) -> int:
    """In the process's network namespace; /proc/PID/net/packet has a line for each, behind one of headings."""
    return len(Path(f"/proc/{pid}/net/packet").read_text().splitlines()) - 1
