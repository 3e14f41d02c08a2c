"""A real agent in a node of one pod, asked by a gRPC server: each command for real, and no socket without a trace."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sized
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest

from pathtap import wire
from pathtap.model.address import Socket
from pathtap.model.node import NodeSnapshot, Role
from pathtap.model.packet import PacketObservation
from pathtap.model.request import (
    Answer,
    CaptureArmed,
    CaptureEnded,
    CaptureRequest,
    Command,
    EndCapture,
    LookupReport,
    LookupRequest,
    ProbeOutcome,
    ProbeRequest,
    ReadSnapshot,
    RouteQuestion,
)
from pathtap.v1 import agent_pb2 as pb
from pathtap.v1.agent_pb2_grpc import IntakeServiceServicer, add_IntakeServiceServicer_to_server

pytestmark = pytest.mark.netns

PREFIX = f"ptad{os.getpid()}"
NODE, POD, OUTSIDE = f"{PREFIX}n", f"{PREFIX}p", f"{PREFIX}o"
NODE_ADDRESS, POD_ADDRESS = IPv4Address("192.0.2.10"), IPv4Address("192.0.2.50")
FAR = IPv4Address("198.51.100.8")
CAPTURE = CaptureRequest(id="trace-1", protocol=1, near=(POD_ADDRESS, NODE_ADDRESS), far=(FAR,), pods=(POD_ADDRESS,))

WIRING = f"""
link add eth0 netns {NODE} type veth peer name node netns {OUTSIDE}
link add eni5f1 netns {NODE} type veth peer name eth0 netns {POD}
-n {NODE} link set lo up
-n {NODE} link set eth0 up
-n {NODE} link set eni5f1 up
-n {POD} link set lo up
-n {POD} link set eth0 up
-n {OUTSIDE} link set lo up
-n {OUTSIDE} link set node up
-n {NODE} address add {NODE_ADDRESS}/24 dev eth0
-n {NODE} route add default via 192.0.2.1
-n {NODE} route add {POD_ADDRESS}/32 dev eni5f1
-n {POD} address add {POD_ADDRESS}/32 dev eth0
-n {POD} route add 169.254.1.1 dev eth0 scope link
-n {POD} route add default via 169.254.1.1
-n {OUTSIDE} address add 192.0.2.1/24 dev node
-n {OUTSIDE} address add {FAR}/32 dev lo
"""

Kind = TypeVar("Kind")


def run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def within(namespace: str, *words: str) -> str:
    return run("ip", "netns", "exec", namespace, *words)


@pytest.fixture(scope="module", autouse=True)
def node() -> Iterator[None]:
    """A node that SNATs what its one pod sends to the outside."""
    try:
        for name in (NODE, POD, OUTSIDE):
            run("ip", "netns", "add", name)
        for line in WIRING.split("\n"):
            if line:
                run("ip", *line.split())
        within(NODE, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.eni5f1.proxy_arp=1")
        gateway = within(NODE, "cat", "/sys/class/net/eni5f1/address").strip()
        run("ip", "-n", POD, "neighbour", "add", "169.254.1.1", "lladdr", gateway, "dev", "eth0", "nud", "permanent")
        snat = f"-t nat -A POSTROUTING -s {POD_ADDRESS} -o eth0 -j SNAT --to-source {NODE_ADDRESS} --random-fully"
        within(NODE, "iptables", *snat.split())
        yield
    finally:
        for name in (NODE, POD, OUTSIDE):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


class Collector(IntakeServiceServicer):
    """Keeps what the agent sends, asks one thing at a time."""

    def __init__(self) -> None:
        self.messages: list[pb.ConnectRequest] = []
        self._changed = asyncio.Condition()
        self._commands: asyncio.Queue[pb.ConnectResponse] = asyncio.Queue()
        self._number = 0

    async def Connect(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]  # noqa: N802
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(self._write(context))
            async for message in request_iterator:
                async with self._changed:
                    self.messages.append(message)
                    self._changed.notify_all()
            writer.cancel()

    async def _write(self, context: Any) -> None:
        while True:
            await context.write(await self._commands.get())

    def observations(self) -> list[PacketObservation]:
        batches = [wire.batch_from_wire(message.batch, NODE) for message in self.messages]
        return [
            each
            for observations, _, rows in batches
            for each in (*observations, *(one for part in rows for one in part.observations()))
        ]

    def lost(self) -> list[pb.Lost]:
        return [loss for message in self.messages for loss in message.batch.lost]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(condition)

    async def ask(self, command: Command, kind: type[Kind]) -> Kind:
        self._number += 1
        number = self._number
        self._commands.put_nowait(wire.command_to_wire(number, command))
        await self.until(lambda: any(message.answer.command == number for message in self.messages))
        found = next(message.answer for message in self.messages if message.answer.command == number)
        answer: Answer = wire.answer_from_wire(found, NODE)
        assert isinstance(answer, kind), answer
        return answer


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[Collector]:
    collector, server = Collector(), grpc.aio.server()
    add_IntakeServiceServicer_to_server(collector, server)
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(0)


@asynccontextmanager
async def agent(path: Path, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process in the node's namespace, stopped as the kubelet would stop it, unless it is gone by then."""
    command = [sys.executable, "-m", "pathtap.agent", "--collector", f"unix:{path}", "--node", NODE, "--insecure"]
    process = await asyncio.create_subprocess_exec(
        "ip", "netns", "exec", NODE, *command, *options, stderr=asyncio.subprocess.PIPE
    )
    killed = False
    try:
        yield process
    finally:
        killed = process.returncode == -signal.SIGKILL
        if not killed:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            _, log = await process.communicate()
    assert killed or process.returncode == 0, log.decode()
    assert b"Traceback" not in log, log.decode()


def workers(process: asyncio.subprocess.Process) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def resident(pid: int) -> float:
    """In MB: VmRSS of proc_pid_status(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmRSS:"))


def processor_seconds(pid: int) -> float:
    """User and system time, proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def until_nobody(left: Callable[[], Sized]) -> None:
    async with asyncio.timeout(15):
        while left():
            await asyncio.sleep(0.05)


def packet_sockets(process: asyncio.subprocess.Process) -> int:
    """How many the node's namespace has: /proc/net/packet lists one to a line below its heading."""
    return len(Path(f"/proc/{process.pid}/net/packet").read_text().splitlines()) - 1


def play(path: Path, scene: Callable[[Collector, Any], Coroutine[Any, Any, None]]) -> None:
    async def all_of_it() -> None:
        async with asyncio.timeout(60), serving(path) as collector, agent(path) as process:
            await collector.until(lambda: bool(collector.messages))
            await scene(collector, process)

    asyncio.run(all_of_it())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "collector.sock"


def test_a_probe_is_sent_captured_and_recorded(path: Path) -> None:
    async def scene(collector: Collector, process: asyncio.subprocess.Process) -> None:
        snapshot = await collector.ask(ReadSnapshot(), NodeSnapshot)
        roles = {interface.name: interface.role for interface in snapshot.interfaces}
        assert (roles["eth0"], roles["eni5f1"]) == (Role.PRIMARY_ENI, Role.POD_VETH)
        assert any(
            "SNAT" in rule.text for rules in snapshot.rule_sets for chain in rules.chains for rule in chain.rules
        )
        assert packet_sockets(process) == 0

        armed = await collector.ask(CAPTURE, CaptureArmed)
        assert (set(armed.interfaces), armed.unread) == ({"eth0", "eni5f1"}, ())
        assert packet_sockets(process) == 2
        request = ProbeRequest(protocol=1, source=POD_ADDRESS, destination=Socket(FAR, 0))
        (report,) = await collector.ask(request, tuple)
        assert report.outcome is ProbeOutcome.ANSWERED, report
        ended = await collector.ask(EndCapture(id="trace-1"), CaptureEnded)
        assert {stats.interface: stats.received for stats in ended.stats} == {"eth0": 2, "eni5f1": 2}
        assert packet_sockets(process) == 0

        seen = collector.observations()
        seen.sort(key=lambda observation: observation.captured_at)
        assert [observation.interface for observation in seen] == ["eni5f1", "eth0", "eth0", "eni5f1"]
        assert [str(observation.headers.five_tuple.source) for observation in seen] == [
            str(POD_ADDRESS),
            str(NODE_ADDRESS),
            str(FAR),
            str(FAR),
        ]
        question = RouteQuestion(destination=FAR, source=POD_ADDRESS, in_interface="eni5f1")
        report = await collector.ask(LookupRequest(addresses=(POD_ADDRESS,), routes=(question,)), LookupReport)
        (entry,) = report.entries
        assert entry.source_translation is not None
        assert entry.source_translation.after.address == NODE_ADDRESS
        assert (report.routes[0].table, report.routes[0].interface, report.unread) == (254, "eth0", ())

    play(path, scene)


async def trace(collector: Collector) -> None:
    await collector.ask(ReadSnapshot(), NodeSnapshot)
    await collector.ask(CAPTURE, CaptureArmed)
    request = ProbeRequest(protocol=1, source=POD_ADDRESS, destination=Socket(FAR, 0))
    await collector.ask(request, tuple)
    await collector.ask(EndCapture(id="trace-1"), CaptureEnded)


def test_what_is_heavy_ends_with_the_traces(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def all_of_it() -> None:
        async with asyncio.timeout(60), serving(path) as collector, agent(path, "--worker-idle", "1") as process:
            await collector.until(lambda: bool(collector.messages))
            assert (workers(process), packet_sockets(process)) == ([], 0)
            before = resident(process.pid)
            for _ in range(2):
                await trace(collector)
                (worker,) = workers(process)
                heavy = resident(worker)
                await until_nobody(lambda: workers(process))
            after, used = resident(process.pid), processor_seconds(process.pid)
            await asyncio.sleep(5)
            percent = (processor_seconds(process.pid) - used) / 5 * 100
            assert (workers(process), packet_sockets(process)) == ([], 0)
            with capsys.disabled():
                sys.stdout.write(
                    f"\nagent {before:.1f} MB before its first trace, {after:.1f} MB after its last; its worker had "
                    f"{heavy:.1f} MB; {percent:.2f} % of a processor idle\n"
                )
            assert max(before, after) <= 60
            assert percent <= 1

    asyncio.run(all_of_it())


def test_a_worker_that_is_killed_costs_its_captures_and_nothing_else(path: Path) -> None:
    async def scene(collector: Collector, process: asyncio.subprocess.Process) -> None:
        await collector.ask(CAPTURE, CaptureArmed)
        assert packet_sockets(process) == 2
        (worker,) = workers(process)
        os.kill(worker, signal.SIGKILL)
        await collector.until(lambda: bool(collector.lost()))
        ((where, capture),) = [(loss.where, loss.capture) for loss in collector.lost()]
        assert (where, capture, packet_sockets(process)) == ("worker", "trace-1", 0)
        await trace(collector)
        assert len(collector.observations()) == 4
        assert workers(process) != [worker]

    play(path, scene)


def test_an_agent_that_is_killed_leaves_no_capture_behind(path: Path) -> None:
    async def scene(collector: Collector, process: asyncio.subprocess.Process) -> None:
        await collector.ask(CAPTURE, CaptureArmed)
        (worker,) = workers(process)
        process.kill()
        await process.wait()
        await until_nobody(lambda: within(NODE, "cat", "/proc/net/packet").splitlines()[1:])
        status = Path(f"/proc/{worker}/status")
        # Whoever is its parent now may take its time to reap it.
        await until_nobody(
            lambda: status.read_text().split("State:")[1].split()[0].strip("ZX") if status.exists() else ""
        )

    play(path, scene)


def test_healthz_says_whether_a_collector_is_there(path: Path) -> None:
    ask = (
        "import http.client; asked = http.client.HTTPConnection('127.0.0.1', 9470); "
        "asked.request('GET', '/healthz'); print(asked.getresponse().status)"
    )

    async def status() -> str:
        return (await asyncio.to_thread(within, NODE, sys.executable, "-c", ask)).strip()

    async def all_of_it() -> None:
        async with asyncio.timeout(30), agent(path):
            async with serving(path) as collector:
                await collector.until(lambda: bool(collector.messages))
                # Either end may know of a connection, or of its end, some tenths of a second before the other does.
                while (told := await status()) != "200":
                    assert told == "503"
            while (told := await status()) != "503":
                assert told == "200"

    asyncio.run(all_of_it())


def test_without_a_collector_nothing_is_captured(path: Path) -> None:
    async def all_of_it() -> None:
        async with asyncio.timeout(30), agent(path) as process:
            async with serving(path) as collector:
                await collector.until(lambda: bool(collector.messages))
                await collector.ask(CAPTURE, CaptureArmed)
                assert packet_sockets(process) == 2
            async with asyncio.timeout(3):
                while packet_sockets(process):
                    await asyncio.sleep(0.05)
            async with serving(path) as successor:
                await successor.until(lambda: len(successor.messages) > 1)
                (lost,) = successor.messages[1].batch.lost
                assert (lost.where, lost.capture) == ("stream", "trace-1")

    asyncio.run(all_of_it())


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (
            # Still root by name: another user could not read this checkout below a home directory.
            ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all"),
            1,
            "needs CAP_NET_ADMIN and CAP_NET_RAW",
        ),
        ((), 1, "/healthz cannot be served on 127.0.0.1:9470"),
    ],
)
def test_refusals_are_one_sentence(path: Path, words: tuple[str, ...], code: int, sentence: str) -> None:
    async def all_of_it() -> subprocess.CompletedProcess[str]:
        async with serving(path) as collector, agent(path):
            await collector.until(lambda: bool(collector.messages))
            command = [
                sys.executable,
                "-m",
                "pathtap.agent",
                "--collector",
                f"unix:{path}",
                "--node",
                "x",
                "--insecure",
            ]
            return await asyncio.to_thread(
                subprocess.run,
                ["ip", "netns", "exec", NODE, *words, *command],
                check=False,
                capture_output=True,
                text=True,
            )

    result = asyncio.run(all_of_it())
    assert result.returncode == code
    assert result.stderr.startswith("Error: ")
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1
