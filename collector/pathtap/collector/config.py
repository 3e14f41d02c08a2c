"""The collector's settings, and the sentence for each that cannot be."""

from dataclasses import dataclass
from pathlib import Path

NAMESPACE = "pathtap"
AGENTS = "pathtap-agent"
# Connections to their port; of each an idle collector takes up to 90 KiB (docs/access.md).
MAX_AGENTS = 2_000


class ConfigError(Exception):
    """Settings that do not go together, as a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`listen` is HOST:PORT or unix:PATH, and so are `listen_agents`, empty where agents come to `listen` too, and
    `listen_certificates`, empty for none. Without `insecure` both
    `tls_certificate` and `tls_key` are needed. Exactly one of `inventory`, `kubeconfig` and `in_cluster` says who is who.
    `metrics` is HOST:PORT, empty for none. `namespace` is the collector's own; `agents` is the service account that agents run
    as, NAMESPACE/NAME, and `max_agents` how many connections of theirs there may be.
    """

    listen: str
    insecure: bool
    inventory: Path | None = None
    kubeconfig: Path | None = None
    context: str = ""
    in_cluster: bool = False
    listen_agents: str = ""
    listen_certificates: str = ""
    metrics: str = ""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_ca: Path | None = None
    namespace: str = NAMESPACE
    agents: str = f"{NAMESPACE}/{AGENTS}"
    max_agents: int = MAX_AGENTS

    @property
    def has_cluster(self) -> bool:
        return self.in_cluster or self.kubeconfig is not None

    @property
    def authenticates(self) -> bool:
        """Tokens are taken over TLS alone, and somebody must be there who knows them."""
        return self.has_cluster and not self.insecure

    def __post_init__(self) -> None:
        if not self.insecure and not (self.tls_certificate and self.tls_key):
            raise ConfigError(
                "give --tls-cert and --tls-key, or say --insecure, which means no TLS and no authentication"
            )
        if [self.inventory is not None, self.kubeconfig is not None, self.in_cluster].count(True) != 1:
            raise ConfigError("say by one of --inventory, --kubeconfig and --in-cluster where pods and nodes are known")
        if self.context and self.kubeconfig is None:
            raise ConfigError("--context is of a kubeconfig: give --kubeconfig too")
        if self.listen_certificates and not self.authenticates:
            raise ConfigError("--listen-certificates needs TLS and a cluster, which tells whose certificates to take")
        if self.agents.count("/") != 1 or not all(self.agents.split("/")):
            raise ConfigError(f"--agents takes a service account as NAMESPACE/NAME, not {self.agents!r}")
        if self.metrics.startswith("unix:"):
            raise ConfigError(f"--metrics takes HOST:PORT, not {self.metrics!r}")
        for option, address in (
            ("--metrics", self.metrics),
            ("--listen", self.listen),
            ("--listen-agents", self.listen_agents),
            ("--listen-certificates", self.listen_certificates),
        ):
            bare = address.removeprefix("unix:")
            if address and bare == address and not bare.rpartition(":")[2].isdigit():
                raise ConfigError(f"{option} takes HOST:PORT or unix:PATH, not {address!r}")
