"""The options of iptables matches that compare one field of the packet. Knows no modules that need several options at once."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from pathtap.forwarding.fields import Field
from pathtap.forwarding.matches import NEVER, Either, Is, Match, Not, StateIn, StatusIn, Values
from pathtap.model.packet import TcpFlag

PROTOCOLS = {
    "icmp": 1, "igmp": 2, "ipencap": 4, "tcp": 6, "udp": 17, "dccp": 33, "ipv6": 41, "gre": 47, "esp": 50, "ah": 51,
    "ipv6-icmp": 58, "icmpv6": 58, "sctp": 132, "udplite": 136,
}  # fmt: skip
FLAG_SETS = {"ALL": 0x3F, "NONE": 0}
# icmp(7) and RFC 4443, as iptables names them.
ICMP_NAMES = {
    "echo-reply": "0", "destination-unreachable": "3", "source-quench": "4", "redirect": "5", "echo-request": "8",
    "router-advertisement": "9", "router-solicitation": "10", "time-exceeded": "11", "parameter-problem": "12",
    "network-unreachable": "3/0", "host-unreachable": "3/1", "protocol-unreachable": "3/2", "port-unreachable": "3/3",
    "fragmentation-needed": "3/4",
}  # fmt: skip
ICMP6_NAMES = {
    "destination-unreachable": "1", "packet-too-big": "2", "time-exceeded": "3", "parameter-problem": "4",
    "echo-request": "128", "echo-reply": "129", "router-solicitation": "133", "router-advertisement": "134",
    "neighbour-solicitation": "135", "neighbor-solicitation": "135", "neighbour-advertisement": "136",
    "neighbor-advertisement": "136", "redirect": "137",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Option:
    negated: bool
    name: str
    values: tuple[str, ...]


def _network(source: bool) -> Callable[[Option, int], Match]:
    def decode_network(option: Option, family: int) -> Match:
        address, _, mask = option.values[0].partition("/")
        bits = 32 if family == 4 else 128
        number = _mask(mask, bits)
        four, six = (Field.IP_SOURCE, Field.IP6_SOURCE) if source else (Field.IP_DESTINATION, Field.IP6_DESTINATION)
        value = int(ip_address(address)) & number
        return Is(four if family == 4 else six, Values(frozenset({value})), number)

    return decode_network


def _mask(text: str, bits: int) -> int:
    """`16`, `255.0.255.0`, or nothing for a single address."""
    if not text:
        return (1 << bits) - 1
    if text.isdigit():
        return ((1 << int(text)) - 1) << (bits - int(text))
    return int(ip_address(text))


def _range(source: bool) -> Callable[[Option, int], Match]:
    def decode_range(option: Option, family: int) -> Match:
        first, _, last = option.values[0].partition("-")
        four, six = (Field.IP_SOURCE, Field.IP6_SOURCE) if source else (Field.IP_DESTINATION, Field.IP6_DESTINATION)
        field = four if family == 4 else six
        return Is(field, Values(ranges=((int(ip_address(first)), int(ip_address(last or first))),)))

    return decode_range


def _interface(field: Field) -> Callable[[Option, int], Match]:
    def decode_interface(option: Option, _: int) -> Match:
        name = option.values[0]
        return Is(field, Values(prefixes=(name[:-1],)) if name.endswith("+") else Values(frozenset({name})))

    return decode_interface


def _ports(field: Field) -> Callable[[Option, int], Match]:
    return lambda option, _: Is(field, _port_values(option.values[0]))


def _either_port(option: Option, _: int) -> Match:
    values = _port_values(option.values[0])
    return Either(Is(Field.SOURCE_PORT, values), Is(Field.DESTINATION_PORT, values))


def _port_values(text: str) -> Values:
    """`80,443,1000:2000`."""
    single: set[int | str] = set()
    ranges: list[tuple[int, int]] = []
    for part in text.split(","):
        first, colon, last = part.partition(":")
        if colon:
            ranges.append((int(first or 0), int(last or 65535)))
        else:
            single.add(int(first))
    return Values(frozenset(single), tuple(ranges))


def _protocol(option: Option, _: int) -> Match:
    name = option.values[0]
    return Is(Field.PROTOCOL, Values(frozenset({int(name) if name.isdigit() else PROTOCOLS[name]})))


def _mark(field: Field) -> Callable[[Option, int], Match]:
    def decode_mark(option: Option, _: int) -> Match:
        value, _slash, mask = option.values[0].partition("/")
        return Is(field, Values(frozenset({int(value, 0)})), int(mask, 0) if mask else 0xFFFFFFFF)

    return decode_mark


def _states(option: Option, _: int) -> Match:
    return StateIn(frozenset(option.values[0].split(",")))


def _direction(option: Option, _: int) -> Match:
    return Is(Field.DIRECTION, Values(frozenset({{"ORIGINAL": 0, "REPLY": 1}[option.values[0]]})))


def _icmp(type_field: Field, code_field: Field) -> Callable[[Option, int], Match]:
    def decode_icmp(option: Option, _: int) -> Match:
        named = (ICMP_NAMES if type_field is Field.ICMP_TYPE else ICMP6_NAMES).get(option.values[0], option.values[0])
        number, _slash, code = named.partition("/")
        if number == "any":
            return Is(type_field, Values(ranges=((0, 255),)))
        match = Is(type_field, Values(frozenset({int(number)})))
        # Both in one: a negated type/code pair is not the negation of each.
        return Not(Either(Not(match), Not(Is(code_field, Values(frozenset({int(code)})))))) if code else match

    return decode_icmp


def _tcp_flags(option: Option, _: int) -> Match:
    mask, value = (_flags(text) for text in option.values)
    return Is(Field.TCP_FLAGS, Values(frozenset({value})), mask)


def _flags(text: str) -> int:
    return FLAG_SETS[text] if text in FLAG_SETS else sum(TcpFlag[name].value for name in text.split(","))


def _statuses(option: Option, _: int) -> Match:
    return StatusIn(frozenset(option.values[0].split(",")))


def _entry_network(field: Field) -> Callable[[Option, int], Match]:
    def decode_network(option: Option, family: int) -> Match:
        address, _, mask = option.values[0].partition("/")
        number = _mask(mask, 32 if family == 4 else 128)
        return Is(field, Values(frozenset({int(ip_address(address)) & number})), number)

    return decode_network


def _entry_protocol(option: Option, family: int) -> Match:
    match = _protocol(option, family)
    return Is(Field.CT_PROTOCOL, match.values) if isinstance(match, Is) else match


def _dscp(option: Option, family: int) -> Match:
    return Is(Field.DSCP if family == 4 else Field.DSCP6, Values(frozenset({int(option.values[0], 0)})))


def _tos(option: Option, _: int) -> Match:
    value, _slash, mask = option.values[0].partition("/")
    return Is(Field.TOS, Values(frozenset({int(value, 0)})), int(mask, 0) if mask else 0xFF)


def _packet_type(option: Option, _: int) -> Match:
    word = option.values[0]
    return Is(Field.PACKET_TYPE, Values(frozenset({"host" if word == "unicast" else word})))


MATCHES: dict[tuple[str, str], Callable[[Option, int], Match]] = {
    ("", "-s"): _network(True),
    ("", "-d"): _network(False),
    ("", "-i"): _interface(Field.IN_INTERFACE),
    ("", "-o"): _interface(Field.OUT_INTERFACE),
    ("", "-p"): _protocol,
    ("", "-f"): lambda _option, _family: NEVER,
    ("tcp", "--sport"): _ports(Field.TCP_SOURCE_PORT),
    ("tcp", "--dport"): _ports(Field.TCP_DESTINATION_PORT),
    ("tcp", "--tcp-flags"): _tcp_flags,
    ("sctp", "--sport"): _ports(Field.SOURCE_PORT),
    ("sctp", "--dport"): _ports(Field.DESTINATION_PORT),
    ("udp", "--sport"): _ports(Field.UDP_SOURCE_PORT),
    ("udp", "--dport"): _ports(Field.UDP_DESTINATION_PORT),
    ("multiport", "--sports"): _ports(Field.SOURCE_PORT),
    ("multiport", "--dports"): _ports(Field.DESTINATION_PORT),
    ("multiport", "--ports"): _either_port,
    ("icmp", "--icmp-type"): _icmp(Field.ICMP_TYPE, Field.ICMP_CODE),
    ("icmp6", "--icmpv6-type"): _icmp(Field.ICMP6_TYPE, Field.ICMP6_CODE),
    ("mark", "--mark"): _mark(Field.MARK),
    ("connmark", "--mark"): _mark(Field.CONNMARK),
    ("state", "--state"): _states,
    ("conntrack", "--ctstate"): _states,
    ("conntrack", "--ctdir"): _direction,
    ("conntrack", "--ctstatus"): _statuses,
    ("conntrack", "--ctproto"): _entry_protocol,
    ("conntrack", "--ctorigsrc"): _entry_network(Field.ORIGINAL_SOURCE),
    ("conntrack", "--ctorigdst"): _entry_network(Field.ORIGINAL_DESTINATION),
    ("conntrack", "--ctreplsrc"): _entry_network(Field.REPLY_SOURCE),
    ("conntrack", "--ctrepldst"): _entry_network(Field.REPLY_DESTINATION),
    ("conntrack", "--ctorigsrcport"): _ports(Field.ORIGINAL_SOURCE_PORT),
    ("conntrack", "--ctorigdstport"): _ports(Field.ORIGINAL_DESTINATION_PORT),
    ("conntrack", "--ctreplsrcport"): _ports(Field.REPLY_SOURCE_PORT),
    ("conntrack", "--ctrepldstport"): _ports(Field.REPLY_DESTINATION_PORT),
    ("dscp", "--dscp"): _dscp,
    ("tos", "--tos"): _tos,
    ("pkttype", "--pkt-type"): _packet_type,
    ("iprange", "--src-range"): _range(True),
    ("iprange", "--dst-range"): _range(False),
}
