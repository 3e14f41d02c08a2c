"""`pathtap snat`: the request that asks, what is refused before anybody is asked, the exit code, completion."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from click.testing import Result
from google.protobuf import json_format

from pathtap.cli.client import CHECK_SECONDS
from pathtap.cli.exit_codes import snat_exit_code, snat_table_exit_code
from pathtap.v1 import service_pb2, snat_pb2

Run = Callable[..., Result]
ASnat = Callable[[str], snat_pb2.Snat]


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["198.51.100.8", "--port", "443"], {"port": 443, "connections": 64, "timeout_ms": 2000}),
        (["198.51.100.8"], {"connections": 64, "timeout_ms": 2000}),
        (
            ["198.51.100.8", "--protocol", "udp", "--port", "53", "--connections", "1000", "--timeout", "0.5"],
            {"protocol": 17, "port": 53, "connections": 1000, "timeout_ms": 500},
        ),
        (["198.51.100.8", "--live"], {"live": True, "timeout_ms": 5000}),
        (
            ["198.51.100.8", "--live", "--protocol", "tcp", "--timeout", "30"],
            {"live": True, "protocol": 6, "timeout_ms": 30_000},
        ),
        (["svc/shop/web", "--protocol", "tcp"], {"protocol": 6, "connections": 64, "timeout_ms": 2000}),
    ],
)
def test_connections_to_a_destination_are_asked_for(
    words: list[str], asked: dict[str, Any], ask: Run, served: Any, a_snat: ASnat
) -> None:
    served.collector.snat = a_snat("snat-fully")
    result = ask("snat", "shop/search", "to", *words)
    assert (result.exit_code, result.stderr) == (0, "")
    (request,) = served.collector.asked
    assert request == service_pb2.SnatRequest(source="shop/search", destination=words[0], **asked)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["shop/search"], {"source": "shop/search"}),
        (["node/ip-192-168-1-29"], {"source": "node/ip-192-168-1-29"}),
        (["search", "-n", "shop"], {"source": "search", "namespace": "shop"}),
        (["shop/search", "--live"], {"source": "shop/search", "live": True, "timeout_ms": 5000}),
        (["192.168.1.116", "--live"], {"source": "192.168.1.116", "live": True, "timeout_ms": 5000}),
        (["--all"], {"all": True}),
    ],
)
def test_without_a_destination_no_connection_is_asked_for(
    words: list[str], asked: dict[str, Any], ask: Run, served: Any, a_snat: ASnat, a_snat_table: snat_pb2.SnatTable
) -> None:
    served.collector.snat, served.collector.snat_table = a_snat("snat-fully"), a_snat_table
    assert ask("snat", *words).stderr == ""
    assert served.collector.asked == [service_pb2.SnatRequest(**asked)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Write it as: pathtap snat SRC [to DST]"),
        (["shop/cart", "198.51.100.8"], "for example: pathtap snat shop/cart to 198.51.100.8"),
        (["shop/cart", "to"], "Write it as: pathtap snat SRC [to DST], for example: pathtap snat shop/cart to 198.51"),
        (["a", "to", "b", "c"], "Write it as: pathtap snat SRC [to DST]"),
        ([""], "A name is empty"),
        (["a\udc80"], "UTF-8"),
        (["svc/web"], "a Service sends no packets"),
        (["svc/web", "--live"], "a Service sends no packets"),
        (["192.168.1.116", "to", "198.51.100.8"], "--live"),
        (["a", "to", "224.0.0.1"], "224.0.0.1 is no host's address"),
        (["a", "to", "198.51.100.8:443"], "pathtap snat SRC to 198.51.100.8 --port 443"),
        (["a", "to", "b", "--protocol", "tcp"], "TCP needs a port"),
        (["a", "to", "b", "--protocol", "udp"], "UDP needs a port"),
        (["a", "to", "b", "--protocol", "icmp", "--port", "80"], "ICMP has no ports"),
        (["a", "to", "b", "--protocol", "sctp"], "sctp"),
        (["a", "to", "b", "--port", "http"], "http is no port"),
        (["a", "to", "b", "--connections", "0"], "1<=x<=1000"),
        (["a", "to", "b", "--connections", "1001"], "1<=x<=1000"),
        (["a", "to", "b", "--connections", "9", "--live"], "--live opens no connections: leave out --connections"),
        (["a", "--connections", "9"], "--connections needs a destination: pathtap snat SRC to DST --connections"),
        (["a", "--connections", "9", "--live"], "--live opens no connections"),
        (["a", "--port", "9"], "--port needs a destination"),
        (["a", "--protocol", "tcp", "--live"], "--protocol needs a destination"),
        (["a", "--timeout", "9"], "Without a destination and --live nothing is waited for"),
        (["a", "to", "b", "--timeout", "nan"], "nan is no number of seconds"),
        (["a", "to", "b", "--timeout", "10.5"], "Answers are waited for 10 s at most"),
        (["a", "to", "b", "--count", "2"], "--count"),
        (["--all", "a"], "leave out SRC and DST, or --all"),
        (["--all", "a", "to", "b"], "leave out SRC and DST, or --all"),
        (["--all", "--live"], "leave out --live, or name SRC"),
        (["--all", "--port", "9"], "leave out --port, or name SRC"),
        (["--all", "--protocol", "tcp"], "leave out --protocol, or name SRC"),
        (["--all", "--connections", "9"], "leave out --connections, or name SRC"),
        (["--all", "--timeout", "9"], "leave out --timeout, or name SRC"),
        (["--all", "--evidence"], "leave out --evidence, or name SRC"),
        (["a", "-o", "xml"], "xml"),
    ],
)
def test_what_makes_no_sense_is_a_sentence_and_exit_2(words: list[str], said: str, ask: Run, served: Any) -> None:
    result = ask("snat", *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "unexpectedly" not in result.stderr
    assert (result.stdout, served.collector.asked) == ("", [])


@pytest.mark.parametrize("as_intended", [True, False])
@pytest.mark.parametrize("verdict", [*snat_pb2.Snat.Verdict.values(), 99])
def test_the_exit_code_is_the_verdicts(verdict: int, as_intended: bool) -> None:
    snat = snat_pb2.Snat(verdict=verdict, as_intended=as_intended)  # type: ignore[arg-type]
    undecided = verdict in (snat_pb2.Snat.VERDICT_UNSPECIFIED, snat_pb2.Snat.INCONCLUSIVE, 99)
    assert snat_exit_code(snat) == (4 if undecided else 0 if as_intended else 3)


@pytest.mark.parametrize(
    ("rows", "decisive", "code"),
    [
        ((), False, 0),
        ((), True, 4),
        (("as set",), False, 0),
        (("as set",), True, 4),
        (("as set", "inconclusive"), False, 4),
        (("inconclusive", "otherwise", "as set"), False, 3),
        (("otherwise",), True, 3),
    ],
)
def test_the_exit_code_of_all_nodes_is_the_worst_that_is_known(
    rows: tuple[str, ...], decisive: bool, code: int
) -> None:
    table = snat_pb2.SnatTable()
    for row in rows:
        verdict = snat_pb2.Snat.INCONCLUSIVE if row == "inconclusive" else snat_pb2.Snat.NOT_RANDOM
        table.nodes.add(verdict=verdict, as_intended=row == "as set")
    table.gaps.add(node="a", part="agent", why="gone", decisive=decisive)
    assert snat_table_exit_code(table) == code


@pytest.mark.parametrize("form", ["text", "json", "yaml"])
@pytest.mark.parametrize(("name", "code"), [("snat-fully", 0), ("snat-not-in-effect", 3)])
def test_the_exit_code_does_not_depend_on_the_form(
    name: str, code: int, form: str, ask: Run, served: Any, a_snat: ASnat, a_snat_table: snat_pb2.SnatTable
) -> None:
    served.collector.snat, served.collector.snat_table = a_snat(name), a_snat_table
    assert ask("snat", "a", "to", "b", "-o", form).exit_code == code
    assert ask("snat", "--all", "-o", form).exit_code == 3


def test_json_is_the_message(
    ask: Run, served: Any, a_snat: ASnat, a_snat_table: snat_pb2.SnatTable, as_json: Callable[[Result], Any]
) -> None:
    served.collector.snat, served.collector.snat_table = a_snat("snat-not-in-effect"), a_snat_table
    document = as_json(ask("snat", "a", "to", "b", "-o", "json"))
    assert document["verdict"] == "NOT_IN_EFFECT"
    assert (document["preserved"], document["connections"], document["insert_failed"]) == (20, 24, 3)
    assert document["rule"]["random"] == "none"
    assert json_format.ParseDict(document, snat_pb2.Snat()) == served.collector.snat
    table = as_json(ask("snat", "--all", "-o", "json"))
    assert [node["verdict"] for node in table["nodes"]] == ["FULLY_RANDOM", "NOT_RANDOM", "INCONCLUSIVE"]
    assert json_format.ParseDict(table, snat_pb2.SnatTable()) == a_snat_table


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (grpc.StatusCode.NOT_FOUND, 1),
        (grpc.StatusCode.FAILED_PRECONDITION, 1),
        (grpc.StatusCode.INVALID_ARGUMENT, 2),
        (grpc.StatusCode.UNIMPLEMENTED, 1),
    ],
)
@pytest.mark.parametrize("words", [["a", "to", "b"], ["a"], ["--all"]])
def test_a_collector_that_cannot_answer_says_why(
    words: list[str], status: grpc.StatusCode, code: int, ask: Run, served: Any
) -> None:
    served.collector.status = (status, "no pod a; did you mean shop/cart?")
    result = ask("snat", *words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert "no pod a; did you mean shop/cart?" in result.stderr


def test_an_answer_to_another_question_is_none(ask: Run, served: Any, a_snat: ASnat) -> None:
    served.collector.snat = a_snat("snat-fully")
    result = ask("snat", "--all")
    assert (result.exit_code, "without an answer" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("words", "least"),
    [
        (["a", "to", "b", "--connections", "1000", "--timeout", "10"], 30.0),
        (["a", "--live", "--timeout", "200"], 220.0),
        (["a"], 20.0),
        (["--all"], CHECK_SECONDS / 2),
    ],
)
def test_a_slow_node_is_waited_for(
    words: list[str],
    least: float,
    ask: Run,
    served: Any,
    a_snat: ASnat,
    a_snat_table: snat_pb2.SnatTable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served.collector.snat, served.collector.snat_table = a_snat("snat-fully"), a_snat_table
    remaining: list[float] = []
    monkeypatch.setattr(served.collector, "_refuse", lambda context: remaining.append(context.time_remaining()))
    ask("snat", *words)
    assert len(remaining) == 1
    assert remaining[0] > least


def test_source_and_destination_are_completed(run: Run, served: Any) -> None:
    served.collector.names = ("shop/cart", "shop/redis", "svc/shop/web")

    def offered(*words: str) -> list[str]:
        result = run(
            _PATHTAP_COMPLETE="bash_complete",
            COMP_WORDS=" ".join(["pathtap", "--collector", served.address, *words]),
            COMP_CWORD=str(len(words) + 2),
        )
        assert result.stderr == ""
        return [line.partition(",")[2] for line in result.stdout.splitlines() if line]

    assert offered("sna") == ["snat"]
    assert offered("snat", "s") == ["shop/cart", "shop/redis"]
    assert offered("snat", "shop/cart", "t") == ["to"]
    assert offered("snat", "shop/cart", "to", "s") == ["shop/cart", "shop/redis", "svc/shop/web"]
    assert offered("snat", "shop/cart", "to", "shop/redis", "s") == []
    assert offered("snat", "--all", "s") == []
    assert "--connections" in offered("snat", "--co")


def test_help_tells_the_exit_codes_and_an_example_of_each_use(run: Run) -> None:
    shown = run("snat", "--help").stdout
    for line in ("0    the effect is what was set", "3    the effect", "4    inconclusive", "130  interrupted"):
        assert line in shown
    for example in ("snat shop/cart to 198.51.100.8 --port 443", "snat shop/cart\n", "--live", "snat --all"):
        assert example in shown
    assert "\n  snat " in run("--help").stdout
