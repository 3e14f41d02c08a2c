"""The answer to `snat`: is this source translated, by which rule, to what, and are the ports really fully random?"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from pathtap.model.address import Address, Socket
from pathtap.model.netfilter import Random
from pathtap.model.trace import Egress, Finding, Gap, RuleReference, Target, Witness


class SnatVerdict(Enum):
    """docs/snat.md gives each one's exact condition."""

    FULLY_RANDOM = "FULLY_RANDOM"
    RANDOM_NOT_FULLY = "RANDOM_NOT_FULLY"
    NOT_RANDOM = "NOT_RANDOM"
    NOT_TRANSLATED = "NOT_TRANSLATED"
    NOT_IN_EFFECT = "NOT_IN_EFFECT"
    CONTRADICTORY = "CONTRADICTORY"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What somebody set for this traffic. `translated` False means that it is to keep its source; `random` then means nothing.

    `says` is the setting and its value, `source` where it was read: `ip-192-168-1-29 ipamd`.
    """

    translated: bool
    random: Random
    says: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting that bears on SNAT, whether it decides here or not: its name, its value as a person writes it, who told."""

    name: str
    value: str
    source: str


class Standing(Enum):
    """How a translating rule stands to this traffic. FIRST: the packet meets it first. BEHIND: it would translate, had not
    another done so. PASSED_BY: the packet does not match it. UNDECIDED: that could not be evaluated.
    """

    FIRST = "FIRST"
    BEHIND = "BEHIND"
    PASSED_BY = "PASSED_BY"
    UNDECIDED = "UNDECIDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslatingRule:
    """A rule that translates sources. `owner` is a person's word for who writes its chain: `VPC CNI`, `kube-proxy`, `Calico` …"""

    owner: str
    rule: RuleReference
    standing: Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class PortPair:
    """One connection's source before and after this node's NAT. For ICMP `port` holds the identifier.

    `discounted` says why the pair tells nothing of how ports are chosen, and is empty where it counts. `interface` is the ENI
    on which the translated packet was seen, empty where none was.
    """

    protocol: int
    original: Socket
    translated: Socket
    destination: Socket
    witnesses: tuple[Witness, ...]
    interface: str = ""
    discounted: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What the pairs that count say. Each limit follows from `false_alarm`, the chance of a wrong word about ports that are
    chosen as supposed.

    `needed` is how many pairs the statement takes. `first` to `last` is the range the kernel may choose from; `lowest` and
    `highest` are the translated ports seen (None without any). `distance` is the largest difference between the ports'
    distribution and an even one, `distance_limit` the most that chance explains. `successive` counts ports that follow the
    one before closely, `successive_limit` the most that chance explains.
    """

    counted: int
    preserved: int
    needed: int
    first: int
    last: int
    lowest: int | None
    highest: int | None
    distance: float
    distance_limit: float
    successive: int
    successive_limit: int
    false_alarm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuRise:
    """One processor's conntrack counters, before and after, by name."""

    cpu: int
    before: Mapping[str, int]
    after: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PortsInUse:
    """Ports of `translated` in use towards `destination`, of `capacity`; `users` are those who hold them, most first:
    (`shop/cart`, or an address, and how many).
    """

    protocol: int
    destination: Socket
    translated: Address
    in_use: int
    capacity: int
    users: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What a race for ports, or their lack, costs. `entries` and `most_entries` are the conntrack table's, None where unread."""

    cpus: tuple[CpuRise, ...] = ()
    ports: tuple[PortsInUse, ...] = ()
    entries: int | None = None
    most_entries: int | None = None

    def rise(self, counter: str) -> int:
        """By how much the counter rose, over all processors."""
        return sum(cpu.after.get(counter, 0) - cpu.before.get(counter, 0) for cpu in self.cpus)

    def total(self, counter: str) -> int:
        """Since the node's start, over all processors."""
        return sum(cpu.after.get(counter, 0) for cpu in self.cpus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """How the connections that were opened ended. `failed` are those that could not be opened, `failure` says why."""

    answered: int = 0
    refused: int = 0
    unreachable: int = 0
    silent: int = 0
    failed: int = 0
    failure: str = ""

    @property
    def total(self) -> int:
        return self.answered + self.refused + self.unreachable + self.silent + self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Snat:
    """`destination` is None where none was given, and `opened` where nothing was sent. `translated_to` is the address that
    the rule gives, None where nothing is translated or it cannot be told. `as_intended` says whether the effect is what was
    set; where nobody told what was set, whether it is fully random.
    """

    id: str
    started_at: int
    finished_at: int
    source: Target
    destination: Target | None
    protocol: int
    verdict: SnatVerdict
    as_intended: bool
    summary: str
    intent: Intent | None
    rule: RuleReference | None
    rules: tuple[TranslatingRule, ...]
    translated_to: Address | None
    egress: Egress | None
    pairs: tuple[PortPair, ...]
    statistics: Statistics | None
    opened: Opened | None
    exposure: Exposure
    live: bool = False
    settings: tuple[Setting, ...] = ()
    findings: tuple[Finding, ...] = ()
    gaps: tuple[Gap, ...] = ()
