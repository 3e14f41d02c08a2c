"""What no sender can have meant is one error with a sentence, never a wrong value."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from pathtap import wire
from pathtap.model.request import Command, Failure
from pathtap.v1 import agent_pb2, node_pb2
from pathtap.wire import survey
from pathtap.wire.errors import EnumTable

V4 = bytes([192, 168, 1, 29])
V6 = bytes(16)
TUPLE = node_pb2.FiveTuple(protocol=6, source=V4, source_port=1, destination=V4, destination_port=2)

MALFORMED: dict[str, tuple[Callable[..., Any], Any, str]] = {
    "address of five bytes": (wire.address_from_wire, bytes(5), "4 or 16 bytes, not 5"),
    "address of none": (wire.address_from_wire, b"", "not 0"),
    "prefix longer than its address": (
        wire.network_from_wire,
        node_pb2.Prefix(address=V4, length=33),
        "prefix length cannot be 33",
    ),
    "host bits in a prefix": (
        wire.network_from_wire,
        node_pb2.Prefix(address=V4, length=24),
        "192.168.1.29/24 has bits set",
    ),
    "two families in one tuple": (
        wire.five_tuple_from_wire,
        node_pb2.FiveTuple(protocol=6, source=V4, destination=V6),
        "mixes",
    ),
    "port above 65535": (
        wire.five_tuple_from_wire,
        node_pb2.FiveTuple(protocol=6, source=V4, source_port=65_536, destination=V4),
        "port cannot be 65536",
    ),
    "protocol above 255": (
        wire.five_tuple_from_wire,
        node_pb2.FiveTuple(protocol=256, source=V4, destination=V4),
        "protocol cannot be 256",
    ),
    "more connections than one command may ask for": (
        survey.open_connections_from_wire,
        agent_pb2.OpenConnections(protocol=6, destination=V4, port=1, count=1001, rate=1, timeout_ms=1),
        "number of connections cannot be 1001",
    ),
    "a rate that no agent takes": (
        survey.open_connections_from_wire,
        agent_pb2.OpenConnections(protocol=6, destination=V4, port=1, count=1, rate=100_001, timeout_ms=1),
        "rate cannot be 100001",
    ),
    "following for more than an hour": (
        survey.survey_request_from_wire,
        agent_pb2.Survey(follow_ms=3_600_001),
        "time to follow cannot be 3600001",
    ),
    "a port in use above 65535": (
        lambda message: survey.survey_report_from_wire(message, "n"),
        agent_pb2.SurveyReport(
            usage=[agent_pb2.SurveyReport.PortUsage(destination=V4, translated=V4, source=V4, ports=[65_536])]
        ),
        "port cannot be 65536",
    ),
    "unspecified backend": (wire.rule_set_from_wire, node_pb2.RuleSet(), "backend is unspecified"),
    "unspecified role": (
        wire.snapshot_from_wire,
        node_pb2.NodeSnapshot(taken_at=wire.timestamp_to_wire(1), interfaces=[node_pb2.Interface(name="eth0")]),
        "role is unspecified",
    ),
    "rule of family 5": (
        wire.snapshot_from_wire,
        node_pb2.NodeSnapshot(
            taken_at=wire.timestamp_to_wire(1), rules=[node_pb2.Rule(family=5, action=node_pb2.Rule.LOOKUP)]
        ),
        "family is 4 or 6, not 5",
    ),
    "route without a destination": (
        wire.snapshot_from_wire,
        node_pb2.NodeSnapshot(taken_at=wire.timestamp_to_wire(1), routes=[node_pb2.Route(table=254)]),
        "A Route came without its destination",
    ),
    "snapshot without a time": (
        wire.snapshot_from_wire,
        node_pb2.NodeSnapshot(node="n"),
        "A NodeSnapshot came without its taken_at",
    ),
    "observation without headers": (
        lambda message: wire.observation_from_wire(message, "n"),
        agent_pb2.PacketObservation(direction=agent_pb2.PacketObservation.IN),
        "without its headers",
    ),
    "headers without a tuple": (
        lambda message: wire.observation_from_wire(message, "n"),
        agent_pb2.PacketObservation(direction=agent_pb2.PacketObservation.IN, headers=agent_pb2.Headers(ttl=1)),
        "A Headers came without its five_tuple",
    ),
    "observation of no direction": (
        lambda message: wire.observation_from_wire(message, "n"),
        agent_pb2.PacketObservation(headers=agent_pb2.Headers(five_tuple=TUPLE)),
        "direction is unspecified",
    ),
    "conntrack entry of one tuple": (
        lambda message: wire.conntrack_entry_from_wire(message, "n"),
        node_pb2.ConntrackEntry(original=TUPLE),
        "without its reply",
    ),
    "probe of a newer outcome": (wire.probe_report_from_wire, agent_pb2.ProbeReport(outcome=99), "unknown: 99"),  # type: ignore[arg-type]
    "capture of port 70000": (
        wire.capture_request_from_wire,
        agent_pb2.ArmCapture(id="c", ports=[70_000]),
        "port cannot be 70000",
    ),
    "no command": (wire.command_from_wire, agent_pb2.ConnectResponse(command=7), "does not know"),
    "no answer": (
        lambda message: wire.answer_from_wire(message, "node-a"),
        agent_pb2.Answer(command=7),
        "agent of node-a answered with nothing",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed(case: str) -> None:
    from_wire, message, sentence = MALFORMED[case]
    with pytest.raises(wire.WireError, match=sentence):
        from_wire(message)


@given(noise=st.binary(max_size=64))
def test_noise_that_parses_is_a_value_or_a_wire_error(noise: bytes) -> None:
    message = agent_pb2.ConnectResponse()
    with suppress(DecodeError):
        message.MergeFromString(noise)
    understood: Command | Failure
    try:
        understood = wire.command_from_wire(message)
    except wire.WireError as error:
        understood = Failure(reason=str(error))
    if isinstance(understood, Failure):
        assert understood.reason.endswith(".")
    else:
        assert wire.command_from_wire(wire.command_to_wire(1, understood)) == understood


TABLES: list[EnumTable[Any, Any]] = [
    table
    for name in ("links", "netfilter", "packet", "path", "request", "routing", "trace")
    for table in vars(__import__(f"pathtap.wire.{name}", fromlist=["*"])).values()
    if isinstance(table, EnumTable)
]


def test_every_enum_of_the_model_is_in_its_table() -> None:
    for table in TABLES:
        members = list(table._to_wire)
        kind: Any = type(members[0])
        assert set(members) == set(kind), f"{table._what} lacks a member"
        assert sorted(table._to_wire.values()) == list(range(1, len(members) + 1))
    assert len(TABLES) == 12
