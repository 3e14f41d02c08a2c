"""What becomes of a trace when an agent or the collector is away in the middle of it, in a lab, with the real command line.

The collector is in a pod of the first node, so that agents reach it over the lab's own VPC, and TCP can be cut. The trace waits
a minute for traffic that never comes: whatever ends it sooner is what is measured.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field

from bench.idle import packet_sockets
from bench.outage_pair import CONNECTED, NOT_CONNECTED, PATIENCE, command_line, until
from bench.processes import BenchError, Child, module, started
from pathtap.lab.build import LabOptions, build, tear_down
from pathtap.lab.cluster import Cluster, Node
from pathtap.lab.kernel import network_namespaces
from pathtap.lab.state import StateDirectory

SOURCE, DESTINATION, COLLECTORS_POD = "shop/cart", "shop/redis", "shop/web"
PORT = "9469"
# What an agent might leave behind, as the kernel lists it: rules without their counters, queueing disciplines, links, ip rules.
LISTED = (
    ("nft", "--stateless", "list", "ruleset"),
    ("iptables-legacy-save",),
    ("tc", "qdisc", "show"),
    ("ip", "-o", "-br", "link"),
    ("ip", "rule"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How the command line ended; `gaps` are the nodes that the trace names as decisive gaps."""

    seconds: float
    exit_code: int
    gaps: frozenset[str]
    errors: str


@dataclass(slots=True, kw_only=True)
class Stage:
    cluster: Cluster
    stack: ExitStack
    collector: Child = field(init=False)
    agents: dict[str, Child] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"{self.cluster.pod(COLLECTORS_POD).address}:{PORT}"

    @property
    def directory(self) -> StateDirectory:
        return StateDirectory(self.cluster.options.prefix)

    @property
    def far(self) -> Node:
        """The destination's, and the one that is hurt."""
        return self.cluster.nodes[1]

    def start_collector(self) -> None:
        options = ("--listen", f"unix:{self.directory.socket}", "--listen-agents", self.address, "--insecure")
        argv = module("pathtap.collector", *options, "--inventory", str(self.directory.inventory))
        namespace = self.cluster.pod(COLLECTORS_POD).network_namespace
        self.collector = self.stack.enter_context(started(argv, namespace=namespace, speaks="stderr"))
        self.collector.until(f"listening on {self.address}")

    def start_agent(self, node: Node) -> None:
        options = ("--collector", self.address, "--node", node.name, "--insecure")
        argv = module("pathtap.agent", *options, "--cni-config", str(self.directory.cni_config(node.name)))
        self.agents[node.name] = self.stack.enter_context(
            started(argv, namespace=node.network_namespace, speaks="stderr")
        )

    def command(self, *words: str) -> list[str]:
        return module("pathtap.cli", "--collector", f"unix:{self.directory.socket}", "trace", SOURCE, "to", *words)

    @contextmanager
    def live_trace(self) -> Iterator["subprocess.Popen[str]"]:
        argv = self.command(DESTINATION, "--port", "6379", "--live", "--timeout", "60", "-o", "json")
        with command_line(argv) as trace:
            until(lambda: all(packet_sockets(agent.pid) > 0 for agent in self.agents.values()))
            # Of the time that the last node takes to say so.
            time.sleep(0.3)
            yield trace

    def works(self) -> bool:
        """Whether a trace with a probe finds that all is well."""
        done = subprocess.run(
            self.command(DESTINATION, "--port", "6379"), capture_output=True, timeout=PATIENCE, check=False
        )
        return done.returncode == 0

    def state(self) -> frozenset[str]:
        """Of the far node: what the kernel lists, its processes and packet sockets."""
        inside = ["ip", "netns", "exec", self.far.network_namespace]
        lines = {
            f"{argv[0]}: {line}"
            for argv in LISTED
            for line in subprocess.run([*inside, *argv], capture_output=True, text=True, check=True).stdout.splitlines()
            if not line.startswith("#")
        }
        pids = subprocess.run(
            ["ip", "netns", "pids", self.far.network_namespace], capture_output=True, text=True, check=True
        )
        sockets = subprocess.run([*inside, "cat", "/proc/net/packet"], capture_output=True, text=True, check=True)
        # Those of the machine: others' come and go.
        own = [name for name in network_namespaces() if name.startswith(self.cluster.options.prefix)]
        return frozenset(
            {*lines, *own, *(f"pid {pid}" for pid in pids.stdout.split()), *sockets.stdout.splitlines()[1:]}
        )


# In force while it is entered.
Hurt = Callable[[Stage], AbstractContextManager[None]]


@contextmanager
def staged(prefix: str) -> Iterator[tuple[Stage, frozenset[str]]]:
    """All are connected; and the far node's state from before it had an agent."""
    with ExitStack() as stack:
        stack.callback(tear_down, prefix)
        stage = Stage(cluster=build(LabOptions(prefix=prefix)), stack=stack)
        before = stage.state()
        stage.start_collector()
        for node in stage.cluster.nodes:
            stage.start_agent(node)
        for agent in stage.agents.values():
            agent.until(CONNECTED)
        yield stage, before


def traces(prefix: str) -> Mapping[str, float]:
    """One case after the other in the same lab: seconds from the fault to the end of the command line, and until all is well."""
    measured: dict[str, float] = {}
    with staged(prefix) as (stage, before):
        for how, hurt in AGENT_CASES.items():
            measured |= agent_case(stage, before, how, hurt)
        for how, (number, codes) in COLLECTOR_CASES.items():
            measured |= collector_case(stage, how, number, codes)
    return measured


def agent_case(stage: Stage, before: frozenset[str], how: str, hurt: Hurt) -> Mapping[str, float]:
    with stage.live_trace() as trace:
        began = time.monotonic()
        with hurt(stage):
            ended = _end_of(trace, began)
            _expect(ended.exit_code == 4 and stage.far.name in ended.gaps, f"agent {how}: the trace ended with {ended}")
            left = _left(stage, before) if how in GONE else 0
        began = time.monotonic()
        stage.agents[stage.far.name].until(CONNECTED)
        resumed = time.monotonic() - began
    _expect(stage.works(), f"agent {how}: no trace works after it")
    measured = {f"trace, agent {how}": ended.seconds, f"resumes, agent {how}": resumed}
    return measured | ({f"left, agent {how}": float(left)} if how in GONE else {})


def collector_case(stage: Stage, how: str, number: signal.Signals, codes: Mapping[int, str]) -> Mapping[str, float]:
    with stage.live_trace() as trace:
        began = time.monotonic()
        os.kill(stage.collector.pid, number)
        ended = _end_of(trace, began)
        told = codes.get(ended.exit_code)
        _expect(told is not None and told in ended.errors, f"collector {how}: the trace ended with {ended}")
    if number is signal.SIGSTOP:
        for agent in stage.agents.values():
            agent.until(NOT_CONNECTED)
        os.kill(stage.collector.pid, signal.SIGCONT)
    began = time.monotonic()
    if number is not signal.SIGSTOP:
        stage.start_collector()
        began = time.monotonic()
    for agent in stage.agents.values():
        agent.until(CONNECTED)
    resumed = time.monotonic() - began
    sockets = sum(packet_sockets(agent.pid) for agent in stage.agents.values())
    _expect(sockets == 0, f"collector {how}: {sockets} packet sockets were left")
    _expect(stage.works(), f"collector {how}: no trace works after it")
    return {f"trace, collector {how}": ended.seconds, f"resumes, collector {how}": resumed}


def _end_of(trace: "subprocess.Popen[str]", began: float) -> Ended:
    """Raises subprocess.TimeoutExpired where it hangs."""
    output, errors = trace.communicate(timeout=PATIENCE)
    gaps = json.loads(output)["verdict"]["gaps"] if output else []
    return Ended(
        seconds=time.monotonic() - began,
        exit_code=trace.returncode,
        gaps=frozenset(gap["node"] for gap in gaps if gap["decisive"]),
        errors=errors,
    )


def _left(stage: Stage, before: frozenset[str]) -> int:
    """How many things the node has that it had not before its agent, once what ends with it has had a second or two."""
    deadline = time.monotonic() + 3
    while (left := stage.state() - before) and time.monotonic() < deadline:
        time.sleep(0.1)
    return len(left)


@contextmanager
def _ended_by(stage: Stage, number: signal.Signals) -> Iterator[None]:
    """Afterwards another one is started."""
    os.kill(stage.agents[stage.far.name].pid, number)
    yield
    stage.start_agent(stage.far)


@contextmanager
def _stopped(stage: Stage) -> Iterator[None]:
    pid = stage.agents[stage.far.name].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def _black_holed(stage: Stage) -> Iterator[None]:
    """In the collector's pod, so that no node's rules change."""
    inside = ["ip", "netns", "exec", stage.cluster.pod(COLLECTORS_POD).network_namespace, "iptables", "-w"]
    address = str(stage.far.address)
    rules = (("INPUT", "-s", address, "-j", "DROP"), ("OUTPUT", "-d", address, "-j", "DROP"))
    for rule in rules:
        subprocess.run([*inside, "-I", *rule], check=True, capture_output=True)
    try:
        yield
        # The collector may be first: what it says then does not come through.
        stage.agents[stage.far.name].until(NOT_CONNECTED)
    finally:
        for rule in rules:
            subprocess.run([*inside, "-D", *rule], check=True, capture_output=True)


def _expect(so: bool, otherwise: str) -> None:
    if not so:
        raise BenchError(f"{otherwise}.")


GONE = ("killed", "asked to end")
AGENT_CASES: Mapping[str, Hurt] = {
    "killed": lambda stage: _ended_by(stage, signal.SIGKILL),
    "asked to end": lambda stage: _ended_by(stage, signal.SIGTERM),
    "stopped": _stopped,
    "black-holed": _black_holed,
}
# By exit code what the command line has to say: a collector that is asked to end still answers, with what it has.
COLLECTOR_CASES: Mapping[str, tuple[signal.Signals, Mapping[int, str]]] = {
    "killed": (signal.SIGKILL, {1: "went away"}),
    "asked to end": (signal.SIGTERM, {4: ""}),
    "stopped": (signal.SIGSTOP, {1: "went away"}),
}
