"""What goes over the wire comes back equal, for every type of the model that crosses it in both directions."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pathtap import wire
from pathtap.model.address import Address, FiveTuple, InterfaceAddress, Network
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.netfilter import RuleSet
from pathtap.model.node import NodeSnapshot, RouteAnswer, Unread
from pathtap.model.packet import Lost, PacketObservation
from pathtap.model.request import (
    Answer,
    CaptureArmed,
    CaptureEnded,
    CaptureRequest,
    Command,
    ConnectionsReport,
    LookupReport,
    LookupRequest,
    OpenConnections,
    ProbeReport,
    ProbeRequest,
    RouteQuestion,
)
from pathtap.model.survey import SurveyReport, SurveyRequest
from pathtap.wire import survey

Model = Callable[[Any], st.SearchStrategy[Any]]
NODE = "ip-192-168-1-29"

PAIRS: list[tuple[Any, Callable[..., Any], Callable[..., Any]]] = [
    (Address, wire.address_to_wire, wire.address_from_wire),
    (Network, wire.network_to_wire, wire.network_from_wire),
    (InterfaceAddress, wire.interface_address_to_wire, wire.interface_address_from_wire),
    (FiveTuple, wire.five_tuple_to_wire, wire.five_tuple_from_wire),
    (RuleSet, wire.rule_set_to_wire, wire.rule_set_from_wire),
    (NodeSnapshot, wire.snapshot_to_wire, wire.snapshot_from_wire),
    (Unread, wire.unread_to_wire, wire.unread_from_wire),
    (RouteAnswer, wire.route_answer_to_wire, wire.route_answer_from_wire),
    (CaptureRequest, wire.capture_request_to_wire, wire.capture_request_from_wire),
    (CaptureArmed, wire.capture_armed_to_wire, wire.capture_armed_from_wire),
    (CaptureEnded, wire.capture_ended_to_wire, wire.capture_ended_from_wire),
    (ProbeRequest, wire.probe_request_to_wire, wire.probe_request_from_wire),
    (ProbeReport, wire.probe_report_to_wire, wire.probe_report_from_wire),
    (tuple[ProbeReport, ...], wire.probe_reports_to_wire, wire.probe_reports_from_wire),
    (RouteQuestion, wire.route_question_to_wire, wire.route_question_from_wire),
    (LookupRequest, wire.lookup_request_to_wire, wire.lookup_request_from_wire),
    (OpenConnections, survey.open_connections_to_wire, survey.open_connections_from_wire),
    (SurveyRequest, survey.survey_request_to_wire, survey.survey_request_from_wire),
]
# The node's name is not on these messages: the envelope's is passed in.
ENVELOPED: list[tuple[Any, Callable[..., Any], Callable[..., Any]]] = [
    (PacketObservation, wire.observation_to_wire, wire.observation_from_wire),
    (Lost, wire.lost_to_wire, wire.lost_from_wire),
    (ConntrackEntry, wire.conntrack_entry_to_wire, wire.conntrack_entry_from_wire),
]
slow = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.mark.parametrize(("kind", "to_wire", "from_wire"), PAIRS, ids=[str(pair[0]) for pair in PAIRS])
@slow
@given(data=st.data())
def test_round_trip(data: st.DataObject, model: Model, kind: Any, to_wire: Any, from_wire: Any) -> None:
    value = data.draw(model(kind))
    assert from_wire(to_wire(value)) == value


@pytest.mark.parametrize(("kind", "to_wire", "from_wire"), ENVELOPED, ids=[pair[0].__name__ for pair in ENVELOPED])
@slow
@given(data=st.data())
def test_round_trip_with_the_envelopes_node(
    data: st.DataObject, model: Model, kind: Any, to_wire: Any, from_wire: Any
) -> None:
    value = dataclasses.replace(data.draw(model(kind)), node=NODE)
    assert from_wire(to_wire(value), NODE) == value


# Reports whose entries have the envelope's name.
REPORTS: list[tuple[Any, Callable[..., Any], Callable[..., Any]]] = [
    (LookupReport, wire.lookup_report_to_wire, wire.lookup_report_from_wire),
    (ConnectionsReport, survey.connections_report_to_wire, survey.connections_report_from_wire),
    (SurveyReport, survey.survey_report_to_wire, survey.survey_report_from_wire),
]


@pytest.mark.parametrize(("kind", "to_wire", "from_wire"), REPORTS, ids=[report[0].__name__ for report in REPORTS])
@slow
@given(data=st.data())
def test_reports_with_entries(data: st.DataObject, model: Model, kind: Any, to_wire: Any, from_wire: Any) -> None:
    report = of_the_node(data.draw(model(kind)))
    assert from_wire(to_wire(report), NODE) == report


def of_the_node(answer: Answer) -> Answer:
    match answer:
        case LookupReport() | SurveyReport():
            named = tuple(dataclasses.replace(entry, node=NODE) for entry in answer.entries)
            return dataclasses.replace(answer, entries=named)
        case ConnectionsReport():
            named_too = tuple(
                each
                if each.entry is None
                else dataclasses.replace(each, entry=dataclasses.replace(each.entry, node=NODE))
                for each in answer.connections
            )
            return dataclasses.replace(answer, connections=named_too)
        case _:
            return answer


@slow
@given(data=st.data(), number=st.integers(1, 2**64 - 1))
def test_commands_keep_their_number(data: st.DataObject, model: Model, number: int) -> None:
    command = data.draw(model(Command))
    message = wire.command_to_wire(number, command)
    assert (message.command, wire.command_from_wire(message)) == (number, command)


@slow
@given(data=st.data(), number=st.integers(1, 2**64 - 1))
def test_answers_keep_their_number(data: st.DataObject, model: Model, number: int) -> None:
    answer = of_the_node(data.draw(model(Answer)))
    message = wire.answer_to_wire(number, answer)
    assert (message.command, wire.answer_from_wire(message, NODE)) == (number, answer)


@slow
@given(data=st.data())
def test_batches_keep_their_order(data: st.DataObject, model: Model) -> None:
    observations, lost = data.draw(model(tuple[PacketObservation, ...])), data.draw(model(tuple[Lost, ...]))
    seen, missing, rows = wire.batch_from_wire(wire.batch_to_wire(observations, lost), NODE)
    assert seen == tuple(dataclasses.replace(observation, node=NODE) for observation in observations)
    assert missing == tuple(dataclasses.replace(loss, node=NODE) for loss in lost)
    assert not rows


@pytest.mark.parametrize("nanoseconds", [0, 1, 999_999_999, 1_000_000_000, 1_795_234_567_123_456_789])
def test_times_keep_every_nanosecond(nanoseconds: int) -> None:
    assert wire.timestamp_from_wire(wire.timestamp_to_wire(nanoseconds)) == nanoseconds
