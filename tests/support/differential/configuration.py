"""What was drawn for one node, in the words of the tools that take it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeTable:
    """A table for `nft -f`; `base_chains` in the order in which it declares, and so registers, them."""

    family: str
    name: str
    text: str
    base_chains: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """`rules` and `routes` follow `ip rule add` and `ip route add`; `sysctls` are paths below /proc/sys with values.

    `legacy` and `nft` are for the restore programs of the two backends, empty where they have none; `ipsets` for `ipset
    restore`. `order` is that in which the three stores are loaded.
    """

    family: int
    rules: tuple[str, ...]
    routes: tuple[str, ...]
    sysctls: tuple[tuple[str, str], ...]
    ipsets: str = ""
    legacy: str = ""
    nft: str = ""
    native: tuple[NativeTable, ...] = ()
    order: tuple[str, ...] = ("legacy", "nft", "native")
