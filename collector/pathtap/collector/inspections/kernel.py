"""What the kernel's own state says of the node's health. Pure."""

from collections.abc import Iterator

from pathtap.collector import findings
from pathtap.collector.inspections.defect import Defect
from pathtap.collector.inspections.view import NodeView, recorded

COUNT, MAX = "net.netfilter.nf_conntrack_count", "net.netfilter.nf_conntrack_max"
# Per cent of the table. At 100 new flows are dropped, unless an early drop frees one (nf_conntrack_core.c).
NEARLY_FULL, FULL = 95, 100


def inspect(view: NodeView) -> Iterator[Defect]:
    count, most = (_number(view, name) for name in (COUNT, MAX))
    # 0 is no limit.
    if count is None or not most or count * 100 < most * NEARLY_FULL:
        return
    proof = (recorded(f"{COUNT} is {count}, {MAX} {most}", f"{view.node} sysctl"),)
    yield Defect(finding=findings.conntrack_table_full(view.node, count, most, count * 100 >= most * FULL, proof))


def _number(view: NodeView, name: str) -> int | None:
    text = view.snapshot.sysctls.get(name, "")
    return int(text) if text.isdecimal() else None
