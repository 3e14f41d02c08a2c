"""What a person sets: flags and environment into frozen Settings. Opens no connection and starts nothing."""

from dataclasses import dataclass
from pathlib import Path

# linux/capability.h
CAP_NET_ADMIN = 12
CAP_NET_RAW = 13
# 400,000 packets as rows.
SPOOL_BYTES = 32 << 20
# In seconds, from a worker's last command to its end: long enough for the pause between two traces of one person.
WORKER_IDLE = 20.0
NEEDED = {"CAP_NET_ADMIN": CAP_NET_ADMIN, "CAP_NET_RAW": CAP_NET_RAW}


class SettingsError(ValueError):
    """What is wrong with a setting, as a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What captures may take, whatever a collector asks for. Of each: `packets`, `bytes` of them as they are handed on (80 for
    each, `pathtap.model.rows`), `seconds`; and how many `captures` there may be at once.

    A trace lasts 600 s at most: a capture that is older was forgotten.
    """

    packets: int = 1_000_000
    bytes: int = 64 << 20
    seconds: float = 900.0
    captures: int = 16


LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`tls_ca` None means no TLS and no authentication; `token_file` is what shows who the agent is. `health_port` 0 means none.
    `cni_config` None means the usual directory, where there is one. `spool_bytes` bounds the packets that wait to be sent;
    `worker_idle` is in seconds.
    """

    collector: str
    node: str
    tls_ca: Path | None = None
    tls_server_name: str = ""
    token_file: Path | None = None
    health_port: int = 9470
    cni_config: Path | None = None
    spool_bytes: int = SPOOL_BYTES
    worker_idle: float = WORKER_IDLE
    limits: Limits = LIMITS


def collector_target(address: str) -> str:
    """gRPC's target for HOST:PORT, [HOST]:PORT or unix:PATH. Raises SettingsError for what is none of them.

    Brackets stand around an IPv6 address; around anything else they mean nothing, so that a manifest can put them around an
    address of either family.
    """
    if address.startswith("unix:") and len(address) > len("unix:"):
        return address
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    if not colon or not bare or (":" in bare and not bracketed) or not _is_port(port):
        raise SettingsError(f"The collector's address is HOST:PORT or unix:PATH, not {address!r}.")
    return f"dns:///{address}" if ":" in bare else f"dns:///{bare}:{port}"


def settings(
    *,
    collector: str,
    node: str,
    insecure: bool,
    tls_ca: Path | None,
    tls_server_name: str,
    health_port: int,
    token_file: Path | None = None,
    cni_config: Path | None = None,
    spool_bytes: int = SPOOL_BYTES,
    worker_idle: float = WORKER_IDLE,
    limits: Limits = LIMITS,
) -> Settings:
    """Raises SettingsError where transport security is neither configured nor waived, or both."""
    collector_target(collector)
    if not node.strip():
        raise SettingsError("Give this node's name: --node NAME, PATHTAP_NODE or NODE_NAME.")
    if insecure and tls_ca is not None:
        raise SettingsError("Either --insecure or --tls-ca FILE, not both.")
    if not insecure and tls_ca is None:
        raise SettingsError(
            "Say how to trust the collector: --tls-ca FILE, or --insecure for no TLS and no authentication."
        )
    if token_file is not None and tls_ca is None:
        raise SettingsError("--token-file needs --tls-ca FILE: no token leaves before the collector is verified.")
    if tls_server_name and tls_ca is None:
        raise SettingsError("--tls-server-name needs --tls-ca FILE.")
    return Settings(
        collector=collector,
        node=node.strip(),
        tls_ca=tls_ca,
        tls_server_name=tls_server_name,
        token_file=token_file,
        health_port=health_port,
        cni_config=cni_config,
        spool_bytes=spool_bytes,
        worker_idle=worker_idle,
        limits=limits,
    )


def missing_capabilities(status: str) -> tuple[str, ...]:
    """What the agent lacks, by name, from the text of /proc/self/status (CapEff, proc_pid_status(5))."""
    effective = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), 0)
    return tuple(name for name, bit in NEEDED.items() if not effective >> bit & 1)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) <= 65_535
