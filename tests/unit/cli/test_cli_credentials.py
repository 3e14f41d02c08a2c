"""What a kubeconfig's user shows, by plugins that are small scripts. No server is asked."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pathtap.cli.cluster.credentials import credential_of
from pathtap.cli.cluster.kubeconfig import Entry
from pathtap.cli.cluster.plugin import INFO, decode
from pathtap.cli.cluster.tokens import token_file
from pathtap.cli.cluster.values import Credential, Terminal
from pathtap.cli.errors import CommandError

V1, V1BETA1 = "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"
SILENT, AT_A_TERMINAL = Terminal(interactive=False), Terminal(interactive=True)
Plugin = Callable[..., Path]


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    """A script that keeps what it was told in `told`, and answers with `status`."""

    def make(status: dict[str, str], version: str = V1, ends: int = 0, name: str = "plugin") -> Path:
        answer = json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status})
        path = tmp_path / name
        path.write_text(
            f'#!/bin/sh\nprintf \'%s\\n%s\\n%s\' "${INFO}" "$REGION" "$*" > {tmp_path}/told\n'
            f"cat <<'END'\n{answer}\nEND\nexit {ends}\n"
        )
        path.chmod(0o755)
        return path

    return make


def told(tmp_path: Path) -> list[str]:
    return (tmp_path / "told").read_text().split("\n")


def shown(tmp_path: Path, terminal: Terminal = SILENT, **user: Any) -> Credential:
    entry = Entry(name="ann", value=user, directory=tmp_path)
    environment = {"PATH": f"{tmp_path}{os.pathsep}/usr/bin:/bin"}
    return credential_of(entry, {"server": "https://one.example"}, environment, terminal)


def executed(command: str | Path, version: str = V1, **further: Any) -> dict[str, Any]:
    return {"apiVersion": version, "command": str(command), "interactiveMode": "IfAvailable", **further}


def test_what_is_written_down_is_read(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("renewed\n")
    (tmp_path / "c.pem").write_text("C")
    (tmp_path / "k.pem").write_text("K")
    assert shown(tmp_path, token="static") == Credential(token="static")  # noqa: S106
    assert shown(tmp_path, token="static", tokenFile="token").token == "renewed"  # noqa: S105, S106
    files: dict[str, Any] = {"client-certificate": "c.pem", "client-key": str(tmp_path / "k.pem")}
    assert shown(tmp_path, **files).key == b"K"
    data: dict[str, Any] = {
        "client-certificate-data": "Qw==",
        "client-key-data": "Sw==",
        "client-certificate": "/nowhere",
    }
    assert shown(tmp_path, **data) == Credential(certificate=b"C", key=b"K")
    data["client-key-data"] = "S0\r\ntL\n"
    assert shown(tmp_path, **data).key == b"KKK"


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ({}, "neither a token nor a client certificate"),
        ({"username": "a", "password": "b"}, "has username, which Kubernetes knows no longer"),
        ({"auth-provider": {"name": "gcp"}}, "auth-provider"),
        ({"token": "a", "as": "root"}, "impersonates"),
        ({"client-certificate-data": "Qw=="}, "but not both"),
        ({"tokenFile": "/nowhere"}, "cannot be read"),
        ({"token": "line\nbreak"}, "holds no token"),
        ({"exec": {"apiVersion": V1}}, "without a command"),
        ({"exec": executed("true", env=["A"])}, "whose env is no list of names and values"),
        ({"exec": executed("true", env={"A": "b"})}, "whose env is no list of names and values"),
        ({"exec": executed("true", env=[{"value": "b"}])}, "whose env is no list of names and values"),
        ({"exec": executed("true", args=5)}, "whose args are no list"),
        ({"exec": executed("true", env=[{"name": "A=", "value": "b"}])}, "cannot be run: illegal environment variable"),
        ({"tokenFile": "a\0b"}, "cannot be read"),
        (
            {"exec": {"apiVersion": "client.authentication.k8s.io/v1alpha1", "command": "x"}},
            "v1alpha1; it must be one of",
        ),
        (
            {"exec": executed("absent", installHint="Install it\n from there.")},
            r"is not installed\. Install it from there\.",
        ),
        ({"exec": executed("x", interactiveMode="Always")}, "wants a terminal"),
        ({"exec": executed("x", interactiveMode="Perhaps")}, "interactiveMode Perhaps"),
    ],
)
def test_users_who_show_nothing_are_sentences(user: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=said):
        shown(tmp_path, **user)


@pytest.mark.parametrize("version", [V1, V1BETA1])
def test_a_plugin_answers_with_a_token_or_a_certificate(version: str, plugin: Plugin, tmp_path: Path) -> None:
    path = plugin({"token": "made"}, version)
    assert shown(tmp_path, exec=executed(path, version)) == Credential(token="made")  # noqa: S106
    path = plugin({"clientCertificateData": "C", "clientKeyData": "K"}, version)
    assert shown(tmp_path, exec=executed(path, version)) == Credential(certificate=b"C", key=b"K")


@pytest.mark.parametrize("command", ["plugin", "./plugin"])
def test_a_plugin_is_found_in_the_path_or_beside_the_kubeconfig(command: str, plugin: Plugin, tmp_path: Path) -> None:
    plugin({"token": "made"})
    further: dict[str, Any] = {
        "args": ["get", "token"],
        "env": [{"name": "REGION", "value": "eu"}],
        "provideClusterInfo": True,
    }
    assert shown(tmp_path, exec=executed(command, **further)).token == "made"  # noqa: S105
    info, region, arguments = told(tmp_path)
    assert (region, arguments) == ("eu", "get token")
    assert json.loads(info) == {
        "apiVersion": V1,
        "kind": "ExecCredential",
        "spec": {"interactive": False, "cluster": {"server": "https://one.example"}},
    }


@pytest.mark.parametrize(("value", "seen"), [({}, ""), ({"value": None}, ""), ({"value": 0}, "0")])
def test_a_plugins_variable_without_a_value_is_empty(
    value: dict[str, Any], seen: str, plugin: Plugin, tmp_path: Path
) -> None:
    shown(tmp_path, exec=executed(plugin({"token": "made"}), env=[{"name": "REGION", **value}]))
    assert told(tmp_path)[1] == seen


def test_a_plugins_own_variables_win_over_the_environments(
    plugin: Plugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = {"exec": executed(plugin({"token": "made"}), env=[{"name": "REGION", "value": "eu"}])}
    environment = {"PATH": "/usr/bin:/bin", "REGION": "us", INFO: "of another plugin"}
    credential_of(Entry(name="ann", value=user, directory=tmp_path), {}, environment, SILENT)
    info, region, _ = told(tmp_path)
    assert (region, json.loads(info)["kind"]) == ("eu", "ExecCredential")


@pytest.mark.parametrize(("terminal", "read"), [(SILENT, ""), (AT_A_TERMINAL, "typed")])
def test_a_plugin_that_may_not_ask_reads_nothing(terminal: Terminal, read: str, tmp_path: Path) -> None:
    path = tmp_path / "asking"
    answer = json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": {"token": "made"}})
    path.write_text(f"#!/bin/sh\ncat > {tmp_path}/read\necho '{answer}'\n")
    path.chmod(0o755)
    (tmp_path / "typed").write_text("typed")
    kept = os.dup(0)
    try:
        with (tmp_path / "typed").open() as typed:
            os.dup2(typed.fileno(), 0)
        shown(tmp_path, terminal, exec=executed(path))
    finally:
        os.dup2(kept, 0)
        os.close(kept)
    assert (tmp_path / "read").read_text() == read


@pytest.mark.parametrize(("mode", "interactive"), [("Never", False), ("IfAvailable", True), ("Always", True)])
def test_a_plugin_is_told_whether_it_may_ask(mode: str, interactive: bool, plugin: Plugin, tmp_path: Path) -> None:
    shown(tmp_path, AT_A_TERMINAL, exec=executed(plugin({"token": "made"}), interactiveMode=mode))
    assert json.loads(told(tmp_path)[0])["spec"] == {"interactive": interactive}


def test_a_plugin_that_fails_or_takes_long_is_said(plugin: Plugin, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="failed with exit code 3"):
        shown(tmp_path, exec=executed(plugin({"token": "made"}, ends=3)))
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    with pytest.raises(CommandError, match="took too long"):
        shown(tmp_path, Terminal(interactive=False, quiet=True, patience=0.2), exec=executed(slow))
    slow.chmod(0o644)
    with pytest.raises(CommandError, match="cannot be run"):
        shown(tmp_path, exec=executed(slow))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "no ExecCredential"),
        (b"[]", "no ExecCredential"),
        (
            b'{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential","status":{"token":"t-secret"}}',
            "asks for",
        ),
        (b'{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{}}', "neither a token"),
        (b'{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":null}', "neither a token"),
        (
            b'{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"clientKeyData":"t-secret"}}',
            "not with both",
        ),
        (
            b'{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t-secret \\u00e9"}}',
            "holds no token",
        ),
    ],
)
def test_answers_that_are_no_credential_are_not_repeated(answer: bytes, said: str) -> None:
    with pytest.raises(CommandError, match=said) as refused:
        decode(answer, V1, "plugin")
    assert "t-secret" not in refused.value.message


def test_no_text_of_a_credential_shows_it() -> None:
    assert "secret" not in repr(Credential(token="secret", key=b"secret", certificate=b"secret"))  # noqa: S106


def test_a_token_file_without_a_token_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, said in (("empty", "holds no token"), ("binary", "it is not ASCII"), ("absent", "No such file")):
        with pytest.raises(CommandError, match=said):
            token_file(tmp_path / name, "--token-file")
