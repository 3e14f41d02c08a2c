"""The collector's settings, and the sentence for each that cannot be."""

from dataclasses import dataclass
from pathlib import Path


class ConfigError(Exception):
    """Settings that do not go together, as a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`listen` is HOST:PORT or unix:PATH. Without `insecure` both `tls_certificate` and `tls_key` are needed."""

    listen: str
    inventory: Path
    insecure: bool
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    def __post_init__(self) -> None:
        if not self.insecure and not (self.tls_certificate and self.tls_key):
            raise ConfigError(
                "give --tls-cert and --tls-key, or say --insecure, which means no TLS and no authentication"
            )
        address = self.listen.removeprefix("unix:")
        if address == self.listen and not address.rpartition(":")[2].isdigit():
            raise ConfigError(f"--listen takes HOST:PORT or unix:PATH, not {self.listen!r}")
