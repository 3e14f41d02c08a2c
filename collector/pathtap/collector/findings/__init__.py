"""The catalogue of causes: one constructor each, with its sentence and its mend. docs/findings.md explains every code.

Pure. Each takes the evidence that proves it; none decides whether it holds.
"""

from pathtap.collector.findings.answers import (
    answer_not_received,
    connection_refused,
    kernel_disagrees,
    never_left_node,
    never_left_pod,
    no_answer,
    no_answer_from_outside,
    port_unreachable,
    probes_unanswered,
    refused_outside,
    unexpected_egress,
)
from pathtap.collector.findings.stops import (
    filter_drop,
    filter_reject,
    forwarding_disabled,
    looped,
    lost_in_vpc,
    neighbour_failed,
    no_route,
    pod_route_missing,
    refusing_route,
    refusing_rule,
    rejected_by_node,
    reverse_path,
    service_without_endpoints,
    source_not_owned,
    unexplained,
)

__all__ = [
    "answer_not_received",
    "connection_refused",
    "filter_drop",
    "filter_reject",
    "forwarding_disabled",
    "kernel_disagrees",
    "looped",
    "lost_in_vpc",
    "neighbour_failed",
    "never_left_node",
    "never_left_pod",
    "no_answer",
    "no_answer_from_outside",
    "no_route",
    "pod_route_missing",
    "port_unreachable",
    "probes_unanswered",
    "refused_outside",
    "refusing_route",
    "refusing_rule",
    "rejected_by_node",
    "reverse_path",
    "service_without_endpoints",
    "source_not_owned",
    "unexpected_egress",
    "unexplained",
]
