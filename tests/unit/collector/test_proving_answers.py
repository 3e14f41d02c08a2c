"""Present connections that meet other rules than the packet that stands for them: none hides behind it, none vanishes."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from small_cluster import CART, HOST_1, INTERNET, NODE_1, ORDERS, REDIS, SEARCH, SERVICE, WEB, cluster, node_1

from pathtap.collector.cluster.resolve import Request, resolve, resolve_source
from pathtap.collector.proving.answers import answer, rows
from pathtap.collector.proving.subject import Asked, Found, subject_of, subjects_of_node
from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.netfilter import NetfilterRule
from pathtap.model.node import CniSettings, NodeSnapshot
from pathtap.model.request import Connection, ConnectionsReport, ProbeOutcome
from pathtap.model.snat import Snat, SnatVerdict
from pathtap.model.survey import SurveyReport

TCP, UDP = Protocol.TCP, Protocol.UDP
OTHER = "203.0.113.9"
FOR_UDP = "-p udp ! -d 192.168.0.0/16 -j MASQUERADE"
FOR_ALL = "-p tcp ! -d 192.168.0.0/16 -j MASQUERADE"
FOR_OTHER = "-d 203.0.113.0/24 -j MASQUERADE"


def node(*first: str) -> NodeSnapshot:
    """The VPC CNI is set to prng; `first` are rules of POSTROUTING before all others."""
    read = replace(node_1(), kernel="6.1.112", settings=CniSettings(), vpc_networks=(ip_network("192.168.0.0/16"),))
    sets = [each for each in read.rule_sets if each.table != "nat"]
    (nat,) = (each for each in read.rule_sets if each.table == "nat")
    chains = []
    for chain in nat.chains:
        texts = [each.text for each in chain.rules]
        texts = [*first, *texts] if chain.name == "POSTROUTING" else texts
        rules = tuple(NetfilterRule(position=number, text=text) for number, text in enumerate(texts, 1))
        chains.append(replace(chain, rules=rules))
    return replace(read, rule_sets=(*sets, replace(nat, chains=tuple(chains))))


def entries(
    count: int,
    destination: str = INTERNET,
    protocol: int = TCP,
    *,
    kept: bool = False,
    source: str = SEARCH,
    given: str = HOST_1,
    reached: tuple[str, int] | None = None,
) -> tuple[ConntrackEntry, ...]:
    """With ports drawn at random, or kept. `reached` is where DNAT led them."""
    chance = random.Random(int(ip_address(source)))  # noqa: S311 - a fixed sequence of each source
    port = 80 if destination == SERVICE else 443
    found = []
    for number in range(count):
        before = 40_000 + 2 * number
        flow = FiveTuple(
            protocol=protocol,
            source=ip_address(source),
            source_port=before,
            destination=ip_address(destination),
            destination_port=port,
        )
        far, far_port = reached or (destination, port)
        after = replace(
            flow,
            source=ip_address(given),
            source_port=before if kept else 1024 + chance.randrange(64_512),
            destination=ip_address(far),
            destination_port=far_port,
        )
        found.append(ConntrackEntry(node=NODE_1, original=flow, reply=after.reversed))
    return tuple(found)


def inside(count: int, destination: str = REDIS) -> tuple[ConntrackEntry, ...]:
    return entries(count, destination, kept=True, given=SEARCH)


def found_of(seen: Sequence[ConntrackEntry], left_off: int = 0) -> Found:
    report = SurveyReport()
    return Found(before=report, seen=SurveyReport(entries=tuple(seen), left_off=left_off), after=report)


def proved(snapshot: NodeSnapshot, *seen: ConntrackEntry, left_off: int = 0) -> Snat:
    source = resolve_source("shop/search", "", cluster(), live=False)
    subject = subject_of(Asked(id="1", source=source), snapshot, cluster())
    return answer(subject, found_of(seen, left_off), cluster())


def table(snapshot: NodeSnapshot, *seen: ConntrackEntry) -> tuple[Snat, ...]:
    subjects, gaps = subjects_of_node("1", snapshot, cluster())
    return rows(subjects, replace(found_of(seen), gaps=gaps), cluster())


@pytest.mark.parametrize(
    ("rule", "others"),
    [(FOR_UDP, entries(30, protocol=UDP, kept=True)), (FOR_OTHER, entries(30, OTHER, kept=True))],
    ids=["protocol", "destination"],
)
def test_a_rule_for_some_connections_only_is_the_answer_where_it_is_worse(
    rule: str, others: tuple[ConntrackEntry, ...]
) -> None:
    snat = proved(node(rule), *entries(64), *others)
    assert (snat.verdict, snat.as_intended, len(snat.pairs)) == (SnatVerdict.NOT_IN_EFFECT, False, 30)
    assert snat.rule is not None
    assert snat.rule.chain == "POSTROUTING"
    assert f"{others[0].original.destination}:443 ({'udp' if rule == FOR_UDP else 'tcp'})" in snat.summary
    assert (
        f"64 other connections, to {INTERNET}:443 (tcp), meet nat AWS-SNAT-CHAIN-0 #2 (VPC CNI, iptables-nft) with "
        "--random-fully: FULLY_RANDOM, as intended." in snat.summary
    )


def test_a_rule_as_good_is_told_beside_the_answer() -> None:
    snat = proved(node(f"{FOR_OTHER} --random-fully"), *entries(64), *entries(60, OTHER))
    assert (snat.verdict, len(snat.pairs)) == (SnatVerdict.FULLY_RANDOM, 64)
    assert snat.rule is not None
    assert snat.rule.chain == "AWS-SNAT-CHAIN-0"
    assert f"60 other connections, to {OTHER}:443 (tcp), meet nat POSTROUTING #1" in snat.summary


def test_a_stray_connection_that_tells_nothing_leaves_open_nothing_that_was_asked_about() -> None:
    snat = proved(node(f"{FOR_OTHER} --random-fully"), *entries(64), *entries(1, OTHER))
    assert (snat.verdict, len(snat.pairs)) == (SnatVerdict.FULLY_RANDOM, 64)
    assert f"1 other connection, to {OTHER}:443 (tcp), meets" in snat.summary
    assert "INCONCLUSIVE" in snat.summary


def test_what_stays_inside_the_vpc_hides_nothing_and_is_counted() -> None:
    snat = proved(node(), *inside(40), *entries(64), *inside(3, ORDERS))
    assert (snat.verdict, len(snat.pairs)) == (SnatVerdict.FULLY_RANDOM, 64)
    assert f"43 other connections, to {REDIS}:443 (tcp) and 1 other destination, meet no rule" in snat.summary
    without = replace(node(), settings=None, vpc_networks=())
    assert proved(without, *inside(40), *entries(64)).verdict is SnatVerdict.FULLY_RANDOM
    assert proved(node(), *inside(40)).verdict is SnatVerdict.INCONCLUSIVE


def test_a_backend_that_dnat_chose_is_walked_with_it() -> None:
    """The pod behind a Service comes to itself by kube-proxy's rule for that alone, others by none."""
    snapshot = node()
    source = resolve_source("shop/web", "", cluster(), live=False)
    subject = subject_of(Asked(id="1", source=source), snapshot, cluster())
    hairpin = entries(2, SERVICE, source=WEB, reached=(WEB, 8080))
    away = entries(5, SERVICE, source=WEB, reached=(ORDERS, 8080), kept=True, given=WEB)
    snat = answer(subject, found_of((*entries(64, source=WEB), *hairpin, *away)), cluster())
    assert "5 other connections" in snat.summary
    assert "2 other connections" in snat.summary
    assert "KUBE-POSTROUTING" in snat.summary
    assert (snat.verdict, len(snat.pairs)) == (SnatVerdict.FULLY_RANDOM, 64)


def test_nothing_vanishes_that_is_beyond_a_bound() -> None:
    many = [each for number in range(1010) for each in entries(1, f"203.0.{113 + number // 250}.{number % 250 + 1}")]
    snat = proved(node(), *many, left_off=25_000)
    whys = [gap.why for gap in snat.gaps]
    assert "10 entries were left out after 1000 different destinations" in whys
    assert "the newest 1,010 of 26,010 connections were looked at" in whys
    assert not any(gap.decisive for gap in snat.gaps)
    rules = [f"-d 203.0.113.{number + 1}/32 -j MASQUERADE --random-fully" for number in range(30)]
    snat = proved(node(*rules), *many[:30])
    assert "15 entries were left out that meet yet other rules, after 16 kinds of traffic" in {g.why for g in snat.gaps}
    assert "more meet other rules." in snat.summary


def live(snapshot: NodeSnapshot, *seen: ConntrackEntry, protocol: int = 0) -> Snat:
    request = Request(source="shop/search", destination=INTERNET, live=True)
    question = resolve(request, cluster())
    asked = Asked(id="1", source=question.source, question=question, live=True, protocol=protocol)
    return answer(subject_of(asked, snapshot, cluster()), found_of(seen), cluster())


def test_where_any_protocol_is_meant_connections_are_walked_by_their_own() -> None:
    rule = "-p icmp -d 198.51.100.0/24 -j MASQUERADE"
    snat = live(node(rule), *entries(64))
    assert (snat.verdict, snat.protocol) == (SnatVerdict.FULLY_RANDOM, 0)
    assert "icmp" not in snat.summary
    snat = live(node(FOR_UDP), *entries(64, protocol=UDP, kept=True))
    assert (snat.verdict, len(snat.pairs)) == (SnatVerdict.NOT_IN_EFFECT, 64)
    # TCP, which none of them has, is not held against them.
    snat = live(node(f"{FOR_UDP} --random-fully"), *entries(64, protocol=UDP))
    assert (snat.verdict, len(snat.pairs)) == (SnatVerdict.FULLY_RANDOM, 64)


# Rules that read source ports: the packet that stands for all has one of its own.

RANDOM_BELOW = "! -d 192.168.0.0/16 -p tcp -m tcp --sport 1024:40063 -j MASQUERADE --random-fully"
KEEPING_BELOW = "! -d 192.168.0.0/16 -p tcp -m tcp --sport 1024:40063 -j MASQUERADE"


def opened(snapshot: NodeSnapshot, *recorded: ConntrackEntry) -> Snat:
    question = resolve(Request(source="shop/search", destination=INTERNET, protocol=TCP, port=443), cluster())
    asked = Asked(id="1", source=question.source, question=question, protocol=TCP)
    connections = tuple(
        Connection(outcome=ProbeOutcome.ANSWERED, five_tuple=each.original, entry=each) for each in recorded
    )
    found = replace(found_of(()), opened=ConnectionsReport(connections=connections))
    return answer(subject_of(asked, snapshot, cluster()), found, cluster())


def test_opened_connections_are_judged_by_the_rules_that_their_own_source_ports_meet() -> None:
    """Those from 40000 to 40062 meet the rule with the flag, the others one without."""
    drawn, kept = entries(200)[:32], entries(100, kept=True)[32:]
    snat = opened(node(RANDOM_BELOW, FOR_ALL), *drawn, *kept)
    assert (snat.verdict, len(snat.pairs)) == (SnatVerdict.NOT_IN_EFFECT, 68)
    assert "32 other connections" in snat.summary
    assert "nat POSTROUTING #1" in snat.summary
    assert snat.opened is not None
    assert snat.opened.total == 100


def test_where_every_opened_connection_meets_another_rule_than_the_sample_that_one_is_the_answer() -> None:
    snat = opened(node(KEEPING_BELOW), *entries(32, kept=True))
    assert (snat.verdict, len(snat.pairs)) == (SnatVerdict.NOT_IN_EFFECT, 32)
    assert snat.rule is not None
    assert snat.rule.chain == "POSTROUTING"
    assert "other connections" not in snat.summary
    assert "None of" not in snat.summary


def test_present_connections_too_are_told_apart_by_source_ports() -> None:
    snat = proved(node(KEEPING_BELOW), *entries(32, kept=True), *entries(100)[32:])
    assert (snat.verdict, len(snat.pairs)) == (SnatVerdict.NOT_IN_EFFECT, 32)
    assert "68 other connections" in snat.summary


# Every node's rows.


def first_rules(found: Iterable[Snat]) -> list[tuple[str, str]]:
    return [(each.rule.chain if each.rule else "", each.verdict.name) for each in found]


def test_every_pod_of_a_node_is_asked_about() -> None:
    mine = f"-s {WEB}/32 ! -d 192.168.0.0/16 -j MASQUERADE"
    assert first_rules(table(node())) == [("AWS-SNAT-CHAIN-0", "INCONCLUSIVE")]
    found = table(node(mine), *entries(64), *entries(64, source=CART), *entries(30, source=WEB, kept=True))
    assert first_rules(found) == [("AWS-SNAT-CHAIN-0", "FULLY_RANDOM"), ("POSTROUTING", "NOT_IN_EFFECT")]
    assert [len(each.pairs) for each in found] == [128, 30]
    assert f"shop/web of {NODE_1}" in found[1].summary


def test_rules_that_present_connections_alone_meet_have_a_row() -> None:
    found = table(node(FOR_UDP), *entries(64), *entries(30, protocol=UDP, kept=True))
    assert first_rules(found) == [("AWS-SNAT-CHAIN-0", "FULLY_RANDOM"), ("POSTROUTING", "NOT_IN_EFFECT")]


def test_a_row_counts_pods_connections_not_the_nodes_own() -> None:
    agents = entries(20, "169.254.169.254", source=HOST_1)
    (row,) = table(node(), *entries(64), *agents)
    assert len(row.pairs) == 64


def test_chains_that_egress_cni_writes_for_each_pod_have_one_row() -> None:
    pods = [f"169.254.172.{number}" for number in range(2, 30)]
    rules = [f"-s {pod}/32 -j CNI-E4-{number:024x}" for number, pod in enumerate(pods)]
    snapshot = node(*rules)
    (nat,) = (each for each in snapshot.rule_sets if each.table == "nat")
    like = next(each for each in nat.chains if each.name == "AWS-SNAT-CHAIN-0")
    chains = []
    for number, _ in enumerate(pods):
        flag = "" if number == 20 else " --random-fully"
        snats = (NetfilterRule(position=1, text=f"-j SNAT --to-source {HOST_1}{flag}"),)
        chains.append(replace(like, name=f"CNI-E4-{number:024x}", rules=snats))
    sets = tuple(replace(each, chains=(*each.chains, *chains)) if each is nat else each for each in snapshot.rule_sets)
    link = next(each for each in snapshot.routes if each.text.startswith(f"{CART}/32"))
    more = tuple(replace(link, destination=ip_network(pod), text=f"{pod} dev enicart") for pod in pods)
    snapshot = replace(snapshot, rule_sets=sets, routes=(*snapshot.routes, *more))
    seen = [each for pod in pods for each in entries(3, source=pod)]
    found = table(snapshot, *seen)
    assert [each.rule.chain[:6] for each in found if each.rule] == ["AWS-SN", "CNI-E4", "CNI-E4"]
    assert [len(each.pairs) for each in found] == [0, 27 * 3, 3]
    assert "Traffic from shop/cart of" in found[2].summary


def test_connections_that_came_while_watching_are_told_from_older_ones_of_each_kind() -> None:
    """As many of both kinds were there already, with ports that the rules of now do not choose."""
    there = (*entries(64, kept=True), *entries(64, OTHER))
    came = (*entries(64), *entries(60, OTHER, kept=True))
    question = resolve(Request(source="shop/search", destination=INTERNET, live=True), cluster())
    asked = Asked(id="1", source=question.source, question=question, live=True)
    snapshot = node("-d 203.0.113.0/24 -j MASQUERADE --random-fully")
    found = replace(found_of(()), seen=SurveyReport(entries=(*there, *came), fresh=len(came)))
    snat = answer(subject_of(asked, snapshot, cluster()), found, cluster())
    assert snat.verdict is SnatVerdict.CONTRADICTORY
    assert snat.statistics is not None
    assert (snat.statistics.counted, snat.statistics.preserved, len(snat.pairs)) == (60, 60, 124)
    assert "128 other connections" in snat.summary
    assert "FULLY_RANDOM, as intended" in snat.summary


def test_what_connections_of_one_kind_are_mapped_to_others_reuse() -> None:
    """A rule with the flag draws ports towards one destination, one without reuses them towards another."""
    there, here = entries(64, OTHER), entries(64)
    assert [each.reply.destination_socket for each in there] == [each.reply.destination_socket for each in here]
    snapshot = node("-d 203.0.113.0/24 -j MASQUERADE --random-fully", "! -d 192.168.0.0/16 -j MASQUERADE")
    source = resolve_source("shop/search", "", cluster(), live=True)
    subject = subject_of(Asked(id="1", source=source, live=True), replace(snapshot, settings=None), cluster())
    for seen, verdict in ((here, SnatVerdict.CONTRADICTORY), ((*there, *here), SnatVerdict.NOT_IN_EFFECT)):
        found = replace(found_of(()), seen=SurveyReport(entries=tuple(seen), fresh=len(seen)))
        snat = answer(subject, found, cluster())
        assert snat.verdict is verdict, snat.summary
        assert snat.rule is not None
        assert not snat.rule.text.endswith("--random-fully")
        assert sum(not each.discounted for each in snat.pairs) == (64 if seen is here else 0)
