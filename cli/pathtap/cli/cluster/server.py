"""The API server as a kubeconfig's cluster entry names it, or as a pod finds it. Reads files; connects to nothing."""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pathtap.cli.cluster.kubeconfig import Entry
from pathtap.cli.errors import CommandError

# Where a kubelet mounts a pod's token, its namespace, and the CA that the API server is known by.
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PROXIES = ("http", "https", "socks5", "socks5h")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """`authority` is PEM, None for the system's roots; `name` is what its certificate must have, empty for the URL's host;
    `verified` is False where the kubeconfig asks for no verification; `direct` where the environment's proxy is not for it."""

    url: str
    authority: bytes | None = None
    name: str = ""
    proxy: str = ""
    verified: bool = True
    direct: bool = False


def server_of(cluster: Entry) -> Server:
    """From a cluster entry (client-go, clientcmd/api/v1 `Cluster`). Raises CommandError."""
    value, whose = cluster.value, f"The kubeconfig's cluster {cluster.name}"
    url, proxy = str(value.get("server") or ""), str(value.get("proxy-url") or "")
    address, by = _parts(url), _parts(proxy)
    if address.username is not None or address.password is not None:
        raise CommandError(
            f"{whose} has a server with a user name or password in it, which Kubernetes knows no longer."
        )
    if address.scheme != "https" or not address.hostname:
        raise CommandError(f"{whose} has the server {url or '(none)'}: credentials are shown to https:// servers only.")
    if proxy and by.scheme not in PROXIES:
        raise CommandError(
            f"{whose} has a proxy-url that is none of {', '.join(PROXIES)}: {by.scheme or '(no scheme)'}."
        )
    authority = pem(cluster, "certificate-authority")
    unverified = bool(value.get("insecure-skip-tls-verify"))
    if unverified and authority is not None:
        raise CommandError(f"{whose} has both insecure-skip-tls-verify and a certificate-authority: leave one out.")
    return Server(
        url=url.rstrip("/"),
        authority=authority,
        name=str(value.get("tls-server-name") or ""),
        proxy=proxy.replace("socks5h://", "socks5://"),
        verified=not unverified,
    )


def pem(entry: Entry, key: str) -> bytes | None:
    """What `KEY-data` holds in base64, its lines broken or not (as Go's encoding/base64 reads it), else the file that `KEY`
    names; None where neither is set. Raises CommandError."""
    try:
        if data := entry.value.get(f"{key}-data"):
            return base64.b64decode("".join(str(data).splitlines()), validate=True)
        path = entry.value.get(key)
        return (entry.directory / str(path)).read_bytes() if path else None
    except (binascii.Error, ValueError) as error:
        raise CommandError(f"The kubeconfig's {key}-data of {entry.name} is no base64.") from error
    except OSError as error:
        raise CommandError(f"The kubeconfig's {key} of {entry.name} cannot be read: {error}.") from error


def in_cluster(environment: Mapping[str, str], directory: Path = SERVICE_ACCOUNT) -> Server | None:
    """The API server as a kubelet tells it to a container; None outside of a pod, or in one without a service account."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT")
    if not (host and port and (directory / "token").exists()):
        return None
    try:
        return Server(url=f"https://{_bracketed(host)}:{port}", authority=(directory / "ca.crt").read_bytes())
    except OSError as error:
        raise CommandError(f"This pod's ca.crt cannot be read: {error}.") from error


def cluster_info(server: Server, cluster: Entry) -> dict[str, Any]:
    """What an exec plugin with `provideClusterInfo` is told (client.authentication.k8s.io `Cluster`)."""
    said: dict[str, Any] = {"server": server.url}
    if server.name:
        said["tls-server-name"] = server.name
    if not server.verified:
        said["insecure-skip-tls-verify"] = True
    if server.authority is not None:
        said["certificate-authority-data"] = base64.b64encode(server.authority).decode()
    if server.proxy:
        said["proxy-url"] = server.proxy
    extensions = cluster.value.get("extensions")
    for extension in extensions if isinstance(extensions, list) else []:
        if isinstance(extension, dict) and extension.get("name") == "client.authentication.k8s.io/exec":
            said["config"] = extension.get("extension")
    return said


def is_direct(url: str, environment: Mapping[str, str]) -> bool:
    """Whether the environment's proxy is not for `url`, where httpx would take it and Go does not: loopback, and networks in
    NO_PROXY (golang.org/x/net/http/httpproxy). Names and single addresses httpx looks for by itself."""
    host = urlsplit(url).hostname or ""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost"
    listed = (environment.get("NO_PROXY") or environment.get("no_proxy") or "").split(",")
    return address.is_loopback or any(address in network for network in _networks(listed))


def _networks(texts: Iterable[str]) -> Iterator[IPv4Network | IPv6Network]:
    for text in texts:
        with suppress(ValueError):
            yield ip_network(text.strip(), strict=False)


def without_password(url: str) -> str:
    """For a sentence."""
    return _parts(url)._replace(netloc=_parts(url).netloc.rpartition("@")[2]).geturl()


def _parts(url: str) -> SplitResult:
    """Empty for what is no URL."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _bracketed(host: str) -> str:
    try:
        return f"[{IPv6Address(host)}]"
    except ValueError:
        return host
