"""Each of the lab's faults is found by a trace: what became of the packet, its cause by name, where it was last seen."""

import shlex

import pytest
from labs import Bench

from pathtap.lab.faults import FAULTS

pytestmark = pytest.mark.e2e

# disposition, reply, cause
EXPECTED = {
    "no-fwmark-rule": ("DROPPED", "NOT_SEEN", "SOURCE_NOT_OWNED_BY_ENI"),
    "no-from-pod-rule": ("DROPPED", "NOT_SEEN", "SOURCE_NOT_OWNED_BY_ENI"),
    "no-pod-route": ("DROPPED", "NOT_SEEN", "POD_ROUTE_MISSING"),
    "no-default-route": ("NO_ROUTE", "NOT_SEEN", "NO_ROUTE_TO_DESTINATION"),
    "forward-drop": ("DROPPED", "NOT_SEEN", "FILTER_DROP"),
    "forward-reject": ("REJECTED", "NOT_SEEN", "FILTER_REJECT"),
    "blackhole-route": ("DROPPED", "NOT_SEEN", "BLACKHOLE_ROUTE"),
    "security-group": ("DROPPED", "NOT_SEEN", "LOST_IN_VPC"),
    "security-group-reply": ("DELIVERED", "LOST", "LOST_IN_VPC"),
    "strict-rp-filter": ("LEFT_CLUSTER", "LOST", "RP_FILTER_DROP"),
}
# Who owns a pod's address is known from IMDS or ipamd alone, once the pod's own ip rule is gone.
WITHOUT_METADATA = {"no-from-pod-rule": ("DROPPED", "NOT_SEEN", "LOST_IN_VPC")}
SOURCE_NODE, FAR_NODE = 0, 1
LAST_SEEN = {
    "no-fwmark-rule": SOURCE_NODE,
    "no-from-pod-rule": SOURCE_NODE,
    "no-pod-route": FAR_NODE,
    "no-default-route": SOURCE_NODE,
    "forward-drop": FAR_NODE,
    "forward-reject": FAR_NODE,
    "blackhole-route": SOURCE_NODE,
    "security-group": SOURCE_NODE,
}


def test_every_fault_is_tried() -> None:
    assert {fault.name for fault in FAULTS} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_the_cause_is_named(bench: Bench, name: str) -> None:
    shown_by = next(fault.shown_by for fault in FAULTS if fault.name == name)
    words = shlex.split(shown_by)[2:]
    with bench.broken(name):
        trace = bench.trace(*words, "--timeout", "1")
    verdict = trace["verdict"]
    errors = [finding for finding in verdict["findings"] if finding["severity"] == "error"]
    expected = EXPECTED[name] if bench.cluster.options.metadata else WITHOUT_METADATA.get(name, EXPECTED[name])
    assert (verdict["disposition"], verdict["reply"], errors[0]["code"] if errors else "") == expected, verdict
    assert trace["exit_code"] == 3
    assert len(errors) == 1
    assert errors[0]["evidence"]
    assert errors[0]["fix"]
    if name in LAST_SEEN:
        assert trace["forward"]["hops"][-1]["node"] == bench.cluster.nodes[LAST_SEEN[name]].name


def test_the_lab_is_whole_again(bench: Bench) -> None:
    for fault in FAULTS:
        trace = bench.trace(*shlex.split(fault.shown_by)[2:])
        assert trace["exit_code"] == 0, fault.name
        assert trace["verdict"]["findings"] == []
