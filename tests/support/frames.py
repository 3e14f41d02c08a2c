"""A corpus of Ethernet frames, each with a name: well-formed ones of every kind that the parser reads, and some of others.

Made by scapy of documentation addresses, always the same bytes. `sound` are whole and well-formed; `recorded` came from a
kernel and from programs (fixtures/frames, written by tests/support/frames_record.py). Others are in frames_odd.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from frames_pcap import read_pcap
from scapy.layers.inet import (
    ICMP,
    IP,
    TCP,
    UDP,
    ICMPerror,
    IPerror,
    IPOption_EOL,
    IPOption_LSRR,
    IPOption_NOP,
    IPOption_Router_Alert,
    IPOption_RR,
    IPOption_Timestamp,
    TCPerror,
    UDPerror,
)
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
    RouterAlert,
)
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import ARP, GRE, Dot1AD, Dot1Q, Ether
from scapy.layers.sctp import SCTP
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

FIXTURES = Path(__file__).parents[1] / "unit" / "agent" / "fixtures" / "frames"
NEAR, SNAT, FAR, BACKEND, OTHER = "192.0.2.1", "192.0.2.200", "198.51.100.2", "198.51.100.77", "203.0.113.9"
NEAR6, FAR6, OTHER6 = "2001:db8::1", "2001:db8:0:f::2", "2001:db8:ffff::9"
PAYLOAD = b"SECRETPAYLOAD" * 5
MAC = "02:00:00:00:00:01"
# linux/if_ether.h: frames with a tag of their own, each over a packet.
TAGS: dict[str, tuple[type[Packet], ...]] = {"tagged": (Dot1Q,), "service tag": (Dot1AD,), "two tags": (Dot1AD, Dot1Q)}


class Sample(NamedTuple):
    name: str
    frame: bytes


def ether(packet: Packet) -> bytes:
    return bytes(Ether(src=MAC, dst="02:00:00:00:00:02") / packet)


def tagged(packet: Packet, *tags: type[Packet]) -> Packet:
    for number, tag in enumerate(reversed(tags)):
        packet = tag(vlan=100 + number, prio=5) / packet
    return packet


def tcp(sport: int = 40000, dport: int = 443, **fields: object) -> Packet:
    return TCP(sport=sport, dport=dport, seq=0x89ABCDEF, ack=0xFFFFFFFE, **fields)


def tcp_kinds() -> Iterator[tuple[str, Packet]]:
    for flags in ("S", "SA", "A", "PA", "FA", "R", "RA", "SEC", "FSRPAUEC", ""):
        yield f"TCP {flags or 'without a flag'}", tcp(flags=flags)
    options: dict[str, list[object]] = {
        "MSS": [("MSS", 8961)],
        "every SYN option": [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (7, 0)), ("NOP", None), ("WScale", 7)],
        "SACK": [("NOP", None), ("NOP", None), ("SAck", (1, 2, 3, 4))],
        "fast open": [("TFO", (0x01020304, 0x05060708))],
        "MD5": [(19, b"\xaa" * 16)],
        "MPTCP": [(30, b"\x00\x81" + b"\x01" * 8)],
        "40 bytes of options": [("NOP", None)] * 40,
        "an unknown option": [(253, b"\x12\x34")],
        "end of options": [("EOL", None)] * 4,
    }
    for name, chosen in options.items():
        yield f"TCP with {name}", tcp(flags="S", options=chosen)
    yield "TCP to its own port", tcp(sport=443, dport=443)
    yield "TCP from port 0", tcp(sport=0, dport=65535)
    yield "TCP back", tcp(sport=443, dport=40000, flags="SA")


def _udp_kinds() -> Iterator[tuple[str, Packet]]:
    for sport, dport in ((40000, 53), (53, 40000), (0, 0), (65535, 443)):
        yield f"UDP {sport} to {dport}", UDP(sport=sport, dport=dport)
    yield "UDP without a checksum", UDP(sport=1, dport=2, chksum=0)
    yield (
        "VXLAN",
        UDP(sport=50000, dport=4789) / VXLAN(vni=7) / Ether(src=MAC, dst=MAC) / IP(src=OTHER, dst=OTHER) / tcp(),
    )


def _icmp_kinds() -> Iterator[tuple[str, Packet]]:
    for kind in (0, 8, 9, 10, 13, 14, 17, 18, 42, 255):
        yield f"ICMP type {kind}", ICMP(type=kind, id=0x1234, seq=0x4321)


def _quotable(version: int) -> dict[str, Packet]:
    ends = {"src": NEAR, "dst": FAR} if version == 4 else {"src": NEAR6, "dst": FAR6}
    ip = IPerror(**ends, ttl=1, id=0x7777) if version == 4 else IPv6(**ends, hlim=1)
    found = {
        "TCP": ip / (TCPerror if version == 4 else TCP)(sport=40000, dport=443, seq=9),
        "UDP": ip / (UDPerror if version == 4 else UDP)(sport=40000, dport=53),
        "SCTP": ip / SCTP(sport=1, dport=2),
    }
    if version == 4:
        found["echo"] = ip / ICMPerror(type=8, id=99, seq=2)
        found["TCP behind options"] = IPerror(**ends, options=[IPOption_RR(routers=[OTHER] * 3)]) / TCPerror(
            sport=40000, dport=443
        )
        found["a later fragment"] = IPerror(**ends, frag=3, proto=17) / Raw(b"\x01\x02\x03\x04payload!")
        found["GRE"] = ip / GRE() / IP()
    else:
        found["echo"] = ip / ICMPv6EchoRequest(id=99, seq=2)
        found["TCP behind options"] = ip / IPv6ExtHdrDestOpt() / TCP(sport=40000, dport=443)
        found["a first fragment"] = ip / IPv6ExtHdrFragment(m=1, id=5) / UDP(sport=40000, dport=53)
        found["a later fragment"] = ip / IPv6ExtHdrFragment(offset=5, id=5, nh=17) / Raw(b"payload!")
    return found


def _errors4() -> Iterator[tuple[str, Packet]]:
    for label, quoted in _quotable(4).items():
        for kind, code in ((3, 0), (3, 1), (3, 3), (3, 4), (3, 13), (4, 0), (5, 1), (11, 0), (11, 1), (12, 0)):
            message = ICMP(type=kind, code=code, nexthopmtu=1400) if kind == 3 else ICMP(type=kind, code=code)
            # RFC 1812, section 4.3.2.3: as much as fits; RFC 792: the header and 8 bytes.
            whole = bytes(message / quoted / Raw(PAYLOAD))
            yield f"ICMP {kind}/{code} quoting {label}", Raw(whole)
            if code == 1:
                header = 4 * (bytes(quoted)[0] & 0x0F)
                yield f"ICMP {kind}/{code} quoting {label}, no more than RFC 792 asks", Raw(whole[: 8 + header + 8])


def _errors6() -> Iterator[tuple[str, Packet]]:
    messages = {
        "unreachable": ICMPv6DestUnreach(code=4),
        "too big": ICMPv6PacketTooBig(mtu=70000),
        "hop limit": ICMPv6TimeExceeded(),
        "parameter": ICMPv6ParamProblem(ptr=40),
    }
    for label, quoted in _quotable(6).items():
        for name, message in messages.items():
            yield f"ICMPv6 {name} quoting {label}", message / Raw(bytes(quoted / Raw(PAYLOAD)))


def _ipv4() -> Iterator[tuple[str, Packet]]:
    ip = IP(src=NEAR, dst=FAR, ttl=61, id=0xBEEF)
    transports = dict([*tcp_kinds(), *_udp_kinds(), *_icmp_kinds()])
    for name, transport in transports.items():
        yield name, ip / transport / Raw(PAYLOAD)
    for near, far in (
        (FAR, NEAR),
        (SNAT, FAR),
        (FAR, SNAT),
        (NEAR, BACKEND),
        (OTHER, FAR),
        (NEAR, OTHER),
        (OTHER, OTHER),
    ):
        other_ip = IP(src=near, dst=far, ttl=3, id=1)
        for name in ("TCP S", "TCP back", "UDP 40000 to 53", "UDP 53 to 40000", "ICMP type 8", "ICMP type 0"):
            yield f"{name} from {near} to {far}", other_ip / transports[name]
    for sender, target in ((FAR, NEAR), (OTHER, NEAR), (OTHER, SNAT), (OTHER, OTHER)):
        for name, message in _errors4():
            yield f"{name} from {sender} to {target}", IP(src=sender, dst=target, id=2, proto=1) / message
    options = {
        "router alert": [IPOption_Router_Alert()],
        "record route": [IPOption_RR(routers=[OTHER] * 9)],
        "loose source route": [IPOption_LSRR(routers=[OTHER] * 2)],
        "timestamps": [IPOption_Timestamp(flg=0)],
        "no operations": [IPOption_NOP()] * 3 + [IPOption_EOL()],
    }
    for label, chosen in options.items():
        for transport in (tcp(), UDP(sport=40000, dport=53), ICMP(type=8, id=5)):
            yield f"{transport.name} behind {label}", IP(src=NEAR, dst=FAR, options=chosen) / transport / Raw(PAYLOAD)
    for protocol in (6, 17, 1, 47):
        first = IP(src=NEAR, dst=FAR, flags="MF", id=77, proto=protocol)
        yield f"first fragment of {protocol}", first / Raw(bytes(tcp())[:20] + PAYLOAD)
        yield f"first fragment of {protocol} with 8 bytes", first / Raw(b"\x9c\x40\x00\x35\x00\x30\x00\x00")
        for flags in ("MF", ""):
            later = IP(src=NEAR, dst=FAR, frag=3, flags=flags, id=77, proto=protocol)
            yield f"later fragment of {protocol} {flags}", later / Raw(b"\x00\x01\x00\x02payload!")
    yield "SCTP", ip / SCTP(sport=40000, dport=443) / Raw(PAYLOAD)
    yield "GRE", ip / GRE() / IP(src=OTHER, dst=OTHER) / tcp()
    yield "IP in IP", ip / IP(src=OTHER, dst=OTHER) / tcp()
    yield "IPv6 in IPv4", ip / IPv6(src=OTHER6, dst=OTHER6) / tcp()
    yield "ESP", ip / ESP(spi=5, seq=6, data=PAYLOAD)
    yield "AH", ip / AH(nh=6, spi=5, seq=6, icv=b"\0" * 12, payloadlen=4) / tcp()
    yield "IGMP", IP(src=NEAR, dst="224.0.0.22", proto=2, options=[IPOption_Router_Alert()]) / Raw(b"\x22" + b"\0" * 7)
    yield "ICMPv6's number over IPv4", IP(src=NEAR, dst=FAR, proto=58) / Raw(b"\x80\0\0\0\0\x05\0\x06")
    yield "jumbo frame", ip / tcp() / Raw(b"j" * 8961)
    yield "after segmentation offload's size", ip / tcp() / Raw(b"g" * 65000)
    yield "an empty segment of UDP", ip / UDP(sport=5, dport=6)
    yield "every bit of the type of service", IP(src=NEAR, dst=FAR, tos=0xFF, flags="DF") / tcp()
    yield "the reserved flag", IP(src=NEAR, dst=FAR, flags="evil") / tcp()
    yield "hop count 0", IP(src=NEAR, dst=FAR, ttl=0) / tcp()
    yield "broadcast", IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67)  # noqa: S104


def _chains() -> dict[str, Packet]:
    hop, options, routing = IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt(), IPv6ExtHdrRouting(addresses=[OTHER6])
    return {
        "hop-by-hop": hop,
        "hop-by-hop of 24 bytes": IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 16)]),
        "a router alert": IPv6ExtHdrHopByHop(options=[RouterAlert()]),
        "destination options": options,
        "routing": routing,
        "segment routing": IPv6ExtHdrRouting(type=4, addresses=[OTHER6] * 3),
        "first fragment": IPv6ExtHdrFragment(m=1, id=0xABCDEF01),
        "atomic fragment": IPv6ExtHdrFragment(id=0xABCDEF02),
        "authentication": AH(icv=b"\0" * 12, payloadlen=4),
        "two of them": hop / IPv6ExtHdrFragment(m=1, id=5),
        "four of them": hop / options / routing / IPv6ExtHdrFragment(m=1, id=6),
        "six of them": hop / options / routing / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt(),
    }


def _ipv6() -> Iterator[tuple[str, Packet]]:
    ip = IPv6(src=NEAR6, dst=FAR6, hlim=61, tc=0xB8, fl=0xFEDCB)
    transports = dict([*tcp_kinds(), *_udp_kinds()])
    transports |= {"echo request": ICMPv6EchoRequest(id=9, seq=1), "echo reply": ICMPv6EchoReply(id=9, seq=1)}
    for name, transport in transports.items():
        yield name, ip / transport / Raw(PAYLOAD)
    for near, far in ((FAR6, NEAR6), (OTHER6, FAR6), (NEAR6, OTHER6), (OTHER6, OTHER6)):
        for name in ("TCP S", "TCP back", "UDP 40000 to 53", "UDP 53 to 40000", "echo request", "echo reply"):
            yield f"{name} from {near} to {far}", IPv6(src=near, dst=far) / transports[name]
    for sender, target in ((FAR6, NEAR6), (OTHER6, OTHER6)):
        for name, message in _errors6():
            yield f"{name} from {sender} to {target}", IPv6(src=sender, dst=target) / message
    for label, chain in _chains().items():
        for number, transport in ((6, tcp()), (17, UDP(sport=40000, dport=53)), (58, ICMPv6EchoRequest(id=9, seq=3))):
            whole = ip / chain.copy() / transport / Raw(PAYLOAD)
            if AH in whole:
                whole[AH].nh = number
            yield f"{transport.name} behind {label}", whole
    for following in (6, 17, 58, 47):
        later = IPv6ExtHdrFragment(offset=9, id=0xABCDEF03, nh=following)
        yield f"later fragment of {following}", ip / later / Raw(PAYLOAD)
        yield f"later fragment of {following} behind options", ip / IPv6ExtHdrHopByHop() / later / Raw(PAYLOAD)
    yield "neighbour solicitation", ip / ICMPv6ND_NS(tgt=FAR6)
    yield "neighbour advertisement", ip / ICMPv6ND_NA(tgt=FAR6)
    yield "router solicitation", ip / ICMPv6ND_RS()
    yield "router advertisement", ip / ICMPv6ND_RA()
    yield "no next header", IPv6(src=NEAR6, dst=FAR6, nh=59)
    yield "SCTP", ip / SCTP(sport=40000, dport=443)
    yield "ESP", ip / ESP(spi=5, seq=6, data=PAYLOAD)
    yield "IPv4 in IPv6", ip / IP(src=OTHER, dst=OTHER) / tcp()
    yield "IPv6 in IPv6", ip / IPv6(src=OTHER6, dst=OTHER6) / tcp()
    yield "ICMP's number over IPv6", IPv6(src=NEAR6, dst=FAR6, nh=1) / Raw(b"\x08\0\0\0\0\x05\0\x06")
    yield "jumbo frame", ip / tcp() / Raw(b"j" * 8941)


def _other() -> Iterator[tuple[str, Packet]]:
    yield "ARP", ARP(psrc=NEAR, pdst=FAR)
    yield "no EtherType that is known", Raw(PAYLOAD)
    yield "no EtherType at all", Raw(b"")


@cache
def sound() -> tuple[Sample, ...]:
    """Whole and well-formed frames, untagged, and a part of them behind VLAN tags and with an Ethernet trailer."""
    packets = [("IPv4, " + n, p) for n, p in _ipv4()] + [("IPv6, " + n, p) for n, p in _ipv6()]
    found = [Sample(name, ether(packet)) for name, packet in packets]
    for label, tags in TAGS.items():
        found += [Sample(f"{label}: {name}", ether(tagged(packet, *tags))) for name, packet in packets[::3]]
    found += [Sample(f"padded: {name}", ether(packet) + b"\xff\x01" * 9) for name, packet in packets[::7]]
    return tuple(found + [Sample(name, ether(packet)) for name, packet in _other()])


@cache
def recorded() -> tuple[Sample, ...]:
    """What programs and kernels sent each other, as tcpdump wrote it down."""
    return tuple(
        Sample(f"{path.stem} {number}", packet.data)
        for path in sorted(FIXTURES.glob("*.pcap"))
        for number, packet in enumerate(read_pcap(path), 1)
    )
