"""Every command, run as a person runs it, against a collector whose every string is hostile: none reaches a terminal raw.

Fields are found by reflection, so a new one is tried as soon as it exists; a new command or call fails the first test.
"""

import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from click.testing import Result
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from pathtap.cli.program import cli
from pathtap.v1 import service_pb2, snat_pb2, trace_pb2

Run = Callable[..., Result]
Path = tuple[FieldDescriptor, ...]

# ESC, CSI as one character (U+009B), OSC 52 (the clipboard), CR, LF, BEL, NUL, DEL, bidi controls, separators, tags, markup.
HOSTILE = (
    "a\x1b[2J\x9b31m\x1b]52;c;eA==\x07\r\n\x00\x7f\x85\u202e\u2066\u200f\u061c\u2028\u200b\ufeff\U000e0041\\[red]b"
)
UNSAFE = ("Cc", "Cf", "Cs", "Zl", "Zp")
# Each call of the collector, the commands that print what it answers, and where the fake collector keeps the answer.
COMMANDS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "trace": ("Trace", ("trace", "shop/a", "to", "shop/b"), "trace"),
    "trace --evidence": ("Trace", ("trace", "shop/a", "to", "shop/b", "--evidence"), "trace"),
    "explain": ("Explain", ("explain", "shop/a", "to", "shop/b", "--evidence"), "trace"),
    "flows": ("ListFlows", ("flows", "shop/a"), "flows"),
    "check": ("Check", ("check",), "check"),
    "snat": ("Snat", ("snat", "shop/a", "to", "198.51.100.8", "--port", "443", "--evidence"), "snat"),
    "snat --all": ("Snat", ("snat", "--all"), "snat_table"),
    "nodes": ("ListNodes", ("nodes",), "nodes"),
}
# These print nothing that a collector says: the shell's completion is tried by itself.
WITHOUT_ANSWERS = {"completion", "lab"}


@pytest.fixture
def answers(
    a_trace: Callable[[str], trace_pb2.Trace],
    busy_flows: trace_pb2.Flows,
    a_check: trace_pb2.Check,
    a_snat: Callable[[str], snat_pb2.Snat],
    a_snat_table: snat_pb2.SnatTable,
    two_nodes: service_pb2.ListNodesResponse,
) -> dict[str, Message]:
    return {
        "trace": a_trace("trace-dropped"),
        "flows": busy_flows,
        "check": a_check,
        "snat": a_snat("snat-not-in-effect"),
        "snat_table": a_snat_table,
        "nodes": two_nodes,
    }


def paths(descriptor: Any, above: Path = ()) -> Iterator[Path]:
    """The way to every string field of a message type."""
    for field in descriptor.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            yield (*above, field)
        elif field.type == FieldDescriptor.TYPE_MESSAGE and field.message_type not in [f.message_type for f in above]:
            yield from paths(field.message_type, (*above, field))


def poison(message: Any, path: Path) -> None:
    """HOSTILE at the end of `path` in every message that is there; one is added where none is."""
    field, *rest = path
    if rest and field.is_repeated:
        inner = getattr(message, field.name)
        for each in [*inner] or [inner.add()]:
            poison(each, tuple(rest))
    elif rest:
        poison(getattr(message, field.name), tuple(rest))
    elif field.is_repeated:
        getattr(message, field.name).append(HOSTILE)
    else:
        setattr(message, field.name, HOSTILE)


def unsafe(text: str) -> set[str]:
    return {hex(ord(char)) for char in text if unicodedata.category(char) in UNSAFE} - {"0xa"}


def test_every_command_and_every_call_is_tried() -> None:
    assert {words[0] for _, words, _ in COMMANDS.values()} | WITHOUT_ANSWERS == {*cli.commands, "lab"}
    (service,) = service_pb2.DESCRIPTOR.services_by_name.values()
    assert {call for call, *_ in COMMANDS.values()} | {"ListNames"} == {method.name for method in service.methods}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_string_of_an_answer_reaches_the_terminal_raw(
    name: str, ask: Run, served: Any, answers: dict[str, Message]
) -> None:
    _, words, kept = COMMANDS[name]
    tried = list(paths(answers[kept].DESCRIPTOR))
    shown = 0
    for chosen in [*([path] for path in tried), tried]:
        message: Any = type(answers[kept])()
        message.CopyFrom(answers[kept])
        for path in chosen:
            poison(message, path)
        setattr(served.collector, kept, message)
        result = ask("--color", "never", *words)
        assert result.exception is None or isinstance(result.exception, SystemExit), (name, chosen)
        assert not unsafe(result.stdout + result.stderr), (name, [field.name for path in chosen for field in path])
        shown += "\\x1b[2J" in result.stdout.replace("\n", "").replace(" ", "")
    assert shown > len(tried) // 5, "most of what was put in is not printed: nothing was tried"


@pytest.mark.parametrize("form", ["json", "yaml"])
@pytest.mark.parametrize("name", COMMANDS)
def test_documents_are_ascii_whatever_they_hold(
    name: str, form: str, ask: Run, served: Any, answers: dict[str, Message]
) -> None:
    _, words, kept = COMMANDS[name]
    for path in paths(answers[kept].DESCRIPTOR):
        poison(answers[kept], path)
    setattr(served.collector, kept, answers[kept])
    printed = ask(*words, "-o", form).stdout
    assert len(printed) > 100
    assert printed.isascii()
    assert not unsafe(printed)


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL]
)
@pytest.mark.parametrize("name", COMMANDS)
def test_no_refusal_reaches_the_terminal_raw(name: str, code: grpc.StatusCode, ask: Run, served: Any) -> None:
    served.collector.status = (code, HOSTILE)
    result = ask(*COMMANDS[name][1])
    assert result.exit_code in (1, 2)
    assert "\\x1b[2J\\x9b31m" in result.stderr
    assert not unsafe(result.stdout + result.stderr)


@pytest.mark.parametrize(
    "words", [(HOSTILE,), ("trace", HOSTILE, "to", "b"), ("check", HOSTILE), ("trace", "a", HOSTILE, "b")]
)
def test_no_word_of_ones_own_reaches_the_terminal_raw(words: tuple[str, ...], ask: Run) -> None:
    """A command line may have been pasted."""
    result = ask(*words)
    assert result.exit_code != 0
    assert not unsafe(result.stdout + result.stderr)


def test_no_name_that_is_completed_reaches_the_terminal_raw(run: Run, served: Any) -> None:
    served.collector.names = ("shop/cart", f"shop/{HOSTILE}", "shop/\u202egnp", "shop/\x9b2J")
    words = f"pathtap --collector {served.address} trace shop/"
    result = run(_PATHTAP_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD="4")
    assert "shop/cart" in result.stdout
    assert "gnp" not in result.stdout
    assert not unsafe(result.stdout + result.stderr)
