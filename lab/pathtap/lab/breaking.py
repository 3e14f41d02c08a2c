"""Puts a fault into a lab and takes it out again. Knows no fault by its name."""

from collections.abc import Iterable

from pathtap.lab.build import require_root
from pathtap.lab.errors import LabError
from pathtap.lab.faults import FAULTS, Change, Fault, SysctlChange
from pathtap.lab.kernel import command_inside, write_sysctls
from pathtap.lab.state import StateDirectory, command_line
from pathtap.lab.topology import make_cluster


def fault_named(name: str) -> Fault:
    """LabError with all names where there is none."""
    for fault in FAULTS:
        if fault.name == name:
            return fault
    raise LabError(f"There is no fault {name}. There are: {', '.join(fault.name for fault in FAULTS)}.")


def break_lab(prefix: str, name: str) -> Fault:
    """Puts the fault in force. LabError where it is already; a change that fails takes back those before it."""
    require_root()
    fault = fault_named(name)
    directory = StateDirectory(prefix)
    with directory.locked():
        state = directory.load()
        if name in state.faults:
            heal = command_line(f"fault {name} --heal", prefix)
            raise LabError(f"The fault {name} is in force already: `{heal}` ends it.")
        done: list[Change] = []
        try:
            for change in fault.changes(make_cluster(state.options)):
                _make(change, broken=True)
                done.append(change)
        except LabError:
            _undo(done)
            raise
        directory.set_faults((*state.faults, name))
    return fault


def heal_lab(prefix: str, name: str) -> Fault:
    """Ends the fault. LabError where it is not in force."""
    require_root()
    fault = fault_named(name)
    directory = StateDirectory(prefix)
    with directory.locked():
        state = directory.load()
        if name not in state.faults:
            raise LabError(f"The fault {name} is not in force.")
        directory.set_faults(tuple(active for active in state.faults if active != name))
        _undo(fault.changes(make_cluster(state.options)))
    return fault


def _undo(changes: Iterable[Change]) -> None:
    for change in reversed(tuple(changes)):
        _make(change, broken=False)


def _make(change: Change, *, broken: bool) -> None:
    if isinstance(change, SysctlChange):
        write_sysctls(change.namespace, {change.path: change.broken if broken else change.healed})
    else:
        command_inside(change.namespace, change.broken if broken else change.healed)
