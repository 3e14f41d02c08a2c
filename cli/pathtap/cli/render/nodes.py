"""Nodes, their agents and interfaces, who read which rules, what could not be read of them, what was lost."""

from rich.cells import cell_len

from pathtap.cli.render.page import Line, Span, Style, cells, fits, flush, hanging, pad, row
from pathtap.v1 import service_pb2

NodeStatus = service_pb2.NodeStatus
# Cells that hold two IPv4 prefixes or more.
MANY_ADDRESSES = 40


def node_lines(nodes: service_pb2.ListNodesResponse, width: int) -> list[Line]:
    lines: list[Line] = []
    for unread in nodes.unread:
        lines += hanging((Span(f"{unread.part}  ", Style.DOUBT),), unread.reason, "", width)
    if not nodes.nodes:
        return [*lines, (Span("No node: no agent has connected and the inventory is empty.", Style.DOUBT),)]
    for node in nodes.nodes:
        lines += [*([()] if lines else []), *_heading(node, width)]
        lines += _interfaces(node, width) if node.interfaces else []
        for lead, text in _rules(node):
            lines += hanging((Span(lead, Style.FAINT),), text, "", width)
        for unread in node.unread:
            lines += hanging((Span("   unread  ", Style.DOUBT),), f"{unread.part}: {unread.reason}", "", width)
        if node.accepted or node.delivered:
            said = f"{node.accepted} accepted, {node.delivered} delivered"
            lines += hanging((Span("   packets ", Style.FAINT),), said, "", width)
        for loss in node.losses:
            # Nobody knows how many: docs/wire.md, Loss.
            counted = str(loss.count or "an unknown number")
            lines += hanging((Span("   lost    ", Style.BAD),), f"{counted} at {loss.where}", "", width)
    return lines


def _rules(node: NodeStatus) -> list[tuple[str, str]]:
    """One line for each program or library that read rules."""
    read: dict[str, list[str]] = {}
    for each in node.rules:
        read.setdefault(each.read_by, []).append(f"{each.rules} of {each.table}")
    return [
        ("   rules   ", f"{', '.join(tables)}, by {read_by or 'an older agent'}") for read_by, tables in read.items()
    ]


def _heading(node: NodeStatus, width: int) -> list[Line]:
    said = [Span(node.node, Style.NODE)]
    if node.connected:
        at = (
            node.connected_at.ToDatetime().strftime(" since %Y-%m-%d %H:%M:%SZ")
            if node.HasField("connected_at")
            else ""
        )
        said += [Span(f"agent {node.version}" if node.version else "agent")]
        said += [Span(f"Linux {node.kernel}")] if node.kernel else []
        right: Line = (Span("connected", Style.GOOD), Span(at))
    else:
        right = (Span("no agent is connected", Style.BAD),)
    if not node.in_inventory:
        said.append(Span("not in the inventory", Style.DOUBT))
    above = row(said, [0] * len(said), (), width)
    if len(above) == 1 and fits(above[0], right, width):
        return [flush(above[0], right, width)]
    return [*above, flush((), right, width)]


def _interfaces(node: NodeStatus, width: int) -> list[Line]:
    """One line an interface; its addresses beside it, below it where only one column would be left for many."""
    name, eni, role = (
        max((cell_len(text) for text in column), default=0)
        for column in zip(*((i.name, i.eni_id or "-", i.role) for i in node.interfaces), strict=True)
    )
    lines: list[Line] = []
    for interface in node.interfaces:
        lead: Line = (
            Span("   "),
            Span(pad(interface.name, name) + "  ", Style.INTERFACE),
            Span(pad(interface.eni_id or "-", eni) + "  "),
            Span(pad(interface.role, role) + "  ", Style.FAINT),
        )
        addresses = " ".join(interface.addresses)
        if fits(lead, (Span(addresses),), width) or width - cells(lead) >= MANY_ADDRESSES:
            lines += hanging(lead, addresses, "", width)
        else:
            lines += [lead, *hanging((Span("     "),), addresses, "", width)]
    return lines
