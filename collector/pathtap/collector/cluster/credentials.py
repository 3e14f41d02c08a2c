"""How the API server is reached and what it is shown: a kubeconfig as kubectl reads it, or a pod's service account.

Knows no resource and sends no request, but runs the exec plugin that a kubeconfig names.
"""

import asyncio
import ssl
from collections.abc import Mapping
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, Protocol

from yaml import YAMLError

# Where a kubelet mounts a pod's token, and the CA that the API server is known by.
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# Seconds for an exec plugin; `aws eks get-token` takes one or two.
PLUGIN_PATIENCE = 60.0


class CredentialsError(Exception):
    """What is missing or malformed, as a sentence that names the file."""


class Credentials(Protocol):
    """`server` is the API server's URL. All of them raise CredentialsError."""

    server: str
    server_name: str | None
    proxy: str | None

    def token(self) -> str:
        """What to show as a bearer; empty for who shows a certificate."""

    def context(self) -> ssl.SSLContext:
        """Trust in the server, with the client's certificate where there is one."""

    async def renew(self) -> None:
        """Makes them anew, after the server has refused the former ones."""


class ServiceAccount:
    """A pod's own. The kubelet writes a new token into the file before the old one expires, so it is read for each request."""

    server_name: str | None = None
    proxy: str | None = None

    def __init__(self, environment: Mapping[str, str], directory: Path = SERVICE_ACCOUNT) -> None:
        """`environment` has the API server's address, as the kubelet tells it to every container."""
        host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT")
        if not host or not port:
            raise CredentialsError(
                "--in-cluster is for a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set"
            )
        self.server = f"https://{_bracketed(host)}:{port}"
        self._directory = directory

    def token(self) -> str:
        return _token_in(self._directory / "token", "the service account's token")

    def context(self) -> ssl.SSLContext:
        try:
            return _of_clusters(ssl.create_default_context(cafile=str(self._directory / "ca.crt")))
        except OSError as error:
            raise CredentialsError(f"cannot read {self._directory / 'ca.crt'}: {error}") from error

    async def renew(self) -> None:
        """Nothing to do: the file is read again anyway."""


class Kubeconfig:
    """A user of a kubeconfig: a token, a token file, a client certificate, or what an exec plugin makes of them."""

    def __init__(self, path: Path, context: str = "") -> None:
        """`context` empty is the file's current one. Call `renew` before anything else."""
        self._path = path
        self._context_name = context
        self.server = ""
        self.server_name: str | None = None
        self.proxy: str | None = None
        self._token = ""
        self._token_file: Path | None = None
        self._tls: ssl.SSLContext | None = None

    def token(self) -> str:
        if self._token_file is None:
            return self._token
        return _token_in(self._token_file, f"the token that {self._path} names")

    def context(self) -> ssl.SSLContext:
        assert self._tls is not None  # noqa: S101 - `renew` comes first
        return self._tls

    async def renew(self) -> None:
        if not self._path.is_file():
            raise CredentialsError(f"cannot read the kubeconfig {self._path}: there is no such file")
        try:
            async with asyncio.timeout(PLUGIN_PATIENCE):
                await self._read()
        except TimeoutError as error:
            raise CredentialsError(f"the exec plugin that {self._path} names took too long") from error
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise CredentialsError(f"the kubeconfig {self._path} lacks or mistakes {error}") from error
        except (ValueError, OSError, RuntimeError, YAMLError) as error:
            raise CredentialsError(f"the kubeconfig {self._path} cannot be used: {error}") from error

    async def _read(self) -> None:
        # 17 MiB that a collector in its cluster does without.
        import kr8s

        # A factory would ask the server for its version, without a time-out, and warn of those it does not test with.
        loaded: Any = kr8s.Api(
            bypass_factory=True,
            kubeconfig=str(self._path),
            context=self._context_name or None,
            serviceaccount="",
        ).auth
        await loaded
        config = loaded.kubeconfig
        named = config.get_context(loaded.active_context)
        user, cluster = config.get_user(named["user"]), config.get_cluster(named["cluster"])
        try:
            _refuse_what_is_passed_over(user, cluster)
            tls = await loaded.ssl_context()
        finally:
            _remove_copies(loaded, user, cluster)
        self._tls = _of_clusters(ssl.create_default_context() if tls is True else tls)
        self.server, self.server_name, self.proxy = loaded.server, loaded.tls_server_name, loaded.proxy
        self._token = str(loaded.token or "")
        if not _fits_a_header(self._token):
            raise ValueError("its token holds what no header can")
        # It wins over a token, as in client-go: it is the one that somebody renews.
        named = user.get("tokenFile")
        self._token_file = self._path.parent / str(named) if named else None


def _refuse_what_is_passed_over(user: Mapping[str, Any], cluster: Mapping[str, Any]) -> None:
    """What would be left out without a word: another's rights, and a name that httpcore does not look at behind a proxy."""
    if any(name.startswith("as") and (name == "as" or name[2:3] == "-") for name in user):
        raise ValueError("impersonation (`as`) is not supported")
    if "proxy-url" in cluster and "tls-server-name" in cluster:
        raise ValueError("`proxy-url` and `tls-server-name` do not go together")


def _remove_copies(loaded: Any, user: Mapping[str, Any], cluster: Mapping[str, Any]) -> None:
    """kr8s writes what a kubeconfig has inline, the key too, into files that it leaves; they are no longer needed."""
    copies = (
        (user, "client-key-data", loaded.client_key_file),
        (user, "client-certificate-data", loaded.client_cert_file),
        (cluster, "certificate-authority-data", loaded.server_ca_file),
    )
    for part, name, file in copies:
        if name in part and file:
            Path(str(file)).unlink(missing_ok=True)


def _token_in(file: Path, what: str) -> str:
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise CredentialsError(f"cannot read {what}: {error}") from error
    if not _fits_a_header(token):
        raise CredentialsError(f"cannot use {what}: {file} holds what no header can")
    return token


def _fits_a_header(token: str) -> bool:
    """Else httpx would repeat it in its error, and so in the log."""
    return token.isascii() and token.isprintable()


def _of_clusters(context: ssl.SSLContext) -> ssl.SSLContext:
    """Without what Python asks of CA certificates since 3.13: those of clusters, EKS's among them, lack it."""
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _bracketed(host: str) -> str:
    try:
        return f"[{IPv6Address(host)}]"
    except ValueError:
        return host
