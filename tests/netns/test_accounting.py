"""From a socket to the collector's log, under stress: every packet is delivered or lost by name, and memory stays in bounds.

A real agent with its worker, and the collector's own intake, each a process; a flood on the veth between them and the pod.
"""

import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.agent import NODE_NAME, RAISED
from bench.listeners import generator
from bench.processes import Child, module, started
from bench.wiring import Wired, wired
from pathtap.agent.namespaces import run_in_namespace

pytestmark = pytest.mark.netns

SECONDS = 1.0
SPOOL_BYTES = 4 << 20
LOG_BYTES = 16 << 20
RINGS_BYTES = 32 << 20
# What interpreters, libraries and gRPC's own buffers take, roomily; a flood that was kept whole would take hundreds of MiB.
AGENT_BYTES = 260 << 20
COLLECTOR_BYTES = 160 << 20
PORT = 9471


@dataclass(frozen=True)
class Pair:
    agent: Child
    judge: Child

    def arm(self) -> None:
        assert self.judge.say("arm").answer()["unread"] == []

    def end(self) -> dict[str, int]:
        """The account: what was accepted and kept, and each loss by its stage. It adds up."""
        told = self.judge.say("end").answer()
        account = {"accepted": told["accepted"], "kept": told["kept"], **told["lost"]}
        assert account["accepted"] == account["kept"] + sum(told["lost"].values()), account
        return account

    def memory(self) -> tuple[int, int]:
        """The most that the agent with its worker, and the collector, ever held, in bytes."""
        workers = Path(f"/proc/{self.agent.pid}/task/{self.agent.pid}/children").read_text().split()
        return sum(map(_peak, [self.agent.pid, *map(int, workers)])), _peak(self.judge.pid)


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM:"))


@pytest.fixture(scope="module")
def wires() -> Iterator[Wired]:
    with wired(f"hbc{os.getpid()}") as built:
        yield built


@contextmanager
def paired(wires: Wired, directory: Path, *options: str) -> Iterator[Pair]:
    socket = directory / "collector.sock"
    with started(module("bench.judge", str(socket), NODE_NAME, "--most-bytes", str(LOG_BYTES))) as judge:
        judge.until("ready")
        argv = module("pathtap.agent", "--collector", f"unix:{socket}", "--node", NODE_NAME, "--insecure")
        argv = [*argv, "--spool-bytes", str(SPOOL_BYTES), "--log-level", "warning", *options]
        with started(argv, namespace=wires.node) as agent:
            judge.until("joined")
            yield Pair(agent, judge)


def flood(wires: Wired) -> int:
    """As fast as it goes; how many packets."""
    with generator(wires, rate=0, seconds=SECONDS) as sender:
        return int(sender.say().answer()["sent"])


def assert_bounded(pair: Pair) -> None:
    agent, collector = pair.memory()
    assert agent < AGENT_BYTES + SPOOL_BYTES + RINGS_BYTES
    assert collector < COLLECTOR_BYTES + LOG_BYTES


def test_a_flood_is_accounted_for_to_the_last_packet(wires: Wired, tmp_path: Path) -> None:
    with paired(wires, tmp_path, "--health-port", "0", *RAISED) as pair:
        pair.arm()
        sent = flood(wires)
        account = pair.end()
        assert_bounded(pair)
    assert account["accepted"] >= sent > 0
    # More than the collector keeps of one capture came, unless it was lost before.
    assert account["kept"] <= LOG_BYTES // 80
    assert set(account) <= {"accepted", "kept", "kernel", "spool", "collector"}


def test_with_a_collector_that_is_slow_the_sum_holds_and_memory_does_not_grow(wires: Wired, tmp_path: Path) -> None:
    with paired(wires, tmp_path, "--health-port", "0", *RAISED) as pair:
        pair.arm()
        with generator(wires, rate=0, seconds=SECONDS) as sender:
            sender.say()
            # It runs a tenth of the time.
            for _ in range(int(SECONDS * 10)):
                os.kill(pair.judge.pid, signal.SIGSTOP)
                time.sleep(0.09)
                os.kill(pair.judge.pid, signal.SIGCONT)
                time.sleep(0.01)
            sent = int(sender.answer()["sent"])
        account = pair.end()
        assert_bounded(pair)
    assert account["accepted"] >= sent > 0
    assert account["kept"] < account["accepted"]


def test_what_a_stopped_collector_does_not_take_is_lost_at_the_spool(wires: Wired, tmp_path: Path) -> None:
    with paired(wires, tmp_path, "--health-port", "0", *RAISED) as pair:
        pair.arm()
        os.kill(pair.judge.pid, signal.SIGSTOP)
        try:
            sent = flood(wires)
        finally:
            os.kill(pair.judge.pid, signal.SIGCONT)
        account = pair.end()
        assert_bounded(pair)
    assert account["accepted"] >= sent > 0
    assert account["spool"] > 0
    assert account["kept"] > 0


def test_a_limit_that_is_reached_counts_what_is_beyond_and_metrics_tell_the_same(wires: Wired, tmp_path: Path) -> None:
    options = ("--health-port", str(PORT), "--max-packets", "1000", "--max-captures", "1")
    with paired(wires, tmp_path, *options) as pair:
        pair.arm()
        flood(wires)
        account = pair.end()
        metrics = _metrics(wires)
    assert account["kept"] == 1000
    assert account["limit"] == account["accepted"] - 1000 - account.get("kernel", 0)
    assert metrics["pathtap_agent_packets_accepted_total"] == account["accepted"]
    assert metrics["pathtap_agent_packets_delivered_total"] == 1000
    assert metrics['pathtap_agent_packets_lost_total{where="limit"}'] == account["limit"]
    assert metrics["pathtap_agent_captures_armed"] == 0
    assert metrics["pathtap_agent_workers_started_total"] == 1
    assert metrics["pathtap_agent_connected"] == 1


def _metrics(wires: Wired) -> dict[str, float]:
    def ask() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    lines = run_in_namespace(Path("/run/netns") / wires.node, ask).splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}
