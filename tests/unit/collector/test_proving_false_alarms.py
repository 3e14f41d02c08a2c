"""How often the judge of `snat` is wrong: 10,000 simulated runs of each verdict, with ports chosen as the kernel chooses them.

Run as a program it prints the counts: `PYTHONPATH=tests/support .venv/bin/python THIS_FILE`.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from random import Random as Chance

import pytest
from port_choice import Chooser, Ports

from pathtap.collector.proving.chance import FALSE_ALARM, needed_for_spread
from pathtap.collector.proving.evidence import Evidence
from pathtap.collector.proving.pairs import MAPPED
from pathtap.collector.proving.ranges import CLIENTS as RANGE
from pathtap.collector.proving.ranges import shift_by
from pathtap.collector.proving.verdict import judge
from pathtap.model.address import Protocol, Socket
from pathtap.model.netfilter import Backend, Random
from pathtap.model.node import PortRange
from pathtap.model.snat import Intent, Opened, PortPair, SnatVerdict
from pathtap.model.trace import RuleReference, Witness

RUNS = 10_000
CONNECTIONS = 64
NEW, OLD = "6.1.112-122.189.amzn2023.x86_64", "4.14.355-275.570.amzn2.x86_64"
POD, NODE = ip_address("192.168.1.41"), ip_address("192.168.1.29")
DESTINATION = Socket(ip_address("198.51.100.8"), 443)
ORIGINALS = [Socket(POD, port) for port in range(65_536)]
TRANSLATED = [Socket(NODE, port) for port in range(65_536)]
EPHEMERAL = range(32_768, 61_000)
# Ports of the source's own that are mapped to drawn ones towards another destination, which a rule without a flag reuses.
MAPPED_ELSEWHERE = 6_000
# Of the ports towards the destination, held by others: those that a survey sees, and those that come and go between two.
SEEN, UNSEEN = 2_000, 100
HELD = "192.168.1.42 held its port towards the destination"
FULLY = Intent(translated=True, random=Random.FULLY, says="AWS_VPC_K8S_CNI_RANDOMIZESNAT is prng", source="ipamd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What really happens: the flags of the rules that are read, of which each run has one, and how the kernel chooses."""

    verdict: SnatVerdict
    flags: tuple[Random, ...]
    choice: Callable[[Ports, Random], Chooser | None]
    kernel: str = NEW
    intent: Intent | None = None
    connections: tuple[int, int] = (CONNECTIONS, CONNECTIONS)


def as_told(ports: Ports, flag: Random) -> Chooser:
    return ports.kept if flag is Random.NONE else ports.drawn


def otherwise(ports: Ports, flag: Random) -> Chooser:
    return ports.drawn if flag is Random.NONE else ports.kept


TRUTHS = {
    "FULLY_RANDOM": Truth(verdict=SnatVerdict.FULLY_RANDOM, flags=(Random.FULLY,), choice=as_told),
    "FULLY_RANDOM before 5.0": Truth(
        verdict=SnatVerdict.FULLY_RANDOM, flags=(Random.FULLY,), choice=as_told, kernel=OLD
    ),
    "RANDOM_NOT_FULLY": Truth(verdict=SnatVerdict.RANDOM_NOT_FULLY, flags=(Random.RANDOM,), choice=as_told),
    "RANDOM_NOT_FULLY before 5.0": Truth(
        verdict=SnatVerdict.RANDOM_NOT_FULLY,
        flags=(Random.RANDOM,),
        choice=lambda ports, flag: ports.counted_up,
        kernel=OLD,
    ),
    "NOT_RANDOM": Truth(verdict=SnatVerdict.NOT_RANDOM, flags=(Random.NONE,), choice=as_told),
    "NOT_TRANSLATED": Truth(verdict=SnatVerdict.NOT_TRANSLATED, flags=(), choice=lambda ports, flag: None),
    "NOT_IN_EFFECT": Truth(
        verdict=SnatVerdict.NOT_IN_EFFECT, flags=(Random.NONE, Random.RANDOM), choice=as_told, intent=FULLY
    ),
    "CONTRADICTORY": Truth(verdict=SnatVerdict.CONTRADICTORY, flags=tuple(Random), choice=otherwise, intent=FULLY),
    "INCONCLUSIVE": Truth(
        verdict=SnatVerdict.INCONCLUSIVE, flags=(Random.RANDOM, Random.FULLY), choice=as_told, connections=(1, 50)
    ),
}


class World:
    """One node's ports towards one destination before each run, and whatever chance decides in it."""

    def __init__(self, chance: Chance, seen: int, unseen: int, elsewhere: int) -> None:
        self.chance = chance
        self.mapped = {port: 1024 + chance.randrange(64_512) for port in chance.sample(EPHEMERAL, elsewhere)}
        held = chance.sample(EPHEMERAL, seen + unseen)
        self.seen = frozenset(held[:seen])
        self.shift = shift_by(self.seen, RANGE)
        self.taken = bytearray(65_536)
        for port in held:
            self.taken[port] = 1

    def pairs(self, truth: Truth, flag: Random) -> tuple[PortPair, ...]:
        """In the order in which the connections are opened, each from a port of its own as Linux gives them to clients."""
        count = self.chance.randint(*truth.connections)
        ports = Ports(self.chance, self.taken, mapped=self.mapped)
        choose = truth.choice(ports, flag)
        originals = self.chance.sample(EPHEMERAL, count)
        chosen = ((port, choose(port) if choose else None) for port in originals)
        free = flag is Random.NONE
        return tuple(self.pair(original, port, kept_where_free=free) for original, port in chosen if port or not choose)

    def pair(self, original: int, port: int | None, *, kept_where_free: bool) -> PortPair:
        return PortPair(
            protocol=Protocol.TCP,
            original=ORIGINALS[original],
            translated=ORIGINALS[original] if port is None else TRANSLATED[port],
            destination=DESTINATION,
            witnesses=(Witness.RECORDED,),
            discounted=self.why(original, port) if kept_where_free else "",
        )

    def why(self, original: int, port: int | None) -> str:
        if original in self.seen:
            return HELD
        return MAPPED if port is not None and self.mapped.get(original) == port != original else ""


def rule(flag: Random) -> RuleReference:
    return RuleReference(
        backend=Backend.NFT, table="nat", chain="AWS-SNAT-CHAIN-0", position=2, text="-j SNAT", random=flag
    )


def verdicts(truth: Truth, runs: int, seed: int) -> Counter[SnatVerdict]:
    """Every other run is on a node where nobody else talks to the destination, nor the source to others."""
    chance, found = Chance(seed), Counter[SnatVerdict]()  # noqa: S311 - a seeded simulation
    worlds = World(chance, 0, 0, 0), World(chance, SEEN, UNSEEN, MAPPED_ELSEWHERE)
    for run in range(runs):
        world = worlds[run % 2]
        flag = chance.choice(truth.flags) if truth.flags else Random.NONE
        pairs = world.pairs(truth, flag)
        evidence = Evidence(
            source="shop/search",
            destination="198.51.100.8:443",
            protocol=Protocol.TCP,
            kernel=truth.kernel,
            candidates=(rule(flag),) if truth.flags else (),
            translated_to=NODE if truth.flags else None,
            intent=truth.intent,
            pairs=pairs,
            opened=Opened(answered=len(pairs)),
            shift=world.shift,
        )
        found[judge(evidence).verdict] += 1
    return found


@pytest.mark.parametrize("name", TRUTHS)
def test_each_verdict_is_wrong_at_most_once_in_a_thousand(name: str) -> None:
    truth = TRUTHS[name]
    found = verdicts(truth, RUNS, seed=len(name))
    wrong = RUNS - found[truth.verdict]
    assert wrong <= FALSE_ALARM * RUNS, f"{name}: {wrong} of {RUNS} wrong: {found}"


@pytest.mark.parametrize("flag", [Random.RANDOM, Random.FULLY])
def test_ports_that_keep_to_the_range_of_clients_are_noticed(flag: Random) -> None:
    """A rule that says random and ports that are drawn of 32768 to 60999: with as many pairs as are needed, not more."""
    needed = needed_for_spread()
    assert needed is not None
    confined = Truth(
        verdict=SnatVerdict.CONTRADICTORY,
        flags=(flag,),
        choice=lambda ports, _: ports.within(PortRange(first=32_768, last=60_999)).drawn,
        connections=(needed, needed),
    )
    found = verdicts(confined, 1_000, seed=4)
    assert found[SnatVerdict.CONTRADICTORY] >= 990, found


if __name__ == "__main__":
    for title, reality in TRUTHS.items():
        counts = verdicts(reality, RUNS, seed=len(title))
        others = {verdict.value: count for verdict, count in counts.items() if verdict is not reality.verdict}
        print(f"{title:30} wrong {RUNS - counts[reality.verdict]:3} of {RUNS}  {others or ''}")  # noqa: T201
