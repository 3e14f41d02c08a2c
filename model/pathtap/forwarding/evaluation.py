"""Answers what a rule asks of a packet, from the packet and what is known of its node.

Knows no rule syntax. A field that the packet does not have fails a match and its negation alike, as xt_connmark.c and
NFT_BREAK do.
"""

from dataclasses import dataclass, field, replace
from typing import assert_never

from pathtap.forwarding.answer import Answer, every
from pathtap.forwarding.fields import read
from pathtap.forwarding.ipsets import IpSets
from pathtap.forwarding.matches import (
    AddressTypeIn,
    Bridged,
    Chance,
    Either,
    FromSocket,
    InIpSet,
    InSet,
    Is,
    Match,
    Not,
    StateIn,
    StatusIn,
    Unmodelled,
    WayTo,
)
from pathtap.forwarding.packet import Packet, State
from pathtap.forwarding.routing import LOOPBACK, RoutingDecision, RoutingTables
from pathtap.model.node import RouteKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What of the node matches ask for. `bridges` says whether bridged packets pass the hooks (br_netfilter)."""

    tables: RoutingTables
    sets: IpSets = field(default_factory=IpSets)
    bridges: bool = False


def evaluate(match: Match, packet: Packet, known: Knowledge) -> Answer:
    """Whether the packet passes the match."""
    match match:
        case Is(name, values, mask):
            value = read(name, packet)
            if isinstance(value, Answer):
                return value
            return Answer.of((value & mask if mask is not None and isinstance(value, int) else value) in values)
        case InSet():
            return _in_set(match, packet)
        case StateIn(states):
            return Answer.of(not states.isdisjoint(_states(packet)))
        case StatusIn(states):
            return _status_in(states, packet)
        case AddressTypeIn():
            return _address_type_in(match, packet, known.tables)
        case Either(first, second):
            return evaluate(first, packet, known) | evaluate(second, packet, known)
        case Chance() | Unmodelled():
            return Answer.UNKNOWN
        case FromSocket():
            return Answer.NO if packet.in_interface else Answer.UNKNOWN
        case Bridged():
            return Answer.UNKNOWN if known.bridges else Answer.NO
        case InIpSet(name, sources, nomatch):
            return known.sets.answer(name, sources, packet, nomatch=nomatch)
        case WayTo():
            return _way_to(match, packet, known.tables)
        case Not(inner):
            return ~evaluate(inner, packet, known) if _present(inner, packet) else Answer.NO
        case other:
            assert_never(other)


def _in_set(match: InSet, packet: Packet) -> Answer:
    key = [read(name, packet) for name in match.fields]
    if any(isinstance(value, Answer) for value in key):
        return every(value for value in key if isinstance(value, Answer))
    values = tuple(value for value in key if not isinstance(value, Answer))
    return Answer.of(
        values in match.elements
        or any(all(value in part for value, part in zip(values, each, strict=True)) for each in match.ranged)
    )


def _states(packet: Packet) -> set[str]:
    words = {packet.state.value}
    if packet.tracked and packet.dnated:
        words.add("DNAT")
    if packet.tracked and packet.snated:
        words.add("SNAT")
    return words


def _status_in(states: frozenset[str], packet: Packet) -> Answer:
    """IPS_SEEN_REPLY and IPS_CONFIRMED come with ESTABLISHED; of ASSURED or EXPECTED the packet says nothing."""
    if not packet.tracked:
        return Answer.NO
    has = _states(packet) & {"DNAT", "SNAT"}
    doubtful: set[str] = set()
    if packet.state is State.ESTABLISHED:
        has |= {"SEEN_REPLY", "CONFIRMED"}
        doubtful = {"ASSURED", "EXPECTED"}
    elif packet.state is State.RELATED or packet.entry is not None:
        has |= {"CONFIRMED"}
        doubtful = {"SEEN_REPLY", "ASSURED", "EXPECTED"}
    if states & has:
        return Answer.YES
    return Answer.UNKNOWN if states & doubtful else Answer.NO


def _address_type_in(match: AddressTypeIn, packet: Packet, tables: RoutingTables) -> Answer:
    address = packet.five_tuple.source if match.source else packet.five_tuple.destination
    interface = {"in": packet.in_interface, "out": packet.out_interface, "": ""}[match.limit]
    kind = tables.address_type(address, interface)
    return Answer.of(None if kind is None else kind in match.types)


def _way_to(match: WayTo, packet: Packet, tables: RoutingTables) -> Answer:
    """rpfilter_lookup_reverse of ipt_rpfilter.c, nft_fib4_eval of nft_fib_ipv4.c: iif is `lo`, oif is not part of the lookup."""
    if match.source and packet.in_interface == LOOPBACK:
        return Answer.YES
    if packet.family == 6 and match.source and not match.loose and tables.asks_out_interface(6):
        # ip6t_rpfilter.c looks up with that interface as oif, which rules see and routes only prefer.
        return Answer.UNKNOWN
    flow = packet.five_tuple.reversed if match.source else packet.five_tuple
    wanted = {"in": packet.in_interface, "out": packet.out_interface, "": ""}[match.by]
    answers: set[Answer] = set()
    # No ports are asked with, and the protocol by IPv6 and by nft alone: where an ip rule wants it, both are possible.
    for protocol in (flow.protocol, 0):
        asked = replace(
            packet,
            five_tuple=replace(flow, protocol=protocol, source_port=0, destination_port=0),
            in_interface="",
            out_interface="",
            mark=packet.mark if match.marked else 0,
        )
        answers |= {_leads(match, way, wanted) for way in tables.possibilities(asked)}
    return answers.pop() if len(answers) == 1 else Answer.UNKNOWN


def _leads(match: WayTo, way: RoutingDecision, wanted: str) -> Answer:
    if not way.decided:
        return Answer.UNKNOWN
    if way.refused or way.route is None:
        return Answer.NO
    if way.route.kind is not RouteKind.UNICAST and not (way.route.kind is RouteKind.LOCAL and match.local):
        return Answer.NO
    interfaces = {hop.interface for hop in way.route.next_hops}
    if wanted and wanted not in interfaces and not match.loose:
        return Answer.NO
    return Answer.of(match.values is None or (wanted or way.interface) in match.values)


def _present(match: Match, packet: Packet) -> bool:
    """Whether the packet has every field that the match reads."""
    match match:
        case Is(name):
            return read(name, packet) is not Answer.NO
        case InSet(fields):
            return all(read(name, packet) is not Answer.NO for name in fields)
        case StatusIn():
            return packet.tracked
        case Either(first, second):
            return _present(first, packet) or _present(second, packet)
        case Not(inner):
            return _present(inner, packet)
        case _:
            return True
