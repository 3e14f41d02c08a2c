"""Packet filter and NAT rules as the three stores hold them, one shape for all.

A rule is kept as its store's own text and decoded only when a packet reaches it (`pathtap.forwarding.iptables`,
`pathtap.forwarding.nftables`): nodes hold tens of thousands of rules, a packet meets a dozen.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Backend(Enum):
    """Which store a rule lives in; the kernel evaluates all three."""

    LEGACY = "iptables-legacy"
    NFT = "iptables-nft"
    NFTABLES = "nftables"


class Random(Enum):
    """How a NAT rule chooses a port: NF_NAT_RANGE_PROTO_RANDOM and _RANDOM_FULLY of linux/netfilter/nf_nat.h."""

    NONE = "none"
    RANDOM = "random"
    FULLY = "fully"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetfilterRule:
    """A rule in its chain. `position` counts from 1.

    `text` is one line of `iptables -S` without its `-A CHAIN `, or of `nft list table`. `expression` is the nftables
    rule's JSON list of statements, and empty for both iptables stores. Counters are None where the rule counts nothing.
    """

    position: int
    text: str
    expression: str = ""
    packets: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """`hook` is empty for a user chain; else prerouting, input, forward, output or postrouting.

    `priority` and `kind` (filter, nat, route) hold for base chains. `policy` is ACCEPT or DROP; for a user chain empty.
    `device` is the interface of a netdev hook. `registration` is a base chain's place in the order in which chains were
    registered, 0 where nobody recorded it: no kernel tells.
    """

    name: str
    rules: Sequence[NetfilterRule] = ()
    hook: str = ""
    kind: str = ""
    priority: int = 0
    policy: str = ""
    device: str = ""
    registration: int = 0


def part(backend: Backend, family: str, table: str) -> str:
    """How an Unread names a table: `nat (iptables-legacy)`, `ip6 nat (iptables-nft)`, `inet firewall (nftables)`."""
    return f"{table} ({backend.value})" if family == "ip" else f"{family} {table} ({backend.value})"


class Chains(Sequence[Chain]):
    """Many chains, each made a value when somebody asks for it: `pathtap.model.saved`."""

    @abstractmethod
    def named(self, name: str) -> Chain | None: ...

    @abstractmethod
    def base(self) -> tuple[Chain, ...]:
        """Those that stand at a hook."""

    @abstractmethod
    def count_rules(self) -> int:
        """How many rules all of them hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """One table of one store. `family` is ip, ip6 or inet; `table` is raw, mangle, nat, filter, or a native name.

    `objects` holds the table's named sets and maps as nft JSON (sets by name), as native rules refer to them. `read_by`
    names what read it: python-iptables, iptables-legacy-save, iptables-nft-save, nft.
    """

    backend: Backend
    family: str
    table: str
    chains: Sequence[Chain] = ()
    objects: str = ""
    read_by: str = ""

    @property
    def part(self) -> str:
        """As an Unread would name it."""
        return part(self.backend, self.family, self.table)

    def chain(self, name: str) -> Chain | None:
        if isinstance(self.chains, Chains):
            return self.chains.named(name)
        return next((chain for chain in self.chains if chain.name == name), None)

    def base_chains(self) -> tuple[Chain, ...]:
        """Those that stand at a hook, in the store's order."""
        if isinstance(self.chains, Chains):
            return self.chains.base()
        return tuple(chain for chain in self.chains if chain.hook)

    def count_rules(self) -> int:
        if isinstance(self.chains, Chains):
            return self.chains.count_rules()
        return sum(len(chain.rules) for chain in self.chains)
