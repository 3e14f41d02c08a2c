"""What the parts of the way to a cluster hand to each other."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What a person shows: a token, or a client certificate with its key (PEM), or both. Its text shows neither."""

    token: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """How much may be asked of a person: whether a program may read from them, whether it must say nothing, and for how
    many seconds it may run (None: for ever, since somebody may be logging in)."""

    interactive: bool
    quiet: bool = False
    patience: float | None = None
