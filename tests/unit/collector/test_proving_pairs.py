"""Source ports before and after NAT, from conntrack and from packets, and why some of them tell nothing."""

from dataclasses import replace
from ipaddress import ip_address
from random import Random as Chance

import pytest
from port_choice import Ports

from pathtap.collector.proving.pairs import (
    MAPPED,
    OLDER,
    Rewriting,
    opened_pairs,
    recorded_pairs,
    seen_leaving,
    weighed,
)
from pathtap.model.address import Address, FiveTuple, Socket
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.netfilter import Random
from pathtap.model.node import PortRange
from pathtap.model.packet import Direction, Headers, PacketObservation, TcpFlag, TcpHeader
from pathtap.model.request import Connection, ProbeOutcome
from pathtap.model.snat import PortPair
from pathtap.model.survey import PortUsage
from pathtap.model.trace import Witness

POD, OTHER, NODE = (ip_address(f"192.168.1.{last}") for last in (116, 117, 29))
OUTSIDE = Socket(ip_address("198.51.100.8"), 443)
SYN, SYN_ACK = TcpFlag.SYN, TcpFlag.SYN | TcpFlag.ACK


def flow(source: Address = POD, port: int = 41_000, protocol: int = 6, to: Socket = OUTSIDE) -> FiveTuple:
    return FiveTuple(
        protocol=protocol,
        source=source,
        source_port=port,
        destination=to.address,
        destination_port=to.port,
    )


def entry(original: FiveTuple, port: int, address: Address = NODE) -> ConntrackEntry:
    translated = replace(original, source=address, source_port=port)
    return ConntrackEntry(node="n", original=original, reply=translated.reversed)


def observed(
    seen: FiveTuple, interface: str, direction: Direction, *, sequence: int = 0, flags: TcpFlag = SYN
) -> PacketObservation:
    tcp = TcpHeader(flags=flags, sequence=sequence, acknowledgment=0)
    headers = Headers(five_tuple=seen, ttl=63, length=60, tcp=tcp)
    return PacketObservation(
        node="n", sequence=1, capture="c", captured_at=1, interface=interface, direction=direction, headers=headers
    )


def pair(original: int = 41_000, translated: int = 5_000, *, address: Address = NODE, protocol: int = 6) -> PortPair:
    return PortPair(
        protocol=protocol,
        original=Socket(POD, original),
        translated=Socket(address, translated),
        destination=OUTSIDE,
        witnesses=(Witness.RECORDED,),
    )


def held(source: Address, port: int, destination: Socket = OUTSIDE, translated: Address = NODE) -> PortUsage:
    return PortUsage(protocol=6, destination=destination, translated=translated, source=source, ports=(port,))


def reason(one: PortPair, rewriting: Rewriting, *usage: PortUsage, sent: bool = True) -> str:
    (weighed_one,) = weighed([one], rewriting, usage, sent=sent)
    return weighed_one.discounted


RANDOM = Rewriting(random=Random.FULLY, gives=NODE)
PLAIN = Rewriting(random=Random.NONE, gives=NODE)


def test_a_connection_is_recorded_and_the_eni_saw_its_packet() -> None:
    sent = flow()
    connection = Connection(outcome=ProbeOutcome.ANSWERED, five_tuple=sent, entry=entry(sent, 50_712))
    left = replace(sent, source=NODE, source_port=50_712)
    seen = seen_leaving(
        [observed(sent, "eni1", Direction.IN), observed(left, "eth0", Direction.OUT)], frozenset({"eth0"})
    )
    (found,) = opened_pairs([connection], seen)
    assert (found.original, found.translated) == (Socket(POD, 41_000), Socket(NODE, 50_712))
    assert found.witnesses == (Witness.RECORDED, Witness.OBSERVED)
    assert found.interface == "eth0"


def test_without_an_entry_a_syn_is_known_again_by_its_sequence_number() -> None:
    sent, other = flow(), flow(port=41_001)
    connections = [Connection(outcome=ProbeOutcome.REFUSED, five_tuple=each) for each in (sent, other)]
    packets = [
        observed(sent, "eni1", Direction.IN, sequence=7),
        observed(other, "eni1", Direction.IN, sequence=9),
        observed(replace(other, source=NODE, source_port=2_222), "eth0", Direction.OUT, sequence=9),
        observed(replace(sent, source=NODE, source_port=1_111), "eth0", Direction.OUT, sequence=7),
        observed(replace(sent, source=NODE, source_port=3_333).reversed, "eth0", Direction.IN, flags=SYN_ACK),
    ]
    found = opened_pairs(connections, seen_leaving(packets, frozenset({"eth0"})))
    assert [each.translated.port for each in found] == [1_111, 2_222]
    assert {each.witnesses for each in found} == {(Witness.OBSERVED,)}


def test_a_connection_of_which_nothing_is_known_makes_no_pair() -> None:
    connections = [
        Connection(outcome=ProbeOutcome.FAILED, detail="no route"),
        Connection(outcome=ProbeOutcome.SILENT, five_tuple=flow()),
    ]
    assert opened_pairs(connections, seen_leaving((), frozenset())) == ()


def test_an_identifier_stands_for_icmps_port() -> None:
    echo = flow(protocol=1, port=77, to=Socket(OUTSIDE.address, 0))
    (found,) = recorded_pairs([entry(echo, 54_490)])
    assert (found.original.port, found.translated.port) == (77, 54_490)
    assert found.destination == Socket(OUTSIDE.address, 0)


def test_after_dnat_the_destination_is_where_the_packets_go() -> None:
    original = flow(to=Socket(ip_address("10.100.0.20"), 80))
    translated = flow(source=NODE, port=1_024, to=Socket(OTHER, 8080))
    recorded = ConntrackEntry(node="n", original=original, reply=translated.reversed)
    (found,) = recorded_pairs([recorded])
    assert found.destination == Socket(OTHER, 8080)


def test_a_pair_counts_unless_something_says_why_not() -> None:
    assert reason(pair(), RANDOM) == ""


@pytest.mark.parametrize("port", [0, 1, 511, 512, 1023])
def test_ports_below_1024_keep_their_class(port: int) -> None:
    assert "below 1024" in reason(pair(original=port), RANDOM)


def test_identifiers_have_no_classes() -> None:
    assert reason(pair(original=7, protocol=1), RANDOM) == ""


def test_a_port_that_another_held_tells_nothing() -> None:
    assert "192.168.1.117 held its port" in reason(pair(), PLAIN, held(OTHER, 41_000))


@pytest.mark.parametrize(
    "usage",
    [
        held(OTHER, 41_001),
        held(OTHER, 41_000, Socket(OUTSIDE.address, 80)),
        held(OTHER, 41_000, translated=OTHER),
    ],
    ids=["another port", "another destination", "another address"],
)
def test_what_nobody_else_held_counts(usage: PortUsage) -> None:
    assert reason(pair(), PLAIN, usage) == ""


def test_a_port_that_was_kept_is_held_by_the_pair_itself_and_one_that_was_changed_is_not() -> None:
    assert reason(pair(translated=41_000), PLAIN, held(POD, 41_000)) == ""
    assert "another connection of its own held its port" in reason(pair(), PLAIN, held(POD, 41_000))


def test_an_entry_that_was_there_before_says_nothing_of_the_rules_of_now() -> None:
    before = (held(POD, 5_000), held(OTHER, 5_001))
    told = weighed([pair(), pair(41_001, 5_001)], RANDOM, (), sent=True, before=before)
    assert [each.discounted for each in told] == [OLDER, ""]
    assert not weighed([pair()], RANDOM, (), sent=False, before=before)[0].discounted


def test_a_range_of_the_rules_own_makes_a_flagless_rule_move_ports() -> None:
    own = PortRange(first=2_000, last=3_000)
    assert "2000 to 3000" in reason(pair(translated=2_500), replace(PLAIN, ports=own))
    assert reason(pair(original=2_400, translated=2_400), replace(PLAIN, ports=own)) == ""
    assert reason(pair(translated=2_500), replace(RANDOM, ports=own)) == ""


def test_an_entry_that_is_older_than_the_rule_tells_nothing_but_a_new_connection_does() -> None:
    as_it_was = pair(translated=41_000, address=POD)
    assert "before the rule" in reason(as_it_was, RANDOM, sent=False)
    assert reason(as_it_was, RANDOM, sent=True) == ""


# A mapping that a source socket has is reused towards other destinations, unless a flag forbids it.

ELSEWHERE = Socket(OUTSIDE.address, 1_063)


def test_a_port_that_the_source_socket_has_elsewhere_already_tells_nothing_of_a_rule_without_a_flag() -> None:
    mapped = entry(flow(to=ELSEWHERE), 5_000)
    for rewriting, why in ((PLAIN, MAPPED), (RANDOM, "")):
        (told,) = weighed([pair()], rewriting, (), sent=True, mappings=[mapped])
        assert told.discounted == why


@pytest.mark.parametrize(
    "mapped",
    [
        entry(flow(), 5_000),
        entry(flow(to=ELSEWHERE), 5_001),
        entry(flow(to=ELSEWHERE, port=41_001), 5_000),
        entry(flow(to=ELSEWHERE, protocol=17), 5_000),
        entry(flow(to=ELSEWHERE), 5_000, OTHER),
    ],
    ids=["the pair itself", "another port", "another socket", "another protocol", "another address"],
)
def test_other_mappings_explain_nothing(mapped: ConntrackEntry) -> None:
    (told,) = weighed([pair()], PLAIN, (), sent=True, mappings=[mapped])
    assert told.discounted == ""


def test_one_socket_that_a_collision_moved_counts_once_over_all_destinations_or_never_where_the_collision_is_seen() -> (
    None
):
    """The kernel's choice of one socket's port towards 64 destinations, towards the first of which another has the port."""
    mapped: dict[int, int] = {}
    towards = [Ports(Chance(3), mapped=mapped) for _ in range(64)]  # noqa: S311 - a seeded simulation
    towards[0].taken[5_060] = 1
    seen = []
    for number, ports in enumerate(towards):
        port = mapped[5_060] = ports.kept(5_060) or 0
        seen.append(replace(pair(5_060, port, protocol=17), destination=Socket(OUTSIDE.address, 1_000 + number)))
    assert {each.translated.port for each in seen} == {mapped[5_060]}
    assert mapped[5_060] != 5_060
    entries = [entry(flow(port=5_060, protocol=17, to=each.destination), each.translated.port) for each in seen]
    told = weighed(seen, PLAIN, (), sent=False, mappings=entries)
    assert [each.discounted for each in told] == ["", *[MAPPED] * 63]
    other = PortUsage(protocol=17, destination=seen[0].destination, translated=NODE, source=OTHER, ports=(5_060,))
    told = weighed(seen, PLAIN, [other], sent=False, mappings=entries)
    assert "held its port" in told[0].discounted
    assert {each.discounted for each in told[1:]} == {MAPPED}


def test_one_socket_that_keeps_its_port_counts_towards_every_destination() -> None:
    seen = [replace(pair(5_060, 5_060), destination=Socket(OUTSIDE.address, 1_000 + number)) for number in range(64)]
    assert not any(each.discounted for each in weighed(seen, PLAIN, (), sent=False))
