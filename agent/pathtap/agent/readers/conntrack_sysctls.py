"""Reads single numbers of net.netfilter: how many entries there are, how many there may be, whether events are told."""

from pathlib import Path

ROOT = Path("/proc/sys/net/netfilter")


def fetch(name: str, root: Path = ROOT) -> int | None:
    """Of the network namespace of the calling thread; None where this kernel does not have it or it cannot be read."""
    try:
        text = (root / name).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
