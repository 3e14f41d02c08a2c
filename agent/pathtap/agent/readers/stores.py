"""What each of the three netfilter readers hands over: the tables it read and those that it could not."""

from dataclasses import dataclass

from pathtap.model.netfilter import Backend, RuleSet
from pathtap.model.node import Unread


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    rule_sets: tuple[RuleSet, ...] = ()
    unread: tuple[Unread, ...] = ()


def part(backend: Backend, family: str, table: str) -> str:
    """How an Unread names a table: `nat (iptables-legacy)`, `ip6 nat (iptables-nft)`, `inet firewall (nftables)`."""
    return f"{table} ({backend.value})" if family == "ip" else f"{family} {table} ({backend.value})"
