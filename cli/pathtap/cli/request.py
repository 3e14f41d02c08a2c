"""From words and options to a request, or to a usage error that shows the right form. Asks nobody."""

from collections.abc import Sequence
from ipaddress import IPv4Address, ip_address

import click

from pathtap.model.address import Address

FORM = "SRC to DST"
EXAMPLE = "shop/cart to shop/redis --port 6379"
# Of the commands that are written otherwise.
FORMS = {"snat": "SRC [to DST]"}
EXAMPLES = {"snat": "shop/cart to 198.51.100.8 --port 443"}
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17}
_BROADCAST = IPv4Address("255.255.255.255")
_KINDS = (
    *("pod", "node", "svc", "service", "deploy", "deployment", "deployments", "ds", "daemonset", "daemonsets"),
    *("sts", "statefulset", "statefulsets", "rs", "replicaset", "replicasets", "job", "jobs"),
)


def source_and_destination(words: Sequence[str], command: str = "trace") -> tuple[str, str]:
    """The two ends of `SRC to DST`; click.UsageError with the right form for any other words."""
    for word in words:
        if not word or _not_utf8(word):
            raise click.UsageError("A name is empty or not UTF-8.")
    if len(words) == 3 and words[1] == "to":
        return words[0], words[2]
    raise click.UsageError(right_form(words, command))


def source_and_perhaps_destination(words: Sequence[str], command: str) -> tuple[str, str]:
    """The ends of `SRC` (the second is empty then) or `SRC to DST`; click.UsageError with the right form for any other words."""
    if len(words) != 1:
        return source_and_destination(words, command)
    if not words[0] or _not_utf8(words[0]):
        raise click.UsageError("A name is empty or not UTF-8.")
    return words[0], ""


def right_form(words: Sequence[str], command: str = "trace") -> str:
    """How a command of two ends is written, with the two names that `words` hold where they hold two."""
    names = [word for word in words if word not in ("from", "to")]
    meant = f"{names[0]} to {names[1]}" if len(names) == 2 else EXAMPLES.get(command, EXAMPLE)
    return f"Write it as: pathtap {command} {FORMS.get(command, FORM)}, for example: pathtap {command} {meant}"


def check_source(source: str, *, live: bool) -> None:
    """Refuses what cannot send: a Service, and an address unless its own traffic is waited for."""
    if source.startswith(("svc/", "service/")):
        raise click.UsageError(f"{source} cannot be the source: a Service sends no packets. Name one of its pods.")
    if not live and _address(source) is not None:
        raise click.UsageError(
            f"{source} cannot be the source: nothing can be sent from an address. Name the pod, or wait with --live."
        )


def check_watched(source: str) -> None:
    """Refuses whose flows nobody can list: a Service, and an address, which is watched by its pod's or node's name."""
    check_source(source, live=True)
    if _address(source) is not None:
        raise click.UsageError(f"{source} is an address: name the pod or the node that has it.")


def check_destination(destination: str, command: str = "trace") -> None:
    """Refuses addresses that are no single host's: one packet to them has no one path; and a port behind a colon."""
    address = _address(destination)
    host, port = _without_port(destination)
    if port:
        raise click.UsageError(
            f"The port of {destination} goes into --port: pathtap {command} SRC to {host} --port {port}"
        )
    if address is not None and (address.is_multicast or address.is_unspecified or address == _BROADCAST):
        raise click.UsageError(f"{destination} is no host's address: only unicast can be traced.")


def protocol_number(protocol: str, port: int, destination: str, *, live: bool) -> int:
    """The IANA number, 0 where none was chosen: TCP where a port is given, else ICMP.

    Without a port, a Service's only one is meant, and live traffic to any.
    """
    if protocol in ("tcp", "udp") and not port and not live and not destination.startswith(("svc/", "service/")):
        raise click.UsageError(f"{protocol.upper()} needs a port: --port N (1 to 65535).")
    if protocol == "icmp" and port:
        raise click.UsageError("ICMP has no ports: leave out --port, or choose --protocol tcp or udp.")
    return PROTOCOLS.get(protocol, 0)


def checked_size(size: int, protocol: int, port: int) -> int:
    """The payload's bytes; click.UsageError for a TCP probe, which ends with the handshake."""
    if size and (protocol == PROTOCOLS["tcp"] or (not protocol and port)):
        raise click.UsageError("--size is for ICMP and UDP: a TCP probe is a handshake and carries nothing.")
    return size


def is_bare(name: str) -> bool:
    """Whether a name leaves its namespace open: `cart`, `pod/cart`, `svc/web`; not `shop/cart`, `node/x`, an address."""
    kind, slash, rest = name.rpartition("/")
    if kind == "node" or _address(name) is not None:
        return False
    return not slash or (kind.partition(".")[0] in _KINDS and bool(rest))


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _without_port(text: str) -> tuple[str, str]:
    """`shop/redis:6379`, `192.0.2.1:443` and `[2001:db8::1]:443` in two; an IPv6 address's colons part nothing."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not (host and colon and port.isdecimal()) or (":" in host and not bracketed):
        return text, ""
    return (host[1:-1] if bracketed else host), port


def _not_utf8(text: str) -> bool:
    """Bytes that were no UTF-8 reach a program as lone surrogates (PEP 383)."""
    return any("\ud800" <= char <= "\udfff" for char in text)
