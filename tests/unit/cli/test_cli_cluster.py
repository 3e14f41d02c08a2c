"""What the API server's answers mean, and how the command calls itself as kubectl's plugin. No server is asked."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import anyio
import httpx
import pytest
from click.testing import CliRunner, Result

from pathtap.cli.cluster.api import Api, refusal, unreachable
from pathtap.cli.cluster.installation import Backend, authority, ready, server_name
from pathtap.cli.cluster.server import Server
from pathtap.cli.errors import CommandError
from pathtap.cli.plugin_completion import completion_lines
from pathtap.cli.program import cli

Run = Callable[..., Result]
SERVER = Server(url="https://one.example:6443")
PLUGIN = Path(sys.executable).with_name("kubectl_complete-pathtap")


def endpoint(pod: str, ready: bool | None) -> dict[str, Any]:
    conditions = {} if ready is None else {"ready": ready}
    return {"addresses": ["192.0.2.1"], "conditions": conditions, "targetRef": {"kind": "Pod", "name": pod}}


def test_a_ready_pod_and_its_port_are_found_by_the_ports_name() -> None:
    named = {"ports": [{"name": "grpc", "port": 9469}, {"name": "grpc-certificate", "port": 9471}]}
    slices: list[dict[str, Any]] = [
        {**named, "endpoints": [endpoint("b", True), endpoint("a", None), endpoint("gone", False)]},
        {"ports": [{"name": "grpc", "port": 1}], "endpoints": [{"addresses": ["192.0.2.9"]}]},
        {"ports": None, "endpoints": None},
        {},
    ]
    assert ready(slices, "grpc") == (Backend(pod="a", port=9469), Backend(pod="b", port=9469))
    assert ready(slices, "grpc-certificate")[0] == Backend(pod="a", port=9471)
    assert ready(slices, "metrics") == ()
    assert server_name("tools") == "pathtap-collector.tools.svc"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, b"Unauthorized", "does not accept the kubeconfig's credentials (401 Unauthorized)"),
        (403, b'{"message":"ann may not"}', "does not permit it (403 Forbidden): ann may not"),
        (500, b"[]", "answered 500: it does not say why"),
        (302, b"<html>", "answered 302"),
    ],
)
def test_a_refusal_is_a_sentence_with_the_servers_own_words(status: int, body: bytes, said: str) -> None:
    error = refusal(status, body, SERVER)
    assert said in error.message
    assert "https://one.example:6443" in error.message


def test_who_may_not_reach_the_collector_is_told_which_right_and_which_role() -> None:
    class Refusing:
        async def get(self, _path: str, **_parameters: str) -> Any:
            raise refusal(403, b'{"message":"ann may not"}', SERVER)

    with pytest.raises(CommandError) as told:
        anyio.run(authority, cast(Api, Refusing()), "tools")
    assert told.value.message.endswith(
        "ann may not. pathtap needs get on configmaps/pathtap-ca in namespace tools: "
        "the Role pathtap-user there has it, which an administrator binds to you."
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed (_ssl.c:1006)"),
            "has a certificate that the kubeconfig does not vouch for: self-signed. Nothing was sent to it.",
        ),
        (httpx.ConnectTimeout(""), "cannot be reached: no answer within the time allowed."),
        (httpx.ConnectError("All connection attempts failed"), "cannot be reached: All connection attempts failed."),
        (httpx.ReadError(""), "cannot be reached: ReadError."),
        (httpx.RemoteProtocolError("It hung up."), "cannot be reached: It hung up."),
    ],
)
def test_no_answer_is_a_sentence(error: Exception, said: str) -> None:
    assert unreachable(error, SERVER).message == f"The API server https://one.example:6443 {said}"


def test_a_proxys_password_is_not_repeated() -> None:
    server = Server(url="https://one.example:6443", proxy="http://ann:secret@proxy.example:3128")
    said = unreachable(httpx.ProxyError("407"), server).message
    assert (
        said == "The API server https://one.example:6443 cannot be reached by its proxy http://proxy.example:3128: 407."
    )


@pytest.fixture
def as_plugin(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `kubectl pathtap ARGS`, as kubectl does, in the environment that `run` cleans."""
    return lambda *args: CliRunner().invoke(cli, list(args), prog_name="kubectl pathtap")


def test_as_a_plugin_it_calls_itself_so(as_plugin: Run, run: Run) -> None:
    for arguments in (["--help"], ["trace", "--help"], ["snat", "-h"]):
        text = as_plugin(*arguments).stdout
        assert "kubectl pathtap trace" in text or "kubectl pathtap snat" in text
        assert " pathtap trace" not in text.replace("kubectl pathtap", "")
        assert "kubectl" not in run(*arguments).stdout.replace("kubectl_", "")
    wrong = as_plugin("trace", "a", "b")
    assert (wrong.exit_code, "Write it as: kubectl pathtap trace SRC to DST" in wrong.stderr) == (2, True)


def test_as_a_plugin_it_never_means_the_lab(as_plugin: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    socket = tmp_path / "collector.sock"
    socket.touch()
    monkeypatch.setattr("pathtap.cli.address.LAB_SOCKET", socket)
    monkeypatch.setattr("pathtap.cli.address.choose.__kwdefaults__", {"lab": True, "lab_socket": socket})
    assert "no kubeconfig is found" in as_plugin("nodes").stderr


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["tra"], ["trace\tTrace packets between two ends, there and back.", ":4"]),
        (["trace", "shop/cart", ""], ["to", ":4"]),
        (["nodes", "--context", ""], ["east", "west", ":4"]),
        (["nodes", "--context", "e"], ["east", ":4"]),
        (["nodes", "--context=w"], ["--context=west", ":4"]),
        (["--tls-ca", ""], [":0"]),
        (["nodes", "--output", "j"], ["json", ":4"]),
        (["trace", "shop/cart", "to", "shop/redis", ""], [":4"]),
        ([], None),
    ],
)
def test_kubectl_is_given_candidates_and_a_directive(
    words: list[str], lines: list[str] | None, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text(json.dumps({"contexts": [{"name": name, "context": {}} for name in ("east", "west")]}))
    monkeypatch.setenv("KUBECONFIG", str(config))
    found = completion_lines(cli, words)
    assert found == lines if lines is not None else {"check", "flows", "trace"} <= {x.split("\t")[0] for x in found}


def test_the_completions_program_prints_them_and_never_fails(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PATHTAP_COLLECTOR": "unix:/nowhere.sock"}
    for words, printed in ((["no"], "nodes\tShow nodes"), (["trace", "s"], ":4"), ([], "check\t")):
        done = subprocess.run([PLUGIN, *words], env=environment, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.startswith(printed)
        assert done.stdout.endswith(":4\n")
        assert done.stderr == ""


@pytest.mark.parametrize("name", ["", "Pathtap", "a/b", "-a", "a" * 64, "a.b"])
def test_what_is_no_namespace_comes_into_no_path(name: str, run: Run) -> None:
    result = run("--pathtap-namespace", name, "nodes")
    assert (result.exit_code, "is no namespace" in result.stderr) == (2, True)


def test_without_a_cluster_nothing_of_it_is_loaded() -> None:
    loaded = "import sys; from pathtap.cli import program; print(*sys.modules)"
    names = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, timeout=60, check=True)
    assert not {"httpx", "httpx_ws", "anyio", "kr8s", "pathtap.cli.cluster"} & set(names.stdout.split())
