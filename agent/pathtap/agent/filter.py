"""Turns a capture request into the kernel's filter: typed values → libpcap's expression → classic BPF for the headers alone.

Knows no socket. The expression is made of numbers and addresses only, never of a person's text. It selects, untagged or
behind one VLAN tag in the frame:

* packets between `near` and `far` both ways, of the protocol, TCP and UDP by the far end's ports;
* their later fragments, and IPv6 packets with extension headers between the two: their ports are not where a filter without
  loops could find them, so they are selected by address alone;
* ICMP and ICMPv6 errors that quote such a packet, whoever they are for.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from pathtap.agent.bpf import MOST_INSTRUCTIONS, Instruction, Program, with_header_lengths
from pathtap.agent.scapy_parts import compile_filter
from pathtap.model.address import Address, Network, Protocol
from pathtap.model.request import CaptureRequest

LINK_TYPE_ETHERNET = 1
# An address is compared as source and as destination, as the packet's own and as quoted, untagged and tagged.
LEAST_PER_NETWORK = 8
IPV6_EXTENSIONS = (0, 43, 44, 51, 60)


class FilterError(ValueError):
    """Why no filter can be made of a request, as a sentence."""


def header_program(request: CaptureRequest) -> Program:
    """The program whose result for a packet of `request` is the length of its headers. Raises FilterError."""
    networks = sum(len(_networks(side, version)) for side in (request.near, request.far) for version in (4, 6))
    # libpcap's optimiser takes minutes for what cannot fit, so the least that it could come to is asked first.
    if LEAST_PER_NETWORK * networks <= MOST_INSTRUCTIONS:
        program = with_header_lengths(compile_expression(expression(request)), families(request))
        if len(program) <= MOST_INSTRUCTIONS:
            return program
    raise FilterError(
        f"The capture names {len(request.near) + len(request.far)} addresses and {len(request.ports)} ports: its filter "
        f"would have more than the {MOST_INSTRUCTIONS} instructions that the kernel takes. Trace fewer at once."
    )


def families(request: CaptureRequest) -> tuple[int, ...]:
    """The IP versions that `near` and `far` have in common. Raises FilterError where there is none."""
    if not request.near:
        raise FilterError("The capture names no near address: it would select everything.")
    near, far = ({address.version for address in side} for side in (request.near, request.far or request.near))
    common = tuple(sorted(near & far))
    if not common:
        raise FilterError("No near address has the IP version of a far one.")
    return common


def expression(request: CaptureRequest) -> str:
    """libpcap's text (pcap-filter(7)). Raises FilterError."""
    parts = [
        f"({header.guard} and {_between(header, request)})"
        for version in families(request)
        for header in (_HEADERS[version], _QUOTED[version])
    ]
    selected = " or ".join(parts)
    return f"({selected}) or (vlan and ({selected}))"


def compile_expression(text: str) -> Program:
    """What libpcap makes of `text` for Ethernet frames. Raises FilterError where libpcap is not installed."""
    try:
        return tuple(Instruction(*row) for row in compile_filter(text, LINK_TYPE_ETHERNET))
    except ImportError as error:
        raise FilterError("The filter cannot be compiled: libpcap is not installed on this node.") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """Where an expression finds one IP header: at byte `start` of what `accessor` names, once `guard` holds."""

    guard: str
    accessor: str
    start: int
    version: int

    def field(self, offset: int, size: int) -> str:
        return f"{self.accessor}[{self.start + offset}:{size}]"

    @property
    def protocol(self) -> str:
        return self.field(9 if self.version == 4 else 6, 1)

    @property
    def portless(self) -> str:
        """Holds for what shows no port: later fragments, IPv6 packets with extension headers."""
        if self.version == 4:
            return f"{self.field(6, 2)} & 0x1fff != 0"
        return _any(f"{self.protocol} = {number}" for number in IPV6_EXTENSIONS)

    def port(self, protocol: int, side: str, port: int) -> str:
        """libpcap's own word where there is one: it loads the header's length with one instruction."""
        offset = 0 if side == "src" else 2
        if self.version == 6:
            return f"{self.field(40 + offset, 2)} = {port}"
        if self.start == 0:
            return f"{Protocol(protocol).name.lower()} {side} port {port}"
        length = f"(({self.accessor}[{self.start}] & 0xf) << 2)"
        return f"{self.accessor}[{length} + {self.start + offset}:2] = {port}"


_HEADERS = {
    4: _Header(guard="ip", accessor="ip", start=0, version=4),
    6: _Header(guard="ip6", accessor="ip6", start=0, version=6),
}
# RFC 792: destination unreachable, source quench, redirect, time exceeded, parameter problem. RFC 4443: types 1 to 4.
_QUOTED = {
    4: _Header(
        guard="icmp and (icmp[0] = 3 or icmp[0] = 11 or icmp[0] = 5 or icmp[0] = 12 or icmp[0] = 4)",
        accessor="icmp",
        start=8,
        version=4,
    ),
    6: _Header(guard="ip6 and ip6[6] = 58 and ip6[40] >= 1 and ip6[40] <= 4", accessor="ip6", start=48, version=6),
}


def _between(header: _Header, request: CaptureRequest) -> str:
    """Source near, destination far, its port the destination's; or the other way round."""
    near = _networks(request.near, header.version)
    far = _networks(request.far, header.version)
    ways = []
    for near_side, far_side in (("src", "dst"), ("dst", "src")):
        clauses = [_address(header, near_side, near)]
        if request.far:
            clauses.append(_address(header, far_side, far))
        clauses.append(_transport(header, far_side, request))
        ways.append("(" + " and ".join(clauses) + ")")
    return _any(ways)


def _transport(header: _Header, far_side: str, request: CaptureRequest) -> str:
    own_icmp = Protocol.ICMP if header.version == 4 else Protocol.ICMPV6
    asked = Protocol(request.protocol) if request.protocol else None
    if asked is None:
        protocols: tuple[Protocol, ...] = (own_icmp, Protocol.TCP, Protocol.UDP)
    else:
        protocols = (own_icmp,) if asked.is_icmp else (asked,)
    choices = []
    for protocol in protocols:
        is_protocol = f"{header.protocol} = {int(protocol)}"
        if request.ports and not protocol.is_icmp:
            ports = [header.port(protocol, far_side, port) for port in request.ports]
            later = [header.portless] if header.version == 4 else []
            choices.append(f"({is_protocol} and {_any(later + ports)})")
        else:
            choices.append(is_protocol)
    if header.version == 6:
        choices.append(header.portless)
    return _any(choices)


def _networks(addresses: Iterable[Address], version: int) -> Sequence[Network]:
    """The addresses of one IP version, merged into as few prefixes as name exactly them."""
    if version == 4:
        return tuple(collapse_addresses(IPv4Network(a) for a in addresses if a.version == 4))
    return tuple(collapse_addresses(IPv6Network(a) for a in addresses if a.version == 6))


def _address(header: _Header, side: str, networks: Sequence[Network]) -> str:
    offsets = {"src": 12, "dst": 16} if header.version == 4 else {"src": 8, "dst": 24}
    return _any(_in_network(header, offsets[side], network) for network in networks)


def _in_network(header: _Header, offset: int, network: Network) -> str:
    """One comparison for each 4 bytes that the prefix reaches into."""
    address, mask = network.network_address.packed, network.netmask.packed
    words = []
    for index in range(0, len(address), 4):
        value, bits = (int.from_bytes(data[index : index + 4], "big") for data in (address, mask))
        if bits == 0xFFFFFFFF:
            words.append(f"{header.field(offset + index, 4)} = {value}")
        elif bits:
            words.append(f"{header.field(offset + index, 4)} & {bits} = {value}")
    return "(" + " and ".join(words) + ")"


def _any(choices: Iterable[str]) -> str:
    return "(" + " or ".join(choices) + ")"
