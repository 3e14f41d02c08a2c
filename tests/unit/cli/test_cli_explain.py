"""`pathtap explain`: the page of what would happen, and the request that asks for it."""

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from pathtap.cli.render.page import Line, cells, paint
from pathtap.cli.render.trace import explained_lines
from pathtap.v1 import service_pb2, trace_pb2

EXPLAINED = ("explain-outside", "explain-service", "explain-node", "explain-wrong-eni")
Run = Callable[..., Result]
ATrace = Callable[[str], trace_pb2.Trace]
Golden = Callable[[str, list[Line]], None]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", EXPLAINED)
def test_what_would_happen_as_a_person_reads_it(name: str, width: int, a_trace: ATrace, golden: Golden) -> None:
    golden(f"{name}.{width}", explained_lines(a_trace(name), width))


@pytest.mark.parametrize("width", range(80, 121))
def test_no_line_is_wider_than_the_terminal(width: int, a_trace: ATrace) -> None:
    pages = [explained_lines(a_trace(name), width, every_statement=True) for name in EXPLAINED]
    too_wide = [paint(line, colour=False) for page in pages for line in page if cells(line) > width]
    assert not [line for line in too_wide if len(line) > width]


def test_it_is_asked_for_by_its_own_call_and_nothing_of_a_probe_is_said(ask: Run, served: Any, a_trace: ATrace) -> None:
    served.collector.trace = a_trace("explain-outside")
    result = ask("explain", "shop/search", "to", "198.51.100.8", "--port", "443")
    assert result.exit_code == 0
    assert "Nothing was sent, nothing was observed." in result.stdout.splitlines()[1]
    assert served.collector.asked == [
        service_pb2.TraceRequest(source="shop/search", destination="198.51.100.8", port=443)
    ]


@pytest.mark.parametrize("form", ["text", "json", "yaml"])
@pytest.mark.parametrize(("name", "code"), [("explain-wrong-eni", 3), ("explain-node", 0)])
def test_the_exit_code_is_the_verdicts(name: str, code: int, form: str, ask: Run, served: Any, a_trace: ATrace) -> None:
    served.collector.trace = a_trace(name)
    assert ask("explain", "a", "to", "b", "-o", form).exit_code == code


def test_every_statement_names_where_it_was_read(ask: Run, served: Any, a_trace: ATrace) -> None:
    served.collector.trace = a_trace("explain-outside")
    page = ask("explain", "a", "to", "b", "--evidence").stdout
    assert "[ip-192-168-1-29 RTM_GETROUTE]" in page
    assert "[the VPC]" in page


def test_an_address_may_be_the_source_and_a_service_may_not(ask: Run, served: Any, a_trace: ATrace) -> None:
    served.collector.trace = a_trace("explain-outside")
    assert ask("explain", "198.51.100.8", "to", "shop/cart", "--port", "80").exit_code == 0
    refused = ask("explain", "svc/web", "to", "shop/cart")
    assert refused.exit_code == 2
    assert "a Service sends no packets" in refused.stderr


def test_word_salad_gets_the_right_form_of_this_command(ask: Run) -> None:
    result = ask("explain", "shop/cart", "shop/redis")
    assert result.exit_code == 2
    assert "pathtap explain shop/cart to shop/redis" in result.stderr


@pytest.mark.parametrize("options", [("--live",), ("--count", "2"), ("--timeout", "1"), ("--size", "9")])
def test_what_only_a_probe_has_is_no_option(options: tuple[str, ...], ask: Run) -> None:
    assert ask("explain", "a", "to", "b", *options).exit_code == 2
