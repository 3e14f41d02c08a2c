"""The seam between finding a collector and speaking to it: where gRPC dials, whom it trusts, what it shows."""

from collections.abc import Callable
from dataclasses import dataclass, field


def _nothing() -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """`target` is gRPC's; `called` is the same in sentences. `roots` is PEM, None for the system's; `server_name` is what the
    certificate must have, empty for the target's host. `forwarded` is for a port of a cluster. A token is shown only over TLS.
    `trouble` says what the way itself met until now, empty where nothing."""

    target: str
    called: str
    plaintext: bool = False
    forwarded: bool = False
    roots: bytes | None = field(default=None, repr=False)
    server_name: str = ""
    token: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    trouble: Callable[[], str] = _nothing
