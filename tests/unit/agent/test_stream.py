"""The agent against a real gRPC server on a socket of its own: order, account, failures, and what happens when it goes."""

import asyncio
import itertools
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import grpc
import pytest

from pathtap import wire
from pathtap.agent.config import Settings
from pathtap.agent.daemon import Daemon
from pathtap.agent.outbox import Outbox
from pathtap.agent.performer import Deliver
from pathtap.agent.spool import BATCH
from pathtap.agent.stream import Stream
from pathtap.model.address import FiveTuple, Socket
from pathtap.model.node import NodeSnapshot
from pathtap.model.packet import Direction, Headers, Lost, PacketObservation
from pathtap.model.request import (
    Answer,
    CaptureArmed,
    CaptureEnded,
    CaptureRequest,
    CaptureStats,
    Command,
    Connection,
    ConnectionsReport,
    EndCapture,
    Failure,
    LookupReport,
    LookupRequest,
    OpenConnections,
    ProbeOutcome,
    ProbeReport,
    ProbeRequest,
    ReadSnapshot,
)
from pathtap.model.survey import SurveyReport, SurveyRequest
from pathtap.v1 import agent_pb2 as pb
from pathtap.v1.agent_pb2_grpc import IntakeServiceServicer, add_IntakeServiceServicer_to_server

Answered = TypeVar("Answered", ConnectionsReport, SurveyReport)

NODE, BOOT = "node-a", "b007"
HERE, THERE = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
TUPLE = FiveTuple(protocol=17, source=HERE, source_port=1, destination=THERE, destination_port=2)
PROBE = ProbeRequest(protocol=17, source=None, destination=Socket(THERE, 2))


def seen(capture: str, sequence: int) -> PacketObservation:
    return PacketObservation(
        node=NODE,
        sequence=sequence,
        capture=capture,
        captured_at=time.time_ns(),
        interface="eth0",
        direction=Direction.IN,
        headers=Headers(five_tuple=TUPLE, ttl=64, length=28),
    )


class SmallCapture:
    """Sees `limit` packets on arming, and as many again while it is ended."""

    def __init__(self, request: CaptureRequest, deliver: Deliver, ended: Callable[[str], None]) -> None:
        self.armed = CaptureArmed(id=request.id, interfaces=("eth0",))
        self._numbers = itertools.count(1)
        self._limit = request.limit
        self._deliver = deliver
        self._ended = ended
        self._see()

    def _see(self) -> None:
        self._deliver([seen(self.armed.id, number) for number in itertools.islice(self._numbers, self._limit)], ())

    def end(self) -> CaptureEnded:
        self._see()
        self._deliver((), [Lost(node=NODE, where="kernel", count=3, capture=self.armed.id, interface="eth0")])
        self._ended(self.armed.id)
        return CaptureEnded(id=self.armed.id, stats=(CaptureStats(interface="eth0", received=1, dropped=3),))


class SmallNode:
    """A node of no kernel: its probes wait to be let go, its captures see what they are told to."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.let_probes_go = threading.Event()

    def kernel_release(self) -> str:
        return "6.18"

    def read_snapshot(self, request: ReadSnapshot) -> NodeSnapshot:
        return NodeSnapshot(node=NODE, boot_id=BOOT, taken_at=1, sysctls={"net.ipv4.ip_forward": "1"})

    def open_capture(self, request: CaptureRequest, deliver: Deliver) -> SmallCapture:
        if request.id == "forbidden":
            raise PermissionError("eth0 cannot be captured")
        return SmallCapture(request, deliver, self.ended.append)

    def send_probe(self, request: ProbeRequest) -> tuple[ProbeReport, ...]:
        assert self.let_probes_go.wait(10)
        return (ProbeReport(outcome=ProbeOutcome.SILENT),)

    def look_up(self, request: LookupRequest) -> LookupReport:
        if not request.tuples:
            raise KeyError("a mistake of ours")
        return LookupReport()

    def open_connections(self, request: OpenConnections, over: Callable[[], bool]) -> ConnectionsReport:
        assert not over()
        return ConnectionsReport(connections=(Connection(outcome=ProbeOutcome.SILENT),) * request.count)

    def survey(self, request: SurveyRequest, over: Callable[[], bool]) -> SurveyReport:
        assert not over()
        return SurveyReport(left_off=request.limit)


class Collector(IntakeServiceServicer):
    """The other end: what it received, and a way to ask. A `slow` one takes its time before it reads."""

    def __init__(self, slow: float = 0.0) -> None:
        self.messages: list[pb.ConnectRequest] = []
        self.streams = 0
        self._slow = slow
        self._changed = asyncio.Condition()
        self._questions: asyncio.Queue[pb.ConnectResponse] = asyncio.Queue()
        self._numbers = itertools.count(1)

    async def Connect(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]  # noqa: N802
        self.streams += 1
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(self._write(context))
            await asyncio.sleep(self._slow)
            async for message in request_iterator:
                async with self._changed:
                    self.messages.append(message)
                    self._changed.notify_all()
            writer.cancel()

    async def _write(self, context: Any) -> None:
        while True:
            await context.write(await self._questions.get())

    async def until(self, condition: Callable[[], bool], timeout: float = 5.0) -> None:
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(condition)

    def say(self, message: pb.ConnectResponse) -> int:
        message.command = next(self._numbers)
        self._questions.put_nowait(message)
        return message.command

    async def ask(self, command: Command) -> Answer:
        return await self.answer(self.say(wire.command_to_wire(0, command)))

    async def answer(self, number: int) -> Answer:
        await self.until(lambda: any(message.answer.command == number for message in self.messages))
        found = next(message.answer for message in self.messages if message.answer.command == number)
        return wire.answer_from_wire(found, NODE)

    @property
    def observations(self) -> list[pb.PacketObservation]:
        return [observation for message in self.messages for observation in message.batch.observations]

    @property
    def lost(self) -> list[pb.Lost]:
        return [lost for message in self.messages for lost in message.batch.lost]


@asynccontextmanager
async def serving(
    path: Path, collector: Collector, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[str]:
    """Serves until the block ends; yields the address."""
    server = grpc.aio.server()
    add_IntakeServiceServicer_to_server(collector, server)
    if credentials is None:
        address = f"unix:{path}"
        server.add_insecure_port(address)
    else:
        address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
    await server.start()
    try:
        yield address
    finally:
        await server.stop(0)


@asynccontextmanager
async def running(settings: Settings, node: SmallNode) -> AsyncIterator[Daemon]:
    """A daemon that is stopped, and has ended by itself, when the block ends."""
    daemon = Daemon(settings, node, BOOT)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(daemon.run())
        try:
            yield daemon
        finally:
            node.let_probes_go.set()
            daemon.stop()


def settings_for(address: str) -> Settings:
    return Settings(collector=address, node=NODE, health_port=0)


def play(
    path: Path, scene: Callable[[Collector, SmallNode], Coroutine[Any, Any, None]], node: SmallNode | None = None
) -> None:
    async def all_of_it(node: SmallNode) -> None:
        collector = Collector()
        async with asyncio.timeout(20), serving(path, collector) as address, running(settings_for(address), node):
            await scene(collector, node)

    asyncio.run(all_of_it(node or SmallNode()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "collector.sock"


def test_the_first_message_is_a_hello(path: Path) -> None:
    async def scene(collector: Collector, node: SmallNode) -> None:
        await collector.ask(ReadSnapshot())
        hello, answer = collector.messages
        assert (hello.node, hello.boot_id, hello.sequence) == (NODE, BOOT, 1)
        assert (hello.hello.kernel, bool(hello.hello.version)) == ("6.18", True)
        assert (answer.node, answer.boot_id, answer.sequence) == (NODE, BOOT, 2)

    play(path, scene)


def test_every_command_has_its_answer(path: Path) -> None:
    async def scene(collector: Collector, node: SmallNode) -> None:
        node.let_probes_go.set()
        assert await collector.ask(ReadSnapshot()) == node.read_snapshot(ReadSnapshot())
        armed = await collector.ask(CaptureRequest(id="a", protocol=0, near=(HERE,), limit=1))
        assert armed == CaptureArmed(id="a", interfaces=("eth0",))
        assert isinstance(await collector.ask(EndCapture(id="a")), CaptureEnded)
        assert await collector.ask(PROBE) == (ProbeReport(outcome=ProbeOutcome.SILENT),)
        assert await collector.ask(LookupRequest(tuples=(TUPLE,))) == LookupReport()
        opening = OpenConnections(protocol=6, source=HERE, destination=Socket(THERE, 2), count=3)
        assert await collector.ask(opening) == node.open_connections(opening, lambda: False)
        assert await collector.ask(SurveyRequest(limit=7)) == SurveyReport(left_off=7)

    play(path, scene)


def test_the_answer_to_end_capture_comes_after_all_that_it_saw(path: Path) -> None:
    async def scene(collector: Collector, node: SmallNode) -> None:
        await collector.ask(CaptureRequest(id="a", protocol=0, near=(HERE,), limit=1000))
        await collector.ask(EndCapture(id="a"))
        # No waiting here: when the answer is there, everything is.
        assert [observation.sequence for observation in collector.observations] == list(range(1, 2001))
        assert [(lost.where, lost.count, lost.capture) for lost in collector.lost] == [("kernel", 3, "a")]
        assert max(len(message.batch.observations) for message in collector.messages) <= BATCH
        assert [message.sequence for message in collector.messages] == list(range(1, len(collector.messages) + 1))

    play(path, scene)


def test_a_few_packets_do_not_wait_for_company(path: Path) -> None:
    async def scene(collector: Collector, node: SmallNode) -> None:
        await collector.ask(CaptureRequest(id="a", protocol=0, near=(HERE,), limit=3))
        await collector.until(lambda: len(collector.observations) == 3, timeout=0.5)
        assert time.time_ns() - collector.observations[0].captured_at_ns < 500_000_000

    play(path, scene)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (EndCapture(id="nothing"), "No capture nothing is armed."),
        (CaptureRequest(id="forbidden", protocol=0, near=(HERE,)), "eth0 cannot be captured"),
        (LookupRequest(), "KeyError: 'a mistake of ours'"),
    ],
)
def test_a_failure_is_an_answer(path: Path, command: Command, sentence: str) -> None:
    async def scene(collector: Collector, node: SmallNode) -> None:
        assert await collector.ask(command) == Failure(reason=sentence)
        assert await collector.ask(ReadSnapshot()) == node.read_snapshot(ReadSnapshot())
        assert collector.streams == 1

    play(path, scene)


def test_an_answer_that_no_collector_takes_is_a_sentence_and_the_stream_goes_on(path: Path) -> None:
    class LargeNode(SmallNode):
        def read_snapshot(self, request: ReadSnapshot) -> NodeSnapshot:
            return NodeSnapshot(node=NODE, boot_id=BOOT, taken_at=1, sysctls={"x": "x" * (61 << 20)})

    async def scene(collector: Collector, node: SmallNode) -> None:
        refusal = Failure(reason="The answer has 61 MiB, and a collector takes no more than 60.")
        assert await collector.ask(ReadSnapshot()) == refusal
        assert await collector.ask(LookupRequest(tuples=(TUPLE,))) == LookupReport()
        assert collector.streams == 1

    play(path, scene, LargeNode())


def test_what_cannot_be_read_is_answered_too(path: Path) -> None:
    async def scene(collector: Collector, node: SmallNode) -> None:
        unknown = await collector.answer(collector.say(pb.ConnectResponse()))
        assert unknown == Failure(reason="A command came that this version does not know.")
        absurd = pb.ConnectResponse(arm_capture=pb.ArmCapture(id="a", near=[bytes(5)]))
        assert await collector.answer(collector.say(absurd)) == Failure(reason="An address has 4 or 16 bytes, not 5.")

    play(path, scene)


def test_an_id_is_armed_once(path: Path) -> None:
    async def scene(collector: Collector, node: SmallNode) -> None:
        request = CaptureRequest(id="a", protocol=0, near=(HERE,), limit=1)
        await collector.ask(request)
        assert await collector.ask(request) == Failure(reason="A capture a is armed already.")
        assert isinstance(await collector.ask(EndCapture(id="a")), CaptureEnded)

    play(path, scene)


def test_a_command_without_a_thread_is_refused_and_the_agent_goes_on(path: Path) -> None:
    async def scene(collector: Collector, node: SmallNode) -> None:
        with mock.patch("pathtap.agent.daemon.in_thread", side_effect=RuntimeError("can't start new thread")):
            refusal = Failure(reason="The agent cannot begin anything at present: can't start new thread.")
            assert await collector.ask(LookupRequest(tuples=(TUPLE,))) == refusal
        assert await collector.ask(LookupRequest(tuples=(TUPLE,))) == LookupReport()

    play(path, scene)


def test_slow_commands_do_not_hold_up_others(path: Path) -> None:
    async def scene(collector: Collector, node: SmallNode) -> None:
        slow = [collector.say(wire.command_to_wire(0, PROBE)) for _ in range(20)]
        assert await collector.ask(LookupRequest(tuples=(TUPLE,))) == LookupReport()
        assert not any(message.answer.command in slow for message in collector.messages)
        node.let_probes_go.set()
        for number in slow:
            assert await collector.answer(number) == (ProbeReport(outcome=ProbeOutcome.SILENT),)

    play(path, scene)


def test_a_collector_that_comes_back_is_found_and_told(path: Path) -> None:
    async def all_of_it() -> None:
        former, latter, node = Collector(), Collector(), SmallNode()
        async with asyncio.timeout(20), running(settings_for(f"unix:{path}"), node):
            async with serving(path, former):
                await former.ask(CaptureRequest(id="a", protocol=0, near=(HERE,), limit=2))
                await former.until(lambda: len(former.observations) == 2)
                former.say(wire.command_to_wire(0, PROBE))
            await asyncio.sleep(1)
            assert node.ended == ["a"]
            async with serving(path, latter):
                await latter.until(lambda: len(latter.messages) >= 2, timeout=5)
                node.let_probes_go.set()
                assert await latter.ask(ReadSnapshot()) == node.read_snapshot(ReadSnapshot())
                assert [lost.where for lost in latter.lost] == ["kernel", "stream"]
                assert latter.lost[1].capture == "a"
                assert latter.lost[1].why.startswith("the capture was ended before its time: the co")
                # What the capture saw at its end was kept; the probe's answer would answer a question of nobody's.
                assert [observation.sequence for observation in latter.observations] == [3, 4]
                assert [message.answer.command for message in latter.messages if message.HasField("answer")] == [1]
        numbers = [message.sequence for message in former.messages + latter.messages]
        assert numbers == sorted(set(numbers))
        assert latter.messages[0].HasField("hello")
        assert {message.boot_id for message in former.messages + latter.messages} == {BOOT}

    asyncio.run(all_of_it())


def test_commands_hear_that_their_stream_is_over_and_those_of_the_next_do_not(path: Path) -> None:
    class WaitingNode(SmallNode):
        def __init__(self) -> None:
            super().__init__()
            self.heard = threading.Semaphore(0)

        def open_connections(self, request: OpenConnections, over: Callable[[], bool]) -> ConnectionsReport:
            return self._wait(ConnectionsReport(connections=()), over)

        def survey(self, request: SurveyRequest, over: Callable[[], bool]) -> SurveyReport:
            return self._wait(SurveyReport(), over) if request.follow else SurveyReport(missed=over())

        def _wait(self, report: Answered, over: Callable[[], bool]) -> Answered:
            deadline = time.monotonic() + 15
            while not over() and time.monotonic() < deadline:
                time.sleep(0.02)
            if over():
                self.heard.release()
            return report

    async def all_of_it() -> None:
        former, latter, node = Collector(), Collector(), WaitingNode()
        opening = OpenConnections(protocol=6, source=HERE, destination=Socket(THERE, 2), count=3)
        async with asyncio.timeout(20), running(settings_for(f"unix:{path}"), node):
            async with serving(path, former):
                for command in (opening, SurveyRequest(follow=600.0)):
                    former.say(wire.command_to_wire(0, command))
                assert await former.ask(SurveyRequest()) == SurveyReport(missed=False)
            for _ in range(2):
                assert await asyncio.to_thread(node.heard.acquire, timeout=5)
            async with serving(path, latter):
                await latter.until(lambda: bool(latter.messages), timeout=10)
                assert await latter.ask(SurveyRequest()) == SurveyReport(missed=False)

    asyncio.run(all_of_it())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(path: Path, number: int) -> None:
    async def all_of_it() -> None:
        collector, node = Collector(), SmallNode()
        async with asyncio.timeout(10), serving(path, collector) as address, asyncio.TaskGroup() as tasks:
            daemon = tasks.create_task(Daemon(settings_for(address), node, BOOT).run())
            await collector.ask(CaptureRequest(id="a", protocol=0, near=(HERE,), limit=300))
            os.kill(os.getpid(), number)
            begun = time.monotonic()
            await daemon
            assert time.monotonic() - begun < 1
            assert node.ended == ["a"]
            assert len(collector.observations) == 600
            assert collector.lost[-1].why == "the capture was ended before its time: the agent was stopped"

    asyncio.run(all_of_it())


def test_a_signal_ends_it_where_nobody_listens(path: Path) -> None:
    async def all_of_it() -> None:
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            daemon = tasks.create_task(Daemon(settings_for(f"unix:{path}"), SmallNode(), BOOT).run())
            await asyncio.sleep(0.3)
            os.kill(os.getpid(), signal.SIGTERM)
            await daemon

    asyncio.run(all_of_it())


def test_with_a_slow_reader_everything_is_sent_or_counted(path: Path) -> None:
    async def all_of_it() -> None:
        collector = Collector(slow=0.5)
        async with asyncio.timeout(20), serving(path, collector) as address:
            outbox = Outbox(NODE, BOOT, limit=1000)
            stream = Stream(settings_for(address), outbox, lambda: None, lambda *_: None)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(stream.run(outbox.hello("0", "6.18")))
                for number in range(20_000):
                    outbox.spool.deliver([seen("a", number)])
                    if number % 1000 == 0:
                        await asyncio.sleep(0)
                await collector.until(lambda: len(collector.observations) + dropped(collector) >= 20_000, timeout=10)
                stream.hang_up()
        assert len(collector.observations) + dropped(collector) == 20_000
        assert dropped(collector) > 0
        assert {lost.where for lost in collector.lost} == {"spool"}

    asyncio.run(all_of_it())


def dropped(collector: Collector) -> int:
    return sum(lost.count for lost in collector.lost)


def test_tls_with_a_name_of_its_own_and_without(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=collector"
    names = ["-addext", "subjectAltName=DNS:collector.pathtap"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *request.split(), *names, *files], check=True, capture_output=True)
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])

    async def all_of_it() -> None:
        collector, node = Collector(), SmallNode()
        async with asyncio.timeout(20), serving(tmp_path, collector, credentials) as address:
            named = Settings(
                collector=address,
                node=NODE,
                tls_ca=certificate,
                tls_server_name="collector.pathtap",
                health_port=0,
            )
            async with running(named, node):
                assert await collector.ask(ReadSnapshot()) == node.read_snapshot(ReadSnapshot())
            unnamed = Settings(collector=address, node=NODE, tls_ca=certificate, health_port=0)
            with suppress(TimeoutError):
                async with asyncio.timeout(1), running(unnamed, node):
                    await asyncio.sleep(5)
            assert collector.streams == 1

    asyncio.run(all_of_it())


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        (
            "127.0.0.1:1",
            r"the connection to the collector at 127\.0\.0\.1:1 failed: .*Connection refused \(UNAVAILABLE\)",
        ),
        ("no-such-host.invalid:1", r"the connection to the collector at no-such-host\.invalid:1 failed: .*"),
    ],
)
def test_why_nobody_is_there_is_a_sentence(address: str, sentence: str) -> None:
    async def reason() -> str:
        outbox = Outbox(NODE, BOOT)
        return await Stream(settings_for(address), outbox, lambda: None, lambda *_: None).run(outbox.hello("0", "6.18"))

    assert re.fullmatch(sentence, asyncio.run(reason()))


def test_why_nobody_is_there_is_logged_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def all_of_it() -> None:
        async with running(settings_for(f"unix:{path}"), SmallNode()):
            await asyncio.sleep(1)

    with caplog.at_level("DEBUG", "pathtap.agent.daemon"):
        asyncio.run(all_of_it())
    attempts = [record.levelname for record in caplog.records if record.message.startswith("not connected")]
    assert len(attempts) > 2
    assert attempts.count("INFO") == 1


def test_a_listener_that_never_speaks_is_given_up() -> None:
    async def all_of_it() -> tuple[str, float]:
        silent = socket.create_server(("127.0.0.1", 0))
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        outbox = Outbox(NODE, BOOT)
        begun = time.monotonic()
        stream = Stream(settings_for(address), outbox, lambda: None, lambda *_: None)
        reason = await stream.run(outbox.hello("0", "6.18"))
        silent.close()
        return reason, time.monotonic() - begun

    reason, took = asyncio.run(all_of_it())
    assert "did not answer in time" in reason
    assert took < 3


def test_a_ca_file_that_went_away_is_a_sentence(tmp_path: Path) -> None:
    async def reason() -> str:
        settings = Settings(collector="127.0.0.1:1", node=NODE, tls_ca=tmp_path / "ca.pem", health_port=0)
        outbox = Outbox(NODE, BOOT)
        return await Stream(settings, outbox, lambda: None, lambda *_: None).run(outbox.hello("0", "6.18"))

    assert "certificates to trust cannot be read" in asyncio.run(reason())
