"""Puts a fault into a lab and takes it out again. Knows no fault by its name."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from pathtap.lab.build import require_root
from pathtap.lab.changing import Changing, settle_listeners, write_documents
from pathtap.lab.errors import LabError
from pathtap.lab.faults import FAULTS, Change, Fault
from pathtap.lab.faults.changes import InventoryChange, ListenerChange, SettingsChange
from pathtap.lab.state import StateDirectory, command_line
from pathtap.lab.topology import Cluster, make_cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Healed:
    """A fault that ended. `already` are the commands whose work somebody had done before: a finding's mend, most likely."""

    fault: Fault
    already: tuple[str, ...] = ()


def fault_named(name: str) -> Fault:
    """LabError with the nearest names where there is none."""
    for fault in FAULTS:
        if fault.name == name:
            return fault
    names = [fault.name for fault in FAULTS]
    near = difflib.get_close_matches(name, names, cutoff=0.75) or [known for known in names if name in known][:3]
    hint = f"Did you mean {' or '.join(near)}?" if near else "`pathtap lab fault --list` names them all."
    raise LabError(f"There is no fault {name}. {hint}")


def break_lab(prefix: str, name: str) -> Fault:
    """Puts the fault in force. LabError where it is already, or where this lab cannot have it; a change that fails takes
    back those before it.
    """
    require_root()
    fault = fault_named(name)
    directory = StateDirectory(prefix)
    with directory.locked():
        state = directory.load()
        if name in state.faults:
            heal = command_line(f"fault {name} --heal", prefix)
            raise LabError(f"The fault {name} is in force already: `{heal}` ends it.")
        if reason := fault.refusal(state.options):
            raise LabError(reason)
        cluster = make_cluster(state.options)
        changes = fault.changes(cluster)
        done: list[Change] = []
        changing = Changing(directory=directory, fault=name)
        try:
            for change in changes:
                _make(changing, change, broken=True)
                done.append(change)
            _tell(directory, cluster, changes, (*state.faults, name), broken=True)
        except BaseException:
            _undo(changing, done)
            _tell(directory, cluster, changes, state.faults, broken=False)
            raise
        directory.set_faults((*state.faults, name))
    return fault


def heal_lab(prefix: str, name: str) -> Healed:
    """Ends the fault. LabError where it is not in force, or where a part of it could not be undone; the rest then is.

    What is as it should be already, by whoever's hand, is no failure.
    """
    require_root()
    fault = fault_named(name)
    directory = StateDirectory(prefix)
    with directory.locked():
        state = directory.load()
        if name not in state.faults:
            raise LabError(f"The fault {name} is not in force.")
        left = tuple(active for active in state.faults if active != name)
        directory.set_faults(left)
        cluster = make_cluster(state.options)
        changes = fault.changes(cluster)
        already, failures = _undo(Changing(directory=directory, fault=name), changes)
        _tell(directory, cluster, changes, left, broken=False)
        if failures:
            raise failures[0]
    return Healed(fault=fault, already=tuple(already))


def _undo(changing: Changing, changes: Iterable[Change]) -> tuple[list[str], list[LabError]]:
    """What was undone before by others, and what could not be; that is left as it is, and the rest undone."""
    already: list[str] = []
    failures = []
    for change in reversed(tuple(changes)):
        try:
            already += _make(changing, change, broken=False)
        except LabError as error:
            failures.append(error)
    return already, failures


def _make(changing: Changing, change: Change, *, broken: bool) -> tuple[str, ...]:
    return changing.make(change, broken=broken)


def _tell(
    directory: StateDirectory, cluster: Cluster, changes: Iterable[Change], active: Iterable[str], *, broken: bool
) -> None:
    """Writes the lab's files anew for the faults `active`, where `changes` are told by files at all."""
    if any(isinstance(change, InventoryChange | SettingsChange | ListenerChange) for change in changes):
        everything = [change for name in active for change in fault_named(name).changes(cluster)]
        write_documents(directory, cluster, everything)
        settle_listeners(directory, changes, broken=broken)
