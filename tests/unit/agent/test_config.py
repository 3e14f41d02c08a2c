"""Settings, and the sentences that refuse them."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pathtap.agent.config import Settings, SettingsError, collector_target, missing_capabilities, settings
from pathtap.agent.program import main

GOOD: dict[str, Any] = {
    "collector": "collector.pathtap:9443",
    "node": "node-a",
    "insecure": True,
    "tls_ca": None,
    "tls_server_name": "",
    "health_port": 9470,
}


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("collector:9443", "dns:///collector:9443"),
        ("192.0.2.1:9443", "dns:///192.0.2.1:9443"),
        ("[2001:db8::1]:9443", "dns:///[2001:db8::1]:9443"),
        ("[192.0.2.1]:9443", "dns:///192.0.2.1:9443"),
        ("unix:/run/pathtap.sock", "unix:/run/pathtap.sock"),
    ],
)
def test_targets(address: str, target: str) -> None:
    assert collector_target(address) == target


@pytest.mark.parametrize(
    "address",
    [
        "",
        "collector",
        "collector:",
        ":9443",
        "[]:9443",
        "[$(PATHTAP_COLLECTOR_SERVICE_HOST)]:$(PATHTAP_COLLECTOR_SERVICE_PORT_GRPC_AGENTS)",
        "collector:0",
        "collector:65536",
        "collector:http",
        "2001:db8::1:9443",
        "unix:",
    ],
)
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(SettingsError, match="HOST:PORT or unix:PATH"):
        collector_target(address)


def test_settings() -> None:
    assert settings(**GOOD) == Settings(collector="collector.pathtap:9443", node="node-a")
    secure = settings(**GOOD | {"insecure": False, "tls_ca": Path("/ca.pem"), "tls_server_name": "collector"})
    assert (secure.tls_ca, secure.tls_server_name) == (Path("/ca.pem"), "collector")
    assert settings(
        **GOOD | {"insecure": False, "tls_ca": Path("/ca.pem"), "token_file": Path("/t")}
    ).token_file == Path("/t")
    assert settings(**GOOD, cni_config=Path("/host/cni")).cni_config == Path("/host/cni")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"insecure": False}, "--tls-ca FILE, or --insecure"),
        ({"tls_ca": Path("/ca.pem")}, "not both"),
        ({"tls_server_name": "x"}, "needs --tls-ca"),
        ({"token_file": Path("/token")}, "no token leaves before the collector is verified"),
        ({"node": "  "}, "node's name"),
        ({"collector": "nowhere"}, "HOST:PORT"),
    ],
)
def test_refusals(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        settings(**GOOD | change)


@pytest.mark.parametrize(
    ("effective", "missing"),
    [
        ("000001ffffffffff", ()),
        ("0000000000003000", ()),
        ("0000000000001000", ("CAP_NET_RAW",)),
        ("0000000000000000", ("CAP_NET_ADMIN", "CAP_NET_RAW")),
    ],
)
def test_capabilities(effective: str, missing: tuple[str, ...]) -> None:
    status = f"Name:\tpython\nCapPrm:\t000001ffffffffff\nCapEff:\t{effective}\nCapBnd:\t000001ffffffffff\n"
    assert missing_capabilities(status) == missing


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--node", "a", "--insecure"], "--collector"),
        (["--collector", "c:1", "--insecure"], "--node"),
        (["--collector", "c:1", "--node", "a"], "--tls-ca FILE, or --insecure"),
        (["--collector", "c", "--node", "a", "--insecure"], "not 'c'"),
        (["--collector", "c:1", "--node", "a", "--tls-ca", "/no/such/ca.pem"], "does not exist"),
        (["--collector", "c:1", "--node", "a", "--insecure", "--health-port", "70000"], "70000"),
    ],
)
def test_the_command_refuses_with_a_sentence(arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(main, arguments, env={"PATHTAP_COLLECTOR": "", "PATHTAP_NODE": "", "NODE_NAME": ""})
    assert result.exit_code == 2
    assert sentence in result.output
    assert "Traceback" not in result.output
