"""Frames that are cut off, or contradict themselves: what a parser must neither believe nor fall over."""

import struct
from collections.abc import Iterator
from functools import cache

from frames import FAR, FAR6, NEAR, NEAR6, OTHER, OTHER6, PAYLOAD, Sample, ether, sound, tagged, tcp
from scapy.layers.inet import ICMP, IP, UDP, IPerror, TCPerror
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, Jumbo
from scapy.layers.l2 import Dot1Q
from scapy.packet import Packet, Raw


def _cut() -> Iterator[Sample]:
    """A frame of each kind, ended after every byte of its headers."""
    names = (
        "IPv4, TCP with every SYN option",
        "IPv4, UDP behind record route",
        "IPv4, UDP 40000 to 53",
        f"IPv4, ICMP 3/4 quoting TCP behind options from {OTHER} to {NEAR}",
        f"IPv4, ICMP 11/0 quoting UDP from {OTHER} to {NEAR}",
        "IPv6, TCP with every SYN option",
        "IPv6, TCP behind four of them",
        "IPv6, UDP behind authentication",
        f"IPv6, ICMPv6 too big quoting TCP behind options from {OTHER6} to {OTHER6}",
        "tagged: IPv4, TCP S",
        "two tags: IPv4, TCP S",
    )
    by_name = {sample.name: sample.frame for sample in sound()}
    for name in names:
        frame = by_name[name]
        for length in range(min(len(frame), 150)):
            yield Sample(f"{name}, cut after {length} bytes", frame[:length])


def _patched(name: str, packet: Packet, *changes: tuple[int, bytes]) -> Sample:
    """Bytes written over a packet's own, counted from its IP header."""
    frame = bytearray(ether(packet))
    for offset, data in changes:
        frame[14 + offset : 14 + offset + len(data)] = data
    return Sample(name, bytes(frame))


def _absurd4() -> Iterator[Sample]:
    ip, segment = IP(src=NEAR, dst=FAR), tcp() / Raw(PAYLOAD)
    for words in range(16):
        yield _patched(f"IPv4 header of {words} words", ip / segment, (0, bytes([0x40 | words])))
        yield _patched(f"TCP header of {words} words", ip / segment, (32, bytes([words << 4])))
        yield _patched(f"IP version {words} in an IPv4 frame", ip / segment, (0, bytes([words << 4 | 5])))
    for total in (0, 1, 19, 20, 21, 23, 24, 27, 28, 39, 40, 41, 1500, 65535):
        yield _patched(f"IPv4 total length {total}, TCP", ip / segment, (2, struct.pack("!H", total)))
        datagram = ip / UDP(sport=40000, dport=53) / Raw(PAYLOAD)
        yield _patched(f"IPv4 total length {total}, UDP", datagram, (2, struct.pack("!H", total)))
        echo = ip / ICMP(type=8, id=5) / Raw(PAYLOAD)
        yield _patched(f"IPv4 total length {total}, ICMP", echo, (2, struct.pack("!H", total)))
    for length in (0, 1, 7, 8, 9, 73, 74, 65535):
        datagram = ip / UDP(sport=40000, dport=53) / Raw(PAYLOAD)
        yield _patched(f"UDP length {length}", datagram, (24, struct.pack("!H", length)))
    error = ip / ICMP(type=3, code=4, nexthopmtu=1400) / IPerror(src=NEAR, dst=FAR) / TCPerror(sport=40000, dport=443)
    for words in range(16):
        yield _patched(f"quoted IPv4 header of {words} words", error, (28, bytes([0x40 | words])))
        yield _patched(f"quoted IP version {words}", error, (28, bytes([words << 4 | 5])))
    for total in (0, 19, 20, 24, 28, 65535):
        yield _patched(f"quoted total length {total}", error, (30, struct.pack("!H", total)))
    for protocol in (0, 1, 2, 6, 17, 47, 58, 255):
        yield _patched(f"quoted protocol {protocol}", error, (37, bytes([protocol])))
    level = bytes(IP(src=NEAR, dst=FAR, len=65535) / ICMP(type=3))[:28]
    yield Sample("an error about an error about an error", ether(IP())[:14] + level * 50)


def _absurd6() -> Iterator[Sample]:
    ip, segment = IPv6(src=NEAR6, dst=FAR6), tcp() / Raw(PAYLOAD)
    for version in range(16):
        yield _patched(f"IP version {version} in an IPv6 frame", ip / segment, (0, bytes([version << 4])))
    for length in (0, 1, 3, 4, 7, 8, 19, 20, 21, 65535):
        yield _patched(f"IPv6 payload length {length}, TCP", ip / segment, (4, struct.pack("!H", length)))
        datagram = ip / UDP(sport=40000, dport=53) / Raw(PAYLOAD)
        yield _patched(f"IPv6 payload length {length}, UDP", datagram, (4, struct.pack("!H", length)))
        chained = ip / IPv6ExtHdrHopByHop() / segment
        yield _patched(f"IPv6 payload length {length}, hop-by-hop", chained, (4, struct.pack("!H", length)))
    for following in (0, 43, 44, 51, 60, 50, 59, 135, 139, 140, 255):
        for size in (0, 1, 2, 9, 255):
            chained = IPv6(src=NEAR6, dst=FAR6, nh=following) / Raw(bytes([6, size]) + b"\0" * 6) / segment
            yield Sample(f"IPv6 header {following} of size {size}", ether(chained))
    for count in (5, 8, 9, 100):
        chain: Packet = IPv6(src=NEAR6, dst=FAR6)
        for _ in range(count):
            chain = chain / IPv6ExtHdrDestOpt()
        yield Sample(f"{count} destination options", ether(chain / UDP(sport=1, dport=2)))
    jumbo = IPv6(src=NEAR6, dst=FAR6, plen=0) / IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=70000)]) / segment
    yield Sample("a jumbogram's beginning", ether(jumbo))
    twice = ip / IPv6ExtHdrFragment(m=1, id=1) / IPv6ExtHdrFragment(offset=3, id=2, nh=6) / Raw(PAYLOAD)
    yield Sample("a fragment within a fragment", ether(twice))


def _absurd_links() -> Iterator[Sample]:
    packet = IP(src=NEAR, dst=FAR) / tcp()
    for count in (3, 7, 8, 9, 300):
        yield Sample(f"{count} VLAN tags", ether(tagged(packet, *[Dot1Q] * count)))
    yield Sample("VLAN tags alone", ether(packet)[:12] + b"\x81\x00\x00\x01" * 400)
    yield Sample("IPv4's EtherType before IPv6", ether(packet)[:12] + b"\x08\x00" + bytes(IPv6() / tcp()))
    yield Sample("IPv6's EtherType before IPv4", ether(packet)[:12] + b"\x86\xdd" + bytes(packet) + PAYLOAD)
    for length in range(14):
        yield Sample(f"{length} bytes of 0xff", b"\xff" * length)


@cache
def odd() -> tuple[Sample, ...]:
    """Frames that are cut off or contradict themselves."""
    return (*_cut(), *_absurd4(), *_absurd6(), *_absurd_links())
