"""The agent and its worker as processes of their own: what becomes of commands, captures and memory when one of them ends."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from agent_stage import BOOT, HERE, PROBE, Collector, SmallNode, running, serving, settings_for
from scripted_agent_process import WORKER

from pathtap import wire
from pathtap.agent.config import Settings
from pathtap.agent.daemon import Daemon
from pathtap.agent.launch import launch, worker_command
from pathtap.agent.spool import BATCH
from pathtap.model.node import NodeSnapshot
from pathtap.model.request import (
    CaptureArmed,
    CaptureEnded,
    CaptureRequest,
    EndCapture,
    Failure,
    LookupRequest,
    ProbeOutcome,
    ProbeReport,
    ReadSnapshot,
)
from pathtap.model.survey import SurveyReport, SurveyRequest

SUPPORT = Path(__file__).parents[2] / "support"
CAPTURE = CaptureRequest(id="a", protocol=0, near=(HERE,), limit=1000)
MIB = 1 << 20
Scene = Callable[[Collector], Coroutine[Any, Any, None]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "collector.sock"


def play(path: Path, scene: Scene, program: Sequence[str] = WORKER, **changes: Any) -> None:
    async def all_of_it() -> None:
        collector = Collector()
        async with asyncio.timeout(60), serving(path, collector) as address, asyncio.TaskGroup() as tasks:
            settings: Settings = replace(settings_for(address), **changes)
            command = worker_command(settings, BOOT, program)
            daemon = Daemon(settings, BOOT, lambda: launch(command))
            tasks.create_task(daemon.run())
            try:
                await scene(collector)
            finally:
                daemon.stop()

    asyncio.run(all_of_it())


async def worker_of(collector: Collector) -> int:
    survey = await collector.ask(SurveyRequest(sources=(HERE,)))
    assert isinstance(survey, SurveyReport), survey
    return survey.left_off


def alive(pid: int) -> bool:
    """False for one that nobody has reaped yet, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def gone(pid: int, seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while alive(pid):
            await asyncio.sleep(0.01)


def memory(pid: int, what: str) -> int:
    """In bytes; `what` as in proc_pid_status(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{what}:"))


def test_a_worker_that_dies_leaves_no_question_unanswered(path: Path) -> None:
    async def scene(collector: Collector) -> None:
        worker = await worker_of(collector)
        slow = [collector.say(wire.command_to_wire(0, replace(PROBE, timeout=30))) for _ in range(3)]
        assert await worker_of(collector) == worker
        os.kill(worker, signal.SIGKILL)
        for number in slow:
            failure = await collector.answer(number)
            assert failure == Failure(reason="The agent's worker was ended by SIGKILL before it answered.")
        assert await worker_of(collector) != worker
        assert collector.streams == 1
        assert collector.lost == []

    play(path, scene)


def test_a_worker_that_dies_is_told_as_a_loss_of_its_captures(path: Path) -> None:
    async def scene(collector: Collector) -> None:
        for identity in ("b", "a", "c"):
            assert isinstance(await collector.ask(replace(CAPTURE, id=identity)), CaptureArmed)
        assert isinstance(await collector.ask(EndCapture(id="c")), CaptureEnded)
        os.kill(await worker_of(collector), signal.SIGKILL)
        await collector.until(lambda: len(collector.lost) == 2)
        assert [(loss.where, loss.capture, loss.count) for loss in collector.lost] == [
            ("worker", "a", 0),
            ("worker", "b", 0),
        ]
        why = "the agent's worker was ended by SIGKILL: what it had seen and not sent is lost"
        assert {loss.why for loss in collector.lost} == {why}
        assert await collector.ask(EndCapture(id="a")) == Failure(reason="No capture a is armed.")
        assert isinstance(await collector.ask(CAPTURE), CaptureArmed)
        assert isinstance(await collector.ask(EndCapture(id="a")), CaptureEnded)
        assert len(collector.lost) == 2

    play(path, scene)


async def metrics(port: int) -> dict[str, int]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
    lines = (await reader.read()).partition(b"\r\n\r\n")[2].decode().splitlines()
    writer.close()
    found = (line.removeprefix("pathtap_agent_").rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: int(value) for name, value in found}


def lost_in(said: dict[str, int]) -> int:
    return sum(value for name, value in said.items() if name.startswith("packets_lost_total"))


def test_metrics_of_a_worker_that_dies_in_a_flood_add_up_and_count_every_packet_that_came(path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])

    async def scene(collector: Collector) -> None:
        assert isinstance(await collector.ask(replace(CAPTURE, limit=10**9)), CaptureArmed)
        await collector.until(lambda: collector.packets > 1000)
        assert (await metrics(port))["captures_armed"] == 1
        os.kill(await worker_of(collector), signal.SIGKILL)
        await collector.until(lambda: any(loss.where == "worker" for loss in collector.lost))
        said = await metrics(port)
        assert said["packets_delivered_total"] == collector.packets
        assert said["packets_accepted_total"] == said["packets_delivered_total"] + lost_in(said)
        assert (said["captures_armed"], said["spool_bytes"], said["workers_failed_total"]) == (0, 0, 1)

    play(path, scene, health_port=port)


def test_a_worker_leaves_when_it_is_idle_and_not_before(path: Path) -> None:
    async def scene(collector: Collector) -> None:
        first = await worker_of(collector)
        await gone(first)
        await collector.ask(CAPTURE)
        second = await worker_of(collector)
        probe = collector.say(wire.command_to_wire(0, replace(PROBE, timeout=1)))
        assert await collector.answer(probe) == (ProbeReport(outcome=ProbeOutcome.SILENT),)
        await asyncio.sleep(1)
        # A capture is armed.
        assert alive(second)
        assert isinstance(await collector.ask(EndCapture(id="a")), CaptureEnded)
        await gone(second)
        assert await worker_of(collector) not in (first, second)
        assert (collector.lost, collector.packets) == ([], 1000)

    play(path, scene, worker_idle=0.2)


def test_commands_that_come_while_the_worker_leaves_are_all_carried_out(path: Path) -> None:
    """In threads, whose start takes no time: a worker says that it is idle about when the next command comes."""

    async def all_of_it() -> None:
        collector, node = Collector(), SmallNode()
        async with asyncio.timeout(60), serving(path, collector) as address:
            settings = replace(settings_for(address), worker_idle=0.02)
            async with running(settings, node):
                for number in range(100):
                    assert await collector.ask(SurveyRequest(limit=number)) == SurveyReport(left_off=number)
                    await asyncio.sleep(0.015 + number / 5_000)
                assert isinstance(await collector.ask(CAPTURE), CaptureArmed)
                await asyncio.sleep(0.1)
                assert isinstance(await collector.ask(EndCapture(id="a")), CaptureEnded)

    asyncio.run(all_of_it())


def test_a_hundred_commands_at_once_have_one_worker(path: Path) -> None:
    async def scene(collector: Collector) -> None:
        numbers = [collector.say(wire.command_to_wire(0, SurveyRequest(sources=(HERE,)))) for _ in range(100)]
        answers = [await collector.answer(number) for number in numbers]
        assert len({each.left_off for each in answers if isinstance(each, SurveyReport)}) == 1
        assert all(isinstance(each, SurveyReport) for each in answers)

    play(path, scene)


def test_an_answer_as_large_as_may_be_passes_and_a_larger_one_is_a_sentence(path: Path) -> None:
    async def scene(collector: Collector) -> None:
        answer = await collector.ask(ReadSnapshot(interiors=(IPv4Address("0.0.0.59"),)))
        assert isinstance(answer, NodeSnapshot)
        assert len(answer.sysctls["x"]) == 59 * MIB
        refusal = "The answer has 61 MiB, and a collector takes no more than 60."
        assert await collector.ask(ReadSnapshot(interiors=(IPv4Address("0.0.0.61"),))) == Failure(reason=refusal)
        assert collector.streams == 1

    play(path, scene)


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        (
            ["/no/such/python"],
            "The agent cannot begin anything at present: its worker cannot be started: [Errno 2] No such file or directory: "
            "'/no/such/python'.",
        ),
        (
            [sys.executable, "-c", "raise SystemExit(3)"],
            "The agent's worker ended with exit status 3 before it answered.",
        ),
    ],
)
def test_a_worker_that_cannot_be_is_a_sentence(path: Path, program: Sequence[str], sentence: str) -> None:
    async def scene(collector: Collector) -> None:
        for _ in range(2):
            assert await collector.ask(LookupRequest()) == Failure(reason=sentence)
        assert collector.streams == 1

    play(path, scene, program)


def test_a_worker_inherits_no_connection_of_the_agent(path: Path) -> None:
    async def scene(collector: Collector) -> None:
        worker = await worker_of(collector)
        sockets = [each for each in Path(f"/proc/{worker}/fd").iterdir() if os.readlink(each).startswith("socket:")]
        assert len(sockets) == 1

    play(path, scene)


@contextmanager
def process(name: str, *words: str, **options: Any) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, str(SUPPORT / name), *words]
    with subprocess.Popen(command, text=True, **options) as started:
        try:
            yield started
        finally:
            with suppress(ProcessLookupError):
                started.send_signal(signal.SIGCONT)
            started.terminate()


def counted(path: Path, spool_bytes: int, pause: float, stopped: float) -> tuple[dict[str, Any], int, int]:
    """What a flood of three seconds came to; the most memory that the agent and its worker held, in bytes."""
    words = (f"unix:{path}", str(10**9), "3", str(pause))
    with (
        process("counting_collector.py", *words, stdout=subprocess.PIPE) as collector,
        process("scripted_agent_process.py", f"unix:{path}", str(spool_bytes)) as agent,
    ):
        assert collector.stdout is not None
        worker = int(collector.stdout.readline().split()[1])
        if stopped:
            time.sleep(0.5)
            collector.send_signal(signal.SIGSTOP)
            time.sleep(stopped)
            collector.send_signal(signal.SIGCONT)
        account = json.loads(collector.stdout.readline())
        return account, memory(agent.pid, "VmHWM"), memory(worker, "VmHWM")


@pytest.mark.parametrize(
    ("pause", "stopped"),
    [(0.0, 0.0), (0.01, 0.0), (0.0, 4.0)],
    ids=["a flood", "a slow collector", "a stopped collector"],
)
def test_memory_is_bounded_and_every_packet_is_sent_or_counted(path: Path, pause: float, stopped: float) -> None:
    spool = 8 * MIB
    account, agent, worker = counted(path, spool, pause, stopped)
    assert account["packets"] + account["lost"].get("spool", 0) == account["received"] > 100_000
    assert set(account["lost"]) <= {"spool"}
    assert account["packets"] > spool / 80 / 2
    assert account["lost"] or not (pause or stopped)
    # Python with gRPC, and Python with the model, hold 40 to 45 MiB.
    assert agent < 64 * MIB + 16 * BATCH
    assert worker < 64 * MIB + 2 * spool


@pytest.mark.parametrize("stopped", [False, True], ids=["at work", "stopped itself"])
def test_a_worker_does_not_outlive_an_agent_that_is_killed(path: Path, stopped: bool) -> None:
    async def all_of_it() -> None:
        collector = Collector()
        async with asyncio.timeout(30), serving(path, collector) as address:
            with process("scripted_agent_process.py", address, str(MIB)) as agent:
                await collector.ask(replace(CAPTURE, limit=10**9))
                worker = await worker_of(collector)
                if stopped:
                    os.kill(worker, signal.SIGSTOP)
                agent.kill()
                await gone(worker)

    asyncio.run(all_of_it())


def test_who_ends_the_whole_group_ends_it_in_order(path: Path) -> None:
    async def all_of_it() -> None:
        collector = Collector()
        async with asyncio.timeout(30), serving(path, collector) as address:
            with process("scripted_agent_process.py", address, str(MIB), start_new_session=True) as agent:
                await collector.ask(CAPTURE)
                worker = await worker_of(collector)
                os.killpg(agent.pid, signal.SIGTERM)
                await asyncio.to_thread(agent.wait)
                assert not alive(worker)
        assert agent.returncode == 0
        assert collector.packets == 1000
        assert [loss.why for loss in collector.lost] == ["the capture was ended before its time: the agent was stopped"]

    asyncio.run(all_of_it())


def test_an_agent_ends_also_where_its_worker_is_stopped(path: Path) -> None:
    async def all_of_it() -> None:
        collector = Collector()
        async with asyncio.timeout(30), serving(path, collector) as address:
            with process("scripted_agent_process.py", address, str(MIB)) as agent:
                await collector.ask(CAPTURE)
                worker = await worker_of(collector)
                os.kill(worker, signal.SIGSTOP)
                agent.terminate()
                await asyncio.to_thread(agent.wait)
                assert (agent.returncode, alive(worker)) == (0, False)

    asyncio.run(all_of_it())
