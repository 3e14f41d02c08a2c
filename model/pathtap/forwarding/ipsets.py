"""Sets of the ipset module (ipset(8)): whether a packet is in one. Kinds that are not modelled, and sets that were not read, are
unknown.

Follows ip_set_core.c, ip_set_hash_*.c and ip_set_bitmap_*.c (net/netfilter/ipset): of a set's networks the longest prefix
decides, `nomatch` elements are not in the set, and a dimension `src` or `dst` reads that end of the packet, or that interface.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import TypeAlias

from pathtap.forwarding.answer import Answer
from pathtap.forwarding.packet import Packet
from pathtap.forwarding.xoptions import ICMP6_NAMES, ICMP_NAMES
from pathtap.model.address import Protocol
from pathtap.model.node import IpSet

ADDRESS, NETWORK, PORT, INTERFACE, MARK = "ip", "net", "port", "iface", "mark"
PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58, "sctp": 132, "udplite": 136}
# hash:ip,mac and their like ask for what no packet here tells.
MODELLED = frozenset({ADDRESS, NETWORK, PORT, INTERFACE, MARK})
DEEPEST = 8

Part: TypeAlias = tuple[int, int] | str


class UnreadableError(Exception):
    """An element or kind that is not modelled."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """`groups` are the elements by the prefix lengths of their networks, longest first: (lengths, elements)."""

    kinds: tuple[str, ...]
    family: int
    groups: tuple[tuple[tuple[int, ...], Mapping[tuple[Part, ...], bool]], ...]
    bitmap: bool


class IpSets:
    """All sets of a node, each parsed when a rule first asks."""

    def __init__(self, sets: Iterable[IpSet] = ()) -> None:
        self._sets = {each.name: each for each in sets}
        self._parsed: dict[str, Parsed | None] = {}

    def answer(
        self, name: str, sources: tuple[bool, ...], packet: Packet, *, nomatch: bool = False, depth: int = 0
    ) -> Answer:
        """`sources` has True for each dimension that is `src`. `nomatch` asks for the elements that are not in the set."""
        found = self._sets.get(name)
        if found is None or found.elements is None or depth > DEEPEST:
            return Answer.UNKNOWN
        if found.kind == "list:set":
            answers = [
                self.answer(each.split()[0], sources, packet, nomatch=nomatch, depth=depth + 1)
                for each in found.elements
            ]
            return Answer.YES if Answer.YES in answers else _unknown_or_no(answers)
        if name not in self._parsed:
            self._parsed[name] = _parse(found)
        parsed = self._parsed[name]
        return Answer.UNKNOWN if parsed is None else _within(parsed, sources, packet, nomatch)


def _unknown_or_no(answers: list[Answer]) -> Answer:
    return Answer.UNKNOWN if Answer.UNKNOWN in answers else Answer.NO


def _parse(found: IpSet) -> Parsed | None:
    """None for a kind that is not modelled."""
    store, _, rest = found.kind.partition(":")
    kinds = tuple(rest.split(","))
    if not MODELLED.issuperset(kinds):
        return None
    groups: dict[tuple[int, ...], dict[tuple[Part, ...], bool]] = {}
    try:
        for element in found.elements or ():
            value, *options = element.split()
            words = value.split(",")
            if len(words) != len(kinds):
                return None
            if "wildcard" in options:
                raise UnreadableError(element)
            lengths = tuple(_length(kind, word) for kind, word in zip(kinds, words, strict=True))
            for parts in _spelled(kinds, words, bitmap=store == "bitmap"):
                groups.setdefault(lengths, {})[parts] = "nomatch" not in options
    except (ValueError, KeyError, UnreadableError):
        return None
    return Parsed(kinds, found.family, tuple(sorted(groups.items(), reverse=True)), store == "bitmap")


def _length(kind: str, word: str) -> int:
    """Of an address too: where the set has a netmask, the reader words it as a prefix."""
    if kind not in (ADDRESS, NETWORK):
        return 0
    return ip_network(word.partition("-")[0]).prefixlen


def _spelled(kinds: tuple[str, ...], words: list[str], *, bitmap: bool) -> list[tuple[Part, ...]]:
    """A range of a bitmap is spelled out; others have none."""
    if bitmap and "-" in words[0]:
        first, _, last = words[0].partition("-")
        if kinds == (PORT,):
            return [((0, port),) for port in range(int(first), int(last) + 1)]
        low, high = int(ip_address(first)), int(ip_address(last))
        return [((number, 32),) for number in range(low, high + 1)]
    return [tuple(_part(kind, word) for kind, word in zip(kinds, words, strict=True))]


def _part(kind: str, word: str) -> Part:
    if kind in (ADDRESS, NETWORK):
        network = ip_network(word)
        return int(network.network_address), network.prefixlen
    if kind == MARK:
        return int(word, 0), 0
    if kind == INTERFACE:
        if word.startswith("physdev:"):
            raise UnreadableError(word)
        return word
    protocol, colon, port = word.rpartition(":")
    if not colon:
        return 0, int(port)
    number = PROTOCOLS[protocol] if protocol in PROTOCOLS else int(protocol)
    if number in (1, 58):
        icmp_type, _, code = (ICMP_NAMES if number == 1 else ICMP6_NAMES).get(port, port).partition("/")
        return number, int(icmp_type) << 8 | int(code or 0)
    return number, int(port)


def _within(parsed: Parsed, sources: tuple[bool, ...], packet: Packet, nomatch: bool) -> Answer:
    if len(sources) < len(parsed.kinds):
        return Answer.NO
    if packet.family != parsed.family and parsed.kinds != (PORT,):
        return Answer.NO
    for lengths, elements in parsed.groups:
        key: list[Part] = []
        for kind, source, length in zip(parsed.kinds, sources, lengths, strict=False):
            part = _of_packet(kind, source, length, packet, bitmap=parsed.bitmap)
            if isinstance(part, Answer):
                return part
            key.append(part)
        inside = elements.get(tuple(key))
        if inside is not None:
            return Answer.of(inside is not nomatch)
    return Answer.NO


def _of_packet(kind: str, source: bool, length: int, packet: Packet, *, bitmap: bool) -> Part | Answer:
    flow = packet.five_tuple
    if kind in (ADDRESS, NETWORK):
        address = flow.source if source else flow.destination
        shift = address.max_prefixlen - length
        return int(address) >> shift << shift, length
    if kind == MARK:
        return packet.mark, 0
    if kind == INTERFACE:
        return (packet.in_interface if source else packet.out_interface) or Answer.NO
    if flow.protocol in (Protocol.ICMP, Protocol.ICMPV6):
        if packet.icmp_type is None:
            return Answer.UNKNOWN
        return Answer.NO if bitmap else (int(flow.protocol), packet.icmp_type << 8 | packet.icmp_code)
    if bitmap and flow.protocol not in (6, 17, 132, 136):
        return Answer.NO
    return 0 if bitmap else int(flow.protocol), flow.source_port if source else flow.destination_port
