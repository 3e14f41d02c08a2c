"""The frames that the bench sends, made by scapy: of the flow that is captured, and of others. Pure."""

import struct
from collections.abc import Mapping
from typing import Final

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from bench.wiring import FAR, POD
from pathtap.model.address import Protocol
from pathtap.model.request import CaptureRequest

SIZE: Final = 100
PORT = 443
# Of a TCP header's sequence number in an untagged IPv4 frame: 14 + 20 + 4.
SEQUENCE_OFFSET = 38
# Nobody's: see `bench.wiring`.
_ETHER = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
# More than any measurement sends.
UNLIMITED = 2**31 - 1


def request(identity: str = "bench", limit: int = UNLIMITED) -> CaptureRequest:
    """Selects `matching` and none of `OTHERS`."""
    return CaptureRequest(
        id=identity, protocol=Protocol.TCP, near=(POD,), far=(FAR,), ports=(PORT,), pods=(POD,), limit=limit
    )


def matching() -> bytes:
    return _of(IP(src=str(POD), dst=str(FAR), id=1) / TCP(sport=40000, dport=PORT, flags="A", seq=0, ack=1))


def others() -> Mapping[str, bytes]:
    """Frames as a node's interfaces see them beside the flow that is traced, by what they are."""
    elsewhere, neighbour = "203.0.113.7", "192.0.2.51"
    answer = TCP(sport=PORT, dport=40000, flags="A")
    return {
        "TCP of the same pod to elsewhere": _of(IP(src=str(POD), dst=elsewhere) / TCP(sport=40000, dport=PORT)),
        "TCP of another pod to the same place": _of(IP(src=neighbour, dst=str(FAR)) / TCP(sport=40000, dport=PORT)),
        "TCP of the same pair, another port": _of(IP(src=str(POD), dst=str(FAR)) / TCP(sport=40000, dport=80)),
        "TCP of nobody asked for": _of(IP(src=neighbour, dst=elsewhere) / TCP(sport=40000, dport=PORT)),
        "an answer to nobody asked for": _of(IP(src=elsewhere, dst=neighbour) / answer),
        "UDP of the same pair": _of(IP(src=str(POD), dst=str(FAR)) / UDP(sport=40000, dport=PORT)),
        "a DNS question": _of(IP(src=neighbour, dst="10.100.0.10") / UDP(sport=40000, dport=53)),
        "an echo request": _of(IP(src=neighbour, dst=elsewhere) / ICMP()),
        "an ICMP error about nobody asked for": _of(
            IP(src=elsewhere, dst=neighbour) / ICMP(type=3, code=1) / IP(src=neighbour, dst=elsewhere) / TCP()
        ),
        "TCP over IPv6": _of(IPv6(src="2001:db8::1", dst="2001:db8::2") / TCP(sport=40000, dport=PORT)),
        "TCP behind a VLAN tag": _of(Dot1Q(vlan=7) / IP(src=neighbour, dst=elsewhere) / TCP(dport=PORT)),
        "ARP": _of(ARP(psrc=neighbour, pdst=str(POD))),
    }


def other() -> bytes:
    """What a flood beside the traced flow is made of."""
    return others()["TCP of the same pod to elsewhere"]


def sequence_of(frame: bytes) -> int:
    """The TCP sequence number of one of `matching`, as the generator counts it up."""
    number: int = struct.unpack_from(">I", frame, SEQUENCE_OFFSET)[0]
    return number


def _of(packet: Packet) -> bytes:
    """Padded to SIZE bytes within the IP packet, so that lengths and checksums hold for it."""
    room = SIZE - len(Ether(**_ETHER) / packet)
    return bytes(Ether(**_ETHER) / packet / Raw(bytes(room)))
