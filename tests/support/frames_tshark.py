"""What tshark reads in frames, as the product's own `Headers`: by layers, in the order in which tshark found them.

A frame of which tshark could not tell two IP addresses is None. `truncated` is tshark's word that a layer is malformed, of those
that are compared. tshark decides alone what each header says; only what the product defines is done here: that echo identifiers
stand for ports, and that a later fragment has none.
"""

import subprocess
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from pathtap.model.address import FiveTuple
from pathtap.model.packet import Headers, IcmpHeader, TcpFlag, TcpHeader

# The fields of each layer, by tshark's names for both.
LAYERS = {
    "ieee8021ad": ("ieee8021ad.id",),
    "vlan": ("vlan.id",),
    "ip": ("ip.src", "ip.dst", "ip.proto", "ip.ttl", "ip.len", "ip.id", "ip.frag_offset", "ip.hdr_len"),
    "ipv6": ("ipv6.src", "ipv6.dst", "ipv6.nxt", "ipv6.hlim", "ipv6.plen"),
    "ipv6.hopopts": ("ipv6.hopopts.nxt",),
    "ipv6.dstopts": ("ipv6.dstopts.nxt",),
    "ipv6.routing": ("ipv6.routing.nxt",),
    "ipv6.fraghdr": ("ipv6.fraghdr.nxt", "ipv6.fraghdr.offset", "ipv6.fraghdr.ident"),
    "ah": ("ah.next_header",),
    "tcp": ("tcp.srcport", "tcp.dstport", "tcp.seq_raw", "tcp.ack_raw", "tcp.flags", "tcp.hdr_len"),
    "udp": ("udp.srcport", "udp.dstport", "udp.length"),
    "icmp": ("icmp.type", "icmp.code"),
    "icmpv6": ("icmpv6.type", "icmpv6.code"),
}
# Fields that only some messages have: taken where the type says so.
IDENTIFIER = {"icmp": "icmp.ident", "icmpv6": "icmpv6.echo.identifier"}
SEQUENCE = {"icmp": "icmp.seq", "icmpv6": "icmpv6.echo.sequence_number"}
MTU = {"icmp": "icmp.mtu", "icmpv6": "icmpv6.mtu"}
# Of a source-routed packet tshark calls the end of its route ip.dst, and what the header says this.
ROUTED_TO = "ip.cur_rt"
OF_SOME = (ROUTED_TO, *IDENTIFIER.values(), *SEQUENCE.values(), *MTU.values())
TELLS_MTU = {"icmp": (3, 4), "icmpv6": (2, None)}
EXTENSIONS = ("ipv6.hopopts", "ipv6.dstopts", "ipv6.routing", "ipv6.fraghdr", "ah")
EXTENSION_NUMBERS = frozenset({0, 43, 44, 51, 60})
GENERAL = ("frame.time_epoch", "frame.protocols", "_ws.malformed", "_ws.short")
FIELDS = (*GENERAL, *(field for fields in LAYERS.values() for field in fields), *OF_SOME)
# Each frame for itself: nothing is put together, guessed from earlier frames, or looked up.
PREFERENCES = (
    "ip.defragment:FALSE",
    "ipv6.defragment:FALSE",
    "ip.tso_support:FALSE",
    "tcp.desegment_tcp_streams:FALSE",
    "tcp.analyze_sequence_numbers:FALSE",
    "tcp.relative_sequence_numbers:FALSE",
    "tcp.calculate_timestamps:FALSE",
    "tcp.try_heuristic_first:FALSE",
)
NEEDED = frozenset({"frame", "eth", "ethertype", *LAYERS, "_ws.malformed", "_ws.short"})
ECHO = {"icmp": (8, 0), "icmpv6": (128, 129)}
ERRORS = {"icmp": (3, 4, 5, 11, 12), "icmpv6": (1, 2, 3, 4)}


class Told(NamedTuple):
    """tshark's word on one frame. `complaint` is what it found malformed, empty where nothing is."""

    captured_at: int
    headers: Headers | None
    complaint: str


def tshark(path: Path) -> Iterator[Told]:
    """Every frame of a capture file, in its order. Raises AssertionError where tshark fails."""
    words = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=;"]
    words += [word for preference in PREFERENCES for word in ("-o", preference)]
    words += [word for protocol in _unused() for word in ("--disable-protocol", protocol)]
    words += [word for field in FIELDS for word in ("-e", field)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            yield _told(dict(zip(FIELDS, line.rstrip("\n").split("\t"), strict=True)))
        complaint = process.stderr.read()
        assert process.wait() == 0, complaint


@cache
def _unused() -> tuple[str, ...]:
    """Every protocol that is not compared: without them tshark is several times as fast."""
    listed = subprocess.run(("tshark", "-G", "protocols"), check=True, capture_output=True, text=True).stdout
    names = (line.split("\t")[2] for line in listed.splitlines())
    return tuple(name for name in names if name not in NEEDED)


def _told(fields: dict[str, str]) -> Told:
    seconds, fraction = fields["frame.time_epoch"].split(".")
    layers = _Layers(fields)
    complaint = fields["_ws.malformed"] or fields["_ws.short"]
    return Told(int(seconds) * 10**9 + int(fraction.ljust(9, "0")), layers.headers(), complaint)


class _Layers:
    """A frame's layers, taken one after another; each takes the next value of its fields."""

    def __init__(self, fields: dict[str, str]) -> None:
        self._left = deque(name for name in fields["frame.protocols"].split(":") if name not in ("eth", "ethertype"))
        self._values: dict[str, deque[str]] = defaultdict(deque)
        for name in FIELDS[len(GENERAL) :]:
            self._values[name] = deque(fields[name].split(";") if fields[name] else ())

    def next_is(self, *names: str) -> bool:
        return bool(self._left) and self._left[0] in names

    def take(self) -> tuple[str, dict[str, int | str | None]]:
        """The next layer: its name, and its fields by the last word of their names; None for what is not there."""
        layer = self._left.popleft()
        return layer, {name.removeprefix(layer).lstrip("."): self._value(name) for name in LAYERS[layer]}

    def _value(self, name: str) -> int | str | None:
        values = self._values[name]
        if not values:
            return None
        text = values.popleft()
        return text if name.endswith((".src", ".dst", ROUTED_TO)) else int(text, 0)

    def headers(self) -> Headers | None:
        vlan = None
        while self.next_is("vlan", "ieee8021ad"):
            _, tag = self.take()
            vlan = int(tag["id"] or 0) if vlan is None else vlan
        network = self.network()
        if network is None:
            return None
        tcp, icmp, ports = None, None, (0, 0)
        if not network.fragment:
            ports, tcp, icmp = self.transport(network.protocol)
        return Headers(
            five_tuple=network.five_tuple(ports),
            ttl=network.ttl,
            length=network.length,
            ip_id=network.ip_id,
            vlan=vlan,
            tcp=tcp,
            icmp=icmp,
            fragment=network.fragment,
        )

    def network(self) -> "_Network | None":
        """The next IP header with its extensions; None where its addresses are not told."""
        if not self.next_is("ip", "ipv6"):
            return None
        layer, ip = self.take()
        if ip["src"] is None or ip["dst"] is None:
            return None
        if layer == "ip":
            if _int(ip["hdr_len"]) > 20:
                ip["dst"] = self._value(ROUTED_TO) or ip["dst"]
            own = (ip["proto"], ip["ttl"], ip["len"], ip["id"], ip["frag_offset"])
        else:
            own = (ip["nxt"], ip["hlim"], 40 + int(ip["plen"] or 0), None, 0)
        protocol, ttl, length, ip_id, offset = own
        while layer == "ipv6" and self.next_is(*EXTENSIONS) and not offset:
            _, extension = self.take()
            protocol = extension.get("nxt", extension.get("next_header"))
            offset, ip_id = extension.get("offset", offset), extension.get("ident", ip_id)
        return _Network(
            source=str(ip["src"]),
            destination=str(ip["dst"]),
            protocol=_int(protocol),
            ttl=_int(ttl),
            length=_int(length),
            ip_id=None if ip_id is None else int(ip_id),
            fragment=bool(offset),
        )

    def transport(self, protocol: int) -> tuple[tuple[int, int], TcpHeader | None, IcmpHeader | None]:
        """Ports, and the header, of the next layer where it is the protocol's."""
        if protocol == 6 and self.next_is("tcp"):
            _, tcp = self.take()
            ports = int(tcp["srcport"] or 0), int(tcp["dstport"] or 0)
            if tcp["hdr_len"] is None or tcp["flags"] is None or int(tcp["hdr_len"]) < 20:
                return ports, None, None
            flags = TcpFlag(int(tcp["flags"]) & 0xFF)
            return (
                ports,
                TcpHeader(flags=flags, sequence=_int(tcp["seq_raw"]), acknowledgment=_int(tcp["ack_raw"])),
                None,
            )
        if protocol == 17 and self.next_is("udp"):
            _, udp = self.take()
            return (_int(udp["srcport"]), _int(udp["dstport"])), None, None
        if protocol in (1, 58) and self.next_is("icmp" if protocol == 1 else "icmpv6"):
            ports, header = self.icmp()
            return ports, None, header
        return (0, 0), None, None

    def icmp(self) -> tuple[tuple[int, int], IcmpHeader | None]:
        layer, told = self.take()
        if told["type"] is None or told["code"] is None:
            return (0, 0), None
        kind, code = _int(told["type"]), _int(told["code"])
        if kind in ECHO[layer]:
            identifier = _int(self._value(IDENTIFIER[layer]))
            ports = (identifier, 0) if kind == ECHO[layer][0] else (0, identifier)
            return ports, IcmpHeader(type=kind, code=code, sequence=_int(self._value(SEQUENCE[layer])))
        if kind not in ERRORS[layer]:
            return (0, 0), IcmpHeader(type=kind, code=code)
        wanted_type, wanted_code = TELLS_MTU[layer]
        mtu = _int(self._value(MTU[layer])) if kind == wanted_type and wanted_code in (None, code) else 0
        quoted = self.network()
        flow = None
        if quoted is not None:
            flow = quoted.five_tuple((0, 0) if quoted.fragment else self.transport(quoted.protocol)[0])
        return (0, 0), IcmpHeader(type=kind, code=code, mtu=mtu, quoted=flow)


class _Network(NamedTuple):
    source: str
    destination: str
    protocol: int
    ttl: int
    length: int
    ip_id: int | None
    fragment: bool

    def five_tuple(self, ports: tuple[int, int]) -> FiveTuple:
        return FiveTuple(
            protocol=self.protocol,
            source=ip_address(self.source),
            source_port=ports[0],
            destination=ip_address(self.destination),
            destination_port=ports[1],
        )


def _int(value: int | str | None) -> int:
    return int(value or 0)


def contradictions(ours: Headers, theirs: Headers) -> list[str]:
    """The fields of which both tell something, and not the same: what the parser calls truncated tells less, or more."""
    found = [field for field in ("ttl", "length", "vlan", "fragment") if getattr(ours, field) != getattr(theirs, field)]
    found += [
        field for field in ("ip_id", "tcp") if None not in (pair := _pair(ours, theirs, field)) and pair[0] != pair[1]
    ]
    if _differ(ours.five_tuple, theirs.five_tuple):
        found.append("five_tuple")
    if ours.icmp is not None and theirs.icmp is not None:
        our_quoted, their_quoted = ours.icmp.quoted, theirs.icmp.quoted
        if replace(ours.icmp, quoted=None) != replace(theirs.icmp, quoted=None):
            found.append("icmp")
        if our_quoted is not None and their_quoted is not None and _differ(our_quoted, their_quoted):
            found.append("quoted")
    return found


def _pair(ours: Headers, theirs: Headers, field: str) -> tuple[object, object]:
    return getattr(ours, field), getattr(theirs, field)


def _differ(ours: FiveTuple, theirs: FiveTuple) -> bool:
    """Port 0 is no port; an extension header's number is where a chain was given up."""
    ends = (ours.source, ours.destination) != (theirs.source, theirs.destination)
    ports = zip((ours.source_port, ours.destination_port), (theirs.source_port, theirs.destination_port), strict=True)
    protocols = {ours.protocol, theirs.protocol}
    return (
        ends or any(a and b and a != b for a, b in ports) or (len(protocols) > 1 and not protocols & EXTENSION_NUMBERS)
    )
