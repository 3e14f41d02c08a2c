"""A flood of strangers on a collector with TLS: what they take is bounded, and who was there before them stays.

All of it on loopback, by real processes; that a silent stranger is closed takes the ten seconds that it is given.
"""

import json
import resource
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from kube_access import SERVER_NAME, Collector, Turned, call, introduce
from strangers import (
    PREFACE,
    client_context,
    collecting,
    files_for,
    frame,
    headers,
    most_memory,
    open_files,
    silent,
    speaking,
    still_open,
)

from pathtap.collector.bounds import OTHER_FILES, Connections
from pathtap.v1 import service_pb2

pytestmark = pytest.mark.netns

MOST = Connections()
BEYOND = 100
# Of the 512 MiB that the manifest gives.
MEMORY = 384 << 20
UNKNOWN, AWAY = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE
SETTINGS = frame(4, 0, 0)
# RFC 9113, sections 6.2, 6.4 and 7.
HEADERS, RST_STREAM, END_STREAM, CANCEL = 1, 3, 1, 8
# A client's streams have odd numbers.
CALLS = range(1, 20_001, 2)
NAMES = service_pb2.ListNamesRequest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    collector: Collector
    agent: Any

    def agent_is_there(self) -> bool:
        return bool(self.agent.is_active()) and "went away" not in self.collector.log


@pytest.fixture(scope="module")
def hard() -> Iterator[int]:
    with files_for(MOST.agents + MOST.people + 2 * BEYOND) as limit:
        yield limit


@pytest.fixture(scope="module")
def stage(hard: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A collector with the soft limit that a login or a unit gives, and an agent that is connected all the while."""
    directory = tmp_path_factory.mktemp("strangers")
    with (
        collecting(directory, (1024, hard), empty_inventory(directory)) as collector,
        collector.channel(agent=True) as channel,
    ):
        agent = introduce(channel, "node-1", None, 300)
        collector.until("agent of node-1 connected")
        yield Stage(collector=collector, agent=agent)
        agent.cancel()


def empty_inventory(directory: Path) -> str:
    file = directory / "inventory.json"
    file.write_text('{"items": []}')
    return f"--inventory={file}"


def nobody_to_ask(directory: Path) -> str:
    """A kubeconfig of an API server that is away: who shows a token is not believed, and who shows none is refused unasked."""
    file = directory / "kubeconfig"
    cluster = {"server": "https://127.0.0.1:9", "insecure-skip-tls-verify": True}
    content = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file.write_text(json.dumps(content))
    return f"--kubeconfig={file}"


def answer(collector: Collector, agent_port: bool = False) -> grpc.StatusCode:
    """What a newcomer gets who asks for names: on the agents' port, where TLS alone lets them, that it is not there."""
    with collector.channel(agent=agent_port) as channel:
        try:
            call(channel, "ListNames", NAMES, None, 5)
        except Turned as turned:
            return turned.status
    return grpc.StatusCode.OK


def people_are_answered(collector: Collector) -> bool:
    return answer(collector) is grpc.StatusCode.OK


def agents_are_answered(collector: Collector) -> bool:
    return answer(collector, agent_port=True) is grpc.StatusCode.UNIMPLEMENTED


def until(holds: Callable[[], bool], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def settled(strangers: Sequence[socket.socket], most: int) -> int:
    """How many are open once those beyond the bound are closed."""
    until(lambda: still_open(strangers) <= most, 8)
    return still_open(strangers)


def test_silent_strangers_take_their_share_and_are_dropped(stage: Stage) -> None:
    """Most say nothing at all, on the agents' port; the others, on that of people, a part of a preface within TLS."""
    collector = stage.collector
    with ExitStack() as stack:
        known = stack.enter_context(collector.channel())
        call(known, "ListNames", NAMES, None)
        mute = stack.enter_context(silent(collector.agent_port, MOST.agents + BEYOND))
        # One connection is the agent's.
        assert settled(mute, MOST.agents - 1) == MOST.agents - 1
        assert answer(collector, agent_port=True) is AWAY
        assert people_are_answered(collector)
        slow = stack.enter_context(speaking(collector, collector.port, MOST.people + BEYOND, PREFACE[:10]))
        # And one is that of the person who was there before.
        assert settled(slow, MOST.people - 1) == MOST.people - 1
        assert answer(collector) is AWAY
        assert len(call(known, "ListNames", NAMES, None)) == 1
        assert open_files(collector) <= MOST.agents + MOST.people + OTHER_FILES
        assert stage.agent_is_there()
        until(lambda: still_open(mute) == 0)
        until(lambda: still_open(slow) == 0)
        assert len(call(known, "ListNames", NAMES, None)) == 1
    assert people_are_answered(collector)
    assert agents_are_answered(collector)
    assert open_files(collector) <= OTHER_FILES
    assert stage.agent_is_there()
    assert most_memory(collector) < MEMORY


def test_strangers_who_speak_http_2_and_ask_nothing_take_their_share(stage: Stage) -> None:
    collector = stage.collector
    for _ in range(2):
        with speaking(collector, collector.agent_port, MOST.agents + BEYOND, PREFACE + SETTINGS) as idle:
            assert settled(idle, MOST.agents - 1) == MOST.agents - 1
            assert open_files(collector) <= MOST.agents + OTHER_FILES
            assert people_are_answered(collector)
            assert stage.agent_is_there()
        until(lambda: agents_are_answered(collector))
    assert most_memory(collector) < MEMORY


def test_the_soft_limit_of_open_files_is_raised(stage: Stage) -> None:
    limits = Path(f"/proc/{stage.collector.process.pid}/limits").read_text()
    assert int(limits.partition("Max open files")[2].split()[0]) == MOST.files
    assert "RLIMIT_NOFILE" not in stage.collector.log


def test_with_few_files_each_port_keeps_its_share(hard: int, tmp_path: Path) -> None:
    assert hard > 1024
    share = MOST.within(1024)
    with (
        collecting(tmp_path, (1024, 1024), empty_inventory(tmp_path)) as collector,
        silent(collector.port, 1200) as mute,
    ):
        assert settled(mute, share.people) == share.people
        assert agents_are_answered(collector)
        with silent(collector.agent_port, 1200) as others:
            assert settled(others, share.agents) == share.agents
            assert open_files(collector) < 1024
        until(lambda: agents_are_answered(collector))
        assert f"fewer than {MOST.files} files may be open here (RLIMIT_NOFILE)" in collector.log
        assert "limit reached" not in collector.log


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """A collector that wants to know who asks."""
    directory = tmp_path_factory.mktemp("guarded")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with collecting(directory, (1024, hard), nobody_to_ask(directory)) as collector:
        yield collector


def test_a_thousand_calls_at_once_without_a_token_are_refused_each(guarded: Collector) -> None:
    """What is more than the hundred that one connection may have open is refused by HTTP/2 already, where it does not wait."""
    before = most_memory(guarded)
    with guarded.channel() as channel:
        ask: Any = channel.unary_unary("/pathtap.v1.TraceService/ListNames")
        statuses = [each.code() for each in [ask.future(bytes(60_000), timeout=20) for _ in range(1000)]]
    assert set(statuses) <= {UNKNOWN, AWAY}
    assert statuses.count(UNKNOWN) >= 100
    assert most_memory(guarded) - before < 64 << 20


@pytest.mark.parametrize("kept", [True, False], ids=["kept open", "reset at once"])
def test_calls_of_who_heeds_no_bound_on_them_end(guarded: Collector, kept: bool) -> None:
    """Ten thousand on one connection, by frames of their own making: none waits for the hundred that there may be."""
    before = most_memory(guarded)
    with (
        socket.create_connection(("127.0.0.1", guarded.port), 10) as plain,
        client_context(guarded).wrap_socket(plain, server_hostname=SERVER_NAME) as stranger,
    ):
        stranger.sendall(PREFACE + SETTINGS)
        for stream in CALLS:
            reset = b"" if kept else frame(RST_STREAM, 0, stream, struct.pack("!I", CANCEL))
            stranger.sendall(headers(stream, "/pathtap.v1.TraceService/ListNames") + reset)
        assert answer(guarded) is UNKNOWN
        if kept:
            assert ended_streams(stranger, len(CALLS)) == set(CALLS)
    assert most_memory(guarded) - before < 64 << 20
    assert answer(guarded) is UNKNOWN


def ended_streams(stranger: ssl.SSLSocket, count: int) -> set[int]:
    """The streams that the collector has ended, once they are so many: by RST_STREAM, or by trailers."""
    stranger.settimeout(10)
    ended: set[int] = set()
    with stranger.makefile("rb") as coming:
        while len(ended) < count and (head := coming.read(9)):
            coming.read(int.from_bytes(head[:3], "big"))
            if head[3] == RST_STREAM or (head[3] == HEADERS and head[4] & END_STREAM):
                ended.add(int.from_bytes(head[5:], "big"))
    return ended


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_tls_before_1_2_is_refused(stage: Stage, version: ssl.TLSVersion) -> None:
    """By the collector: the same client and a server that speaks the old version agree on it."""
    old = client_context(stage.collector)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = version
    assert agreed(old, willing(stage.collector, version)) == version.name.replace("_", ".")
    for port in (stage.collector.port, stage.collector.agent_port):
        old.maximum_version = version
        with pytest.raises(OSError):  # noqa: PT011 - gRPC closes the connection without an alert
            version_with(port, old)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        assert version_with(port, old) == "TLSv1.2"


def version_with(port: int, context: ssl.SSLContext) -> str | None:
    with (
        socket.create_connection(("127.0.0.1", port), 5) as plain,
        context.wrap_socket(plain, server_hostname=SERVER_NAME) as secure,
    ):
        return secure.version()


def willing(collector: Collector, version: ssl.TLSVersion) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(collector.directory / "tls.crt", collector.directory / "tls.key")
    made.set_ciphers("ALL:@SECLEVEL=0")
    made.minimum_version = version
    return made


def agreed(client: ssl.SSLContext, server: ssl.SSLContext) -> str | None:
    """The version of a handshake between the two, without a socket."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(back, there, server_hostname=SERVER_NAME), server.wrap_bio(there, back, server_side=True))
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends[0].version()
