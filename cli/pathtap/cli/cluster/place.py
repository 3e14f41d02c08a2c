"""Which cluster, and as whom: from the options and the environment. Asks no server, but runs the kubeconfig's exec plugin."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pathtap.cli.cluster import kubeconfig
from pathtap.cli.cluster.credentials import credential_of
from pathtap.cli.cluster.server import SERVICE_ACCOUNT, Server, cluster_info, in_cluster, is_direct, server_of
from pathtap.cli.cluster.tokens import token_file
from pathtap.cli.cluster.values import Credential, Terminal
from pathtap.cli.errors import CommandError


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What was given: `file` and `context` as --kubeconfig and --context, the environment, and the home directory."""

    file: Path | None
    context: str
    environment: Mapping[str, str]
    home: Path

    def load(self) -> kubeconfig.Kubeconfig:
        """Raises CommandError."""
        return kubeconfig.load(kubeconfig.files(self.file, self.environment, self.home))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The API server, what to show it, and the namespace in which pathtap is looked for."""

    server: Server
    credential: Credential
    namespace: str


def find(where: Where, namespace: str, terminal: Terminal) -> Place:
    """The kubeconfig's cluster, else that of the pod in which the command runs. Raises CommandError."""
    config = where.load()
    if not config.contexts and not where.context and where.file is None:
        return _pods(where.environment, namespace)
    context = kubeconfig.chosen_context(config, where.context)
    server = _by_the_environment(server_of(context.cluster), where.environment)
    told = cluster_info(server, context.cluster)
    credential = credential_of(context.user, told, where.environment, terminal)
    return Place(server=server, credential=credential, namespace=namespace)


def namespace_of_bare_names(where: Where, *, reached: bool) -> str:
    """The context's, else the pod's; then "default" as for kubectl where the cluster is `reached` by the same context, and
    else empty."""
    found = kubeconfig.context_namespace(kubeconfig.files(where.file, where.environment, where.home), where.context)
    if found or not reached:
        return found
    own = SERVICE_ACCOUNT / "namespace"
    if where.file is None and not where.load().contexts and own.exists():
        return own.read_text().strip()
    return "default"


def _pods(environment: Mapping[str, str], namespace: str) -> Place:
    server = in_cluster(environment)
    if server is None:
        raise CommandError(
            "No collector is named, and no kubeconfig is found (--kubeconfig, $KUBECONFIG, ~/.kube/config). Give one, or "
            "--collector HOST:PORT or unix:PATH, or set PATHTAP_COLLECTOR; or build a lab on this machine with: "
            "sudo pathtap lab up"
        )
    token = token_file(SERVICE_ACCOUNT / "token", "This pod's service account token")
    server = _by_the_environment(server, environment)
    return Place(server=server, credential=Credential(token=token), namespace=namespace)


def _by_the_environment(server: Server, environment: Mapping[str, str]) -> Server:
    return replace(server, direct=is_direct(server.url, environment))
