from collections.abc import Callable
from typing import Any

import grpc
import pytest
from click.testing import Result

from pathtap.cli.exit_codes import check_exit_code
from pathtap.cli.render.check import check_lines
from pathtap.cli.render.page import Line, cells, paint
from pathtap.v1 import trace_pb2

Run = Callable[..., Result]
Golden = Callable[[str, list[Line]], None]


@pytest.mark.parametrize("width", [80, 120])
def test_a_check_as_a_person_reads_it(width: int, a_check: trace_pb2.Check, golden: Golden) -> None:
    golden(f"check-broken.{width}", check_lines(a_check, width))


@pytest.mark.parametrize("width", range(80, 121))
def test_no_line_is_wider_than_the_terminal(width: int, a_check: trace_pb2.Check) -> None:
    assert not [paint(line, colour=False) for line in check_lines(a_check, width) if cells(line) > width]


def test_an_empty_cluster_is_said_to_be_empty() -> None:
    (line,) = check_lines(trace_pb2.Check(), 80)
    assert "No node" in paint(line, colour=False)


@pytest.mark.parametrize(
    ("severities", "decisive", "code"),
    [
        ((), False, 0),
        (("note",), False, 0),
        (("warning",), False, 3),
        (("note", "error"), False, 3),
        ((), True, 4),
        (("note",), True, 4),
        (("warning",), True, 3),
    ],
)
def test_each_case_of_the_contract(severities: tuple[str, ...], decisive: bool, code: int) -> None:
    check = trace_pb2.Check()
    for severity in severities:
        check.findings.add(code="X", severity=trace_pb2.Finding.Severity.Value(severity))
    check.gaps.add(node="a", part="agent", why="gone", decisive=decisive)
    assert check_exit_code(check) == code


def test_nodes_are_asked_for_by_their_names(ask: Run, served: Any, a_check: trace_pb2.Check) -> None:
    served.collector.check = a_check
    result = ask("check", "ip-192-168-1-29", "node/ip-192-168-2-29")
    assert result.exit_code == 3
    assert list(served.collector.asked[0].nodes) == ["ip-192-168-1-29", "ip-192-168-2-29"]
    assert "FWMARK_RULE_MISSING" in result.stdout
    assert "could not be read" in result.stdout


def test_without_names_all_are_meant_and_json_is_the_message(
    ask: Run, served: Any, a_check: trace_pb2.Check, as_json: Callable[[Result], Any]
) -> None:
    served.collector.check = a_check
    document = as_json(ask("check", "-o", "json"))
    assert not served.collector.asked[0].nodes
    assert [node["read"] for node in document["nodes"]] == [True, True, False]
    assert [finding["severity"] for finding in document["findings"]] == ["error", "warning"]
    assert "FWMARK_RULE_MISSING" in ask("check", "-o", "yaml").stdout


def test_a_node_that_nobody_knows_ends_with_the_collectors_sentence(ask: Run, served: Any) -> None:
    served.collector.status = (grpc.StatusCode.NOT_FOUND, "there is no node a; did you mean b?")
    result = ask("check", "a")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no node a; did you mean b?" in result.stderr


def test_hostile_names_are_made_harmless(ask: Run, served: Any, a_check: trace_pb2.Check) -> None:
    a_check.nodes[0].node = "a\x1b[2Jb"
    served.collector.check = a_check
    assert "\x1b" not in ask("--color", "never", "check").stdout


def test_names_of_nodes_are_completed_once(run: Run, served: Any) -> None:
    served.collector.names = ("shop/cart", "node/ip-1", "node/ip-2")

    def offered(*words: str) -> list[str]:
        result = run(
            _PATHTAP_COMPLETE="bash_complete",
            COMP_WORDS=" ".join(["pathtap", "--collector", served.address, *words]),
            COMP_CWORD=str(len(words) + 2),
        )
        return [line.partition(",")[2] for line in result.stdout.splitlines() if line]

    assert offered("check", "ip") == ["ip-1", "ip-2"]
    assert offered("check", "ip-1", "ip") == ["ip-2"]
