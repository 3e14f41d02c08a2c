import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from pathtap.cli.escape import escape, escaped
from pathtap.cli.render.flows import flow_lines
from pathtap.cli.render.nodes import node_lines
from pathtap.cli.render.page import Line, paint
from pathtap.cli.render.trace import trace_lines
from pathtap.v1 import service_pb2, trace_pb2

HOSTILE = "a\x1b[2J\x07\r\n\x00\x7f\x9b31m\u202e\u2066\u200f\u061c\u2028\u200b\U000e0041]52;c;x\x1b\\[red]b"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("\x1b[31m", "\\x1b[31m"),
        ("\r\n\t\x00", "\\x0d\\x0a\\x09\\x00"),
        ("\x7f\x9b2J", "\\x7f\\x9b2J"),
        ("\u202egnp", "\\u202egnp"),
        ("\u2066\u2069\u200e\u200f\u061c", "\\u2066\\u2069\\u200e\\u200f\\u061c"),
        ("\U000e0041", "\\U000e0041"),
        ("\udc80", "\\udc80"),
        ("shop/cart → 192.0.2.1 [bold]ünï 名前[/bold]", "shop/cart → 192.0.2.1 [bold]ünï 名前[/bold]"),
    ],
)
def test_unsafe_characters_are_written_out_and_others_left(text: str, written: str) -> None:
    assert escape(text) == written


def test_every_control_and_format_character_of_unicode_is_written_out() -> None:
    for code in range(0x110000):
        written = escape(chr(code))
        assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in written), hex(code)


def string_fields(descriptor: Any, path: tuple[FieldDescriptor, ...] = ()) -> Iterator[tuple[FieldDescriptor, ...]]:
    """The path to every string field of a message type, found by reflection."""
    for field in descriptor.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            yield (*path, field)
        elif field.type == FieldDescriptor.TYPE_MESSAGE and field.message_type not in [f.message_type for f in path]:
            yield from string_fields(field.message_type, (*path, field))


def poison(message: Message, path: tuple[FieldDescriptor, ...]) -> int:
    """Sets the field at `path` to HOSTILE in every message that is there, adding one where none is; how many it set."""
    field, *rest = path
    if not rest:
        if field.is_repeated:
            getattr(message, field.name).append(HOSTILE)
        else:
            setattr(message, field.name, HOSTILE)
        return 1
    if field.is_repeated:
        inner = getattr(message, field.name)
        if not inner:
            inner.add()
        return sum(poison(each, tuple(rest)) for each in inner)
    return poison(getattr(message, field.name), tuple(rest))


def painted(lines: list[Line]) -> str:
    return "\n".join(paint(line, colour=False) for line in lines)


def assert_clean(text: str, path: tuple[FieldDescriptor, ...]) -> None:
    dirty = {hex(ord(c)) for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - {"0xa"}
    assert not dirty, (".".join(field.name for field in path), dirty)


def test_no_string_field_of_a_trace_lets_a_control_character_through(a_trace: Callable[[str], trace_pb2.Trace]) -> None:
    paths = list(string_fields(trace_pb2.Trace.DESCRIPTOR))
    assert len(paths) > 60
    shown = 0
    for path in paths:
        for name in ("trace-outside", "trace-service", "trace-dropped"):
            trace = a_trace(name)
            assert poison(trace, path)
            text = painted(trace_lines(escaped(trace), 80, every_statement=True))
            assert_clean(text, path)
            shown += "[red]b" in text.replace("\n", "").replace(" ", "")
    # Most fields are printed somewhere, and none of them as rich markup.
    assert shown > 100


def test_no_string_field_of_flows_or_nodes_lets_a_control_character_through(
    busy_flows: trace_pb2.Flows, two_nodes: service_pb2.ListNodesResponse
) -> None:
    for path in string_fields(trace_pb2.Flows.DESCRIPTOR):
        flows = trace_pb2.Flows()
        flows.CopyFrom(busy_flows)
        assert poison(flows, path)
        assert_clean(painted(flow_lines(escaped(flows), 80)), path)
    for path in string_fields(service_pb2.ListNodesResponse.DESCRIPTOR):
        nodes = service_pb2.ListNodesResponse()
        nodes.CopyFrom(two_nodes)
        assert poison(nodes, path)
        assert_clean(painted(node_lines(escaped(nodes), 80)), path)


def test_escaping_leaves_the_message_itself_alone(a_trace: Callable[[str], trace_pb2.Trace]) -> None:
    trace = a_trace("trace-outside")
    trace.source.name = HOSTILE
    copy = escaped(trace)
    assert trace.source.name == HOSTILE
    assert copy.source.name == escape(HOSTILE)
    copy.source.name = trace.source.name
    assert copy == trace
