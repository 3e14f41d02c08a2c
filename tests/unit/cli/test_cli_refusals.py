"""What the command line refuses by itself, with which sentence; and what it leaves to the collector."""

import shlex
import subprocess
import sys
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

import pytest
from click.testing import Result

from pathtap.v1 import trace_pb2

Run = Callable[..., Result]
ATrace = Callable[[str], trace_pb2.Trace]


def refused(result: Result, said: str, served: Any) -> None:
    assert result.exit_code == 2
    assert said in result.stderr
    assert "unexpectedly" not in result.stderr
    assert (result.stdout, served.collector.asked) == ("", [])


@pytest.mark.parametrize("command", [["trace", "a", "to", "b"], ["flows", "a"]])
@pytest.mark.parametrize(
    ("seconds", "said"), [("nan", "nan is no number of seconds"), ("inf", "inf is not in the range")]
)
def test_no_number_and_no_end_are_no_time(seconds: str, said: str, command: list[str], ask: Run, served: Any) -> None:
    refused(ask(*command, "--timeout", seconds), said, served)


@pytest.mark.parametrize(
    ("words", "right"),
    [
        (["from", "pod-a", "pod-b"], "for example: pathtap trace pod-a to pod-b"),
        (["shop/cart", "to", "shop/redis"], "for example: pathtap trace shop/cart to shop/redis"),
        (["explode"], "Write it as: pathtap trace SRC to DST"),
    ],
)
def test_word_salad_without_a_command_gets_the_right_form_too(
    words: list[str], right: str, ask: Run, served: Any
) -> None:
    refused(ask(*words), right, served)


@pytest.mark.parametrize("address", [str(IPv4Address(0)), "::", "224.0.0.1", "ff02::1", "255.255.255.255"])
def test_what_is_no_single_hosts_address_has_no_path(address: str, ask: Run, served: Any) -> None:
    refused(ask("trace", "shop/cart", "to", address), f"{address} is no host's address", served)


@pytest.mark.parametrize("address", ["192.168.1.41", "2001:db8::1"])
def test_flows_are_asked_for_by_name(address: str, ask: Run, served: Any) -> None:
    result = ask("flows", address)
    refused(result, f"{address} is an address: name the pod", served)
    assert "--live" not in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["a", "to", "svc/web", "--protocol", "tcp"],
        ["a", "to", "service/shop/web", "--protocol", "udp"],
        ["a", "to", "b", "--protocol", "tcp", "--live"],
    ],
)
def test_a_services_only_port_and_live_traffic_to_any_need_no_port(
    words: list[str], ask: Run, served: Any, a_trace: ATrace
) -> None:
    served.collector.trace = a_trace("trace-pod")
    assert ask("trace", *words).exit_code == 0
    assert served.collector.asked[0].port == 0
    assert served.collector.asked[0].protocol in (6, 17)


@pytest.mark.parametrize(
    ("destination", "meant"),
    [
        ("shop/redis:6379", "to shop/redis --port 6379"),
        ("svc/shop/web:80", "to svc/shop/web --port 80"),
        ("198.51.100.8:443", "to 198.51.100.8 --port 443"),
        ("[2001:db8::8]:443", "to 2001:db8::8 --port 443"),
    ],
)
def test_a_port_behind_a_colon_goes_into_its_option(destination: str, meant: str, ask: Run, served: Any) -> None:
    refused(ask("trace", "shop/cart", "to", destination), meant, served)


@pytest.mark.parametrize("address", ["2001:db8::8", "2001:db8:1:2:3:4:5:443"])
def test_an_ipv6_address_holds_no_port(address: str, ask: Run, served: Any, a_trace: ATrace) -> None:
    served.collector.trace = a_trace("trace-pod")
    assert ask("trace", "shop/cart", "to", address).exit_code == 0
    assert served.collector.asked[0].destination == address


def test_the_choices_of_a_missing_word_stand_in_one_line(run: Run) -> None:
    result = run("completion")
    assert result.exit_code == 2
    assert "Choose from: bash, zsh, fish" in result.stderr


@pytest.mark.parametrize("command", ["completion bash >&-", "nodes >&-", "nodes 2>&- >&-"])
def test_closed_streams_are_no_defect(command: str, served: Any) -> None:
    shell = f"{shlex.quote(sys.executable)} -m pathtap.cli --collector {served.address} {command}"
    ended = subprocess.run(["sh", "-c", shell], stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    said = "" if "2>&-" in command else "pathtap: Standard output is closed: there is nowhere to write the result.\n"
    assert ended.stderr == said


@pytest.mark.parametrize("command", ["trace", "explain"])
def test_a_port_is_a_number(command: str, ask: Run, served: Any) -> None:
    refused(ask(command, "a", "to", "b", "--port", "http"), "http is no port: give its number, 1 to 65535.", served)
    refused(ask(command, "a", "to", "b", "--port", "0"), "0 is not in the range", served)
