"""The packet that walks through the model. Knows no rules, no routes and no payload."""

from dataclasses import dataclass, field, replace
from enum import Enum

from pathtap.model.address import FiveTuple, Protocol, Socket
from pathtap.model.packet import TcpFlag

ECHO_REQUEST = {Protocol.ICMP: 8, Protocol.ICMPV6: 128}
ECHO_REPLY = {Protocol.ICMP: 0, Protocol.ICMPV6: 129}
# Echo, timestamp, information and address mask requests; echo and node information queries: nf_conntrack_proto_icmp(v6).c.
OPENING = {Protocol.ICMP: frozenset({8, 13, 15, 17}), Protocol.ICMPV6: frozenset({128, 139})}


class State(Enum):
    """What connection tracking takes the packet for: `--ctstate` of iptables-extensions(8)."""

    NEW = "NEW"
    ESTABLISHED = "ESTABLISHED"
    RELATED = "RELATED"
    INVALID = "INVALID"
    UNTRACKED = "UNTRACKED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """`in_interface` empty means locally generated; `out_interface` is empty until the packet has been routed.

    `translated` is for packets of a connection that conntrack already holds: the tuple that this node's NAT makes of it,
    its destination from the nat hook of PREROUTING or OUTPUT on, its source from that of POSTROUTING or INPUT on. So
    `five_tuple, translated = entry.reply_tuples` describes a reply. For NEW packets the rules decide instead.

    `entry` holds that connection's original and reply tuples; of a NEW packet `first` is the tuple it came with.

    `icmp_type` and `tcp_flags` None mean that nobody told, and a match on them is unknown. `reply` is conntrack's
    direction. `tos` is the whole former TOS octet.
    """

    five_tuple: FiveTuple
    in_interface: str = ""
    out_interface: str = ""
    mark: int = 0
    connmark: int = 0
    state: State = State.NEW
    reply: bool = False
    dnated: bool = False
    snated: bool = False
    translated: FiveTuple | None = None
    entry: tuple[FiveTuple, FiveTuple] | None = field(default=None, compare=False)
    first: FiveTuple | None = field(default=None, compare=False)
    icmp_type: int | None = None
    icmp_code: int = 0
    tcp_flags: TcpFlag | None = None
    tos: int = 0

    @classmethod
    def opening(cls, five_tuple: FiveTuple, in_interface: str = "") -> "Packet":
        """The first packet of a connection: a SYN, an echo request, a datagram."""
        flags = TcpFlag.SYN if five_tuple.protocol == Protocol.TCP else None
        asked = _echo(five_tuple, ECHO_REQUEST)
        return cls(five_tuple=five_tuple, in_interface=in_interface, icmp_type=asked, tcp_flags=flags)

    @classmethod
    def replying(cls, five_tuple: FiveTuple, translated: FiveTuple, in_interface: str, connmark: int = 0) -> "Packet":
        """The first answer of a tracked connection: SYN,ACK, echo reply, a datagram back (`ConntrackEntry.reply_tuples`)."""
        return cls(
            five_tuple=five_tuple,
            translated=translated,
            entry=(translated.reversed, five_tuple),
            in_interface=in_interface,
            connmark=connmark,
            state=State.ESTABLISHED,
            reply=True,
            dnated=five_tuple.source_socket != translated.source_socket,
            snated=five_tuple.destination_socket != translated.destination_socket,
            icmp_type=_echo(five_tuple, ECHO_REPLY),
            tcp_flags=TcpFlag.SYN | TcpFlag.ACK if five_tuple.protocol == Protocol.TCP else None,
        )

    @classmethod
    def continuing(
        cls,
        five_tuple: FiveTuple,
        translated: FiveTuple,
        in_interface: str = "",
        connmark: int = 0,
        *,
        state: State = State.ESTABLISHED,
    ) -> "Packet":
        """The originator's next packet of a tracked connection (`ConntrackEntry.forward_tuples`).

        `state` is NEW while nobody answered: the rules of nat are skipped all the same, since the entry holds the translation.
        """
        opened = state is State.NEW
        return cls(
            five_tuple=five_tuple,
            translated=translated,
            entry=(five_tuple, translated.reversed),
            in_interface=in_interface,
            connmark=connmark,
            state=state,
            dnated=five_tuple.destination_socket != translated.destination_socket,
            snated=five_tuple.source_socket != translated.source_socket,
            icmp_type=_echo(five_tuple, ECHO_REQUEST),
            tcp_flags=(TcpFlag.SYN if opened else TcpFlag.ACK) if five_tuple.protocol == Protocol.TCP else None,
        )

    @classmethod
    def related(
        cls, five_tuple: FiveTuple, in_interface: str, connmark: int = 0, *, icmp_type: int, icmp_code: int = 0
    ) -> "Packet":
        """An ICMP error that quotes a packet of a tracked connection, as it is after NAT was undone."""
        return cls(
            five_tuple=five_tuple,
            in_interface=in_interface,
            connmark=connmark,
            state=State.RELATED,
            reply=True,
            icmp_type=icmp_type,
            icmp_code=icmp_code,
        )

    @classmethod
    def without_entry(
        cls,
        five_tuple: FiveTuple,
        in_interface: str = "",
        *,
        tcp_flags: TcpFlag | None = None,
        icmp_type: int | None = None,
        loose: bool = True,
    ) -> "Packet":
        """Any packet of which conntrack holds nothing: what opens a connection is NEW, what only continues one is INVALID.

        TCP: a SYN is NEW, a bare ACK too where nf_conntrack_tcp_loose is on, all else INVALID (tcp_conntracks of
        nf_conntrack_proto_tcp.c). ICMP: requests are NEW (nf_conntrack_icmp_packet), replies and errors INVALID.
        """
        state = State.NEW
        if tcp_flags is not None and five_tuple.protocol == Protocol.TCP:
            ends = tcp_flags & (TcpFlag.RST | TcpFlag.FIN)
            opens = TcpFlag.SYN in tcp_flags and TcpFlag.ACK not in tcp_flags
            goes_on = loose and TcpFlag.ACK in tcp_flags and TcpFlag.SYN not in tcp_flags
            state = State.NEW if not ends and (opens or goes_on) else State.INVALID
        if icmp_type is not None and five_tuple.protocol in OPENING:
            state = State.NEW if icmp_type in OPENING[Protocol(five_tuple.protocol)] else State.INVALID
        return cls(
            five_tuple=five_tuple, in_interface=in_interface, state=state, icmp_type=icmp_type, tcp_flags=tcp_flags
        )

    @property
    def connection(self) -> tuple[FiveTuple, FiveTuple] | None:
        """The entry's original and reply tuple, as they stand at this point of the way; None without an entry."""
        if not self.tracked:
            return None
        return self.entry or (self.first or self.five_tuple, self.five_tuple.reversed)

    @property
    def tracked(self) -> bool:
        """Whether the packet belongs to a conntrack entry; without one there is neither connmark nor NAT."""
        return self.state not in (State.INVALID, State.UNTRACKED)

    @property
    def family(self) -> int:
        """4 or 6."""
        return self.five_tuple.family

    def to(self, destination: Socket) -> "Packet":
        changed = replace(self.five_tuple, destination=destination.address, destination_port=destination.port)
        return replace(self, five_tuple=changed, dnated=self.dnated or changed != self.five_tuple)

    def coming_from(self, source: Socket) -> "Packet":
        changed = replace(self.five_tuple, source=source.address, source_port=source.port)
        return replace(self, five_tuple=changed, snated=True)


def _echo(five_tuple: FiveTuple, types: dict[Protocol, int]) -> int | None:
    return types[Protocol(five_tuple.protocol)] if five_tuple.protocol in types else None
