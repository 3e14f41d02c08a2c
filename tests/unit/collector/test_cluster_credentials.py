"""How the API server is reached, and what it is shown: as a pod, and as a kubeconfig says."""

import asyncio
import ssl
import tempfile
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from pathtap.collector.cluster.api import ApiError, connect
from pathtap.collector.cluster.credentials import CredentialsError, Kubeconfig, ServiceAccount
from pathtap.lab.kube.certificates import Authority, new_authority

HERE = {"KUBERNETES_SERVICE_HOST": "10.100.0.1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority("kubernetes", datetime.now(UTC))


@pytest.fixture
def config(tmp_path: Path, authority: Authority) -> dict[str, Any]:
    """Of one user with a certificate, all of it inline."""
    pair = authority.client("ann", ())
    inline = {"certificate-authority-data": authority.pair.certificate, "server": "https://192.0.2.1:6443"}
    user = {"client-certificate-data": pair.certificate, "client-key-data": pair.key}
    return {
        "current-context": "one",
        "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": _written(inline)}],
        "users": [{"name": "u", "user": _written(user)}],
    }


def _written(parts: dict[str, Any]) -> dict[str, Any]:
    return {key: b64encode(each).decode() if isinstance(each, bytes) else each for key, each in parts.items()}


def renewed(path: Path, config: object, context: str = "") -> Kubeconfig:
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    credentials = Kubeconfig(path, context)
    asyncio.run(credentials.renew())
    return credentials


def test_a_pods_token_is_read_for_each_request(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "ca.crt").write_bytes(authority.pair.certificate)
    (tmp_path / "token").write_text("first\n")
    account = ServiceAccount(HERE, tmp_path)
    assert (account.server, account.token()) == ("https://10.100.0.1:443", "first")
    (tmp_path / "token").write_text("second")
    assert (account.token(), account.context().cert_store_stats()["x509_ca"]) == ("second", 1)
    assert ServiceAccount({**HERE, "KUBERNETES_SERVICE_HOST": "fd00::1"}, tmp_path).server == "https://[fd00::1]:443"


def test_what_a_pod_lacks(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="--in-cluster is for a pod"):
        ServiceAccount({}, tmp_path)
    account = ServiceAccount(HERE, tmp_path)
    with pytest.raises(CredentialsError, match=r"cannot read the service account's token: .*token"):
        account.token()
    with pytest.raises(CredentialsError, match=r"cannot read .*ca\.crt"):
        account.context()
    (tmp_path / "ca.crt").write_text("no certificate")
    with pytest.raises(CredentialsError, match=r"cannot read .*ca\.crt"):
        account.context()


def test_what_is_inline_stays_in_memory(
    tmp_path: Path, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "left").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "left"))
    credentials = renewed(tmp_path / "config", config)
    assert (credentials.server, credentials.token()) == ("https://192.0.2.1:6443", "")
    assert credentials.context().cert_store_stats()["x509_ca"] == 1
    assert list((tmp_path / "left").iterdir()) == []


def test_files_that_a_kubeconfig_names_are_left_alone(
    tmp_path: Path, config: dict[str, Any], authority: Authority
) -> None:
    pair = authority.client("ann", ())
    (tmp_path / "ann.crt").write_bytes(pair.certificate)
    (tmp_path / "ann.key").write_bytes(pair.key)
    config["users"][0]["user"] = {"client-certificate": "ann.crt", "client-key": "ann.key"}
    renewed(tmp_path / "config", config)
    assert {path.name for path in tmp_path.iterdir()} == {"config", "ann.crt", "ann.key"}


def test_tokens_and_their_files(tmp_path: Path, config: dict[str, Any]) -> None:
    config["users"][0]["user"] = {"tokenFile": "token"}
    (tmp_path / "token").write_text("first\n")
    credentials = renewed(tmp_path / "config", config)
    (tmp_path / "token").write_text("second")
    assert credentials.token() == "second"
    (tmp_path / "token").unlink()
    with pytest.raises(CredentialsError, match=r"cannot read the token that .*config names"):
        credentials.token()
    config["users"][0]["user"] = {"token": "inline", "tokenFile": None}
    assert renewed(tmp_path / "config", config).token() == "inline"
    (tmp_path / "token").write_text("renewed")
    config["users"][0]["user"] = {"token": "inline", "tokenFile": "token"}
    assert renewed(tmp_path / "config", config).token() == "renewed"


def test_a_token_that_no_header_can_hold_is_not_repeated(tmp_path: Path, config: dict[str, Any]) -> None:
    (tmp_path / "token").write_text("secret\nsecret")
    for account in (ServiceAccount(HERE, tmp_path), _of_token_file(tmp_path, config)):
        with pytest.raises(CredentialsError, match=r"token holds what no header can") as refusal:
            account.token()
        assert "secret" not in str(refusal.value)
    config["users"][0]["user"] = {"token": "s\u00e9cret"}
    with pytest.raises(CredentialsError, match="its token holds what no header can"):
        renewed(tmp_path / "config", config)


def _of_token_file(directory: Path, config: dict[str, Any]) -> Kubeconfig:
    config["users"][0]["user"] = {"tokenFile": "token"}
    return renewed(directory / "config", config)


def test_the_cas_of_clusters_are_taken_as_they_are(
    tmp_path: Path, config: dict[str, Any], authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Python 3.13 makes contexts."""
    usual = ssl.create_default_context

    def strict(*arguments: Any, **options: Any) -> ssl.SSLContext:
        context = usual(*arguments, **options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", strict)
    (tmp_path / "ca.crt").write_bytes(authority.pair.certificate)
    for account in (ServiceAccount(HERE, tmp_path), renewed(tmp_path / "config", config)):
        context = account.context()
        assert not context.verify_flags & ssl.VERIFY_X509_STRICT
        assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{}", "lacks or mistakes"),
        ("[]", "lacks or mistakes"),
        ("current-context: gone\ncontexts: []", "Context gone not found"),
        ("a: [", "cannot be used"),
        ("current-context: a\ncontexts: [{name: a, context: {cluster: x, user: y}}]\nclusters: []", "x not found"),
    ],
)
def test_a_kubeconfig_that_is_none(config: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=f"the kubeconfig .*config .*{said}"):
        renewed(tmp_path / "config", config)


def test_other_contexts(tmp_path: Path, config: dict[str, Any]) -> None:
    other = {"name": "other", "cluster": {"server": "https://192.0.2.2:6443"}}
    config["contexts"].append({"name": "two", "context": {"cluster": "other", "user": "u"}})
    config["clusters"].append(other)
    assert renewed(tmp_path / "config", config, "two").server == "https://192.0.2.2:6443"
    with pytest.raises(CredentialsError, match="No such context three"):
        renewed(tmp_path / "config", config, "three")


@pytest.mark.parametrize(
    ("script", "said"), [("exit 3", "exited with non-zero code 3"), ("echo nonsense", "Expecting value")]
)
def test_an_exec_plugin_that_fails(script: str, said: str, tmp_path: Path, config: dict[str, Any]) -> None:
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!/bin/sh\n{script}\n")
    plugin.chmod(0o700)
    config["users"][0]["user"] = {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin)},
    }
    with pytest.raises(CredentialsError, match=said):
        renewed(tmp_path / "config", config)


@pytest.mark.parametrize(
    ("part", "more", "said"),
    [
        ("users", {"as": "root"}, "impersonation"),
        ("users", {"as-groups": ["system:masters"]}, "impersonation"),
        ("clusters", {"proxy-url": "http://192.0.2.9", "tls-server-name": "kubernetes"}, "do not go together"),
    ],
)
def test_what_would_be_passed_over_is_refused(
    part: str, more: dict[str, Any], said: str, tmp_path: Path, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "left").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "left"))
    config[part][0][part[:-1]] |= more
    with pytest.raises(CredentialsError, match=said):
        renewed(tmp_path / "config", config)
    assert list((tmp_path / "left").iterdir()) == []


@pytest.mark.parametrize("spoiled", [{"server": "https://[::1"}, {"proxy-url": "ftp://192.0.2.9"}])
def test_a_server_or_proxy_that_is_none_is_a_sentence(
    spoiled: dict[str, str], tmp_path: Path, config: dict[str, Any]
) -> None:
    config["clusters"][0]["cluster"] |= spoiled
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    with pytest.raises(ApiError, match=r"the API server https://.*, or its proxy, cannot be used"):
        asyncio.run(connect(tmp_path / "config", ""))


def test_connecting_without_credentials_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ApiError, match="there is no such file") as refusal:
        asyncio.run(connect(tmp_path / "nothing", ""))
    assert refusal.value.status == 0
