"""From words and options to a request, or to a usage error that shows the right form. Asks nobody."""

from collections.abc import Sequence
from ipaddress import ip_address

import click

FORM = "pathtap trace SRC to DST"
EXAMPLE = "pathtap trace shop/cart to shop/redis --port 6379"
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17}
_KINDS = ("pod", "node", "svc", "service")


def source_and_destination(words: Sequence[str]) -> tuple[str, str]:
    """The two ends of `SRC to DST`; click.UsageError with the right form for any other words."""
    for word in words:
        if not word or _not_utf8(word):
            raise click.UsageError("A name is empty or not UTF-8.")
    if len(words) == 3 and words[1] == "to":
        return words[0], words[2]
    names = [word for word in words if word not in ("from", "to")]
    meant = f"pathtap trace {names[0]} to {names[1]}" if len(names) == 2 else EXAMPLE
    raise click.UsageError(f"Write it as: {FORM}, for example: {meant}")


def check_source(source: str, *, live: bool) -> None:
    """Refuses what cannot send: a Service, and an address unless its own traffic is waited for."""
    if source.startswith(("svc/", "service/")):
        raise click.UsageError(f"{source} cannot be the source: a Service sends no packets. Name one of its pods.")
    if not live and _is_address(source):
        raise click.UsageError(
            f"{source} cannot be the source: nothing can be sent from an address. Name the pod, or wait with --live."
        )


def protocol_number(protocol: str, port: int) -> int:
    """The IANA number, 0 where none was chosen: TCP where a port is given, else ICMP."""
    if protocol in ("tcp", "udp") and not port:
        raise click.UsageError(f"{protocol.upper()} needs a port: --port N (1 to 65535).")
    if protocol == "icmp" and port:
        raise click.UsageError("ICMP has no ports: leave out --port, or choose --protocol tcp or udp.")
    return PROTOCOLS.get(protocol, 0)


def is_bare(name: str) -> bool:
    """Whether a name leaves its namespace open: `cart`, `pod/cart`, `svc/web`; not `shop/cart`, `node/x`, an address."""
    kind, slash, rest = name.rpartition("/")
    if kind == "node" or _is_address(name):
        return False
    return not slash or (kind in _KINDS and bool(rest))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _not_utf8(text: str) -> bool:
    """Bytes that were no UTF-8 reach a program as lone surrogates (PEP 383)."""
    return any("\ud800" <= char <= "\udfff" for char in text)
