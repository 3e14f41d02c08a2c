"""Towards a person there is no way back, so every field of a trace and of a flow must show in its message."""

import dataclasses
import json
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

import pytest
from google.protobuf.json_format import MessageToJson
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pathtap import wire
from pathtap.model.address import Socket
from pathtap.model.trace import (
    Cause,
    DestinationNat,
    Egress,
    Evidence,
    Finding,
    Flow,
    Gap,
    Hop,
    Path,
    RuleReference,
    SourceNat,
    Step,
    Target,
    Trace,
    Verdict,
)
from pathtap.wire import path, trace

Model = Callable[[Any], st.SearchStrategy[Any]]

SHOWN: list[tuple[Any, Callable[..., Any]]] = [
    (Trace, wire.trace_to_wire),
    (Flow, trace._flow_to_wire),
    (Target, trace.target_to_wire),
    (Verdict, trace._verdict_to_wire),
    (Finding, trace.finding_to_wire),
    (Gap, trace.gap_to_wire),
    (Egress, trace.egress_to_wire),
    (SourceNat, trace._source_nat_to_wire),
    (DestinationNat, trace._destination_nat_to_wire),
    (RuleReference, trace.reference_to_wire),
    (Path, path.path_to_wire),
    (Hop, path._hop_to_wire),
    (Step, path._step_to_wire),
    (Cause, path._cause_to_wire),
    (Evidence, path.evidence_to_wire),
]
FIELDS = [(kind, to_wire, field.name) for kind, to_wire in SHOWN for field in dataclasses.fields(kind)]
slow = settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize(
    ("kind", "to_wire", "field"), FIELDS, ids=[f"{kind.__name__}.{name}" for kind, _, name in FIELDS]
)
@slow
@given(data=st.data())
def test_every_field_shows(
    data: st.DataObject, model: Model, field_of: Any, kind: Any, to_wire: Any, field: str
) -> None:
    value, other = data.draw(model(kind)), data.draw(field_of(kind, field))
    assume(getattr(value, field) != other)
    changed = dataclasses.replace(value, **{field: other})
    assert to_wire(changed) != to_wire(value)


@slow
@given(data=st.data())
def test_flows(data: st.DataObject, model: Model) -> None:
    source = data.draw(model(Target))
    flows, gaps = data.draw(model(tuple[Flow, ...])), data.draw(model(tuple[Gap, ...]))
    message = wire.flows_to_wire(source, 1_500_000_000, 2_000_000_000, flows, gaps)
    assert (len(message.flows), len(message.gaps)) == (len(flows), len(gaps))
    assert (message.started_at.nanos, message.finished_at.seconds) == (500_000_000, 2)
    assert message.source.address == str(source.socket.address)


@slow
@given(data=st.data())
def test_the_json_of_a_trace_has_bare_names_and_strings(data: st.DataObject, model: Model) -> None:
    value = data.draw(model(Trace))
    printed = json.loads(
        MessageToJson(
            wire.trace_to_wire(value), preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
    )
    assert printed["verdict"]["disposition"] == value.verdict.disposition.value
    assert printed["verdict"]["reply"] == value.verdict.reply.value
    assert [finding["severity"] for finding in printed["verdict"]["findings"]] == [
        finding.severity.value for finding in value.verdict.findings
    ]
    assert printed["source"]["address"] == str(value.source.socket.address)
    assert printed["snat"]["applied"] is value.snat.applied
    for hop, shown in zip(value.forward.hops, printed["forward"]["hops"], strict=True):
        assert [step["witnesses"] for step in shown["steps"]] == [
            [witness.value for witness in step.witnesses] for step in hop.steps
        ]


def test_a_target_of_no_kind_is_refused() -> None:
    target = Target(kind="namespace", name="shop", node="", socket=Socket(IPv4Address("192.0.2.1"), 0))
    with pytest.raises(wire.WireError, match="not 'namespace'"):
        trace.target_to_wire(target)
