"""Asks the kernel over netlink and hands its answers back as plain mappings. Knows no types of the model.

A `Message` holds the fields of the kernel's fixed header (`family`, `dst_len`, `table` …) and under `attrs` the
attributes by their kernel name (`RTA_GATEWAY`); nested attributes are mappings again. Attributes that pyroute2 has no
name for are listed under `UNKNOWN` as [number, payload in hexadecimal], so that a decoder can tell "absent" from "not
understood". Messages are plain JSON values: a captured one is a fixture.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from errno import EPERM
from socket import AF_INET, AF_INET6, AF_UNSPEC, if_nameindex
from typing import Any, TypeAlias

from pyroute2 import IPRoute
from pyroute2.ipset import IPSet
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple, NFCTSocket
from pyroute2.nftables.main import NFTables

Message: TypeAlias = Mapping[str, Any]

FAMILIES = (AF_INET, AF_INET6)

# linux/netlink.h: the table changed while it was dumped.
NLM_F_DUMP_INTR = 0x10
# linux/rtnetlink.h: answer with the FIB entry that matched, and with its table.
RTM_F_FIB_MATCH = 0x2000
RTM_F_LOOKUP_TABLE = 0x1000
RTEXT_FILTER_SKIP_STATS = 1 << 3
# linux/netfilter/ipset/ip_set.h: a list of sets without what is in them.
IPSET_FLAG_LIST_HEADER = 1 << 2

_DUMP_ATTEMPTS = 3
# Text in the kernel; pyroute2 hands over the bytes where they are not UTF-8.
_NAMES = frozenset({"IFLA_IFNAME", "FRA_IIFNAME", "FRA_OIFNAME"})
_BOOKKEEPING = frozenset({"attrs", "header", "event", "value"})


class InconsistentDumpError(OSError):
    """The kernel's table changed during each of several dumps."""


class RefusedError(OSError):
    """The kernel answered with an error; `errno` says which, `strerror` why."""

    def __str__(self) -> str:
        needed = " The agent needs CAP_NET_ADMIN." if self.errno == EPERM else ""
        return f"The kernel refused it: {self.strerror}.{needed}"


@contextmanager
def rtnetlink() -> Iterator[Any]:
    """An open NETLINK_ROUTE socket of the current network namespace. Raises OSError."""
    with IPRoute() as socket:
        yield socket


def links(socket: Any, wanted: frozenset[str]) -> tuple[Message, ...]:
    """With the attributes `wanted` alone: the rest of a link is statistics and tuning, ten times as long to decode."""
    return _dump(lambda: socket.get_links(ext_mask=RTEXT_FILTER_SKIP_STATS), wanted)


def addresses(socket: Any) -> tuple[Message, ...]:
    return _dump(socket.get_addr)


def rules(socket: Any, family: int) -> tuple[Message, ...]:
    return _dump(lambda: socket.get_rules(family=family))


def routes(socket: Any, family: int) -> tuple[Message, ...]:
    """Every table's routes: the kernel filters by family alone."""
    return _dump(lambda: socket.get_routes(family=family))


def neighbours(socket: Any, family: int) -> tuple[Message, ...]:
    return _dump(lambda: socket.get_neighbours(family=family))


def interface_names() -> Mapping[int, str]:
    """By index, as the C library reads them: a hundred times faster than the same dump here. Raises OSError."""
    return {index: readable(name) for index, name in if_nameindex()}


def readable(name: str) -> str:
    """An interface's name as text that can be sent: the kernel allows any bytes but `/` and white space (dev_valid_name)."""
    return os.fsencode(name).decode(errors="backslashreplace")


def route_get(socket: Any, selectors: Mapping[str, Any], flags: int) -> Message:
    """RTM_GETROUTE. `selectors` has `dst` and, where wanted, `src`, `iif` (an index) and `mark`. Raises RefusedError."""
    try:
        answers = tuple(socket.route("get", flags=flags, **selectors))
    except NetlinkError as error:
        raise _refused(error) from error
    if not answers:
        raise RefusedError(0, "the kernel gave no answer to a route lookup")
    return _plain(answers[0])


def nft_tables() -> tuple[Message, ...]:
    """The nf_tables tables of every family, without what is in them. Raises OSError.

    nft 1.0.6 reads every rule before it lists the tables: more than a second where there are 50,000.
    """
    with NFTables(nfgen_family=AF_UNSPEC) as socket:
        return _dump(socket.get_tables)


def qdiscs(socket: Any) -> tuple[Message, ...]:
    return _dump(socket.get_qdiscs)


def filters(socket: Any, index: int, parent: int) -> tuple[Message, ...]:
    """The classifiers of one interface at `parent` (a qdisc's handle, or a clsact hook's)."""
    return _dump(lambda: socket.get_filters(index=index, parent=parent))


@contextmanager
def ipset() -> Iterator[Any]:
    """An open NFNL_SUBSYS_IPSET socket. Raises OSError; a kernel that has ip_set as a module may load it for this."""
    try:
        with IPSet() as socket:
            yield socket
    except NetlinkError as error:
        raise _refused(error) from error


def ip_sets(socket: Any) -> tuple[Message, ...]:
    """Every set's header; its number of elements is in IPSET_ATTR_DATA."""
    return _dump(lambda: socket.list(flags=IPSET_FLAG_LIST_HEADER))


def ip_set_elements(socket: Any, name: str) -> tuple[Message, ...]:
    """IPSET_ATTR_DATA of each element; none for a set that is gone. `_plain` would keep the last of them alone."""
    answers = tuple(socket.list(name))
    parts = (answer.get_attr("IPSET_ATTR_ADT") for answer in answers)
    return tuple(
        _plain(attribute[1])
        for part in parts
        for attribute in (part["attrs"] if part else ())
        if attribute[0] == "IPSET_ATTR_DATA"
    )


@contextmanager
def conntrack(family: int) -> Iterator[Any]:
    """An open ctnetlink socket that asks for entries of `family`. Raises OSError."""
    with NFCTSocket(nfgen_family=family) as socket:
        yield socket


def conntrack_get(socket: Any, family: int, selectors: Mapping[str, Any]) -> Message | None:
    """The entry one of whose two tuples is this one (nf_conntrack_find_get looks for either). Raises RefusedError."""
    try:
        answers = tuple(socket.entry("get", tuple_orig=NFCTAttrTuple(family=family, **selectors)))
    except NetlinkError as error:
        if error.code == 2:
            return None
        raise _refused(error) from error
    found = [answer for answer in map(_plain, answers) if "CTA_TUPLE_ORIG" in answer["attrs"]]
    return found[0] if found else None


def conntrack_dump(socket: Any, family: int, selectors: Mapping[str, str], direction: str) -> tuple[Message, ...]:
    """The entries whose `original` or `reply` tuple has `saddr` or `daddr`; filtered by the kernel (5.8 or later).

    Without selectors, all of them. Raises RefusedError.
    """
    wanted = NFCTAttrTuple(family=family, **selectors) if selectors else None
    arguments = {} if wanted is None else {"tuple_orig" if direction == "original" else "tuple_reply": wanted}
    try:
        return tuple(_plain(entry) for entry in socket.dump(**arguments))
    except NetlinkError as error:
        raise _refused(error) from error


def _refused(error: NetlinkError) -> RefusedError:
    """The second of its arguments is the kernel's own word where it gave one (NLMSGERR_ATTR_MSG)."""
    return RefusedError(error.code, str(error.args[-1]))


def _dump(ask: Callable[[], Iterable[Any]], wanted: frozenset[str] | None = None) -> tuple[Message, ...]:
    """A dump is taken again while the kernel says that it changed meanwhile. Raises InconsistentDumpError, RefusedError.

    `wanted` names the attributes to keep, None all of them.
    """
    for _ in range(_DUMP_ATTEMPTS):
        try:
            answers = tuple(ask())
        except NetlinkError as error:
            raise _refused(error) from error
        if not any(answer["header"]["flags"] & NLM_F_DUMP_INTR for answer in answers):
            return tuple(_plain(answer, wanted) for answer in answers)
    raise InconsistentDumpError(f"the table changed during each of {_DUMP_ATTEMPTS} dumps")


def _plain(answer: Any, wanted: frozenset[str] | None = None) -> Message:
    """pyroute2 decodes an attribute when its value is asked for: what is not wanted costs next to nothing."""
    fields = {name: _plain_value(value) for name, value in answer.items() if name not in _BOOKKEEPING}
    attributes: dict[str, Any] = {}
    for attribute in answer.get("attrs", ()):
        name = attribute[0]
        if wanted is not None and name not in wanted:
            continue
        value = attribute[1]
        if name == "UNKNOWN":
            attributes.setdefault(name, []).append([value["header"]["type"], _payload(value)])
        elif name in _NAMES and isinstance(value, bytes):
            attributes[name] = value.rstrip(b"\0").decode(errors="backslashreplace")
        else:
            attributes[name] = _plain_value(value)
    return {**fields, "attrs": attributes}


def _payload(attribute: Any) -> str:
    """Behind struct nlattr's four octets of length and type."""
    return bytes(attribute.data[attribute.offset + 4 : attribute.offset + attribute.length]).hex()


def _plain_value(value: Any) -> Any:
    if isinstance(value, dict):
        return _plain(value) if "attrs" in value else {name: _plain_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_value(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value
