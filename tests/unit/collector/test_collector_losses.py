"""Losses that no rule and no route explains: what packets, entries, programs and counters say of them."""

from dataclasses import replace

from journeys import (
    CART_REDIS,
    CART_TO_REDIS,
    answered,
    codes,
    datagram,
    echo,
    entry,
    flow,
    handshake,
    icmp_error,
    question,
    record,
    silent,
    syn,
    syn_ack,
    trace_of,
    travel,
    verdict,
)
from small_cluster import CART, HOST_1, INTERNET, NODE_1, NODE_2, REDIS, SEARCH, chain, node_1, node_2

from pathtap.collector.record import Record
from pathtap.model.address import FiveTuple
from pathtap.model.netfilter import Backend, RuleSet
from pathtap.model.node import TcProgram
from pathtap.model.packet import Headers
from pathtap.model.trace import Finding, Severity, Trace, Witness

TO_REDIS = question("shop/cart", "shop/redis", 6379)
STOPPED = travel(syn(CART_REDIS), *CART_TO_REDIS[:3])


def finding(trace: Trace, code: str) -> Finding:
    return next(finding for finding in trace.verdict.findings if finding.code == code)


def witnesses(found: Finding) -> set[Witness]:
    return {evidence.witness for evidence in found.evidence}


def counting(gathered: Record, node: str, **counters: tuple[int, int]) -> Record:
    """The record with counters of that node before and after, `__` for a dot."""
    before = {name.replace("__", "."): pair[0] for name, pair in counters.items()}
    after = {name.replace("__", "."): pair[1] for name, pair in counters.items()}
    snapshot = gathered.snapshots[node]
    return replace(
        gathered,
        snapshots={**gathered.snapshots, node: replace(snapshot, counters=before)},
        since={node: replace(snapshot, counters=after)},
    )


# tc programs.


def test_a_program_between_the_taps_is_named() -> None:
    program = TcProgram(interface="eniredis", hook="egress", kind="bpf", name="handle_ingress", id=7)
    far = replace(node_2(), programs=(program,))
    trace = trace_of(record(TO_REDIS, [silent(CART_REDIS)], STOPPED, snapshots=[node_1(), far]))
    assert verdict(trace) == ("DROPPED", "NOT_SEEN", ["TC_PROGRAM_DROP"])
    assert "handle_ingress" in trace.verdict.findings[0].text
    assert witnesses(trace.verdict.findings[0]) == {Witness.OBSERVED, Witness.EXPECTED}


def test_a_program_that_the_packet_does_not_pass_is_not_named() -> None:
    elsewhere = (
        TcProgram(interface="eniredis", hook="ingress", kind="bpf"),
        TcProgram(interface="eniorders", hook="egress", kind="bpf"),
    )
    far = replace(node_2(), programs=elsewhere)
    trace = trace_of(record(TO_REDIS, [silent(CART_REDIS)], STOPPED, snapshots=[node_1(), far]))
    assert codes(trace) == ["DROPPED_UNEXPLAINED"]


def test_a_program_on_a_path_that_works_is_no_finding() -> None:
    far = replace(node_2(), programs=(TcProgram(interface="eniredis", hook="egress", kind="bpf"),))
    assert codes(trace_of(record(TO_REDIS, [answered(CART_REDIS)], handshake(), snapshots=[node_1(), far]))) == []


# Frames for another MAC.


def test_a_pod_that_sends_to_a_stale_mac() -> None:
    seen = [replace(each, for_another=True) for each in travel(syn(CART_REDIS), "1 enicart in")]
    trace = trace_of(record(TO_REDIS, [silent(CART_REDIS)], seen))
    assert verdict(trace) == ("DROPPED", "NOT_SEEN", ["GATEWAY_NEIGHBOUR_STALE"])
    assert "shop/cart" in trace.verdict.findings[0].text


# Counters.


def test_an_entry_that_conntrack_could_not_insert() -> None:
    seen = travel(syn(CART_REDIS), "1 enicart in")
    gathered = counting(
        record(TO_REDIS, [silent(CART_REDIS)], seen), NODE_1, conntrack__insert_failed=(4, 6), conntrack__drop=(4, 6)
    )
    trace = trace_of(gathered)
    assert verdict(trace) == ("DROPPED", "NOT_SEEN", ["CONNTRACK_INSERT_FAILED"])
    assert "2 times" in trace.verdict.findings[0].text
    assert Witness.RECORDED in witnesses(trace.verdict.findings[0])


def test_the_rule_that_leaves_too_few_ports_is_named() -> None:
    of = flow(SEARCH, INTERNET, 443)
    few = "-s 192.168.1.116/32 -p tcp -j SNAT --to-source 192.168.1.29:50000"
    table = RuleSet(
        backend=Backend.NFT,
        family="ip",
        table="nat",
        chains=(chain("POSTROUTING", few, hook="postrouting", priority=100, kind="nat"),),
    )
    snapshot = replace(node_1(), rule_sets=(table,))
    asked, seen = question("shop/search", INTERNET, 443), travel(syn(of), "1 enisearch in")
    gathered = record(asked, [silent(of)], seen, snapshots=[snapshot, node_2()])
    found = trace_of(counting(gathered, NODE_1, conntrack__insert_failed=(4, 6))).verdict.findings
    (failed,) = [each for each in found if each.code == "CONNTRACK_INSERT_FAILED"]
    assert few in failed.text
    assert "more ports than 50000-50000" in failed.fix


def test_a_counter_that_stood_still_or_rose_elsewhere_explains_nothing() -> None:
    seen = travel(syn(CART_REDIS), "1 enicart in")
    gathered = record(TO_REDIS, [silent(CART_REDIS)], seen)
    assert codes(trace_of(counting(gathered, NODE_1, conntrack__insert_failed=(4, 4)))) == ["DROPPED_UNEXPLAINED"]
    assert codes(trace_of(counting(gathered, NODE_2, conntrack__insert_failed=(4, 9)))) == ["DROPPED_UNEXPLAINED"]


# MTU.


def test_a_packet_that_is_too_big_for_the_way_out() -> None:
    of = flow(CART, INTERNET, 0, 7, 1)
    seen = [
        *travel(replace(echo(of), length=4028), "1 enicart in"),
        *travel(replace_mtu(HOST_1, of, 1300), "1 enicart out", start=1),
    ]
    trace = trace_of(record(question("shop/cart", INTERNET), [silent(of)], seen))
    assert verdict(trace) == ("DROPPED", "NOT_SEEN", ["MTU_TOO_SMALL"])
    assert "4028" in trace.verdict.findings[0].text
    assert "1300" in trace.verdict.findings[0].text
    assert trace.verdict.findings[0].node == NODE_1


def replace_mtu(sender: str, of: FiveTuple, mtu: int) -> Headers:
    error = icmp_error(sender, of, code=4)
    assert error.icmp is not None
    return replace(error, icmp=replace(error.icmp, mtu=mtu))


# Asymmetry.


def test_an_answer_by_another_eni_than_the_request() -> None:
    of = flow(CART, REDIS)
    there = travel(syn(of), *CART_TO_REDIS)
    back = travel(syn_ack(of), "2 eniredis in", "2 eth1 out", "1 eth0 in", "1 enicart out", start=1)
    trace = trace_of(record(TO_REDIS, [answered(of)], [*there, *back]))
    found = finding(trace, "ASYMMETRIC_REPLY")
    assert (found.node, found.severity) == (NODE_2, Severity.WARNING)
    assert len(found.evidence) == 2


def test_the_same_eni_there_and_back_is_no_finding() -> None:
    assert codes(trace_of(record(TO_REDIS, [answered(CART_REDIS)], handshake()))) == []


# Entries older than the rules.

OLD = flow(SEARCH, INTERNET, 53, 40_000, 17)
UNDER_WAY = travel(datagram(OLD), "1 enisearch in", "1 eth1 out")
TO_DNS = question("shop/search", INTERNET, 53, 17, live=True)


def test_an_entry_without_the_translation_of_today() -> None:
    trace = trace_of(record(TO_DNS, (), UNDER_WAY, sent=[OLD], entries=[entry("1", OLD)]))
    found = finding(trace, "CONNTRACK_ENTRY_STALE")
    assert "translates no source" in found.text
    assert HOST_1 in found.text
    assert "--sport 40000 --dport 53" in found.fix
    assert witnesses(found) == {Witness.RECORDED, Witness.EXPECTED}


def test_an_entry_as_the_rules_of_today_would_make_it() -> None:
    made = entry("1", OLD, source=f"{HOST_1}:50712", mark=0x80)
    left = travel(datagram(OLD), "1 enisearch in", ("1 eth0 out", flow(HOST_1, INTERNET, 53, 50_712, 17)))
    assert "CONNTRACK_ENTRY_STALE" not in codes(trace_of(record(TO_DNS, (), left, sent=[OLD], entries=[made])))
