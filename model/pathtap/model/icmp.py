"""What ICMP's messages are called. Pure."""

from collections.abc import Mapping

from pathtap.model.address import Protocol

_ANY_CODE: Mapping[tuple[int, int], str] = {
    (Protocol.ICMP, 0): "echo reply",
    (Protocol.ICMP, 8): "echo request",
    (Protocol.ICMP, 5): "redirect",
    (Protocol.ICMPV6, 2): "packet too big",
    (Protocol.ICMPV6, 128): "echo request",
    (Protocol.ICMPV6, 129): "echo reply",
    (Protocol.ICMPV6, 137): "redirect",
}
# Of ICMP as in RFC 792, RFC 1122 section 3.2.2.1 and RFC 1812 section 5.2.7.1, of ICMPv6 as in RFC 4443 section 3.
_ONE_CODE: Mapping[tuple[int, int, int], str] = {
    (Protocol.ICMP, 3, 0): "net unreachable",
    (Protocol.ICMP, 3, 1): "host unreachable",
    (Protocol.ICMP, 3, 2): "protocol unreachable",
    (Protocol.ICMP, 3, 3): "port unreachable",
    (Protocol.ICMP, 3, 4): "fragmentation needed",
    (Protocol.ICMP, 3, 5): "source route failed",
    (Protocol.ICMP, 3, 9): "net administratively prohibited",
    (Protocol.ICMP, 3, 10): "host administratively prohibited",
    (Protocol.ICMP, 3, 13): "administratively prohibited",
    (Protocol.ICMP, 11, 0): "time to live exceeded",
    (Protocol.ICMP, 11, 1): "fragment reassembly time exceeded",
    (Protocol.ICMPV6, 1, 0): "no route to destination",
    (Protocol.ICMPV6, 1, 1): "administratively prohibited",
    (Protocol.ICMPV6, 1, 2): "beyond scope of source address",
    (Protocol.ICMPV6, 1, 3): "address unreachable",
    (Protocol.ICMPV6, 1, 4): "port unreachable",
    (Protocol.ICMPV6, 1, 5): "source address failed policy",
    (Protocol.ICMPV6, 1, 6): "reject route to destination",
    (Protocol.ICMPV6, 3, 0): "hop limit exceeded",
    (Protocol.ICMPV6, 3, 1): "fragment reassembly time exceeded",
}


def icmp_name(protocol: int, kind: int, code: int) -> str:
    """`echo request`, `host unreachable`; of a message that has no name here its numbers. `protocol` is 1 or 58."""
    name = _ANY_CODE.get((protocol, kind)) or _ONE_CODE.get((protocol, kind, code))
    return name or f"ICMP type {kind} code {code}"
