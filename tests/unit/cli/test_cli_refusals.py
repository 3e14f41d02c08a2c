"""What the command line refuses by itself, with which sentence; and what it leaves to the collector."""

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
def test_no_number_is_no_time(command: list[str], ask: Run, served: Any) -> None:
    refused(ask(*command, "--timeout", "nan"), "nan is no number of seconds", served)


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
