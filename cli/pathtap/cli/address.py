"""Where the collector is: from what a person gave, and the lab's socket where nothing was. Opens no connection."""

from dataclasses import dataclass
from pathlib import Path

import click

LAB_SOCKET = Path("/run/pathtap/collector.sock")
# sun_path of struct sockaddr_un (unix(7)) has 108 bytes, the last of them NUL.
LONGEST_SOCKET_PATH = 107


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A gRPC target: `unix:/run/…` or `HOST:PORT`. `socket_path` is None but for unix."""

    target: str
    socket_path: Path | None = None


def choose(given: str, *, lab: bool = True, lab_socket: Path = LAB_SOCKET) -> Address | None:
    """The address given, else with `lab` the lab's socket where it exists; None where there is neither."""
    if given:
        return parse(given)
    if lab and lab_socket.exists():
        return parse(f"unix:{lab_socket}")
    return None


def parse(text: str) -> Address:
    """Raises click.UsageError where `text` is neither HOST:PORT nor unix:PATH."""
    if text.startswith("unix:"):
        path = Path("/" + text[5:].lstrip("/") if text.startswith("unix://") else text[5:])
        if not text[5:].strip("/"):
            raise click.UsageError("--collector unix: needs a path: unix:/run/pathtap/collector.sock")
        if len(str(path.absolute()).encode(errors="surrogateescape")) > LONGEST_SOCKET_PATH:
            raise click.UsageError(f"--collector: a socket's path has at most {LONGEST_SOCKET_PATH} bytes: {path}")
        return Address(target=f"unix:{path.absolute()}", socket_path=path)
    host, colon, port = text.rpartition(":")
    bare_ipv6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not (host and colon and port.isdecimal() and 1 <= int(port) <= 65535) or bare_ipv6 or "/" in text:
        raise click.UsageError(f"--collector wants HOST:PORT, [IPV6]:PORT or unix:PATH, not {text}")
    return Address(target=text)
