import pytest

from pathtap.lab.breaking import fault_named
from pathtap.lab.errors import LabError
from pathtap.lab.faults import FAULTS, CommandChange, Fault, SysctlChange
from pathtap.lab.options import LabOptions
from pathtap.lab.topology import make_cluster

CLUSTER = make_cluster(LabOptions(backend="legacy"))
INVERSE = {"add": "del", "del": "add", "-I": "-D"}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_change_is_undone_by_the_inverse_of_the_same_words(fault: Fault) -> None:
    changes = fault.changes(CLUSTER)
    assert changes
    for change in changes:
        assert change.namespace in CLUSTER.network_namespaces
        if isinstance(change, SysctlChange):
            assert change.broken != change.healed
        else:
            assert tuple(INVERSE.get(word, word) for word in change.broken) == change.healed


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_says_what_it_breaks_and_which_trace_shows_it(fault: Fault) -> None:
    assert fault.breaks.endswith(".")
    assert "\n" not in fault.breaks
    assert CLUSTER.pod(fault.source)
    assert fault.shown_by.startswith(f"pathtap trace {fault.source} to ")


def test_rules_are_written_with_the_labs_own_backend() -> None:
    (change,) = fault_named("forward-drop").changes(CLUSTER)
    assert isinstance(change, CommandChange)
    assert change.broken[0] == "iptables-legacy"


def test_an_unknown_fault_is_refused_with_all_names() -> None:
    with pytest.raises(LabError, match="no-fwmark-rule, no-from-pod-rule"):
        fault_named("gremlins")
