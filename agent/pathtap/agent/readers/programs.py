"""Reads what may take packets off an interface beside netfilter: classifiers on clsact hooks, tcx and XDP programs.

What a program does with a packet is not to be read: only that it is there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from pathtap.agent.readers import ebpf, netlink
from pathtap.agent.readers.links import Link
from pathtap.agent.readers.netlink import Message
from pathtap.model.node import TcProgram

# linux/pkt_sched.h: TC_H_CLSACT with TC_H_MIN_INGRESS and TC_H_MIN_EGRESS. The ingress qdisc has the former alone.
_HOOKS = {0xFFFFFFF2: "ingress", 0xFFFFFFF3: "egress"}
_INGRESS = 0xFFFFFFF2
_WITH_HOOKS = frozenset({"clsact", "ingress"})
# linux/pkt_cls.h; pyroute2's names end before it.
_TCA_BPF_ID = 11

Tcx: TypeAlias = tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """Filters by the hook's number as `parent`; `tcx` is interface, hook and program id; `names` are of BPF programs."""

    filters: tuple[Message, ...] = ()
    tcx: Tcx = ()
    names: Mapping[int, str]


def fetch(socket: Any, links: tuple[Link, ...], tcx: Tcx) -> Fetched:
    """Only interfaces with a clsact or ingress qdisc are asked for filters; `tcx` as `ebpf.tcx_programs` told. Raises OSError."""
    hooked = {
        message["index"]: message["attrs"]["TCA_KIND"]
        for message in netlink.qdiscs(socket)
        if message["attrs"].get("TCA_KIND") in _WITH_HOOKS
    }
    filters = tuple(
        filter_
        for index, kind in hooked.items()
        for parent in (_HOOKS if kind == "clsact" else (_INGRESS,))
        for filter_ in netlink.filters(socket, index, parent)
    )
    ids = frozenset([*(program for _, _, program in tcx), *(program for link in links for program in link.xdp)])
    return Fetched(filters=filters, tcx=tcx, names=ebpf.program_names(ids))


def decode(fetched: Fetched, links: tuple[Link, ...]) -> tuple[TcProgram, ...]:
    """In the order in which they take a packet that comes in: XDP, tcx, classifiers by priority."""
    names = {link.index: link.name for link in links}
    xdp = (TcProgram(interface=link.name, hook="xdp", kind="xdp", id=program) for link in links for program in link.xdp)
    tcx = (TcProgram(interface=name, hook=hook, kind="tcx", id=program) for name, hook, program in fetched.tcx)
    named = (replace(program, name=fetched.names.get(program.id, "")) for program in (*xdp, *tcx))
    return (*named, *(_filter(message, names) for message in fetched.filters if "TCA_OPTIONS" in message["attrs"]))


def _filter(message: Message, names: Mapping[int, str]) -> TcProgram:
    """A message without options stands for the classifier itself, those with options for its programs or matches."""
    options = message["attrs"]["TCA_OPTIONS"]
    attributes: Mapping[str, Any] = options.get("attrs", {}) if isinstance(options, Mapping) else {}
    name = attributes.get("TCA_BPF_NAME", "")
    return TcProgram(
        interface=names.get(message["index"], f"if{message['index']}"),
        hook=_HOOKS.get(message["parent"], "ingress"),
        kind=message["attrs"]["TCA_KIND"],
        name=name if isinstance(name, str) else "",
        id=_program_id(attributes) if message["attrs"]["TCA_KIND"] == "bpf" else 0,
    )


def _program_id(attributes: Mapping[str, Any]) -> int:
    unnamed = {number: bytes.fromhex(payload) for number, payload in attributes.get("UNKNOWN", ())}
    return int.from_bytes(unnamed.get(_TCA_BPF_ID, b""), "little")
