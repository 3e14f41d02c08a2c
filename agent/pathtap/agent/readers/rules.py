"""Reads the policy routing rules of both families. Evaluates none of them, and names what cannot be evaluated."""

from ipaddress import ip_network
from typing import Any

from pathtap.agent.readers import netlink, words
from pathtap.agent.readers.netlink import Message
from pathtap.model.address import Network
from pathtap.model.node import PortRange, Rule, RuleAction, table_name

# linux/fib_rules.h
_INVERT = 0x2
_UNRESOLVED = 0x4
_IIF_DETACHED = 0x8
_OIF_DETACHED = 0x10
_ACTIONS = {
    1: RuleAction.LOOKUP,
    2: RuleAction.GOTO,
    3: RuleAction.NOP,
    6: RuleAction.BLACKHOLE,
    7: RuleAction.UNREACHABLE,
    8: RuleAction.PROHIBIT,
}
_NO_PREFIX_LENGTH = 0xFFFFFFFF
# FRA_SPORT_MASK and FRA_DPORT_MASK, which Linux 6.15 and later send with every single port.
_PORT_MASKS = frozenset({28, 29})
_WHOLE_PORT = "ffff"


def fetch(socket: Any) -> tuple[Message, ...]:
    return tuple(message for family in netlink.FAMILIES for message in netlink.rules(socket, family))


def decode(messages: tuple[Message, ...]) -> tuple[Rule, ...]:
    """In the kernel's order, IPv4 first. A message of another family (ipmr's rules) is left out."""
    return tuple(_decode(message) for message in messages if message["family"] in netlink.FAMILIES)


def _decode(message: Message) -> Rule:
    attributes = message["attrs"]
    mask = attributes.get("FRA_FWMASK")
    action = _ACTIONS.get(message["action"])
    suppress = attributes.get("FRA_SUPPRESS_PREFIXLEN", _NO_PREFIX_LENGTH)
    return Rule(
        family=words.version(message["family"]),
        priority=attributes.get("FRA_PRIORITY", 0),
        source=_network(message, "FRA_SRC", "src_len"),
        destination=_network(message, "FRA_DST", "dst_len"),
        in_interface=attributes.get("FRA_IIFNAME"),
        out_interface=attributes.get("FRA_OIFNAME"),
        # The kernel leaves out a mark of 0, and sends the mask wherever there is a mark or a mask (fib_nl_fill_rule).
        mark=attributes.get("FRA_FWMARK", 0) if mask is not None else attributes.get("FRA_FWMARK"),
        mask=mask if mask is not None else 0xFFFFFFFF,
        tos=message["tos"],
        ip_protocol=attributes.get("FRA_IP_PROTO"),
        source_ports=_ports(attributes.get("FRA_SPORT_RANGE")),
        destination_ports=_ports(attributes.get("FRA_DPORT_RANGE")),
        inverted=bool(message["flags"] & _INVERT),
        action=action or RuleAction.NOP,
        table=attributes.get("FRA_TABLE", message["table"]),
        goto=attributes.get("FRA_GOTO"),
        suppress_prefix_length=None if suppress == _NO_PREFIX_LENGTH else suppress,
        unmodelled=_unmodelled(message, known_action=action is not None),
        text=_text(message),
    )


def _network(message: Message, attribute: str, length: str) -> Network | None:
    if attribute not in message["attrs"]:
        return None
    return ip_network((message["attrs"][attribute], message[length]), strict=False)


def _ports(bounds: str | None) -> PortRange | None:
    if bounds is None:
        return None
    first, last = _bounds(bounds)
    return PortRange(first=first, last=last)


def _bounds(text: str) -> tuple[int, int]:
    """pyroute2 writes struct fib_rule_port_range and _uid_range as `10:20`."""
    first, _, last = text.partition(":")
    return int(first), int(last or first)


def _unmodelled(message: Message, *, known_action: bool) -> tuple[str, ...]:
    attributes = message["attrs"]
    found = []
    if attributes.get("FRA_L3MDEV"):
        found.append("l3mdev")
    if "FRA_UID_RANGE" in attributes:
        found.append("uidrange {}-{}".format(*_bounds(attributes["FRA_UID_RANGE"])))
    if "FRA_TUN_ID" in attributes:
        found.append(f"tun_id {attributes['FRA_TUN_ID']}")
    if attributes.get("FRA_SUPPRESS_IFGROUP", _NO_PREFIX_LENGTH) != _NO_PREFIX_LENGTH:
        found.append(f"suppress_ifgroup {attributes['FRA_SUPPRESS_IFGROUP']}")
    if not known_action:
        found.append(f"action {message['action']}")
    for number, payload in attributes.get("UNKNOWN", ()):
        if number not in _PORT_MASKS or payload != _WHOLE_PORT:
            found.append(f"attribute {number} of linux/fib_rules.h: {payload}")
    return tuple(found)


def _text(message: Message) -> str:
    """As print_rule of iproute2's ip/iprule.c puts it, after the priority."""
    parts = [*_selector_words(message), *_action_words(message)]
    protocol = message["attrs"].get("FRA_PROTOCOL", 0)
    if protocol not in (0, words.PROTOCOL_KERNEL):
        parts.append(f"proto {words.route_protocol(protocol)}")
    return " ".join(parts)


def _selector_words(message: Message) -> list[str]:
    attributes, flags = message["attrs"], message["flags"]
    found = ["not"] if flags & _INVERT else []
    found.append(f"from {_prefix(message, 'FRA_SRC', 'src_len') or 'all'}")
    if destination := _prefix(message, "FRA_DST", "dst_len"):
        found.append(f"to {destination}")
    if message["tos"]:
        found.append(f"tos {words.tos(message['tos'])}")
    if "FRA_FWMARK" in attributes or "FRA_FWMASK" in attributes:
        mask = attributes.get("FRA_FWMASK", 0xFFFFFFFF)
        mark = words.hexadecimal(attributes.get("FRA_FWMARK", 0))
        found.append(f"fwmark {mark}" + (f"/{words.hexadecimal(mask)}" if mask != 0xFFFFFFFF else ""))
    for word, name, detached in (("iif", "FRA_IIFNAME", _IIF_DETACHED), ("oif", "FRA_OIFNAME", _OIF_DETACHED)):
        if name in attributes:
            found.append(f"{word} {attributes[name]}" + (" [detached]" if flags & detached else ""))
    if attributes.get("FRA_L3MDEV"):
        found.append("lookup [l3mdev-table]")
    if "FRA_UID_RANGE" in attributes:
        found.append("uidrange {}-{}".format(*_bounds(attributes["FRA_UID_RANGE"])))
    if "FRA_IP_PROTO" in attributes:
        found.append(f"ipproto {words.ip_protocol(attributes['FRA_IP_PROTO'])}")
    for word, name in (("sport", "FRA_SPORT_RANGE"), ("dport", "FRA_DPORT_RANGE")):
        if name in attributes:
            first, last = _bounds(attributes[name])
            found.append(f"{word} {first}" + ("" if first == last else f"-{last}"))
    if "FRA_TUN_ID" in attributes:
        found.append(f"tun_id {attributes['FRA_TUN_ID']}")
    return found


def _action_words(message: Message) -> list[str]:
    attributes = message["attrs"]
    found = []
    if table := attributes.get("FRA_TABLE", message["table"]):
        found.append(f"lookup {table_name(table)}")
        if (length := attributes.get("FRA_SUPPRESS_PREFIXLEN", _NO_PREFIX_LENGTH)) != _NO_PREFIX_LENGTH:
            found.append(f"suppress_prefixlength {length}")
        if (group := attributes.get("FRA_SUPPRESS_IFGROUP", _NO_PREFIX_LENGTH)) != _NO_PREFIX_LENGTH:
            found.append(f"suppress_ifgroup {group}")
    if flow := attributes.get("FRA_FLOW"):
        found.append("realms " + (f"{flow >> 16}/{flow & 0xFFFF}" if flow >> 16 else f"{flow}"))
    action = _ACTIONS.get(message["action"])
    if action is RuleAction.GOTO:
        found.append(f"goto {attributes.get('FRA_GOTO', 'none')}")
        if message["flags"] & _UNRESOLVED:
            found.append("[unresolved]")
    elif action is None:
        found.append(f"action {message['action']}")
    elif action is not RuleAction.LOOKUP:
        found.append(action.value)
    return found


def _prefix(message: Message, attribute: str, length: str) -> str:
    if attribute not in message["attrs"]:
        return f"0/{message[length]}" if message[length] else ""
    return words.prefix(message["family"], message["attrs"][attribute], message[length])
