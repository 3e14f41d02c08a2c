"""What a check found, towards a person. One direction only."""

from pathtap.model.trace import Check, CheckedNode
from pathtap.v1 import trace_pb2 as pb
from pathtap.wire.addresses import timestamp_to_wire
from pathtap.wire.trace import finding_to_wire, gap_to_wire


def check_to_wire(check: Check) -> pb.Check:
    """Times are nanoseconds since the Unix epoch."""
    return pb.Check(
        started_at=timestamp_to_wire(check.started_at),
        finished_at=timestamp_to_wire(check.finished_at),
        nodes=[_node_to_wire(node) for node in check.nodes],
        findings=[finding_to_wire(finding) for finding in check.findings],
        gaps=[gap_to_wire(gap) for gap in check.gaps],
    )


def _node_to_wire(node: CheckedNode) -> pb.CheckedNode:
    return pb.CheckedNode(node=node.node, read=node.read, pods=node.pods, predictions=node.predictions)
