"""How long a survey of connection tracking takes, beside the goal of 1.5 s for 60,000 entries to one destination.

In a network namespace of its own that has nothing but these entries; needs root. Times are medians in milliseconds.
"""

import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

from bench.rows import Row, row
from pathtap.agent.namespaces import run_in_namespace
from pathtap.agent.survey import survey
from pathtap.model.address import Protocol, Socket
from pathtap.model.survey import SurveyRequest

ROUNDS = 5
ENTRIES = 60_000
MOST = 1500.0
DESTINATION = Socket(IPv4Address("198.51.100.8"), 443)
PODS = 4


def measure() -> list[Row]:
    with crowded(f"bench{os.getpid()}ct") as namespace:
        times = run_in_namespace(namespace, _times)
    figure = f"a survey of {ENTRIES:,} entries to one destination; peer: {MOST:g} ms"
    return [row(figure, statistics.median(times), MOST, 1.0)]


@contextmanager
def crowded(name: str) -> Iterator[Path]:
    """A namespace whose table holds the entries, each with a translated port of its own. Afterwards it is gone."""
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        lines = "\n".join(_insertion(number) for number in range(ENTRIES))
        subprocess.run(
            ["ip", "netns", "exec", name, "conntrack", "-R", "-"],
            input=lines + "\n",
            text=True,
            check=True,
            capture_output=True,
        )
        yield Path("/run/netns") / name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def _insertion(number: int) -> str:
    """A line for conntrack(8)."""
    far, port = DESTINATION.address, DESTINATION.port
    original = f"-s 10.0.0.{number % PODS + 1} -d {far} --sport {1024 + number} --dport {port}"
    reply = f"-r {far} -q 192.168.1.29 --reply-port-src {port} --reply-port-dst {1024 + number}"
    return f"-I -p tcp {original} {reply} -t 600 --state ESTABLISHED -u SEEN_REPLY,ASSURED"


def _times() -> list[float]:
    found = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        report = survey("bench", SurveyRequest(protocol=Protocol.TCP, destination=DESTINATION))
        found.append((time.perf_counter() - started) * 1000)
        held = sum(len(usage.ports) for usage in report.usage)
        if held != ENTRIES:
            raise RuntimeError(f"the survey found {held} ports in use, not {ENTRIES}")
    return found


if __name__ == "__main__":
    print(measure())
