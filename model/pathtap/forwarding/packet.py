"""The packet that walks through the model. Knows no rules, no routes and no payload."""

from dataclasses import dataclass, replace
from enum import Enum

from pathtap.model.address import FiveTuple, Protocol, Socket
from pathtap.model.packet import TcpFlag

ECHO_REQUEST = {Protocol.ICMP: 8, Protocol.ICMPV6: 128}
ECHO_REPLY = {Protocol.ICMP: 0, Protocol.ICMPV6: 129}


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
    icmp_type: int | None = None
    icmp_code: int = 0
    tcp_flags: TcpFlag | None = None
    tos: int = 0

    @classmethod
    def opening(cls, five_tuple: FiveTuple, in_interface: str = "") -> "Packet":
        """The first packet of a connection: a SYN, an echo request, a datagram."""
        icmp_type = ECHO_REQUEST.get(Protocol(five_tuple.protocol)) if five_tuple.protocol in ECHO_REQUEST else None
        flags = TcpFlag.SYN if five_tuple.protocol == Protocol.TCP else None
        return cls(five_tuple=five_tuple, in_interface=in_interface, icmp_type=icmp_type, tcp_flags=flags)

    @classmethod
    def replying(cls, five_tuple: FiveTuple, translated: FiveTuple, in_interface: str, connmark: int = 0) -> "Packet":
        """The first answer of a tracked connection: SYN,ACK, echo reply, a datagram back (`ConntrackEntry.reply_tuples`)."""
        icmp_type = ECHO_REPLY.get(Protocol(five_tuple.protocol)) if five_tuple.protocol in ECHO_REPLY else None
        return cls(
            five_tuple=five_tuple,
            translated=translated,
            in_interface=in_interface,
            connmark=connmark,
            state=State.ESTABLISHED,
            reply=True,
            icmp_type=icmp_type,
            tcp_flags=TcpFlag.SYN | TcpFlag.ACK if five_tuple.protocol == Protocol.TCP else None,
        )

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
