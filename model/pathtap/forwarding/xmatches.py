"""Decodes the matches of an iptables rule, one extension after the other. Knows no targets and no text beyond their options.

An option that is not in the table leaves its whole match unmodelled.
"""

from pathtap.forwarding.matches import (
    NEVER,
    AddressTypeIn,
    Bridged,
    Chance,
    FromSocket,
    InIpSet,
    Match,
    Not,
    Unmodelled,
    WayTo,
)
from pathtap.forwarding.xoptions import MATCHES, Option

# These ask for nothing without options; others do (`-m socket`). The empty name stands for the basic options.
ALWAYS_TRUE_ALONE = frozenset({"", "tcp", "udp", "icmp", "icmp6", "sctp"})
# The kernel throws dice, or remembers packets that came before.
CHANCES = frozenset({"statistic", "limit", "hashlimit", "connlimit", "quota", "connbytes", "cpu"})
# Ask for the socket or process that sent the packet.
OF_SENDERS = frozenset({"owner", "cgroup"})


def decode_module(module: str, group: tuple[str, ...], parsed: tuple[Option, ...], family: int) -> tuple[Match, ...]:
    """The matches of one `-m MODULE` with its options; `group` are their words. Raises ValueError, KeyError or IndexError for
    what does not parse.
    """
    text = " ".join(("-m", module, *group) if module else group)
    if module in CHANCES:
        return (Chance(text),)
    if module == "addrtype":
        return _address_types(parsed, family)
    if module == "recent":
        return _recent(text, parsed)
    if module == "rpfilter":
        return _reverse_path(parsed)
    if module == "set":
        return _ip_sets(text, parsed)
    if module in OF_SENDERS:
        # A negated owner holds for a packet without a socket, a negated control group does not (xt_owner.c, xt_cgroup.c).
        asked = FromSocket(text)
        return (Not(asked),) if module == "owner" and all(each.negated for each in parsed) else (asked,)
    if not parsed and module not in ALWAYS_TRUE_ALONE:
        return (Unmodelled(text),)
    found: list[Match] = []
    for option in parsed:
        if module == "physdev":
            match: Match = Bridged(text)
        elif (decoder := MATCHES.get((module, option.name))) is not None:
            match = decoder(option, family)
        else:
            return (Unmodelled(text),)
        found.append(Not(match) if option.negated else match)
    return tuple(found)


def _recent(text: str, parsed: tuple[Option, ...]) -> tuple[Match, ...]:
    """`--set` remembers, and always matches; the others ask for what was remembered (xt_recent.c)."""
    setting = [option for option in parsed if option.name == "--set"]
    if setting:
        return (NEVER,) if setting[0].negated else ()
    return (Chance(text),)


def _reverse_path(parsed: tuple[Option, ...]) -> tuple[Match, ...]:
    names = {option.name for option in parsed}
    match = WayTo(
        source=True,
        by="in",
        marked="--validmark" in names,
        local="--accept-local" in names,
        loose="--loose" in names,
    )
    return (Not(match),) if "--invert" in names else (match,)


def _ip_sets(text: str, parsed: tuple[Option, ...]) -> tuple[Match, ...]:
    """Options on a set's counters are not modelled."""
    nomatch = any(option.name == "--return-nomatch" for option in parsed)
    found: list[Match] = []
    for option in parsed:
        if option.name == "--match-set":
            name, ends = option.values
            match = InIpSet(name, tuple(end == "src" for end in ends.split(",")), nomatch)
            found.append(Not(match) if option.negated else match)
        elif option.name not in ("--return-nomatch", "--update-counters", "--update-subcounters"):
            return (Unmodelled(text),)
    return tuple(found)


def _address_types(parsed: tuple[Option, ...], family: int) -> tuple[Match, ...]:
    """In IPv6 a node's own addresses are UNICAST too (xt_addrtype.c: match_type6)."""
    names = {option.name for option in parsed}
    limit = "in" if "--limit-iface-in" in names else "out" if "--limit-iface-out" in names else ""
    found: list[Match] = []
    for option in parsed:
        if option.name in ("--src-type", "--dst-type"):
            types = frozenset(option.values[0].lower().split(","))
            source = option.name == "--src-type"
            match: Match = AddressTypeIn(source, types, limit)
            if family == 6 and types == {"unicast"}:
                match = Not(AddressTypeIn(source, frozenset({"multicast", "broadcast"})))
            found.append(Not(match) if option.negated else match)
    return tuple(found)
