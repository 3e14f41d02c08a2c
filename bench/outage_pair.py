"""A real agent and a real collector in network namespaces of their own, TCP between them, and what can be done to either.

The agent is in the node's namespace of `bench.wiring`, the collector in the one that its ENI leads to. Needs root.
"""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from bench.idle import packet_sockets
from bench.processes import FIRST, BenchError, Child, module, set_nice, started
from bench.wiring import FAR, FAR_END, NODE, POD, Wired, wired
from pathtap.agent.namespaces import run_in_namespace

NODE_NAME, POD_NAME = "far-node", "shop/cart"
ADDRESS = "192.0.2.1:9469"
METRICS = "http://127.0.0.1:9470/metrics"
PING_RATE = 50
# Seconds: long enough for whatever is promised, short enough for what hangs.
PATIENCE = 40.0
CONNECTED, NOT_CONNECTED = "connected to the collector", "not connected:"
WENT_AWAY = f"agent of {NODE_NAME} went away"


@dataclass(slots=True, kw_only=True)
class Pair:
    """`directory` is where the collector's socket for people is, and its inventory."""

    wires: Wired
    directory: Path
    stack: ExitStack
    collector: Child = field(init=False)
    agent: Child = field(init=False)

    @property
    def people(self) -> str:
        return f"unix:{self.directory}/collector.sock"

    def start_collector(self) -> None:
        """Returns when it listens for agents."""
        options = ("--listen", self.people, "--listen-agents", ADDRESS, "--insecure")
        argv = module("pathtap.collector", *options, "--inventory", str(self.directory / "inventory.json"))
        self.collector = self.stack.enter_context(started(argv, namespace=self.wires.far, speaks="stderr"))
        self.collector.until(f"listening on {ADDRESS}")

    def start_agent(self) -> None:
        """Returns when it is connected."""
        argv = module("pathtap.agent", "--collector", ADDRESS, "--node", NODE_NAME, "--insecure")
        self.agent = self.stack.enter_context(started(argv, namespace=self.wires.node, speaks="stderr"))
        self.agent.until(CONNECTED)

    @contextmanager
    def black_hole(self) -> Iterator[None]:
        """Neither end hears the other, and nobody says so."""
        rules = (("INPUT", "-i", FAR_END, "-p", "tcp"), ("OUTPUT", "-o", FAR_END, "-p", "tcp"))
        for rule in rules:
            self._iptables("-I", *rule, "-j", "DROP")
        try:
            yield
        finally:
            for rule in rules:
                self._iptables("-D", *rule, "-j", "DROP")

    @contextmanager
    def stopped(self, process: Child) -> Iterator[None]:
        os.kill(process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(process.pid, signal.SIGCONT)

    @contextmanager
    def live_trace(self, seconds: float) -> Iterator["subprocess.Popen[str]"]:
        """A trace that sees no flow of its pod for so long, and captures what the node itself sends to the same address."""
        argv = [
            "trace",
            POD_NAME,
            "to",
            str(FAR),
            "--protocol",
            "icmp",
            "--live",
            "--timeout",
            f"{seconds:g}",
            "-o",
            "json",
        ]
        with command_line(self.command(*argv)) as trace:
            until(lambda: packet_sockets(self.agent.pid) > 0)
            yield trace

    @contextmanager
    def pings(self, programs: int) -> Iterator[None]:
        """Echo requests from the node to the outside, PING_RATE a second of each program; request and answer are captured."""
        # With a shorter interval ping does not sleep between them.
        argv = ["ip", "netns", "exec", self.wires.node, "ping", "-q", "-i", f"{1 / PING_RATE:g}", str(FAR)]
        with ExitStack() as stack:
            for _ in range(programs):
                stack.enter_context(started(argv))
            yield

    def command(self, *words: str) -> list[str]:
        return module("pathtap.cli", "--collector", self.people, *words)

    def node(self) -> Any:
        """What `pathtap nodes` says of the agent's node."""
        done = subprocess.run(
            self.command("nodes", "-o", "json"), capture_output=True, text=True, check=True, timeout=20
        )
        return json.loads(done.stdout)["nodes"][0]

    def metrics(self) -> dict[str, int]:
        """The agent's own, by name and labels, without what all names begin with."""
        text = run_in_namespace(
            Path("/run/netns") / self.wires.node, lambda: urlopen(METRICS, timeout=5).read().decode()
        )
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name.removeprefix("pathtap_agent_"): int(float(value)) for name, _, value in lines}

    def _iptables(self, *words: str) -> None:
        argv = ["ip", "netns", "exec", self.wires.far, "iptables", "-w", *words]
        subprocess.run(argv, check=True, capture_output=True, timeout=20)


@contextmanager
def pair(prefix: str) -> Iterator[Pair]:
    """Both run and know each other. Afterwards nothing of them is left. Raises BenchError."""
    with tempfile.TemporaryDirectory(prefix="pathtap-bench") as directory, wired(prefix) as wires, ExitStack() as stack:
        Path(directory, "inventory.json").write_text(json.dumps(inventory()))
        made = Pair(wires=wires, directory=Path(directory), stack=stack)
        made.start_collector()
        made.start_agent()
        yield made


@contextmanager
def command_line(argv: Sequence[str]) -> Iterator["subprocess.Popen[str]"]:
    """`pathtap`, whose output is read from it, and which is gone afterwards. Measured as agent and collector are (`Child`)."""
    process = subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    set_nice(process.pid, FIRST)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def inventory() -> dict[str, Any]:
    """One node with one pod, as kubectl prints them."""
    namespace, name = POD_NAME.split("/")
    node = {
        "kind": "Node",
        "metadata": {"name": NODE_NAME},
        "status": {"addresses": [{"type": "InternalIP", "address": str(NODE)}]},
    }
    pod = {
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "uid": "1"},
        "spec": {"nodeName": NODE_NAME},
        "status": {"phase": "Running", "podIP": str(POD), "podIPs": [{"ip": str(POD)}]},
    }
    return {"kind": "List", "items": [node, pod]}


def until(happened: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Raises BenchError where it does not happen in time."""
    deadline = time.monotonic() + patience
    while not happened():
        if time.monotonic() > deadline:
            raise BenchError(f"what was waited for did not happen within {patience:g} s.")
        time.sleep(0.02)
