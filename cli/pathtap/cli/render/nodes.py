"""Nodes, their agents and interfaces, what could not be read of them, what was lost."""

from rich.cells import cell_len

from pathtap.cli.render.page import Line, Span, Style, fits, flush, hanging, pad, row
from pathtap.v1 import service_pb2

NodeStatus = service_pb2.NodeStatus


def node_lines(nodes: service_pb2.ListNodesResponse, width: int) -> list[Line]:
    if not nodes.nodes:
        return [(Span("No node: no agent has connected and the inventory is empty.", Style.DOUBT),)]
    lines: list[Line] = []
    for node in nodes.nodes:
        lines += [*([()] if lines else []), *_heading(node, width), *_interfaces(node, width)]
        for unread in node.unread:
            lines += hanging((Span("   unread  ", Style.DOUBT),), f"{unread.part}: {unread.reason}", "", width)
        for loss in node.losses:
            lines += hanging((Span("   lost    ", Style.BAD),), f"{loss.count} at {loss.where}", "", width)
    return lines


def _heading(node: NodeStatus, width: int) -> list[Line]:
    if node.connected:
        since = (
            node.connected_at.ToDatetime().strftime(" since %Y-%m-%d %H:%M:%SZ")
            if node.HasField("connected_at")
            else ""
        )
        said = [f"agent {node.version}" if node.version else "agent", f"Linux {node.kernel}" if node.kernel else ""]
        right: Line = (Span("connected", Style.GOOD), Span(since))
    else:
        said, right = [], (Span("no agent is connected", Style.BAD),)
    if not node.in_inventory:
        said.append("not in the inventory")
    left: Line = (Span(node.node, Style.NODE), Span("".join(f"  {part}" for part in said if part)))
    return [flush(left, right, width)] if fits(left, right, width) else [left, flush((), right, width)]


def _interfaces(node: NodeStatus, width: int) -> list[Line]:
    rows = [
        (Span(i.name, Style.INTERFACE), Span(i.eni_id or "-"), Span(i.role), Span(" ".join(i.addresses)))
        for i in node.interfaces
    ]
    if not rows:
        return []
    name, eni, role = (max(cell_len(r[column].text) for r in rows) for column in range(3))
    lines: list[Line] = []
    for first, second, third, addresses in rows:
        lead = (
            Span("   "),
            Span(pad(first.text, name) + "  ", first.style),
            Span(pad(second.text, eni) + "  "),
            Span(pad(third.text, role) + "  ", Style.FAINT),
        )
        if fits(lead, (Span(" " * 20),), width):
            lines += hanging(lead, addresses.text, "", width)
        else:
            lines += row((first, second, third, addresses), (name, eni, role, 0), (Span("   "),), width)
    return lines
