"""Which files are read, in which order, and what is said of those that make no sense. No server is asked."""

import asyncio
import json
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pathtap.cli.cluster import kubeconfig
from pathtap.cli.cluster.api import _trust, session
from pathtap.cli.cluster.kubeconfig import chosen_context, context_namespace, files, load
from pathtap.cli.cluster.place import Place, Where, find, namespace_of_bare_names
from pathtap.cli.cluster.server import Server, cluster_info, in_cluster, is_direct, server_of
from pathtap.cli.cluster.values import Credential, Terminal
from pathtap.cli.errors import CommandError
from pathtap.lab.kube.certificates import new_authority

Write = Callable[..., Path]
CA = "LS0tLS1CRUdJTg=="


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A kubeconfig of one context `NAME`, whose cluster and user have that name too."""

    def make(
        name: str,
        *,
        user: Mapping[str, Any] | None = None,
        cluster: Mapping[str, Any] | None = None,
        current: bool = True,
        **context: str,
    ) -> Path:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        document: dict[str, Any] = {
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, **context}}],
            "clusters": [{"name": name, "cluster": {"server": f"https://{name}.example:6443", **(cluster or {})}}],
            "users": [{"name": name, "user": user or {"token": f"{name}-token"}}],
        }
        if current:
            document["current-context"] = name
        path = directory / "config"
        path.write_text(json.dumps(document))
        return path

    return make


def somewhere(path: Path | None, tmp_path: Path, context: str = "", **environment: str) -> Where:
    return Where(file=path, context=context, environment=environment, home=tmp_path)


def test_the_option_wins_over_the_variable_and_the_variable_over_home(tmp_path: Path, write: Write) -> None:
    one, two = write("one"), write("two")
    home = tmp_path / ".kube" / "config"
    home.parent.mkdir()
    home.write_text("{}")
    both = os.pathsep.join([str(one), "/nowhere", "", str(two)])
    assert files(one, {"KUBECONFIG": str(two)}, tmp_path) == [one]
    assert files(None, {"KUBECONFIG": both}, tmp_path) == [one, two]
    assert files(None, {}, tmp_path) == [home]
    assert files(None, {"KUBECONFIG": "/nowhere"}, tmp_path) == []


def test_the_first_file_to_have_an_entry_wins_with_all_of_it(write: Write) -> None:
    one = write("shared", user={"token": "first"}, current=False)
    other = one.parent / "other"
    other.write_text(one.read_text().replace("first", "second").replace("https://", "https://second."))
    two = write("two")
    joined = load([one, other, two])
    assert joined.current == "two"
    assert list(joined.contexts) == ["shared", "two"]
    assert joined.users["shared"].value == {"token": "first"}
    assert chosen_context(joined, "shared").cluster.value["server"] == "https://shared.example:6443"
    assert chosen_context(joined, "").name == "two"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("contexts: [", "is not YAML"),
        ("- 1", "is not a mapping"),
        ("users: [{name: 2024-99-99}]", "cannot be read as YAML"),
        ("[" * 5000, "cannot be read as YAML"),
        ("contexts: [1]", "not a list of named contexts"),
        ("users: 5", "not a list of named users"),
        ("clusters: [{name: a, cluster: 3}]", "not a list of named clusters"),
    ],
)
def test_what_is_no_kubeconfig_is_said_with_its_file(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(CommandError, match=said) as refused:
        load([path])
    assert str(path) in refused.value.message


def test_a_file_that_is_no_yaml_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("users: [{name: a, user: {token: 'secret-token}}]")
    with pytest.raises(CommandError) as refused:
        load([path])
    assert "secret" not in refused.value.message


def test_contexts_that_are_not_whole_are_named(write: Write, tmp_path: Path) -> None:
    config = load([write("one", current=False)])
    with pytest.raises(CommandError, match=r"no current context. Give --context; it has: one\."):
        chosen_context(config, "")
    with pytest.raises(CommandError, match=r"no context two; it has: one\."):
        chosen_context(config, "two")
    broken = tmp_path / "broken"
    broken.write_text(
        "current-context: gone\ncontexts:\n- {name: a, context: {cluster: b}}\n- {name: c, context: {cluster: d, user: e}}\n"
        "clusters: [{name: d, cluster: {}}]\n"
    )
    with pytest.raises(CommandError, match="has no context gone, its current one"):
        chosen_context(load([broken]), "")
    with pytest.raises(CommandError, match="names cluster b, which it lacks"):
        chosen_context(load([broken]), "a")
    with pytest.raises(CommandError, match="names user e, whom it lacks"):
        chosen_context(load([broken]), "c")


def test_the_namespace_of_bare_names(write: Write, tmp_path: Path) -> None:
    shop, none = write("shop", namespace="shop"), write("none")
    assert context_namespace([shop, none], "") == "shop"
    assert context_namespace([shop, none], "none") == ""
    assert namespace_of_bare_names(somewhere(shop, tmp_path), reached=True) == "shop"
    assert namespace_of_bare_names(somewhere(none, tmp_path), reached=True) == "default"
    assert namespace_of_bare_names(somewhere(none, tmp_path), reached=False) == ""


def test_a_cluster_entry_says_whom_to_ask_and_whom_to_trust(write: Write) -> None:
    path = write(
        "one", cluster={"certificate-authority": "ca.pem", "tls-server-name": "kubernetes", "proxy-url": "http://p:1"}
    )
    (path.parent / "ca.pem").write_bytes(b"PEM")
    server = server_of(chosen_context(load([path]), "").cluster)
    assert server == Server(
        url="https://one.example:6443", authority=b"PEM", name="kubernetes", proxy="http://p:1", verified=True
    )
    assert server_of(
        chosen_context(load([write("b", cluster={"insecure-skip-tls-verify": True})]), "").cluster
    ) == Server(url="https://b.example:6443", verified=False)
    told = cluster_info(server, chosen_context(load([path]), "").cluster)
    assert told["certificate-authority-data"] == "UEVN"


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        ({"server": "http://one.example"}, "https:// servers only"),
        ({"server": ""}, "https:// servers only"),
        ({"server": "https://[::1"}, "https:// servers only"),
        ({"server": "https://ann:secret@one.example"}, "a user name or password in it"),
        ({"proxy-url": "ftp://x"}, "proxy-url"),
        ({"proxy-url": "http://[::1"}, "proxy-url"),
        ({"certificate-authority-data": "%%"}, "no base64"),
        ({"certificate-authority": "/nowhere.pem"}, "cannot be read"),
        ({"certificate-authority-data": CA, "insecure-skip-tls-verify": True}, "leave one out"),
    ],
)
def test_cluster_entries_that_cannot_be_trusted_are_refused(cluster: dict[str, Any], said: str, write: Write) -> None:
    with pytest.raises(CommandError, match=said):
        server_of(chosen_context(load([write("one", cluster=cluster)]), "").cluster)


@pytest.mark.parametrize(
    ("extensions", "config"),
    [
        (
            [{"name": "other", "extension": 1}, {"name": "client.authentication.k8s.io/exec", "extension": {"a": 2}}],
            {"a": 2},
        ),
        (["strange"], None),
        (5, None),
        (None, None),
    ],
)
def test_a_plugin_is_told_the_extension_that_is_for_it(extensions: Any, config: Any, write: Write) -> None:
    entry = chosen_context(load([write("one", cluster={"extensions": extensions})]), "").cluster
    assert cluster_info(server_of(entry), entry).get("config") == config


@pytest.mark.parametrize(
    ("host", "environment", "direct"),
    [
        ("127.0.0.1:6443", {}, True),
        ("127.8.8.8", {}, True),
        ("[::1]:6443", {}, True),
        ("localhost:6443", {}, True),
        ("one.example", {"NO_PROXY": "10.0.0.0/8"}, False),
        ("10.9.8.7", {}, False),
        ("10.9.8.7", {"NO_PROXY": "one.example, 10.0.0.0/8"}, True),
        ("10.9.8.7", {"no_proxy": "10.0.0.0/8,"}, True),
        ("10.9.8.7", {"NO_PROXY": "192.0.2.0/24", "no_proxy": "10.0.0.0/8"}, False),
        ("[2001:db8::7]:443", {"NO_PROXY": "10.0.0.0/8,2001:db8::/32"}, True),
    ],
)
def test_for_whom_the_environments_proxy_is_not(host: str, environment: dict[str, str], direct: bool) -> None:
    assert is_direct(f"https://{host}", environment) is direct


def test_a_cluster_of_this_machine_is_reached_past_the_proxy(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(place: Place) -> None:
        async with session(place.server, place.credential, 2) as api:
            await api.get("/api")

    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.setblocking(False)
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        path = write("here", cluster={"server": "https://127.0.0.1:1"})
        place = find(somewhere(path, tmp_path), "pathtap", Terminal(interactive=False))
        with pytest.raises(CommandError, match="cannot be reached"):
            asyncio.run(ask(place))
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_roots_with_words_that_are_not_ascii_are_read() -> None:
    roots = "# Főtanúsítvány\n".encode() + new_authority("kubernetes", datetime.now(UTC)).pair.certificate
    server = Server(url="https://one.example", authority=roots)
    asyncio.run(_opened(server))
    with pytest.raises(CommandError, match="is no certificate in PEM"):
        asyncio.run(_opened(replace(server, authority=b"none")))


def test_the_kubeconfig_says_whom_to_trust_and_by_which_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, systems = (new_authority(name, datetime.now(UTC)).pair.certificate for name in ("own", "system"))
    (tmp_path / "system.pem").write_bytes(systems)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    server = Server(url="https://192.0.2.1", authority=own, name="kubernetes")
    context = _trust(server, Credential(token="t"))  # noqa: S106
    assert [dict(*each["subject"]) for each in context.get_ca_certs()] == [{"commonName": "own"}]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    begun = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="192.0.2.1")
    assert begun.server_hostname == "kubernetes"
    without = _trust(Server(url="https://192.0.2.1", verified=False), Credential(token="t"))  # noqa: S106
    assert (without.verify_mode, without.check_hostname) == (ssl.CERT_NONE, False)


async def _opened(server: Server) -> None:
    async with session(server, Credential(token="t"), 1):  # noqa: S106
        pass


def test_without_a_kubeconfig_a_pod_uses_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mount = tmp_path / "serviceaccount"
    mount.mkdir()
    for name, text in (("token", "pods-token\n"), ("ca.crt", "PEM"), ("namespace", "shop")):
        (mount / name).write_text(text)
    here = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    assert in_cluster(here, mount) == Server(url="https://[fd00::1]:443", authority=b"PEM")
    assert in_cluster({}, mount) is None
    assert in_cluster(here, tmp_path) is None
    monkeypatch.setattr("pathtap.cli.cluster.place.SERVICE_ACCOUNT", mount)
    monkeypatch.setattr("pathtap.cli.cluster.place.in_cluster", lambda environment: in_cluster(environment, mount))
    pod = somewhere(None, tmp_path, **here)
    assert find(pod, "pathtap", Terminal(interactive=False)).credential.token == "pods-token"  # noqa: S105
    past = somewhere(None, tmp_path, NO_PROXY="fd00::/8", **here)
    assert [find(each, "pathtap", Terminal(interactive=False)).server.direct for each in (pod, past)] == [False, True]
    assert namespace_of_bare_names(pod, reached=True) == "shop"


def test_without_anything_the_sentence_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no kubeconfig is found"):
        find(somewhere(None, tmp_path), "pathtap", Terminal(interactive=False))


def test_an_entry_shows_no_secret_in_its_text(write: Write) -> None:
    assert "one-token" not in repr(load([write("one")]))
    assert kubeconfig.load([]).contexts == {}
