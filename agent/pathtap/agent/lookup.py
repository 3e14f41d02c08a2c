"""Asks the kernel for single facts: conntrack entries by tuple or address, and what its FIB answers. Judges none."""

import errno
from collections.abc import Iterator
from typing import Any

from pathtap.agent.readers import conntrack, netlink, routes
from pathtap.agent.readers.netlink import RefusedError
from pathtap.model.address import Address
from pathtap.model.conntrack import ConntrackEntry
from pathtap.model.node import NextHop, RouteAnswer, RouteKind, Unread
from pathtap.model.request import LookupReport, LookupRequest, RouteQuestion

# What fib_rules and ip_route_input_slow answer for a route of this kind (fib_props of net/ipv4/fib_semantics.c);
# IPv6 hands the route itself over instead.
_REFUSING = {
    RouteKind.BLACKHOLE: "EINVAL",
    RouteKind.UNREACHABLE: "EHOSTUNREACH",
    RouteKind.PROHIBIT: "EACCES",
    RouteKind.THROW: "EAGAIN",
}
# Without RTM_F_LOOKUP_TABLE the kernel says "main" for every table (inet_rtm_getroute of net/ipv4/route.c).
_MATCHED = netlink.RTM_F_FIB_MATCH | netlink.RTM_F_LOOKUP_TABLE


def look_up(node: str, request: LookupRequest) -> LookupReport:
    """Entries without duplicates, routes in the order of the questions; what could not be asked is in `unread`."""
    unread: list[Unread] = []
    entries: tuple[ConntrackEntry, ...] = ()
    answers: tuple[RouteAnswer, ...] = ()
    try:
        # By tuples alone: state and time-out may change from one dump to the next, and the last one is the newest.
        entries = tuple(
            {(entry.original, entry.reply, entry.zone): entry for entry in _entries(node, request)}.values()
        )
    except OSError as error:
        unread.append(Unread(part="conntrack", reason=str(error)))
    try:
        answers = tuple(_answers(request.routes))
    except OSError as error:
        unread.append(Unread(part="routes", reason=str(error)))
    return LookupReport(entries=entries, routes=answers, unread=tuple(unread))


def _entries(node: str, request: LookupRequest) -> Iterator[ConntrackEntry]:
    for wanted in request.tuples:
        found = conntrack.fetch_one(wanted)
        if found is not None:
            yield from conntrack.decode((found,), node)
    for address in request.addresses:
        entries = conntrack.decode(conntrack.fetch_all(address), node)
        yield from (entry for entry in entries if conntrack.holds(entry, address))


def _answers(questions: tuple[RouteQuestion, ...]) -> Iterator[RouteAnswer]:
    if not questions:
        return
    with netlink.rtnetlink() as socket:
        names = netlink.interface_names()
        for question in questions:
            yield _answer(socket, question, names)


def _answer(socket: Any, question: RouteQuestion, names: routes.Names) -> RouteAnswer:
    """Table and route from the FIB entry that matched; of several next hops, the one that the kernel chooses."""
    selectors: dict[str, Any] = {"dst": str(question.destination)}
    if question.source is not None:
        selectors["src"] = str(question.source)
    if question.mark:
        selectors["mark"] = question.mark
    if question.in_interface:
        selectors["iif"] = next((index for index, name in names.items() if name == question.in_interface), None)
        if selectors["iif"] is None:
            return RouteAnswer(error="ENODEV")
    try:
        matched = routes.decode_one(netlink.route_get(socket, selectors, _MATCHED), names)
        hop = _only(matched.next_hops)
        if hop is None and matched.kind not in _REFUSING:
            chosen = netlink.route_get(socket, selectors, netlink.RTM_F_LOOKUP_TABLE)
            hop = _only(routes.decode_one(chosen, names).next_hops)
    except RefusedError as refusal:
        return RouteAnswer(error=errno.errorcode.get(refusal.errno or 0, str(refusal)))
    return RouteAnswer(
        table=matched.table,
        interface="" if hop is None else hop.interface,
        gateway=_gateway(hop),
        route=matched.text,
        error=_REFUSING.get(matched.kind, ""),
    )


def _only(hops: tuple[NextHop, ...]) -> NextHop | None:
    return hops[0] if len(hops) == 1 else None


def _gateway(hop: NextHop | None) -> Address | None:
    return None if hop is None else hop.gateway
