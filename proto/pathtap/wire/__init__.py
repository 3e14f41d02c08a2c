"""Between the model's values and `pathtap.v1`'s messages: the only place that knows both. Refuses to know any connection.

`<thing>_to_wire` never fails on a value of the model; `<thing>_from_wire` raises WireError, with a sentence, on what no
sender can have meant.
"""

from pathtap.wire.addresses import (
    address_from_wire,
    address_to_wire,
    five_tuple_from_wire,
    five_tuple_to_wire,
    interface_address_from_wire,
    interface_address_to_wire,
    network_from_wire,
    network_to_wire,
    timestamp_from_wire,
    timestamp_to_wire,
)
from pathtap.wire.check import check_to_wire
from pathtap.wire.errors import WireError
from pathtap.wire.netfilter import rule_set_from_wire, rule_set_to_wire
from pathtap.wire.node import (
    conntrack_entry_from_wire,
    conntrack_entry_to_wire,
    route_answer_from_wire,
    route_answer_to_wire,
    snapshot_from_wire,
    snapshot_to_wire,
    unread_from_wire,
    unread_to_wire,
)
from pathtap.wire.packet import lost_from_wire, lost_to_wire, observation_from_wire, observation_to_wire
from pathtap.wire.request import (
    capture_armed_from_wire,
    capture_armed_to_wire,
    capture_ended_from_wire,
    capture_ended_to_wire,
    capture_request_from_wire,
    capture_request_to_wire,
    lookup_report_from_wire,
    lookup_report_to_wire,
    lookup_request_from_wire,
    lookup_request_to_wire,
    probe_report_from_wire,
    probe_report_to_wire,
    probe_reports_from_wire,
    probe_reports_to_wire,
    probe_request_from_wire,
    probe_request_to_wire,
    route_question_from_wire,
    route_question_to_wire,
)
from pathtap.wire.routing import route_from_wire, route_to_wire, rule_from_wire, rule_to_wire
from pathtap.wire.snat import snat_table_to_wire, snat_to_wire
from pathtap.wire.stream import (
    answer_from_wire,
    answer_to_wire,
    batch_from_wire,
    batch_to_wire,
    command_from_wire,
    command_to_wire,
)
from pathtap.wire.trace import flows_to_wire, trace_to_wire

__all__ = [
    "WireError",
    "address_from_wire",
    "address_to_wire",
    "answer_from_wire",
    "answer_to_wire",
    "batch_from_wire",
    "batch_to_wire",
    "capture_armed_from_wire",
    "capture_armed_to_wire",
    "capture_ended_from_wire",
    "capture_ended_to_wire",
    "capture_request_from_wire",
    "capture_request_to_wire",
    "check_to_wire",
    "command_from_wire",
    "command_to_wire",
    "conntrack_entry_from_wire",
    "conntrack_entry_to_wire",
    "five_tuple_from_wire",
    "five_tuple_to_wire",
    "flows_to_wire",
    "interface_address_from_wire",
    "interface_address_to_wire",
    "lookup_report_from_wire",
    "lookup_report_to_wire",
    "lookup_request_from_wire",
    "lookup_request_to_wire",
    "lost_from_wire",
    "lost_to_wire",
    "network_from_wire",
    "network_to_wire",
    "observation_from_wire",
    "observation_to_wire",
    "probe_report_from_wire",
    "probe_report_to_wire",
    "probe_reports_from_wire",
    "probe_reports_to_wire",
    "probe_request_from_wire",
    "probe_request_to_wire",
    "route_answer_from_wire",
    "route_answer_to_wire",
    "route_from_wire",
    "route_question_from_wire",
    "route_question_to_wire",
    "route_to_wire",
    "rule_from_wire",
    "rule_set_from_wire",
    "rule_set_to_wire",
    "rule_to_wire",
    "snapshot_from_wire",
    "snapshot_to_wire",
    "snat_table_to_wire",
    "snat_to_wire",
    "timestamp_from_wire",
    "timestamp_to_wire",
    "trace_to_wire",
    "unread_from_wire",
    "unread_to_wire",
]
