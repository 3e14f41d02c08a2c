"""Each of the lab's faults is named, in both backends: by a trace, from the packet; by a check, without one.

Healed, neither says anything. Which codes a fault is found by is written at the fault itself.
"""

import os
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from labs import Bench, running

from pathtap.lab.breaking import fault_named
from pathtap.lab.faults import FAULTS, Fault
from pathtap.lab.options import LabOptions

pytestmark = pytest.mark.e2e

# disposition, reply; of a fault that is not listed the trace says it by its findings alone.
BECAME = {
    "no-fwmark-rule": ("DROPPED", "NOT_SEEN"),
    "no-from-pod-rule": ("DROPPED", "NOT_SEEN"),
    "snat-foreign-source": ("DROPPED", "NOT_SEEN"),
    "no-connmark-rules": ("DROPPED", "NOT_SEEN"),
    "shadowed-connmark-rules": ("DROPPED", "NOT_SEEN"),
    "missing-snat": ("DROPPED", "NOT_SEEN"),
    "foreign-rule": ("DROPPED", "NOT_SEEN"),
    "duplicate-from-pod-rule": ("DROPPED", "NOT_SEEN"),
    "stale-from-pod-rule": ("DROPPED", "NOT_SEEN"),
    "wrong-mark": ("DROPPED", "NOT_SEEN"),
    "no-pod-route": ("DROPPED", "NOT_SEEN"),
    "no-default-route": ("NO_ROUTE", "NOT_SEEN"),
    "forward-drop": ("DROPPED", "NOT_SEEN"),
    "forward-reject": ("REJECTED", "NOT_SEEN"),
    "blackhole-route": ("DROPPED", "NOT_SEEN"),
    "unreachable-route": ("REJECTED", "NOT_SEEN"),
    "prohibit-route": ("REJECTED", "NOT_SEEN"),
    "tc-drop": ("DROPPED", "NOT_SEEN"),
    "conntrack-full": ("DROPPED", "NOT_SEEN"),
    "port-exhaustion": ("DROPPED", "NOT_SEEN"),
    "security-group": ("DROPPED", "NOT_SEEN"),
    "security-group-reply": ("DELIVERED", "LOST"),
    "asymmetric-reply": ("DELIVERED", "LOST"),
    "strict-rp-filter": ("LEFT_CLUSTER", "LOST"),
    "no-endpoints": ("REJECTED", "NOT_SEEN"),
    "nothing-listens": ("DELIVERED", "ANSWERED"),
    "silent-pod": ("DELIVERED", "UNANSWERED"),
    "host-unreachable": ("LEFT_CLUSTER", "UNANSWERED"),
    "stale-rule-set": ("LEFT_CLUSTER", "ANSWERED"),
    "unexpected-snat": ("LEFT_CLUSTER", "ANSWERED"),
    "snat-random-fallback": ("LEFT_CLUSTER", "ANSWERED"),
    "snat-not-random": ("LEFT_CLUSTER", "ANSWERED"),
    "masquerade-before-snat": ("LEFT_CLUSTER", "ANSWERED"),
}
# Where nobody answers outside of the cluster, nobody in it is accused.
INCONCLUSIVE = {"host-unreachable"}
# --timeout: a live flow is waited for; with a full table neither IMDS nor ipamd answers, each of which the agent waits for.
SECONDS = {"stale-conntrack": 3, "conntrack-full": 5}
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


@pytest.fixture(scope="module")
def legacy_lab_with_metadata() -> Iterator[Bench]:
    """What ipamd and IMDS tell is part of some causes."""
    with running(LabOptions(prefix=f"e{os.getpid()}f", backend="legacy", names="ens", chains="jump")) as bench:
        yield bench


@pytest.fixture(params=["lab", "legacy_lab_with_metadata"], ids=["nft", "legacy"])
def whole(request: pytest.FixtureRequest) -> Bench:
    chosen: Bench = request.getfixturevalue(request.param)
    return chosen


def possible(bench: Bench, name: str) -> Fault | None:
    """None where a lab of this backend cannot have the fault, and says so."""
    fault = fault_named(name)
    reason = fault.impossible(bench.cluster.options)
    if not reason:
        return fault
    refused = bench.run("lab", "fault", name, "--prefix", bench.prefix)
    assert (refused.exit_code, refused.errors) == (1, f"pathtap: {reason}\n")
    return None


def codes(findings: Any) -> set[str]:
    return {finding["code"] for finding in findings}


def assert_told(findings: Any) -> None:
    """A finding is a sentence with its proof and its mend."""
    for finding in findings:
        assert finding["text"], finding
        assert finding["fix"], finding
        assert finding["evidence"], finding


def has_error(findings: Any) -> bool:
    return any(finding["severity"] == "error" for finding in findings)


def words(fault: Fault) -> list[str]:
    return shlex.split(fault.shown_by)[2:]


def test_what_became_of_a_packet_is_said_of_faults_that_there_are() -> None:
    assert set(BECAME) | set(LAST_SEEN) | INCONCLUSIVE <= {fault.name for fault in FAULTS}


@pytest.mark.parametrize("name", [fault.name for fault in FAULTS])
def test_a_trace_and_a_check_name_the_cause(whole: Bench, name: str) -> None:
    if (fault := possible(whole, name)) is None:
        return
    with whole.broken(name), whole.checking() as check:
        trace = whole.trace(*words(fault), "--timeout", str(SECONDS.get(name, 2)))
    assert_traced(whole, fault, trace)
    found = check()
    assert set(fault.checked_as) <= codes(found["findings"]), found
    assert_told(found["findings"])
    assert found["exit_code"] == (3 if found["findings"] else 0)


def assert_traced(bench: Bench, fault: Fault, trace: Any) -> None:
    name, verdict = fault.name, trace["verdict"]
    assert set(fault.traced_as) <= codes(verdict["findings"]), verdict
    assert_told(verdict["findings"])
    if name in BECAME:
        assert (verdict["disposition"], verdict["reply"]) == BECAME[name], verdict
    if verdict["reply"] == "ANSWERED":
        assert trace["exit_code"] == (3 if has_error(verdict["findings"]) or name == "nothing-listens" else 0)
    else:
        assert trace["exit_code"] == (4 if name in INCONCLUSIVE else 3)
    if name in LAST_SEEN:
        assert trace["forward"]["hops"][-1]["node"] == bench.cluster.nodes[LAST_SEEN[name]].name


@pytest.mark.parametrize(
    ("first", "second", "trace"),
    [
        ("forward-drop", "stale-pod-neighbour", "shop/cart to shop/redis --port 6379"),
        ("foreign-rule", "no-pod-route", "shop/search to shop/redis --port 6379"),
        ("overruled-to-pod-rule", "duplicate-from-pod-rule", "shop/search to shop/redis --port 6379"),
        ("no-fwmark-rule", "missing-snat", "shop/search to 198.51.100.8 --port 443"),
        ("strict-rp-filter", "stale-rule-set", "shop/search to 198.51.100.8 --port 443"),
        ("small-mtu", "stale-rule-set", ""),
        ("backend-gone", "no-pod-route", ""),
        ("duplicate-address", "no-default-route", ""),
        ("shadowed-connmark-rules", "no-from-pod-rule", ""),
    ],
)
def test_two_faults_at_once_are_both_found(whole: Bench, first: str, second: str, trace: str) -> None:
    """`trace` is one whose way leads by both."""
    both = fault_named(first), fault_named(second)
    with whole.broken(first, second):
        found = whole.check()
        traced = whole.trace(*trace.split(), "--timeout", "2") if trace else None
    assert {code for fault in both for code in fault.checked_as} <= codes(found["findings"]), found
    if traced:
        # One of each at least: what the other fault takes from the path cannot be seen on it.
        for fault in both:
            assert codes(traced["verdict"]["findings"]) & set(fault.traced_as), (fault.name, traced["verdict"])


def test_without_metadata_nobody_can_say_who_owns_the_source(legacy_lab: Bench) -> None:
    """Who owns a pod's address is known from IMDS or ipamd alone, once the pod's own ip rule is gone."""
    with legacy_lab.broken("no-from-pod-rule"):
        trace = legacy_lab.trace(*words(fault_named("no-from-pod-rule")), "--timeout", "1")
    verdict = trace["verdict"]
    assert (verdict["disposition"], verdict["reply"]) == ("DROPPED", "NOT_SEEN")
    assert "LOST_IN_VPC" in codes(verdict["findings"])
    assert "SOURCE_NOT_OWNED_BY_ENI" not in codes(verdict["findings"])
    assert trace["exit_code"] == 3


@pytest.mark.parametrize("name", [fault.name for fault in FAULTS if fault.proved_as])
def test_a_proof_of_how_ports_are_chosen_says_what_is_in_effect(whole: Bench, name: str) -> None:
    if (fault := possible(whole, name)) is None:
        return
    trace = fault.trace
    with whole.broken(name):
        proof = whole.snat(trace.source, "to", trace.destination, "--port", str(trace.port))
    assert (proof["verdict"], proof["exit_code"]) == (fault.proved_as, 3), proof
    assert set(fault.checked_as) <= codes(proof["findings"])
    assert_told(proof["findings"])


def test_the_lab_is_whole_again(whole: Bench) -> None:
    for shown_by in dict.fromkeys(fault.shown_by for fault in FAULTS if not fault.trace.live):
        trace = whole.trace(*shlex.split(shown_by)[2:])
        assert trace["exit_code"] == 0, shown_by
        assert trace["verdict"]["findings"] == []
