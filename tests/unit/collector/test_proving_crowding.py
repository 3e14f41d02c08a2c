"""Ports in use that surveys saw, and what may have gone unseen: what they excuse, and what they do not."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network
from random import Random as Chance

import pytest
from port_choice import Ports
from small_cluster import CART, HOST_1, INTERNET, NODE_1, SEARCH, cluster, node_1

from pathtap.collector.cluster.resolve import Request, resolve
from pathtap.collector.proving.answers import answer
from pathtap.collector.proving.subject import Asked, Found, subject_of
from pathtap.model.address import FiveTuple, Protocol, Socket
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.netfilter import NetfilterRule
from pathtap.model.node import CniSettings, NodeSnapshot, PortRange
from pathtap.model.request import Connection, ConnectionsReport, ProbeOutcome
from pathtap.model.snat import Snat, SnatVerdict
from pathtap.model.survey import PortUsage, SurveyReport

TO = Socket(ip_address(INTERNET), 443)
KEEPING = "! -d 192.168.0.0/16 -j MASQUERADE"


def node(first: str) -> NodeSnapshot:
    """`first` comes before all rules of the VPC CNI, of which nobody told what was set."""
    read = replace(
        node_1(), kernel="6.1.112", settings=CniSettings(randomize=0), vpc_networks=(ip_network("192.168.0.0/16"),)
    )
    (nat,) = (each for each in read.rule_sets if each.table == "nat")
    chains = tuple(
        replace(each, rules=(NetfilterRule(position=1, text=first),)) if each.name == "POSTROUTING" else each
        for each in nat.chains
    )
    sets = tuple(replace(each, chains=chains) if each is nat else each for each in read.rule_sets)
    return replace(read, rule_sets=sets)


def used(source: str, ports: Iterable[int], destination: Socket = TO) -> PortUsage:
    return PortUsage(
        protocol=Protocol.TCP,
        destination=destination,
        translated=ip_address(HOST_1),
        source=ip_address(source),
        ports=tuple(ports),
    )


def entry(original: int, translated: int) -> ConntrackEntry:
    sent = FiveTuple(
        protocol=Protocol.TCP,
        source=ip_address(SEARCH),
        source_port=original,
        destination=TO.address,
        destination_port=TO.port,
    )
    after = replace(sent, source=ip_address(HOST_1), source_port=translated)
    return ConntrackEntry(node=NODE_1, original=sent, reply=after.reversed)


def proved(
    rule: str,
    ports: Sequence[tuple[int, int]],
    before: Sequence[PortUsage] = (),
    after: Sequence[PortUsage] = (),
    *,
    sent: bool = True,
) -> Snat:
    """`ports` are before and after translation."""
    question = resolve(
        Request(source="shop/search", destination=INTERNET, protocol=6, port=443, live=not sent), cluster()
    )
    asked = Asked(id="1", source=question.source, question=question, protocol=6, live=not sent)
    entries = tuple(entry(*each) for each in ports)
    opened = tuple(Connection(outcome=ProbeOutcome.ANSWERED, five_tuple=each.original, entry=each) for each in entries)
    found = Found(
        before=SurveyReport(usage=tuple(before)),
        seen=SurveyReport() if sent else SurveyReport(entries=entries, fresh=len(entries)),
        after=SurveyReport(usage=tuple(after)),
        opened=ConnectionsReport(connections=opened) if sent else None,
    )
    return answer(subject_of(asked, node(rule), cluster()), found, cluster())


MOVED = [(40_000 + n, 40_000 + n if n >= 12 else 10_000 + 997 * n) for n in range(64)]


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ([], [], SnatVerdict.CONTRADICTORY),
        ([used(CART, range(50_000, 60_000))], [], SnatVerdict.NOT_RANDOM),
        ([], [used(CART, range(50_000, 60_000))], SnatVerdict.NOT_RANDOM),
        ([used(CART, range(50_000, 60_000))], [used(CART, range(50_000, 60_000))], SnatVerdict.CONTRADICTORY),
        ([used(SEARCH, range(50_000, 60_000))], [], SnatVerdict.CONTRADICTORY),
    ],
    ids=["nobody", "went", "came", "stayed", "its own"],
)
def test_ports_that_come_and_go_excuse_changes_and_those_that_stay_or_are_its_own_do_not(
    before: Sequence[PortUsage], after: Sequence[PortUsage], verdict: SnatVerdict
) -> None:
    """Twelve of 64 were changed, and no survey saw anybody with their ports."""
    snat = proved(KEEPING, MOVED, before, after)
    assert snat.verdict is verdict, snat.summary


def test_heavy_use_that_surveys_saw_takes_no_more_pairs_of_those_that_count() -> None:
    """Half of the ports are in use, and so 32 of 64 do not count: the others are kept, and enough."""
    others = [used(CART, [*range(1_024, 33_000), *range(40_000, 40_032)])]
    snat = proved(
        KEEPING, [(40_000 + n, 40_000 + n if n >= 32 else 50_000 + 97 * n) for n in range(64)], others, others
    )
    assert snat.verdict is SnatVerdict.NOT_RANDOM, snat.summary
    assert snat.statistics is not None
    assert (snat.statistics.counted, snat.statistics.needed) == (32, 21)


def test_destinations_that_no_survey_tells_of_are_as_crowded_at_most_as_those_that_it_does() -> None:
    crowded = used(CART, range(50_000, 60_000), Socket(TO.address, 80))
    assert proved(KEEPING, MOVED, [crowded], [crowded], sent=False).verdict is SnatVerdict.NOT_RANDOM
    less = used(CART, range(5), Socket(TO.address, 81))
    assert proved(KEEPING, MOVED, [crowded, less], [crowded, less], sent=False).verdict is SnatVerdict.CONTRADICTORY


def test_a_block_of_ports_in_use_shifts_what_is_drawn() -> None:
    """Ports that keep to three quarters of the range are uneven, unless the fourth is in use."""
    block = range(20_000, 36_000)
    taken = bytearray(65_536)
    for port in block:
        taken[port] = 1
    ports = Ports(Chance(8), taken)  # noqa: S311 - a seeded simulation
    drawn = [(37_000 + n, ports.drawn(0) or 0) for n in range(400)]
    others = [used(CART, block)]
    assert proved(f"{KEEPING} --random-fully", drawn).verdict is SnatVerdict.CONTRADICTORY
    snat = proved(f"{KEEPING} --random-fully", drawn, others, others)
    assert snat.verdict is SnatVerdict.FULLY_RANDOM, snat.summary


SMALL = "! -d 192.168.0.0/16 -p tcp -j SNAT --to-source 192.168.1.29:40000-40299 --random-fully"


@pytest.mark.parametrize("count", [64, 200])
def test_a_range_of_a_few_hundred_ports_is_proved_with_the_sources_own_in_use(count: int) -> None:
    for seed in range(20):
        ports = Ports(Chance(seed), among=PortRange(first=40_000, last=40_299))  # noqa: S311 - a seeded simulation
        drawn = [(30_000 + n, ports.drawn(0) or 0) for n in range(count)]
        snat = proved(SMALL, drawn, [], [used(SEARCH, (port for _, port in drawn))])
        assert snat.verdict is SnatVerdict.FULLY_RANDOM, snat.summary
        assert snat.statistics is not None
        assert snat.statistics.needed <= 60


def test_a_range_that_is_too_small_for_any_number_of_connections_to_one_destination_says_so() -> None:
    drawn = [(30_000 + n, 40_000 + 7 * n % 40) for n in range(40)]
    snat = proved(SMALL.replace("40299", "40039"), drawn, [], [used(SEARCH, (port for _, port in drawn))])
    assert snat.verdict is SnatVerdict.INCONCLUSIVE
    assert (
        "40000 to 40039 are 40 ports, as many connections to one destination can be, and it takes more" in snat.summary
    )
    assert "Open more" not in snat.summary


def test_a_block_that_hides_how_the_rest_is_drawn_says_so() -> None:
    drawn = [(61_000 + n, 40_000 + 371 * n % 25_000) for n in range(64)]
    others = [used(CART, range(1_024, 36_000))]
    snat = proved(f"{KEEPING} --random-fully", drawn, others, others)
    assert snat.verdict is SnatVerdict.INCONCLUSIVE
    assert "that lie side by side are in use" in snat.summary


def test_ports_that_follow_each_other_where_hardly_any_other_is_free_are_drawn_all_the_same() -> None:
    """With 270 of 300 ports in use in the end, most draws go to the end of a run, and often to that of the last one."""
    range_ = PortRange(first=40_000, last=40_299)
    for seed in range(30):
        chance = Chance(seed)  # noqa: S311 - a seeded simulation
        held = chance.sample(range(40_000, 40_300), 170)
        taken = bytearray(65_536)
        for port in held:
            taken[port] = 1
        ports = Ports(chance, taken, range_)
        drawn = [(30_000 + n, ports.drawn(0) or 0) for n in range(100)]
        others = [used(CART, held)]
        snat = proved(SMALL, drawn, others, others)
        assert snat.verdict is not SnatVerdict.CONTRADICTORY, snat.summary
