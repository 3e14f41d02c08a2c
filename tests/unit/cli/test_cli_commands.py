import contextlib
import errno
import os
import pty
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from click.testing import Result
from google.protobuf import json_format

from pathtap.cli import output
from pathtap.cli.options import Color
from pathtap.v1 import service_pb2, trace_pb2

Run = Callable[..., Result]
ATrace = Callable[[str], trace_pb2.Trace]
PATHTAP = Path(sys.executable).with_name("pathtap")


def test_a_trace_is_printed_and_its_verdict_is_the_exit_code(ask: Run, served: Any, a_trace: ATrace) -> None:
    served.collector.trace = a_trace("trace-outside")
    result = ask("trace", "shop/search", "to", "198.51.100.8", "--port", "443")
    assert result.exit_code == 0
    assert result.stdout.startswith("shop/search 192.168.1.116 ─▶ 198.51.100.8:443  tcp")
    assert result.stderr == ""
    assert served.collector.asked == [
        service_pb2.TraceRequest(
            source="shop/search", destination="198.51.100.8", port=443, protocol=0, count=1, timeout_ms=3000
        )
    ]


@pytest.mark.parametrize(
    ("name", "code"), [("trace-dropped", 3), ("trace-refused-ipv6", 3), ("trace-no-agent", 4), ("trace-pod", 0)]
)
@pytest.mark.parametrize("form", ["text", "json", "yaml"])
def test_the_exit_code_does_not_depend_on_the_form(
    name: str, code: int, form: str, ask: Run, served: Any, a_trace: ATrace
) -> None:
    served.collector.trace = a_trace(name)
    assert ask("trace", "a", "to", "b", "-o", form).exit_code == code


def test_json_is_the_protobuf_mapping_with_original_names_and_defaults(
    ask: Run, served: Any, a_trace: ATrace, as_json: Callable[[Result], Any]
) -> None:
    served.collector.trace = a_trace("trace-pod")
    document = as_json(ask("trace", "a", "to", "b", "-o", "json"))
    assert document["verdict"]["disposition"] == "DELIVERED"
    assert document["verdict"]["findings"] == []
    assert document["snat"]["applied"] is False
    assert document["forward"]["hops"][0]["steps"][0]["witnesses"] == ["OBSERVED"]
    assert document["round_trip_us"] == 211.0
    assert json_format.ParseDict(document, trace_pb2.Trace()) == a_trace("trace-pod")


def test_yaml_says_what_json_says(ask: Run, served: Any, a_trace: ATrace, as_json: Callable[[Result], Any]) -> None:
    served.collector.trace = a_trace("trace-outside")
    as_yaml = yaml.safe_load(ask("trace", "a", "to", "b", "-o", "yaml").stdout)
    assert as_yaml == as_json(ask("trace", "a", "to", "b", "-o", "json"))


def test_json_keeps_hostile_text_unchanged_and_prints_no_control_byte(
    ask: Run, served: Any, a_trace: ATrace, as_json: Callable[[Result], Any]
) -> None:
    served.collector.trace = a_trace("trace-pod")
    served.collector.trace.source.name = hostile = "x\x1b[2J\x9b\u202e\r"
    for form in ("json", "yaml"):
        printed = ask("trace", "a", "to", "b", "-o", form).stdout
        assert all(char == "\n" or (char.isprintable() and char.isascii()) for char in printed)
        assert yaml.safe_load(printed)["source"]["name"] == hostile


@pytest.mark.parametrize(
    ("words", "right"),
    [
        (["from", "pod-a", "pod-b"], "pathtap trace pod-a to pod-b"),
        (["pod-a", "pod-b"], "pathtap trace pod-a to pod-b"),
        (["from", "a", "to", "b"], "pathtap trace a to b"),
        (["pod-a", "TO", "pod-b"], "pathtap trace SRC to DST"),
        (["pod-a", "to"], "pathtap trace SRC to DST"),
        (["pod-a", "to", "pod-b", "pod-c"], "pathtap trace SRC to DST"),
        ([], "pathtap trace SRC to DST"),
    ],
)
def test_word_salad_gets_the_right_form(words: list[str], right: str, ask: Run, served: Any) -> None:
    result = ask("trace", *words)
    assert result.exit_code == 2
    assert right in result.stderr
    assert result.stdout == ""
    assert served.collector.asked == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["svc/web", "to", "cart"], "a Service sends no packets"),
        (["192.0.2.1", "to", "cart"], "--live"),
        (["2001:db8::1", "to", "cart"], "--live"),
        (["a", "to", "b", "--protocol", "tcp"], "TCP needs a port"),
        (["a", "to", "b", "--protocol", "udp"], "UDP needs a port"),
        (["a", "to", "b", "--protocol", "icmp", "--port", "80"], "ICMP has no ports"),
        (["a", "to", "b", "--port", "0"], "1<=x<=65535"),
        (["a", "to", "b", "--port", "65536"], "1<=x<=65535"),
        (["a", "to", "b", "--protocol", "sctp"], "sctp"),
        (["a", "to", "b", "--no-such-option"], "--no-such-option"),
        (["a", "to", "b", "--timeout", "0"], "0.1"),
        (["a", "to", "b", "-o", "xml"], "xml"),
        (["a", "to", "b\udc80"], "UTF-8"),
    ],
)
def test_usage_errors_are_sentences_and_exit_2(arguments: list[str], said: str, ask: Run) -> None:
    result = ask("trace", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_an_address_may_be_the_source_of_live_traffic(ask: Run, served: Any, a_trace: ATrace) -> None:
    served.collector.trace = a_trace("trace-pod")
    assert ask("trace", "192.0.2.1", "to", "cart", "--live", "--protocol", "udp", "--port", "53").exit_code == 0
    asked = served.collector.asked[0]
    assert (asked.live, asked.protocol, asked.timeout_ms) == (True, 17, 30_000)


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (grpc.StatusCode.NOT_FOUND, 1, "pathtap: no pod car; did you mean shop/cart?\n"),
        (grpc.StatusCode.FAILED_PRECONDITION, 1, "pathtap: no pod car; did you mean shop/cart?\n"),
        (grpc.StatusCode.INVALID_ARGUMENT, 2, "pathtap: no pod car; did you mean shop/cart?\n"),
        (grpc.StatusCode.UNAVAILABLE, 1, "went away"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 1, "did not answer within the time"),
        (grpc.StatusCode.UNIMPLEMENTED, 1, "no pathtap collector"),
        (grpc.StatusCode.INTERNAL, 1, "INTERNAL"),
        (grpc.StatusCode.UNAUTHENTICATED, 1, "pathtap: Not authenticated: no pod car"),
        (grpc.StatusCode.PERMISSION_DENIED, 1, "pathtap: Not permitted: no pod car"),
    ],
)
def test_a_status_becomes_its_sentence(status: grpc.StatusCode, code: int, said: str, ask: Run, served: Any) -> None:
    served.collector.status = (status, "no pod car; did you mean shop/cart?")
    for command in (["trace", "car", "to", "b"], ["flows", "car"], ["nodes"]):
        result = ask(*command)
        assert result.exit_code == code
        assert said in result.stderr
        assert result.stdout == ""


def test_an_error_from_outside_is_escaped(ask: Run, served: Any) -> None:
    served.collector.status = (grpc.StatusCode.NOT_FOUND, "no pod \x1b[2J\u202ex")
    assert ask("flows", "a").stderr == "pathtap: no pod \\x1b[2J\\u202ex\n"
    assert "\x1b" not in ask("trace", "a\x1b[31m", "b\x1b[0m").stderr


def test_a_collector_that_ends_without_an_answer_is_an_error(ask: Run, served: Any) -> None:
    result = ask("trace", "a", "to", "b")
    assert (result.exit_code, "without an answer" in result.stderr) == (1, True)


def test_flows_and_nodes_are_printed(
    ask: Run, served: Any, busy_flows: trace_pb2.Flows, two_nodes: service_pb2.ListNodesResponse
) -> None:
    served.collector.flows, served.collector.nodes = busy_flows, two_nodes
    flows = ask("flows", "shop/cart", "--timeout", "2")
    assert (flows.exit_code, served.collector.asked[0].timeout_ms) == (0, 2000)
    assert "192.168.1.29:50712 fully" in flows.stdout
    nodes = ask("nodes")
    assert nodes.exit_code == 0
    assert "no agent is connected" in nodes.stdout
    for command in (["flows", "shop/cart"], ["nodes"]):
        assert yaml.safe_load(ask(*command, "-o", "yaml").stdout)


def test_flows_with_a_decisive_gap_are_inconclusive(ask: Run, served: Any, busy_flows: trace_pb2.Flows) -> None:
    busy_flows.gaps.add(node="x", part="agent", why="gone", decisive=True)
    served.collector.flows = busy_flows
    assert ask("flows", "shop/cart").exit_code == 4


def test_global_options_count_before_and_after_and_the_later_wins(
    run: Run, served: Any, a_trace: ATrace, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.collector.trace = a_trace("trace-pod")
    for arguments in (
        ["--collector", served.address, "-n", "shop", "trace", "a", "to", "b"],
        ["trace", "a", "to", "b", "-n", "shop", "--collector", served.address],
        [
            "--collector",
            "unix:/nowhere",
            "-n",
            "x",
            "trace",
            "a",
            "to",
            "b",
            "-n",
            "shop",
            "--collector",
            served.address,
        ],
    ):
        assert run(*arguments).exit_code == 0
    assert [request.namespace for request in served.collector.asked] == ["shop"] * 3
    assert run("nodes", PATHTAP_COLLECTOR=served.address).exit_code == 0
    assert run("--collector", served.address, "nodes", PATHTAP_COLLECTOR="unix:/nowhere").exit_code == 0


def test_a_cluster_that_was_typed_wins_over_a_collector_that_the_environment_names(
    served: Any, run: Run, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("contexts: [{name: east, context: {namespace: shop}}]")
    typed = ("--kubeconfig", str(config), "--context", "west", "nodes")
    refused = run(*typed, PATHTAP_COLLECTOR=served.address)
    assert (refused.exit_code, "west" in refused.stderr) == (1, True)
    assert (
        run("--collector", served.address, *typed[:3], "east", "nodes", PATHTAP_COLLECTOR=served.address).exit_code == 0
    )


def test_the_namespace_of_a_bare_name_is_the_kubeconfig_contexts(
    ask: Run, served: Any, a_trace: ATrace, tmp_path: Path
) -> None:
    served.collector.trace = a_trace("trace-pod")
    config = tmp_path / "config"
    config.write_text(
        "current-context: one\ncontexts:\n- {name: one, context: {namespace: shop}}\n- {name: two, context: {}}\n"
    )
    ask("--kubeconfig", str(config), "trace", "pod/a", "to", "b")
    ask("--kubeconfig", str(config), "--context", "two", "trace", "a", "to", "b")
    ask("--kubeconfig", str(config), "-n", "other", "trace", "a", "to", "b")
    ask("--kubeconfig", "/nowhere", "trace", "shop/a", "to", "192.0.2.1")
    assert [request.namespace for request in served.collector.asked] == ["shop", "", "other", ""]
    unknown = ask("--kubeconfig", str(config), "--context", "three", "trace", "a", "to", "b")
    assert (unknown.exit_code, "it has: one, two" in unknown.stderr) == (1, True)
    missing = ask("--kubeconfig", "/nowhere", "trace", "a", "to", "b")
    assert (missing.exit_code, "cannot be read" in missing.stderr) == (1, True)


def test_without_a_collector_it_says_what_to_do(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pathtap.cli.channel.choose", _choose_without_a_lab(tmp_path))
    result = run("nodes")
    assert result.exit_code == 1
    assert "no kubeconfig is found" in result.stderr
    assert "--collector HOST:PORT" in result.stderr
    assert "sudo pathtap lab up" in result.stderr


def _choose_without_a_lab(tmp_path: Path) -> Callable[..., Any]:
    from pathtap.cli.address import choose

    return lambda given, *, lab: choose(given, lab=lab, lab_socket=tmp_path / "absent.sock")


def test_no_collector_at_the_address_is_one_sentence_within_5_s(run: Run, tmp_path: Path) -> None:
    stale = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(stale))
    with socket.socket() as silent, socket.socket() as refused:
        # A full backlog answers no SYN: a black hole on loopback.
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        fillers = [_filler(silent.getsockname()) for _ in range(2)]
        refused.bind(("127.0.0.1", 0))
        for address in (
            "unix:/nowhere.sock",
            f"unix:{stale}",
            f"127.0.0.1:{silent.getsockname()[1]}",
            f"127.0.0.1:{refused.getsockname()[1]}",
        ):
            for options in ([], ["--insecure"]):
                began = time.monotonic()
                result = run("--collector", address, *options, "nodes")
                assert time.monotonic() - began < 5
                assert result.exit_code == 1
                assert address in result.stderr
                assert result.stderr.count("\n") == 1
        for filler in fillers:
            filler.close()


def _filler(address: tuple[str, int]) -> socket.socket:
    filler = socket.socket()
    filler.setblocking(False)
    assert filler.connect_ex(address) in (0, errno.EINPROGRESS)
    return filler


@pytest.mark.parametrize(
    "address", ["nowhere", "a:b", "host:0", "host:70000", "::1:7777", "http://h:1", "unix:", "u/x:1"]
)
def test_an_address_that_is_none_is_a_usage_error(address: str, run: Run) -> None:
    result = run("--collector", address, "nodes")
    assert result.exit_code == 2
    assert "--collector" in result.stderr


def test_help_tells_the_exit_codes_and_version_the_version(run: Run) -> None:
    for arguments in (["--help"], ["trace", "--help"]):
        result = run(*arguments)
        assert result.exit_code == 0
        for line in ("0    answered", "1    runtime", "2    usage", "3    the path", "4    incon", "130  interr"):
            assert line in result.stdout
    assert run("--version").stdout.startswith("pathtap 0.")


def test_no_command_at_all_shows_the_help(run: Run) -> None:
    result = run()
    assert result.exit_code == 2
    assert result.stderr.startswith("Usage: pathtap [OPTIONS] COMMAND")
    assert "\n  trace " in result.stderr


def test_waiting_is_one_line_rewritten_on_a_terminal_and_nothing_elsewhere(served: Any, a_trace: ATrace) -> None:
    served.collector.trace = a_trace("trace-pod")
    command = [PATHTAP, "--collector", served.address, "trace", "a", "to", "b", "-o", "json"]
    for terminal, shown in (("xterm", True), ("dumb", False)):
        controlling, terminal_end = pty.openpty()
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=terminal_end, env=environment(TERM=terminal), check=True, timeout=30
        )
        os.close(terminal_end)
        written = _drain(controlling)
        assert (b"reading ip-192-168-1-29" in written) is shown
        assert written.endswith(b"\x1b[1A\x1b[2K") if shown else not written
        assert json_format.Parse(done.stdout, trace_pb2.Trace()) == a_trace("trace-pod")


def _drain(descriptor: int) -> bytes:
    """What was written to a pseudo-terminal whose other end is closed; Linux ends the reading with EIO."""
    written = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(descriptor, 4096):
            written += chunk
    os.close(descriptor)
    return written


def test_the_lab_is_named_in_help_without_being_imported() -> None:
    script = (
        "import sys; from pathtap.cli.program import cli\n"
        "try: cli.main(['--help'], prog_name='pathtap')\n"
        "except SystemExit: print([m for m in sys.modules if m.startswith(('pathtap.lab', 'pathtap.cli.commands.lab'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "  lab " in done.stdout
    assert done.stdout.endswith("\n[]\n")


def test_a_lab_that_is_not_installed_is_one_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pathtap.cli.commands.lab", None)
    result = run("lab", "up")
    assert result.exit_code == 1
    assert result.stderr == "pathtap: The lab is not installed. Install it with: pip install 'pathtap[lab]'\n"


@pytest.mark.parametrize(
    ("choice", "terminal", "environment", "expected"),
    [
        ("auto", True, {"TERM": "xterm"}, True),
        ("auto", False, {"TERM": "xterm"}, False),
        ("auto", True, {"TERM": "dumb"}, False),
        ("auto", True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        ("auto", True, {"TERM": "xterm", "NO_COLOR": ""}, True),
        ("always", False, {"TERM": "dumb", "NO_COLOR": "1"}, True),
        ("never", True, {"TERM": "xterm"}, False),
    ],
)
def test_when_there_are_colours(choice: Color, terminal: bool, environment: dict[str, str], expected: bool) -> None:
    class Stream:
        def isatty(self) -> bool:
            return terminal

    assert output.coloured(choice, Stream(), environment) is expected  # type: ignore[arg-type]


def test_color_always_paints_into_a_pipe(ask: Run, served: Any, a_trace: ATrace) -> None:
    served.collector.trace = a_trace("trace-pod")
    assert "\x1b[1;32m" in ask("--color", "always", "trace", "a", "to", "b").stdout
    assert "\x1b" not in ask("trace", "a", "to", "b").stdout


def environment(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **more}


def test_a_closed_pipe_is_quiet(served: Any, a_trace: ATrace) -> None:
    served.collector.trace = a_trace("trace-outside")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            [PATHTAP, "--collector", served.address, "trace", "a", "to", "b"],
            stdout=closed,
            stderr=subprocess.PIPE,
            env=environment(),
            check=False,
            timeout=30,
        )
    assert done.stderr == b""
    assert done.returncode == 1


def test_an_output_without_arrows_gets_plain_ones(served: Any, a_trace: ATrace) -> None:
    served.collector.trace = a_trace("trace-pod")
    done = subprocess.run(
        [PATHTAP, "--collector", served.address, "trace", "a", "to", "b"],
        capture_output=True,
        env=environment(PYTHONIOENCODING="ascii"),
        check=True,
        timeout=30,
    )
    assert b"192.168.1.77 -> shop/redis" in done.stdout
    assert b"192.168.1.77 > 192.168.2.41 id 4711" in done.stdout


def test_ctrl_c_exits_with_130(ask: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pathtap.cli.client.Collector.nodes", interrupted)
    result = ask("nodes")
    assert result.exit_code == 130
    assert "Traceback" not in result.stderr


def test_a_defect_is_a_sentence_and_a_traceback_only_on_request(served: Any) -> None:
    script = (
        "import pathtap.cli.program as entry, pathtap.cli.client as client, sys\n"
        "def broken(*_): raise RuntimeError('odd \\x1b[2J')\n"
        f"client.Collector.nodes = broken; sys.argv = ['pathtap', '--collector', '{served.address}', 'nodes']\n"
        "entry.run()"
    )
    for more, tracebacks in (({}, 0), ({"PATHTAP_TRACEBACK": "1"}, 1)):
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=environment(**more), check=False
        )
        assert done.returncode == 1
        assert done.stderr.count("Traceback") == tracebacks
        assert "RuntimeError: odd" in done.stderr
        assert tracebacks or "\x1b" not in done.stderr


def test_a_probe_of_a_size_is_asked_for_as_it_was_given(ask: Run, served: Any, a_trace: ATrace) -> None:
    served.collector.trace = a_trace("trace-outside")
    ask("trace", "shop/cart", "to", "198.51.100.8", "--size", "4000")
    assert served.collector.asked[-1].size == 4000


@pytest.mark.parametrize("words", [["--port", "443"], ["--protocol", "tcp", "--port", "443"]])
def test_a_tcp_probe_has_no_size(words: list[str], ask: Run) -> None:
    result = ask("trace", "shop/cart", "to", "198.51.100.8", "--size", "4000", *words)
    assert result.exit_code == 2
    assert "ICMP and UDP" in result.stderr
