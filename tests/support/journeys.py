"""Packets on their way through the small cluster, written as the places that they came by, and the traces made of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address

from small_cluster import CART, NODES, NOON, REDIS, cluster, node_1, node_2

from pathtap.collector.cluster.inventory import Inventory
from pathtap.collector.cluster.resolve import Question, Request, resolve
from pathtap.collector.record import Record
from pathtap.collector.telling.assemble import Answers, assemble, lay_out
from pathtap.model.address import FiveTuple, Protocol
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.node import NodeSnapshot
from pathtap.model.packet import Direction, Headers, IcmpHeader, Lost, PacketObservation, TcpFlag, TcpHeader
from pathtap.model.request import ProbeOutcome, ProbeReport
from pathtap.model.trace import Gap, Trace

CAPTURE = "trace-1"
MILLISECOND = 1_000_000


# Packets.


def flow(source: str, destination: str, port: int = 6379, source_port: int = 41_000, protocol: int = 6) -> FiveTuple:
    """For ICMP, `source_port` is the identifier and `port` must be 0."""
    return FiveTuple(
        protocol=protocol,
        source=ip_address(source),
        source_port=source_port,
        destination=ip_address(destination),
        destination_port=port,
    )


def syn(of: FiveTuple, *, ip_id: int = 7, sequence: int = 1000) -> Headers:
    return segment(of, TcpFlag.SYN, ip_id=ip_id, sequence=sequence)


def syn_ack(of: FiveTuple, *, ip_id: int = 0, sequence: int = 9000, acknowledges: int = 1001) -> Headers:
    """What answers a SYN of the flow `of`; a listening socket of Linux sends it with IP id 0."""
    return segment(of.reversed, TcpFlag.SYN | TcpFlag.ACK, ip_id=ip_id, sequence=sequence, acknowledgment=acknowledges)


def reset(of: FiveTuple, *, acknowledges: int = 1001) -> Headers:
    return segment(of.reversed, TcpFlag.RST | TcpFlag.ACK, acknowledgment=acknowledges)


def segment(of: FiveTuple, flags: TcpFlag, *, ip_id: int = 0, sequence: int = 0, acknowledgment: int = 0) -> Headers:
    tcp = TcpHeader(flags=flags, sequence=sequence, acknowledgment=acknowledgment)
    return Headers(five_tuple=of, ttl=64, length=60, ip_id=ip_id, tcp=tcp)


def datagram(of: FiveTuple, *, ip_id: int = 0, length: int = 66) -> Headers:
    return Headers(five_tuple=of, ttl=64, length=length, ip_id=ip_id)


def echo(of: FiveTuple, *, sequence: int = 1, ip_id: int = 21) -> Headers:
    """An echo request, or a reply where `of` has no source port."""
    kinds = (8, 0) if of.protocol == Protocol.ICMP else (128, 129)
    icmp = IcmpHeader(type=kinds[0] if of.source_port else kinds[1], code=0, sequence=sequence)
    return Headers(five_tuple=of, ttl=64, length=66, ip_id=ip_id, icmp=icmp)


def icmp_error(sender: str, quoted: FiveTuple, kind: int = 3, code: int = 3) -> Headers:
    """Sent to the source of the packet it quotes."""
    of = FiveTuple(
        protocol=Protocol.ICMP,
        source=ip_address(sender),
        source_port=0,
        destination=quoted.source,
        destination_port=0,
    )
    return Headers(five_tuple=of, ttl=64, length=94, ip_id=3, icmp=IcmpHeader(type=kind, code=code, quoted=quoted))


def travel(headers: Headers, *places: str | tuple[str, FiveTuple], start: float = 0.0) -> list[PacketObservation]:
    """One packet's sightings. A place is `1 eth0 out`; with a tuple, the packet has been translated to it from there on.

    `start` is in milliseconds, each further place is 0.01 ms later. The TTL is that of `headers` at the first place, and one
    less each time a node sends on what came in to it.
    """
    seen: list[PacketObservation] = []
    before = ("", "")
    for index, each in enumerate(places):
        place, translated = each if isinstance(each, tuple) else (each, headers.five_tuple)
        number, interface, way = place.split()
        forwarded = before == (number, "in") and way == "out"
        headers = replace(headers, five_tuple=translated, ttl=headers.ttl - forwarded)
        before = (number, way)
        seen.append(
            PacketObservation(
                node=NODES[number],
                sequence=len(seen) + 1,
                capture=CAPTURE,
                captured_at=NOON + int((start + 0.01 * index) * MILLISECOND),
                interface=interface,
                direction=Direction(way),
                headers=headers,
            )
        )
    return seen


def entry(
    node: str, original: FiveTuple, *, source: str = "", to: str = "", mark: int = 0, port: int = 0
) -> ConntrackEntry:
    """A connection on node `1` or `2`, translated to the source `source` or the destination `to`, `192.168.1.29:50712`."""
    after = original
    if source:
        address, translated = source.rsplit(":", 1)
        after = replace(after, source=ip_address(address), source_port=int(translated))
    if to:
        address, translated = to.rsplit(":", 1)
        after = replace(after, destination=ip_address(address), destination_port=int(translated))
    return ConntrackEntry(
        node=NODES[node],
        original=original,
        reply=after.reversed,
        mark=mark,
        status=frozenset({"CONFIRMED", "SEEN_REPLY"}),
    )


# There and back, as it goes when all is well.

CART_TO_REDIS = ("1 enicart in", "1 eth0 out", "2 eth0 in", "2 eniredis out")
REDIS_TO_CART = ("2 eniredis in", "2 eth0 out", "1 eth0 in", "1 enicart out")
CART_REDIS = flow(CART, REDIS)


def handshake(start: float = 0.0, of: FiveTuple = CART_REDIS) -> list[PacketObservation]:
    """SYN from cart to redis and its answer."""
    return [
        *travel(syn(of), *CART_TO_REDIS, start=start),
        *travel(syn_ack(of), *REDIS_TO_CART, start=start + 0.1),
    ]


# Questions and records.


def question(
    source: str,
    destination: str,
    port: int = 0,
    protocol: int = 0,
    *,
    live: bool = False,
    inventory: Inventory | None = None,
) -> Question:
    request = Request(source=source, destination=destination, port=port, protocol=protocol, live=live)
    return resolve(request, inventory or cluster())


def answered(of: FiveTuple, round_trip: int = MILLISECOND) -> ProbeReport:
    return ProbeReport(outcome=ProbeOutcome.ANSWERED, five_tuple=of, sent_at=NOON, round_trip=round_trip)


def silent(of: FiveTuple) -> ProbeReport:
    return ProbeReport(outcome=ProbeOutcome.SILENT, five_tuple=of, sent_at=NOON, detail="Nothing came back.")


def record(
    asked: Question,
    reports: Sequence[ProbeReport] = (),
    observations: Sequence[PacketObservation] = (),
    *,
    sent: Sequence[FiveTuple] | None = None,
    entries: Sequence[ConntrackEntry] = (),
    snapshots: Sequence[NodeSnapshot] | None = None,
    captured: Mapping[str, Sequence[str]] | None = None,
    lost: Sequence[Lost] = (),
    gaps: Sequence[Gap] = (),
    inventory: Inventory | None = None,
) -> Record:
    """Both nodes were read and every interface of theirs captured, where nothing else is said."""
    read = {each.node: each for each in (snapshots if snapshots is not None else (node_1(), node_2()))}
    every = {name: tuple(i.name for i in each.interfaces if i.name != "lo") for name, each in read.items()}
    probed = tuple(report.five_tuple for report in reports if report.five_tuple is not None)
    return Record(
        id=CAPTURE,
        question=asked,
        inventory=inventory or cluster(),
        started_at=NOON,
        finished_at=NOON + 50 * MILLISECOND,
        sent=probed if sent is None else tuple(sent),
        reports=tuple(reports),
        snapshots=read,
        captured={node: tuple(names) for node, names in (captured if captured is not None else every).items()},
        observations=tuple(observations),
        lost=tuple(lost),
        entries=tuple(entries),
        gaps=tuple(gaps),
    )


def trace_of(gathered: Record, answers: Answers | None = None) -> Trace:
    return assemble(lay_out(gathered), answers or {})


def codes(trace: Trace) -> list[str]:
    return [finding.code for finding in trace.verdict.findings]


def verdict(trace: Trace) -> tuple[str, str, list[str]]:
    """Disposition, reply and the codes of the findings."""
    return trace.verdict.disposition.value, trace.verdict.reply.value, codes(trace)


def decisive(trace: Trace) -> list[tuple[str, str]]:
    """Node and part of each decisive gap."""
    return [(gap.node, gap.part) for gap in trace.verdict.gaps if gap.decisive]
