"""How long a trace takes, beside a ping of the same way: medians of 20, in a lab of its own, side by side in one run.

`ours` is the time from the collector's receipt to the verdict; `peer` the ping's round trip plus 250 ms; both in milliseconds.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from bench.rows import Row, row
from pathtap.lab.build import LabOptions, build, tear_down
from pathtap.lab.kernel import command_inside
from pathtap.lab.processes import start
from pathtap.lab.state import StateDirectory
from pathtap.lab.topology import Cluster

ROUNDS = 20
ALLOWANCE_MS = 250.0
TRACES = {
    "pod to pod, other node, ICMP": ("shop/cart", "shop/redis", ()),
    "pod to pod, other node, secondary ENI, TCP": ("shop/search", "shop/redis", ("--port", "6379")),
    "pod to pod, same node, TCP": ("shop/cart", "shop/search", ("--port", "9200")),
    "pod to internet, ICMP": ("shop/cart", "198.51.100.8", ()),
    "pod to internet, secondary ENI, TCP": ("shop/search", "198.51.100.8", ("--port", "443")),
    "pod to service, TCP": ("shop/cart", "svc/shop/web", ("--port", "80")),
}


@contextmanager
def lab() -> Iterator[Cluster]:
    options = LabOptions(prefix=f"b{os.getpid()}")
    try:
        cluster = build(options)
        start(cluster)
        yield cluster
    finally:
        tear_down(options.prefix)


def seconds(text: str) -> float:
    """RFC 3339 with nanoseconds, of which datetime reads six digits."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(whole + "+00:00").timestamp() + float(f"0.{fraction or 0}")


def trace(collector: str, source: str, destination: str, options: Sequence[str]) -> tuple[float, float]:
    """Milliseconds in the collector, and of the whole command."""
    argv = [sys.executable, "-m", "pathtap.cli", "--collector", collector, "trace", source, "to", destination, *options]
    began = time.monotonic()
    done = subprocess.run([*argv, "-o", "json"], capture_output=True, text=True, check=True)
    took = time.monotonic() - began
    answer = json.loads(done.stdout)
    return (seconds(answer["finished_at"]) - seconds(answer["started_at"])) * 1e3, took * 1e3


def ping(cluster: Cluster, source: str, destination: str) -> float:
    """Milliseconds of one round trip; a service's address does not answer pings, so one of its pods stands for it."""
    pod = "shop/orders" if destination.startswith("svc/") else destination
    address = str(cluster.pod(pod).address) if "/" in pod else pod
    out = command_inside(cluster.pod(source).network_namespace, ["ping", "-n", "-c", "1", "-W", "1", address])
    found = re.search(r"time=([\d.]+) ms", out)
    if found is None:
        raise SystemExit(f"ping from {source} to {address} printed no time:\n{out}")
    return float(found[1])


def measure() -> list[Row]:
    rows: list[Row] = []
    with lab() as cluster:
        collector = f"unix:{StateDirectory(cluster.options.prefix).socket}"
        print(f"{'trace (median of ' + str(ROUNDS) + ')':<46}{'collector':>10}{'command':>10}{'ping':>8}{'ratio':>8}")
        for name, (source, destination, options) in TRACES.items():
            trace(collector, source, destination, options)
            runs = [
                (*trace(collector, source, destination, options), ping(cluster, source, destination))
                for _ in range(ROUNDS)
            ]
            ours, whole, round_trip = (statistics.median(each) for each in zip(*runs, strict=True))
            peer = round_trip + ALLOWANCE_MS
            print(f"{name:<46}{ours:>7.0f} ms{whole:>7.0f} ms{round_trip:>8.3f}{ours / peer:>8.2f}")
            rows.append(row(f"wall time of one warm trace: {name}", ours, peer, 1.0))
    return rows
