"""gRPC passes over a channel option that it does not know without a word: each name here must be one of its own."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from pathtap.agent import stream
from pathtap.cli import channel
from pathtap.collector import ports as collector

EVERY_OPTION = {
    "agent": stream.CHANNEL_OPTIONS,
    "collector": collector.CHANNEL_OPTIONS,
    "collector, for certificates": collector.CERTIFICATE_OPTIONS,
    "cli": channel._OPTIONS,
}


@pytest.fixture(scope="module")
def core() -> bytes:
    """gRPC's C core, in which every option's name stands as it is."""
    spec = find_spec("grpc._cython.cygrpc")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_bytes()


@pytest.mark.parametrize("part", EVERY_OPTION)
def test_grpc_knows_every_option(part: str, core: bytes) -> None:
    unknown = [name for name, _ in EVERY_OPTION[part] if name.encode() + b"\0" not in core]
    assert unknown == []


def test_a_name_that_grpc_does_not_have_is_noticed(core: bytes) -> None:
    assert b"grpc.http2.min_recv_ping_interval_without_data_ms\0" not in core


def test_the_collector_welcomes_the_agents_pings() -> None:
    """The server counts a ping against a client that comes sooner than it allows, and ends the connection at the third."""
    allowed = dict(collector.CHANNEL_OPTIONS)["grpc.http2.min_ping_interval_without_data_ms"]
    assert allowed < dict(stream.CHANNEL_OPTIONS)["grpc.keepalive_time_ms"]


def test_one_end_pings_and_a_dead_peer_is_noticed_within_20_seconds() -> None:
    """What comes from the other end puts a ping off: the agent's keep the collector's away, half of an idle agent's work."""
    agent, server = dict(stream.CHANNEL_OPTIONS), dict(collector.CHANNEL_OPTIONS)
    assert agent["grpc.keepalive_time_ms"] < server["grpc.keepalive_time_ms"]
    for end in (agent, server):
        for waiting in ("grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms"):
            assert end["grpc.keepalive_time_ms"] + end[waiting] < 20_000


def test_the_command_line_notices_too_and_its_pings_are_welcome() -> None:
    """A live trace may last ten minutes: whoever waits for it learns sooner that its collector is gone."""
    mine = dict(channel._OPTIONS)
    for port in (collector.PEOPLE_OPTIONS, collector.CERTIFICATE_OPTIONS):
        assert dict(port)["grpc.http2.min_ping_interval_without_data_ms"] < mine["grpc.keepalive_time_ms"]
    assert mine["grpc.http2.max_pings_without_data"] == 0
    assert mine["grpc.keepalive_time_ms"] + mine["grpc.keepalive_timeout_ms"] < 20_000
